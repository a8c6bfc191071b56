"""Facts about a dataset: the number and size of its images, and the share that is labelled for each task.

Before its conversion, a few images are converted in memory; afterwards, the manifest counts all of them.
"""

from __future__ import annotations

import glob
import itertools
import os
import statistics
import time
import types
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from must_tf.data import manifest, record
from must_tf.loop import formats
from must_tf.loop.plan import PlannedDataset
from must_tf.tasks import discover
from tfrecords_tools.convert import run as convert
from tfrecords_tools.writing import shards
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Listing

SAMPLED = 24  # images that are looked at
GENERATED = 6  # of those that are made by a program: they are alike, and making them takes a while


class Facts(NamedTuple):
    """Facts about a dataset.

    Attributes:
      images: their number.
      labelled: {task: number of images with real labels}; an estimate before the conversion.
      classes: {task: class names}.
      side: median of the longer side of the images, pixels.
      bytes: of one record; 0 if unknown.
      seconds: of the conversion of one image, in one process; 0 if unknown.
      labels: {task: bytes of one image's real labels}.
      objects: most objects in one of the images that were looked at.
    """

    images: int
    labelled: Mapping[str, int]
    classes: Mapping[str, tuple[str, ...]]
    side: int
    bytes: float = 0.0
    seconds: float = 0.0
    labels: Mapping[str, float] = types.MappingProxyType({})
    objects: int = 0


def of_source(dataset: PlannedDataset, where: str) -> Facts:
    """Looks at a dataset on disk.

    Raises:
      UserError: it cannot be converted; `where` names the dataset in the message.
    """
    if dataset.form == formats.RECORDS:
        with formats.named(where):
            return of_records(formats.folder_of(dataset.options[formats.RECORDS]))
    with formats.named(where):
        listing, examples, seconds = _sample(where, dataset, GENERATED)
    count = len(listing.items)
    found = [record.origins_of(example) for example in examples]
    tasks = sorted({task for origins in found for task in origins} | set(listing.tasks or ()))
    share = {task: sum(task in origins for origins in found) / max(1, len(found)) for task in tasks}
    return Facts(
        images=count,
        labelled={task: max(1, round(share[task] * count)) for task in tasks},
        classes={task: tuple(names) for task, names in listing.classes.items()},
        side=_side(examples),
        bytes=_mean([example.ByteSize() for example in examples]),
        labels=_label_bytes(examples),
        seconds=seconds / max(1, len(examples)),
        objects=_most_objects(examples),
    )


def write_sample(dataset: PlannedDataset, folder: str) -> float:
    """Writes a few records of a dataset, with a manifest, as a conversion of these images would.

    Returns:
      The seconds to write one.
    """
    listing, examples, _ = _sample(dataset.name, dataset, SAMPLED)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, shards.names(1)[0])
    started = time.monotonic()
    info = shards.write_shard(path, [example.SerializeToString(deterministic=True) for example in examples])
    seconds = (time.monotonic() - started) / max(1, len(examples))
    manifest.write(folder, shards.combined_manifest([info], listing.classes, ["sample"]))
    return seconds


def _sample(where: str, dataset: PlannedDataset, generated: int) -> tuple[Listing, list[tf.train.Example], float]:
    """Returns all items, a few records that are spread over them, and the seconds that these took.

    There are at most `generated` records of generated images.
    """
    encoder = convert.Encoder(formats.source(where, dataset.form, dataset.options))
    listing = encoder.find()
    started, account = time.monotonic(), Account()
    examples = []
    is_generated = not any(item.files for item in itertools.islice(listing.items, 1))
    most = min(SAMPLED, generated) if is_generated else SAMPLED
    step = max(1, len(listing.items) // most)
    for place in list(range(0, len(listing.items), step))[:most]:
        try:
            examples.append(tf.train.Example.FromString(encoder.record(listing.items[place], account)))
        except Dropped:
            continue
    return listing, examples, time.monotonic() - started


def _mean(values: Sequence[int]) -> float:
    return sum(values) / max(1, len(values))


def _label_bytes(examples: Sequence[tf.train.Example]) -> dict[str, float]:
    """Returns {task: mean bytes of the labels of an image that has any}."""
    sizes: dict[str, list[int]] = {}
    for example in examples:
        features = example.features.feature
        for task in record.origins_of(example):
            spec = discover()[task]
            keys = [key for key in spec.features(spec.Config()) if key in features]
            sizes.setdefault(task, []).append(sum(features[key].ByteSize() for key in keys))
    return {task: _mean(found) for task, found in sizes.items()}


def _most_objects(examples: Sequence[tf.train.Example]) -> int:
    """Returns the largest number of objects in an image, over the tasks that limit it."""
    limited = [spec for spec in discover().values() if hasattr(spec.Config(), "max_objects")]
    counts = [
        sum(spec.class_ids.count(example.features.feature).values())
        for example in examples
        for spec in limited
        if spec.class_ids and spec.name in record.origins_of(example)
    ]
    return max(counts, default=0)


def _side(examples: list[tf.train.Example]) -> int:
    """Returns the median longer side; 0 without examples."""
    infos = [record.info_of(example) for example in examples]
    return int(statistics.median([max(info.height, info.width) for info in infos])) if infos else 0


def of_records(folder: str) -> Facts:
    """Reads the facts of converted records.

    Raises:
      UserError: the folder has no manifest.
    """
    described = manifest.read(folder)
    real = {
        task: sum(count for origin, count in origins.items() if not record.is_pseudo(origin))
        for task, origins in described.origins.items()
    }
    examples = list(_first(folder))
    return Facts(
        images=described.records,
        labelled={task: count for task, count in real.items() if count},
        classes={task: tuple(names) for task, names in described.classes.items()},
        side=_side(examples),
        bytes=_mean([example.ByteSize() for example in examples]),
        labels=_label_bytes(examples),
        objects=_most_objects(examples),
    )


def _first(folder: str) -> Iterator[tf.train.Example]:
    files = sorted(glob.glob(os.path.join(folder, "*.tfrecord")))
    for serialized in tf.data.TFRecordDataset(files).take(SAMPLED).as_numpy_iterator():
        yield tf.train.Example.FromString(serialized)


def missing(facts: Facts, tasks: tuple[str, ...], left_out: Collection[str] = ()) -> list[str]:
    """Returns the tasks that some images have no real labels for, and can get them; none that are left out.

    Labels of a task that needs another one are added together with the other's or not at all: no teacher gives masks to
    real boxes.
    """
    without = {*left_out, *(need for task in left_out for need in discover()[task].needs)}
    lacking = [task for task in tasks if facts.labelled.get(task, 0) < facts.images and task not in without]
    return [task for task in lacking if {*discover()[task].needs} <= {*lacking}]
