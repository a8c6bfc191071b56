"""The figures of `must-records inspect` as tables, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from must_tf.common.text import listed
from must_tf.spec import EMPTY, LABELLED, LOW

CLASSES_SHOWN = 20  # the most frequent; all are in --json and on the page
SIZES_SHOWN = 5
BAR = 24  # letters of the longest
NAMED = 12  # classes that never occur, by name
BY_DEFAULT = "unsure only: something was found, and all of it is below the thresholds that training has by default"


class Table(NamedTuple):
    """Rows of plain text below one title; a line of `note` below them."""

    title: str
    headers: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


def tables(summary: dict[str, Any], classes_shown: int = CLASSES_SHOWN) -> list[Table]:
    """What `look.summary` holds, for people. Tables without rows are left out."""
    found = [_sizes(summary), _labels(summary), _objects(summary), _maps(summary), _confidence(summary)]
    found += _all_classes(summary["tasks"], classes_shown)
    for key, title in (("dropped", "dropped on the way into the records"), ("notes", "changed on the way")):
        found.append(_reasons(title, summary[key]))
    return [table for table in found if table.rows or table.note]


def text(table: Table) -> list[str]:
    """The table as lines; columns of figures to the right."""
    rows = [table.headers, *table.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.headers))]
    right = [all(_is_figure(row[column]) for row in table.rows) for column in range(len(table.headers))]
    lines = [table.title]
    for row in rows if table.rows else []:
        cells = [
            cell.rjust(width) if aligned else cell.ljust(width)
            for cell, width, aligned in zip(row, widths, right, strict=True)
        ]
        lines.append(f"  {'  '.join(cells).rstrip()}")
    return [*lines, f"  {table.note}"] if table.note else lines


def _is_figure(cell: str) -> bool:
    return cell == "" or cell[0] in "0123456789-"


def number(count: int, thing: str) -> str:
    """ "1 shard", "2 shards"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _sizes(summary: dict[str, Any]) -> Table:
    sizes = summary["sizes"]
    rows = [(f"{one['width']} x {one['height']}", f"{one['images']:,}") for one in sizes[:SIZES_SHOWN]]
    title = f"{summary['records']:,} images in {number(len(summary['shards']), 'shard')} of {summary['directory']}"
    notes = []
    if not summary["whole"]:
        notes.append("not all shards that the manifest lists")
    if more := sizes[SIZES_SHOWN:]:
        width, height = ([one[side] for one in sizes] for side in ("width", "height"))
        notes.append(
            f"{len(more)} sizes more; widths {min(width)} to {max(width)}, heights {min(height)} to {max(height)}"
        )
    return Table(title, ("width x height", "images"), rows, "; ".join(notes))


def _labels(summary: dict[str, Any]) -> Table:
    rows = []
    for task, one in summary["tasks"].items():
        for origin, images in one["origins"].items():
            states = (f"{one['states'][origin][state]:,}" for state in (LABELLED, EMPTY, LOW))
            rows.append((task, origin, f"{images:,}", *states))
        if one["unlabelled"]:
            rows.append((task, "nobody looked", f"{one['unlabelled']:,}", "", "", ""))
    low = any(counts[LOW] for one in summary["tasks"].values() for counts in one["states"].values())
    note = BY_DEFAULT if low else "" if rows else "no image has a label"
    return Table("labels", ("task", "origin", "images", "believed", "nothing there", "unsure only"), rows, note)


def _objects(summary: dict[str, Any]) -> Table:
    rows = []
    for task, one in summary["tasks"].items():
        if spread := one.get("objects_per_image"):
            figures = (f"{spread['mean']:.1f}", *(f"{spread[key]:,}" for key in ("median", "least", "most", "none")))
            rows.append((task, *figures))
    return Table("objects per image", ("task", "mean", "median", "least", "most", "images without"), rows)


def _maps(summary: dict[str, Any]) -> Table:
    rows = []
    for task, one in summary["tasks"].items():
        if spread := one.get("known_share"):
            shares = (_share(spread[key]) for key in ("mean", "median", "least", "most"))
            rows.append((task, *shares, f"{spread['none']:,}"))
    return Table("known pixels", ("task", "mean", "median", "least", "most", "images without"), rows)


def _confidence(summary: dict[str, Any]) -> Table:
    """How sure the teachers were, in steps of a tenth."""
    rows = []
    for task, one in summary["tasks"].items():
        if found := one.get("confidence"):
            total = sum(found["bins"])
            tenths = (f"{100 * number / total:.0f}" for number in found["bins"])
            rows.append((task, *tenths, _share(found["at_least_half"])))
    bounds = tuple(f".{tenth}" for tenth in range(10))
    return Table("confidence of pseudo labels, percent from", ("task", *bounds, "0.5 or more"), rows)


def _all_classes(summaries: dict[str, Any], most: int) -> list[Table]:
    """One table for tasks that share their objects: masks have detection's."""
    shared: dict[str, list[str]] = {}
    for task, one in summaries.items():
        if one.get("classes"):
            twin = next((other for other in shared if summaries[other]["classes"] == one["classes"]), task)
            shared.setdefault(twin, []).append(task)
    return [_classes(" and ".join(names), summaries[task], most) for task, names in shared.items()]


def _classes(task: str, one: dict[str, Any], most: int) -> Table:
    seen = {name: count for name, count in one["classes"].items() if count["count"]}
    never = [name for name, count in one["classes"].items() if not count["count"]]
    total = sum(count["count"] for count in seen.values())
    largest = max((count["count"] for count in seen.values()), default=1)
    headers: tuple[str, ...] = ("class", "images", one["unit"], "")
    rows: list[tuple[str, ...]] = [
        (name, f"{count['images']:,}", _amount(count["count"], total, one["unit"]), _bar(count["count"] / largest))
        for name, count in list(seen.items())[:most]
    ]
    if one["unit"] == "images":  # else the same figure twice
        headers, *rows = [(row[0], *row[2:]) for row in (headers, *rows)]
    notes = []
    if len(seen) > most:
        notes.append(f"{len(seen) - most} classes more")
    if never:
        notes.append(f"{len(never)} of {len(one['classes'])} classes never: {listed(never, NAMED)}")
    return Table(f"{task}: classes", headers, rows, "; ".join(notes))


def _amount(count: int, total: int, unit: str) -> str:
    return _share(count / total) if unit == "pixels" else f"{count:,}"


def _bar(share: float) -> str:
    return "█" * max(1, round(share * BAR))


def _reasons(title: str, reasons: dict[str, Any]) -> Table:
    rows = [(reason, f"{one['count']:,}", str(one["examples"][0])) for reason, one in sorted(reasons.items())]
    return Table(title, ("reason", "times", "first"), rows)
