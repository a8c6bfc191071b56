"""The rules by which pseudo labels are judged, each with its border.

The rules look at figures alone: what the teacher's labels are like, what the labels are like that it was trained on,
and, where a truth was given, how often it is right. **Without a truth, labels of the right number, mixture and range
pass wherever they are in the image**: boxes that are all shifted, say, or two classes that are confused evenly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

FEWEST_IMAGES = 20  # below, a share says little: 10 of 20 is 27 to 73 % at 95 % confidence
# Photos of another kind hold more or fewer objects, but half as many again or a third is rather the threshold.
MOST_DENSITY, LEAST_DENSITY = 1.5, 0.3  # objects an image, over those of the training records
MOST_EMPTY = 0.5  # of images: whoever labels nothing teaches "nothing is there"
LARGEST_CLASS = 0.9  # of all labels: a teacher that always says the same
ONLY_CLASS = 0.99  # the same, where nobody knows how much it is of the training records: most of a road may be road
MOST_UNKNOWN = 0.5  # of pixels
MOST_FLAT = 0.5  # of images whose map says the same everywhere
DEPTH_FACTOR = 4.0  # between median depths: indoors against outdoors. Millimetres for metres is 1000
LEAST_RIGHT = 0.5  # of labels: below, they are more often wrong than right
CLUELESS = 1.2  # mean probability of the likeliest class, over that of a guess among all
PER_IMAGE = ("objects", "masks")  # kinds that are counted in objects


class Case(NamedTuple):
    """What is known of one teacher's labels for one task, each as in `stats.json`; empty where it is not known."""

    found: Mapping[str, Any]
    training: Mapping[str, Any] = {}
    truth: Mapping[str, Any] = {}


def reasons(case: Case) -> list[str]:
    """Why these labels should not be trained on, a sentence each with figures and remedy; none where they may be."""
    found = case.found
    said = []
    if found["not_finite"]:
        said.append(
            f"NaN or infinity in {found['not_finite']} of {found['images']} images: label again, and look for what "
            "the teacher diverged on."
        )
    if found["images"] < FEWEST_IMAGES:
        return said
    for rule in (_density, _empty, _one_class, _unknown, _flat, _scale, _away, _hollow, _clueless):
        said += rule(case)
    return said + list(_wrong(case))


def not_judged(case: Case) -> list[str]:
    """What the rules could not look at, and what would let them."""
    if case.found["images"] < FEWEST_IMAGES:
        return [f"{case.found['images']} images are too few to judge; {FEWEST_IMAGES} are needed"]
    said = []
    if case.found["kind"] in PER_IMAGE and not _density_of(case.training):
        said.append("how many objects an image of the training records has: give --against RECORDS")
    if case.found["kind"] != "masks" and len(case.found.get("classes", {})) > 1 and not _knows_classes(case):
        said.append("how large a share each class has in the training records: give --against RECORDS")
    if case.found.get("metres") and not case.training.get("metres") and not case.truth.get("images"):
        said.append("how far away things are in the training records, in metres: give --against RECORDS")
    if not case.truth.get("images"):
        said.append("whether labels are right and in the right place: give --truth RECORDS of the same images")
    return said


def _density_of(figures: Mapping[str, Any]) -> float:
    return figures.get("per_image") or 0.0


def _density(case: Case) -> Iterator[str]:
    here, there = _density_of(case.found), _density_of(case.training)
    if case.found["kind"] != "objects" or not there:  # masks are those of the objects
        return
    figures = f"{here:.3g} objects an image at the reading threshold, {there:.3g} in the training records"
    if here > MOST_DENSITY * there:
        yield f"{figures}: {here / there:.2f} times, over {MOST_DENSITY}. Read them with a higher threshold."
    elif here < LEAST_DENSITY * there:
        yield (
            f"{figures}: {here / there:.2f} times, under {LEAST_DENSITY}. Read them with a lower threshold, or train "
            "the teacher longer."
        )


def _empty(case: Case) -> Iterator[str]:
    found, there = case.found, case.training.get("empty", 0.0)
    empty = found["empty"] + found["low_confidence"]
    if empty > MOST_EMPTY and there <= MOST_EMPTY:
        yield (
            f"{empty:.0%} of images have no label at the reading threshold, {found['low_confidence']:.0%} only labels "
            f"below it; at most {MOST_EMPTY:.0%}. Read them with a lower threshold, or label with a better teacher."
        )


