"""--truth finds an image by its content, whatever its id; by its id only if its file was written again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from must_tf.common.errors import UserError
from must_tf.data import record, scenes
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks import discover
from tests.support.converting import noise
from tests.support.labelling import SIZE, boxes, found_in, judged
from tests.support.tiny import ALL, image_bytes, write_set
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


def test_other_images_are_refused(tmp_path: Path) -> None:
    glob = made(tmp_path / "set", "pseudo:abc", [("a", 0, at(HERE))])
    truth = made(tmp_path / "truth", "real:hand", [("b", 1, at(HERE))])
    with pytest.raises(UserError, match="none has the same content, or the same id and size"):
        judged(glob, truth=truth)
