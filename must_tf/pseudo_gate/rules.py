"""The rules that decide whether pseudo labels are fit to train on, each with its limit.

The rules compare statistics: of the teacher's labels, of the labels that it was trained on and, if ground truth is
given, how often it is right. **Without ground truth, labels pass if their number, class mixture and range are right,
wherever they lie in the image.** Boxes that are all shifted pass, for example, and so do two classes that are confused
equally often.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

FEWEST_IMAGES = 20  # fewer say little about a share: 10 of 20 is 27 to 73 % at 95 % confidence
# Objects per image, relative to the training records. Other photos may hold more or fewer objects, but a ratio beyond
# these limits is more likely due to the threshold.
MOST_DENSITY, LEAST_DENSITY = 1.5, 0.3
MOST_EMPTY = 0.5  # share of images without a label: they teach the student that nothing is there
LARGEST_CLASS = 0.9  # share of all labels: a teacher that always predicts one class has collapsed
ONLY_CLASS = 0.99  # the same if its share of the training records is unknown: photos of roads are mostly road
MOST_UNKNOWN = 0.5  # share of pixels
MOST_FLAT = 0.5  # share of images whose map has one value everywhere
DEPTH_FACTOR = 4.0  # between median depths; indoors and outdoors differ by less. Millimetres for metres give 1000
LEAST_RIGHT = 0.5  # share of labels: below it, most labels are wrong
# Share of the variance, see `stats/sameness.py`. Depth of 223 photos of five places differs in 46 to 90 %, of 65 photos
# of one table in 13 %, and of 52 photos of one desk from above in 1.6 %.
LEAST_DIFFERING = 0.005
CLUELESS = 1.2  # mean probability of the most likely class, relative to a uniform guess
# Softmax of probabilities: at most e times as likely as any other class, however sure the teacher was. With few classes
# a weak teacher has no more than that, with ten or more it has.
MANY_CLASSES = 10
# A teacher's disagreement with itself, relative to that on photos of its own domain. The factor leaves room for harder
# photos of the same domain. Below the slack, a share of the error of a random label, disagreement is of no matter. On
# street photos, the quickstart's teachers of rooms have 5.3 times as much in boxes and masks, 4.0 in segmentation and
# 2.3 in normals, but only 1.6 in depth, which is smooth there.
MOST_OUTSIDE, SLACK = 2.0, 0.02
RIGHT_ANGLE = 90.0  # degrees, of a random direction
VIEWS = ("mirrored", "zoomed")
PER_IMAGE = ("objects", "masks")  # kinds of labels that are counted per object


class Evidence(NamedTuple):
    """The statistics of one teacher's labels for one task, with the keys of `stats.json`; empty if unknown."""

    labels: Mapping[str, Any]  # the teacher's
    training: Mapping[str, Any] = {}  # of the labels that the teacher was trained on
    truth: Mapping[str, Any] = {}  # of the comparison with ground truth
    # How far the teacher agrees with itself on mirrored and zoomed photos: "here" and, on photos of its own domain,
    # "own", each with the keys of `tfrecords_tools/label/agreement.py`; empty if it was not measured.
    agreement: Mapping[str, Mapping[str, Any]] = {}


def reasons(evidence: Evidence) -> list[str]:
    """Returns why these labels should not be trained on: sentences with numbers and a remedy. Empty if they may."""
    labels = evidence.labels
    sentences = []
    if labels["not_finite"]:
        sentences.append(
            f"{labels['not_finite']} of {labels['images']} images have NaN or infinity. Find out why the teacher's "
            "output diverges, and label again."
        )
    if not is_judged(labels):
        return sentences
    for rule in (_density, _empty, _one_class, _unknown, _flat, _same, _scale, _away, _hollow, _clueless, _outside):
        sentences += rule(evidence)
    return sentences + list(_wrong(evidence))


def is_judged(labels: Mapping[str, Any]) -> bool:
    """Returns False if there are too few images for all rules but that of values that are not finite."""
    return bool(labels["images"] >= FEWEST_IMAGES)