def _one_class(case: Case) -> Iterator[str]:
    if len(case.found.get("classes", {})) < 2 or case.found["kind"] == "masks":
        return
    name, share = _largest(case.found["classes"])
    there, known = _share(case.training.get("classes", {}), name), _knows_classes(case)
    most = LARGEST_CLASS if known else ONLY_CLASS
    if share > most and there <= LARGEST_CLASS:
        training = f"{there:.0%} of the training records" if known else "how much of the training records is not known"
        yield (
            f"{name!r} is {share:.0%} of all {case.found['kind']}, {training}; at most {most:.0%}. The teacher may "
            "have collapsed: must-records inspect --page shows; train it again, or give --against RECORDS that are so."
        )


def _knows_classes(case: Case) -> bool:
    """Whether the classes' shares in the training records are known: most photos of roads are road."""
    return any(case.training.get("classes", {}).values())


def _largest(classes: Mapping[str, int]) -> tuple[str, float]:
    name = max(classes, key=lambda one: classes[one])
    return name, _share(classes, name)


def _share(classes: Mapping[str, int], name: str) -> float:
    return classes.get(name, 0) / max(1, sum(classes.values()))


def _unknown(case: Case) -> Iterator[str]:
    unknown, there = 1 - case.found.get("valid", 1.0), 1 - case.training.get("valid", 1.0)
    if unknown > MOST_UNKNOWN and there <= MOST_UNKNOWN:
        yield (
            f"{unknown:.0%} of pixels are ignored or unknown; at most {MOST_UNKNOWN:.0%}. What is below the threshold "
            "is, and what was predicted as NaN, infinite or not above 0: lower the threshold, or label again."
        )


def _flat(case: Case) -> Iterator[str]:
    flat = case.found.get("flat", 0.0)
    if flat > MOST_FLAT and case.training.get("flat", 0.0) <= MOST_FLAT:
        yield f"{flat:.0%} of images have the same value everywhere; at most {MOST_FLAT:.0%}. Train the teacher again."


def _scale(case: Case) -> Iterator[str]:
    here, there = (figures.get("metres", {}).get("p50", 0.0) for figures in (case.found, case.training))
    if here and there and not 1 / DEPTH_FACTOR <= here / there <= DEPTH_FACTOR:
        yield (
            f"the median depth is {here:.3g} m, {there:.3g} m in the training records: {here / there:.3g} times, over "
            f"{DEPTH_FACTOR:g} or under 1/{DEPTH_FACTOR:g}. Are the units those of the records, metres?"
        )


def _away(case: Case) -> Iterator[str]:
    direction = case.found.get("direction")
    if direction and direction[2] > 0:
        yield (
            f"normals point away from the camera (mean z is {direction[2]:.2f}, towards it is below 0). Turn the "
            "teacher's axes: x right, y down, z forward."
        )


def _hollow(case: Case) -> Iterator[str]:
    hollow = case.found.get("hollow", 0.0)
    if hollow > MOST_EMPTY:
        yield (
            f"{hollow:.0%} of the masks of believed boxes are below mask_score_threshold, no pixel as likely as not; "
            f"at most {MOST_EMPTY:.0%}. Train the teacher's mask head longer."
        )


def _clueless(case: Case) -> Iterator[str]:
    classes = len(case.found.get("classes", {}))
    sure = case.found.get("confidence")
    if case.found["kind"] == "images" and classes > 1 and sure is not None and sure < CLUELESS / classes:
        yield (
            f"the likeliest class has a probability of {sure:.3g} in the mean, a guess among {classes} has "
            f"{1 / classes:.3g}: the teacher knows nothing. Train it longer."
        )


def _wrong(case: Case) -> Iterator[str]:
    right = case.truth.get("right")
    if right is not None and case.truth["images"] >= FEWEST_IMAGES and right < LEAST_RIGHT:
        higher = "Read them with higher thresholds, or label" if "scores" in case.found else "Label"
        yield (
            f"{right:.0%} of the labels are right ({case.truth['measure']}) on {case.truth['images']} images of the "
            f"truth; at least {LEAST_RIGHT:.0%}. {higher} with a better teacher."
        )
