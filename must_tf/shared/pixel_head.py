"""The head of all pixel tasks."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from must_tf.spec import Given, HeadSettings, Pyramid


class PixelHead(tf_keras.layers.Layer):
    """The paper's head for pixel tasks: 3 convs and a linear conv on the fused P2, from Model Garden's layers."""

    def __init__(self, channels: int, filters: int, settings: HeadSettings, name: str, tells_apart: bool = False):
        """Initializes the head.

        Args:
          channels: of the output.
          filters: of the hidden convs.
          settings: shared with the trunk.
          name: the task.
          tells_apart: the channels are classes. See `create_variables`.
        """
        from official.vision.modeling.heads import segmentation_heads

        super().__init__(name=name)
        self._tells_apart = tells_apart
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

    def create_variables(self, pyramid: Pyramid) -> None:
        """Builds the layers. The kernel of the linear conv is drawn anew if the channels are classes.

        Model Garden draws it with a deviation of 0.01. Then the gradients of all rare classes are nearly the same at
        first, and the head learns to tell them from the common classes but not from each other: after 350 steps on
        generated scenes, it found the objects and had one probability for all four kinds.
        """
        self._convs((pyramid.fused, pyramid.fused))
        if self._tells_apart:
            kernel = next(v for v in reversed(self._convs.weights) if v.shape.rank == 4)
            kernel.assign(tf_keras.initializers.GlorotUniform()(kernel.shape, kernel.dtype))

    def call(self, pyramid: Pyramid, given: Given, training: bool) -> dict[str, tf.Tensor]:
        """Returns {"map": float32 [B, S/4, S/4, channels]}."""
        del given, training
        return {"map": tf.cast(self._convs((pyramid.fused, pyramid.fused)), tf.float32)}
