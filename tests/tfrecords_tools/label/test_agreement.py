"""How far a teacher agrees with itself: teachers by formula, whose figures are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf

from must_tf.common import run_files
from must_tf.common.errors import UserError
from must_tf.data import record
from must_tf.spec import Labels
from must_tf.tasks import discover
from tests.support.contract import example
from tests.support.labelling import boxes, by, judged, pixels, records
from tests.support.teaching import unlabelled
from tests.support.tiny import write_set
from tfrecords_tools.label import agreement, self_check
from tfrecords_tools.reading import recordset
from tfrecords_tools.stats import run as stats
from tfrecords_tools.teachers import About, Predictions
from tfrecords_tools.teachers.frames import InputFrame

SIDE = 64  # of the input, and the longer side of the photos: they enter it as they are
CLASSES = {"classification": ("left", "right"), "segmentation": ("dark", "bright"), "detection": ("thing",)}
ALL = ("classification", "detection", "segmentation", "depth", "normals")
Formula = Callable[[np.ndarray], dict[str, Labels]]


class ByFormula:
    """A teacher without a network, and its description."""

    def __init__(
        self, formula: Formula, path: str = "formula", domain: tuple[str, ...] = (), tasks: Sequence[str] = ALL
    ):
        classes = {task: list(names) for task, names in CLASSES.items() if task in tasks}
        self.about = About(path, tuple(tasks), "abc", classes, domain=domain)
        self.frame = InputFrame(SIDE, SIDE)
        self.configs = {task: discover()[task].Config(classes=CLASSES.get(task, ())) for task in tasks}
        self._formula = formula

    def load(self) -> ByFormula:
        return self

    def forward(self, pixels: np.ndarray, info: np.ndarray) -> Predictions:
        return {"pixels": pixels}

    def labels(self, predictions: Predictions, info: np.ndarray, source_id: str, step: int = 1) -> dict[str, Labels]:
        return self._formula(predictions["pixels"][: info[2], : info[3]])

    def notes(self, predictions: Predictions) -> list[str]:
        return []


def photo(seed: int) -> np.ndarray:
    """A dark photo with a bright rectangle that is not in the middle, and is whole when the photo is enlarged."""
    top, left = np.random.default_rng(seed).integers([8, 10], [16, 18])
    image = np.full([48, 64, 3], 30, np.uint8)
    image[top : top + 20, left : left + 16] = 220
    return image


def by_content(image: np.ndarray) -> dict[str, Labels]:
    """Labels that follow from what is seen, wherever and however large it is."""
    bright = (image[..., 0] > 125).astype(np.uint8)
    left, top, width, height = cv2.boundingRect(bright)
    size = np.array([*bright.shape, *bright.shape])
    box = np.array([top, left, top + height, left + width]) / size
    return {
        "classification": {"probability": np.array([0.75, 0.25], np.float32)},
        "detection": boxes([(1, 0.9, box)] if bright.any() else []),
        "segmentation": pixels(bright),
        "depth": {"metres": np.full(bright.shape, 10, np.float32), "inverse_depth": np.zeros(bright.shape, np.float32)},
        "normals": {"normals": np.broadcast_to(np.array([0, 0, -1], np.float32), [*bright.shape, 3]).copy()},
    }


def by_position(image: np.ndarray) -> dict[str, Labels]:
    """The same labels for all photos, and classes that depend on the brighter side."""
    shape = image.shape[:2]
    half = shape[1] // 2
    share = 0.9 if image[:, :half].mean() > image[:, half:].mean() else 0.4
    sides = np.zeros(shape)
    sides[:, half:] = 1
    normal = np.array([0.6, 0, -0.8], np.float32)
    return by_content(image) | {
        "classification": {"probability": np.array([share, 1 - share], np.float32)},
        "detection": boxes([(1, 0.9, [0.2, 0.0, 0.8, 0.3])]),
        "segmentation": pixels(sides),
        "normals": {"normals": np.broadcast_to(normal, [*shape, 3]).copy()},
    }


PHOTOS = [unlabelled(place, photo(place)) for place in range(3)]


@pytest.fixture(scope="module")
def content() -> agreement.Found:
    """The figures of the teacher that sees."""
    return agreement.measure(ByFormula(by_content), PHOTOS)


@pytest.fixture(scope="module")
def position() -> agreement.Found:
    """The figures of the teacher that does not."""
    return agreement.measure(ByFormula(by_position), PHOTOS)


def test_labels_that_follow_from_the_content_agree(content: agreement.Found) -> None:
    """The segmentation's maps have cells of 4 x 4 pixels, so that edges differ."""
    assert content["detection"] == {
        "figure": "f1", "higher_is_better": True, "images": 3, "mirrored": 1.0, "zoomed": 1.0
    }  # fmt: skip
    assert content["classification"]["figure"] == "total_variation"
    for task in ("classification", "normals"):
        assert content[task]["mirrored"] == pytest.approx(0, abs=0.5) == content[task]["zoomed"]
        assert not content[task]["higher_is_better"]
    assert content["segmentation"]["figure"] == "mIoU"
    assert min(content["segmentation"][view] for view in agreement.VIEWS) > 0.7


