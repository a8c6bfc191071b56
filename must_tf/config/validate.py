"""Checks values for a config and reports all problems at once: unknown keys, wrong types, values out of range."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from must_tf.common.errors import nearest
from must_tf.config.base import Config, OneOfConfig
from must_tf.config.fields import MODELS, UNIMPLEMENTED, UPSTREAM_CHOICES, UPSTREAM_RANGES, Range

ANY = Range()
MOST_SHOWN = 200  # characters of a value in a message
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}
EXAMPLES = {str: "text", int: 1, float: 0.5}  # of the values in a list that is empty by default


def sift(params: Config, values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Separates the valid values from the others.

    Args:
      params: the config with the keys, types and ranges.
      values: nested as in YAML.

    Returns:
      The valid values, nested as before, and a sentence for each other value with its key and the nearest spelling.
    """
    return _sift(params, values, "", params)


def _sift(params: Any, values: dict[str, Any], prefix: str, root: Any) -> tuple[dict[str, Any], list[str]]:
    good: dict[str, Any] = {}
    wrong: list[str] = []
    for key, value in values.items():
        place = f"{prefix}{key}"
        if key not in _keys(params):
            wrong.append(f"{place[:MOST_SHOWN]}: no such key.{_elsewhere(str(key), params, root)}")
        elif isinstance(group := _current(params, key), Config) and isinstance(value, dict):
            good[key], inner = _sift(group, value, f"{place}.", root)
            wrong += inner
        elif problem := _problem(params, key, value):
            wrong.append(f"{place}={_shown(value)}{problem}")
        else:
            good[key] = value
    return good, wrong


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _current(params: Config, key: str) -> Any:
    """Returns a field's value; for a group of keys that is None, such as `ema`, a new group with its defaults.

    Model Garden makes the group when it is first set, and then accepts any key and value in it.
    """
    value = params.__dict__[key]
    parts = typing.get_args(_annotation(params, key)) if value is None else ()
    groups = [part for part in parts if isinstance(part, type) and issubclass(part, Config)]
    return groups[0]() if groups else value


def _keys(params: Config) -> list[str]:
    return [key for key in params.__dict__ if key not in params.RESERVED_ATTR]


def _elsewhere(key: str, params: Config, root: Config) -> str:
    """Returns a hint: the nearest key of `params`, the place of the same key elsewhere in `root`, or all known keys."""
    known = _keys(params)
    same = [place for place in _places(root, "") if place.split(".")[-1] == key]
    if hint := nearest(key, known):
        return hint
    if same:
        return f" Did you mean {min(same, key=lambda place: place.count('.'))!r}?"
    return f" Known: {', '.join(known)}."


def problems_of(params: Config) -> list[str]:
    """Returns a sentence for each wrong value in a config."""
    return sift(params, params.as_dict())[1]


def _places(params: Config, prefix: str) -> Iterator[str]:
    for key in _keys(params):
        yield f"{prefix}{key}"
        if isinstance(params.__dict__[key], Config):
            yield from _places(params.__dict__[key], f"{prefix}{key}.")


def _problem(params: Config, key: str, value: Any) -> str:
    """Returns the problem with one value as the end of a sentence; empty if it is valid."""
    current = _current(params, key)
    if not _type_fits(params, key, value):
        annotation = _annotation(params, key)
        return f": must be {_kind(current, annotation)}, for example {_example(current, annotation)!r}."
    if isinstance(params, OneOfConfig) and key == "type" and value is not None:
        known = [name for name in _keys(params) if name not in ("type", *UNIMPLEMENTED)]
        return "" if value in known else f" does not exist.{nearest(str(value), known)} Known: {', '.join(known)}."
    choices = MODELS.get(type(params).__name__) if key == "model_id" else None
    choices = choices or _rule(params, key, "choices", UPSTREAM_CHOICES)
    if choices and value is not None and value not in choices:
        return f" is not a choice.{nearest(str(value), map(str, choices))} Known: {', '.join(map(str, choices))}."
    allowed: Range | None = _rule(params, key, "range", UPSTREAM_RANGES)
    entries = value if isinstance(value, list | tuple) else [value]
    numbers = [entry for entry in entries if isinstance(entry, int | float)]
    if not all(map((allowed or ANY).holds, numbers)):
        return f" is out of range: must be {allowed or 'a finite number'}."
    named: Range | None = _rule(params, key, "named", {})
    return _wrong_names(value, named) if named else ""


