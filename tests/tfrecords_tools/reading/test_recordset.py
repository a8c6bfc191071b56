"""The patterns that name a dataset: everything in its folder, and the folder itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from must_tf.common.errors import UserError
from tests.support.tiny import scene_record, write_set
from tfrecords_tools.reading import recordset


def test_everything_in_the_folder_means_its_records(tmp_path: Path) -> None:
    """The manifest, the verdict and the folder of a converter's notes are not records."""
    write_set(tmp_path, [[scene_record(0, ("depth",))]], ("depth",))
    (tmp_path / "stats.json").write_text("{}")
    assert (tmp_path / ".shards").is_dir()
    assert [Path(path).suffix for path in recordset.opened(f"{tmp_path}/*").paths] == [".tfrecord"]


def test_other_files_of_the_folder_are_no_records(tmp_path: Path) -> None:
    write_set(tmp_path, [[scene_record(0, ("depth",))]], ("depth",))
    with pytest.raises(UserError, match=r"manifest.json' names no record file. Write 'FOLDER/\*.tfrecord'"):
        recordset.opened(f"{tmp_path}/manifest.json")


def test_a_folder_is_answered_with_the_pattern_of_its_files(tmp_path: Path) -> None:
    write_set(tmp_path, [[scene_record(0, ("depth",))]], ("depth",))
    with pytest.raises(UserError, match=r"--records: .* is a folder. Name its files: '.*/\*\.tfrecord'"):
        recordset.opened(str(tmp_path))
