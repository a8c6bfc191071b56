"""YAML mappings in which each key stands once. PyYAML uses the last value of a repeated key and says nothing."""

from __future__ import annotations

from typing import Any

import yaml


class DistinctKeys:
    """Makes a loader of PyYAML refuse repeated keys; stands before it among the bases."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Returns the content of a mapping.

        Raises:
          yaml.YAMLError: a key is repeated; a key of a merged mapping (`<<`) may be there as well.
        """
        seen = set[tuple[str, str]]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is there twice", key.start_mark
                    )
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)  # type: ignore[misc]  # of the loader


class TextLoader(DistinctKeys, yaml.BaseLoader):
    """Reads every value as text."""


class SafeLoader(DistinctKeys, yaml.SafeLoader):
    """Reads plain values."""
