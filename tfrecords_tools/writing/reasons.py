"""Says in words why a value or a file could not be read, instead of the texts of Python and its libraries."""

from __future__ import annotations

import re

MOST = 160  # characters
OTHER_TYPE = "a value of another type"
TOO_SHORT = "a list is too short"
LENGTHS = "a wrong number of values"
CUT_OFF = "it is cut off"
ADDRESS = re.compile(r" <[\w.]+ object at 0x[0-9a-f]+>")  # it differs from run to run
# Texts of Python, NumPy, base64 and HDF5. \1 is the value or the library's reason.
TEXTS = tuple(
    (re.compile(pattern, re.DOTALL), words)
    for pattern, words in (
        (r"could not convert string to float: (.*)", r"\1 is not a number"),
        (r"invalid literal for int\(\) with base \d+: (.*)", r"\1 is not a whole number"),
        (r"cannot convert float (?:NaN|infinity) to integer", "a number that is NaN or infinite"),
        (r"(?:not enough|too many) values to unpack.*", LENGTHS),
        (r"cannot reshape array of size.*", LENGTHS),
        (r"operands could not be broadcast.*", LENGTHS),
        (r"setting an array element with a sequence.*", "lists of different lengths"),
        (r"zip\(\) argument \d+ is (?:shorter|longer) than.*", "lists of different lengths"),
        (r"(?:zero-size array|arg is an empty sequence|max\(\)|min\(\)).*", "an empty list"),
        (r"(?:list )?index .*out of (?:range|bounds).*", TOO_SHORT),
        (r"Python integer .* out of bounds for.*", "a number is too large"),
        (r"(?:Python int|int) too large to convert.*", "a number is too large"),
        (r"(?:Incorrect padding|Invalid base64.*|Only base64 data is allowed|Non-base64.*)", "it is not base64"),
        (r"(?:unpack\w* requires a buffer.*|subsection not found|buffer is smaller than.*)", CUT_OFF),
        (r"(?:EOF: reading array.*|No data left in file)", CUT_OFF),
        (r"(?:Cannot load file containing|This file contains) pickled.*", "it is not an array of numbers"),
        (r"Unable to (?:synchronously )?open file.*", "it is not an HDF5 file, or it is damaged"),
        (r".*Unable to (?:synchronously )?open object \(object '(.*?)' doesn't exist\).*", r"it has no array '\1'"),
        (r"cannot identify image file.*", "it is not an image"),
        (r"Parquet magic bytes not found.*", "it is not a Parquet file, or it is cut off"),
        (r"Expected to be able to read \d+ bytes.*", CUT_OFF),
    )
)


def reason_of(error: BaseException) -> str:
    """Returns why something could not be read. Texts that are not in `TEXTS` stay: this project's own, for example."""
    text = ADDRESS.sub("", " ".join(str(error).split()))
    if isinstance(error, KeyError) and error.args and " " not in str(error.args[0]):
        return f"it has no {error.args[0]!r}"
    for pattern, words in TEXTS:
        if match := pattern.fullmatch(text.strip("\"'") if isinstance(error, KeyError) else text):
            return match.expand(words)[:MOST]
    if isinstance(error, TypeError | AttributeError):
        return OTHER_TYPE
    if isinstance(error, IndexError):
        return TOO_SHORT
    if isinstance(error, UnicodeError):
        return "it is not text"
    if isinstance(error, EOFError):
        return CUT_OFF
    return text[:MOST].rstrip(". ") or type(error).__name__
