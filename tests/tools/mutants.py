"""Damages records by chance and sends them through every command: `python -m tests.tools.mutants --count 10000`.

A mutant is a scene's record with one fault. It must be named, left out by `--skip-bad`, or read as it is; nothing may
end in a traceback. The result is a table of commands by kinds of damage, and the largest memory. The program continues
where it stopped: batches that are finished have a line in its `--out` file. `tests/tfrecords_tools/test_mutants.py`
runs a few.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import re
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import geometry, input, record
from must_tf.tasks import discover
from must_tf.training import damaged_record
from tests.support import formula_teacher, tiny
from tfrecords_tools.check import run as check
from tfrecords_tools.convert import run as convert
from tfrecords_tools.export import run as export
from tfrecords_tools.export import yolo
from tfrecords_tools.inspect import contact_sheet, counts
from tfrecords_tools.label import pipeline
from tfrecords_tools.merge.run import merged_sets
from tfrecords_tools.reading import bad_records, recordset
from tfrecords_tools.stats import sums

Feature = Any  # the map of a record's features
SOURCES = (9, 1, 2)  # scenes that are damaged; the first has objects
REPEATED = ("records share an id",)  # the sources are few
BATCH = 40  # mutants in one file
MAPS = ("image/depth/encoded", "image/normals/encoded", "image/segmentation/class/encoded")
TEXTS = ("image/source_id", "image/filename", "image/format", "image/key/sha256", "image/depth/origin")
NUMBERS = (
    "image/object/bbox/ymin",
    "image/object/bbox/xmax",
    "image/object/score",
    "image/object/area",
    "image/depth/scale",
)
IDS = ("image/object/class/label", "image/class/label", "image/height", "image/width", "image/object/is_crowd")
ESCAPES = (b"..", b".", b"", b"../../out", b"/etc/passwd", b"a\0b", b"\x1b[31mred", b"x" * 3000, "é/\u202e".encode())


def _list(feature: Feature, key: str) -> Any:
    return getattr(feature[key], feature[key].WhichOneof("kind") or "bytes_list").value


def _flip(feature: Feature, rng: random.Random) -> None:
    """Flips some bits of a file in the record; the record's checksum is right."""
    key = rng.choice(("image/encoded", *MAPS))
    data = bytearray(feature[key].bytes_list.value[0])
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    feature[key].bytes_list.value[0] = bytes(data)


def _cut(feature: Feature, rng: random.Random) -> None:
    """Cuts a file in the record."""
    key = rng.choice(("image/encoded", "image/object/mask_crop", *MAPS))
    values = feature[key].bytes_list.value
    if values:
        values[0] = values[0][: rng.randrange(len(values[0]))]


def _missing(feature: Feature, rng: random.Random) -> None:
    """Removes a key."""
    del feature[rng.choice(sorted(feature))]


def _lengths(feature: Feature, rng: random.Random) -> None:
    """Makes a list longer or shorter."""
    values = _list(feature, rng.choice(sorted(feature)))
    if values and rng.random() < 0.5:
        values.pop()
    else:
        values.extend(list(values[:1]) * rng.randint(1, 3))


def _kinds(feature: Feature, rng: random.Random) -> None:
    """Gives a key another type."""
    wrong = (record.bytes_feature([b"1"]), record.int_feature([1]), record.float_feature([1.0]))
    feature[rng.choice(sorted(feature))].CopyFrom(rng.choice(wrong))


def _bomb(feature: Feature, rng: random.Random) -> None:
    """Replaces a file by a small one of many pixels, or the header of one; sometimes with the stated size."""
    side = rng.choice((2_000, 20_000, 2**31 - 1))
    png = bytearray(cv2.imencode(".png", np.zeros([2000, 2000], np.uint8))[1].tobytes())
    png[16:24] = side.to_bytes(4, "big") * 2
    key = rng.choice(("image/encoded", "image/object/mask_crop", *MAPS))
    feature[key].bytes_list.value[:] = [bytes(png)] * max(1, len(feature[key].bytes_list.value))
    if rng.random() < 0.5:
        feature["image/height"].int64_list.value[:] = feature["image/width"].int64_list.value[:] = [side]


def _numbers(feature: Feature, rng: random.Random) -> None:
    """Puts NaN, infinity or a number out of range into a list."""
    values = feature[rng.choice(NUMBERS)].float_list.value
    if values:
        values[0] = rng.choice((float("nan"), float("inf"), -float("inf"), -1.0, 1e30, 2.0))


