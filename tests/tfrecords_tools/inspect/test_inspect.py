"""must inspect: its figures are those of the scenes as they were rendered, and its page needs no other file."""

from __future__ import annotations

import collections
import dataclasses
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import record, scenes
from must_tf.label_content import Summary
from must_tf.spec import ImageInfo, TaskConfig
from must_tf.tasks import discover
from must_tf.tasks.depth import summary as depth_summary
from tests.support.converting import must_records, noise
from tests.support.tiny import ALL, SIZES, Tiny, image_bytes, scene_record, write_set
from tfrecords_tools.inspect import contact_sheet, counts
from tfrecords_tools.reading import label_summary, recordset, summary_tables

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
HOSTILE = "</script><b>@TITLE@ & 'cat'"


def summary(records: str) -> dict[str, Any]:
    """Counts in this process."""
    dataset = recordset.opened(records)
    return counts.summary(dataset, counts.count(dataset, 1))


def test_values_of_large_maps_are_counted_in_parts(tiny_records: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64 and int64, the values of a large map would take gigabytes."""
    records, confidence = f"{tiny_records.records}/*.tfrecord", np.repeat(np.arange(0.05, 1, 0.1), 100).reshape(20, 50)
    labels = {"classes": np.arange(1000).reshape(20, 50) % 7, "confidence": confidence.astype(np.float32)}
    whole = summary(records)
    for module, size in ((label_summary, "PART"), (depth_summary, "AT_ONCE")):
        monkeypatch.setattr(module, size, 999)
    assert summary(records) == whole
    segmentation = discover()["segmentation"]
    found = label_summary.of(segmentation, labels, ImageInfo("a", 20, 50), segmentation.Config())
    np.testing.assert_array_equal(found.bins, [100] * 10)
    assert found.classes == {place: 143 - (place == 6) for place in range(7)}


def rendered(count: int) -> list[Any]:
    """The scenes of `tiny.scene_record`."""
    return [scenes.render("wild", 5, index, SIZES[index % len(SIZES)]) for index in range(count)]


def test_figures_are_those_of_the_scenes(tiny_records: Tiny) -> None:
    found, drawn = summary(f"{tiny_records.records}/*.tfrecord"), rendered(5)
    assert (found["records"], list(found["shards"].values()), found["whole"]) == (5, [2, 3], True)
    assert {(one["height"], one["width"]): one["images"] for one in found["sizes"]} == {
        (128, 128): 2, (96, 144): 2, (160, 112): 1,
    }  # fmt: skip
    assert all(found["tasks"][task]["origins"] == {"real:scenes": 5} for task in ALL)
    ids = [scene.labels["detection"]["classes"] for scene in drawn]
    wanted = collections.Counter(scenes.OBJECTS[number - 1] for one in ids for number in one)
    classes = found["tasks"]["detection"]["classes"]
    assert {name: count["count"] for name, count in classes.items() if count["count"]} == dict(wanted)
    assert {name: count["images"] for name, count in classes.items()} == {
        name: sum(scenes.OBJECTS.index(name) + 1 in one for one in ids) for name in classes
    }
    counts = sorted(len(one) for one in ids)
    spread = found["tasks"]["masks"]["objects_per_image"]
    assert (spread["mean"], spread["median"], spread["most"]) == (np.mean(counts), counts[2], counts[-1])
    assert (spread["least"], spread["none"]) == (counts[0], counts.count(0))


def test_metres_are_those_of_the_scenes(tiny_records: Tiny) -> None:
    """Stored in millimetres; the median is that of a bin of 2.3 %."""
    found, drawn = summary(f"{tiny_records.records}/*.tfrecord"), rendered(5)
    metres = np.concatenate([scene.labels["depth"]["metres"].ravel() for scene in drawn])
    known = metres[metres > 0]
    wanted = {"least": known.min(), "median": np.median(known), "largest": known.max(), "images": 5}
    assert found["tasks"]["depth"]["metres"] == pytest.approx(wanted, rel=0.024)
    assert found["tasks"]["depth"]["metres"]["largest"] == pytest.approx(known.max(), abs=0.001)
    (table,) = (table for table in summary_tables.tables(found) if table.title == "metres")
    assert table.rows[0][0] == "depth"


def test_pixels_are_counted_class_by_class(tiny_records: Tiny) -> None:
    found, drawn = summary(f"{tiny_records.records}/*.tfrecord"), rendered(5)
    pixels: collections.Counter[str] = collections.Counter()
    for scene in drawn:
        ids, counts = np.unique(scene.labels["segmentation"]["classes"], return_counts=True)
        pixels.update({scenes.SURFACES[i]: int(n) for i, n in zip(ids, counts, strict=True)})
    classes = found["tasks"]["segmentation"]["classes"]
    assert {name: count["count"] for name, count in classes.items() if count["count"]} == dict(pixels)
    shares = [float((scene.labels["depth"]["metres"] > 0).mean()) for scene in drawn]
    known = found["tasks"]["depth"]["known_share"]
    assert known["mean"] == pytest.approx(np.mean(shares), abs=1e-3)  # shares are kept in thousandths
    assert (known["least"], known["none"]) == (pytest.approx(min(shares), abs=1e-3), 0)


def boxes(scores: list[float], origin: str) -> record.Labelled:
    """One box of class 1 per score."""
    count = len(scores)
    labels = {
        "boxes": np.tile(np.array([0.1, 0.2, 0.5, 0.6], np.float32), [count, 1]),
        "classes": np.ones(count, np.int32),
    }
    labels |= {
        "scores": np.array(scores, np.float32),
        "is_crowd": np.zeros(count, bool),
        "area": np.full(count, 9.0, np.float32),
    }
    return record.Labelled(labels, origin)


def pseudo_set(folder: Path) -> str:
    """Four images: two by a teacher, one real, one that nobody looked at."""
    labelled = [{"detection": boxes([0.95, 0.6, 0.12], "pseudo:a")}, {"detection": boxes([0.3], "pseudo:a")}]
    labelled += [{"detection": boxes([1.0, 1.0], "real:hand")}, {}]
    image = image_bytes(noise(40, 60))
    files = [
        record.encode(image, ImageInfo(f"{HOSTILE}{index}", 40, 60), one, discover())
        for index, one in enumerate(labelled)
    ]
    return write_set(folder, [files], ("detection",))


def test_confidence_is_the_teachers_alone(tmp_path: Path) -> None:
    one = summary(pseudo_set(tmp_path / "set"))["tasks"]["detection"]
    assert one["origins"] == {"pseudo:a": 2, "real:hand": 1}
    assert one["unlabelled"] == 1
    assert one["confidence"] == {"bins": [0, 1, 0, 1, 0, 0, 1, 0, 0, 1], "at_least_half": 0.5}


def test_a_map_of_any_task_is_known_where_it_is_not_zero() -> None:
    values = np.zeros([4, 5, 2], np.float32)
    values[0, :, 1] = 0.5
    task = dataclasses.replace(discover()["normals"], summary=Summary())
    config, info = TaskConfig(), ImageInfo("a", 4, 5)
    found = label_summary.of(task, {"flow": values}, info, config)
    assert (found.unit, found.known, found.classes) == ("pixels", 0.25, {})
    assert label_summary.of(task, {"grey": np.array([0.3])}, info, config) == label_summary.LabelSummary("", {})


def test_the_table_names_what_was_dropped_and_what_is_not_there(tiny_records: Tiny) -> None:
    found = summary(f"{tiny_records.records}/records-00000*")
    found["dropped"] = {"image: cannot be decoded": {"count": 7, "examples": ["x.jpg", "y.jpg"]}}
    lines = "\n".join(map(summary_tables.text, summary_tables.tables(found)))
    assert "some of the shards that the manifest lists are not included" in lines
    assert re.search(r"image: cannot be decoded +7 +x.jpg", lines)
    assert re.search(r"\d of 4 classes never occur: ", lines)
    assert "detection and masks: classes" in lines  # they share their objects: one table


@pytest.mark.parametrize(
    ("records", "wanted", "places"),
    [(10, 4, [0, 3, 6, 9]), (3, 60, [0, 1, 2]), (1, 5, [0]), (0, 5, []), (5, 1, [0])],
)
def test_a_sample_is_spread_over_the_set(records: int, wanted: int, places: list[int]) -> None:
    assert contact_sheet.spread(records, wanted) == places


def page_of(records: str, out: Path, images: int = 60) -> str:
    """The page, drawn in this process."""
    found = recordset.opened(records)
    contact_sheet.write(str(out), found, summary(records), contact_sheet.PageImages(images=images))
    return out.read_text()


def test_the_page_needs_nothing_and_holds_what_its_filters_need(tiny_records: Tiny, tmp_path: Path) -> None:
    page = page_of(f"{tiny_records.records}/*.tfrecord", tmp_path / "page.html", 3)
    assert "3 of 5 images, evenly spread over the dataset" in page
    assert not re.search(r"(?:src|href)=\"(?!data:image/jpeg;base64,)", page)
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<article") == 3
    about = json.loads(page.partition('id="about">')[2].partition("</script>")[0])
    assert [one["id"] for one in about] == ["scene-0", "scene-2", "scene-4"]
    assert [one["place"] for one in about][1] == "records-00001-of-00002.tfrecord record 0"
    drawn = rendered(5)[2].labels["detection"]["classes"]
    wanted = collections.Counter(scenes.OBJECTS[number - 1] for number in drawn)
    assert about[1]["tasks"]["detection"]["classes"] == dict(wanted)
    assert page.count('data-task="normals"') == 3


def test_names_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    page = page_of(pseudo_set(tmp_path / "set"), tmp_path / "page.html")
    assert page.count("</script>") == 2  # the data's and the program's own
    assert "<b>@TITLE@" not in page
    about = json.loads(page.partition('id="about">')[2].partition("</script>")[0])
    assert about[0]["id"] == f"{HOSTILE}0"


def shown(page: Path, view: str) -> tuple[list[str], str]:
    """Ids of the images that a browser shows, in order, and its count, once the page's program has run."""
    with tempfile.TemporaryDirectory() as profile:
        command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        command += ["--disable-background-networking", f"--user-data-dir={profile}", "--dump-dom"]
        dom = subprocess.run([*command, f"file://{page}#{view}"], capture_output=True, text=True, check=True).stdout
    cards = re.findall(r'<article class="card"( hidden="")?><h3><b>(.*?)</b>', dom)
    count = re.search(r'<output id="count">(.*?)</output>', dom)
    return [name for hidden, name in cards if not hidden], count[1] if count else ""


@pytest.mark.skipif(BROWSER is None, reason="no browser is installed")
def test_a_browser_filters_and_sorts(tmp_path: Path) -> None:
    page_of(pseudo_set(tmp_path / "set"), tmp_path / "page.html")
    names = {f"&lt;/script&gt;&lt;b&gt;@TITLE@ &amp; 'cat'{index}": index for index in range(4)}

    def places(view: str) -> list[int]:
        found, count = shown(tmp_path / "page.html", view)
        assert count == f"{len(found)} of 4 images"
        return [names[name] for name in found]

    assert places("class=nothing") == [0, 1, 2, 3]  # an old link's class that is not offered any more
    # Means 0.557 and 0.3; what is real has no confidence and comes last; nobody looked at the fourth.
    assert places("task=detection&order=unsure") == [1, 0, 2]
    assert places("order=objects&origin=pseudo:a") == [0, 1]
    assert places(f"class={scenes.OBJECTS[0]}&id=cat'2") == [2]


def test_the_command_prints_tables_or_one_object(
    tiny_records: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records = f"{tiny_records.records}/*.tfrecord"
    out = str(tmp_path / "deep" / "page.html")
    assert must_records(["inspect", "--records", records, "--page", out, "--json"], monkeypatch) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["records"], printed["page"], printed["pictured"]) == (5, out, 5)
    assert must_records(["inspect", "--records", records], monkeypatch) == 0
    assert "5 images in 2 shards" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--page", "page.png"], "must end in .html"),
        (["--page", "page.html", "--images", "0"], "--images 0"),
        (["--records", "none/*"], "no file matches"),
    ],
)
def test_what_cannot_start_is_exit_code_two(
    given: list[str],
    message: str,
    tiny_records: Tiny,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    records = [] if "--records" in given else ["--records", f"{tiny_records.records}/*.tfrecord"]
    assert must_records(["inspect", *records, *given], monkeypatch) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_a_damaged_record_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records = write_set(tmp_path / "set", [[scene_record(0, ())]], ())
    with tf.io.TFRecordWriter(str(tmp_path / "set" / "records-00000-of-00001.tfrecord")) as writer:
        for serialized in (scene_record(0, ()), b"no record"):
            writer.write(serialized)
    assert must_records(["inspect", "--records", records], monkeypatch) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "records-00000-of-00001.tfrecord record 1 cannot be read" in error
    assert "must check" in error
