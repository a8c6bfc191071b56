"""A tiny student with all six heads, trained for two steps on generated scenes: made once, shared by the tests."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import yaml

from must_tf.cli import export
from must_tf.data import manifest, record, scenes
from must_tf.spec import ImageInfo
from must_tf.tasks import discover
from tests.support.session.forked_python import INTERPRETER
from tests.support.session.graphs import EAGER, PLAIN
from tfrecords_tools.writing import shards

ROOT = Path(__file__).resolve().parents[2]
ALL = ("classification", "detection", "masks", "segmentation", "depth", "normals")
SIZES = ((128, 128), (96, 144), (160, 112))  # height, width: square, wide and tall
CONFIG: dict[str, Any] = {
    "task": {
        "input_size": 128,
        "pictures": 1,
        "model": {
            "backbone": {"type": "resnet", "resnet": {"model_id": 10, "depth_multiplier": 0.25}},
            "decoder": {"type": "fpn", "fpn": {"num_filters": 16}},
            "norm_activation": {"norm_momentum": 0.5, "use_sync_bn": False},
        },
        "tasks": {
            "detection": {
                "filters": 16,
                "fc": 16,
                "proposals": 20,
                "sampled_rois": 8,
                "max_objects": 8,
                "max_detections": 6,
            },
            "masks": {"filters": 16, "sampled_rois": 4, "target_side": 28, "max_objects": 8},
            "segmentation": {"filters": 16, "stride": 4},
            "depth": {"filters": 16, "stride": 4},
            "normals": {"filters": 16, "stride": 4},
        },
        "train_data": {"global_batch_size": 2},
        "validation_data": {"global_batch_size": 2},
    },
    "trainer": {
        "train_steps": 2,
        "steps_per_loop": 1,
        "summary_interval": 1,
        "checkpoint_interval": 2,
        "validation_interval": 2,
        "optimizer_config": {
            "learning_rate": {"type": "cosine", "cosine": {"initial_learning_rate": 0.01, "decay_steps": 8}},
            "warmup": {"type": "linear", "linear": {"warmup_steps": 1}},
        },
    },
    "runtime": {"distribution_strategy": "one_device"},
}


class Tiny(NamedTuple):
    """Paths of the tiny run."""

    config: str  # YAML file
    records: str  # folder of scenes labelled for all tasks
    run: str  # run directory of the student trained on them


def image_bytes(image: np.ndarray, suffix: str = ".png") -> bytes:
    """Encodes uint8 [h, w, 3] RGB as an image file."""
    return cv2.imencode(suffix, image[..., ::-1])[1].tobytes()


def scene_record(index: int, tasks: Sequence[str], suffix: str = ".png") -> bytes:
    """Returns the record of scene `index`, labelled for these tasks. Its size depends on the index."""
    scene = scenes.render("wild", 5, index, SIZES[index % len(SIZES)])
    labelled = {task: record.Labelled(scene.labels[task], "real:scenes") for task in tasks}
    info = ImageInfo(f"scene-{index}", *scene.image.shape[:2])
    return record.encode(image_bytes(scene.image, suffix), info, labelled, discover())


def write_set(directory: Path | str, files: Sequence[Sequence[bytes]], tasks: Sequence[str] = ALL) -> str:
    """Writes a dataset with one file per sequence of records, and its manifest. Returns the pattern of its files."""
    directory = str(directory)
    os.makedirs(directory, exist_ok=True)
    shards.claim(directory, "tests", ["tests"])
    names = shards.names(len(files))
    infos = [shards.write_shard(os.path.join(directory, name), one) for name, one in zip(names, files, strict=True)]
    classes = {task: list(scenes.CLASSES[task]) for task in tasks if scenes.CLASSES.get(task)}
    manifest.write(directory, shards.combined_manifest(infos, classes, ["tests"]))
    return os.path.join(directory, "*.tfrecord")


def write_config(path: Path | str) -> str:
    """Writes the tiny settings as YAML and returns the path."""
    Path(path).write_text(yaml.safe_dump(CONFIG))
    return str(path)


def arguments(config: str, run: Path | str, experiment: str, override: dict[str, Any], mode: str) -> list[str]:
    """Returns flags of train.py."""
    return [
        f"--experiment={experiment}",
        f"--mode={mode}",
        f"--model_dir={run}",
        f"--config_file={config}",
        f"--params_override={yaml.safe_dump(override, default_flow_style=True, width=10**6)}",
    ]


def data(records: str) -> dict[str, Any]:
    """Returns an override to train and validate on these records."""
    return {"task": {name: {"input_path": records} for name in ("train_data", "validation_data")}}


def command(flags: Sequence[str], interpreter: Sequence[str] = INTERPRETER, eager: bool = False) -> dict[str, Any]:
    """Returns the command that runs train.py with these flags in its own process, without optimising graphs.

    The last bits depend on a process's number of threads, which an earlier test may have set in this process. `eager`
    is for a test of a few steps, see `eagerly`.
    """
    environment = os.environ | PLAIN | {"PYTHONPATH": os.pathsep.join(sys.path)} | ({EAGER: "1"} if eager else {})
    return {"args": [*interpreter, "-m", "tests.support.run_train", *flags], "env": environment}


def trained(flags: Sequence[str], eager: bool = False) -> None:
    """Runs `command` and fails if it fails."""
    done = subprocess.run(**command(flags, eager=eager), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Allows one process at a time, because the workers of pytest-xdist share these files."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _shared(factory: pytest.TempPathFactory) -> Path:
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def tiny_records(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Five scenes of three sizes in two files, with all labels. There is no run yet."""
    folder = _shared(tmp_path_factory) / "tiny"
    with _locked(folder.with_suffix(".lock")):
        if not (folder / "records" / manifest.NAME).exists():
            folder.mkdir(exist_ok=True)
            write_config(folder / "tiny.yaml")
            records = [scene_record(index, ALL) for index in range(5)]
            write_set(folder / "records", [records[:2], records[2:]])
    return Tiny(str(folder / "tiny.yaml"), str(folder / "records"), str(folder / "run"))


@pytest.fixture(scope="session")
def tiny(tiny_records: Tiny) -> Tiny:
    """The records, and a student trained for two steps and evaluated."""
    with _locked(Path(tiny_records.run + ".lock")):
        if not os.path.exists(os.path.join(tiny_records.run, "evaluation.json")):
            override = data(os.path.join(tiny_records.records, "*.tfrecord"))
            trained(arguments(tiny_records.config, tiny_records.run, "must_student", override, "train_and_eval"))
    return tiny_records


@pytest.fixture(scope="session")
def tiny_export(tiny: Tiny) -> str:
    """The folder of the tiny run's SavedModel, version 1 of the model "tiny". It must not be changed."""
    out = Path(tiny.run).with_name("exports")
    with _locked(out.with_suffix(".lock")):
        if not (out / "tiny" / "1").exists():
            export.main([f"--model_dir={tiny.run}", f"--out={out}", "--name=tiny"])
    return str(out / "tiny" / "1")
