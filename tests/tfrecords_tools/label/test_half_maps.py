"""`must label --half-maps`: a quarter of the pixels, the same labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import manifest, opening, record
from must_tf.model.student import enabled
from must_tf.runs import restore
from must_tf.tasks import discover
from tests.support.converting import must_records
from tests.support.tiny import ALL, Tiny, scene_record, write_set

COUNT = 3


class Made:
    """Scenes of different sizes, labelled by the tiny student with whole maps and with half maps."""

    def __init__(self, folder: Path, tiny: Tiny):
        self.folder, self.tiny = folder, tiny
        self.pattern = write_set(folder / "in", [[scene_record(index, ()) for index in range(COUNT)]], ())

    def arguments(self, out: str, *flags: str, tasks: tuple[str, ...] = ALL) -> list[str]:
        """Returns the command line."""
        given = [word for task in tasks for word in ("--teacher", f"{task}={self.tiny.run}")]
        return ["label", "--records", self.pattern, *given, "--out", str(self.folder / out), "--sample=0", *flags]

    def records(self, out: str) -> list[bytes]:
        """Returns the records that were written."""
        paths = sorted(map(str, (self.folder / out).glob("*.tfrecord")))
        return list(tf.data.TFRecordDataset(paths).as_numpy_iterator())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny) -> Made:
    """Both commands with a confidence, one after the other."""
    made = Made(tmp_path_factory.mktemp("half"), tiny)
    with pytest.MonkeyPatch.context() as patch:
        for out, flags in (("whole", ()), ("half", ("--half-maps",))):
            assert must_records(made.arguments(out, "--confidence", "--force", *flags), patch) == 0
    return made


def test_only_the_maps_are_smaller(made: Made) -> None:
    for whole, half in zip(made.records("whole"), made.records("half"), strict=True):
        info = record.info_of(tf.train.Example.FromString(half))
        before, after = (tf.train.Example.FromString(one).features.feature for one in (whole, half))
        assert set(before) == set(after)
        maps = {key for key in after if key.endswith("/encoded") and key != "image/encoded"}
        assert {key.split("/")[1] for key in maps} == {"segmentation", "depth", "normals"}
        for key in maps:
            sizes = [opening.png_size(one[key].bytes_list.value[0]) for one in (before, after)]
            assert sizes == [(info.height, info.width), (-(-info.height // 2), -(-info.width // 2))]
        for key in set(after) - maps - {"image/depth/scale"}:
            assert before[key] == after[key], key


def test_the_labels_are_those_of_whole_maps(made: Made) -> None:
    """Within what the map changes from one pixel to the next."""
    configs = enabled(restore.read_config(made.tiny.run))
    for whole, half in zip(made.records("whole"), made.records("half"), strict=True):
        before, after = (record.read_labels(one, discover(), configs) for one in (whole, half))
        for task, key in (("depth", "metres"), ("normals", "normals"), ("segmentation", "confidence")):
            first, second = (labels[task].labels[key] for labels in (before, after))
            assert first.shape == second.shape
            height, width = (side // 2 * 2 for side in first.shape[:2])
            block = (height // 2, 2, width // 2, 2, *first.shape[2:])
            means, ranges = (getattr(first[:height, :width].reshape(block), name)((1, 3)) for name in ("mean", "max"))
            found = second[:height:2, :width:2]
            assert np.mean(np.abs(found - means) <= np.abs(ranges - means) + 0.02) > 0.99, task
        classes = (labels["segmentation"].labels["classes"] for labels in (before, after))
        assert np.mean(np.equal(*classes)) > 0.95


def test_the_records_are_sound_and_say_how_they_were_made(
    made: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    glob = str(made.folder / "half" / "*.tfrecord")
    assert must_records(["check", "--records", glob], monkeypatch) == 0
    teachers = [manifest.read(str(made.folder / name)).teachers for name in ("whole", "half")]
    expected = {"segmentation": "half", "depth": "half", "normals": "half"}
    assert [next(iter(one.values())).get("maps") for one in teachers] == [None, expected]
    figures = []
    for name in ("whole", "half"):
        capsys.readouterr()
        glob = str(made.folder / name / "*.tfrecord")
        must_records(["stats", "--records", glob, "--json"], monkeypatch)
        (of_teacher,) = json.loads(capsys.readouterr().out)["tasks"]["depth"]["teachers"].values()
        figures.append(of_teacher["found"]["metres"])
    whole, half = figures
    assert whole.keys() == half.keys()
    np.testing.assert_allclose([half[key] for key in whole], list(whole.values()), rtol=0.1)


def test_a_folder_of_whole_maps_is_not_continued_with_half_maps(
    made: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = made.records("whole")
    assert must_records(made.arguments("whole", "--confidence", "--force", "--half-maps"), monkeypatch) == 2
    assert "whole" in capsys.readouterr().err
    assert made.records("whole") == before


def test_teachers_without_maps_have_no_half_maps(
    made: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = made.arguments("none", "--half-maps", tasks=("classification",))
    assert must_records(arguments, monkeypatch) == 2
    said = capsys.readouterr().err
    assert "--half-maps: it is for depth, normals, segmentation, and no --teacher labels these. Leave it out" in said
    assert not (made.folder / "none").exists()
