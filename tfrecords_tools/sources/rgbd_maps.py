"""Reads the label images of `rgbd`: depth in any unit, normals with any axes, and class ids.

| file | depth | normals |
|---|---|---|
| PNG or TIFF, 16 bit | `--depth-scale` metres per unit, by default millimetres | (n + 1) * 32767.5 |
| PNG, 8 bit | only with `--depth-scale` | (n + 1) * 127.5 |
| .npy, EXR, PFM, TIFF of floats | metres, times `--depth-scale` | unit vectors |

Unknown depth: `--depth-unknown` (0 by default), values below 0, NaN and infinity. Unknown normals: shorter than 0.5.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from must_tf.common.errors import UserError, nearest
from must_tf.spec import Labels
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.sources import maps, surface
from tfrecords_tools.sources.surface import Intrinsics
from tfrecords_tools.writing.counts import Account, Dropped

AXIS, RAY = "axis", "ray"
MILLIMETRES = Fraction(1, 1000)
OURS = "x,y,z"
OPENGL = "x,-y,-z"
AXES = re.compile(r"([+-]?)([xyz])")
UNKNOWN_LENGTH = 0.5  # of a normal
HIGHEST = 65535
MANY = 0.005  # share of pixels with the highest value that is not by chance
NO_UNIT = "depth: 8 bits have no agreed unit"
SCALE_QUESTION = "is --depth-scale right?"


@dataclasses.dataclass(frozen=True)
class MapOptions:
    """Options of the label images, as the command line has them.

    Attributes:
      depth_scale: metres per unit, also as a fraction; empty for the usual unit of the file's type.
      depth_unknown: values that mean unknown, separated by commas.
      depth_along: "axis" if depth is the distance along the camera's axis, "ray" if along each pixel's ray.
      focal: FX[,FY[,CX,CY]] in pixels; needed for rays.
      normals_axes: how our x (right), y (down) and z (forward) are made from the file's.
      ignore: class values that are ignored, separated by commas, or "none".
      match_time: names that are times match if they are at most this many seconds apart; 0 for equal names only.
    """

    depth_scale: str = ""
    depth_unknown: str = "0"
    depth_along: str = AXIS
    focal: str = ""
    normals_axes: str = OURS
    ignore: str = str(IGNORE)
    match_time: float = 0.0

    def check(self) -> None:
        """Raises UserError if an option has an invalid value."""
        self.scale()
        _numbers("--depth-unknown", self.depth_unknown)
        self.axes()
        self.ignored()
        if self.depth_along not in (AXIS, RAY):
            guess = nearest(self.depth_along, (AXIS, RAY))
            raise UserError(f"--depth-along {self.depth_along!r} does not exist.{guess} Choose {AXIS} or {RAY}.")
        if len(_numbers("--focal", self.focal)) not in (0, 1, 2, 4):
            raise UserError(f"--focal {self.focal!r}: expected FX, FX,FY or FX,FY,CX,CY in pixels.")
        if self.depth_along == RAY and not self.focal:
            raise UserError("--depth-along ray needs --focal FX, the focal length in pixels.")
        if self.match_time < 0:
            raise UserError(f"--match-time {self.match_time:g} must be 0 or more seconds.")

    def scale(self) -> Fraction | None:
        """Returns the metres per unit; None for the usual ones."""
        if not self.depth_scale:
            return None
        try:
            scale = Fraction(self.depth_scale.replace(" ", ""))
        except (ValueError, ZeroDivisionError):
            scale = Fraction(0)
        if scale <= 0:
            raise UserError(f"--depth-scale {self.depth_scale!r}: expected metres per unit, like 0.001 or 1/256.")
        return scale

    def axes(self) -> np.ndarray:
        """Returns the matrix float32 [3, 3] that turns the file's vectors into ours."""
        parts = [AXES.fullmatch(part.strip().lower()) for part in re.split(r"[,\s]+", self.normals_axes.strip())]
        found = [part for part in parts if part]
        if len(found) != len(parts) or sorted(part[2] for part in found) != ["x", "y", "z"]:
            raise UserError(f"--normals-axes {self.normals_axes!r}: expected x, y and z with signs, like {OPENGL}.")
        matrix = np.zeros([3, 3], np.float32)
        for row, part in enumerate(found):
            matrix[row, "xyz".index(part[2])] = -1.0 if part[1] == "-" else 1.0
        return matrix

    def ignored(self) -> tuple[int, ...]:
        """Returns the class values that are ignored."""
        if self.ignore.strip().lower() in ("", "none"):
            return ()
        return tuple(int(value) for value in _numbers("--ignore", self.ignore))

    def camera(self, height: int, width: int) -> Intrinsics:
        """Returns the camera that `focal` describes, or an ordinary one."""
        numbers = _numbers("--focal", self.focal)
        if not numbers:
            return surface.usual(height, width)
        fx, fy = numbers[0], numbers[min(1, len(numbers) - 1)]
        cx, cy = numbers[2:] if len(numbers) == 4 else (width / 2, height / 2)
        return Intrinsics(fx, fy, cx, cy)


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UserError(f"{option} {text!r}: expected numbers, separated by commas.") from None


