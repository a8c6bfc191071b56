"""The shared trunk: any Model Garden backbone and its FPN, P3 to P7."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf
import tf_keras
from official.vision.configs import backbones as backbone_configs
from official.vision.configs import common
from official.vision.configs import decoders as decoder_configs
from official.vision.modeling import backbones, decoders
from official.vision.modeling.layers import nn_layers

from must_tf.config.base import Config
from must_tf.config.fields import between, choice, within
from must_tf.spec import HeadSettings, Pyramid

# ImageNet's channel means and standard deviations, as in Model Garden, in units of 0..255.
MEAN = (123.675, 116.28, 103.53)
DEVIATION = (58.395, 57.12, 57.375)
MOST_OF_PIXELS = 10_000  # of their mean and deviation: beyond, all inputs look the same
FUSED_LEVEL = 2  # the level of `Pyramid.fused`
LAST_STAGE = "5"  # of the backbone
CHANNELS = 3
WITHOUT_STAGES = ("dilated_resnet", "vit")  # backbones without features of strides 4, 8, 16 and 32
PYRAMIDS = ("fpn", "nasfpn")  # decoders that give the heads every level


@dataclasses.dataclass
class Normalisation(Config):
    """Normalisation of the pixels for the backbone: (value - mean) / deviation, for red, green and blue.

    Trained weights fit the normalisation that they were trained with, and no other.

    Attributes:
      mean: in units of 0..255.
      deviation: in units of 0..255.
    """

    mean: tuple[float, ...] = between(MEAN, -MOST_OF_PIXELS, MOST_OF_PIXELS)
    deviation: tuple[float, ...] = within(DEVIATION, MOST_OF_PIXELS)


@dataclasses.dataclass
class TrunkConfig(Config):
    """Backbone and FPN. Fields are named as in Model Garden's model configs, whose factories read them.

    Two of them are this project's:

    Attributes:
      normalisation: of the pixels.
      se_activation: the activation inside the squeeze-and-excitation of an EfficientNet. Model Garden's is "relu"; that
        of the published EfficientNets is "swish".
    """

    backbone: backbone_configs.Backbone = dataclasses.field(
        default_factory=lambda: backbone_configs.Backbone(type="resnet", resnet=backbone_configs.ResNet())
    )
    decoder: decoder_configs.Decoder = dataclasses.field(
        default_factory=lambda: decoder_configs.Decoder(type="fpn", fpn=decoder_configs.FPN())
    )
    min_level: int = between(3, 2, 10)
    max_level: int = between(7, 3, 10)
    norm_activation: common.NormActivation = dataclasses.field(
        default_factory=lambda: common.NormActivation(use_sync_bn=True, norm_momentum=0.997, norm_epsilon=1e-4)
    )
    normalisation: Normalisation = dataclasses.field(default_factory=Normalisation)
    se_activation: str = choice("relu", "swish")


def problems(config: TrunkConfig) -> list[str]:
    """Returns a sentence for each setting that does not fit the others."""
    wrong = [
        f"task.model.normalisation.{name} has {len(values)} numbers. Give {CHANNELS}: for red, green and blue."
        for name, values in config.normalisation.as_dict().items()
        if len(values) != CHANNELS
    ]
    if config.backbone.type in WITHOUT_STAGES:
        wrong.append(
            f"task.model.backbone.type={config.backbone.type} has no features of strides 4, 8, 16 and 32. Choose "
            "another one, for example resnet."
        )
    if config.min_level > config.max_level:
        wrong.append(f"task.model.min_level={config.min_level} is above task.model.max_level={config.max_level}.")
    if config.decoder.type not in PYRAMIDS:
        wrong.append(
            f"task.model.decoder.type={config.decoder.type} gives the heads no pyramid of features. Choose one of "
            f"{', '.join(PYRAMIDS)}."
        )
    if config.se_activation != "relu" and config.backbone.type != "efficientnet":
        wrong.append(
            f"task.model.se_activation={config.se_activation} needs task.model.backbone.type=efficientnet; a "
            f"{config.backbone.type} does not use it. Remove one of them."
        )
    return wrong


def size_problems(config: TrunkConfig, size: int) -> list[str]:
    """Returns a sentence if an input of `size` pixels does not reach the last level without a remainder."""
    multiple = 2**config.max_level
    if size % multiple == 0:
        return []
    near = max(round(size / multiple), 1) * multiple
    return [
        f"task.input_size={size} must be a multiple of {multiple} (the stride of level {config.max_level}), "
        f"for instance {near}."
    ]


class Trunk(tf_keras.layers.Layer):
    """Maps uint8 images [B, S, S, 3] to a Pyramid.

    Attributes:
      settings: the config that it was built from.
      smallest: side in pixels of the smallest input that reaches every level.
    """

    def __init__(
        self,
        config: TrunkConfig,
        size: int,
        regularizer: tf_keras.regularizers.Regularizer | None,
        frozen: frozenset[str] = frozenset(),
    ):
        """Initializes the trunk.

        Args:
          config: its settings.
          size: S, the side of the input in pixels.
          regularizer: of the weights that are trained.
          frozen: "backbone", "decoder" or both: they have no weight decay. `model/freezing.py` does the rest.
        """
        super().__init__(name="trunk")
        self.settings = config
        self._mean = tuple(map(float, config.normalisation.mean))
        self._deviation = tuple(map(float, config.normalisation.deviation))
        whole = backbones.factory.build_backbone(
            input_specs=tf_keras.layers.InputSpec(shape=[None, size, size, 3]),
            backbone_config=config.backbone,
            norm_activation_config=config.norm_activation,
            l2_regularizer=None if "backbone" in frozen else regularizer,
            **_options(config),
        )
        self._stages = dict(whole.output_specs)
        self.backbone = _without_classifier(whole)
        self.decoder = decoders.factory.build_decoder(
            input_specs=whole.output_specs,
            model_config=config,
            l2_regularizer=None if "decoder" in frozen else regularizer,
        )
        self.smallest = 2**config.max_level

    @property
    def is_frozen(self) -> bool:
        """True if neither the backbone nor the FPN is trained."""
        return not self.backbone.trainable and not self.decoder.trainable

    def empty(self) -> Pyramid:
        """Returns a pyramid of zeros in the shapes of the smallest input, without running the trunk."""

        def zeros(level: str, channels: int) -> tf.Tensor:
            side = -(-self.smallest // 2 ** int(level))
            return tf.zeros([1, side, side, channels], self.compute_dtype)

        levels = {level: zeros(level, shape[-1]) for level, shape in self.decoder.output_specs.items()}
        c5 = zeros(LAST_STAGE, self._stages[LAST_STAGE][-1])
        return Pyramid(c5=c5, levels=levels, fused=nn_layers.pyramid_feature_fusion(levels, FUSED_LEVEL))

    def call(self, images: tf.Tensor) -> Pyramid:
        """Normalises the images and runs backbone and FPN, once for all heads.

        The backward pass ends where nothing further down is trained.
        """
        normalised = (tf.cast(images, tf.float32) - self._mean) / self._deviation
        stages = self.backbone(tf.cast(normalised, self.compute_dtype))
        if not self.backbone.trainable:
            stages = tf.nest.map_structure(tf.stop_gradient, stages)
        levels = self.decoder(stages)
        if self.is_frozen:
            levels = tf.nest.map_structure(tf.stop_gradient, levels)
        fused = nn_layers.pyramid_feature_fusion(levels, FUSED_LEVEL)
        return Pyramid(c5=stages[LAST_STAGE], levels=levels, fused=fused)


def _options(config: TrunkConfig) -> dict[str, Any]:
    """Returns the arguments that only some backbones take."""
    return {"se_inner_activation": config.se_activation} if config.backbone.type == "efficientnet" else {}


def _without_classifier(backbone: tf_keras.Model) -> tf_keras.Model:
    """Returns a backbone that ends with its last stage.

    Model Garden's EfficientNet and MobileNet end with a wide convolution for classification. No level of the FPN uses
    it, but it would be run, and its statistics updated, in every training step.
    """
    stages = {level: backbone.output[level] for level in backbone.output_specs}
    return backbone if len(stages) == len(backbone.output) else tf_keras.Model(backbone.inputs, stages)


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
