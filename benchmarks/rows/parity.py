"""Our teachers beside Model Garden's own tasks: what both learn in the same steps on the same images, and how fast.

    python -m benchmarks --rows parity [--data COCO_FOLDER] [--rounds 3]
    python -m benchmarks.rows.parity [--kinds classification] [--seeds 1] [--steps 60] [--data COCO_FOLDER]

Generated scenes are learned from random weights by a ResNet-10 of half width; photos from EfficientNet-Lite0's weights.
Every training runs in its own process, in turn, and its result is kept: the same command continues where it was
stopped. The rows take hours, so they are measured only if they are named.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.data import parity_data
from benchmarks.data.parity_data import MEASURED, TRAIN, ParityRecords
from benchmarks.harness import apart, table
from benchmarks.harness.table import BenchmarkSettings, Comparison, Figure, Measure
from benchmarks.rows.parity_settings import KINDS, RANDOM, Job
from must_tf.common.errors import UserError, exit_on_user_error, nearest
from must_tf.common.files import write_json
from must_tf.common.progress import clock
from must_tf.runs.pretrained.weights import LITE0

SIDES = {"ours": "this project", "model_gardens": "Model Garden"}
AT_LEAST = 1.5  # target of the speed, as a share of Model Garden's
TASKS = {"maskrcnn": "masks", "retinanet": "detection"}  # that the images must be labelled for, if not the kind itself

Result = dict[str, Any]  # of `parity_sides`
Results = dict[str, list[Result]]  # by side


@dataclasses.dataclass(frozen=True)
class Plan:
    """The sizes of all trainings.

    Attributes:
      steps: of each training.
      train, measured: number of generated scenes to train and to measure on; of photos, all that both sides can use.
      side: of the input in pixels.
      batch: images in a step.
    """

    steps: int = 300
    train: int = 600
    measured: int = 150
    side: int = 128
    batch: int = 16


class Parity:
    """The trainings on one dataset. Records and results are kept in `folder`."""

    def __init__(self, plan: Plan, data: Path | None, folder: Path):
        self._plan, self._data = plan, data
        self._name = data.resolve().name if data else "scenes"
        self._digest = parity_data.digest(data)
        sizes = self._digest if data else f"{plan.train}-{plan.measured}-{plan.side}px"
        self._records = folder / f"records-{self._name}-{sizes}"
        self._results = folder / "results"
        self._start = LITE0 if data else RANDOM

    def records(self) -> ParityRecords:
        """Makes the records of both sides, unless they are there."""
        print(f"parity: records in {self._records}", file=sys.stderr, flush=True)
        if self._data:
            return parity_data.photos(self._data, self._records)
        counts = {TRAIN: self._plan.train, MEASURED: self._plan.measured}
        return parity_data.scenes(self._records, counts, self._plan.side)

    def rows(self, kind: str, seeds: int, work: Path) -> list[Comparison]:
        """Trains both sides in turn with each seed, and compares them."""
        records = self.records()
        what = f"parity, {KINDS[kind].title}"
        if TASKS.get(kind, kind) not in records.tasks:
            return [Comparison(what, "of 1", None, note=f"not measured: the images have no {kind} labels")]
        results: Results = {side: [] for side in SIDES}
        for seed in range(1, seeds + 1):
            for side, found in results.items():
                found.append(self._result(side, self._job(kind, seed, side, records), work))
        about = f"{records.said}; {self._plan.steps} steps of {self._plan.batch}, {self._plan.side} px"
        return compared(kind, results, f"{about}, from {self._start} weights")

    def _job(self, kind: str, seed: int, side: str, records: ParityRecords) -> Job:
        own = getattr(records, side)
        plan = self._plan
        return Job(
            kind,
            seed,
            plan.steps,
            plan.side,
            plan.batch,
            self._start,
            own[TRAIN],
            own[MEASURED],
            records.ours[MEASURED],
            records.images[MEASURED],
            records.classes,
        )

    def _result(self, side: str, job: Job, work: Path) -> Result:
        """Returns a kept result, or trains and keeps it.

        Raises:
          UserError: a result of other settings is in its place.
        """
        path = self._results / f"{self._name}-{job.kind}-{side}-{job.seed}.json"
        settings = dataclasses.asdict(self._plan) | {"start": self._start, "data": self._digest}
        said = f"parity, {KINDS[job.kind].title}: {SIDES[side]}, seed {job.seed}"
        if path.exists():
            content = json.loads(path.read_text())
            if content["settings"] != settings:
                raise UserError(
                    f"{path} was measured with other settings: {content['settings']}, now {settings}. Give another "
                    "--out, or remove the file."
                )
            print(f"{said}: {_shown(content['result'])}, kept from {path}", file=sys.stderr, flush=True)
            return dict(content["result"])
        run = work / path.stem
        run.mkdir(parents=True)
        print(f"{said} ... ({run}/log.txt)", file=sys.stderr, flush=True)
        begin = time.monotonic()
        function = f"benchmarks.rows.parity_sides:{side}"
        result = apart.call(function, {"job": job._asdict(), "folder": str(run)}, run)
        write_json(str(path), {"settings": settings, "result": result})
        taken = clock(time.monotonic() - begin)
        print(f"{said}: {_shown(result)}, {taken}", file=sys.stderr, flush=True)
        return dict(result)


def _shown(result: Result) -> str:
    figures = [f"{name} {value:.3f}" for name, value in result["figures"].items()]
    return ", ".join([*figures, f"{result['images_per_second']:.1f} images/s"])


def compared(kind: str, results: Results, about: str) -> list[Comparison]:
    """Returns a row for each metric, and one for the speed."""
    metrics = [_metric(kind, key, results, about) for key in KINDS[kind].metrics]
    mine, theirs = (_speed(results[side]) for side in SIDES)
    speed = Comparison(
        f"parity, {KINDS[kind].title}: training",
        "images/s",
        mine,
        theirs,
        at_least=AT_LEAST,
        note=f"with input, without the first loop of steps, in which the step is traced; medians of {len(mine.rounds)}",
        why=f"{mine.cpu_ms:.1f} ms of processor time per image, Model Garden {theirs.cpu_ms:.1f} ms",
    )
    return [*metrics, speed]


def _speed(found: Sequence[Result]) -> Figure:
    return table.median([each["images_per_second"] for each in found], [each["cpu_ms"] for each in found])


def _metric(kind: str, key: str, results: Mapping[str, Sequence[Result]], about: str) -> Comparison:
    """Returns the row of one metric. Its target is Model Garden's mean less the spread of its seeds."""
    name = KINDS[kind].metrics[key]
    values = {side: [each["figures"][key] for each in results[side]] for side in SIDES}
    mine, theirs = (Figure(statistics.mean(each), tuple(each)) for each in values.values())
    spread = statistics.stdev(theirs.rounds) if len(theirs.rounds) > 1 else None
    has_target = spread is not None and theirs.value > 0
    sides = [f"{said} {_mean(values[side])}" for side, said in SIDES.items()]
    unknown = "" if spread is not None else "; one seed has no spread, so there is no target"
    return Comparison(
        f"parity, {KINDS[kind].title}: {name}",
        "of 1",
        mine,
        theirs,
        at_least=max(1.0 - (spread or 0.0) / theirs.value, 0.0) if has_target else None,
        note=f"{about}; {', '.join(sides)} (mean and standard deviation of {len(theirs.rounds)} seeds){unknown}",
        why="seeds: " + "; ".join(f"{SIDES[side]} {_listed(each)}" for side, each in values.items()),
    )


