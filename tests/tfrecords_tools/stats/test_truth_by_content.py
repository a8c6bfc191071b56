"""--truth finds an image by its content, whatever its id; by its id only if its file was written again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from must_tf.common.errors import UserError
from must_tf.data import label_reader, record, scenes
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks import discover
from tests.support.converting import noise
from tests.support.labelling import SIZE, boxes, found_in, judged
from tests.support.tiny import ALL, image_bytes, scene_record, write_set
from tfrecords_tools.reading import recordset
from tfrecords_tools.stats import tables

FIRST = scenes.OBJECTS[0]
HERE, THERE = [0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]


def at(*places: list[float]) -> Labels:
    """Returns boxes of the first class."""
    return boxes([(1, 1.0, place) for place in places])


def made(folder: Path, origin: str, images: Sequence[tuple[str, int, Labels]]) -> str:
    """Writes records of (id, number of the picture, boxes)."""
    serialized = [
        record.encode(
            image_bytes(noise(*SIZE, number)),
            ImageInfo(source_id, *SIZE),
            {"detection": record.Labelled(labels, origin)},
            discover(),
        )
        for source_id, number, labels in images
    ]
    return write_set(folder, [serialized], ALL)


def test_content_decides_and_ids_help(tmp_path: Path) -> None:
    """Ids of the first two are crossed, so that matching by id would find every box wrong. The third is there twice
    under other labels, the last one was saved again, and the fourth is not there."""
    pseudo = [("a", 0, at(HERE)), ("b", 1, at(THERE)), ("c", 2, at(HERE)), ("d", 3, at(HERE)), ("e", 4, at(HERE))]
    real = [("b", 0, at(HERE)), ("a", 1, at(THERE)), ("x", 2, at(THERE)), ("c", 2, at(HERE)), ("e", 14, at(HERE))]
    glob, truth = made(tmp_path / "set", "pseudo:abc", pseudo), made(tmp_path / "truth", "real:hand", real)
    content = judged(glob, truth=truth)
    known = found_in(content, "detection")["truth"]
    assert (known["images"], known["missing"], known["by_id"]) == (4, 1, 1)
    assert (known["precision"], known["right"]) == ({FIRST: 1.0}, 1.0)
    assert "4 images have ground truth (1 found by id only: the image files differ), 1 do not" in "\n".join(
        tables.lines(content)
    )


def test_tasks_of_a_large_image_are_compared_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the result of all at once. The maps of all tasks would take gigabytes, on both sides."""
    real = scene_record(0, ALL)
    classes = {task: list(scenes.CLASSES[task]) for task in ALL if scenes.CLASSES.get(task)}
    labels = record.read_labels(real, discover(), recordset.configs_of(classes))
    pseudo = record.merge(real, {task: each._replace(origin="pseudo:abc") for task, each in labels.items()}, discover())
    glob, truth = write_set(tmp_path / "set", [[pseudo]], ALL), write_set(tmp_path / "truth", [[real]], ALL)
    whole = judged(glob, truth=truth)
    assert all(found_in(whole, task)["truth"]["images"] == 1 for task in ALL)
    read, seen = record.labels_in_turn, list[tuple[str, ...]]()

    def noted(serialized: bytes, specs: Any, configs: Any) -> Any:
        for task, each in read(serialized, specs, configs):
            seen.append((each.origin.partition(":")[0], task))
            yield task, each

    monkeypatch.setattr(record, "labels_in_turn", noted)
    monkeypatch.setattr(label_reader, "LARGE", 1)
    assert judged(glob, truth=truth)["tasks"] == whole["tasks"]
    assert [seen[place + 1] for place, entry in enumerate(seen) if entry == ("pseudo", "depth")][-1] == (
        "real",
        "depth",
    )


def test_other_images_are_refused(tmp_path: Path) -> None:
    glob = made(tmp_path / "set", "pseudo:abc", [("a", 0, at(HERE))])
    truth = made(tmp_path / "truth", "real:hand", [("b", 1, at(HERE))])
    with pytest.raises(UserError, match="none has the same content, or the same id and size"):
        judged(glob, truth=truth)
