"""Drawn labels, pixel by pixel: what is worked out by hand must be where it belongs, and nothing anywhere else."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from must_tf.shared import picture_grid
from must_tf.tasks.classification import view as classification
from must_tf.tasks.depth import Config as DepthConfig
from must_tf.tasks.depth import view as depth
from must_tf.tasks.detection import view as detection
from must_tf.tasks.masks import view as masks
from must_tf.tasks.normals import Config as NormalsConfig
from must_tf.tasks.normals import view as normals
from must_tf.tasks.segmentation import view as segmentation

NAMES = SimpleNamespace(classes=("a", "b", "c"))
SIZES = [(128, 128), (640, 640), (120, 240)]
GREY = 100
UNKNOWN = (64, 64, 64)


def photo(size: tuple[int, int]) -> np.ndarray:
    return np.full((*size, 3), GREY, np.uint8)


def changed(picture: np.ndarray) -> np.ndarray:
    """Where the grey photo was drawn on, bool [h, w]."""
    return (picture != GREY).any(-1)


def objects(*boxes: tuple[float, ...], score: float = 1.0, crowd: bool = False) -> dict[str, Any]:
    """Labels of objects of classes 1, 2, ...; the crops are full."""
    count = len(boxes)
    return {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "classes": np.arange(1, 1 + count, dtype=np.int32),
        "scores": np.full(count, score, np.float32),
        "is_crowd": np.full(count, crowd),
        "area": np.ones(count, np.float32),
        "crops": [np.ones((8, 8), np.uint8)] * count,
    }


def ring(size: tuple[int, int], window: tuple[int, ...], line: int) -> np.ndarray:
    """The pixels of a frame, `line` wide, on the inside of rows y0..y1 and columns x0..x1."""
    y0, x0, y1, x1 = window
    where = np.zeros(size, bool)
    where[y0:y1, x0:x1] = True
    where[y0 + line : y1 - line, x0 + line : x1 - line] = False
    return where


@pytest.mark.parametrize(("size", "line"), zip(SIZES, (1, 3, 1), strict=True))
def test_box_is_drawn_along_its_edges_and_nowhere_else(size: tuple[int, int], line: int) -> None:
    height, width = size
    picture = detection.draw(photo(size), objects((0.5, 0.25, 0.75, 0.875)), NAMES)
    expected = ring(size, (height // 2, width // 4, height * 3 // 4, width * 7 // 8), line)
    below = slice(height // 2, None)  # the name stands above the box
    np.testing.assert_array_equal(changed(picture)[below], expected[below])
    colours = np.unique(picture[below][expected[below]], axis=0)
    assert len(colours) == 1 and np.ptp(colours.astype(int)) > 60  # one colour, and no grey
    name = np.argwhere(changed(picture)[: height // 2])
    assert name.min(0)[1] == width // 4 and name.max(0)[0] == height // 2 - 1  # right on the box's corner
    assert name.min(0)[0] > height // 2 - 0.2 * height and name.max(0)[1] < width // 4 + 0.2 * width


def test_classes_differ_in_colour_and_the_unsure_is_pale() -> None:
    boxes = ((0.5, 0.1, 0.9, 0.4), (0.5, 0.6, 0.9, 0.9))
    sure, unsure = (detection.draw(photo((100, 100)), objects(*boxes, score=s), NAMES) for s in (1.0, 0.25))
    left, right = sure[80, 10].astype(int), sure[80, 60].astype(int)
    assert np.abs(left - right).max() > 60
    # By hand: opacity 0.35 + 0.65 * 0.25 = 0.5125.
    np.testing.assert_allclose(unsure[80, 10], 0.4875 * GREY + 0.5125 * left, atol=0.51)


def test_crowd_is_dashed_and_hatched() -> None:
    picture = detection.draw(photo((128, 128)), objects((0.5, 0.25, 0.75, 0.875), crowd=True), NAMES)
    window = changed(picture)[64:96, 32:112]
    assert 0.4 < np.mean(window[-1]) < 0.9  # gaps in the lower edge
    assert 0.02 < np.mean(window[1:-1, 1:-1]) < 0.15  # thin stripes
    assert not changed(picture)[96:].any() and not changed(picture)[64:, :32].any()


@pytest.mark.parametrize("size", SIZES)
def test_mask_is_filled_on_its_own_pixels(size: tuple[int, int]) -> None:
    """A disc of 64 x 64 original pixels; a box of another size may round by one original pixel."""
    height, width = size
    disc = np.zeros((64, 64), np.uint8)
    cv2.circle(disc, (32, 32), 28, 1, -1)
    labels = objects((0.375, 0.25, 0.875, 0.75)) | {"crops": [disc]}
    picture = masks.draw(photo(size), labels, NAMES)
    top, left = height * 3 // 8, width // 4
    expected = np.zeros(size, np.uint8)
    expected[top : height * 7 // 8, left : width * 3 // 4] = cv2.resize(disc, (width // 2, height // 2))
    pixel = 2 * max(1, max(size) // 128) + 1
    outer, inner = (operate(expected, np.ones((pixel, pixel))) > 0 for operate in (cv2.dilate, cv2.erode))
    drawn = changed(picture)[top:]  # the name stands above the box
    assert not (drawn & ~outer[top:]).any() and not (inner[top:] & ~drawn).any()
    middle, edge = picture[top + height // 4, width // 2], picture[top + height // 4][drawn[height // 4]][0]
    np.testing.assert_allclose(middle, 0.5 * GREY + 0.5 * edge, atol=0.51)  # half fill, full outline


def test_mask_of_the_labels_own_size_is_exact() -> None:
    crop = np.zeros((32, 40), np.uint8)
    crop[:, :20] = crop[16:] = 1  # an L
    labels = objects((0.5, 0.25, 0.75, 0.5625)) | {"crops": [crop]}
    picture = masks.draw(photo((128, 128)), labels, NAMES)
    expected = np.zeros((64, 128), bool)
    expected[:32, 32:72] = crop
    np.testing.assert_array_equal(changed(picture)[64:], expected)
    inside, outline = picture[88, 40].astype(int), picture[[95, 88, 64], [60, 32, 40]].astype(int)
    np.testing.assert_allclose(outline - GREY, np.tile(2 * (inside - GREY), (3, 1)), atol=1.01)  # along the box too


@pytest.mark.parametrize("size", SIZES)
def test_segmentation_tints_only_what_is_labelled(size: tuple[int, int]) -> None:
    """Left half class 0, right half nobody's; by hand 0.4 photo + 0.6 colour, and the hatch 0.3 + 0.7 dark grey."""
    classes = np.full((64, 64), 255, np.int32)
    classes[:, :32] = 0
    labels = {"classes": classes, "confidence": np.ones((64, 64), np.float32)}
    picture = segmentation.draw(photo(size), labels, SimpleNamespace(classes=("a",)))
    half = size[1] // 2
    tint = picture[0, 0].astype(int)
    assert np.ptp(tint) > 40
    assert (picture[:10, :half] == tint).all() and (picture[-10:, :half] == tint).all()
    assert changed(picture)[:, :half].all()
    right = {tuple(int(part) for part in each) for each in np.unique(picture[:, half:].reshape(-1, 3), axis=0)}
    assert right == {(GREY,) * 3, (75,) * 3}  # 0.3 * 100 + 0.7 * 64 = 74.8
    assert 0.2 < changed(picture)[:, half:].mean() < 0.45  # two stripes of six


