"""TFLite files of one network in four precisions, of TFLite's own operations only.

float32   as trained
float16   weights in 16 bits
dynamic   weights in 8 bits, activations in 8 bits while a layer is computed
int8      weights and activations of all convolutions and dense layers, and of everything in the trunk, in 8 bits, in
          ranges that were seen on photos. Boxes are decoded and searched in float32: in steps of 1/255 of the input,
          corners would be off by pixels
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import flatbuffers
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow.lite.python import schema_py_generated as schema

from must_tf.common import upstream
from must_tf.data.input import CORES
from must_tf.serving.formats.network import IMAGE, SHAPE, Arrays, Network, Runner
from must_tf.serving.formats.photos import Photo

PRECISIONS = ("float32", "float16", "dynamic", "int8")
SIGNATURE = "serving_default"
IDENTIFIER = b"TFL3"  # of the file format
TRUNK = "/trunk/"  # in the names of its tensors
LAYERS = {
    schema.BuiltinOperator.CONV_2D,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D,
    schema.BuiltinOperator.FULLY_CONNECTED,
    schema.BuiltinOperator.TRANSPOSE_CONV,
}


def save(network: Network, folder: str) -> None:
    """Writes the network as the SavedModel that `convert` reads, so that it is traced once for all precisions."""
    traced = network.function.get_concrete_function(*network.signature.values())
    module = tf.Module()
    module.function = traced
    tf.saved_model.save(module, folder, signatures={SIGNATURE: traced})


def convert(folder: str, precision: str, names: Iterable[str], photos: Iterable[Photo]) -> bytes:
    """Returns the TFLite file.

    Args:
      folder: of `save`.
      precision: one of PRECISIONS.
      names: of the network's inputs.
      photos: those that int8 gets its ranges from.

    Raises:
      Exception: the converter's, if TFLite lacks an operation.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated", UserWarning)
        if precision != "int8":
            return bytes(converter.convert())
        converter.representative_dataset = lambda: _inputs(names, photos)
        return upstream.quantised(layers_only(upstream.calibrated(converter)))


def _inputs(names: Iterable[str], photos: Iterable[Photo]) -> Iterator[Arrays]:
    for image, shape in photos:
        yield {name: value for name, value in ((IMAGE, image), (SHAPE, shape)) if name in names}


def layers_only(calibrated: bytes) -> bytes:
    """Removes the seen ranges of all tensors that stay in float32: TFLite quantises only tensors that have one.

    Some of the others have no usable range either: the level of an empty box is the logarithm of 0.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(calibrated, 0))
    for graph in model.subgraphs:
        quantised: set[int] = set()
        for operator in graph.operators:
            tensors = {int(place) for place in (*operator.inputs, *operator.outputs) if place >= 0}
            name = graph.tensors[operator.outputs[0]].name.decode()
            if _kind(model, operator) in LAYERS or TRUNK in name:
                quantised |= tensors
        for place, tensor in enumerate(graph.tensors):
            if place not in quantised and tensor.quantization is not None:
                tensor.quantization.min = tensor.quantization.max = None
    builder = flatbuffers.Builder(len(calibrated))
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def _kind(model: Any, operator: Any) -> int:
    code = model.operatorCodes[operator.opcodeIndex]
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def runner(content: bytes) -> Runner:
    """Loads a TFLite file."""
    interpreter = Interpreter(model_content=content, num_threads=CORES)
    run = interpreter.get_signature_runner(SIGNATURE)
    names = set(run.get_input_details())

    def predict(image: np.ndarray, image_shape: np.ndarray) -> Arrays:
        return dict(run(**next(_inputs(names, [(image, image_shape)]))))

    return predict
