"""The patterns that name a dataset: everything in its folder, and the folder itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from must_tf.common.errors import UserError
from tests.support.tiny import scene_record, write_set
from tfrecords_tools.merge.run import merge_inputs
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


def test_a_folder_may_have_the_characters_of_patterns(tmp_path: Path) -> None:
    """Records of a folder `runs [2]` were written, and no command found them."""
    folder = tmp_path / "runs [2]"
    write_set(folder, [[scene_record(0, ("depth",))]], ("depth",))
    assert recordset.opened(f"{folder}/*.tfrecord").directory == str(folder)
    (source,) = merge_inputs([f"{folder}/*.tfrecord"], least=1)
    assert source.files == tuple(sorted(map(str, folder.glob("*.tfrecord"))))
