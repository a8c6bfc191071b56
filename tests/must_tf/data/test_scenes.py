"""Generated scenes against geometry: depth, normals, boxes and masks must tell of one and the same world."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import zlib
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from must_tf.common.errors import UserError
from must_tf.data.geometry import crop_window
from must_tf.data.scenes import CLASSES, Scene, render
from must_tf.tasks import discover

SURFACES = CLASSES["segmentation"]
FLOOR, WALL, CEILING, SKY, FIRST_OBJECT = range(5)
SQUARE, WIDE, TALL = (128, 128), (96, 160), (160, 96)


@functools.cache
def scene(domain: str, index: int, size: tuple[int, int] = SQUARE, mirrored: bool = False) -> Scene:
    """A scene, rendered once per run."""
    return render(domain, 5, index, size, mirrored)


def some(size: tuple[int, int] = SQUARE) -> list[Scene]:
    """A few scenes of the domains at both ends of the looks."""
    return [scene(domain, index, size) for domain in ("wild", "transfer") for index in range(6)]


@functools.cache
def crowd() -> list[Scene]:
    """Sixty small wild scenes."""
    return [render("wild", 5, index, (64, 64)) for index in range(60)]


def rays(size: tuple[int, int], focal: float) -> np.ndarray:
    """The pinhole model: x, y, 1 of every pixel centre in the camera frame, [h, w, 3]."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    return np.dstack([(x - size[1] / 2) / focal, (y - size[0] / 2) / focal, np.ones(size)])


def points(drawn: Scene) -> np.ndarray:
    """What every pixel shows in the camera frame, metres, from depth and focal length alone."""
    metres = np.asarray(drawn.labels["depth"]["metres"], np.float64)
    return rays(metres.shape, drawn.focal) * metres[..., None]


def above_floor(drawn: Scene) -> np.ndarray:
    """Metres above the floor [h, w]: the camera's height less the drop along its tilted axes."""
    _, y, z = np.moveaxis(points(drawn), -1, 0)
    return drawn.camera.height - y * np.cos(drawn.camera.tilt) - z * np.sin(drawn.camera.tilt)


def surfaces(drawn: Scene) -> np.ndarray:
    """Ids of SURFACES, [h, w]."""
    return np.asarray(drawn.labels["segmentation"]["classes"])


def interior(surface: np.ndarray) -> np.ndarray:
    """Pixels whose neighbours show the same surface, and that have all neighbours."""
    same = ndimage.minimum_filter(surface, 3) == ndimage.maximum_filter(surface, 3)
    same[[0, -1]] = same[:, [0, -1]] = False
    return same


def pasted(drawn: Scene) -> list[tuple[int, np.ndarray]]:
    """(class, mask bool [h, w]) of every object, its crop laid where `crop_window` says."""
    masks: dict[str, Any] = drawn.labels["masks"]
    size = surfaces(drawn).shape
    found = []
    for box, identity, crop in zip(masks["boxes"], masks["classes"], masks["crops"], strict=True):
        y0, x0, y1, x1 = crop_window(box, *size)
        whole = np.zeros(size, bool)
        whole[y0:y1, x0:x1] = crop  # fails unless the crop has the window's shape
        found.append((int(identity), whole))
    return found


def slopes(place: np.ndarray, ahead: int, behind: int) -> np.ndarray:
    """Normals [h, w, 3] towards the camera: the cross product of two finite differences along the surface."""
    across, down = (np.roll(place, -ahead, axis) - np.roll(place, behind, axis) for axis in (1, 0))
    normal = np.cross(across, down)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
    return normal * -np.sign((normal * place).sum(-1, keepdims=True))


@pytest.mark.parametrize("size", [SQUARE, WIDE, TALL])
def test_normals_agree_with_the_slope_of_the_depth(size: tuple[int, int]) -> None:
    """Compared where it slopes alike, to 12 degrees, on both sides of the pixel: the middle is then right to 6."""
    for drawn in some(size):
        place, surface = points(drawn), surfaces(drawn)
        smooth = (slopes(place, 1, 0) * slopes(place, 0, 1)).sum(-1) > np.cos(np.radians(12))
        cosine = (slopes(place, 1, 1) * drawn.labels["normals"]["normals"]).sum(-1)
        angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        for identity in set(np.unique(surface)) - {SKY}:
            here = angle[smooth & interior(surface) & (surface == identity)]
            if len(here) >= 10:
                assert np.median(here) < 3 and np.percentile(here, 95) < 6, SURFACES[identity]


@pytest.mark.parametrize("size", [SQUARE, WIDE])
def test_normals_are_unit_vectors_that_face_the_camera(size: tuple[int, int]) -> None:
    for drawn in some(size):
        normals, known = drawn.labels["normals"]["normals"], surfaces(drawn) != SKY
        np.testing.assert_allclose(np.linalg.norm(normals, axis=-1)[known], 1, atol=1e-4)
        assert ((normals * rays(size, drawn.focal)).sum(-1)[known] < 1e-5).all()


