"""The file beside TFLite and ONNX models: NumPy against the pixel path and the restoring of the SavedModel."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from must_tf.data import decoding, geometry, scenes
from must_tf.data.geometry import Frame
from must_tf.serving import objects
from must_tf.serving.formats import postprocess
from must_tf.tasks import discover

SIDE = 64
# Wide and shrunk to whole cells of maps, tall and grown, as is, and one row.
SIZES = [(90, 144), (48, 31), (64, 64), (3, 200)]


@pytest.mark.parametrize("size", SIZES)
def test_photos_are_fitted_as_in_training(size: tuple[int, int]) -> None:
    """Pillow rounds between its two passes, so that values may be off by one."""
    image = scenes.render("wild", 5, 0, (max(size[0], 16), size[1])).image[: size[0]]
    warp = geometry.fit(tf.constant(size), SIDE)
    found = postprocess.fit(image, SIDE)
    assert found["image_shape"].tolist() == [geometry.visible_size(warp).numpy().tolist()]
    wanted = geometry.warp_image(tf.constant(image), warp).numpy().astype(int)
    assert np.abs(found["image"][0] - wanted).max() <= 1
    assert found["image"].dtype == np.uint8


@pytest.mark.parametrize("size", SIZES)
def test_outputs_are_restored_as_in_the_saved_model(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    cells = SIDE // 4
    vectors = rng.normal(size=[cells, cells, 3]).astype(np.float32)
    outputs = {
        "segmentation/probability": rng.dirichlet(np.ones(3), [cells, cells]).astype(np.float32),
        "depth/metres": rng.uniform(1, 9, [cells, cells]).astype(np.float32),
        "normals/normals": vectors / np.linalg.norm(vectors, axis=-1, keepdims=True),
        "classification/probability": np.array([0.2, 0.8], np.float32),
    }
    boxes = rng.uniform(0, SIDE, [5, 4]).astype(np.float32)
    found = postprocess.restore(
        {name: value[None] for name, value in (outputs | {"detection/boxes": boxes}).items()}, size, SIDE
    )
    frame = Frame(tf.constant(size), geometry.fitted_size(tf.constant(size), SIDE), SIDE)
    np.testing.assert_allclose(found["detection/boxes"], geometry.restore_boxes(tf.constant(boxes), frame), atol=1e-6)
    for name, value in outputs.items():
        task, _, key = name.partition("/")
        for restored, wanted in discover()[task].restore({key: tf.constant(value)}, frame).items():
            np.testing.assert_allclose(found[f"{task}/{restored}"], wanted, atol=2e-4, err_msg=f"{task}/{restored}")


@pytest.mark.parametrize("box", [[0.12, 0.2, 0.77, 0.9], [0.5, 0.05, 0.502, 0.052], [0.0, 0.0, 1.0, 1.0]])
def test_masks_are_pasted_as_in_the_saved_model(box: list[float]) -> None:
    grid = np.random.default_rng(1).uniform(0, 1, [28, 28]).astype(np.float32)
    wanted = objects._pasted(tf.constant(grid), tf.constant(box), tf.constant([90, 140]))
    found = postprocess.paste(grid, np.array(box, np.float32), (90, 140))
    assert found.any()
    assert np.mean(found != (wanted.numpy()[..., 0] > 0)) < 1e-3  # at exactly 0.5, rounding decides


def test_photos_are_read_upright_and_over_white() -> None:
    pixels = np.random.default_rng(2).integers(0, 255, [6, 9, 4], np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", exif=exif)
    found = postprocess.read(io.BytesIO(file.getvalue()))
    wanted = decoding.decode(tf.constant(file.getvalue())).numpy().astype(int)
    assert found.shape == wanted.shape == (9, 6, 3)
    assert np.abs(found - wanted).max() <= 1


def test_it_needs_neither_the_project_nor_tensorflow(tmp_path: Path) -> None:
    code = "import sys, postprocess as p, numpy; p.restore({'depth/metres': numpy.ones([1, 4, 4])}, (8, 9), 16)"
    source = Path(postprocess.__file__).read_text()
    (tmp_path / "postprocess.py").write_text(source)
    check = "assert not {'must_tf', 'tensorflow', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", f"{code}; {check}"], cwd=tmp_path, check=True, env={"PATH": ""})
