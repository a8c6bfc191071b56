"""YAML mappings in which each key stands once. PyYAML uses the last value of a repeated key and says nothing."""

from __future__ import annotations

import yaml


class DistinctKeys:
    """Makes a loader of PyYAML refuse repeated keys; stands before it among the bases."""

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


class TextLoader(DistinctKeys, yaml.BaseLoader):
    """Reads every value as text."""


class SafeLoader(DistinctKeys, yaml.SafeLoader):
    """Reads plain values."""
