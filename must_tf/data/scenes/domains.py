"""The class names of the scenes, and the domains: datasets of different appearance."""

from __future__ import annotations

from dataclasses import dataclass, replace

ROOMS = ("corridor", "hall", "garden", "cave")
OBJECTS = ("ball", "box", "cylinder", "cone")
SURFACES = ("floor", "wall", "ceiling", "sky", *OBJECTS)
CLASSES: dict[str, tuple[str, ...]] = {
    "classification": ROOMS,
    "detection": OBJECTS,
    "masks": OBJECTS,
    "segmentation": SURFACES,
    "depth": (),
    "normals": (),
}

FLOOR, WALL, CEILING, SKY, FIRST_OBJECT = range(5)  # ids in SURFACES

Range = tuple[float, float]


@dataclass(frozen=True)
class Domain:
    """A dataset's appearance, and the tasks that it is labelled for. Ranges are (lowest, highest).

    Attributes:
      tasks: the tasks whose labels the dataset keeps; `render` always computes all six.
      patterns: textures that replace a surface's default one.
      restyle: probability of such a replacement.
      height: of the camera, metres.
      tilt: of the camera, degrees below the horizon.
      distance: of the objects, metres.
      objects: number of objects; fewer if there is no room.
      hue: added to every colour, in turns of the colour circle.
      saturation: factor on every colour's saturation.
      exposure: factor on the light.
      warmth: gain of red, and loss of blue.
      sun: angle between the light and straight behind the camera, degrees, to either side.
      grain: standard deviation of the noise, grey levels.
    """

    tasks: tuple[str, ...]
    patterns: tuple[str, ...]
    restyle: float
    height: Range
    tilt: Range
    distance: Range
    objects: tuple[int, int]
    hue: Range
    saturation: Range
    exposure: Range
    warmth: Range
    sun: Range
    grain: Range


# The widest appearance: it includes every range of the four teachers' domains below.
_WILD = Domain(
    tasks=(),
    patterns=("plain", "checks", "stripes", "bricks", "clouds", "speckle"),
    restyle=0.3,
    height=(1.2, 1.8),
    tilt=(6.0, 20.0),
    distance=(2.2, 6.5),
    objects=(0, 5),
    hue=(-0.08, 0.08),
    saturation=(0.6, 1.2),
    exposure=(0.75, 1.2),
    warmth=(-0.12, 0.12),
    sun=(20.0, 75.0),
    grain=(1.0, 6.0),
)


DOMAINS: dict[str, Domain] = {
    "classification": replace(
        _WILD,
        tasks=("classification",),
        patterns=("plain", "stripes", "clouds", "speckle"),
        exposure=(0.85, 1.2),
        warmth=(-0.04, 0.12),
        grain=(1.0, 4.0),
    ),
    "detection": replace(
        _WILD,
        tasks=("detection", "masks"),
        patterns=("plain", "checks", "stripes", "clouds"),
        saturation=(0.8, 1.2),
        exposure=(0.9, 1.2),
        hue=(-0.05, 0.08),
    ),
    "segmentation": replace(
        _WILD,
        tasks=("segmentation",),
        patterns=("plain", "bricks", "clouds", "speckle"),
        warmth=(0.0, 0.12),
        tilt=(8.0, 20.0),
        hue=(-0.08, 0.05),
    ),
    "geometry": replace(
        _WILD,
        tasks=("depth", "normals"),
        patterns=("plain", "checks", "bricks", "stripes"),
        saturation=(0.6, 1.0),
        exposure=(0.75, 1.1),
        warmth=(-0.12, 0.04),
    ),
    "wild": _WILD,
    # Dusk seen from a ladder: other colours, a higher and steeper camera, side light, coarse grain.
    "transfer": Domain(
        tasks=tuple(CLASSES),
        patterns=("checks", "bricks", "speckle"),
        restyle=0.5,
        height=(1.9, 2.4),
        tilt=(16.0, 28.0),
        distance=(2.6, 6.0),
        objects=(1, 5),
        hue=(0.38, 0.6),
        saturation=(0.9, 1.4),
        exposure=(0.5, 0.75),
        warmth=(0.2, 0.4),
        sun=(70.0, 110.0),
        grain=(7.0, 11.0),
    ),
}