def _mean(values: Sequence[float]) -> str:
    deviation = f" +- {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{deviation}"


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def measure(kind: str) -> Measure:
    """Returns the measurement of one kind; each round is a seed."""

    def measured(settings: BenchmarkSettings) -> list[Comparison]:
        folder = (settings.kept or settings.work) / "parity"
        return Parity(Plan(), settings.data, folder).rows(kind, settings.rounds, settings.work)

    return measured


ROWS: dict[str, Measure] = {f"parity-{kind}": measure(kind) for kind in KINDS}


def main(
    data: Annotated[Path | None, typer.Option(help="Photos in COCO's layout; without it scenes are generated.")] = None,
    kinds: Annotated[str, typer.Option(help=f"Some of {', '.join(KINDS)}, with commas; empty: all.")] = "",
    out: Annotated[Path, typer.Option(help="Folder for records and results.")] = Path("runs/parity"),
    seeds: Annotated[int, typer.Option(min=1, help="How often each side is trained.")] = 3,
    steps: Annotated[int, typer.Option(min=2, help="Steps of each training.")] = Plan.steps,
    train: Annotated[int, typer.Option(min=1, help="Generated scenes to train on.")] = Plan.train,
    measured: Annotated[int, typer.Option(min=1, help="Generated scenes to measure on.")] = Plan.measured,
) -> None:
    """Trains and measures both sides, and prints the table."""
    wanted = [word.strip() for word in kinds.split(",") if word.strip()] or list(KINDS)
    for word in wanted:
        if word not in KINDS:
            raise UserError(f"--kinds: there is no {word!r}.{nearest(word, KINDS)} There are {', '.join(KINDS)}.")
    if data and not data.is_dir():
        raise UserError(f"--data {data}: there is no such folder. Give one in COCO's layout, or leave it out.")
    parity = Parity(Plan(steps, train, measured), data, out)
    with tempfile.TemporaryDirectory(prefix="parity-") as work:
        rows = [row for kind in wanted for row in parity.rows(kind, seeds, Path(work))]
    print("\n".join(table.lines(rows)))


if __name__ == "__main__":
    sys.exit(exit_on_user_error(lambda: typer.run(main)))
