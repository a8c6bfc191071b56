"""The `outputs` of an adapter file: checked against the model's outputs, and turned into `Output`s."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from must_tf.common.errors import Mistakes, UserError
from must_tf.tasks import discover, naming_task
from tfrecords_tools.teachers import adapter_file
from tfrecords_tools.teachers.adapter_input import unknown
from tfrecords_tools.teachers.detections import DetectedObjects, PackedObjects, RawObjects
from tfrecords_tools.teachers.frames import InputFrame
from tfrecords_tools.teachers.names import ClassNames
from tfrecords_tools.teachers.outputs import (
    ClassId,
    ClassIdMap,
    ClassMap,
    DepthMap,
    Distribution,
    NormalMap,
    Output,
)
from tfrecords_tools.teachers.recipe import Shape, Signature

# The keys of a detector's outputs, in its three forms. The first is required, and so are the next two of `boxes`.
FORMS = {"boxes": ("boxes", "scores", "classes", "count", "masks"), "packed": ("packed",), "raw": ("raw",)}
OPTIONAL = ("count", "masks")


class Reading(NamedTuple):
    """The adapter's path and section, and the model's signature and input, with which outputs are read."""

    path: str
    section: adapter_file.OutputsSection
    signature: Signature
    frame: InputFrame
    name_counts: Mapping[str, int]  # {task: number of class names}


def read(reading: Reading, tasks: Sequence[str], mistakes: Mistakes) -> dict[str, Output]:
    """Returns the outputs by task, as the file describes them. `tasks` are those that the file has a section for."""
    outputs: dict[str, Output] = {}
    for task in tasks:
        section = getattr(reading.section, task)
        for key in _keys(reading.path, section, mistakes):
            where = f"{reading.path}: outputs.{task}.{key}"
            _check_output(where, getattr(section, key), reading.signature, mistakes)
        if task == "normals" and (len(section.axes) != 3 or {abs(sign) for sign in section.axes} != {1.0}):
            mistakes.problems.append(
                f"{reading.path}: outputs.normals.axes must be three numbers, each 1 or -1, for example [1, -1, -1]."
            )
        outputs |= _read_as(section, reading)
    return outputs


def _keys(path: str, section: object, mistakes: Mistakes) -> Sequence[str]:
    """Returns the keys of a section that name outputs."""
    if not isinstance(section, adapter_file.DetectionSection):
        return ("output",)
    given = [form for form, keys in FORMS.items() if any(getattr(section, key) for key in keys)]
    if len(given) > 1:
        mistakes.problems.append(
            f"{path}: outputs.detection has {' and '.join(given)}. Write boxes, scores and classes, or packed, or raw."
        )
    return FORMS[given[0]] if given else FORMS["boxes"]


def _check_output(where: str, name: str, signature: Signature, mistakes: Mistakes) -> None:
    """Notes an output that does not exist, or that is missing. Optional ones and a single one may be left out."""
    key = where.rpartition(".")[2]
    may_lack = key in OPTIONAL or (key == "output" and len(signature.outputs) == 1)
    if name not in signature.outputs and (name or not may_lack):
        mistakes.problems.append(unknown(where, name, "output", list(signature.outputs)))


def _read_as(section: object, reading: Reading) -> dict[str, Output]:
    """Returns the outputs of one section."""
    single = next(iter(reading.signature.outputs), "")  # if the section names none
    match section:
        case adapter_file.DetectionSection():
            return _objects(section, reading)
        case adapter_file.DepthSection():
            return {"depth": DepthMap(section.output or single, section.means)}
        case adapter_file.NormalsSection():
            axes = tuple(map(float, section.axes))
            return {"normals": NormalMap(section.output or single, axes, section.layout == "NCHW")}
        case adapter_file.SegmentationSection():
            name, is_logits = section.output or single, section.means == "logits"
            if section.means == "classes":
                return {"segmentation": ClassIdMap(name)}
            return {"segmentation": ClassMap(name, is_logits, section.layout == "NCHW")}
        case adapter_file.ClassificationSection():
            name = section.output or single
            if section.means == "classes":
                return {"classification": ClassId(name, reading.name_counts.get("classification", 0))}
            return {"classification": Distribution(name, section.means == "logits")}
    raise TypeError(section)


def _objects(section: adapter_file.DetectionSection, reading: Reading) -> dict[str, Output]:
    """Returns the outputs of detection, and of masks if there are any."""
    packed_or_raw = section.packed or section.raw
    columns = [f"{packed_or_raw} ({part})" for part in ("boxes", "scores", "classes")]  # for messages
    boxes, scores, classes = columns if packed_or_raw else (section.boxes, section.scores, section.classes)
    objects = DetectedObjects(
        boxes,
        scores,
        classes,
        "" if packed_or_raw else section.count,
        section.coordinates == "normalised",
        bool(section.raw) or section.order == "xyxy",
        section.first_class,
        of_image=section.coordinates == "image",
        least_score=section.least_score,
        most=section.most,
    )
    if section.packed:
        return {"detection": PackedObjects(section.packed, section.columns, objects)}
    if section.raw:
        return {"detection": _raw(section, objects, reading)}
    if not section.masks:
        return {"detection": objects}
    masks = dataclasses.replace(objects, masks=section.masks)
    return {"masks": masks, "detection": objects}


def _raw(section: adapter_file.DetectionSection, objects: DetectedObjects, reading: Reading) -> RawObjects:
    return RawObjects(
        section.raw,
        section.raw_boxes,
        section.objectness,
        section.raw_layout == "columns",
        section.means == "logits",
        tuple(section.strides),
        section.overlap,
        (reading.frame.height, reading.frame.width),
        objects,
    )


def check_names(
    path: str, outputs: Mapping[str, Output], names: Mapping[str, ClassNames], signature: Signature
) -> None:
    """Raises UserError if a task has no class names, or not one for each channel of its output."""
    for task, output in outputs.items():
        if not discover()[task].class_ids:
            continue
        key = f"classes.{naming_task(task)}"
        if task not in names:
            raise UserError(f"{path}: {key} is missing. Write a list of names, or a text file with one name per line.")
        channels = _channels(output, signature)
        if channels > 0 and channels != len(names[task].names):
            raise UserError(
                f"{path}: {key} has {len(names[task].names)} names, but output {output.uses()[0]!r} has {channels} "
                'channels. Name every channel; use "" for one that is not a class.'
            )


def _channels(output: Output, signature: Signature) -> int:
    """Returns how many classes an output has; below 1 if that is unknown before it has run."""
    if not isinstance(output, Distribution | ClassMap):
        return 0
    shape: Shape = signature.outputs[output.name][0]
    first = isinstance(output, ClassMap) and output.channels_first
    return (*shape[1:2], -1)[0] if first else (-1, *shape)[-1]
