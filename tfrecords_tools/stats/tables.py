"""The result of `must stats` as text."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from must_tf.common.tables import table
from must_tf.common.text import listed
from must_tf.pseudo_gate import rules, verdict
from tfrecords_tools.reading import summary_tables
from tfrecords_tools.stats.suggest import Suggestion

CLASSES_SHOWN = 20  # the most frequent ones; stats.json has all


def lines(content: Mapping[str, Any]) -> Iterator[str]:
    """Returns the whole result: tables, then suggested thresholds, then the verdict."""
    for task, of_task in content["tasks"].items():
        for teacher, of_teacher in of_task["teachers"].items():
            for text in _tables(f"{task}, by teacher {teacher}", of_task["unlabelled"], of_teacher):
                yield f"{text}\n"
            yield from _suggested(task, of_teacher["suggested"])
    yield from verdict_lines(content)


def verdict_lines(content: Mapping[str, Any]) -> Iterator[str]:
    """Returns the verdict, one line per reason."""
    judged, path = content["verdict"], os.path.join(content["directory"], verdict.NAME)
    if not content["tasks"]:
        yield f"{content['directory']}: no pseudo labels, nothing to judge"
        return
    for task, sentences in judged["failed"].items():
        yield from (f"{task}: {sentence}" for sentence in sentences)
    for phrase, tasks in _not_judged(content).items():
        yield f"not judged for {', '.join(tasks)}: {phrase}"
    if "kept" in content:
        yield f"{path} keeps the verdict that used ground truth: give --truth again to replace it, or --force"
    if content.get("read", content["records"]) < content["records"]:
        yield f"judged by {content['read']:,} of {content['records']:,} records, evenly spread; must stats reads all"
    for failure in verdict.earlier_failures(content):
        at = verdict.in_one_line(failure.settings)
        yield f"{failure.task} failed earlier, at {at}: training refuses it at these thresholds"
    if not judged["failed"]:
        yield _accepted(content, path)
    elif judged["overruled"]:
        yield f"overruled: training accepts these pseudo labels anyway ({path})"
    else:
        yield f"failed: training refuses these pseudo labels ({path}). --force overrides."


def _accepted(content: Mapping[str, Any], path: str) -> str:
    """Returns the verdict on labels against which nothing was found. Too few labels to judge are not called fit."""
    unjudged = verdict.unjudged(content)
    if len(unjudged) == len(content["tasks"]):
        return f"not judged: training accepts these pseudo labels, but it is not known if they are fit ({path})"
    suffix = " at these thresholds" if content.get("before") else ""
    fit = "these pseudo labels" if not unjudged else f"the pseudo labels of {listed(_others(content, unjudged))}"
    rest = f". Those of {listed(unjudged)} were not judged; training accepts them, too" if unjudged else ""
    return f"passed: {fit} are fit to train on{suffix} ({path}){rest}"


def _others(content: Mapping[str, Any], unjudged: Sequence[str]) -> list[str]:
    return [task for task in content["tasks"] if task not in unjudged]


def _not_judged(content: Mapping[str, Any]) -> dict[str, list[str]]:
    """Returns {what was not judged: tasks}."""
    phrases: dict[str, list[str]] = {}
    for task, of_task in content["tasks"].items():
        for phrase in dict.fromkeys(
            phrase for of_teacher in of_task["teachers"].values() for phrase in of_teacher["not_judged"]
        ):
            phrases.setdefault(phrase, []).append(task)
    return phrases


def _tables(title: str, unlabelled: int, of_teacher: Mapping[str, Any]) -> Iterator[str]:
    here, training, truth = of_teacher["found"], of_teacher["training"], of_teacher["truth"]
    yield table(("", "here", "training"), _statistics(here, training, unlabelled), title=title, note=_source(training))
    if "classes" in here:
        yield _classes(here, training, truth)
    if "scores" in here and any(here["scores"]):
        yield _scores(here["scores"])
    if of_teacher.get("agreement"):
        yield _agreement(of_teacher["agreement"])
    if truth:
        yield _truth(truth)


def _source(training: Mapping[str, Any]) -> str:
    return f"training: {training['source']}" if training else "training: unknown, give --against RECORDS"


def _statistics(here: Mapping[str, Any], training: Mapping[str, Any], unlabelled: int) -> Sequence[tuple[str, ...]]:
    """Returns rows of name, value here, value in the training records, for the keys that this kind of label has."""
    rows: list[tuple[str, ...]] = [("labelled images", *_both(here, training, "images", "{:,}"))]
    rows.append(("unlabelled images", f"{unlabelled:,}", ""))
    for name, key, form in (
        ("labelled images without objects or known pixels", "empty", "{:.1%}"),
        ("labelled images, all below the threshold", "low_confidence", "{:.1%}"),
        ("objects per image, above the threshold", "per_image", "{:.2f}"),
        ("objects per image, at the floor", "per_image_at_floor", "{:.2f}"),
        ("boxes above the threshold whose mask is below", "hollow", "{:.1%}"),
        ("mean confidence", "confidence", "{:.3f}"),
        ("valid pixels", "valid", "{:.1%}"),
        ("images with the same value everywhere", "flat", "{:.1%}"),
        ("difference between the maps of images", "differing", "{:.1%}"),
        ("images without metres", "relative", "{:,}"),
        ("images with NaN or infinity", "not_finite", "{:,}"),
    ):
        if key in here:
            rows.append((name, *_both(here, training, key, form)))
    if "valid" in here:
        rows.append(("ignored or unknown pixels", _ignored(here), _ignored(training)))
    if "metres" in here:
        rows.append(("metres, percentiles 1, 50, 99", _metres(here.get("metres")), _metres(training.get("metres"))))
    if "direction" in here:
        rows.append(("mean direction x, y, z", _vector(here.get("direction")), _vector(training.get("direction"))))
    return rows


def _both(here: Mapping[str, Any], training: Mapping[str, Any], key: str, form: str) -> tuple[str, str]:
    return form.format(here[key]), form.format(training[key]) if key in training else ""


def _ignored(statistics: Mapping[str, Any]) -> str:
    return f"{1 - statistics['valid']:.1%}" if "valid" in statistics else ""


def _metres(metres: Mapping[str, float] | None) -> str:
    return " ".join(f"{metres[key]:.3g}" for key in ("p1", "p50", "p99")) if metres else ""


def _vector(direction: Sequence[float] | None) -> str:
    return " ".join(f"{value:.2f}" for value in direction) if direction else ""


def _classes(here: Mapping[str, Any], training: Mapping[str, Any], truth: Mapping[str, Any]) -> str:
    """Returns the table by class: labels, shares and density here and in the training records, and correctness."""
    classes, there = here["classes"], training.get("classes", {})
    ordered = sorted(classes, key=lambda name: -max(classes[name], here["classes_at_floor"][name]))
    rows = []
    for name in ordered[:CLASSES_SHOWN]:
        row = [name, f"{classes[name]:,}", f"{here['classes_at_floor'][name]:,}", _share(classes, name)]
        row += [_share(there, name), _per_image(classes, here, name), _per_image(there, training, name)]
        rows.append((*row, *(_of_truth(truth, measure, name) for measure in ("precision", "recall"))))
    labels = ("class", here["kind"], "at the floor")
    headers = (*labels, "share", "training", "per image", "training", "precision", "recall")
    more = len(ordered) - CLASSES_SHOWN
    return table(headers, rows, title="by class", note=f"{more} more classes in {verdict.NAME}" if more > 0 else "")


def _share(classes: Mapping[str, int], name: str) -> str:
    total = sum(classes.values())
    return f"{classes.get(name, 0) / total:.1%}" if total else ""


def _per_image(classes: Mapping[str, int], statistics: Mapping[str, Any], name: str) -> str:
    objects = statistics.get("kind", "objects") in rules.PER_IMAGE
    return f"{classes.get(name, 0) / max(1, statistics['images']):.2f}" if classes and objects else ""


def _of_truth(truth: Mapping[str, Any], measure: str, name: str) -> str:
    value = truth.get(measure, {}).get(name)
    return "" if value is None else f"{value:.2f}"


def _scores(scores: Sequence[int]) -> str:
    total, width = sum(scores), 1 / len(scores)
    used = [place for place, count in enumerate(scores) if count]
    rows = []
    for place in range(used[0], used[-1] + 1):
        count = scores[place]
        bounds = f"{place * width:.1f} to {(place + 1) * width:.1f}"
        rows.append((bounds, f"{count:,}", f"{count / total:.1%}", summary_tables.bar(count / max(scores))))
    return table(("from", "labels", "share", ""), rows, title="scores")


def _agreement(agreement: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the table of how far a teacher agrees with itself, here and on photos of its own domain."""
    here, own = agreement["here"], agreement["own"]
    rows = [(f"{view} photos", f"{here[view]:.3f}", f"{own[view]:.3f}" if own else "") for view in rules.VIEWS]
    better = "higher" if here["higher_is_better"] else "lower"
    note = f"{here['images']} photos here; {better} is better"
    return table((here["figure"], "here", "own domain"), rows, title="agreement of the teacher with itself", note=note)


def _truth(truth: Mapping[str, Any]) -> str:
    rows = [(name, f"{value:.4g}") for name, value in truth.get("figures", {}).items()]
    right = truth.get("right")
    share = f"{right:.1%} right ({truth['measure']}); " if right is not None else ""
    by_id = f" ({truth['by_id']:,} found by id only: the image files differ)" if truth.get("by_id") else ""
    note = f"{share}{truth['images']:,} images have ground truth{by_id}, {truth['missing']:,} do not"
    return table(("metric", "value"), rows, title="against ground truth, above the thresholds", note=note)


def _suggested(task: str, suggested: Mapping[str, Any] | None) -> Iterator[str]:
    if suggested is None:
        return
    suggestion = Suggestion(**suggested)
    if suggestion.thresholds:
        yield f"suggested thresholds, {suggestion.why}:"
        yield f"  {suggestion.config(task)}"
    for name, why in list(suggestion.left_out.items())[:CLASSES_SHOWN]:
        yield f"  none for {name}: {why}"
    yield ""
