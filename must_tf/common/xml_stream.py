"""Reads XML files of any size, one element at a time, in any encoding, as `text_files.xml` reads small ones.

A file is tried as it is, then as text in the encoding that it declares, then as text in the encoding that is found. As
text, ampersands may be bare. Trying is parsing without keeping anything.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator
from xml.etree import ElementTree
from xml.parsers import expat

from must_tf.common import text_files

Read = Callable[[], Iterable[bytes]]  # begins to read the file
HEAD = 1024  # characters that hold the declaration
TAIL = re.compile(r"&[^;&]{0,31}\Z")  # an ampersand whose rest may be in the next part


class XmlFile:
    """An XML file.

    Attributes:
      is_guessed: True if its encoding is neither declared nor known, see `text_files.is_guessed_xml`.
    """

    def __init__(self, read: Read):
        """Finds out how to read the file.

        Raises:
          ValueError: it is not XML.
        """
        readings: tuple[Callable[[], Iterable[bytes] | Iterable[str]], ...] = (
            read,
            lambda: _cleaned(_declared(read())),
            lambda: _cleaned(_found(read())),
        )
        errors = []
        for place, reading in enumerate(readings):
            try:
                _parse(reading())
            except (expat.ExpatError, ValueError, LookupError) as error:
                errors.append(str(error))
                continue
            self._parts = reading
            self.is_guessed = place == len(readings) - 1 and text_files.is_guessed(read())
            return
        raise ValueError(errors[0])

    def events(self) -> Iterator[tuple[str, ElementTree.Element]]:
        """Yields ("start", element) and ("end", element). Elements stay in memory until the caller clears them."""
        parser: ElementTree.XMLPullParser = ElementTree.XMLPullParser(("start", "end"))
        for part in self._parts():
            parser.feed(part)
            yield from parser.read_events()  # type: ignore[misc]  # only these two kinds were asked for
        parser.close()
        yield from parser.read_events()  # type: ignore[misc]


def _parse(parts: Iterable[bytes] | Iterable[str]) -> None:
    """Raises ExpatError if the parts are not XML."""
    parser = expat.ParserCreate()
    for part in parts:
        parser.Parse(part, False)
    parser.Parse(b"", True)


def _declared(chunks: Iterable[bytes]) -> Iterator[str]:
    """Decodes a file in the encoding that it declares. Raises LookupError or ValueError if that cannot be right."""
    decoder = None
    for chunk in chunks:
        if decoder is None:
            name = text_files.DECLARED.match(chunk)
            if name is None:
                raise LookupError("no encoding is declared")
            decoder = codecs.getincrementaldecoder(name[1].decode())()
        yield decoder.decode(chunk)
    if decoder is not None:
        yield decoder.decode(b"", True)


def _found(chunks: Iterable[bytes]) -> Iterator[str]:
    decoder = None
    for chunk in chunks:
        if decoder is None:
            decoder, mark = text_files.decoder(chunk)
            chunk = chunk[mark:]
        yield decoder.decode(chunk)
    if decoder is not None:
        yield decoder.decode(b"", True)


def _cleaned(texts: Iterable[str]) -> Iterator[str]:
    """Removes the declaration and what is before it, and mends bare ampersands."""
    rest, begun = "", False
    for text in texts:
        rest += text
        if not begun and len(rest) < HEAD:
            continue
        if not begun:
            rest, begun = _without_head(rest), True
        tail = TAIL.search(rest)
        end = tail.start() if tail else len(rest)
        yield text_files.AMPERSAND.sub("&amp;", rest[:end])
        rest = rest[end:]
    yield text_files.AMPERSAND.sub("&amp;", rest if begun else _without_head(rest))


def _without_head(text: str) -> str:
    return text_files.DECLARATION.sub("", text.lstrip().lstrip(text_files.INVISIBLE)).lstrip()
