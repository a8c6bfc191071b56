"""A tar archive that was cut off or has a damaged header is refused, not read as a shorter one."""

from __future__ import annotations

from pathlib import Path

import pytest

from must_tf.common.errors import UserError
from tests.support.datasets.archives import encoded, packed
from tfrecords_tools.sources import archives

BLOCK = 512
PHOTO_BLOCKS = -(-len(encoded(1)) // BLOCK)
SECOND = BLOCK * (2 + PHOTO_BLOCKS)  # where b.jpg's header is: after those of folder and a.jpg, and a.jpg's data
END = SECOND + BLOCK * (1 + PHOTO_BLOCKS)  # of b.jpg's data
SPOILED = {
    "cut before a member": (lambda data: data[:SECOND], "cut off"),
    "cut after the last member": (lambda data: data[:END], "cut off"),
    "cut within a header": (lambda data: data[: SECOND + 100], "cut off"),
    "cut within the mark of its end": (lambda data: data[: END + 100], "cut off"),
    "damaged header": (lambda data: data[:SECOND] + b"?" + data[SECOND + 1 :], f"header at byte {SECOND} is damaged"),
    "lost header": (lambda data: data[:SECOND] + bytes(BLOCK) + data[SECOND + BLOCK :], "is damaged"),
}


@pytest.mark.parametrize("name", SPOILED)
@pytest.mark.parametrize("inner", [False, True])
def test_a_tar_is_not_taken_for_a_shorter_one(inner: bool, name: str, tmp_path: Path) -> None:
    spoil, message = SPOILED[name]
    spoiled = spoil(packed({"a.jpg": encoded(1), "b.jpg": encoded(1)}))
    (tmp_path / "a.tar").write_bytes(packed({"a.tar": spoiled}) if inner else spoiled)
    path = str(tmp_path / "a.tar")
    first, size = next((part.offset, part.size) for part in archives.members(path)) if inner else (0, None)
    with pytest.raises(UserError, match="not a complete, uncompressed tar archive") as error:
        list(archives.members(path, first, size))
    if not inner:
        assert message in str(error.value)


def test_one_block_of_zeros_ends_a_tar_too(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(packed({"a.jpg": encoded(1), "b.jpg": encoded(1)})[: END + BLOCK])
    assert [part.name for part in archives.members(str(tmp_path / "a.tar"))] == ["a.jpg", "b.jpg"]
    (tmp_path / "empty.tar").write_bytes(bytes(20 * BLOCK))
    assert list(archives.members(str(tmp_path / "empty.tar"))) == []
