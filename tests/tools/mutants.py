"""Sends damaged records through every command: `python -m tests.tools.mutants --count 10000`.

A mutant is a scene's record with one fault, see `damage.py`. It must be named, left out by `--skip-bad`, or read as it
is; nothing may end in a traceback, hang, or take gigabytes. The result is a table of commands by kinds of damage. The
program continues where it stopped: batches that are finished have a line in its `--out` file.
`tests/tfrecords_tools/reading/test_mutants.py` runs a few.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import itertools
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import tensorflow as tf

from must_tf.common import tables
from must_tf.data import geometry, input
from must_tf.serving import screening
from must_tf.serving.limits import MAX_IMAGE_PIXELS
from must_tf.tasks import discover
from must_tf.training import damaged_record
from tests.support import formula_teacher, tiny
from tests.tools import damage
from tfrecords_tools.check import run as check
from tfrecords_tools.convert import run as convert
from tfrecords_tools.evaluate import run as evaluate
from tfrecords_tools.export import run as export
from tfrecords_tools.export import yolo
from tfrecords_tools.inspect import contact_sheet, counts
from tfrecords_tools.label import pipeline
from tfrecords_tools.merge.run import merged_sets
from tfrecords_tools.reading import bad_records, recordset
from tfrecords_tools.sources.mg import Mg
from tfrecords_tools.stats import sums
from tfrecords_tools.writing.counts import Account, Dropped

SOURCES = (9, 1, 2)  # scenes that are damaged; the first has objects
REPEATED = ("records share an id",)  # the sources are few
BATCH = 100  # mutants in one file
PATIENCE = 900  # seconds for one command and one file; more is a hang
NAMING = ("check", "train", "serve")  # the others leave the record out


def quiet(count: int = 1) -> None:
    """Reports no progress."""


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
    made = [damage.mutant(sources[seed % len(sources)], seed) for seed in seeds]
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


def _check(one: Batch) -> set[int]:
    """Returns the records that `check` has findings about."""
    findings = check.check_dataset(recordset.opened(one.records), 1)["findings"]
    places = [place for what, finding in findings.items() if what not in REPEATED for place in finding["places"]]
    return {int(number) for place in places for number in re.findall(r" record (\d+)", place)}


def _inspect(one: Batch) -> set[int]:
    dataset = recordset.opened(one.records)
    return _left(lambda: counts.count_shard(counts.CountJob(one.path, dataset.manifest.classes), quiet))


def _page(one: Batch) -> set[int]:
    dataset = recordset.opened(one.records)
    places = [(os.path.basename(one.path), number) for number in range(len(one.kinds))]
    return _left(lambda: contact_sheet._cards(dataset, places))


def _stats(one: Batch) -> set[int]:
    configs = recordset.configs_of(recordset.opened(one.records).manifest.classes)
    return _left(lambda: sums.sum_shards(sums.SumJob((one.path,), configs, ""), quiet))


def _merge(one: Batch) -> set[int]:
    source = merged_sets([one.records, one.sound], ())
    return _left(lambda: convert.run(source, convert.Options(str(one.folder / "merged"), 1, 1)))


def _coco(one: Batch) -> set[int]:
    classes = recordset.opened(one.records).manifest.classes
    job = export.ExportJob(one.path, str(one.folder / "coco"), classes, export.ExportOptions(images=True))
    return _left(lambda: export.export_shard(job, quiet))


def _yolo(one: Batch) -> set[int]:
    classes = recordset.opened(one.records).manifest.classes
    job = yolo.YoloJob(one.path, "train", str(one.folder / "yolo"), classes, yolo.YoloOptions())
    return _left(lambda: yolo.export_shard(job, quiet))


def _teacher() -> formula_teacher.Formula:
    return formula_teacher.Formula(formula_teacher.About("formula", ("depth",), "0123456789ab", {}))


def _label(one: Batch) -> set[int]:
    return _left(lambda: list(pipeline.labelled(one.path, [_teacher()], quiet, {"depth"})))


def _evaluate(one: Batch) -> set[int]:
    return _left(lambda: evaluate.evaluate([_teacher()], [recordset.opened(one.records)]))  # type: ignore[list-item]


def _mg(one: Batch) -> set[int]:
    """Returns the records that `convert mg` drops. They have no origins, as Model Garden's own."""
    path = str(one.folder / "mg.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for _, data in [*recordset.numbered(tf.io.gfile.glob(one.sound)[0])][:1] + [*recordset.numbered(one.path)]:
            writer.write(_without_origins(data))
    names = one.folder / "names.txt"
    classes = recordset.opened(one.sound).manifest.classes
    names.write_text("\n".join(classes["detection"]))
    source = Mg(path, (("detection", str(names)),))
    bad = set()
    for number, item in enumerate(source.find().items):
        try:
            convert.Encoder(source).record(item, Account())
        except Dropped:
            bad.add(number - 1)
    return bad


def _without_origins(data: bytes) -> bytes:
    with contextlib.suppress(Exception):
        example = tf.train.Example.FromString(data)
        for key in [key for key in example.features.feature if key.endswith("/origin")]:
            del example.features.feature[key]
        return example.SerializeToString(deterministic=True)
    return data


@functools.cache
def _element(classes: str) -> Any:
    """Returns the function of the input pipeline that reads one record. Tracing it takes seconds."""
    reader = input.Reader(discover(), recordset.configs_of(json.loads(classes)), 64)

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    def element(serialized: tf.Tensor) -> Any:
        return reader.element(serialized, tf.constant(0, tf.int64), lambda size: geometry.fit(size, 64))

    return element


def _train(one: Batch) -> set[int]:
    """Returns the records at which the input pipeline stops. The search for the record must name each."""
    classes = recordset.opened(one.records).manifest.classes
    configs, element = recordset.configs_of(classes), _element(json.dumps(classes))
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
    "train": _train,
    "serve": _serve,
}


