"""Files beside an export's SavedModel that servers and clients need.

assets.extra/tf_serving_warmup_requests   requests that TensorFlow Serving runs when it loads the model
request.json                              a request for its REST interface
client_rest.py, client_grpc.py            clients without TensorFlow
config.pbtxt                              Triton's settings, in the model's folder
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping

import tensorflow as tf

from must_tf.common import files
from must_tf.data import scenes
from must_tf.serving.clients import client_grpc, client_rest

WARM_UP = os.path.join("assets.extra", "tf_serving_warmup_requests")
SAMPLE = (240, 320)  # height, width of the sample photo
PREDICT_LOG, REQUEST = 6, 1  # fields of PredictionLog and PredictLog, tensorflow_serving/apis/prediction_log.proto
TRITON_TYPES = {
    tf.bool: "BOOL",
    tf.float32: "FP32",
    tf.int32: "INT32",
    tf.int64: "INT64",
    tf.string: "STRING",
    tf.uint8: "UINT8",
}


def sample(number: int = 0, size: tuple[int, int] = SAMPLE) -> bytes:
    """Returns a generated scene as a JPEG file of `size`, height and width. Scenes differ by number."""
    return bytes(tf.io.encode_jpeg(scenes.render("wild", 7, number, size).image, quality=90).numpy())


def write(path: str, name: str, photo: bytes) -> None:
    """Writes the files beside the SavedModel at `path`, which is served as the model `name`."""
    tf.io.gfile.makedirs(os.path.join(path, "assets.extra"))
    with tf.io.TFRecordWriter(os.path.join(path, WARM_UP)) as writer:
        for signature in ("serving_default", "image_bytes"):
            writer.write(warm_up(name, photo, signature))
    files.write_whole(os.path.join(path, "request.json"), client_rest.request_body([photo]))
    for client in (client_rest, client_grpc):
        source = inspect.getsource(client).replace(
            '"--model", default="student"', f'"--model", default={json.dumps(name)}'
        )
        files.write_whole(os.path.join(path, f"{client.__name__.rpartition('.')[2]}.py"), source.encode())


def warm_up(name: str, photo: bytes, signature: str) -> bytes:
    """Returns a PredictionLog with a request for one photo."""
    request = client_grpc.predict_request(name, {"image_bytes": [photo]}, signature)
    return client_grpc.bytes_field(PREDICT_LOG, client_grpc.bytes_field(REQUEST, request))


def triton_config(name: str, outputs: Mapping[str, tf.TensorSpec]) -> str:
    """Returns a config.pbtxt for the signature of encoded images.

    `max_batch_size` is 0: the batch is the first of the listed dimensions, because the number of images is an input's
    only dimension, and Triton cannot join batches whose maps differ in size.
    """
    lines = [f'name: "{name}"', 'platform: "tensorflow_savedmodel"', "max_batch_size: 0"]
    specs = {"image_bytes": tf.TensorSpec([None], tf.string)}
    for kind, tensors in (("input", specs), ("output", outputs)):
        for tensor, spec in sorted(tensors.items()):
            dims = ", ".join(str(-1 if size is None else size) for size in spec.shape)
            entry = f'name: "{tensor}" data_type: TYPE_{TRITON_TYPES[spec.dtype]} dims: [ {dims} ]'
            lines.append(f"{kind} [ {{ {entry} }} ]")
    return "\n".join([*lines, "version_policy: { latest { num_versions: 1 } }", ""])
