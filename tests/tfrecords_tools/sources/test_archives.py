"""ImageNet, CIFAR-100 and tar archives: images in folders, nested archives and pickles."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from must_tf.common.errors import UserError
from tests.support.converting import converted, noise, save
from tests.support.datasets.archives import (
    IMAGES,
    LABELS,
    PIXELS,
    SHARK,
    TENCH,
    WALL,
    cifar,
    encoded,
    flat,
    listed,
    packed,
    python2,
)
from tfrecords_tools.sources import archives
from tfrecords_tools.sources.imagenet import Imagenet
from tfrecords_tools.sources.images import UnlabelledImages
from tfrecords_tools.sources.published.cifar100 import Cifar100


def test_a_tar_is_read_without_unpacking(tmp_path: Path) -> None:
    members = {
        f"./a/{'long' * 30}.jpg": encoded(1),
        "b.png": encoded(2, "PNG"),
        "b.jpg": encoded(3),
        "notes.txt": b"no",
    }
    (tmp_path / "photos.tar").write_bytes(packed(members))
    result = converted(UnlabelledImages(str(tmp_path / "photos.tar")), tmp_path / "out", shards=2)
    assert {key: record.stored for key, record in result.records.items()} == {
        f"a/{'long' * 30}": members[f"./a/{'long' * 30}.jpg"],
        "b": members["b.jpg"],
        "b.png": members["b.png"],
    }
    assert all(record.labels == {} for record in result.records.values())


@pytest.mark.parametrize("name", ["photos.tar.gz", "photos.tar"])
def test_a_compressed_or_cut_tar_is_refused(name: str, tmp_path: Path) -> None:
    data = packed({"a.jpg": encoded(1)}, "w:gz" if name.endswith("gz") else "w")
    (tmp_path / name).write_bytes(data if name.endswith("gz") else data[:1500])
    with pytest.raises(UserError, match="not a complete, uncompressed tar archive"):
        UnlabelledImages(str(tmp_path / name)).find()


def test_a_truncated_tar_loses_only_the_images_that_were_cut(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(packed({"a.jpg": encoded(1)}))
    (part,) = archives.members(str(tmp_path / "a.tar"))
    (tmp_path / "a.tar").write_bytes(b"short")
    with pytest.raises(Exception, match="image: file cannot be read"):
        archives.read_part(str(tmp_path / "a.tar"), part)


def labels_of(result: dict) -> dict[str, int]:
    """Returns {source_id: class id}."""
    return {key: int(record.labels["classification"]["probability"].argmax()) for key, record in result.items()}


WANTED = {f"{SHARK}/{SHARK}_1": 1, f"{TENCH}/{TENCH}_2": 0, f"{TENCH}/{TENCH}_10": 0}


def _folders(root: Path) -> str:
    for name, data in IMAGES.items():
        folder = root / "train" / name.split("_")[0]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return str(root / "train")


def _tar_of_tars(root: Path) -> str:
    inner = {}
    for synset in (SHARK, TENCH):
        inner[f"{synset}.tar"] = packed({name: data for name, data in IMAGES.items() if name.startswith(synset)})
    (root / "ILSVRC2012_img_train.tar").write_bytes(packed(inner))
    return str(root / "ILSVRC2012_img_train.tar")


@pytest.mark.parametrize("write", [_folders, _tar_of_tars])
def test_imagenet_ids_are_positions_of_the_sorted_synsets(write: Callable[[Path], str], tmp_path: Path) -> None:
    result = converted(Imagenet(write(tmp_path)), tmp_path / "out")
    assert labels_of(result.records) == WANTED
    assert result.outcome.manifest.classes == {"classification": [TENCH, SHARK]}
    assert {key: record.stored for key, record in result.records.items()} == {
        f"{name.split('_')[0]}/{name[:-5]}": data for name, data in IMAGES.items()
    }


@pytest.mark.parametrize("name", LABELS)
def test_flat_images_take_their_synsets_from_a_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(LABELS[name])
    (tmp_path / "all.txt").write_text(f"{WALL} wall, great\n{SHARK} shark\n{TENCH} tench, Tinca tinca\n")
    source = Imagenet(flat(tmp_path), str(tmp_path / "labels.txt"), str(tmp_path / "all.txt"))
    result = converted(source, tmp_path / "out")
    assert [labels_of(result.records)[f"ILSVRC2012_val_{n:08}"] for n in (1, 2, 3)] == [1, 0, 0]
    assert result.outcome.manifest.classes == {"classification": [TENCH, SHARK, WALL]}
    assert result.counts() == ({"image: file is missing": 1} if "missing" in name else {})


def test_imagenets_unusual_images_are_converted(tmp_path: Path) -> None:
    folder = tmp_path / "train" / TENCH
    folder.mkdir(parents=True)
    (folder / "png.JPEG").write_bytes(encoded(1, "PNG"))
    (folder / "cmyk.JPEG").write_bytes(encoded(1, "JPEG", "CMYK"))
    (folder / "cut.JPEG").write_bytes(encoded(1)[:300])
    result = converted(Imagenet(str(tmp_path / "train")), tmp_path / "out")
    np.testing.assert_array_equal(result.records[f"{TENCH}/png"].image, noise(20, 30, 1))
    # CMYK is lossy here twice: Pillow's naive inks, and JPEG.
    assert np.abs(result.records[f"{TENCH}/cmyk"].image.astype(int) - noise(20, 30, 1)).mean() < 10
    assert result.counts() == {"image: cannot be decoded": 1}


def test_imagenet_mistakes_are_reported_before_the_first_image(tmp_path: Path) -> None:
    root = flat(tmp_path)
    with pytest.raises(UserError, match="is not in a synset folder"):
        Imagenet(root).find()
    for text, message in (
        (f"{TENCH}\n", "has 1 lines, but .* has 3 images"),
        (f"other_1 {TENCH}\n", r"val contains none of the 1 annotated images \(such as other_1\)"),
        ("490\n361\n171\n", "no line has a synset"),
    ):
        (tmp_path / "labels.txt").write_text(text)
        with pytest.raises(UserError, match=message):
            Imagenet(root, str(tmp_path / "labels.txt")).find()
    (tmp_path / "all.txt").write_text(f"{WALL}\n{TENCH}\n")
    with pytest.raises(UserError, match=f"lacks 1 of the synsets, such as {SHARK}"):
        Imagenet(_folders(tmp_path), classes=str(tmp_path / "all.txt")).find()


def test_cifar100_as_pickled_by_python_2(tmp_path: Path) -> None:
    assert pickle.loads((Path(cifar(tmp_path)) / "train").read_bytes(), encoding="latin1")["data"].shape == (3, 3072)
    result = converted(Cifar100(str(tmp_path / "cifar-100-python")), tmp_path / "out")
    for row, label in enumerate((2, 0, 1)):
        record = result.records[f"train/{row:05}"]  # red, green, blue; each by rows
        assert [record.image[r, c, k] for r, c, k in ((0, 0, 0), (1, 0, 0), (0, 1, 1), (31, 31, 2))] == [
            PIXELS[row, 0],
            PIXELS[row, 32],
            PIXELS[row, 1025],
            PIXELS[row, 3071],
        ]
        assert record.labels["classification"]["probability"].tolist() == np.eye(3)[label].tolist()
    assert result.outcome.manifest.classes == {"classification": ["apple", "bear", "bee"]}


class Malice:
    """Runs a command when it is unpickled without restrictions."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("run",)