def not_judged(evidence: Evidence) -> list[str]:
    """Returns what the rules could not judge, and which option would provide it."""
    labels, training = evidence.labels, evidence.training
    if not is_judged(labels):
        return [f"{labels['images']} images are too few to judge; at least {FEWEST_IMAGES} are needed"]
    phrases = []
    if labels["kind"] in PER_IMAGE and not _density_of(training):
        phrases.append("objects per image in the training records: give --against RECORDS")
    if labels["kind"] != "masks" and len(labels.get("classes", {})) > 1 and not _knows_classes(evidence):
        phrases.append("each class's share of the training records: give --against RECORDS")
    if labels.get("metres") and not training.get("metres") and not evidence.truth.get("images"):
        phrases.append("depth of the training records in metres: give --against RECORDS")
    if not evidence.agreement.get("here"):
        phrases.append(
            "how far the teacher agrees with itself: it finds nothing to compare, or give --teacher TASK=PATH"
        )
    elif not evidence.agreement.get("own"):
        phrases.append(
            "whether the photos are like those of the teacher's training: give --domain RECORDS, of at least "
            f"{FEWEST_IMAGES} photos"
        )
    if not evidence.truth.get("images"):
        phrases.append("whether labels are correct and in the right place: give --truth RECORDS of the same images")
    return phrases


def _density_of(statistics: Mapping[str, Any]) -> float:
    return statistics.get("per_image") or 0.0


def _density(evidence: Evidence) -> Iterator[str]:
    here, there = _density_of(evidence.labels), _density_of(evidence.training)
    if evidence.labels["kind"] != "objects" or not there:  # masks belong to the objects, which are judged already
        return
    numbers = f"{here:.3g} objects per image above the threshold, {there:.3g} in the training records"
    if here > MOST_DENSITY * there:
        yield f"{numbers}: {here / there:.2f} times, over {MOST_DENSITY}. Use a higher threshold."
    elif here < LEAST_DENSITY * there:
        yield (
            f"{numbers}: {here / there:.2f} times, under {LEAST_DENSITY}. Use a lower threshold, or train the teacher "
            "longer."
        )


def _empty(evidence: Evidence) -> Iterator[str]:
    labels, there = evidence.labels, evidence.training.get("empty", 0.0)
    empty = labels["empty"] + labels["low_confidence"]
    if empty > MOST_EMPTY and there <= MOST_EMPTY:
        yield (
            f"{empty:.0%} of images have no label above the threshold ({labels['low_confidence']:.0%} only labels "
            f"below it); at most {MOST_EMPTY:.0%} may. Use a lower threshold, or label with a better teacher. "
            "If these images show none of the teacher's classes, leave them out for this task."
        )


def _one_class(evidence: Evidence) -> Iterator[str]:
    labels = evidence.labels
    if len(labels.get("classes", {})) < 2 or labels["kind"] == "masks":
        return
    name, share = _largest(labels["classes"])
    there, known = _share(evidence.training.get("classes", {}), name), _knows_classes(evidence)
    most = LARGEST_CLASS if known else ONLY_CLASS
    if share > most and there <= LARGEST_CLASS:
        training = f"{there:.0%} of the training records" if known else "an unknown share of the training records"
        yield (
            f"{name!r} is {share:.0%} of all {labels['kind']}, {training}; at most {most:.0%}. Has the teacher "
            "collapsed? See must inspect --page. Train it again, or give --against RECORDS with such a share."
        )


def _knows_classes(evidence: Evidence) -> bool:
    """Returns True if the classes' shares of the training records are known."""
    return any(evidence.training.get("classes", {}).values())


def _largest(classes: Mapping[str, int]) -> tuple[str, float]:
    name = max(classes, key=lambda candidate: classes[candidate])
    return name, _share(classes, name)


def _share(classes: Mapping[str, int], name: str) -> float:
    return classes.get(name, 0) / max(1, sum(classes.values()))


def _unknown(evidence: Evidence) -> Iterator[str]:
    unknown, there = 1 - evidence.labels.get("valid", 1.0), 1 - evidence.training.get("valid", 1.0)
    if unknown > MOST_UNKNOWN and there <= MOST_UNKNOWN:
        yield (
            f"{unknown:.0%} of pixels are ignored or unknown: below the threshold, NaN, infinite or not above 0. At "
            f"most {MOST_UNKNOWN:.0%} may be. Use a lower threshold, or label again; also ignored are "
            "classes that only the teacher has, and its background if it lacks some of the records'."
        )


def _flat(evidence: Evidence) -> Iterator[str]:
    flat = evidence.labels.get("flat", 0.0)
    if flat > MOST_FLAT and evidence.training.get("flat", 0.0) <= MOST_FLAT:
        yield f"{flat:.0%} of images have the same value everywhere; at most {MOST_FLAT:.0%}. Train the teacher again."


