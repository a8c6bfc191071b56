"""The head of all pixel tasks."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from must_tf.spec import Given, HeadSettings, Pyramid


class PixelHead(tf_keras.layers.Layer):
    """The paper's head for pixel tasks: 3 convs and a linear conv on the fused P2, from Model Garden's layers."""

    def __init__(self, channels: int, filters: int, settings: HeadSettings, name: str):
        from official.vision.modeling.heads import segmentation_heads

        super().__init__(name=name)
        self._convs = segmentation_heads.SegmentationHead(
            num_classes=channels,
            level=2,
            num_convs=3,
            num_filters=filters,
            prediction_kernel_size=1,
            upsample_factor=1,
            feature_fusion=None,
            activation=settings.activation,
            use_sync_bn=settings.use_sync_bn,
            norm_momentum=settings.norm_momentum,
            norm_epsilon=settings.norm_epsilon,
            kernel_regularizer=settings.regularizer,
        )

    def call(self, pyramid: Pyramid, given: Given, training: bool) -> dict[str, tf.Tensor]:
        """Returns {"map": float32 [B, S/4, S/4, channels]}."""
        del given, training
        return {"map": tf.cast(self._convs((pyramid.fused, pyramid.fused)), tf.float32)}