def _ids(feature: Feature, rng: random.Random) -> None:
    """Puts an id or a size out of range into a list."""
    values = feature[rng.choice(IDS)].int64_list.value
    if values:
        values[0] = rng.choice((-7, 0, 99, 2**32 + 1, 2**63 - 1, -(2**63)))


def _text(feature: Feature, rng: random.Random) -> None:
    """Puts bytes that are not a text where one is expected."""
    feature[rng.choice(TEXTS)].bytes_list.value[:] = [rng.choice((b"\xff\xfe\xfa", b"\x80", bytes(range(128, 200))))]


def _escapes(feature: Feature, rng: random.Random) -> None:
    """Puts a text that leads out of a folder, or that no folder can hold."""
    feature[rng.choice(TEXTS[:3])].bytes_list.value[:] = [rng.choice(ESCAPES)]


DAMAGE: dict[str, Callable[[Feature, random.Random], None]] = {
    "bits": _flip,
    "cut": _cut,
    "missing": _missing,
    "lengths": _lengths,
    "kinds": _kinds,
    "bombs": _bomb,
    "numbers": _numbers,
    "ids": _ids,
    "text": _text,
    "escapes": _escapes,
}


def mutant(source: bytes, seed: int) -> tuple[str, bytes]:
    """Returns the kind of damage, and the damaged record. One in twenty is no tf.train.Example at all."""
    rng = random.Random(seed)
    kind = list(DAMAGE)[seed % len(DAMAGE)]
    example = tf.train.Example.FromString(source)
    DAMAGE[kind](example.features.feature, rng)
    data = example.SerializeToString(deterministic=True)
    if rng.random() < 0.05:
        return "garbage", data[: rng.randrange(len(data))] + bytes(rng.randrange(256) for _ in range(9))
    return kind, data


class Batch(NamedTuple):
    """A record set of mutants, and a sound one."""

    kinds: Sequence[str]  # of the mutants
    folder: Path
    records: str
    sound: str

    @property
    def path(self) -> str:
        """The file with the mutants."""
        (path,) = tf.io.gfile.glob(self.records)
        return path


def batch(folder: Path, seeds: Sequence[int], sources: Sequence[bytes]) -> Batch:
    """Writes a set of mutants. Its manifest is that of the undamaged records."""
    made = [mutant(sources[seed % len(sources)], seed) for seed in seeds]
    written = Batch(
        [kind for kind, _ in made],
        folder,
        tiny.write_set(folder / "in", [[sources[seed % len(sources)] for seed in seeds]]),
        tiny.write_set(folder / "sound", [list(sources)]),
    )
    with tf.io.TFRecordWriter(written.path) as writer:
        for _, data in made:
            writer.write(data)
    return written


def _quiet(count: int = 1) -> None:
    del count


def _check(one: Batch) -> set[int]:
    """Returns the records that `check` has findings about."""
    findings = check.check_dataset(recordset.opened(one.records), 1)["findings"]
    places = [place for what, finding in findings.items() if what not in REPEATED for place in finding["places"]]
    return {int(number) for place in places for number in re.findall(r" record (\d+)", place)}


def _inspect(one: Batch) -> set[int]:
    dataset = recordset.opened(one.records)
    return _left(lambda: counts.count_shard(counts.CountJob(one.path, dataset.manifest.classes), _quiet))


def _page(one: Batch) -> set[int]:
    dataset = recordset.opened(one.records)
    places = [(os.path.basename(one.path), number) for number in range(len(one.kinds))]
    return _left(lambda: contact_sheet._cards(dataset, places))


def _stats(one: Batch) -> set[int]:
    configs = recordset.configs_of(recordset.opened(one.records).manifest.classes)
    return _left(lambda: sums.sum_shards(sums.SumJob((one.path,), configs, ""), _quiet))


def _merge(one: Batch) -> set[int]:
    source = merged_sets([one.records, one.sound], ())
    return _left(lambda: convert.run(source, convert.Options(str(one.folder / "merged"), 1, 1)))


def _coco(one: Batch) -> set[int]:
    classes = recordset.opened(one.records).manifest.classes
    job = export.ExportJob(one.path, str(one.folder / "coco"), classes, export.ExportOptions(images=True))
    return _left(lambda: export.export_shard(job, _quiet))


