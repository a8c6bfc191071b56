"""The result of `must inspect` as tables, for the terminal and for the HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from must_tf.common import tables as text_tables
from must_tf.common.text import listed
from must_tf.spec import EMPTY, LABELLED, LOW
from tfrecords_tools.reading import depth_range

CLASSES_SHOWN = 20  # the most frequent ones; --json and the page show all
SIZES_SHOWN = 5
BAR = 24  # characters of the longest bar
ABSENT_SHOWN = 12  # names of classes that never occur
BY_DEFAULT = "below only: there are predictions, but all of them are below the default thresholds of training"


class SummaryTable(NamedTuple):
    """A title, rows of plain text, and a note below them."""

    title: str
    headers: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


def tables(summary: Mapping[str, Any], classes_shown: int = CLASSES_SHOWN) -> list[SummaryTable]:
    """Returns the tables of an `inspect.counts.summary`. Empty tables are left out."""
    metres = SummaryTable("metres", ("task", "least", "median", "largest"), depth_range.rows(summary["tasks"]))
    shown = [_sizes(summary), _labels(summary), _objects(summary), _maps(summary), metres, _confidence(summary)]
    shown += _all_classes(summary["tasks"], classes_shown)
    for key, title in (("dropped", "dropped during conversion"), ("notes", "changed during conversion")):
        shown.append(_reasons(title, summary[key]))
    return [table for table in shown if table.rows or table.note]


def text(table: SummaryTable) -> str:
    """Returns the table as plain text."""
    return text_tables.table(table.headers, table.rows, title=table.title, note=table.note)


def number(count: int, thing: str) -> str:
    """Returns "1 shard", "2 shards"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def bar(share: float) -> str:
    """Returns a bar of text for a share of the largest value, 0 to 1."""
    return "█" * round(share * BAR)


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _sizes(summary: Mapping[str, Any]) -> SummaryTable:
    sizes = summary["sizes"]
    rows = [(f"{size['width']} x {size['height']}", f"{size['images']:,}") for size in sizes[:SIZES_SHOWN]]
    title = f"{summary['records']:,} images in {number(len(summary['shards']), 'shard')} of {summary['directory']}"
    notes = []
    if not summary["whole"]:
        notes.append("some of the shards that the manifest lists are not included")
    if more := sizes[SIZES_SHOWN:]:
        widths, heights = ([size[side] for size in sizes] for side in ("width", "height"))
        notes.append(
            f"{len(more)} more sizes; widths {min(widths)} to {max(widths)}, heights {min(heights)} to {max(heights)}"
        )
    return SummaryTable(title, ("width x height", "images"), rows, "; ".join(notes))


def _labels(summary: Mapping[str, Any]) -> SummaryTable:
    rows = []
    for task, of_task in summary["tasks"].items():
        for origin, images in of_task["origins"].items():
            states = (f"{of_task['states'][origin][state]:,}" for state in (LABELLED, EMPTY, LOW))
            rows.append((task, origin, f"{images:,}", *states))
        if of_task["unlabelled"]:
            rows.append((task, "unlabelled", f"{of_task['unlabelled']:,}", "", "", ""))
    low = any(counts[LOW] for of_task in summary["tasks"].values() for counts in of_task["states"].values())
    note = BY_DEFAULT if low else "" if rows else "no image has a label"
    return SummaryTable("labels", ("task", "origin", "images", "above threshold", "empty", "below only"), rows, note)


def _objects(summary: Mapping[str, Any]) -> SummaryTable:
    rows = []
    for task, of_task in summary["tasks"].items():
        if spread := of_task.get("objects_per_image"):
            counts = (f"{spread[key]:,}" for key in ("median", "least", "most", "none"))
            rows.append((task, f"{spread['mean']:.1f}", *counts))
    return SummaryTable("objects per image", ("task", "mean", "median", "least", "most", "images without"), rows)


def _maps(summary: Mapping[str, Any]) -> SummaryTable:
    rows = []
    for task, of_task in summary["tasks"].items():
        if spread := of_task.get("known_share"):
            shares = (_share(spread[key]) for key in ("mean", "median", "least", "most"))
            rows.append((task, *shares, f"{spread['none']:,}"))
    return SummaryTable("known pixels", ("task", "mean", "median", "least", "most", "images without"), rows)


def _confidence(summary: Mapping[str, Any]) -> SummaryTable:
    """Returns the teachers' confidence, in steps of a tenth."""
    rows = []
    for task, of_task in summary["tasks"].items():
        if confidence := of_task.get("confidence"):
            total = sum(confidence["bins"])
            tenths = (f"{100 * count / total:.0f}" for count in confidence["bins"])
            rows.append((task, *tenths, _share(confidence["at_least_half"])))
    bounds = tuple(f".{tenth}" for tenth in range(10))
    return SummaryTable("confidence of pseudo labels, percent from", ("task", *bounds, "0.5 or more"), rows)


def _all_classes(summaries: dict[str, Any], most: int) -> list[SummaryTable]:
    """Returns one table for tasks that share their objects, as masks share detection's."""
    shared: dict[str, list[str]] = {}
    for task, of_task in summaries.items():
        if of_task.get("classes"):
            twin = next((other for other in shared if summaries[other]["classes"] == of_task["classes"]), task)
            shared.setdefault(twin, []).append(task)
    return [_classes(" and ".join(names), summaries[task], most) for task, names in shared.items()]


def _classes(task: str, summary: dict[str, Any], most: int) -> SummaryTable:
    unit = summary["unit"]
    seen = {name: entry for name, entry in summary["classes"].items() if entry["count"]}
    absent = [name for name, entry in summary["classes"].items() if not entry["count"]]
    total = sum(entry["count"] for entry in seen.values())
    largest = max((entry["count"] for entry in seen.values()), default=1)
    headers: tuple[str, ...] = ("class", "images", unit, "")
    rows: list[tuple[str, ...]] = []
    for name, entry in list(seen.items())[:most]:
        amount = _amount(entry["count"], total, unit)
        rows.append((name, f"{entry['images']:,}", amount, bar(entry["count"] / largest) or "█"))
    if unit == "images":  # both columns would be the same
        headers, *rows = [(row[0], *row[2:]) for row in (headers, *rows)]
    notes = []
    if len(seen) > most:
        notes.append(f"{len(seen) - most} more classes")
    if absent:
        notes.append(f"{len(absent)} of {len(summary['classes'])} classes never occur: {listed(absent, ABSENT_SHOWN)}")
    return SummaryTable(f"{task}: classes", headers, rows, "; ".join(notes))


def _amount(count: int, total: int, unit: str) -> str:
    return _share(count / total) if unit == "pixels" else f"{count:,}"


def _reasons(title: str, reasons: dict[str, Any]) -> SummaryTable:
    rows = [(reason, f"{entry['count']:,}", str(entry["examples"][0])) for reason, entry in sorted(reasons.items())]
    return SummaryTable(title, ("reason", "times", "first"), rows)