def _wrong_names(entries: Sequence[str], allowed: Range) -> str:
    """Returns all problems with strings like "cup=0.4" as the end of a sentence; empty if there is none."""
    wrong = []
    pairs = [entry.rpartition("=") for entry in entries]
    for entry, (name, _, number) in zip(entries, pairs, strict=True):
        if not name or not _is_number(number):
            wrong.append(f"{entry!r} must be written like 'name=0.5'")
        elif not allowed.holds(float(number)):
            wrong.append(f"{entry!r} is out of range: must be {allowed}")
    names = [name for name, _, _ in pairs]
    wrong += [f"{name!r} is named twice" for name in dict.fromkeys(names) if name and names.count(name) > 1]
    return f": {'; '.join(wrong)}." if wrong else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _rule(params: Config, key: str, name: str, upstream: dict[str, Any]) -> Any:
    """Returns a field's rule from its metadata, or from the table if it is Model Garden's; None if it has none."""
    field = next((field for field in dataclasses.fields(params) if field.name == key), None)
    if field and name in field.metadata:
        return field.metadata[name]
    return upstream.get(key) if _owner(params, key).startswith("official.") else None


def _owner(params: Config, key: str) -> str:
    """Returns the module of the class that declares a field; this project's classes extend Model Garden's."""
    owners = [cls for cls in type(params).__mro__ if key in cls.__dict__.get("__annotations__", {})]
    return owners[0].__module__ if owners else ""


def _annotation(params: Config, key: str) -> Any:
    kind: Any = type(params)
    return _annotations(kind).get(key, Any)


@functools.cache
def _annotations(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _type_fits(params: Config, key: str, value: Any) -> bool:
    current, annotation = params.__dict__[key], _annotation(params, key)
    if value is None:
        return current is None or _is_type(None, annotation)
    if not _is_type(current, annotation):  # Model Garden annotates some fields wrongly; then the current value counts
        return current is None or _is_type(value, type(current))
    return _is_type(value, annotation)


def _is_type(value: Any, annotation: Any) -> bool:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_is_type(value, part) for part in inner)
    if annotation is None or annotation is type(None):
        return value is None
    if annotation in (bool, int, str):
        return type(value) is annotation
    if annotation is float:
        return type(value) in (int, float)
    cls = origin or annotation
    if not isinstance(cls, type):
        return True
    if issubclass(cls, Config):
        return isinstance(value, dict | Config)
    if issubclass(cls, Sequence):
        return isinstance(value, list | tuple) and all(_is_type(entry, inner[0]) for entry in value if inner)
    return isinstance(value, cls)


def _kind(current: Any, annotation: Any) -> str:
    """Describes the type that a value must have."""
    if isinstance(current, Config):
        return "a group of keys"
    if current is None:
        known = [part for part in typing.get_args(annotation) if part in KINDS]
        return KINDS[known[0]] if known else "a value of another type"
    if isinstance(current, list | tuple):
        inner = [part for part in typing.get_args(annotation) if part in KINDS]
        return f"a list, each {KINDS[inner[0]]}" if inner else "a list"
    return KINDS.get(type(current), "a value of another type")


def _example(current: Any, annotation: Any) -> Any:
    if isinstance(current, Config):
        return next(iter(current.as_dict()), "")
    if isinstance(current, tuple) and not current:
        return [EXAMPLES[part] for part in typing.get_args(annotation) if part in EXAMPLES][:1]
    return list(current) if isinstance(current, tuple) else current
