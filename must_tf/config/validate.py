"""What is wrong with values for a config, all of it: unknown keys, wrong types, values out of range, unknown words."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from official.modeling import hyperparams

from must_tf.common.errors import nearest
from must_tf.config.fields import UPSTREAM_CHOICES, UPSTREAM_RANGES, Range

NUMBERS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def sift(params: hyperparams.Config, values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Splits nested values into those that `params` can take, and a sentence on each other one.

    Args:
      params: the config whose keys, types and ranges count.
      values: nested as in YAML.

    Returns:
      The good values, nested as before; and what is wrong, with its place and the nearest right spelling.
    """
    return _sift(params, values, "", params)


def _sift(params: Any, values: dict[str, Any], prefix: str, root: Any) -> tuple[dict[str, Any], list[str]]:
    good: dict[str, Any] = {}
    wrong: list[str] = []
    for key, value in values.items():
        place = f"{prefix}{key}"
        if key not in _keys(params):
            wrong.append(f"{place}: no such key.{_elsewhere(str(key), params, root)}")
        elif isinstance(params.__dict__[key], hyperparams.Config) and isinstance(value, dict):
            good[key], inner = _sift(params.__dict__[key], value, f"{place}.", root)
            wrong += inner
        elif problem := _problem(params, key, value):
            wrong.append(f"{place}={value!r}{problem}")
        else:
            good[key] = value
    return good, wrong


def _keys(params: hyperparams.Config) -> list[str]:
    return [key for key in params.__dict__ if key not in params.RESERVED_ATTR]


def _elsewhere(key: str, params: hyperparams.Config, root: hyperparams.Config) -> str:
    """The nearest key here, or the place of a key that is called so but stands elsewhere."""
    known = _keys(params)
    same = [place for place in _places(root, "") if place.split(".")[-1] == key]
    if hint := nearest(key, known):
        return hint
    if same:
        return f" Did you mean {min(same, key=lambda place: place.count('.'))!r}?"
    return f" Known: {', '.join(known)}."


def everything(params: hyperparams.Config) -> list[str]:
    """What is wrong with the values that a config holds already."""
    return sift(params, params.as_dict())[1]


def _places(params: hyperparams.Config, prefix: str) -> Iterator[str]:
    for key in _keys(params):
        yield f"{prefix}{key}"
        if isinstance(params.__dict__[key], hyperparams.Config):
            yield from _places(params.__dict__[key], f"{prefix}{key}.")


def _problem(params: hyperparams.Config, key: str, value: Any) -> str:
    """What is wrong with one value, as the end of a sentence; empty where it fits."""
    current = params.__dict__[key]
    if not _type_fits(params, key, value):
        return f": must be {_kind(current, _annotation(params, key))}, like {_example(current)!r}."
    if isinstance(params, hyperparams.OneOfConfig) and key == "type" and value is not None:
        known = [name for name in _keys(params) if name != "type"]
        return "" if value in known else f" does not exist.{nearest(str(value), known)} Known: {', '.join(known)}."
    choices = _rule(params, key, "choices", UPSTREAM_CHOICES)
    if choices and value is not None and value not in choices:
        return f": no such choice.{nearest(str(value), choices)} Known: {', '.join(choices)}."
    allowed: Range | None = _rule(params, key, "range", UPSTREAM_RANGES)
    numbers = [one for one in (value if isinstance(value, list | tuple) else [value]) if isinstance(one, int | float)]
    if allowed and not all(map(allowed.holds, numbers)):
        return f" is out of range: must be {allowed}."
    named: Range | None = _rule(params, key, "named", {})
    return _wrong_names(value, named) if named else ""


def _wrong_names(entries: Sequence[str], allowed: Range) -> str:
    """What is wrong with texts like "cup=0.4", all of it, as the end of a sentence."""
    wrong = []
    pairs = [entry.rpartition("=") for entry in entries]
    for entry, (name, _, number) in zip(entries, pairs, strict=True):
        if not name or not _is_number(number):
            wrong.append(f"{entry!r} is not like 'name=0.5'")
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


def _rule(params: hyperparams.Config, key: str, name: str, upstream: dict[str, Any]) -> Any:
    """What a field's metadata, or the table for Model Garden's, say about it."""
    field = next((field for field in dataclasses.fields(params) if field.name == key), None)
    if field and name in field.metadata:
        return field.metadata[name]
    return upstream.get(key) if _owner(params, key).startswith("official.") else None


def _owner(params: hyperparams.Config, key: str) -> str:
    """The module of the class that declares a field: ours extend Model Garden's."""
    owners = [cls for cls in type(params).__mro__ if key in cls.__dict__.get("__annotations__", {})]
    return owners[0].__module__ if owners else ""


def _annotation(params: hyperparams.Config, key: str) -> Any:
    kind: Any = type(params)
    return _annotations(kind).get(key, Any)


@functools.cache
def _annotations(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _type_fits(params: hyperparams.Config, key: str, value: Any) -> bool:
    current, annotation = params.__dict__[key], _annotation(params, key)
    if value is None:
        return current is None or _is_type(None, annotation)
    if not _is_type(current, annotation):  # annotated otherwise than it is used: then what stands there counts
        return current is None or _is_type(value, type(current))
    return _is_type(value, annotation)


def _is_type(value: Any, annotation: Any) -> bool:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_is_type(value, one) for one in inner)
    if annotation is None or annotation is type(None):
        return value is None
    if annotation in (bool, int, str):
        return type(value) is annotation
    if annotation is float:
        return type(value) in (int, float)
    of = origin or annotation
    if not isinstance(of, type):
        return True
    if issubclass(of, hyperparams.Config):
        return isinstance(value, dict | hyperparams.Config)
    if issubclass(of, Sequence):
        return isinstance(value, list | tuple) and all(_is_type(one, inner[0]) for one in value if inner)
    return isinstance(value, of)


def _kind(current: Any, annotation: Any) -> str:
    if isinstance(current, hyperparams.Config):
        return "a group of keys"
    if current is None:
        named = [one for one in typing.get_args(annotation) if one in NUMBERS]
        return NUMBERS[named[0]] if named else "a value of another type"
    if isinstance(current, list | tuple):
        inner = [one for one in typing.get_args(annotation) if one in NUMBERS]
        return f"a list, each {NUMBERS[inner[0]]}" if inner else "a list"
    return NUMBERS.get(type(current), "a value of another type")


def _example(current: Any) -> Any:
    if isinstance(current, hyperparams.Config):
        return next(iter(current.as_dict()), "")
    return list(current) if isinstance(current, tuple) else current