def test_floor_faces_up_whatever_the_tilt() -> None:
    """By hand: up is (0, -cos t, -sin t) in a frame with y down that looks t below the horizon."""
    for drawn in some():
        tilt = drawn.camera.tilt
        normals = drawn.labels["normals"]["normals"][surfaces(drawn) == FLOOR]
        np.testing.assert_allclose(normals, np.tile((0, -np.cos(tilt), -np.sin(tilt)), (len(normals), 1)), atol=1e-5)


@pytest.mark.parametrize("size", [SQUARE, WIDE, TALL])
def test_floor_lies_at_height_zero_and_nothing_below(size: tuple[int, int]) -> None:
    for drawn in some(size):
        height, surface = above_floor(drawn), surfaces(drawn)
        np.testing.assert_allclose(height[surface == FLOOR], 0, atol=2e-3)
        assert height[surface != SKY].min() > -2e-3
        assert (height[surface == CEILING] > drawn.camera.height).all()


def test_objects_stand_on_the_floor() -> None:
    """Where floor shows right below an object, its lowest pixel is about at height 0, and none hovers."""
    feet = []
    for drawn in [*some(), *(scene("detection", index) for index in range(8))]:
        height, surface = above_floor(drawn), surfaces(drawn)
        for _, mask in pasted(drawn):
            assert height[mask].max() < 1.45  # the tallest cone: 1.4 m
            below = np.roll(mask, 1, axis=0) & ~mask & (surface == FLOOR)
            lowest = np.argwhere(mask)[-1][0]
            if lowest + 1 < mask.shape[0] and below[lowest + 1].any():
                feet.append(height[lowest][mask[lowest]].min())
    assert len(feet) >= 10
    # One pixel at 6 m is 5 cm; the camera sees a ball's limb a little above where it touches the floor.
    assert max(feet) < 0.15 and np.median(feet) < 0.06


def test_boxes_are_the_extents_of_the_masks() -> None:
    count = 0
    for drawn in [*some(), *some(WIDE), *some(TALL)]:
        height, width = surfaces(drawn).shape
        masks = drawn.labels["masks"]
        assert all(np.array_equal(value, masks[key]) for key, value in drawn.labels["detection"].items())
        for (_, mask), box, area in zip(pasted(drawn), masks["boxes"], masks["area"], strict=True):
            rows, columns = np.nonzero(mask)
            extents = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
            np.testing.assert_allclose(box * (height, width, height, width), extents, atol=1e-3)
            assert area == mask.sum()
            count += 1
    assert count >= 50


def test_masks_and_segmentation_show_the_same_objects() -> None:
    missed = total = 0
    for drawn in [*some(), *some(WIDE)]:
        surface, seen = surfaces(drawn), np.zeros(surfaces(drawn).shape, int)
        for identity, mask in pasted(drawn):
            assert (surface[mask] == FIRST_OBJECT + identity - 1).all()
            seen += mask
        assert seen.max() <= 1  # a pixel shows one object
        missed += int(((surface >= FIRST_OBJECT) & (seen == 0)).sum())
        total += int((surface >= FIRST_OBJECT).sum())
    assert missed < 0.03 * total  # only what is hardly visible has no mask