def test_segmentation_is_paler_where_less_certain() -> None:
    confidence = np.ones((200, 200), np.float32)
    confidence[100:] = 0.5
    labels = {"classes": np.zeros((200, 200), np.int32), "confidence": confidence}
    picture = segmentation.draw(photo((200, 200)), labels, NAMES).astype(int)
    np.testing.assert_allclose((picture[199, 0] - GREY) * 2, picture[0, 0] - GREY, atol=1.01)


@pytest.mark.parametrize("size", SIZES)
def test_near_is_brighter_than_far(size: tuple[int, int]) -> None:
    """Viridis: nearest is yellow (253, 231, 37), farthest dark violet (68, 1, 84)."""
    metres = np.tile(np.linspace(1, 5, 64, dtype=np.float32), (48, 1))
    row = depth.draw(photo(size), {"metres": metres}, DepthConfig())[0].astype(int)
    np.testing.assert_allclose(row[0], (253, 231, 37), atol=2)
    np.testing.assert_allclose(row[-1], (68, 1, 84), atol=2)
    luminance = row @ (0.299, 0.587, 0.114)
    assert (np.diff(luminance) <= 0.51).all() and luminance[0] - luminance[-1] > 150


def test_unknown_is_grey_and_known_is_not() -> None:
    known = np.zeros((64, 64), bool)
    known[:20, :30] = True
    distance = depth.draw(photo((64, 64)), {"metres": np.where(known, 2.0, 0).astype(np.float32)}, DepthConfig())
    vectors = np.where(known[..., None], (0.0, 0.0, -1.0), 0.0).astype(np.float32)
    facing = normals.draw(photo((64, 64)), {"normals": vectors}, NormalsConfig())
    for picture in (distance[:40], facing):  # the key lies at the foot
        np.testing.assert_array_equal((picture == UNKNOWN).all(-1), ~known[: len(picture)])
    nothing = depth.draw(photo((64, 64)), {"metres": np.zeros((64, 64), np.float32)}, DepthConfig())
    assert (nothing == UNKNOWN).all()


