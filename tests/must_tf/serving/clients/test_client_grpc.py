"""The client's own reading and writing of messages, against protobuf's; and a call over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf

from must_tf.serving.clients import client_grpc
from tests.must_tf.serving.clients.messages import messages

ARRAYS = [
    np.array([[1.5, -2.25, 3.0]], np.float32),
    np.array([0.1, 1e300]),
    np.array([[0, -1], [2**31 - 1, -(2**31)]], np.int32),
    np.array([2**62, -(2**62), 127, 128], np.int64),
    np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
    np.array([True, False, True]),
    np.zeros([0, 4], np.float32),
    np.array(7, np.int32),
]


@pytest.mark.parametrize("values", ARRAYS, ids=lambda value: f"{value.dtype}{list(value.shape)}")
def test_arrays_are_read_and_written_as_protobuf_does(values: np.ndarray) -> None:
    """Into a TensorProto; and out of one with its content as bytes, and with typed fields."""
    proto = tf.make_tensor_proto(values)
    own = type(proto).FromString(client_grpc.tensor(values))
    np.testing.assert_array_equal(tf.make_ndarray(own), values)
    assert own.dtype == proto.dtype and own.tensor_shape == proto.tensor_shape
    for filled in (proto, typed(values)):
        read = client_grpc.array(memoryview(filled.SerializeToString()))
        np.testing.assert_array_equal(read, values)
        assert read.dtype == values.dtype


def typed(values: np.ndarray) -> Any:
    """Returns a TensorProto that holds each number in the field of its type, as TensorFlow Serving answers."""
    proto = tf.make_tensor_proto(values)
    proto.tensor_content = b""
    fields = {"float32": "float_val", "float64": "double_val", "int64": "int64_val", "bool": "bool_val"}
    field = fields.get(values.dtype.name, "int_val")
    proto.ClearField(field)
    getattr(proto, field).extend(values.ravel().tolist())
    return proto


def test_equal_values_that_are_sent_once() -> None:
    """protobuf's helper leaves out the last values of a constant."""
    constant = tf.make_tensor_proto(3.0, shape=[2, 2], dtype=tf.float32)
    assert len(constant.float_val) == 1
    np.testing.assert_array_equal(client_grpc.array(memoryview(constant.SerializeToString())), np.full([2, 2], 3.0))


def test_a_request_has_the_fields_of_the_schema() -> None:
    """Two photos, one of them longer than a length of one byte can say."""
    photos = [b"\xff\xd8", bytes(300)]
    request = client_grpc.predict_request("tiny", {"image_bytes": photos}, "image_bytes", ["depth/metres"])
    read = messages()["PredictRequest"].FromString(request)
    assert (read.model_spec.name, read.model_spec.signature_name) == ("tiny", "image_bytes")
    assert tf.make_ndarray(as_tensor(read.inputs["image_bytes"])).tolist() == photos
    assert list(read.output_filter) == ["depth/metres"]


def as_tensor(message: Any) -> Any:
    """Converts a TensorProto of another pool to TensorFlow's class."""
    return type(tf.make_tensor_proto(0)).FromString(message.SerializeToString())


def response(**outputs: Any) -> bytes:
    """Returns a PredictResponse with these tensors."""
    made = messages()["PredictResponse"]()
    made.model_spec.name = "tiny"
    for name, values in outputs.items():
        made.outputs[name].ParseFromString(tf.make_tensor_proto(values).SerializeToString())
    return bytes(made.SerializeToString())


def test_a_response_is_read() -> None:
    outputs = client_grpc.predict_response(response(depth=np.ones([1, 2, 2], np.float32), status=[b"ok"]))
    assert outputs["depth"].shape == (1, 2, 2) and outputs["status"].tolist() == [b"ok"]


@pytest.fixture
def address() -> Iterator[str]:
    """A gRPC server with TensorFlow Serving's method, which returns the sizes of the files."""

    class Handler(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
            if handler_call_details.method != "/tensorflow.serving.PredictionService/Predict":
                return None
            return grpc.unary_unary_rpc_method_handler(answer)

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        read = messages()["PredictRequest"].FromString(request)
        return response(sizes=[len(photo) for photo in read.inputs["image_bytes"].string_val])

    server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[Handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


def test_a_call(address: str) -> None:
    assert client_grpc.predict(address, "tiny", [b"abc", b""])["sizes"].tolist() == [3, 0]