def _same(evidence: Evidence) -> Iterator[str]:
    here, there = (side.get("differing", 1.0) for side in (evidence.labels, evidence.training))
    if here < LEAST_DIFFERING <= there:
        yield (
            f"all images have nearly the same map: {1 - here:.1%} of its variance depends only on the position in the "
            f"image; at most {1 - LEAST_DIFFERING:.1%} may. The teacher ignores its input: train it longer, or correct "
            "`input` in its adapter file."
        )


def _scale(evidence: Evidence) -> Iterator[str]:
    here, there = (side.get("metres", {}).get("p50", 0.0) for side in (evidence.labels, evidence.training))
    if here and there and not 1 / DEPTH_FACTOR <= here / there <= DEPTH_FACTOR:
        yield (
            f"the median depth is {here:.3g} m, but {there:.3g} m in the training records: {here / there:.3g} times, "
            f"over {DEPTH_FACTOR:g} or under 1/{DEPTH_FACTOR:g}. Check that the teacher's unit is metres."
        )


def _away(evidence: Evidence) -> Iterator[str]:
    direction = evidence.labels.get("direction")
    if direction and direction[2] > 0:
        yield (
            f"normals point away from the camera: mean z is {direction[2]:.2f}, but must be below 0. Convert the "
            "teacher's axes to x right, y down, z forward."
        )


def _hollow(evidence: Evidence) -> Iterator[str]:
    hollow = evidence.labels.get("hollow", 0.0)
    if hollow > MOST_EMPTY:
        yield (
            f"{hollow:.0%} of the boxes above the threshold have a mask below mask_score_threshold, or with no pixel "
            f"of probability 0.5 or more; at most {MOST_EMPTY:.0%} may. Train the teacher's mask head longer."
        )


def _clueless(evidence: Evidence) -> Iterator[str]:
    classes = len(evidence.labels.get("classes", {}))
    confidence = evidence.labels.get("confidence")
    if evidence.labels["kind"] != "images" or classes < 2 or confidence is None:
        return
    if confidence < CLUELESS / classes:
        yield (
            f"the most likely class has a mean probability of {confidence:.3g}; a guess among {classes} has "
            f"{1 / classes:.3g}. The teacher has learned nothing: train it longer."
        )
    elif classes >= MANY_CLASSES and confidence <= softmax_of_certainty(classes):
        yield (
            f"the most likely class has a mean probability of {confidence:.3g}, no more than a softmax makes of "
            f"probabilities of {classes} classes ({softmax_of_certainty(classes):.3g} at most). If the model ends with "
            "a softmax, write `means: probabilities` in its adapter file; otherwise train it longer."
        )


def softmax_of_certainty(classes: int) -> float:
    """Returns the highest probability after a softmax of probabilities: e / (C - 1 + e), of one 1 and zeros."""
    return math.e / (classes - 1 + math.e)


def _outside(evidence: Evidence) -> Iterator[str]:
    here, own = evidence.agreement.get("here", {}), evidence.agreement.get("own", {})
    if not here or not own:
        return
    for view in VIEWS:
        error, usual = (1 - side[view] if side["higher_is_better"] else side[view] for side in (here, own))
        if error > MOST_OUTSIDE * usual + SLACK * _scale_of(here):
            yield (
                f"the teacher is outside of its domain: on {view} photos it agrees with itself with a {here['figure']} "
                f"of {here[view]:.3g}, but of {own[view]:.3g} on photos of its own domain. Label these photos with a "
                "teacher that was trained on photos like them."
            )
            return


def _scale_of(figures: Mapping[str, Any]) -> float:
    """Returns the error of labels that have nothing in common with the truth, or nearly so."""
    return RIGHT_ANGLE if figures["figure"] == "mean_angle" else 1.0


def _wrong(evidence: Evidence) -> Iterator[str]:
    right, images = evidence.truth.get("right"), evidence.truth.get("images", 0)
    if right is not None and images >= FEWEST_IMAGES and right < LEAST_RIGHT:
        remedy = "Use higher thresholds, or label" if "scores" in evidence.labels else "Label"
        yield (
            f"{right:.0%} of the labels are right ({evidence.truth['measure']}) on {images} images with ground truth; "
            f"at least {LEAST_RIGHT:.0%} must be. {remedy} with a better teacher."
        )
