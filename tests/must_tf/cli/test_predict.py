"""`must predict`: every file is there and right, unreadable photos are named, and a killed command goes on."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO

from must_tf.cli import predict
from must_tf.common.errors import UserError
from must_tf.prediction import folder
from must_tf.prediction import model as models
from must_tf.prediction.images import Listing
from tests.support.converting import files_in
from tests.support.predicting import images
from tests.support.session.graphs import eager_functions
from tests.support.tiny import Tiny, image_bytes

NAMES = ("a/1.png", "a/1.bmp", "b.png", "c.png")
THRESHOLD = 0.05  # below all scores that are kept


LOADED = functools.cache(models.load)


def loaded(path: str, tasks: Sequence[str] = ()) -> models.Model:
    """Loads a model once: most tests are about what the command does with it."""
    return LOADED(path, tuple(tasks))


@pytest.fixture(scope="module", autouse=True)
def loaded_once() -> Iterator[None]:
    """The command loads a model that an earlier test has loaded from there."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(models, "_network", functools.cache(models._network))  # also for other tasks of it
        monkeypatch.setattr(models, "load", loaded)
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photos of three sizes; two differ only in their suffix. Lossless, so that the pixels are known."""
    made = tmp_path_factory.mktemp("photos")
    for name, image in zip(NAMES, images(), strict=False):
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).write_bytes(image_bytes(image, Path(name).suffix))
    return made


def flags(tiny: Tiny, photos: Path, out: Path, *more: str) -> list[str]:
    """Returns the flags of a run of the command."""
    return [f"--model={tiny.run}", f"--images={photos}", f"--out={out}", f"--threshold={THRESHOLD}", *more]


@pytest.fixture(scope="module")
def out(tiny: Tiny, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The predictions of an undisturbed command."""
    made = tmp_path_factory.mktemp("predicted") / "out"
    assert predict.main(flags(tiny, photos, made, "--batch_size=2")) == 0
    return made


def json_of(path: Path) -> Any:
    return json.loads(path.read_text())


def lines(out: Path) -> dict[str, Any]:
    """Returns predictions.jsonl by photo."""
    return {line["image"]: line for line in map(json.loads, (out / folder.LINES).read_text().splitlines())}


def test_every_photo_has_its_files(out: Path) -> None:
    """By the names that docs/predict.md states."""
    stems = {"a/1.png": "a/1.png", "a/1.bmp": "a/1.bmp", "b.png": "b", "c.png": "c"}
    assert set(lines(out)) == set(stems)
    expected = {"coco.json", "predict.json", "predictions.jsonl"}
    for stem in stems.values():
        expected |= {
            f"pictures/{stem}.jpg",
            *(f"maps/{stem}.{name}.png" for name in ("depth", "normals", "segmentation")),
        }
    assert set(files_in(out)) == expected
    for name, line in lines(out).items():
        assert line["files"]["picture"] == f"pictures/{stems[name]}.jpg"
        with Image.open(out / line["files"]["picture"]) as picture:
            assert picture.size[0] > 1000


def test_maps_hold_the_predictions(tiny: Tiny, photos: Path, out: Path) -> None:
    """Read by OpenCV and Pillow."""
    model = loaded(tiny.run)
    for name, line in lines(out).items():
        result = model.predict(photos / name, threshold=THRESHOLD)
        depth = cv2.imread(str(out / line["files"]["depth"]), cv2.IMREAD_UNCHANGED)
        assert depth is not None and depth.dtype == np.uint16
        np.testing.assert_allclose(depth, result.depth * 1000, rtol=1e-3, atol=0.6)
        colours = np.asarray(Image.open(out / line["files"]["normals"])).astype(np.float64)
        np.testing.assert_allclose(colours / 127.5 - 1, result.normals, atol=0.01)
        assert np.mean(np.asarray(Image.open(out / line["files"]["segmentation"])) != result.segmentation) < 0.002
        assert line["classification"]["label"] == result.label
        np.testing.assert_allclose([one["score"] for one in line["objects"]], result.scores, atol=1e-3)


def test_coco_json_is_read_by_cocos_own_tools(tiny: Tiny, photos: Path, out: Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(out / folder.COCO))
    by_name = {image["file_name"]: image for image in coco.dataset["images"]}
    assert set(by_name) == set(NAMES) and len(coco.getAnnIds()) > 4
    assert [one["name"] for one in coco.dataset["categories"]] == ["ball", "box", "cylinder", "cone"]
    result = loaded(tiny.run).predict(photos / "b.png", threshold=THRESHOLD)
    found = coco.loadAnns(coco.getAnnIds(by_name["b.png"]["id"]))
    assert (by_name["b.png"]["height"], by_name["b.png"]["width"]) == result.image.shape[:2]
    assert len(found) == len(result.masks) > 0
    for one, box, mask in zip(found, result.boxes, result.masks, strict=True):
        np.testing.assert_allclose(one["bbox"], [*box[:2], *(box[2:] - box[:2])], atol=0.05)
        assert np.mean(mask_utils.decode(one["segmentation"]) != mask) < 0.01


