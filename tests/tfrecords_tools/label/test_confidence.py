"""`label --confidence`: teachers by formula whose error depends on the place in the photo, so that it is known."""

from __future__ import annotations

import io
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from must_tf.common.errors import UserError
from must_tf.data import manifest, map_png, record
from must_tf.spec import Labels
from must_tf.tasks import depth, discover
from tests.support.converting import must_records
from tests.support.labelling import found_in, judged
from tests.support.teaching import unlabelled
from tests.support.tiny import write_set
from tfrecords_tools.inspect import pick
from tfrecords_tools.label import confidence, parallelism
from tfrecords_tools.label.arguments import LabelRequest, parse_request
from tfrecords_tools.label.pipeline import labelled
from tfrecords_tools.label.run import label_records
from tfrecords_tools.stats import sameness
from tfrecords_tools.teachers import About, Predictions
from tfrecords_tools.teachers.frames import InputFrame

H, W = 12, 30
NUMBERS = itertools.count()
HALF = np.float32(128 / 255)  # 1/2 in 8 bits, rounded to even
CERTAIN_MIDDLE = np.repeat(np.array([HALF, 1, HALF], np.float32), W // 3)[None].repeat(H, 0)
TURNED = np.array([0.6, 0.0, -0.8], np.float32)
TURNED_TWICE = 2 ** (-2 * np.degrees(np.arcsin(0.6)) / 11.25)  # the angle between TURNED and its mirror image


class ByPlace:
    """Depth is the red level in metres, but 25 % more in the left third of what it sees; all normals are TURNED."""

    def __init__(self, *tasks: str):
        # A process keeps the last teacher, by its path.
        self.about = About(f"by-place-{next(NUMBERS)}", tasks, "0123456789ab", {})
        self.configs = {task: discover()[task].Config() for task in tasks}
        self.frame = InputFrame(16, 16, "stretch")
        self.forwards: list[int] = []  # distinct images in each pass

    def load(self) -> ByPlace:
        return self

    def forward(self, pixels: np.ndarray, info: np.ndarray) -> Predictions:
        self.forwards.append(len({one.tobytes() for one in pixels}))
        return {"red": pixels[..., 0].max(axis=(1, 2)).astype(np.float32)}

    def labels(self, predictions: Predictions, info: np.ndarray, source_id: str, step: int = 1) -> dict[str, Labels]:
        height, width = info[:2]
        metres = np.full([height, width], predictions["red"], np.float32)
        metres[:, : width // 3] *= np.float32(1.25)
        every: dict[str, Labels] = {
            "depth": {"metres": metres, "inverse_depth": np.zeros_like(metres)},
            "normals": {"normals": np.tile(TURNED, [height, width, 1])},
        }
        return {task: every[task] for task in self.about.tasks}

    def notes(self, predictions: Predictions) -> list[str]:
        return []


def photos(count: int) -> list[bytes]:
    """Returns images of different levels of red: of the predictions of another image, no pixel would be certain."""
    return [unlabelled(place, np.full([H, W, 3], 4 + 2 * place, np.uint8)) for place in range(count)]


def labels_of(serialized: bytes) -> dict[str, Labels]:
    """Returns the labels of a record."""
    configs = {task: discover()[task].Config() for task in ("depth", "normals")}
    return {task: one.labels for task, one in record.read_labels(serialized, discover(), configs).items()}


def request(pattern: str, teacher: ByPlace, with_confidence: bool = True) -> LabelRequest:
    """Returns the request that the teacher labels these records."""
    files = sorted(tf.io.gfile.glob(pattern))
    return LabelRequest([teacher], files, str(Path(pattern).parent), frozenset(), with_confidence)  # type: ignore[list-item]


def content(folder: Path) -> dict[str, bytes]:
    """Returns the bytes of a dataset's shards."""
    return {path.name: path.read_bytes() for path in folder.glob("*.tfrecord")}


@pytest.fixture(autouse=True)
def one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """One batch in the network at a time, so that the passes are in order."""
    monkeypatch.setattr(parallelism, "passes", lambda: 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photos in two shards, labelled with a confidence."""
    folder = tmp_path_factory.mktemp("confidence")
    images = photos(12)
    pattern = write_set(folder / "in", [images[:9], images[9:]], ())
    label_records(request(pattern, ByPlace("depth", "normals")), str(folder / "out"), ["test"])
    return folder


def records(folder: Path) -> list[bytes]:
    """Returns all records of a dataset."""
    return list(tf.data.TFRecordDataset(sorted(map(str, folder.glob("*.tfrecord")))).as_numpy_iterator())


def test_a_known_error_is_the_confidence(made: Path) -> None:
    """25 % off in the left third, and in the right one of the mirrored photo. The angle is that of two walls."""
    for serialized in records(made / "out"):
        found = labels_of(serialized)
        np.testing.assert_array_equal(found["depth"]["confidence"], CERTAIN_MIDDLE)
        expected = np.full([H, W], np.rint(255 * TURNED_TWICE) / 255)
        np.testing.assert_allclose(found["normals"]["confidence"], expected, atol=1e-6)
    assert manifest.read(str(made / "out")).teachers["0123456789ab"]["confidence"] == {
        "depth": confidence.METHOD,
        "normals": confidence.METHOD,
    }


class BySight(ByPlace):
    """Depth is the red level of each column in metres."""

    def forward(self, pixels: np.ndarray, info: np.ndarray) -> Predictions:
        return {"columns": pixels[:, 8, :, 0].astype(np.float32)}

    def labels(self, predictions: Predictions, info: np.ndarray, source_id: str, step: int = 1) -> dict[str, Labels]:
        height, width = info[:2]
        places = (np.arange(width) + 0.5) * 16 / width - 0.5
        row = np.interp(places, np.arange(16), predictions["columns"])
        metres = row.astype(np.float32)[None].repeat(height, 0)
        return {"depth": {"metres": metres, "inverse_depth": np.zeros_like(metres)}}


def test_a_teacher_that_sees_agrees_with_itself(tmp_path: Path) -> None:
    """Its mirrored labels are those of the mirrored photo, but for the rounding of pixels."""
    image = np.rint(np.linspace(50, 200, W))[None, :, None].repeat(H, 0).repeat(3, 2).astype(np.uint8)
    (path,) = tf.io.gfile.glob(write_set(tmp_path / "in", [[unlabelled(0, image)]], ()))
    (one,) = labelled(path, [BySight("depth")], lambda count: None, frozenset(), True)
    found = labels_of(one.serialized)["depth"]
    assert found["metres"][0, 0] < 60 < 190 < found["metres"][0, -1] and found["confidence"].min() > 0.95


def test_the_labels_are_those_without_a_confidence(made: Path, tmp_path: Path) -> None:
    """And without the option there is one pass, and no key more."""
    teacher = ByPlace("depth", "normals")
    result = label_records(request(f"{made}/in/*.tfrecord", teacher, False), str(tmp_path / "out"), ["test"])
    assert teacher.forwards == [8, 1, 3]
    assert result.manifest is not None and "confidence" not in result.manifest.teachers["0123456789ab"]
    for plain, more in zip(records(tmp_path / "out"), records(made / "out"), strict=True):
        example = tf.train.Example.FromString(more)
        for task in ("depth", "normals"):
            assert example.features.feature.pop(f"image/{task}/confidence/encoded")
        assert example.SerializeToString(deterministic=True) == plain


def test_only_images_that_get_such_labels_are_shown_mirrored(tmp_path: Path) -> None:
    """The first six of sixteen have depth; the teacher of normals and depth still labels the normals of the others."""
    real = {task: record.Labelled(one, "real:test") for task, one in labels_of_a_photo().items()}
    images = photos(16)
    images[:6] = [record.merge(one, real, discover()) for one in images[:6]]
    images[6:8] = [record.merge(one, {"depth": real["depth"]}, discover()) for one in images[6:8]]
    (path,) = tf.io.gfile.glob(write_set(tmp_path / "in", [images], ()))
    teacher = ByPlace("depth", "normals")
    found = [one.serialized for one in labelled(path, [teacher], lambda count: None, frozenset(), True)]
    assert teacher.forwards == [2, 2, 8, 8]
    assert found[:6] == images[:6]
    assert [sorted(task for task, one in labels_of(each).items() if "confidence" in one) for each in found] == (
        [[]] * 6 + [["normals"]] * 2 + [["depth", "normals"]] * 8
    )
    for each in found[8:]:
        np.testing.assert_array_equal(labels_of(each)["depth"]["confidence"], CERTAIN_MIDDLE)


def labels_of_a_photo() -> dict[str, Labels]:
    """Returns the teacher's labels of one photo."""
    return ByPlace("depth", "normals").labels({"red": np.float32(9)}, np.array([H, W, 16, 16]), "")


def test_a_job_that_goes_on_ends_with_the_same_bytes(made: Path, tmp_path: Path) -> None:
    """And without the option it is another job."""
    out, teacher = tmp_path / "out", ByPlace("depth", "normals")
    shutil.copytree(made / "out", out)
    (out / manifest.NAME).unlink()
    second = sorted(out.glob("*.tfrecord"))[1]
    second.unlink()
    result = label_records(request(f"{made}/in/*.tfrecord", teacher), str(out), ["test"])
    assert content(out) == content(made / "out") and teacher.forwards == [3, 3]
    assert result.manifest is not None
    with pytest.raises(UserError, match="another"):
        label_records(request(f"{made}/in/*.tfrecord", teacher, False), str(out), ["test"])


def test_without_such_a_task_it_is_a_mistake(made: Path) -> None:
    with pytest.raises(UserError, match="--confidence: it is for depth, normals, and no --teacher labels these"):
        parse_request(f"{made}/in/*.tfrecord", ["detection=nowhere"], (), True)


def test_stats_counts_the_confidence_and_applies_the_threshold(made: Path) -> None:
    """Two thirds of the pixels have 1/2, the others 1."""
    glob = f"{made}/out/*.tfrecord"
    found = found_in(judged(glob), "depth", "0123456789ab")["found"]
    pixels = 12 * H * W
    assert found["scores"] == [0, 0, 0, 0, 0, 2 * pixels // 3, 0, 0, 0, pixels // 3]
    assert found["confidence"] == pytest.approx((2 * HALF + 1) / 3) and found["valid"] == 1
    higher = found_in(judged(glob, settings=["depth.confidence_threshold=0.6"]), "depth", "0123456789ab")["found"]
    assert higher["valid"] == pytest.approx(1 / 3)
    normals = found_in(judged(glob, settings=["normals.confidence_threshold=0.6"]), "normals", "0123456789ab")
    assert normals["found"]["low_confidence"] == 1


def test_the_confidence_is_no_map_of_the_scene(made: Path) -> None:
    """Depth that is the same for every image is found, however the confidence differs."""
    labels, spec = labels_of(records(made / "out")[0])["depth"], discover()["depth"]
    info = record.ImageInfo("photo", H, W)
    of_scene = {key: value for key, value in labels.items() if key != "confidence"}
    grids = [sameness.add(one, spec.summary.content(one, info, None), info) for one in (labels, of_scene)]
    assert set(grids[0]) == set(grids[1]) == {"metres"}


def test_inspect_shows_it(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    given = ["inspect", "--records", f"{made}/out/*.tfrecord", "--json", "--page", str(page)]
    assert must_records([*given, "--pick", pick.LEAST, "--images", "2"], monkeypatch) == 0
    shown = json.loads(capsys.readouterr().out)["tasks"]["depth"]["confidence"]
    assert shown["bins"][5] == 2 * shown["bins"][9] == 2 * 12 * H * W // 3
    assert f"confidence {CERTAIN_MIDDLE.mean():.2f}" in page.read_text()


def test_merging_keeps_it(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = write_set(tmp_path / "other", [[unlabelled(99, np.full([H, W, 3], 250, np.uint8))]], ())
    given = ["merge", "--records", f"{made}/out/*.tfrecord", "--records", other, "--out", f"{tmp_path}/merged"]
    assert must_records(given, monkeypatch) == 0
    merged = {record.info_of(tf.train.Example.FromString(one)).source_id: one for one in records(tmp_path / "merged")}
    assert len(merged) == 13
    for one in records(made / "out"):
        same = labels_of(merged[record.info_of(tf.train.Example.FromString(one)).source_id])
        np.testing.assert_array_equal(same["depth"]["confidence"], CERTAIN_MIDDLE)
    assert "confidence" in manifest.read(str(tmp_path / "merged")).teachers["0123456789ab"]


def spoiled(folder: Path, png: bytes) -> str:
    """Returns a record set whose only record has this confidence of depth."""
    real = record.Labelled(labels_of_a_photo()["depth"], "pseudo:abc")
    example = tf.train.Example.FromString(record.merge(photos(1)[0], {"depth": real}, discover()))
    example.features.feature[depth.labels.CONFIDENCE].bytes_list.value.append(png)
    return write_set(folder, [[example.SerializeToString()]], ())


ONE_COLOUR = "image: all pixels have one colour"  # as the photos of these tests have


def test_check_finds_a_damaged_confidence(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = map_png.encode(np.zeros([H, W - 1], np.uint8))
    for name, png, finding in (
        ("small", small, "depth: map and image differ in size"),
        ("cut", small[:-20], "depth: label cannot be read"),
    ):
        given = ["check", "--records", spoiled(tmp_path / name, png), "--json"]
        assert must_records(given, monkeypatch) == 1
        assert list(json.loads(capsys.readouterr().out)["findings"]) == [ONE_COLOUR, finding]
    must_records(["check", "--records", f"{made}/out/*.tfrecord", "--json"], monkeypatch)
    assert list(json.loads(capsys.readouterr().out)["findings"]) == [ONE_COLOUR]


def test_an_export_leaves_out_what_is_below_the_least_score(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with the pixels of segmentation. Other pixels keep their bits."""
    for least in ("0.3", "0.6"):
        given = ["export-coco", "--records", f"{made}/out/*.tfrecord", "--least-score", least]
        assert must_records([*given, "--out", f"{tmp_path}/{least}"], monkeypatch) == 0  # only doubts are lost
    all_of_it, sure = (np.array(Image.open(tmp_path / least / "depth" / "photo-3.png")) for least in ("0.3", "0.6"))
    np.testing.assert_array_equal(sure, np.where(CERTAIN_MIDDLE == 1, all_of_it, 0))
    assert (all_of_it > 0).all() and not np.array(Image.open(tmp_path / "0.3" / "normal" / "photo-3.png")).any()


def test_an_export_keeps_the_bits_of_the_other_normals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colours = np.random.default_rng(0).integers(0, 256, [H, W, 3]).astype(np.uint8)
    stored = {
        "image/normals/encoded": map_png.encode(colours),
        "image/normals/confidence/encoded": map_png.encode((255 * CERTAIN_MIDDLE).astype(np.uint8)),
        "image/normals/origin": b"pseudo:abc",
    }
    example = tf.train.Example.FromString(photos(1)[0])
    for key, value in stored.items():
        example.features.feature[key].bytes_list.value.append(value)
    glob = write_set(tmp_path / "in", [[example.SerializeToString()]], ())
    given = ["export-coco", "--records", glob, "--least-score", "0.6", "--out", f"{tmp_path}/out"]
    assert must_records(given, monkeypatch) == 0
    written = np.array(Image.open(io.BytesIO((tmp_path / "out" / "normal" / "photo-0.png").read_bytes())))
    np.testing.assert_array_equal(written, np.where(CERTAIN_MIDDLE[..., None] == 1, colours, 0))
