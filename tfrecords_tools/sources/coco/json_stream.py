"""Reads the lists of a JSON object entry by entry, and chosen objects too, with only one entry in memory."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import tensorflow as tf

from must_tf.common import text_files as texts
from must_tf.common.files import require_an_end

MARK = 4  # bytes of the longest byte order mark
CHUNK = 1 << 20  # bytes per read; an annotation has about a thousand
# Characters. An error this close to the end of the text may only mean that the rest is missing (a literal, \u1234, a
# number).
DOUBTFUL = 16
SPACE = re.compile(r"[ \t\n\r]*")


class JsonPart(NamedTuple):
    """An entry of a list or a chosen object, or a value if `place` is None. The start of a list is the value `[]`."""

    key: str
    place: int | None
    value: Any
    text: str


def parts(path: str, objects: Collection[str] = ()) -> Iterator[JsonPart]:
    """Yields the content of the top-level object in the order of the file, or that of a list, whose key is "".

    Args:
      path: the file.
      objects: keys of the top-level object whose values are objects of which each member is yielded alone.

    Raises:
      ValueError: the file is not valid JSON.
    """
    require_an_end(path)
    with tf.io.gfile.GFile(path, "rb") as file:
        reader = _Reader(file)
        if reader.peek() == "{":
            yield from _members(reader, objects)
        elif reader.peek() == "[":
            yield from _list(reader, "")
        else:
            reader.value()
        if reader.peek():
            raise reader.error("there is more text after the end")


def _keys(reader: _Reader) -> Iterator[str]:
    """Yields the keys of an object. The caller reads the value of a key before it asks for the next one."""
    reader.take("{")
    if reader.peek() == "}":
        reader.take("}")
        return
    end = ","
    while end == ",":
        if reader.peek() != '"':
            raise reader.error("expected a name in quotes")
        key = reader.value()[0]
        reader.take(":")
        yield key
        end = reader.take(",}")


def _members(reader: _Reader, objects: Collection[str]) -> Iterator[JsonPart]:
    """Yields the members from the opening to the closing brace."""
    for key in _keys(reader):
        if reader.peek() == "[":
            yield from _list(reader, key)
        elif key in objects and reader.peek() == "{":
            yield from (JsonPart(key, place, *reader.value()) for place, _ in enumerate(_keys(reader)))
        else:
            yield JsonPart(key, None, *reader.value())


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
    """A moving window on the text of the file."""

    def __init__(self, file: tf.io.gfile.GFile):
        self._file, self._text, self._at = file, "", 0
        self._before = 0  # characters before the window
        self._decoder: codecs.IncrementalDecoder | None = None  # chosen by the first bytes
        self._decode = json.JSONDecoder().raw_decode

    def _more(self) -> bool:
        """Reads on, doubling the window so that a long value is not parsed too often; returns False at the end."""
        rest = self._text[self._at :]
        data = self._file.read(max(CHUNK, len(rest), 0 if self._decoder else MARK))
        self._before += self._at
        if self._decoder is None:
            self._decoder, mark = texts.decoder(data)
            data = data[mark:]
        self._text, self._at = rest + self._decoder.decode(data, final=not data), 0
        return bool(data)

    def peek(self) -> str:
        """Returns the next character that is not white space, or an empty string at the end."""
        while True:
            self._at = SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]  # it always matches
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, expected: str) -> str:
        """Reads the next character, which must be one of `expected`."""
        character = self.peek()
        if not character or character not in expected:
            raise self.error(f"expected {' or '.join(map(repr, expected))}, not {character or 'the end'!r}")
        self._at += 1
        return character

    def value(self) -> tuple[Any, str]:
        """Reads the next value; returns it and its text."""
        self.peek()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError as error:
                located_error = self.error(error.msg, error.pos)  # before the window moves
                if self._may_go_on(error) and self._more():
                    continue
                raise located_error from None
            if end == len(self._text) and self._more():  # the rest of a number may follow
                continue
            text, self._at = self._text[self._at : end], end
            return value, text

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - DOUBTFUL

    def error(self, message: str, at: int | None = None) -> ValueError:
        """Makes an error with its position in the file."""
        return ValueError(f"{message}, at character {self._before + (self._at if at is None else at)}")
