"""The figures of `must-records stats` for people."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from must_tf.pseudo_gate import rules, verdict
from tfrecords_tools.reading import look_table
from tfrecords_tools.reading.look_table import Table
from tfrecords_tools.stats.suggest import Suggestion

CLASSES_SHOWN = 20  # the most frequent; all are in stats.json


def lines(content: Mapping[str, Any]) -> Iterator[str]:
    """Everything, tables first."""
    for task, one in content["tasks"].items():
        for teacher, known in one["teachers"].items():
            title = f"{task}, by teacher {teacher}"
            for table in _tables(title, one["unlabelled"], known):
                yield from look_table.text(table)
                yield ""
            yield from _suggested(task, known["suggested"])
    yield from verdict_lines(content)


def verdict_lines(content: Mapping[str, Any]) -> Iterator[str]:
    """What the gate says, a line each."""
    judged, path = content["verdict"], os.path.join(content["directory"], verdict.NAME)
    if not content["tasks"]:
        yield f"{content['directory']}: no pseudo labels, nothing to judge"
        return
    for task, sentences in judged["failed"].items():
        yield from (f"{task}: {sentence}" for sentence in sentences)
    unknown: dict[str, list[str]] = {}
    for task, one in content["tasks"].items():
        for sentence in dict.fromkeys(sentence for by in one["teachers"].values() for sentence in by["not_judged"]):
            unknown.setdefault(sentence, []).append(task)
    yield from (f"not judged of {', '.join(of)}: {sentence}" for sentence, of in unknown.items())
    if "kept" in content:
        yield f"{path} was judged beside a truth, and stays so: give --truth again, or --force"
    for one in verdict.earlier_failures(content):
        yield f"{one.task} failed before, at {verdict.in_one_line(one.settings)}: training refuses to read it so"
    if not judged["failed"]:
        so = " at these thresholds" if content.get("before") else ""
        yield f"passed: nothing speaks against these pseudo labels{so} ({path})"
    elif judged["overruled"]:
        yield f"overruled: training takes these pseudo labels all the same ({path})"
    else:
        yield f"failed: training refuses these pseudo labels ({path}). --force overrules."


def _tables(title: str, unlabelled: int, known: Mapping[str, Any]) -> Iterator[Table]:
    found, training, truth = known["found"], known["training"], known["truth"]
    yield Table(title, ("", "here", "training"), _figures(found, training, unlabelled), _source(training))
    if "classes" in found:
        yield _classes(found, training, truth)
    if "scores" in found and any(found["scores"]):
        yield _scores(found["scores"])
    if truth:
        yield _truth(truth)


def _source(training: Mapping[str, Any]) -> str:
    return f"training: {training['source']}" if training else "training: not known, give --against RECORDS"


def _figures(found: Mapping[str, Any], training: Mapping[str, Any], unlabelled: int) -> Sequence[tuple[str, ...]]:
    """Rows of name, here, in the training records; only what this kind has."""
    rows: list[tuple[str, ...]] = [("images labelled", *_both(found, training, "images", "{:,}"))]
    rows.append(("images not labelled", f"{unlabelled:,}", ""))
    for name, key, form in (
        ("labelled, nothing there", "empty", "{:.1%}"),
        ("low confidence only", "low_confidence", "{:.1%}"),
        ("objects an image, at the threshold", "per_image", "{:.2f}"),
        ("objects an image, at the floor", "per_image_at_floor", "{:.2f}"),
        ("believed boxes whose mask is not", "hollow", "{:.1%}"),
        ("mean confidence", "confidence", "{:.3f}"),
        ("valid pixels", "valid", "{:.1%}"),
        ("the same everywhere", "flat", "{:.1%}"),
        ("images without metres", "relative", "{:,}"),
        ("images with NaN or infinity", "not_finite", "{:,}"),
    ):
        if key in found:
            rows.append((name, *_both(found, training, key, form)))
    if "valid" in found:
        rows.append(("ignored or unknown pixels", *(_ignored(one) for one in (found, training))))
    if "metres" in found:
        rows.append(("metres, 1 to 50 to 99 %", *(_metres(one.get("metres")) for one in (found, training))))
    if "direction" in found:
        rows.append(("mean direction x, y, z", *(_vector(one.get("direction")) for one in (found, training))))
    return rows


def _both(found: Mapping[str, Any], training: Mapping[str, Any], key: str, form: str) -> tuple[str, str]:
    return form.format(found[key]), form.format(training[key]) if key in training else ""


def _ignored(figures: Mapping[str, Any]) -> str:
    return f"{1 - figures['valid']:.1%}" if "valid" in figures else ""


def _metres(metres: Mapping[str, float] | None) -> str:
    return " ".join(f"{metres[key]:.3g}" for key in ("p1", "p50", "p99")) if metres else ""


def _vector(direction: Sequence[float] | None) -> str:
    return " ".join(f"{value:.2f}" for value in direction) if direction else ""


def _classes(found: Mapping[str, Any], training: Mapping[str, Any], truth: Mapping[str, Any]) -> Table:
    """Every class: labels, its share here and there, how many an image, and how often it is right."""
    classes, there = found["classes"], training.get("classes", {})
    ordered = sorted(classes, key=lambda name: -max(classes[name], found["classes_at_floor"][name]))
    rows = []
    for name in ordered[:CLASSES_SHOWN]:
        row = [name, f"{classes[name]:,}", f"{found['classes_at_floor'][name]:,}", _share(classes, name)]
        row += [_share(there, name), _each(classes, found, name), _each(there, training, name)]
        rows.append((*row, *(_of_truth(truth, measure, name) for measure in ("precision", "recall"))))
    headers = (
        "class",
        found["kind"],
        "at the floor",
        "share",
        "training",
        "an image",
        "training",
        "precision",
        "recall",
    )
    more = len(ordered) - CLASSES_SHOWN
    return Table("by class", headers, rows, f"{more} classes more in {verdict.NAME}" if more > 0 else "")


def _share(classes: Mapping[str, int], name: str) -> str:
    total = sum(classes.values())
    return f"{classes.get(name, 0) / total:.1%}" if total else ""


def _each(classes: Mapping[str, int], figures: Mapping[str, Any], name: str) -> str:
    objects = figures.get("kind", "objects") in rules.PER_IMAGE
    return f"{classes.get(name, 0) / max(1, figures['images']):.2f}" if classes and objects else ""


def _of_truth(truth: Mapping[str, Any], measure: str, name: str) -> str:
    value = truth.get(measure, {}).get(name)
    return "" if value is None else f"{value:.2f}"


def _scores(scores: Sequence[int]) -> Table:
    total, width = sum(scores), 1 / len(scores)
    there = [place for place, number in enumerate(scores) if number]
    rows = [
        (
            f"{place * width:.1f} to {(place + 1) * width:.1f}",
            f"{number:,}",
            f"{number / total:.1%}",
            _bar(number, scores),
        )
        for place, number in enumerate(scores)
        if there[0] <= place <= there[-1]
    ]
    return Table("scores", ("from", "labels", "share", ""), rows)


def _bar(number: int, scores: Sequence[int]) -> str:
    return "█" * round(look_table.BAR * number / max(scores))


def _truth(truth: Mapping[str, Any]) -> Table:
    rows = [(name, f"{value:.4g}") for name, value in truth.get("figures", {}).items()]
    right = truth.get("right")
    said = f"{right:.1%} right ({truth['measure']}); " if right is not None else ""
    note = f"{said}{truth['images']:,} images matched by their id, {truth['missing']:,} not in the truth"
    return Table("against the truth, at the reading thresholds", ("figure", "value"), rows, note)


def _suggested(task: str, suggested: Mapping[str, Any] | None) -> Iterator[str]:
    if suggested is None:
        return
    found = Suggestion(**suggested)
    if found.thresholds:
        yield f"suggested thresholds, {found.why}:"
        yield f"  {found.config(task)}"
    for name, why in list(found.left_out.items())[:CLASSES_SHOWN]:
        yield f"  none for {name}: {why}"
    yield ""
