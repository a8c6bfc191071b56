"""The keys of an adapter file, which says what a SavedModel takes and returns: `--teacher depth=midas.yaml`.

    model: midas                            folder of the SavedModel, relative to this file
    input:
      size: [256, 256]                      height, width
      layout: NCHW
      range: [0, 1]                         values of black and white, before mean and std
      mean: [0.485, 0.456, 0.406]
      std: [0.229, 0.224, 0.225]
      resize: stretch                       or fit: keep the proportions and pad at the bottom and on the right
    outputs:
      depth: {output: default, means: inverse_depth}
      segmentation: {output: logits, means: logits}
    classes:
      segmentation: names.txt               or a list; "" or an empty line marks an id that is not a class

Without `outputs`, the file names the classes of a Model Garden export and may set `input.size`. All other input
settings then come from the export. The classes below describe every key.
"""

from __future__ import annotations

import dataclasses

from official.modeling import hyperparams

from must_tf.config.fields import at_least, choice


@dataclasses.dataclass
class InputSection(hyperparams.Config):
    """The input of the signature.

    Attributes:
      name: of the signature's input. May be left out if there is only one.
      size: height and width. May be left out if the signature fixes them.
      layout: "NHWC" or "NCHW".
      range: the values of pixels 0 and 255.
      mean, std: per RGB channel, subtracted and divided by after `range`. An input of type uint8 gets the pixels as
        they are.
      resize: "fit" keeps the proportions, "stretch" fills the whole input.
    """

    name: str = ""
    size: tuple[int, ...] = at_least((), 1)
    layout: str = choice("NHWC", "NCHW")
    range: tuple[float, ...] = (0.0, 255.0)
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    resize: str = choice("fit", "stretch")


@dataclasses.dataclass
class ClassificationSection(hyperparams.Config):
    """[B, C]."""

    output: str = ""
    means: str = choice("probabilities", "logits")


@dataclasses.dataclass
class SegmentationSection(hyperparams.Config):
    """[B, h, w, C], or NCHW."""

    output: str = ""
    means: str = choice("probabilities", "logits")
    layout: str = choice("NHWC", "NCHW")


@dataclasses.dataclass
class DepthSection(hyperparams.Config):
    """[B, h, w], optionally with a channel. Inverse depth is relative: larger is nearer, scale and shift unknown."""

    output: str = ""
    means: str = choice("inverse_depth", "metres")


@dataclasses.dataclass
class NormalsSection(hyperparams.Config):
    """[B, h, w, 3], or NCHW. `axes`: 1 or -1 for each component, so that x points right, y down, z forward.

    Normals point towards the camera.
    """

    output: str = ""
    axes: tuple[float, ...] = (1.0, 1.0, 1.0)
    layout: str = choice("NHWC", "NCHW")


@dataclasses.dataclass
class DetectionSection(hyperparams.Config):
    """Boxes [B, D, 4], scores [B, D], classes [B, D] and their count [B].

    Attributes:
      boxes, scores, classes: names of outputs.
      count: name of the output with the number of detections. May be left out if every row is a detection.
      masks: name of an output [B, D, m, m]: probabilities within each box. May be left out.
      coordinates: in pixels of the network's input, or normalised to its size.
      order: [y0, x0, y1, x1] or [x0, y0, x1, y1].
      first_class: the id of the first class name: 1 if id 0 is the background.
    """

    boxes: str = ""
    scores: str = ""
    classes: str = ""
    count: str = ""
    masks: str = ""
    coordinates: str = choice("pixels", "normalised")
    order: str = choice("yxyx", "xyxy")
    first_class: int = at_least(1, 0)


@dataclasses.dataclass
class OutputsSection(hyperparams.Config):
    """One section per task. Masks belong to detection."""

    classification: ClassificationSection = dataclasses.field(default_factory=ClassificationSection)
    segmentation: SegmentationSection = dataclasses.field(default_factory=SegmentationSection)
    depth: DepthSection = dataclasses.field(default_factory=DepthSection)
    normals: NormalsSection = dataclasses.field(default_factory=NormalsSection)
    detection: DetectionSection = dataclasses.field(default_factory=DetectionSection)


@dataclasses.dataclass
class ClassesSection(hyperparams.Config):
    """A list of names in id order for each task, or a file: one name per line, or a label map (.pbtxt).

    "" and an empty line are not classes, nor are ids that the label map leaves out.
    """

    classification: str | tuple[str, ...] = ()
    segmentation: str | tuple[str, ...] = ()
    detection: str | tuple[str, ...] = ()


@dataclasses.dataclass
class AdapterFile(hyperparams.Config):
    """The whole file. Paths are relative to it."""

    model: str = ""
    signature: str = "serving_default"
    input: InputSection = dataclasses.field(default_factory=InputSection)
    outputs: OutputsSection = dataclasses.field(default_factory=OutputsSection)
    classes: ClassesSection = dataclasses.field(default_factory=ClassesSection)
