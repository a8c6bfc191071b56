"""The shared trunk: any Model Garden backbone and its FPN, P3 to P7."""

from __future__ import annotations

import dataclasses

import tensorflow as tf
import tf_keras
from official.modeling import hyperparams
from official.vision.configs import backbones as backbone_configs
from official.vision.configs import common
from official.vision.configs import decoders as decoder_configs
from official.vision.modeling import backbones, decoders
from official.vision.modeling.layers import nn_layers

from must_tf.config.fields import at_least
from must_tf.spec import HeadSettings, Pyramid

# ImageNet's channel means and standard deviations, as in Model Garden, in units of 0..255.
MEAN = (123.675, 116.28, 103.53)
DEVIATION = (58.395, 57.12, 57.375)
FUSED_LEVEL = 2  # the level of `Pyramid.fused`
LAST_STAGE = "5"  # of the backbone


@dataclasses.dataclass
class TrunkConfig(hyperparams.Config):
    """Backbone and FPN. Fields are named as in Model Garden's model configs, whose factories read them."""

    backbone: backbone_configs.Backbone = dataclasses.field(
        default_factory=lambda: backbone_configs.Backbone(type="resnet", resnet=backbone_configs.ResNet())
    )
    decoder: decoder_configs.Decoder = dataclasses.field(
        default_factory=lambda: decoder_configs.Decoder(type="fpn", fpn=decoder_configs.FPN())
    )
    min_level: int = at_least(3, 2)
    max_level: int = at_least(7, 3)
    norm_activation: common.NormActivation = dataclasses.field(
        default_factory=lambda: common.NormActivation(use_sync_bn=True, norm_momentum=0.997, norm_epsilon=1e-4)
    )


class Trunk(tf_keras.layers.Layer):
    """Maps uint8 images [B, S, S, 3] to a Pyramid.

    Attributes:
      smallest: side in pixels of the smallest input that reaches every level.
    """

    def __init__(self, config: TrunkConfig, size: int, regularizer: tf_keras.regularizers.Regularizer | None):
        """`size` is S, the side of the input in pixels."""
        super().__init__(name="trunk")
        self.backbone = backbones.factory.build_backbone(
            input_specs=tf_keras.layers.InputSpec(shape=[None, size, size, 3]),
            backbone_config=config.backbone,
            norm_activation_config=config.norm_activation,
            l2_regularizer=regularizer,
        )
        self.decoder = decoders.factory.build_decoder(
            input_specs=self.backbone.output_specs, model_config=config, l2_regularizer=regularizer
        )
        self.smallest = 2**config.max_level

    def empty(self) -> Pyramid:
        """Returns a pyramid of zeros in the shapes of the smallest input, without running the trunk."""

        def zeros(level: str, channels: int) -> tf.Tensor:
            side = -(-self.smallest // 2 ** int(level))
            return tf.zeros([1, side, side, channels], self.compute_dtype)

        levels = {level: zeros(level, shape[-1]) for level, shape in self.decoder.output_specs.items()}
        c5 = zeros(LAST_STAGE, self.backbone.output_specs[LAST_STAGE][-1])
        return Pyramid(c5=c5, levels=levels, fused=nn_layers.pyramid_feature_fusion(levels, FUSED_LEVEL))

    def call(self, images: tf.Tensor) -> Pyramid:
        """Normalises the images and runs backbone and FPN, once for all heads."""
        normalised = (tf.cast(images, tf.float32) - MEAN) / DEVIATION
        stages = self.backbone(tf.cast(normalised, self.compute_dtype))
        levels = self.decoder(stages)
        fused = nn_layers.pyramid_feature_fusion(levels, FUSED_LEVEL)
        return Pyramid(c5=stages[LAST_STAGE], levels=levels, fused=fused)


def head_settings(config: TrunkConfig, regularizer: tf_keras.regularizers.Regularizer | None) -> HeadSettings:
    """Returns the settings that the heads share with the trunk."""
    norm = config.norm_activation
    return HeadSettings(
        config.min_level,
        config.max_level,
        norm.activation,
        norm.use_sync_bn,
        norm.norm_momentum,
        norm.norm_epsilon,
        regularizer,
    )
