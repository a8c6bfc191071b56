"""The lists of a JSON object, entry by entry: one entry is in memory, however large the file is."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import tensorflow as tf

CHUNK = 1 << 20  # bytes read at a time; an annotation has about a thousand
# An error this near to the end of what was read may only mean that the rest is missing: a literal, \u1234, a number.
DOUBTFUL = 16
SPACE = re.compile(r"[ \t\n\r]*")


class JsonPart(NamedTuple):
    """An entry of a list, or, with `place` None, a whole value: `[]` where a list begins."""

    key: str
    place: int | None
    value: Any
    text: str


def parts(path: str) -> Iterator[JsonPart]:
    """What the top-level object holds, in the file's order; nothing where the file holds no object.

    Raises:
      ValueError: it is no JSON.
    """
    with tf.io.gfile.GFile(path, "rb") as file:
        reader = _Reader(file)
        if reader.peek() == "{":
            yield from _members(reader)
        else:
            reader.value()
        if reader.peek():
            raise reader.error("more follows after the end")


def _members(reader: _Reader) -> Iterator[JsonPart]:
    """From the brace on to the one that closes it."""
    reader.take("{")
    if reader.peek() == "}":
        reader.take("}")
        return
    end = ","
    while end == ",":
        if reader.peek() != '"':
            raise reader.error("a name in quotes is expected")
        key = reader.value()[0]
        reader.take(":")
        if reader.peek() == "[":
            yield from _list(reader, key)
        else:
            yield JsonPart(key, None, *reader.value())
        end = reader.take(",}")


def _list(reader: _Reader, key: str) -> Iterator[JsonPart]:
    reader.take("[")
    yield JsonPart(key, None, [], "[]")
    if reader.peek() == "]":
        reader.take("]")
        return
    end, place = ",", 0
    while end == ",":
        yield JsonPart(key, place, *reader.value())
        place += 1
        end = reader.take(",]")


class _Reader:
    """A window on the file's text that moves on."""

    def __init__(self, file: tf.io.gfile.GFile):
        self._file, self._text, self._at = file, "", 0
        self._before = 0  # characters that the window has passed
        self._utf8 = codecs.getincrementaldecoder("utf-8-sig")()
        self._decode = json.JSONDecoder().raw_decode

    def _more(self) -> bool:
        """Twice as much of the rest, so that one long value is not tried too often; False at the file's end."""
        rest = self._text[self._at :]
        data = self._file.read(max(CHUNK, len(rest)))
        self._before += self._at
        self._text, self._at = rest + self._utf8.decode(data, final=not data), 0
        return bool(data)

    def peek(self) -> str:
        """The next character that is no space, or an empty string at the end."""
        while True:
            self._at = SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]  # it matches everywhere
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, wanted: str) -> str:
        """The next character, which must be one of `wanted`."""
        found = self.peek()
        if not found or found not in wanted:
            raise self.error(f"{' or '.join(map(repr, wanted))} is expected, not {found or 'the end'!r}")
        self._at += 1
        return found

    def value(self) -> tuple[Any, str]:
        """The next value and its text."""
        self.peek()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError as error:
                wrong = self.error(error.msg, error.pos)  # before the window moves
                if self._may_go_on(error) and self._more():
                    continue
                raise wrong from None
            if end == len(self._text) and self._more():  # the rest of a number may follow
                continue
            text, self._at = self._text[self._at : end], end
            return value, text

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - DOUBTFUL

    def error(self, message: str, at: int | None = None) -> ValueError:
        """What is wrong, and where in the file."""
        return ValueError(f"{message}, at character {self._before + (self._at if at is None else at)}")
