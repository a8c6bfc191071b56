"""The network as an ONNX file, by tf2onnx and onnxruntime (`pip install 'must-tf[onnx]'`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from must_tf.common.errors import UserError
from must_tf.serving.formats.network import IMAGE, SHAPE, Arrays, Network, Runner

OPSET = 18  # understood by onnxruntime since 1.14, 2023
ERRORS_ONLY = 3  # onnxruntime's level of its log


def check() -> None:
    """Raises a UserError if the packages are missing."""
    try:
        import onnxruntime
        import tf2onnx
    except ImportError:
        raise UserError("--formats: onnx needs tf2onnx and onnxruntime. Run pip install 'must-tf[onnx]'.") from None
    del onnxruntime, tf2onnx


def convert(network: Network) -> bytes:
    """Returns the ONNX file.

    Raises:
      Exception: the converter's, if ONNX lacks an operation.
    """
    import tf2onnx

    model, _ = tf2onnx.convert.from_function(
        network.function,
        input_signature=list(network.signature.values()),
        opset=OPSET,
        custom_op_handlers={"GatherV2": (_gather, [])},
    )
    return bytes(model.SerializeToString())


def _gather(graph: Any, node: Any, name: str, arguments: Any) -> None:
    """Converts a gather whose axis may be counted from the end, which tf2onnx 1.17 takes for one before the batch."""
    from tf2onnx.onnx_opset.tensor import GatherV2

    del arguments
    axis = int(node.inputs[2].get_tensor_value())
    if axis < 0:
        counted = graph.make_const(f"{name}__axis", np.int32(axis + graph.get_rank(node.input[0])))
        graph.replace_input(node, node.input[2], counted.output[0], 2)
    GatherV2.version_12(graph, node)


def runner(content: bytes) -> Runner:
    """Loads an ONNX file, to run on CPUs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads would slow down others
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    inputs = {one.name for one in session.get_inputs()}
    names = [one.name for one in session.get_outputs()]

    def predict(image: np.ndarray, image_shape: np.ndarray) -> Arrays:
        given = {name: value for name, value in ((IMAGE, image), (SHAPE, image_shape)) if name in inputs}
        return dict(zip(names, session.run(None, given), strict=True))

    return predict
