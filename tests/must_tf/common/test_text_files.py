"""Text of any encoding is read with the same words; the encodings are Python's own."""

from __future__ import annotations

import codecs

import pytest

from must_tf.common import text_files as texts

WORDS = "raccoon\r\n  café fox \r\n\r\nOwl\x85x\n"  # U+0085 ends no line of a list
NAMES = ["raccoon", "café fox", "Owl\x85x"]
FILES = {
    "UTF-8": WORDS.encode(),
    "UTF-8 with a mark": codecs.BOM_UTF8 + WORDS.encode(),
    "UTF-16 with a mark": WORDS.encode("utf-16"),
    "UTF-16, big end first, with a mark": codecs.BOM_UTF16_BE + WORDS.encode("utf-16-be"),
    "UTF-16 without a mark": WORDS.encode("utf-16-le"),
    "UTF-16, big end first, without a mark": WORDS.encode("utf-16-be"),
    "UTF-32": WORDS.encode("utf-32"),
    "old Mac": WORDS.replace("\r\n", "\r").encode(),
}


@pytest.mark.parametrize("name", FILES)
def test_names_are_the_same_in_every_encoding(name: str) -> None:
    assert texts.lines(texts.decode(FILES[name]).text) == NAMES


def test_what_is_not_utf8_is_windows() -> None:
    """Also a single byte of it among others, and those that Windows-1252 does not define."""
    assert texts.decode("naïve café".encode("cp1252")) == ("naïve café", texts.WINDOWS)
    assert texts.decode("œuf".encode() + b" \x9cuf \x81") == ("œuf œuf \x81", texts.WINDOWS)


def test_a_guess_is_known_as_one() -> None:
    for name, data in FILES.items():
        assert not texts.is_guessed([data[:4], data[4:]]), name
    assert not texts.is_guessed(bytes([one]) for one in "naïve œuf".encode())
    assert texts.is_guessed([b"caf", "é".encode()[:1]])  # cut off within a letter
    assert texts.is_guessed(["naïve".encode("cp1252")])
    assert not texts.is_guessed([b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0"]) and not texts.is_guessed([])
    declared = '<?xml version="1.0" encoding="{}"?><a>é</a>'
    assert not texts.is_guessed_xml(declared.format("latin-1").encode("latin-1"))
    assert texts.is_guessed_xml(declared.format("utf-8").encode("latin-1"))
    assert texts.is_guessed_xml("<a>é</a>".encode("latin-1")) and not texts.is_guessed_xml("<a>é</a>".encode())


def test_what_is_not_text_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a text file"):
        texts.decode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0")


def test_marks_between_joined_files_are_no_part_of_a_name() -> None:
    assert texts.lines("a\n\ufeffb\n\u200bc\u200b\n") == ["a", "b", "c"]


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_rows_do_not_depend_on_the_parts_that_are_read(encoding: str, size: int) -> None:
    data = 'file;label\r\n"a;b.jpg"; né\r\n\r\n c.jpg ;fox'.encode(encoding)
    chunks = [data[:4], *(data[at : at + size] for at in range(4, len(data), size))]
    assert [*texts.rows(chunks)] == [["file", "label"], ["a;b.jpg", "né"], ["c.jpg", "fox"]]


XML = "<annotation><filename>a & b.jpg</filename><name>café</name></annotation>"


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ("", "utf-8"),
        ('<?xml version="1.0" encoding="utf8"?>\n', "utf-8"),  # not a name of an encoding in XML
        ('<?xml version="1.0" encoding="utf-8"?>\n', "utf-8-sig"),
        ('<?xml version="1.0" encoding="utf-8"?>', "cp1252"),  # declared wrongly
        ('<?xml version="1.0" encoding="utf-16"?>', "utf-8"),
        ('<?xml version="1.0" encoding="utf-16"?>', "utf-16"),
        ('<?xml version="1.0" encoding="Latin-9"?>', "iso8859-15"),
        ('\n\n<?xml version="1.0"?>', "utf-8"),
        ('<?xml version="1.0" encoding="klingon"?>', "utf-8"),
    ],
)
@pytest.mark.parametrize("file", ["a & b.jpg", "a &amp; b.jpg"])
def test_xml_is_read_whatever_it_declares(head: str, encoding: str, file: str) -> None:
    root = texts.xml((head + XML.replace("a & b.jpg", file)).encode(encoding))
    assert (root.findtext("filename"), root.findtext("name")) == ("a & b.jpg", "café")


@pytest.mark.parametrize("data", [b"", b"<a><b></a>", b"\x89PNG\0\0\0\0"])
def test_what_is_not_xml_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        texts.xml(data)
