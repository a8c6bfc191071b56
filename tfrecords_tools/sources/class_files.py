"""Files with class names, in the forms that they are published in.

| file | names |
|---|---|
| text | one per line, in id order; lines that begin with # are comments |
| label map (`item { id: 1 name: "cat" }`, .pbtxt) | `display_name` or else `name`, ordered by id |
| YAML with `names` (YOLO's data.yaml) | the list, or the values of {id: name}, ordered by id |
| CVAT's labelmap.txt (`# label:color_rgb:parts:actions`) | in its order, with a colour each |
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import yaml

from must_tf.common import text_files as texts
from must_tf.common.errors import UserError
from must_tf.common.yaml_keys import SafeLoader, load, reason

COMMENT = "#"
ITEM = re.compile(r"^\s*item\s*\{", re.MULTILINE)
TOKEN = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|[{}:]|[\w./+-]+|#[^\n]*")
COLOURS = re.compile(r"^([^:]+):(\d+),(\d+),(\d+):[^:]*:[^:]*$")
NAMES = "names"  # the key in a YAML file
YAML = re.compile(rf"^{NAMES}\s*:", re.MULTILINE)


class ClassEntry(NamedTuple):
    """One class of a file.

    Attributes:
      id: as in the file; the line's number from 0 if the file has no ids.
      name: the class's name, normalised to composed characters (NFC).
      other: another name of the class in records, or empty.
      colour: RGB in label images, or empty.
    """

    id: int
    name: str
    other: str = ""
    colour: tuple[int, ...] = ()


def parse(text: str, where: str) -> list[ClassEntry]:
    """Parses the text of a file of any of the forms, in the order of the ids.

    Args:
      text: the content of the file.
      where: the option and the file, for messages.

    Raises:
      UserError: the file looks like one of the forms and is not valid, or an id is repeated.
    """
    if is_label_map(text):
        entries = _label_map(text, where)
    elif YAML.search(text):
        entries = _yaml(text, where)
    else:
        lines = [line for line in texts.lines(text) if not line.startswith(COMMENT)]
        coloured = [COLOURS.fullmatch(line) for line in lines]
        if lines and all(coloured):
            found = [match for match in coloured if match]
            entries = [
                ClassEntry(n, match[1], "", tuple(map(int, match.groups()[1:]))) for n, match in enumerate(found)
            ]
        else:
            entries = [ClassEntry(number, line) for number, line in enumerate(lines)]
    ids = [entry.id for entry in entries]
    if repeated := sorted({number for number in ids if ids.count(number) > 1}):
        raise UserError(f"{where} has the id {repeated[0]} more than once. Give each class its own.")
    return sorted((entry._replace(name=composed(entry.name)) for entry in entries), key=lambda entry: entry.id)


def composed(name: str) -> str:
    """Returns a class's name as all sources write it: in composed characters (NFC), without white space at its ends."""
    return unicodedata.normalize("NFC", name.strip())


def names_by_id(entries: Sequence[ClassEntry], first: int) -> tuple[str, ...]:
    """Returns the names from the id `first` on, with an empty name for each id that is not a class."""
    by_id = {entry.id: entry.name for entry in entries}
    return tuple(by_id.get(number, "") for number in range(first, max(by_id, default=first - 1) + 1))


def is_label_map(text: str) -> bool:
    """Returns True if the text is a label map, in which classes have ids of their own."""
    return bool(ITEM.search(text))


def is_list(text: str) -> bool:
    """Returns True if the text has one name per line."""
    return not is_label_map(text) and not YAML.search(text)


def _yaml(text: str, where: str) -> list[ClassEntry]:
    try:
        content = load(text, SafeLoader)
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not valid YAML: {reason(error)}") from None
    names: Any = content.get(NAMES) if isinstance(content, dict) else None
    if isinstance(names, list):
        return [ClassEntry(number, str(name)) for number, name in enumerate(names)]
    if not isinstance(names, dict) or not all(str(number).isdigit() for number in names):
        raise UserError(f"{where}: 'names' is not a list of names, nor a table of ids and names. Correct the file.")
    return [ClassEntry(int(number), str(name)) for number, name in names.items()]


def _label_map(text: str, where: str) -> list[ClassEntry]:
    entries = []
    for item in _items(TOKEN.findall(text)):
        name = item.get("display_name") or item.get("name", "")
        if not item.get("id", "").isdigit() or not name:
            raise UserError(f"{where}: an item has no id or no name: {item}. Correct the file.")
        other = item.get("name", "") if "display_name" in item else ""
        entries.append(ClassEntry(int(item["id"]), name, other if other != name else ""))
    return entries


def _items(tokens: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yields the fields of each item of a label map; nested messages are skipped."""
    depth, fields, key = 0, dict[str, str](), ""
    for token in (token for token in tokens if not token.startswith(COMMENT) and token != ":"):
        if token == "{":
            depth, key = depth + 1, ""
        elif token == "}":
            depth, key = depth - 1, ""
            if depth == 0:
                yield fields
                fields = {}
        elif depth == 1 and key:
            fields[key], key = _value(token), ""
        elif depth == 1:
            key = token


def _value(token: str) -> str:
    if token[:1] not in "\"'":
        return token
    unescaped, _ = codecs.escape_decode(token[1:-1].encode())  # type: ignore[attr-defined]  # it is not in the stubs
    return unescaped.decode(errors="replace")