def test_a_pickle_that_calls_a_function_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = Path(cifar(tmp_path))
    (folder / "train").write_bytes(pickle.dumps({"data": Malice()}))
    with pytest.raises(UserError, match="it tries to call builtins.print"):
        Cifar100(str(folder)).find()
    assert capsys.readouterr().out == ""
    with pytest.raises(UserError, match="Did you mean 'train'"):
        Cifar100(str(folder), "trian").find()
    (folder / "train").write_bytes(python2(fine_labels=listed([b"K\x00"])))
    with pytest.raises(UserError, match="are not files of CIFAR-100"):
        Cifar100(str(folder)).find()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fine_labels": [0, 1, 1.5]}, "a label is not one of the 3 classes"),
        ({"fine_labels": ["0", "1", "2"]}, "a label is not one of the 3 classes"),
        ({"fine_labels": [True, False, True]}, "a label is not one of the 3 classes"),
        ({"filenames": ["a.png"]}, "3 labels, 1 filenames"),
        ({"filenames": 5}, "3 labels, 0 filenames"),
        ({"filenames": np.array(["a.png"])}, "3 labels, 1 filenames"),
        ({"fine_labels": 5}, "are not files of CIFAR-100"),
        ({"data": PIXELS / np.float32(255)}, "data of float32, not uint8"),
    ],
)
def test_a_pickle_that_contradicts_itself_is_refused(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = Path(cifar(tmp_path))
    (folder / "test").write_bytes(pickle.dumps({"data": PIXELS, "fine_labels": [0, 1, 2]} | changed))
    with pytest.raises(UserError, match=message):
        Cifar100(str(folder), "test").find()


def test_a_pickle_of_a_recent_numpy_is_read(tmp_path: Path) -> None:
    folder = Path(cifar(tmp_path))
    (folder / "test").write_bytes(pickle.dumps({"data": PIXELS, "fine_labels": [0, 1, 2]}, protocol=2))
    assert [item.source_id for item in Cifar100(str(folder), "test").find().items] == [
        "test/00000",
        "test/00001",
        "test/00002",
    ]
    save(folder / "x.png", noise(2, 2))
    with pytest.raises(UserError, match="is not a pickle of CIFAR-100"):
        Cifar100(str(folder), "x.png").find()
