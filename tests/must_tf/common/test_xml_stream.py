"""XML files of any size say the same as `text_files.xml` reads, whatever their encoding and the parts that are read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from must_tf.common.xml_stream import HEAD, XmlFile

XML = f"<set>{' ' * HEAD}" + '<image name="a & b.jpg"/><image name="café"><box/></image></set>'
NAMES = ["a & b.jpg", "café"]
HEADS = {
    "nothing declared": ("", "utf-8", False),
    "a mark": ('<?xml version="1.0" encoding="utf-8"?>', "utf-8-sig", False),
    "declared wrongly": ('<?xml version="1.0" encoding="utf-8"?>', "cp1252", True),
    "nothing declared, not UTF-8": ("", "cp1252", True),
    "UTF-16": ('<?xml version="1.0" encoding="utf-16"?>', "utf-16", False),
    "UTF-16 declared, UTF-8 written": ('<?xml version="1.0" encoding="utf-16"?>', "utf-8", False),
    "Latin-1": ('<?xml version="1.0" encoding="ISO-8859-1"?>', "latin-1", False),
    "GBK": ('<?xml version="1.0" encoding="gbk"?>', "gbk", False),
    "unknown": ('<?xml version="1.0" encoding="klingon"?>', "utf-8", False),
    "lines before": ('\n\n<?xml version="1.0"?>', "utf-8", False),
}


def parts(data: bytes, size: int) -> Iterator[bytes]:
    """The first part is large enough for a declaration, as a file's is."""
    yield data[:64]
    yield from (data[at : at + size] for at in range(64, len(data), size))


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("ampersand", ["&", "&amp;"])
@pytest.mark.parametrize("name", HEADS)
def test_names_are_the_same(name: str, ampersand: str, size: int) -> None:
    head, encoding, is_guessed = HEADS[name]
    data = (head + XML.replace("&", ampersand)).encode(encoding)
    xml = XmlFile(lambda: parts(data, size))
    assert [
        element.get("name") for event, element in xml.events() if event == "end" and element.tag == "image"
    ] == NAMES
    assert xml.is_guessed == is_guessed


def test_elements_end_inside_out_and_more_than_once() -> None:
    """A text that is an ampersand for the parser already stays as it is."""
    xml = XmlFile(lambda: [b"<a><b><![CDATA[x & y]]></b>", b"<c/></a>"])
    for _ in range(2):
        assert [(event[0], element.tag) for event, element in xml.events()] == [
            *(("s", "a"), ("s", "b"), ("e", "b"), ("s", "c"), ("e", "c"), ("e", "a"))
        ]
    assert [element.text for event, element in xml.events() if event == "end"][0] == "x & y"


@pytest.mark.parametrize("data", [b"", b"<a><b></a>", b"\x89PNG\0\0\0\0", b"<a/><b/>"])
def test_what_is_not_xml_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        XmlFile(lambda: [data])