def _left(work: Callable[[], Any]) -> set[int]:
    """Returns the records that a command leaves out."""
    bad_records.allow(10**6)
    try:
        work()
        return {int(place.split(" record ")[1].split()[0]) for place in bad_records.left_out()}
    finally:
        bad_records.allow(0)


def outcomes(one: Batch, command: str) -> collections.Counter[tuple[str, str]]:
    """Returns {(kind of damage, "named", "skipped" or "read"): number of mutants}.

    Raises:
      Exception: the command crashed.
    """
    bad = COMMANDS[command](one)
    word = "named" if command in NAMING else "skipped"
    return collections.Counter((kind, word if number in bad else "read") for number, kind in enumerate(one.kinds))


class Result(NamedTuple):
    """What came out of a command: counts as of `outcomes`, with "crashed", and the text of each crash."""

    counts: collections.Counter[tuple[str, str]]
    crashes: list[str]


def tried(command: str, seeds: Sequence[int], sources: Sequence[bytes]) -> Result:
    """Sends mutants through a command. If it crashes, halves of them are tried until the one that does it is found."""
    with tempfile.TemporaryDirectory() as folder:
        one = batch(Path(folder), seeds, sources)
        try:
            with _patience():
                return Result(outcomes(one, command), [])
        except Exception:
            if len(seeds) == 1:
                text = f"{command}, seed {seeds[0]}: {traceback.format_exc()[-1500:]}"
                return Result(collections.Counter({(one.kinds[0], "crashed"): 1}), [text])
    half = len(seeds) // 2
    first, second = tried(command, seeds[:half], sources), tried(command, seeds[half:], sources)
    return Result(first.counts + second.counts, first.crashes + second.crashes)


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    def give_up(number: int, frame: Any) -> NoReturn:
        del number, frame
        raise TimeoutError(f"no end within {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _peak_mb(reset: bool = False) -> int:
    """Returns the largest memory of this process since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def _run(command: str, seeds: Sequence[int], sources: Sequence[bytes]) -> dict[str, Any]:
    """Runs a command on one batch and returns its line."""
    _peak_mb(reset=True)
    started, busy = time.monotonic(), time.process_time()
    result = tried(command, seeds, sources)
    return {
        "command": command,
        "first": seeds[0],
        "count": len(seeds),
        "counts": {f"{kind}|{word}": count for (kind, word), count in result.counts.items()},
        "crashes": result.crashes,
        "peak MB": _peak_mb(),
        "seconds": round(time.monotonic() - started, 1),
        "processor seconds": round(time.process_time() - busy, 1),
    }


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Returns commands by kinds of damage, each with named or skipped / read as it is / crashed."""
    total: collections.Counter[tuple[str, str, str]] = collections.Counter()
    for line in lines:
        total.update({(line["command"], *key.split("|")): count for key, count in line["counts"].items()})
    kinds = sorted({kind for _, kind, _ in total})
    rows = []
    for command in COMMANDS:
        word = "named" if command in NAMING else "skipped"
        cells = ["/".join(str(total[command, kind, each]) for each in (word, "read", "crashed")) for kind in kinds]
        own = [line for line in lines if line["command"] == command]
        peak = max((line["peak MB"] for line in own), default=0)
        rows.append((command, word, *cells, sum(line["count"] for line in own), peak))
    title = "named or skipped / read as they are / crashed"
    drawn = tables.table(("command", "", *kinds, "mutants", "peak MB"), rows, title=title)
    crashes = [crash for line in lines for crash in line["crashes"]]
    seconds = sum(line["processor seconds"] for line in lines)
    return "\n".join([drawn, f"{len(crashes)} crashes, {seconds:.0f} s of processor time", *crashes])


def main() -> int:
    """Runs the batches that are missing in the file, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="number of mutants")
    parser.add_argument("--each", type=int, default=len(COMMANDS), help="commands for each mutant, taken in turn")
    parser.add_argument("--out", default="mutants.jsonl", help="file with a line for each finished batch")
    given = parser.parse_args()
    out = Path(given.out)
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {(line["command"], line["first"]) for line in lines}
    sources = [tiny.scene_record(index, tiny.ALL) for index in SOURCES]
    for number, first in enumerate(range(0, given.count, BATCH)):
        for command in itertools.islice(itertools.cycle(COMMANDS), number * given.each, (number + 1) * given.each):
            if (command, first) not in done:
                lines.append(_run(command, range(first, min(first + BATCH, given.count)), sources))
                with out.open("a") as file:
                    file.write(json.dumps(lines[-1]) + "\n")
    print(table(lines))
    return int(any(line["crashes"] for line in lines))


if __name__ == "__main__":
    sys.exit(main())
