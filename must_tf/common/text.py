"""Phrases that messages and tables share, and text of any origin made safe to show.

Names of files, classes and images may hold characters that a terminal obeys: they move its cursor, hide text, or turn
it around. Commands print through `shown_output`; tables and pages call `shown`.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, cast

# Control characters, except for tabulators and line breaks, and those that change the direction of text.
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
BRIEF = 80  # characters of a wrong value or name
# What commands write themselves to replace a terminal's line, and the line breaks of other systems.
OWN = re.compile(r"\A(?:\x1b\[2K)?\r?|\r?\n|\r\Z")


def shown(text: str) -> str:
    r"""Returns a text without characters that a terminal or a page obeys: "\x1b" and the like stand for them.

    JSON stays valid JSON.
    """
    return OBEYED.sub(_code, text)


def _code(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 0x20 else f"\\u{number:04x}"


class _Shown:
    """A text stream that passes everything through `shown`, except for what is in `OWN`."""

    def __init__(self, stream: TextIO):
        self.unfiltered = stream

    def write(self, text: str) -> int:
        """Writes a text."""
        if OBEYED.search(text) is None:
            return self.unfiltered.write(text)
        parts, at = [], 0
        for own in OWN.finditer(text):
            parts += [shown(text[at : own.start()]), own[0]]
            at = own.end()
        return self.unfiltered.write("".join([*parts, shown(text[at:])]))

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unfiltered, name)


def unfiltered(stream: TextIO) -> TextIO:
    """Returns the stream behind one of `shown_output`, for a writer that colours its text itself."""
    return cast(TextIO, getattr(stream, "unfiltered", stream))


@contextlib.contextmanager
def shown_output() -> Iterator[None]:
    """Passes what this process prints through `shown`."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, _Shown(unfiltered(stream))) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def listed(names: Iterable[str], limit: int = 5, separator: str = ", ") -> str:
    """Joins names for a message: "a, b, c and 4 more".

    Args:
      names: what to list.
      limit: how many of them are written out.
      separator: between two names; "; " if they are clauses with commas of their own.
    """
    known = list(names)
    more = f" and {len(known) - limit} more" if len(known) > limit else ""
    return separator.join(known[:limit]) + more


def brief(value: Any) -> str:
    """Returns a wrong value of a file as a message shows it: not the megabytes that it may have."""
    text = repr(value)
    return text if len(text) <= BRIEF else f"{text[:BRIEF]}..."