@pytest.mark.parametrize(
    ("normal", "colour"),
    [
        ((0, 0, -1), (127.5, 127.5, 0)),
        ((1, 0, 0), (255, 127.5, 127.5)),
        ((0, -1, 0), (127.5, 0, 127.5)),
        ((0.6, 0, -0.8), (204, 127.5, 25.5)),
        ((-0.48, 0.6, -0.64), (66.3, 204, 45.9)),
    ],
)
def test_normals_become_colours(normal: tuple[float, ...], colour: tuple[float, ...]) -> None:
    """By hand: (n + 1) * 127.5."""
    picture = normals.draw(photo((40, 60)), {"normals": np.full((20, 30, 3), normal, np.float32)}, NormalsConfig())
    np.testing.assert_allclose(picture, np.broadcast_to(colour, picture.shape), atol=0.51)


@pytest.mark.parametrize("size", SIZES)
def test_classification_bars_are_as_long_as_probable(size: tuple[int, int]) -> None:
    picture = classification.draw(photo(size), {"probability": np.array([0.25, 0.75, 0])}, NAMES)
    assert not changed(picture)[: size[0] // 3].any()
    saturated = np.ptp(picture.astype(int), axis=-1) > 60
    lengths = saturated.sum(1)
    assert set(lengths[lengths > 0]) == {size[1] // 4, size[1] * 3 // 4}
    first, second = np.flatnonzero(lengths)[[0, -1]]
    assert lengths[first] > lengths[second]  # the likeliest on top


@pytest.mark.parametrize("size", SIZES)
def test_labels_that_show_nothing_leave_the_photo(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    before = image.copy()
    for view in (detection, masks):
        np.testing.assert_array_equal(view.draw(image, objects(), NAMES), before)
        view.draw(image, objects((0.1, 0.1, 0.9, 0.9)), NAMES)
    np.testing.assert_array_equal(classification.draw(image, {"probability": np.zeros(3)}, NAMES), before)
    np.testing.assert_array_equal(image, before)  # the caller's picture is not drawn on


def painter(colour: tuple[int, int, int]) -> picture_grid.Drawer:
    """Fills the whole tile."""
    return picture_grid.Drawer(lambda image, labels, config: np.full_like(image, colour), None)


def tiles(picture: np.ndarray, colour: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Height and width of every rectangle filled with that colour, from the top left."""
    _, _, facts, _ = cv2.connectedComponentsWithStats((picture == colour).all(-1).astype(np.uint8), connectivity=4)
    return [(int(each[cv2.CC_STAT_HEIGHT]), int(each[cv2.CC_STAT_WIDTH])) for each in facts[1:]]


def test_grid_has_a_tile_per_task() -> None:
    red, green, blue = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    drawers = {"one": painter(red), "two": painter(green)}
    both: dict[str, Any] = {"one": {}, "two": {}}
    rows = [
        picture_grid.GridRow(np.full((50, 100, 3), blue, np.uint8), both, both, "wide"),
        picture_grid.GridRow(np.full((60, 30, 3), blue, np.uint8), both, {"one": {}}, "tall"),
    ]
    picture = picture_grid.grid(rows, drawers, tile=80)
    assert tiles(picture, blue) == [(40, 80), (80, 40)]  # the photos, enlarged to 80 pixels
    assert tiles(picture, red) == [(40, 80)] * 2 + [(80, 40)] * 2
    assert tiles(picture, green) == [(40, 80)] * 2 + [(80, 40)]
    without = picture_grid.grid([row._replace(predictions={}) for row in rows], drawers, tile=80)
    assert without.shape[1] < picture.shape[1] and tiles(without, green) == [(40, 80), (80, 40)]


def test_missing_label_gets_a_tile_that_says_so() -> None:
    image = np.full((80, 80, 3), (0, 0, 255), np.uint8)
    drawers = {"one": painter((255, 0, 0))}
    row = picture_grid.GridRow(image, {}, {"one": {}}, "x")
    other = picture_grid.GridRow(image, {"one": {}}, {}, "x")
    pictures = {
        name: picture_grid.grid([each, full], drawers, tile=80)
        for name, each, full in (("label", row, other), ("prediction", other, row))
    }
    for name, column in (("label", 1), ("prediction", 2)):
        blue = np.argwhere((pictures[name] == (0, 0, 255)).all(-1))
        top, left = blue.min(0) + (0, column * (80 + picture_grid.GAP))
        cell = pictures[name][top : top + 80, left : left + 80]
        assert cell.mean() > 200 and not (cell == (255, 0, 0)).all(-1).any()
        assert (cell.max(-1) < 90).sum() > 20  # ink: "no label", "no prediction"


def test_save_png_writes_whole_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    path = tmp_path / "new" / "folder" / "picture.png"
    picture_grid.save_png(str(path), picture)
    picture_grid.save_png(str(path), picture[:, ::-1])  # a view; overwrites
    np.testing.assert_array_equal(np.asarray(Image.open(path)), picture[:, ::-1])
    assert [each.name for each in path.parent.iterdir()] == ["picture.png"]

    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(tf.io.gfile.GFile, "write", broken)
    with pytest.raises(OSError, match="disk full"):
        picture_grid.save_png(str(path), picture)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), picture[:, ::-1])


def test_tensorboard_image_logs_the_pixels(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)
    writer = tf.summary.create_file_writer(str(tmp_path))
    picture_grid.tensorboard_image(writer, "seen", picture_grid.png(picture), (8, 9), 7)
    writer.close()
    records = tf.data.TFRecordDataset([str(each) for each in tmp_path.iterdir()]).as_numpy_iterator()
    events = [tf.compat.v1.Event.FromString(record) for record in records]
    values = itertools.chain.from_iterable(((event.step, value) for value in event.summary.value) for event in events)
    ((step, value),) = ((step, value) for step, value in values if value.tag == "seen")
    assert step == 7
    assert value.metadata.plugin_data.plugin_name == "images"
    assert list(value.tensor.string_val[:2]) == [b"9", b"8"]  # width and height
    np.testing.assert_array_equal(tf.io.decode_png(value.tensor.string_val[2]).numpy(), picture)
