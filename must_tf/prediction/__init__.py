"""Predictions on photos of any size, from a run or an export: `must_tf.load(...)` and `must predict`."""

from __future__ import annotations

from must_tf.prediction.images import ImageError as ImageError
from must_tf.prediction.model import Model as Model
from must_tf.prediction.model import load as load
from must_tf.prediction.result import Result as Result