def test_depth_is_that_of_the_zoomed_photo(content: agreement.Found) -> None:
    """A wall at 10 m is expected at 8 m when it is enlarged by 1.25: |10 - 8| / 8."""
    assert content["depth"]["mirrored"] == pytest.approx(0, abs=1e-3)
    assert content["depth"]["zoomed"] == pytest.approx(0.25, abs=0.01)
    assert content["depth"]["figure"] == "abs_rel"


def test_labels_that_follow_from_the_position_do_not(position: agreement.Found) -> None:
    """Mirrored, the left side is the right one, and a normal that looks right looks left: 2 asin 0.6."""
    assert position["detection"]["mirrored"] == 0.0
    assert position["segmentation"]["mirrored"] < 0.05
    assert position["normals"]["mirrored"] == pytest.approx(2 * np.degrees(np.arcsin(0.6)), abs=0.6)
    assert position["normals"]["zoomed"] < 0.6
    assert position["classification"]["mirrored"] == pytest.approx(0.5, abs=1e-3)  # 0.9 for 0.4


def test_graphs_are_traced_once_for_each_kind_of_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    """A teacher of other tasks has its own; one that is measured on a second dataset keeps them."""
    traced: list[list[str]] = []

    def trace(side: int, configs: dict[str, Any]) -> Any:
        traced.append(list(configs))
        return agreement._Graphs(lambda *given: {}, lambda content: (content, content))

    monkeypatch.setattr(agreement, "_kept", {})
    monkeypatch.setattr(agreement, "_traced", trace)
    for tasks in (("depth",), ("normals",), ("depth",)):
        agreement.measure(ByFormula(by_content, tasks=tasks), [])
    assert traced == [["depth"], ["normals"]]


def test_relative_depth_agrees_up_to_scale_and_shift() -> None:
    random = np.random.default_rng(1).uniform(1, 2, [30, 40])
    depth, zeros = discover()["depth"].summary.agreement, np.zeros([30, 40])
    assert depth is not None
    labels, other = ({"metres": zeros, "inverse_depth": values} for values in (random, 7 * random + 3))
    assert depth.of(labels, other, None) == pytest.approx(0, abs=1e-9)
    noise = np.random.default_rng(2).uniform(1, 2, [30, 40])
    assert depth.of(labels, {"metres": zeros, "inverse_depth": noise}, None) == pytest.approx(1, abs=0.02)


def test_a_sample_is_spread_over_the_shards(tmp_path: Path) -> None:
    """Six of four shards of 10 photos: two of each of the first three. Only photos of the origin count."""
    shards = [[unlabelled(10 * shard + place, photo(0)) for place in range(10)] for shard in range(4)]
    dataset = recordset.opened(write_set(tmp_path / "set", shards, ()))
    ids = [record.info_of(tf.train.Example.FromString(one)).source_id for one in agreement.sample(dataset, 6)]
    assert ids == ["photo-0", "photo-5", "photo-10", "photo-15", "photo-20", "photo-25"]
    assert len(agreement.sample(dataset, 100)) == 40
    assert agreement.sample(dataset, 6, "pseudo:abc") == []


@pytest.mark.parametrize(
    ("shards", "expected"),
    [
        ([[place % 8 == 0 or place % 2 == 1 for place in range(40)]], 10),  # of every fourth, only five have labels
        ([[False] * 10, [True] * 10], 10),  # the second makes up for the first
    ],
)
def test_a_sample_finds_labels_that_are_rare(shards: list[list[bool]], expected: int, tmp_path: Path) -> None:
    depth = {"depth": record.Labelled({"metres": np.ones([8, 8], np.float32)}, "pseudo:abc")}
    records = [
        [
            example(np.zeros([8, 8, 3], np.uint8), depth if has else {}, f"{number}-{place}")
            for place, has in enumerate(one)
        ]
        for number, one in enumerate(shards)
    ]
    dataset = recordset.opened(write_set(tmp_path / "set", records, ()))
    assert len(set(agreement.sample(dataset, 10, "pseudo:abc"))) == expected


