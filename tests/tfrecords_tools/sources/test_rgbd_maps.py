"""Depth and normals in other units, files and axes. Values by geometry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from must_tf.common.errors import UserError
from tests.support.datasets.oddities import HEIGHT, WIDTH
from tfrecords_tools.sources import exr, maps, rgbd_maps, surface
from tfrecords_tools.sources.rgbd_maps import MapOptions
from tfrecords_tools.writing.counts import Account, Dropped

FLAT = np.full([HEIGHT, WIDTH], 4.0, np.float32)  # a wall 4 m away, along the axis


def metres(values: np.ndarray, **options: Any) -> tuple[np.ndarray, dict[str, int]]:
    """Returns the metres, and what was noted."""
    account = Account()
    found = rgbd_maps.depth(values, MapOptions(**options), "a.png", account)["metres"]
    return found, {reason: entry["count"] for reason, entry in account.notes.content.items()}


def test_distance_along_a_ray_is_longer_than_along_the_axis() -> None:
    """The ray to a pixel is the hypotenuse: z^2 + (z x / f)^2 + (z y / f)^2."""
    columns, rows = np.arange(WIDTH) + 0.5 - WIDTH / 2, np.arange(HEIGHT)[:, None] + 0.5 - HEIGHT / 2
    along_ray = np.sqrt(FLAT**2 + (FLAT * columns / 50) ** 2 + (FLAT * rows / 50) ** 2)
    assert along_ray.max() > 4.7
    found, notes = metres(along_ray, depth_along="ray", focal="50")
    np.testing.assert_allclose(found, FLAT, rtol=1e-5)
    assert notes == {}


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ([256, 512, 0], {"depth_scale": "1/256"}, [1, 2, 0]),
        ([256, 512, 65535], {"depth_scale": "1/256", "depth_unknown": "0, 65535"}, [1, 2, 0]),
        ([1000, 1, 65535], {}, [1, 0.001, 65.535]),
        ([0.5, np.nan, np.inf], {}, [0.5, 0, 0]),
        ([-1.0, -np.inf, 2.0], {}, [0, 0, 2]),
        ([0.5, 1.0, 10.0], {"depth_scale": "10", "depth_unknown": "10"}, [5, 10, 0]),
    ],
)
def test_units_and_what_is_unknown(values: list[float], options: dict[str, str], expected: list[float]) -> None:
    given = np.array([values], np.uint16 if all(isinstance(value, int) for value in values) else np.float32)
    np.testing.assert_allclose(metres(given, **options)[0][0], expected, rtol=1e-6)


def test_a_wrong_unit_is_noted() -> None:
    unit = "depth: a median beyond reason; is --depth-scale right?"
    assert metres(np.full([4, 4], 40000, np.uint16), depth_scale="1")[1] == {unit: 1}
    assert metres(np.full([4, 4], 4, np.uint16))[1] == {unit: 1}
    (reason,) = metres(np.where(np.eye(8) > 0, 65535, 2000).astype(np.uint16))[1]
    assert reason.endswith("give --depth-unknown 65535")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth_scale": "mm"}, "--depth-scale 'mm': expected metres per unit"),
        ({"depth_scale": "1/0"}, "--depth-scale '1/0'"),
        ({"depth_unknown": "x"}, "--depth-unknown 'x': expected numbers"),
        ({"depth_along": "rays"}, "Did you mean 'ray'"),
        ({"depth_along": "ray"}, "needs --focal"),
        ({"focal": "1,2,3"}, "expected FX, FX,FY or FX,FY,CX,CY"),
        ({"normals_axes": "x,y"}, "--normals-axes 'x,y'"),
        ({"normals_axes": "x,x,z"}, "expected x, y and z"),
        ({"ignore": "void"}, "--ignore 'void'"),
        ({"match_time": -1.0}, "--match-time -1"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        MapOptions(**options).check()


@pytest.mark.parametrize("ending", [".npy", ".pfm", ".tiff"])
@pytest.mark.parametrize("axes", [2, 3])
def test_files_of_floats(ending: str, axes: int, tmp_path: Path) -> None:
    """Arrays with one value per pixel, or three."""
    values = np.linspace(0.5, 20, 6 * 8 * 3, dtype=np.float32).reshape(6, 8, 3)[..., : 1 if axes == 2 else 3]
    values = values[..., 0] if axes == 2 else values
    path = str(tmp_path / f"a{ending}")
    if ending == ".npy":
        np.save(path, values[..., None] if axes == 2 else values)
    else:
        assert cv2.imwrite(path, values if axes == 2 else values[..., ::-1])
    np.testing.assert_allclose(maps.read_map(path, "depth"), values, rtol=1e-6)


def test_broken_arrays_are_dropped(tmp_path: Path) -> None:
    for name, data in (("a.npy", b"\x93NUMPY"), ("a.exr", exr.MAGIC + bytes(100)), ("b.npy", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(Dropped, match="depth: file cannot be decoded"):
            maps.read_map(str(tmp_path / name), "depth")


TOWARD = np.array([0.0, 0.6, -0.8])  # of a floor that is seen from above


@pytest.mark.parametrize(
    ("axes", "stored"),
    [("x,y,z", (0, 0.6, -0.8)), ("x,-y,-z", (0, -0.6, 0.8)), ("y,-z,x", (-0.8, 0, -0.6)), ("x -y -z", (0, -0.6, 0.8))],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_axes_and_types_of_normals(axes: str, stored: tuple[float, ...], dtype: Any) -> None:
    """The second axis of "y,-z,x" is the negative third of the file, and so on."""
    largest = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 0
    vectors = np.tile(np.array(stored), [4, 4, 1])
    values: np.ndarray = np.rint((vectors + 1) * largest / 2).astype(dtype) if largest else vectors.astype(dtype)
    values[0] = 0
    found = rgbd_maps.normals(values, MapOptions(normals_axes=axes), "a")["normals"]
    np.testing.assert_allclose(found[1:], np.tile(TOWARD, [3, 4, 1]), atol=0.005)
    assert not found[0].any()


def test_normals_are_compared_with_depth() -> None:
    """A slanted wall: normals that are right, mirrored, and turned away."""
    normal = np.array([0.6, 0.0, -0.8])
    rays = surface.rays(HEIGHT, WIDTH, surface.usual(HEIGHT, WIDTH))
    depth = (-4.0 / (rays @ normal)).astype(np.float32)
    reasons = []
    for signs in ((1, 1, 1), (-1, 1, 1), (1, 1, -1)):
        vectors, account = np.tile(normal * signs, [HEIGHT, WIDTH, 1]), Account()
        labels = {"normals": {"normals": vectors}, "depth": {"metres": depth}}
        rgbd_maps.check_surfaces(labels, MapOptions(focal=str(max(HEIGHT, WIDTH))), "a", account)
        reasons.append(sorted(reason.split(";")[0] for reason in account.notes.content))
    apart = "normals: more than 45 degrees from those of the depth"
    assert reasons == [[], [apart], [apart, "normals: most face away from the camera"]]