def test_the_settings_name_the_classes(tiny: Tiny, out: Path) -> None:
    settings = json_of(out / folder.SETTINGS)
    assert settings["model"] == tiny.run and settings["step"] == 2 and settings["threshold"] == THRESHOLD
    assert (settings["photos"], settings["unreadable"]) == (4, [])
    assert len(settings["classes"]["segmentation"]) == 8


def test_a_finished_folder_is_left_alone(
    tiny: Tiny, photos: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_in(out)
    assert predict.main(flags(tiny, photos, out)) == 0
    assert "is finished: 4 photos. Nothing to predict." in capsys.readouterr().out
    assert files_in(out) == before


def half_a_line(out: Path) -> None:
    """The last line was being written."""
    path = out / folder.LINES
    path.write_bytes(path.read_bytes()[:-30])


def no_lines(out: Path) -> None:
    """The first photo's files were being written."""
    (out / folder.LINES).unlink()
    shutil.rmtree(out / folder.MAPS)


def before_the_end(out: Path) -> None:
    """All photos were finished, the joined file was not."""
    (out / folder.COCO).unlink()


@pytest.mark.parametrize("kill", [half_a_line, no_lines, before_the_end])
def test_a_killed_command_goes_on(
    kill: Callable[[Path], None], tiny: Tiny, photos: Path, out: Path, tmp_path: Path
) -> None:
    """The same bytes as without a kill, although batches have two photos; and finished photos are not written again."""
    again = tmp_path / "out"
    shutil.copytree(out, again)
    kill(again)
    finished = {path: (again / path).stat().st_mtime_ns for path in files_in(again) if path.startswith("pictures/a")}
    assert predict.main(flags(tiny, photos, again, "--batch_size=2")) == 0
    assert files_in(again) == files_in(out)
    if kill is half_a_line:
        assert {path: (again / path).stat().st_mtime_ns for path in finished} == finished


def test_new_photos_are_added_and_unreadable_ones_are_named(
    tiny: Tiny, photos: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, each time that the command runs."""
    more, again = tmp_path / "photos", tmp_path / "out"
    shutil.copytree(photos, more)
    shutil.copytree(out, again)
    (more / "broken.jpg").write_bytes(b"no image")
    (more / "d.png").write_bytes(image_bytes(images()[4]))
    for _ in range(2):
        assert predict.main(flags(tiny, more, again)) == 1
        printed = capsys.readouterr().out
        assert "5 photos predicted" in printed and "1 without a prediction:" in printed and "broken.jpg" in printed
    settings = json_of(again / folder.SETTINGS)
    assert settings["photos"] == 5 and "broken.jpg" in settings["unreadable"][0]
    assert set(lines(again)) == {*NAMES, "d.png"}


def test_some_tasks_only(tiny: Tiny, photos: Path, tmp_path: Path) -> None:
    with eager_functions():
        assert predict.main(flags(tiny, photos / "b.png", tmp_path / "out", "--tasks=depth, normals")) == 0
    assert set(files_in(tmp_path / "out")) == {
        "maps/b.depth.png",
        "maps/b.normals.png",
        "pictures/b.jpg",
        "predict.json",
        "predictions.jsonl",
    }


def test_other_settings_and_foreign_folders_are_refused(tiny: Tiny, photos: Path, out: Path, tmp_path: Path) -> None:
    """Nothing is written."""
    before = files_in(out)
    with pytest.raises(UserError, match="other settings .threshold 0.05 -> 0.5.. Give another --out"):
        predict.main([*flags(tiny, photos, out)[:3], "--threshold=0.5"])
    assert files_in(out) == before
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(UserError, match="did not write: "):
        predict.main(flags(tiny, photos, tmp_path))
    assert set(files_in(tmp_path)) == {"note.txt"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("--images=nowhere/*.jpg", "no image matches 'nowhere/\\*.jpg'"),
        ("--model=nowhere", "nowhere: there is no model"),
        ("--threshold=2", "threshold=2 must be from 0 to 1"),
        ("--tasks=dept", "no head for 'dept'. Did you mean 'depth'"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(
    tiny: Tiny, photos: Path, tmp_path: Path, changed: str, message: str
) -> None:
    name = changed.partition("=")[0]
    others = [word for word in flags(tiny, photos, tmp_path / "out") if word.partition("=")[0] != name]
    with pytest.raises(UserError, match=message):
        predict.main([*others, changed])
    assert not (tmp_path / "out").exists()


def test_photos_that_would_share_their_files_are_refused() -> None:
    """Two suffixes of one name are told apart; a name that looks like the other's is not."""
    assert [photo.stem for photo in folder.photo_names(Listing("p", ["a.jpg", "a.png", "b.jpg"]))] == [
        "a.jpg",
        "a.png",
        "b",
    ]
    with pytest.raises(UserError, match="two photos would be written as 'a.jpg'"):
        folder.photo_names(Listing("p", ["a.bmp", "a.jpg", "a.jpg.png"]))
