"""YAML mappings in which each key stands once, and what is wrong with a text that is not YAML.

PyYAML uses the last value of a repeated key and says nothing. Its messages are several lines, and call every text
"<unicode string>".
"""

from __future__ import annotations

from typing import Any

import yaml

LONGEST = 500  # characters of a reason
SHOWN = 40  # characters of a value in it
MEANWHILE = "while "  # begins a context of PyYAML that only says what was being read


class DistinctKeys:
    """Makes a loader of PyYAML refuse repeated keys and impossible values; stands before it among the bases."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        """Reads a mapping, before mappings are merged into it (`<<`), whose keys may be there as well.

        Raises:
          yaml.YAMLError: a key is repeated.
        """
        node: yaml.MappingNode = super().compose_mapping_node(anchor)  # type: ignore[misc]  # of the loader
        seen = set[tuple[str, str]]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is there twice", key.start_mark
                    )
                seen.add((key.tag, key.value))
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Returns the value of a part of the text.

        Raises:
          yaml.YAMLError: it is not what it looks like, such as a date in a 13th month. PyYAML lets pass the errors of
            Python's own types, which know no line.
        """
        try:
            return super().construct_object(node, deep)  # type: ignore[misc]  # of the loader
        except (ValueError, LookupError, AttributeError) as error:
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"{str(node.value)[:SHOWN]!r} cannot be read as {kind}", node.start_mark
            ) from error


def load(text: str, loader: type[yaml.BaseLoader] | type[yaml.SafeLoader]) -> Any:
    """Parses YAML text.

    Raises:
      yaml.YAMLError: it is not YAML. PyYAML lets pass what Python says of characters that do not exist, and counts
        those that it refuses from the beginning of the text.
    """
    try:
        return yaml.load(text, loader)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = f"line {before.count(chr(10)) + 1}, column {error.position - before.rfind(chr(10))}"
        raise yaml.YAMLError(f"{place}: the character U+{error.character:04X} is not allowed.") from error
    except (OverflowError, ValueError) as error:  # of chr(); those of values are found by `construct_object`
        raise yaml.YAMLError(r"an escape such as \U0001F600 names a character that does not exist.") from error


def reason(error: Exception) -> str:
    """Returns what PyYAML found, with line and column counted from 1, in one line without the name of the text."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or not problem:
        return " ".join(str(error).split())[:LONGEST]
    begun, what = getattr(error, "context_mark", None), getattr(error, "context", None)
    if begun and begun.line != mark.line:
        what = f"{what} from line {begun.line + 1}"
    elif what and what.startswith(MEANWHILE):
        what = ""  # the column says it; without "found duplicate anchor", "second occurrence" would say nothing
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem[:LONGEST]}{f' ({what})' if what else ''}."


class TextLoader(DistinctKeys, yaml.BaseLoader):
    """Reads every value as text."""


class SafeLoader(DistinctKeys, yaml.SafeLoader):
    """Reads plain values."""
