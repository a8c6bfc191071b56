"""The keys of an adapter file, which says what a model takes and returns: `--teacher depth=midas.yaml`.

    model: midas                            folder of a SavedModel, or a .tflite or .onnx file; relative to this file
    licence: MIT                            of the model; is written into the manifests of what it labels
    input:
      size: [256, 256]                      height, width
      layout: NCHW
      channels: BGR
      range: [0, 1]                         values of black and white, before mean and std
      mean: [0.485, 0.456, 0.406]
      std: [0.229, 0.224, 0.225]
      resize: stretch                       or fit: keep the proportions and pad; or centre: a centred square
    outputs:
      depth: {output: default, means: inverse_depth}
      segmentation: {output: logits, means: logits}
    classes:
      segmentation: names.txt               or a list; "" or an empty line marks an id that is not a class

Environment variables in paths are replaced: `model: $MODELS/midas`.

Without `outputs`, the file names the classes of a Model Garden export and may set `licence` and `input.size`. All other
input settings then come from the export. The classes below describe every key.
"""

from __future__ import annotations

import dataclasses

from must_tf.config.base import Config
from must_tf.config.fields import above, at_least, between, choice
from must_tf.data import geometry


@dataclasses.dataclass
class InputSection(Config):
    """The input of the model.

    Attributes:
      name: of the input that takes the pixels. May be left out if there is only one.
      size: height and width. May be left out if the model fixes them.
      layout: "NHWC" or "NCHW".
      channels: "RGB" or "BGR".
      range: the values of pixels 0 and 255.
      mean, std: per channel, in the order of `channels`; subtracted and divided by after `range`. An input of type
        uint8 gets the pixels as they are.
      resize: "fit" keeps the proportions, "stretch" fills the whole input, "centre" shows only the largest centred
        square, which is enough for classification.
      padding: grey level of the padding of "fit", 0 to 255, or its red, green and blue. The default is ImageNet's mean.
      place: of the image of "fit": in the top left corner, or in the centre, with padding on both sides.
      crop: side of the centred square of "centre", as a share of the image's shorter side.
      size_name: of a second input [B, 2] that takes the size of each image.
      size_of: the size that it gets: of the network's "input", of the part of the input that is "shown" (without
        padding), or of the original "image".
      size_order: "hw", height and width, or "wh".
    """

    name: str = ""
    size: tuple[int, ...] = at_least((), 1)
    layout: str = choice("NHWC", "NCHW")
    channels: str = choice("RGB", "BGR")
    range: tuple[float, ...] = (0.0, 255.0)
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    resize: str = choice("fit", "stretch", "centre")
    padding: int | tuple[int, ...] = between(geometry.OUTSIDE, 0, 255)
    place: str = choice("top_left", "centre")
    crop: float = above(1.0, 0)
    size_name: str = ""
    size_of: str = choice("input", "shown", "image")
    size_order: str = choice("hw", "wh")


@dataclasses.dataclass
class ClassificationSection(Config):
    """[B, C]; or, if it means classes, ids [B] or [B, 1], which have no confidence and count as certain."""

    output: str = ""
    means: str = choice("probabilities", "logits", "classes")


@dataclasses.dataclass
class SegmentationSection(Config):
    """[B, h, w, C], or NCHW; or, if it means classes, ids [B, h, w], which have no confidence and count as certain."""

    output: str = ""
    means: str = choice("probabilities", "logits", "classes")
    layout: str = choice("NHWC", "NCHW")


@dataclasses.dataclass
class DepthSection(Config):
    """[B, h, w], optionally with a channel. Inverse depth is relative: larger is nearer, scale and shift unknown."""

    output: str = ""
    means: str = choice("inverse_depth", "metres")


@dataclasses.dataclass
class NormalsSection(Config):
    """[B, h, w, 3], or NCHW. `axes`: 1 or -1 for each component, so that x points right, y down, z forward.

    Normals point towards the camera.
    """

    output: str = ""
    axes: tuple[float, ...] = (1.0, 1.0, 1.0)
    layout: str = choice("NHWC", "NCHW")


