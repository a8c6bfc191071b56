"""Photos on both sides of a plan: in training and in validation data.

Conversions leave validation photos out of all training data. `format: records` names records that exist already. They
are used as they are, so their photos are compared with those of the validation data, by content.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import numpy as np

from must_tf.data import contents, manifest
from must_tf.loop.plan_rules import VALIDATION
from must_tf.loop.records import Folders, RecordFolder


def warnings(folders: Folders) -> list[str]:
    """Returns a warning for each training dataset that has validation photos, as far as its records exist by now."""
    pairs = [(folder, folders.validation) for folder in folders.train]
    by_name = {folder.name: folder for folder in folders.transfer}
    transfers = [name for name in by_name if f"{name}{VALIDATION}" in by_name]
    pairs += [(by_name[name], (by_name[f"{name}{VALIDATION}"],)) for name in transfers]
    return [line for train, validation in pairs for line in _of_one(train, validation)]


def _of_one(train: RecordFolder, validation: Iterable[RecordFolder]) -> Iterator[str]:
    photos = _photos(train)
    shared = {other.name: np.intersect1d(photos, _photos(other)) for other in validation}
    names = [name for name, both in shared.items() if both.size]
    if names:
        count = np.unique(np.concatenate(list(shared.values()))).size
        yield (
            f"WARNING: {train.name}: {count} of its {photos.size} photos are also in the validation data "
            f"({', '.join(names)}), so metrics will be too good. Convert it again with --exclude, or validate on other "
            "photos."
        )


def _photos(folder: RecordFolder) -> np.ndarray:
    """Returns the numbers of a folder's photos, uint64 [N]; none if it does not exist yet or its sidecars lack them."""
    if not os.path.exists(manifest.path_in(folder.folder)):
        return np.zeros([0], np.uint64)
    shards = [os.path.join(folder.folder, shard["file"]) for shard in manifest.read(folder.folder).shards]
    found = [numbers for numbers in map(contents.of_shard, shards) if numbers is not None]
    return np.concatenate([np.zeros([0], np.uint64), *found])
