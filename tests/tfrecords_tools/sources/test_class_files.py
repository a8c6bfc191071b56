"""Class names in the forms that they are published in; names and ids by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from must_tf.common.errors import UserError
from tfrecords_tools.sources import class_files, files
from tfrecords_tools.sources.class_files import ClassEntry
from tfrecords_tools.teachers import names as teacher_names

LABEL_MAP = """
# a comment { with: "a brace" }
item {
  name: "/m/01",
  id: 3
  display_name: "caf\\303\\251 \\"b\\""
  keypoints { id: 7 label: "nose" }
}
item { id: 1 name: 'dog' display_name: 'dog' }
"""
FORMS: dict[str, tuple[str, list[ClassEntry]]] = {
    "list": ("# our classes\ncat\r\n\n New  dog \n", [ClassEntry(0, "cat"), ClassEntry(1, "New  dog")]),
    "label map": (LABEL_MAP, [ClassEntry(1, "dog"), ClassEntry(3, 'café "b"', "/m/01")]),
    "YOLO's list": ("nc: 2\nnames: ['cat', 'dog']\n", [ClassEntry(0, "cat"), ClassEntry(1, "dog")]),
    "YOLO's table": ("path: x\nnames:\n  1: dog\n  0: cat\n", [ClassEntry(0, "cat"), ClassEntry(1, "dog")]),
    "CVAT's colours": (
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:48,112,32:head:\n",
        [ClassEntry(0, "background", "", (0, 0, 0)), ClassEntry(1, "cat", "", (48, 112, 32))],
    ),
    "decomposed": ("cafe\u0301\n", [ClassEntry(0, "café")]),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_its_names_and_ids(form: str) -> None:
    text, entries = FORMS[form]
    assert class_files.parse(text, "FILE") == entries


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('item { name: "cat" }', "FILE: an item has no id"),
        ('item { id: 1 name: "a" } item { id: 1 name: "b" }', "FILE has the id 1 more than once"),
        ("names: 7\n", "'names' is not a list"),
        ("names: [a\n", "FILE is not valid YAML"),
        (
            "names: [2001-13-01]\n",
            "FILE is not valid YAML: line 1, column 9: '2001-13-01' cannot be read as timestamp.",
        ),
    ],
)
def test_broken_files_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        # A label map begins with an item on a line of its own.
        class_files.parse(text.replace("} item", "}\nitem"), "FILE")


def test_names_of_any_encoding(tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16", "cp1252"):
        (tmp_path / "names.txt").write_bytes("raccoon\r\ncafé\r\n".encode(encoding))
        assert files.read_names(str(tmp_path / "names.txt"), 9) == ("raccoon", "café")


def test_a_teachers_label_map_leaves_gaps(tmp_path: Path) -> None:
    """Ids 1 and 3 are classes. A detector's ids begin at 1; others' at 0."""
    path = tmp_path / "map.pbtxt"
    path.write_text(LABEL_MAP)
    assert teacher_names.read_names(str(path), "x").names == ("dog", "", 'café "b"')
    assert teacher_names.read_names(str(path), "x", 0).names == ("", "dog", "", 'café "b"')
    (tmp_path / "names.txt").write_bytes(b"\xef\xbb\xbfcat\r\n\r\ndog\r\n")
    assert teacher_names.read_names(str(tmp_path / "names.txt"), "x").names == ("cat", "", "dog")
