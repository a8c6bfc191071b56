"""Flags from dataclasses: types, defaults, mistakes and the help text."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import pytest

from must_tf.common.command_line import flag, parse


@dataclasses.dataclass(frozen=True)
class ExampleFlags:
    """Does something.

    Exit code 1: it did not work.
    """

    model_dir: Annotated[str, flag("--model_dir", "Run directory.")]
    mode: Annotated[Literal["train", "eval"], flag("--mode", "What to do.")] = "train"
    config_file: Annotated[list[str], flag("--config_file", "YAML file.", "FILE")] = dataclasses.field(
        default_factory=list
    )
    seeds: Annotated[int, flag("--seeds", "Runs per cell.")] = 1
    dry_run: Annotated[bool, flag("--dry_run", "Stop early.")] = False


def read(*arguments: str) -> ExampleFlags:
    """The parsed flags."""
    return parse(ExampleFlags, arguments, "example.py", "--model_dir=runs/a")


def test_defaults() -> None:
    assert read("--model_dir=a") == ExampleFlags("a", "train", [], 1, False)


def test_values_with_an_equals_sign_or_a_space() -> None:
    flags = read("--model_dir", "a", "--config_file=b=1", "--config_file", "c", "--seeds=3", "--dry_run", "--mode=eval")
    assert flags == ExampleFlags("a", "eval", ["b=1", "c"], 3, True)


def test_a_value_is_not_replaced_silently(capsys: pytest.CaptureFixture[str]) -> None:
    """Only what takes several values, or none, may be repeated."""
    with pytest.raises(SystemExit) as end:
        read("--model_dir=a", "--config_file=x", "--model_dir", "b")
    assert end.value.code == 2
    assert "--model_dir is given 2 times, but takes one value. Give it once." in capsys.readouterr().err
    assert read("--model_dir=a", "--dry_run", "--dry_run", "--config_file=x", "--config_file=x").config_file == [
        "x",
        "x",
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model_dir=a", "--modle=eval"], ("--modle", "--mode")),
        (
            ["--model_dir=a", "--mode=trian"],
            ("'--mode': 'trian' is not one of 'train', 'eval'. Did you mean 'train'?",),
        ),
        (["--model_dir=a", "--seeds=many"], ("--seeds", "integer")),
        (["--model_dir=a", "--seed=2"], ("--seed", "--seeds")),  # not taken as an abbreviation
        (["--model_dir=a", "more"], ("more",)),
        (["--mode=eval"], ("--model_dir",)),
    ],
)
def test_mistakes(arguments: list[str], expected: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and one line that names the flag and the nearest spelling."""
    with pytest.raises(SystemExit) as stopped:
        read(*arguments)
    assert stopped.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert all(word in last for word in expected), last


@pytest.mark.parametrize("flag_name", ["-h", "--help"])
def test_help_is_plain_text(flag_name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, on stdout, without boxes or colours."""
    with pytest.raises(SystemExit) as stopped:
        read(flag_name)
    assert not stopped.value.code
    text = capsys.readouterr().out
    assert text.isascii() and "\x1b" not in text
    for part in ("Does something.", "Exit code 1", "--config_file FILE", "Example: example.py", "[default: train]"):
        assert part in text
