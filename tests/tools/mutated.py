"""Sets of damaged records, and every command that reads records, as functions of such a set: for `mutants.py`.

A command is called as its command line calls it, in this process. It returns the numbers of the records that it names
or leaves out, and it raises what would have ended it.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import glob
import hashlib
import json
import os
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import geometry, input, manifest, opening, record, scenes
from must_tf.prediction import images
from must_tf.serving import screening
from must_tf.serving.limits import MAX_IMAGE_PIXELS
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks import discover
from must_tf.training import damaged_record
from tests.support import formula_teacher, tiny
from tests.tools import damage
from tfrecords_tools.check import dataset_rules
from tfrecords_tools.check import run as check
from tfrecords_tools.cli import inspect
from tfrecords_tools.convert import run as convert
from tfrecords_tools.evaluate import run as evaluate
from tfrecords_tools.export import run as export
from tfrecords_tools.export import yolo
from tfrecords_tools.inspect import contact_sheet
from tfrecords_tools.label.run import label_records
from tfrecords_tools.merge.run import merged_sets
from tfrecords_tools.reading import bad_records, recordset
from tfrecords_tools.sources.images import UnlabelledImages
from tfrecords_tools.sources.published.mg import Mg
from tfrecords_tools.stats import run as stats
from tfrecords_tools.stats import tables as stats_tables
from tfrecords_tools.writing.counts import Account, Dropped

SCENES = (9, 1, 2)  # that are damaged, with real labels; the first has objects
ALL = 10**6  # records that may be left out
NAMING = ("check", "train", "serve", "predict")  # the others leave the record out
ENCODED = "image/encoded"
SIDE = 64  # of the network's input
PNG_HEADER = 33  # bytes before the first chunk that may follow it


class Batch(NamedTuple):
    """A record set of mutants, and a sound one with the same photos."""

    kinds: Sequence[str]  # of the mutants
    folder: Path
    records: str
    sound: str

    @property
    def path(self) -> str:
        """The file with the mutants."""
        (path,) = tf.io.gfile.glob(self.records)
        return path


class Source(NamedTuple):
    """A record that is damaged, and one of the same photo with real labels."""

    record: bytes
    truth: bytes


@functools.cache
def sources() -> list[Source]:
    """Returns the records that are damaged. In the last one, a teacher has made all labels."""
    real = [Source(*[tiny.scene_record(index, tiny.ALL)] * 2) for index in SCENES]
    scene = scenes.render("wild", 5, SCENES[0], (96, 112))
    truth = {task: record.Labelled(scene.labels[task], "real:scenes") for task in tiny.ALL}
    pseudo = {task: record.Labelled(_unsure(scene.labels[task]), "pseudo:0123456789ab") for task in tiny.ALL}
    image, info = tiny.image_bytes(scene.image), ImageInfo("pseudo", 96, 112)
    return [*real, Source(*(record.encode(image, info, labels, discover()) for labels in (pseudo, truth)))]


def _unsure(labels: Labels) -> Labels:
    """Returns labels with confidences below 1, in every form that they have in records."""
    changed = dict(labels)
    if "scores" in labels:
        changed["scores"] = np.full_like(labels["scores"], 0.75)
    elif "probability" in labels:
        changed["probability"] = labels["probability"] * 0.75 + 0.25 / len(labels["probability"])
    else:
        shape = next(value for value in labels.values() if value.ndim > 1).shape[:2]
        changed["confidence"] = np.linspace(0, 1, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    return changed


def source(seed: int) -> Source:
    """Returns a record with an id and a photo of its own: a comment in the PNG makes it another file."""
    both = sources()[seed // len(damage.DAMAGE) % len(sources())]  # every kind of damage meets every source
    return Source(*(_own(data, str(seed).encode()) for data in both))


def _own(data: bytes, name: bytes) -> bytes:
    example = tf.train.Example.FromString(data)
    png, content = opening.image_of(example), b"tEXtseed\0" + name
    comment = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    encoded = png[:PNG_HEADER] + comment + png[PNG_HEADER:]
    texts = {"encoded": encoded, "source_id": name, "filename": name + b".png"}
    texts["key/sha256"] = hashlib.sha256(encoded).hexdigest().encode()
    for key, text in texts.items():
        example.features.feature[f"image/{key}"].bytes_list.value[:] = [text]
    return example.SerializeToString(deterministic=True)


def batch(folder: Path, seeds: Sequence[int]) -> Batch:
    """Writes a set of mutants. Its manifest is that of the undamaged records, but for the checksum of the file."""
    undamaged = [source(seed) for seed in seeds]
    made = [damage.mutant(each.record, seed) for each, seed in zip(undamaged, seeds, strict=True)]
    mutants = tiny.write_set(folder / "in", [[each.record for each in undamaged]])
    sound = tiny.write_set(folder / "sound", [[each.truth for each in undamaged]])
    written = Batch([kind for kind, _ in made], folder, mutants, sound)
    with tf.io.TFRecordWriter(written.path) as writer:
        for _, data in made:
            writer.write(data)
    content = manifest.read(str(folder / "in"))
    content.shards[0]["sha256"] = hashlib.sha256(Path(written.path).read_bytes()).hexdigest()
    manifest.write(str(folder / "in"), content)
    return written


def kind(seed: int) -> str:
    """Returns the kind of damage of a mutant."""
    return damage.mutant(source(seed).record, seed)[0]


def _left(work: Callable[[], Any]) -> set[int]:
    """Returns the records that a command leaves out."""
    bad_records.allow(ALL)
    try:
        work()
        return {int(place.split(" record ")[1].split()[0]) for place in bad_records.left_out()}
    finally:
        bad_records.allow(0)


def _check(one: Batch) -> set[int]:
    """Returns the records that `check` has findings about."""
    result = check.check_dataset(recordset.opened(one.records), 1)
    assert dataset_rules.lines(result) and json.dumps(result)
    places = [place for finding in result["findings"].values() for place in finding["places"]]
    return {int(number) for place in places for number in re.findall(r" record (\d+)", place)}


def _inspect(one: Batch, page: str = "") -> set[int]:
    return _left(lambda: inspect.inspect(one.records, page, contact_sheet.MOST, "even", False, 1, ALL))


def _page(one: Batch) -> set[int]:
    return _inspect(one, str(one.folder / "page.html"))


def _stats(one: Batch) -> set[int]:
    def judged() -> None:
        compared = stats.comparison([one.records], one.sound, stats.PRECISION)
        content = stats.judge(stats.request(one.records, (), compared, 1), ["stats"])
        assert stats_tables.lines(content) and json.dumps(content)

    return _left(judged)


def _merge(one: Batch) -> set[int]:
    merged = merged_sets([one.records, one.sound], ())
    return _left(lambda: convert.run(merged, convert.Options(str(one.folder / "merged"), 1, 1)))


def _coco(one: Batch) -> set[int]:
    out, options = str(one.folder / "coco"), export.ExportOptions(images=True)
    return _exported(one, out, lambda: export.export_records(recordset.opened(one.records), out, options, 1, ["coco"]))


def _yolo(one: Batch) -> set[int]:
    out, sets = str(one.folder / "yolo"), {"train": recordset.opened(one.records)}
    return _exported(one, out, lambda: yolo.export_yolo(sets, out, yolo.YoloOptions(), 1, ["yolo"]))


def _exported(one: Batch, out: str, work: Callable[[], Any]) -> set[int]:
    """Returns what an export leaves out. Its end may refuse the whole: two ids can be the same after damage."""

    def exported() -> None:
        with contextlib.suppress(UserError):
            work()
        assert glob.glob(f"{out}/.shards/*"), "a record has ended the export"

    return _left(exported)


def _teacher() -> formula_teacher.Formula:
    return formula_teacher.teacher(["depth"])


def _label(one: Batch) -> set[int]:
    """Labels again what has labels, and with a confidence: so every record is read, decoded and written."""
    asked = formula_teacher.request(one.records, _teacher(), replace=["depth"])._replace(with_confidence=True)
    return _left(lambda: label_records(asked, str(one.folder / "labelled"), ["label"]))


def _evaluate(one: Batch) -> set[int]:
    return _left(lambda: evaluate.evaluate([_teacher()], [recordset.opened(one.records)]))  # type: ignore[list-item]


def _mg(one: Batch) -> set[int]:
    """Returns the records that `convert mg` drops. They have no origins, as Model Garden's own."""
    path = str(one.folder / "mg.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for _, data in [*recordset.numbered(tf.io.gfile.glob(one.sound)[0])][:1] + [*recordset.numbered(one.path)]:
            writer.write(_without_origins(data))
    names = one.folder / "names.txt"
    names.write_text("\n".join(recordset.opened(one.sound).manifest.classes["detection"]))
    try:
        return {number - 1 for number in _dropped(Mg(path, (("detection", str(names)),)))}
    except UserError as error:  # an id that nothing else has says how the whole file counts
        assert f"{path}, record " in str(error)
        return set(range(len(one.kinds)))


def _without_origins(data: bytes) -> bytes:
    with contextlib.suppress(Exception):
        example = tf.train.Example.FromString(data)
        for key in [key for key in example.features.feature if key.endswith("/origin")]:
            del example.features.feature[key]
        return example.SerializeToString(deterministic=True)
    return data


def _dropped(source: Any) -> set[int]:
    """Returns the items that a conversion drops."""
    bad = set()
    for number, item in enumerate(source.find().items):
        try:
            convert.Encoder(source).record(item, Account())
        except Dropped:
            bad.add(number)
    return bad


def _photos(one: Batch) -> dict[int, bytes]:
    """Returns the files of the photos in the mutants that have one."""
    photos = {}
    for number, data in recordset.numbered(one.path):
        with contextlib.suppress(Exception):
            photos[number] = bytes(tf.train.Example.FromString(data).features.feature[ENCODED].bytes_list.value[0])
    return photos


def _images(one: Batch) -> set[int]:
    """Returns the photos that `convert images` drops."""
    photos = _photos(one)
    (one.folder / "photos").mkdir()
    for number, photo in photos.items():
        (one.folder / "photos" / f"{number:06}.png").write_bytes(photo)
    numbers = list(photos)
    return {numbers[place] for place in _dropped(UnlabelledImages(str(one.folder / "photos")))}


def _predict(one: Batch) -> set[int]:
    """Returns the photos that `must predict` does not read."""
    unread = set()
    for number, photo in _photos(one).items():
        try:
            images.read(photo, number)
        except images.ImageError:
            unread.add(number)
    return unread


def _configs(classes: str) -> dict[str, Any]:
    """Returns configs by which a training reads every key, those of confidences as well."""
    used = {"weighting": "confidence", "confidence_threshold": 0.3}
    configs = recordset.configs_of(json.loads(classes))
    return {
        task: config.replace(**used) if hasattr(config, "weighting") else config for task, config in configs.items()
    }


@functools.cache
def _element(classes: str) -> Any:
    """Returns the function of the input pipeline that reads one record. Tracing it takes seconds."""
    reader = input.Reader(discover(), _configs(classes), SIDE)

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    def element(serialized: tf.Tensor) -> Any:
        return reader.element(serialized, tf.constant(0, tf.int64), lambda size: geometry.fit(size, SIDE))

    return element


def _train(one: Batch) -> set[int]:
    """Returns the records at which the input pipeline stops. The search for the record must name each."""
    classes = json.dumps(recordset.opened(one.records).manifest.classes)
    configs, element = _configs(classes), _element(classes)
    stopped = set()
    for number, serialized in recordset.numbered(one.path):
        problem = damaged_record._problem(serialized, discover(), configs)
        try:
            element(tf.constant(serialized))
        except damaged_record.UNREADABLE as error:
            stopped.add(number)
            if not problem:
                raise AssertionError(f"record {number} stops the training and is not named: {error}") from error
    return stopped


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def _screened(serialized: tf.Tensor) -> tf.Tensor:
    return screening.decoded(serialized, screening.records(), MAX_IMAGE_PIXELS)[1]


def _serve(one: Batch) -> set[int]:
    """Returns the records whose image an export does not serve. It reads nothing else of them."""
    records = recordset.numbered(one.path)
    return {number for number, data in records if _screened(tf.constant(data)).numpy() != screening.OK.encode()}


COMMANDS: dict[str, Callable[[Batch], set[int]]] = {
    "check": _check,
    "inspect": _inspect,
    "inspect --page": _page,
    "stats": _stats,
    "merge": _merge,
    "export-coco": _coco,
    "export-yolo": _yolo,
    "label": _label,
    "evaluate": _evaluate,
    "convert mg": _mg,
    "convert images": _images,
    "train": _train,
    "predict": _predict,
    "serve": _serve,
}


def outcomes(one: Batch, command: str) -> collections.Counter[tuple[str, str]]:
    """Returns {(kind of damage, "named", "skipped" or "read"): number of mutants}.

    Raises:
      Exception: the command crashed.
    """
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
        bad = COMMANDS[command](one)
    word = "named" if command in NAMING else "skipped"
    return collections.Counter((kind, word if number in bad else "read") for number, kind in enumerate(one.kinds))