def of(error: float) -> agreement.Found:
    known = {"figure": "abs_rel", "higher_is_better": False, "images": 20}
    return {"depth": known | {"mirrored": error, "zoomed": error}}


def test_the_gate_stops_a_teacher_outside_of_its_domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of the run's own photos are kept beside the run; later judgements keep those of the records."""
    random = np.random.default_rng(0)
    maps = [{"metres": random.uniform(1, 5, [40, 60]).astype(np.float32)} for _ in range(20)]
    glob = records(tmp_path / "set", by("pseudo:abc", "depth", maps))
    records(tmp_path / "own" / "first", by("real:own", "depth", maps))
    records(tmp_path / "own" / "second", by("real:own", "depth", maps))
    own = str(tmp_path / "own" / "*" / "*.tfrecord")
    run = tmp_path / "run"
    run.mkdir()
    teacher = ByFormula(by_content, str(run), ("nowhere/*", own), ["depth"])
    measured = list[float]()

    def measure(teacher: Any, photos: Sequence[bytes], tick: Any) -> agreement.Found:
        origins = record.origins_of(tf.train.Example.FromString(photos[0]))
        measured.append(0.3 if origins == {"depth": "pseudo:abc"} else 0.05)
        return of(measured[-1])

    monkeypatch.setattr(agreement, "measure", measure)
    for _ in range(2):
        found = self_check.of_teachers([teacher], recordset.opened(glob), self_check.SelfCheck())
        assert found == {"abc": {"depth": {"here": of(0.3)["depth"], "own": of(0.05)["depth"]}}}
    assert measured == [0.3, 0.05, 0.3]  # that of the own photos was kept
    assert json.loads((run / run_files.AGREEMENT).read_text())["id"] == "abc"
    content = stats.judge(
        stats.request(glob, (), stats.StatsComparison({}), 1), ["tests"], measure=lambda dataset: found
    )
    assert "outside of its domain" in content["verdict"]["failed"]["depth"][0]
    assert "outside of its domain" in judged(glob)["verdict"]["failed"]["depth"][0]
    elsewhere = self_check.checked(20, [f"depth={glob}"])
    assert (
        self_check.of_teachers([teacher], recordset.opened(glob), elsewhere)["abc"]["depth"]["own"] == of(0.3)["depth"]
    )
    assert self_check.of_teachers([teacher], recordset.opened(glob), self_check.checked(0, [])) == {}


def test_the_figures_of_a_run_serve_its_tasks_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are measured again for other classes only."""
    images = by("pseudo:abc", "segmentation", [pixels(np.zeros([40, 60], int))] * 20)
    dataset = recordset.opened(records(tmp_path / "set", images))
    measured = list[str]()

    def measure(teacher: Any, photos: Sequence[bytes], tick: Any) -> agreement.Found:
        measured.append("+".join(teacher.about.tasks))
        return dict.fromkeys(teacher.about.tasks, {})

    monkeypatch.setattr(agreement, "measure", measure)
    monkeypatch.setattr(agreement, "sample", lambda *_: [b""] * 20)
    (tmp_path / "run").mkdir()
    counts = []
    for tasks, names in ((["detection", "segmentation"], "a"), (["segmentation"], "a"), (["segmentation"], "b")):
        teacher = ByFormula(by_content, str(tmp_path / "run"), (str(tmp_path / "set" / "*.tfrecord"),), tasks)
        teacher.about = teacher.about._replace(classes={task: [names] for task in tasks})
        self_check.of_teachers([teacher], dataset, self_check.SelfCheck())
        counts.append(len(measured))
    assert counts == [2, 3, 5]  # here, and twice on its own photos


def test_a_teacher_is_measured_on_records_whose_classes_were_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As must merge --same does. A name in its adapter file would make it another teacher."""
    images = by("pseudo:abc", "detection", [boxes([])])
    glob = records(tmp_path / "set", images)
    path = tmp_path / "set" / "manifest.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"teachers": {"abc": {}}, "classes": {"detection": ["x"]}})
    )
    teacher = ByFormula(by_content, tasks=["detection"])
    monkeypatch.setattr(self_check.teachers, "describe", lambda path, tasks: teacher)
    assert self_check.given(["detection=formula"], recordset.opened(glob)) == [teacher]


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--sample 7: give 0 .* or at least 20"):
        self_check.checked(7, [])
    with pytest.raises(UserError, match="--domain dpeth=x: there is no task 'dpeth'. Did you mean 'depth'"):
        self_check.checked(20, ["dpeth=x"])
