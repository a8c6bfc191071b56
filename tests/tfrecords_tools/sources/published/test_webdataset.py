"""Images and classes in the tar archives of a WebDataset."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from must_tf.common.errors import UserError
from tests.support.converting import converted, must_records
from tests.support.datasets.archives import encoded, packed
from tests.support.datasets.drawn import write, written
from tfrecords_tools.sources.published.webdataset import WebDataset


def shard(path: Path, members: dict[str, bytes]) -> str:
    """Writes an archive; returns the pattern of all in its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed(members))
    return f"{path.parent}/*.tar"


def test_a_sample_is_its_image_and_its_class(tmp_path: Path) -> None:
    shard(
        tmp_path / "set" / "a-0.tar",
        {"000.jpg": encoded(0), "000.cls": b"2", "001.CLS": b"\xef\xbb\xbf0\r\n", "001.jpg": encoded(1)},
    )
    pattern = shard(
        tmp_path / "set" / "a-1.tar", {"x/000.PNG": encoded(2, "PNG"), "x/000.json": b"{}", "000.jpg": encoded(3)}
    )
    result = converted(WebDataset(pattern), tmp_path / "out")
    probabilities = {
        key: record.labels.get("classification", {}).get("probability") for key, record in result.records.items()
    }
    assert {key: None if each is None else each.tolist() for key, each in probabilities.items()} == {
        "000": [0, 0, 1],
        "001": [1, 0, 0],
        "x/000": None,
        "a-1/000": None,  # the name is taken by the other shard
    }
    assert result.records["001"].stored == encoded(1) and result.records["a-1/000"].stored == encoded(3)
    assert result.outcome.manifest.classes == {"classification": ["0", "1", "2"]}
    assert result.outcome.manifest.origins == {"classification": {"real:set": 2}}
    assert result.counts() == {}
    assert result.notes() == {"file: .json in a sample, not used": 1, "classification: no class for this image": 2}


def test_names_of_classes_and_samples_without_an_image(tmp_path: Path) -> None:
    members = {
        "0.jpg": encoded(0),
        "0.cls": b"1",
        "1.cls": b"1",
        "2.jpg": encoded(2),
        "2.cls": b"cat",
        "2.seg.png": b"",
    }
    pattern = shard(tmp_path / "set" / "a.tar", members)
    names = write(tmp_path / "names.txt", "dog\ncat\nbird\n")
    result = converted(WebDataset(pattern, names), tmp_path / "out")
    assert result.outcome.manifest.objects == {"classification": {"cat": 1}}
    assert result.counts() == {"image: sample without an image": 1, "classification: class is not a number": 1}
    assert result.notes() == {"file: .seg.png in a sample, not used": 1, "classification: no class for this image": 1}
    with pytest.raises(UserError, match="has 1 names, but a sample has the class 1"):
        WebDataset(pattern, write(tmp_path / "names.txt", "dog")).find()


def test_a_sample_of_two_classes_has_none(tmp_path: Path) -> None:
    """An archive to which files were appended may have a name twice."""
    folder = tmp_path / "set"
    folder.mkdir()
    with tarfile.open(folder / "a.tar", "w") as archive:
        for name, data in (
            ("0.jpg", encoded(0)),
            ("0.cls", b"0"),
            ("0.cls", b"1"),
            ("1.jpg", encoded(1)),
            ("1.cls", b"1"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    result = converted(WebDataset(f"{folder}/*.tar"), tmp_path / "out")
    assert {key: set(record.labels) for key, record in result.records.items()} == {"0": set(), "1": {"classification"}}
    assert result.counts() == {"classification: several classes of one sample, none is used": 1}


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not match any file"):
        WebDataset(f"{tmp_path}/*.tar").find()
    with pytest.raises(UserError, match="no archive has an image"):
        WebDataset(shard(tmp_path / "a.tar", {"0.txt": b"hello"})).find()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = shard(tmp_path / "set" / "a.tar", {"0.jpg": encoded(0), "0.cls": b"0"})
    assert must_records(["convert", "webdataset", "--archives", pattern, "--out", f"{tmp_path}/out"], monkeypatch) == 0
    assert written(tmp_path / "out")["0"].origins == {"classification": "real:set"}
