"""A YAML file that says what any SavedModel takes and gives: `--teacher depth=midas.yaml`.

    model: midas                            the SavedModel's folder, seen from this file
    input:
      size: [256, 256]                      height, width
      layout: NCHW
      range: [0, 1]                         what black and white become, before mean and std
      mean: [0.485, 0.456, 0.406]
      std: [0.229, 0.224, 0.225]
      resize: stretch                       or fit: keep the proportions, top left
    outputs:
      depth: {output: default, means: inverse_depth}
      segmentation: {output: logits, means: logits}
    classes:
      segmentation: names.txt               or a list; "" or an empty line is no class

With `model` and `classes` alone it names the classes of a Model Garden export, and may give the `size` of its input;
the rest of `input` is the export's own matter. Every key with its meaning: the classes below.
"""

from __future__ import annotations

import dataclasses

from official.modeling import hyperparams

from must_tf.config.fields import at_least, choice


@dataclasses.dataclass
class Input(hyperparams.Config):
    """Attributes:
    name: of the signature's input; may be left out where there is one.
    size: height and width; may be left out where the signature says them.
    layout: "NHWC" or "NCHW".
    range: what 0 and 255 become.
    mean, std: per channel RGB, subtracted and divided by after `range`. An input of type uint8 gets the pixels.
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
class Classification(hyperparams.Config):
    """[B, C]."""

    output: str = ""
    means: str = choice("probabilities", "logits")


@dataclasses.dataclass
class Segmentation(hyperparams.Config):
    """[B, h, w, C], or NCHW."""

    output: str = ""
    means: str = choice("probabilities", "logits")
    layout: str = choice("NHWC", "NCHW")


@dataclasses.dataclass
class Depth(hyperparams.Config):
    """[B, h, w], with or without a channel. Inverse depth is relative: larger is nearer, scale and shift unknown."""

    output: str = ""
    means: str = choice("inverse_depth", "metres")


@dataclasses.dataclass
class Normals(hyperparams.Config):
    """[B, h, w, 3], or NCHW. `axes`: 1 or -1 each, what makes it x right, y down, z forward, towards the camera."""

    output: str = ""
    axes: tuple[float, ...] = (1.0, 1.0, 1.0)
    layout: str = choice("NHWC", "NCHW")


@dataclasses.dataclass
class Detection(hyperparams.Config):
    """boxes [B, D, 4], scores [B, D], classes [B, D], count [B] (may be left out: all that have a score).

    `coordinates` are of the network's input; `order` is [y0, x0, y1, x1] or [x0, y0, x1, y1]; `first_class` is the id
    of the first name: 1 where 0 is the background. `masks` [B, D, m, m]: probabilities over each box.
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
class Outputs(hyperparams.Config):
    """By task; masks are detection's."""

    classification: Classification = dataclasses.field(default_factory=Classification)
    segmentation: Segmentation = dataclasses.field(default_factory=Segmentation)
    depth: Depth = dataclasses.field(default_factory=Depth)
    normals: Normals = dataclasses.field(default_factory=Normals)
    detection: Detection = dataclasses.field(default_factory=Detection)


@dataclasses.dataclass
class Classes(hyperparams.Config):
    """Each a list of names in the order of the ids, or a text file with one a line. "" is no class."""

    classification: str | tuple[str, ...] = ()
    segmentation: str | tuple[str, ...] = ()
    detection: str | tuple[str, ...] = ()


@dataclasses.dataclass
class Adapter(hyperparams.Config):
    """The file. Paths are seen from it."""

    model: str = ""
    signature: str = "serving_default"
    input: Input = dataclasses.field(default_factory=Input)
    outputs: Outputs = dataclasses.field(default_factory=Outputs)
    classes: Classes = dataclasses.field(default_factory=Classes)
