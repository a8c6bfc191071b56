"""YAML means the same as to Model Garden, which reads the same files."""

from __future__ import annotations

import pytest
import yaml
from official.modeling.hyperparams import params_dict

from must_tf.common.errors import UserError
from must_tf.config import yaml_files

NUMBERS = (
    "1e-3",
    "1E5",
    "-2e+4",
    "1.5",
    "1.0e-3",
    "3",
    "1_000",
    "1e",
    "e3",
    "1.2.3",
    "0x1f",
    ".inf",
    "12:30",
    "~",
    "yes",
)


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_are_those_of_model_garden(text: str) -> None:
    theirs = yaml.load(f"a: {text}", Loader=params_dict._LOADER)
    assert repr(yaml_files.parse_yaml(f"a: {text}", "x")) == repr(theirs)


@pytest.mark.parametrize(("text", "number"), [("1.5e3", 1500.0), (".5e1", 5.0), ("1.e-2", 0.01)])
def test_an_exponent_needs_no_sign(text: str, number: float) -> None:
    """As in YAML 1.2. Model Garden reads a text."""
    assert yaml_files.parse_yaml(f"a: {text}", "x") == {"a": number}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("out: a\nb: c: d\n", "line 2, column 5: mapping values are not allowed here."),
        (
            "a:\n  b: {c: d\n  e: {f: g}\n",
            "line 3, column 4: expected ',' or '}', but got ':' (while parsing a flow mapping from line 2).",
        ),
        ("{a: &x 1, b: &x 2}", "line 1, column 14: second occurrence (found duplicate anchor 'x'; first occurrence)."),
        ("a: 'b", "line 1, column 6: found unexpected end of stream."),
        ("a:\n  b: 2001-13-01", "line 2, column 6: '2001-13-01' cannot be read as timestamp."),
        ("a: !!bool x", "line 1, column 4: 'x' cannot be read as bool."),
        ("a: !!timestamp x", "line 1, column 4: 'x' cannot be read as timestamp."),
        ("a: 1\na: 2\n", "line 2, column 1: the key 'a' is there twice."),
        ("b: 1\na: \0", "line 2, column 4: the character U+0000 is not allowed."),
        ('a: "\\UFFFFFFFF"', r"an escape such as \U0001F600 names a character that does not exist."),
        ('a: "\\U00110000"', r"an escape such as \U0001F600 names a character that does not exist."),
    ],
)
def test_a_mistake_has_a_line(text: str, reason: str) -> None:
    with pytest.raises(UserError) as error:
        yaml_files.parse_yaml(text, "plan.yaml")
    assert str(error.value).startswith(f"plan.yaml is not valid YAML: {reason}")
    assert "\n" not in str(error.value)


def test_a_key_stands_once() -> None:
    """Except beside one that is merged, which it replaces."""
    with pytest.raises(UserError, match="the key 'a' is there twice"):
        yaml_files.parse_yaml("b: {a: 1, c: 2, a: 3}", "x")
    merged = yaml_files.parse_yaml("d: &d {a: 1, c: 2}\nb: {<<: *d, a: 3}\ne: *d", "x")
    assert merged == {"d": {"a": 1, "c": 2}, "b": {"a": 3, "c": 2}, "e": {"a": 1, "c": 2}}
    deeper = yaml_files.parse_yaml("d: {a: &a {x: 1}, b: &b {<<: *a, x: 3}}\nc: {<<: *b, z: 1}", "x")
    assert deeper == {"d": {"a": {"x": 1}, "b": {"x": 3}}, "c": {"x": 3, "z": 1}}


def test_a_tuple_is_a_list_and_no_other_object_is_built() -> None:
    assert yaml_files.parse_yaml("a: !!python/tuple [1, 2]", "x") == {"a": [1, 2]}
    with pytest.raises(UserError, match="not valid YAML"):
        yaml_files.parse_yaml("a: !!python/object/apply:os.getcwd []", "x")
