"""Text files of any encoding: the one reader for lists, names, XML, CSV, YAML and JSON.

A byte order mark decides, and is not part of the text. Without one, bytes that alternate with zeros are UTF-16, and all
others are UTF-8. Bytes that are not UTF-8 are read as Windows-1252, one by one, so no file's encoding is an error. The
encoding that an XML file declares is tried first.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from xml.etree import ElementTree

UTF8, WINDOWS = "utf-8", "Windows-1252"
MARKS = (  # the longer ones first: the mark of UTF-32 begins like that of UTF-16
    (codecs.BOM_UTF8, UTF8),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
LOOKED_AT = 1024  # bytes at the beginning that tell the encoding
ZEROS = 0.3  # smallest share of zeros among every second byte of UTF-16 in which some letters are not Latin
ENDS = re.compile("\r\n|\n|\r")  # `str.splitlines` also splits at characters that may be part of a name
INVISIBLE = "\ufeff\u200b"  # marks that editors leave between concatenated files
SEPARATORS = ",;\t|"
DECLARATION = re.compile(r"^\s*<\?xml.*?\?>", re.DOTALL)
DECLARED = re.compile(rb"^\s*<\?xml[^>]*?encoding\s*=\s*[\"']([\w.-]+)[\"']")
AMPERSAND = re.compile(r"&(?!#?\w+;)")


def _as_windows(error: UnicodeError) -> tuple[str, int]:
    """Decodes the bytes that are not UTF-8."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return "".join(_character(byte) for byte in wrong), error.end


def _character(byte: int) -> str:
    single = bytes([byte])
    return single.decode("cp1252", errors="ignore") or single.decode("latin-1")


FALLBACK = "must_tf.windows"
codecs.register_error(FALLBACK, _as_windows)


class Decoded(NamedTuple):
    """A text and the encoding that it was read with."""

    text: str
    encoding: str


def encoding_of(beginning: bytes) -> tuple[str, int]:
    """Returns the encoding of a file and the length of its byte order mark, from the file's first bytes.

    Raises:
      ValueError: the file is not a text.
    """
    for mark, name in MARKS:
        if beginning.startswith(mark):
            return name, len(mark)
    looked_at = beginning[:LOOKED_AT]
    if b"\0" not in looked_at:
        return UTF8, 0
    even, odd = looked_at[::2], looked_at[1::2]
    if odd.count(0) > ZEROS * len(odd) and not even.count(0):
        return "utf-16-le", 0
    if even.count(0) > ZEROS * len(even) and not odd.count(0):
        return "utf-16-be", 0
    raise ValueError("it has zero bytes, so it is not a text file")


def decoder(beginning: bytes) -> tuple[codecs.IncrementalDecoder, int]:
    """Returns a decoder for a file that is read in parts, and the number of bytes to skip at its beginning.

    Raises:
      ValueError: as `encoding_of`.
    """
    name, mark = encoding_of(beginning)
    return codecs.getincrementaldecoder(name)(FALLBACK if name == UTF8 else "replace"), mark


def decode(data: bytes) -> Decoded:
    """Decodes a whole file.

    Raises:
      ValueError: as `encoding_of`.
    """
    name, mark = encoding_of(data)
    if name != UTF8:
        return Decoded(data[mark:].decode(name, "replace"), name)
    try:
        return Decoded(data[mark:].decode(UTF8), UTF8)
    except UnicodeDecodeError:
        return Decoded(data[mark:].decode(UTF8, FALLBACK), WINDOWS)


def is_guessed(chunks: Iterable[bytes]) -> bool:
    """Returns True if a text file, given in parts, has no byte order mark and is not UTF-8: `decode` has to guess."""
    strict: codecs.IncrementalDecoder | None = None
    try:
        for chunk in chunks:
            if strict is None and encoding_of(chunk) != (UTF8, 0):
                return False
            strict = strict or codecs.getincrementaldecoder(UTF8)()
            strict.decode(chunk)
        if strict:
            strict.decode(b"", True)
    except UnicodeDecodeError:
        return True
    except ValueError:  # it is not a text
        return False
    return False


def is_guessed_xml(data: bytes) -> bool:
    """Returns True if an XML file is not in the encoding that it declares, or else in UTF-8, and `xml` has to guess."""
    declared = DECLARED.match(data)
    if declared:
        with contextlib.suppress(LookupError, UnicodeError):
            data.decode(declared[1].decode())
            return False
    return is_guessed([data])


def lines(text: str) -> list[str]:
    """Returns the lines without white space and invisible marks at their ends, and without empty lines."""
    stripped = (line.strip().strip(INVISIBLE).strip() for line in ENDS.split(text))
    return [line for line in stripped if line]


def streamed_lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yields the lines of a file of any size, with their line ends.

    Raises:
      ValueError: as `encoding_of`.
    """
    incremental, rest = None, ""
    for chunk in chunks:
        if incremental is None:
            incremental, mark = decoder(chunk)
            chunk = chunk[mark:]
        *whole, rest = (rest + incremental.decode(chunk)).split("\n")
        for line in whole:
            yield f"{line}\n"
    if incremental is not None and (rest := rest + incremental.decode(b"", True)):
        yield rest


def rows(chunks: Iterable[bytes]) -> Iterator[list[str]]:
    """Yields the rows of a CSV file of any size, cells stripped. The first row decides which separator it has.

    Raises:
      ValueError: as `encoding_of`.
    """
    content = streamed_lines(chunks)
    first = next(content, "")
    separator = max(SEPARATORS, key=first.count)
    yield from ([cell.strip() for cell in row] for row in csv.reader(_with(first, content), delimiter=separator) if row)


def _with(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def xml(data: bytes) -> ElementTree.Element:
    """Parses an XML file, whatever encoding it declares, and with bare ampersands.

    Raises:
      ValueError: the file is not XML.
    """
    try:
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        first = error
    for text in _texts(data):
        try:
            body = DECLARATION.sub("", text.strip().strip(INVISIBLE))
            return ElementTree.fromstring(AMPERSAND.sub("&amp;", body))
        except (ElementTree.ParseError, ValueError):
            continue
    raise ValueError(str(first))


def _texts(data: bytes) -> Iterator[str]:
    """Yields the text in the encoding that the XML declares, if it is valid in it, then in the one that is found."""
    declared = DECLARED.match(data)
    if declared:
        with contextlib.suppress(LookupError, UnicodeError):
            yield data.decode(declared[1].decode())
    try:
        yield decode(data).text
    except ValueError:
        return
