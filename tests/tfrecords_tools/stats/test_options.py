"""must stats: the sets that its options name, and what those can tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from must_tf.common.errors import UserError
from must_tf.data import record
from must_tf.pseudo_gate import rules, verdict
from tests.support.labelling import SIZE, Image, boxes, by, found_in, judged, records, tell_training
from tfrecords_tools.reading import recordset
from tfrecords_tools.stats import run as stats

BOX = [0.0, 0.0, 0.5, 0.5]
NINE = by("pseudo:abc", "detection", [boxes([(1, 0.9, BOX)] * 9)])
WHOLE = by("real:coco", "detection", [boxes([(1, 1.0, BOX), (2, 1.0, BOX)])])
PARTIAL: list[Image] = [{"detection": record.Labelled(boxes([(1, 1.0, BOX)]), "real:voc", annotated=(1,))}]
METRES = {"metres": np.tile(np.linspace(1.0, 2.0, SIZE[1], dtype=np.float32), [SIZE[0], 1])}


def test_real_labels_of_some_classes_are_not_compared_with(tmp_path: Path) -> None:
    """One image whole with two objects, three with one object each where nobody looked for the second class."""
    glob = records(tmp_path / "set", NINE)
    known = found_in(judged(glob, [records(tmp_path / "real", [*WHOLE, *PARTIAL * 3])]), "detection")
    assert (known["training"]["images"], known["training"]["per_image"]) == (1, 2.0)
    partial = records(tmp_path / "partial", PARTIAL * 3)
    for against in (partial, f"detection={partial}"):
        with pytest.raises(UserError, match="partial is annotated for only some of the classes of detection"):
            judged(glob, [against])


def test_where_they_tell_nothing_the_teachers_own_records_do(tmp_path: Path) -> None:
    """--against has depth of all and objects of some classes: nine objects an image are held beside the manifest's."""
    mirrored = {"metres": METRES["metres"][:, ::-1]}
    labelled = [{**NINE[0], **depth} for depth in by("pseudo:abc", "depth", [METRES, mirrored])]
    glob = records(tmp_path / "set", labelled * (rules.FEWEST_IMAGES // 2))
    tell_training(tmp_path / "set", "abc", {"detection": {"images": 10, "objects": 30, "classes": {}}})
    content = judged(glob, [records(tmp_path / "real", [{**PARTIAL[0], **by("real:hand", "depth", [METRES])[0]}])])
    assert found_in(content, "depth")["training"]["images"] == 1
    assert found_in(content, "detection")["training"]["source"] == "manifest.json"
    assert list(content["verdict"]["failed"]) == ["detection"]
    assert "9 objects per image above the threshold, 3 in the" in content["verdict"]["failed"]["detection"][0]


def test_a_set_for_a_task_that_no_teacher_labelled_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = records(tmp_path / "real", WHOLE)
    glob = records(tmp_path / "set", by("pseudo:abc", "depth", [METRES]))
    monkeypatch.setattr(recordset, "over_shards", lambda *_: pytest.fail("a set was read"))
    with pytest.raises(UserError, match=r"set has no pseudo labels of detection\. Leave it out"):
        judged(glob, [f"detection={real}"])
    with pytest.raises(UserError, match=r"a dataset of its own\. Leave out .*real\."):
        judged(glob, [f"depth={glob}", real])


def test_a_comma_is_a_part_of_a_folders_name(tmp_path: Path) -> None:
    folder = tmp_path / "coco,v2"
    glob = records(folder, NINE)
    assert stats.after_labelling(str(folder), force=False) == 0
    assert (folder / verdict.NAME).exists()
    real = records(tmp_path / "real, all", WHOLE)
    assert found_in(judged(glob, [f"detection={real}"], truth=real), "detection")["training"]["per_image"] == 2.0
