"""A JSON object whose values are long lists, entry by entry: no file is ever in memory as a whole.

Objects365 has 25 million annotations; packed they take less than half of the memory of Python's dicts.
"""

from __future__ import annotations

import codecs
import json
import marshal
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

CHUNK = 1 << 22  # bytes read at a time; an entry may be longer
BLANK = " \t\r\n"


class Packed:
    """A sequence of entries as bytes, unpacked one at a time."""

    __slots__ = ("_packed",)

    def __init__(self) -> None:
        self._packed: list[bytes] = []

    def append(self, entry: Any) -> None:
        """One more."""
        self._packed.append(marshal.dumps(entry))

    def grouped(self, key: Callable[[Any], Packed | None]) -> None:
        """Puts every entry also into the sequence that `key` gives for it; the bytes are shared."""
        for packed in self._packed:
            group = key(marshal.loads(packed))
            if group is not None:
                group._packed.append(packed)

    def __iter__(self) -> Iterator[Any]:
        return map(marshal.loads, self._packed)

    def __len__(self) -> int:
        return len(self._packed)


def entries(file: IO[bytes], lists: Iterable[str], hook: Callable[[dict], Any]) -> Iterator[tuple[str, Any]]:
    """(key, entry) of the top-level lists; (key, None) first, so that empty lists are seen too. Others are passed over.

    Args:
      file: UTF-8, with or without a byte order mark.
      lists: their keys.
      hook: applied to every object, the innermost first.

    Raises:
      ValueError: it is no JSON object, or ends in the middle.
    """
    text, wanted = _Text(file, json.JSONDecoder(object_hook=hook)), set(lists)
    text.expect("{")
    more = not text.skip("}")
    while more:
        key = text.value()
        text.expect(":")
        if key in wanted and text.skip("["):
            yield key, None
            inside = not text.skip("]")
            while inside:
                yield key, text.value()
                inside = text.either(",", "]")
        else:
            text.value()
        more = text.either(",", "}")


class _Text:
    """The part of the text that was read and not yet used."""

    def __init__(self, file: IO[bytes], decoder: json.JSONDecoder):
        self._file, self._decoder = file, decoder
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._text, self._at, self._used, self._ended = "", 0, 0, False

    def value(self) -> Any:
        """The next value, once it is sure where it ends: a number may go on in the next chunk."""
        self._peek()
        while True:
            try:
                found, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._ended:
                    raise ValueError(f"{error.msg} at character {self._used + error.pos}") from None
            else:
                if end < len(self._text) or self._ended:
                    self._at = end
                    return found
            self._more()

    def skip(self, character: str) -> bool:
        """Whether the next character is this one, and passes over it."""
        if self._peek() != character:
            return False
        self._at += 1
        return True

    def either(self, go_on: str, stop: str) -> bool:
        """Whether the list goes on."""
        if self.skip(go_on):
            return True
        self.expect(stop)
        return False

    def expect(self, character: str) -> None:
        """Passes over this character."""
        if not self.skip(character):
            raise ValueError(f"{character!r} expected at character {self._used + self._at}")

    def _peek(self) -> str:
        """The next character that is not blank; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in BLANK:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._more()

    def _more(self) -> None:
        """Reads on; twice as much if the last chunk was used by one entry, so that a long entry costs no square."""
        rest = self._text[self._at :]
        data = self._file.read(max(CHUNK, len(rest)))
        self._ended = not data
        self._used += self._at
        self._text, self._at = rest + self._decode(data, final=self._ended), 0