@dataclasses.dataclass
class DetectionSection(Config):
    """Boxes, scores and classes: in three outputs, packed in one, or as a YOLO predicts them.

    Attributes:
      boxes, scores, classes: names of outputs [B, D, 4], [B, D], [B, D].
      count: name of the output [B] with the number of detections. May be left out if every row is a detection.
      masks: name of an output [B, D, m, m]: probabilities within each box. May be left out.
      packed: name of one output [B, D, 6], instead of boxes, scores and classes.
      columns: the order of the box, its score and its class in a row of `packed`.
      raw: name of the output [B, N, 4 + C] or [B, N, 5 + C] of a YOLO before its non-maximum suppression. Its
        candidates are decoded and suppressed here, class by class.
      raw_layout: "rows" [B, N, 5 + C], or "columns" [B, 5 + C, N].
      raw_boxes: "centre": centre and size; "grid": centre and size relative to the cells of a grid, as YOLOX predicts
        them; "corners". x comes before y.
      strides: of the grids, pixels, in the order of the rows.
      objectness: whether the first score of a row is that of any object.
      means: whether the scores of `raw` are probabilities or logits.
      overlap: IoU with a better box of the same class from which a candidate of `raw` is left out.
      coordinates: in pixels of the network's input, normalised to its size, or in pixels of the original "image".
      order: [y0, x0, y1, x1] or [x0, y0, x1, y1]; of `packed` and of three outputs.
      first_class: the id of the first class name: 1 if id 0 is the background. For `packed`, ids usually begin with 0.
      least_score: detections with lower scores are left out.
      most: detections that are kept per image, those with the highest scores; 0 keeps all.
    """

    boxes: str = ""
    scores: str = ""
    classes: str = ""
    count: str = ""
    masks: str = ""
    packed: str = ""
    columns: str = choice("box score class", "box class score", "class score box")
    raw: str = ""
    raw_layout: str = choice("rows", "columns")
    raw_boxes: str = choice("centre", "grid", "corners")
    strides: tuple[int, ...] = at_least((8, 16, 32), 1)
    objectness: bool = True
    means: str = choice("probabilities", "logits")
    overlap: float = between(0.65, 0, 1)
    coordinates: str = choice("pixels", "normalised", "image")
    order: str = choice("yxyx", "xyxy")
    first_class: int = at_least(1, 0)
    least_score: float = between(0.0, 0, 1)
    most: int = at_least(0, 0)


@dataclasses.dataclass
class OutputsSection(Config):
    """One section per task. Masks belong to detection."""

    classification: ClassificationSection = dataclasses.field(default_factory=ClassificationSection)
    segmentation: SegmentationSection = dataclasses.field(default_factory=SegmentationSection)
    depth: DepthSection = dataclasses.field(default_factory=DepthSection)
    normals: NormalsSection = dataclasses.field(default_factory=NormalsSection)
    detection: DetectionSection = dataclasses.field(default_factory=DetectionSection)


@dataclasses.dataclass
class ClassesSection(Config):
    """A list of names in id order for each task, or a file: one name per line, or a label map (.pbtxt).

    "" and an empty line are not classes, nor are ids that the label map leaves out.

    Attributes:
      unused: names in these lists that are no classes either, such as the "background" of a classifier.
      rename: "OLD=NEW" gives a class another name, such as the one that it has in your data. Classes of the same name
        become one.
    """

    classification: str | tuple[str, ...] = ()
    segmentation: str | tuple[str, ...] = ()
    detection: str | tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    rename: tuple[str, ...] = ()


@dataclasses.dataclass
class AdapterFile(Config):
    """The whole file. Paths are relative to it. `licence` is the model's, in words."""

    model: str = ""
    licence: str = ""
    signature: str = "serving_default"
    input: InputSection = dataclasses.field(default_factory=InputSection)
    outputs: OutputsSection = dataclasses.field(default_factory=OutputsSection)
    classes: ClassesSection = dataclasses.field(default_factory=ClassesSection)