def _yolo(one: Batch) -> set[int]:
    classes = recordset.opened(one.records).manifest.classes
    job = yolo.YoloJob(one.path, "train", str(one.folder / "yolo"), classes, yolo.YoloOptions())
    return _left(lambda: yolo.export_shard(job, _quiet))


def _label(one: Batch) -> set[int]:
    teacher = formula_teacher.Formula(formula_teacher.About("formula", ("depth",), "0123456789ab", {}))
    return _left(lambda: list(pipeline.labelled(one.path, [teacher], _quiet, {"depth"})))


def _train(one: Batch) -> set[int]:
    """Returns the records at which the input pipeline stops. The search for the record must name each, and no other."""
    configs = recordset.configs_of(recordset.opened(one.records).manifest.classes)
    reader = input.Reader(discover(), configs, 64)

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    def element(serialized: tf.Tensor) -> Any:
        return reader.element(serialized, tf.constant(0, tf.int64), lambda size: geometry.fit(size, 64))

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


COMMANDS: dict[str, Callable[[Batch], set[int]]] = {
    "check": _check,
    "inspect": _inspect,
    "inspect --page": _page,
    "stats": _stats,
    "merge": _merge,
    "export-coco": _coco,
    "export-yolo": _yolo,
    "label": _label,
    "train": _train,
}
NAMING = ("check", "train")  # the others leave the record out


def _left(work: Callable[[], Any]) -> set[int]:
    """Returns the records that a command leaves out."""
    bad_records.allow(10**6)
    try:
        work()
        return {int(place.split(" record ")[1].split()[0]) for place in bad_records.left_out()}
    finally:
        bad_records.allow(0)


def outcomes(one: Batch, commands: Sequence[str]) -> collections.Counter[tuple[str, str, str]]:
    """Returns {(command, kind of damage, "named", "skipped" or "read"): number of mutants}.

    Raises:
      Exception: a command crashed.
    """
    found: collections.Counter[tuple[str, str, str]] = collections.Counter()
    for command in commands:
        bad = COMMANDS[command](one)
        word = "named" if command in NAMING else "skipped"
        found.update((command, kind, word if number in bad else "read") for number, kind in enumerate(one.kinds))
    return found


def _run_batch(first: int, count: int, sources: Sequence[bytes]) -> dict[str, Any]:
    """Runs all commands on one batch and returns its line."""
    counted: collections.Counter[str] = collections.Counter()
    crashes = []
    for command in COMMANDS:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            one = batch(Path(folder), range(first, first + count), sources)
            try:
                for (_, kind, word), number in outcomes(one, [command]).items():
                    counted[f"{command}|{kind}|{word}"] += number
            except (Exception, UserError):
                crashes.append(f"{command} seeds {first} to {first + count - 1}: {traceback.format_exc()[-1500:]}")
        print(f"{first} {command} {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"first": first, "counts": counted, "crashes": crashes, "peak MB": peak}


def _table(lines: Sequence[dict[str, Any]]) -> str:
    total: collections.Counter[str] = collections.Counter()
    for line in lines:
        total.update(line["counts"])
    kinds = sorted({key.split("|")[1] for key in total})
    rows = [f"{'':<16}" + "".join(f"{kind:>18}" for kind in kinds)]
    for command in COMMANDS:
        word = "named" if command in NAMING else "skipped"
        cells = [f"{total[f'{command}|{kind}|{word}']} + {total[f'{command}|{kind}|read']} read" for kind in kinds]
        rows.append(f"{command:<16}" + "".join(f"{cell:>18}" for cell in cells))
    crashes = [crash for line in lines for crash in line["crashes"]]
    peak = max((line["peak MB"] for line in lines), default=0)
    return "\n".join([*rows, f"{len(crashes)} crashes, at most {peak} MB", *crashes])


def main() -> int:
    """Runs the batches that are missing in the file, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="mutants for each command")
    parser.add_argument("--out", default="mutants.jsonl", help="file with a line for each finished batch")
    given = parser.parse_args()
    out = Path(given.out)
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {line["first"] for line in lines}
    sources = [tiny.scene_record(index, tiny.ALL) for index in SOURCES]
    for first in range(0, given.count, BATCH):
        if first not in done:
            lines.append(_run_batch(first, min(BATCH, given.count - first), sources))
            with out.open("a") as file:
                file.write(json.dumps(lines[-1]) + "\n")
    print(_table(lines))
    return int(any(line["crashes"] for line in lines))


if __name__ == "__main__":
    sys.exit(main())