def depth(values: np.ndarray, options: MapOptions, path: str, account: Account) -> Labels:
    """Converts the values of a depth file [h, w] to metres along the camera's axis; 0 = unknown.

    Raises:
      Dropped: the values are not depth, or have no unit.
    """
    if values.ndim == 3 and values.dtype.kind == "f" and (values == values[..., :1]).all():
        values = values[..., 0]  # grey, as some renderers write depth
    if values.ndim != 2 or values.dtype == bool:
        raise Dropped("depth: pixels of another format", f"{path}: {values.dtype} with {values.ndim} axes")
    if values.dtype == np.uint8 and not options.depth_scale:
        raise Dropped(NO_UNIT, f"{path}: give --depth-scale METRES")
    unknown = ~np.isfinite(values) | (values <= 0) | np.isin(values, _numbers("--depth-unknown", options.depth_unknown))
    if (values < 0).any():
        account.notes.add("depth: values below 0 are unknown", path)
    if values.dtype == np.uint16 and (values[~unknown] == HIGHEST).sum() > MANY * values.size:
        account.notes.add(f"depth: many pixels of {HIGHEST}; if it means unknown, give --depth-unknown {HIGHEST}", path)
    metres = np.where(unknown, np.float32(0), _metres(values, options.scale()))
    if options.depth_along == RAY:
        height, width = metres.shape
        unit_rays = surface.rays(height, width, options.camera(height, width))
        metres = metres / np.linalg.norm(unit_rays, axis=-1)
    surface.note_reach(metres, path, account, SCALE_QUESTION)
    return {"metres": metres.astype(np.float32)}


def _metres(values: np.ndarray, scale: Fraction | None) -> np.ndarray:
    if scale is None:
        whole = np.issubdtype(values.dtype, np.integer)
        return values.astype(np.float32) / 1000.0 if whole else values.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        return (values.astype(np.float64) * scale.numerator / scale.denominator).astype(np.float32)


def normals(values: np.ndarray, options: MapOptions, path: str) -> Labels:
    """Converts colours or vectors [h, w, 3] to vectors without normalising their length; 0 = unknown.

    They are normalised on reading. Rounding them here too would change the colours with each export and conversion.

    Raises:
      Dropped: the values are not normals.
    """
    largest = {np.dtype(np.uint8): 255, np.dtype(np.uint16): HIGHEST}.get(values.dtype)
    if values.ndim != 3 or values.shape[2] != 3 or (largest is None and not np.issubdtype(values.dtype, np.floating)):
        raise Dropped("normals: pixels of another format", f"{path}: {values.dtype} with {values.ndim} axes")
    vectors = np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)
    if largest:
        vectors = vectors / (largest / 2) - 1.0
        vectors[(values == 0).all(-1)] = 0.0
    vectors[(vectors * vectors).sum(-1) < UNKNOWN_LENGTH**2] = 0.0  # colours of (0, 0, 0) come as grey, too
    if not largest:
        surface.require_unit(vectors, path)
    if options.normals_axes != OURS:
        vectors = vectors @ options.axes().T
    return {"normals": vectors}


def classes(ids: np.ndarray, count: int, options: MapOptions, path: str, account: Account) -> Labels:
    """Converts a map of class values [h, w] to labels of segmentation.

    Raises:
      UserError: a value is not one of the classes.
    """
    ignored = options.ignored()
    class_ids = {class_id: class_id for class_id in range(count)} | dict.fromkeys(ignored, IGNORE)
    if IGNORE in ignored:
        maps.note_binary(ids, count, f"{path}; if it is a class, give --ignore none", account)
    elif count == 2:
        class_ids |= {IGNORE: 1}
    return maps.segmentation(maps.classes_of(ids, class_ids, path))


def check_surfaces(labels: dict[str, Labels], options: MapOptions, path: str, account: Account) -> None:
    """Notes normals that face away from the camera, or contradict the depth."""
    if "normals" not in labels:
        return
    height, width = labels["normals"]["normals"].shape[:2]
    camera = options.camera(height, width) if options.focal else None
    surface.note_contradictions(labels, camera, path, account)


def require_unit(paths: Sequence[str], options: MapOptions) -> None:
    """Raises UserError if none of a few depth files has a unit."""
    if options.depth_scale:
        return
    bytes_only = []
    for path in paths:
        with contextlib.suppress(Dropped):
            values = maps.read_map(path, "depth")
            bytes_only.append(values.ndim == 2 and values.dtype == np.uint8)
    if bytes_only and all(bytes_only):
        raise UserError(f"{NO_UNIT}: {paths[0]}: give --depth-scale METRES.")


def require_facing(paths: Sequence[str], options: MapOptions) -> None:
    """Raises UserError if most normals of most of a few files face away from the camera."""
    shares = []
    for path in paths:
        with contextlib.suppress(Dropped):  # the conversion reports it
            vectors = normals(maps.read_map(path, "normals"), options, path)["normals"]
            height, width = vectors.shape[:2]
            shares.append(surface.share_away(vectors, surface.rays(height, width, options.camera(height, width))))
    if shares and sorted(shares)[len(shares) // 2] > surface.AWAY:
        other = OPENGL if options.normals_axes == OURS else OURS
        raise UserError(
            f"the normals face away from the camera on {max(shares):.0%} of the pixels, so their axes are not x right, "
            f"y down, z forward. For x right, y up, z backward (OpenGL, Blender) give --normals-axes {other}."
        )


def is_time(stem: str) -> bool:
    """Returns True if a name is a number of seconds."""
    try:
        return math.isfinite(float(stem))
    except ValueError:
        return False
