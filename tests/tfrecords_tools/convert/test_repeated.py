"""The same photo under several names is noted once, with a count and examples."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.converting import converted, noise, save
from tfrecords_tools.sources.images import UnlabelledImages


def test_repeated_photos_are_noted(tmp_path: Path) -> None:
    """Photos 0, 1, 0, 2, 0, 1: three are there already. Two shards hold every other photo."""
    for place, number in enumerate((0, 1, 0, 2, 0, 1)):
        save(tmp_path / "album" / f"{'abcdef'[place]}.png", noise(9, 12, number))
    result = converted(UnlabelledImages(str(tmp_path / "album")), tmp_path / "out", shards=2)
    (entry,) = result.outcome.manifest.notes.values()
    assert result.notes() == {"image: the same photo more than once": 3}
    # The first shard has a, c, e, the second one b, d, f.
    assert entry["examples"] == ["c is a", "e is a", "f is b"]
    assert len(result.records) == 6


def test_shards_of_an_older_version_do_not_tell(tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / "album" / f"{name}.png", noise(9, 12))
    source, out = UnlabelledImages(str(tmp_path / "album")), tmp_path / "out"
    assert converted(source, out).notes() == {"image: the same photo more than once": 1}
    (sidecar,) = (out / ".shards").glob("records-*.json")
    content = json.loads(sidecar.read_text())
    del content["contents"]
    sidecar.write_text(json.dumps(content))
    assert converted(source, out).notes() == {}
