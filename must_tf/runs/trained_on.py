"""What a run learned from: how many images, objects and of which classes its training records hold, by task.

Of real labels alone: a teacher's are everything above a low floor, which says nothing about how much there is to see.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from must_tf.common.errors import UserError
from must_tf.data import input as input_lib
from must_tf.data import manifest, record
from must_tf.model.student import StudentConfig, enabled


def counted(config: StudentConfig) -> dict[str, dict[str, Any]]:
    """{task: {"images": n, "objects": n or None, "classes": {name: n}}} of the tasks that were trained.

    Counts stand in the manifests beside the records. Empty where one of those is gone: a part would say something else.
    A manifest counts labels of whatever origin as one, and whoever looked for some classes only saw fewer: where one
    of the sets holds such beside real labels, `objects` is None and `classes` empty; sets without real ones are not
    counted.
    """
    patterns = input_lib.patterns(config.train_data.input_path)
    try:
        found = [manifest.read(folder) for folder in dict.fromkeys(os.path.dirname(pattern) for pattern in patterns)]
    except UserError:
        return {}
    return {task: _summed(found, task) for task in enabled(config)} if found else {}


def _summed(manifests: list[manifest.Manifest], task: str) -> dict[str, Any]:
    classes: Counter[str] = Counter()
    sets = [one for one in manifests if _real(one, task)]
    if all(_says_all(one, task) for one in sets):
        for one in sets:
            classes.update(one.objects.get(task, {}))
    images = sum(_real(one, task) for one in sets)
    return {"images": images, "objects": sum(classes.values()) if classes else None, "classes": dict(classes)}


def _real(found: manifest.Manifest, task: str) -> int:
    """Images with real labels."""
    return sum(images for origin, images in found.origins.get(task, {}).items() if not record.is_pseudo(origin))


def _says_all(found: manifest.Manifest, task: str) -> bool:
    """Whether the objects that a manifest counts are all that there are, and nothing else."""
    return _real(found, task) == manifest.labelled(found, task) and not manifest.limited(found, task, "partial")