def test_picture_and_labels_lie_on_each_other() -> None:
    """The colours within a surface vary least where labels and picture are not shifted."""

    def spread(dy: int, dx: int) -> float:
        total = 0.0
        for drawn in some():
            surface = surfaces(drawn)[4:-4, 4:-4]
            moved = np.roll(drawn.image, (dy, dx), (0, 1))[4:-4, 4:-4].astype(float)
            regions = [moved[surface == each] for each in np.unique(surface)]
            total += sum(float(region.var(0).sum()) * len(region) for region in regions)
        return total

    shifts = {(dy, dx): spread(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
    assert min(shifts, key=lambda shift: shifts[shift]) == (0, 0)


@pytest.mark.parametrize("size", [SQUARE, WIDE])
def test_mirrored_world_is_the_flipped_picture(size: tuple[int, int]) -> None:
    for index in range(3):
        left, right = scene("wild", index, size), scene("wild", index, size, mirrored=True)
        difference = np.abs(left.image[:, ::-1].astype(int) - right.image)
        assert np.mean(difference > 2) < 0.01
        assert np.mean(surfaces(left)[:, ::-1] != surfaces(right)) < 0.002
        for task, key, sign in (("depth", "metres", 1), ("normals", "normals", (-1, 1, 1))):
            flipped = left.labels[task][key][:, ::-1] * sign
            assert np.mean(np.abs(flipped - right.labels[task][key]) > 1e-3) < 0.005
        assert (left.image != right.image).any()


def test_mirrored_boxes_are_mirrored() -> None:
    for index in range(4):
        left, right = (scene("wild", index, WIDE, flip).labels["masks"] for flip in (False, True))
        y0, x0, y1, x1 = left["boxes"].T
        # Half a pixel of 96 x 160: an edge may round to its other side.
        np.testing.assert_allclose(np.stack([y0, 1 - x1, y1, 1 - x0], 1), right["boxes"], atol=1.01 / 96)
        np.testing.assert_array_equal(left["classes"], right["classes"])


def fingerprint(drawn: Scene) -> list[int]:
    """Checksums of the picture and of every label."""
    arrays = [drawn.image]
    for task in sorted(drawn.labels):
        for key in sorted(drawn.labels[task]):
            value: Any = drawn.labels[task][key]
            arrays += value if isinstance(value, list) else [value]
    return [zlib.crc32(np.ascontiguousarray(array).tobytes()) for array in arrays]


def test_a_scene_does_not_depend_on_what_was_drawn_before() -> None:
    forwards = {index: fingerprint(render("wild", 9, index, (48, 64))) for index in range(4)}
    np.random.seed(0)
    backwards = {index: fingerprint(render("wild", 9, index, (48, 64))) for index in reversed(range(4))}
    assert forwards == backwards
    others = {fingerprint(render(domain, seed, 0, (48, 64)))[0] for domain, seed in (("wild", 10), ("geometry", 9))}
    assert len(others | {each[0] for each in forwards.values()}) == 6  # each its own picture


def test_another_process_draws_the_same() -> None:
    code = (
        "import zlib; from must_tf.data.scenes import render; s = render('transfer', 9, 3, (48, 64));"
        "print(zlib.crc32(s.image.tobytes()), zlib.crc32(s.labels['depth']['metres'].tobytes()))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": "77"}, capture_output=True, check=True
    ).stdout
    here = render("transfer", 9, 3, (48, 64))
    checksums = [zlib.crc32(each.tobytes()) for each in (here.image, here.labels["depth"]["metres"])]
    assert [int(word) for word in answer.split()] == checksums


def test_every_class_occurs() -> None:
    rooms = {int(np.argmax(drawn.labels["classification"]["probability"])) for drawn in crowd()}
    objects = {int(identity) for drawn in crowd() for identity in drawn.labels["detection"]["classes"]}
    seen = {int(identity) for drawn in crowd() for identity in np.unique(surfaces(drawn))}
    assert rooms == set(range(len(CLASSES["classification"])))
    assert objects == set(range(1, 1 + len(CLASSES["detection"])))  # 0 is the background
    assert seen == set(range(len(SURFACES)))


def test_classification_names_the_room_that_is_seen() -> None:
    """Only a garden has sky; only corridor and hall have a ceiling."""
    for drawn in crowd():
        probability = drawn.labels["classification"]["probability"]
        assert probability.dtype == np.float32 and sorted(probability) == [0, 0, 0, 1]
        room, seen = CLASSES["classification"][int(np.argmax(probability))], set(np.unique(surfaces(drawn)))
        assert SKY not in seen or room == "garden"
        assert CEILING not in seen or room in ("corridor", "hall")


def test_sky_is_unknown_and_all_else_known() -> None:
    skies = 0
    for drawn in [*crowd(), *some(TALL)]:
        sky, metres = surfaces(drawn) == SKY, drawn.labels["depth"]["metres"]
        assert metres.dtype == np.float32
        np.testing.assert_array_equal(metres == 0, sky)
        np.testing.assert_array_equal((drawn.labels["normals"]["normals"] == 0).all(-1), sky)
        skies += bool(sky.any())
    assert skies >= 3


@pytest.mark.parametrize("size", [WIDE, TALL, (33, 47)])
def test_every_map_has_the_pictures_size(size: tuple[int, int]) -> None:
    drawn = scene("wild", 1, size)
    assert drawn.focal == pytest.approx(0.9 * min(size))
    assert drawn.image.shape == (*size, 3) and drawn.image.dtype == np.uint8
    assert surfaces(drawn).shape == drawn.labels["depth"]["metres"].shape == size
    assert drawn.labels["segmentation"]["confidence"].shape == size
    assert drawn.labels["normals"]["normals"].shape == (*size, 3)
    assert set(drawn.labels) == set(CLASSES) == set(discover())


def test_the_same_world_at_every_size() -> None:
    """Twice as many pixels show the same place: depth at 128 is depth at 256, up to edges."""
    small, large = scene("wild", 2), scene("wild", 2, (256, 256))
    fine = large.labels["depth"]["metres"].reshape(128, 2, 128, 2).mean((1, 3))
    coarse = small.labels["depth"]["metres"]
    assert np.mean(np.abs(fine - coarse) > 0.02 * coarse) < 0.05


@pytest.mark.parametrize(("domain", "seed", "index"), [("wlid", 0, 0), ("wild", -1, 0), ("wild", 0, -1)])
def test_what_cannot_be_drawn_is_refused(domain: str, seed: int, index: int) -> None:
    with pytest.raises(UserError):
        render(domain, seed, index)
