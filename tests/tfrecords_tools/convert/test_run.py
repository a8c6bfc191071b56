"""The fingerprint of a conversion: what it hashes stays the same when a class gets another name."""

from __future__ import annotations

from tfrecords_tools.convert import run
from tfrecords_tools.export.run import ExportOptions
from tfrecords_tools.sources.classes import ClassFolders
from tfrecords_tools.sources.images import UnlabelledImages
from tfrecords_tools.sources.only import TaskFilter
from tfrecords_tools.sources.rgbd import Rgbd


def test_renamed_classes_keep_their_text() -> None:
    """By hand: the names of the first version."""
    assert run.fingerprint_text(ClassFolders("kinds")).startswith("Classes(root='kinds'")
    assert run.fingerprint_text(run.Encoder(UnlabelledImages("album"))).startswith(
        "Encoder(source=Images(root='album')"
    )
    assert run.fingerprint_text(TaskFilter(UnlabelledImages("album"), ("depth",))).startswith("Only(source=Images(")
    assert run.fingerprint_text(Rgbd("rooms")) == "Rgbd(root='rooms', match='*')"
    assert "match='a*'" in run.fingerprint_text(UnlabelledImages("album", "a*"))
    assert run.fingerprint_text(ExportOptions()) == "What(images=False, least_score=0.5)"
