"""Given records whose photos are also validated on."""

from __future__ import annotations

from pathlib import Path

from must_tf.loop import facts, shared_photos
from must_tf.loop.facts import Facts
from must_tf.loop.plan import PlannedDataset
from must_tf.loop.records import Folders, RecordFolder


def test_photos_on_both_sides_are_counted(tmp_path: Path) -> None:
    """Scenes of one seed are the same photos: 3 of 4 with labels of geometry, and none of another seed."""

    def folder(name: str, count: int, seed: int) -> RecordFolder:
        options = {"domain": "geometry", "count": count, "seed": seed}
        facts.write_sample(PlannedDataset(name, "scenes", options), str(tmp_path / name))
        return RecordFolder(name, str(tmp_path / name), Facts(count, {}, {}, 128))

    old, new, val = folder("old", 4, 1), folder("new", 2, 2), folder("val", 3, 1)
    later = RecordFolder("later", str(tmp_path / "later"), Facts(1, {}, {}, 128))
    (line,) = shared_photos.warnings(Folders((old, new, later), (val, later)))
    assert line.startswith("WARNING: old: 3 of its 4 photos are also in the validation data (val), so metrics will be")
    renamed = RecordFolder("old-val", val.folder, val.facts)
    assert shared_photos.warnings(Folders((new,), (val,), (old, renamed))) == [line.replace("(val)", "(old-val)")]
    assert shared_photos.warnings(Folders((new,), (val,), (old,))) == []
