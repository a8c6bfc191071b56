"""Ctrl-C and a closed output end a record command as they end the others, although click has answers of its own."""

from __future__ import annotations

import sys

import pytest

from tfrecords_tools.cli import main as command_line
from tfrecords_tools.reading import recordset


@pytest.mark.parametrize("error", [KeyboardInterrupt(), BrokenPipeError(32, "Broken pipe")])
def test_the_word_and_the_exit_code(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def opened(*_: object) -> None:
        raise error

    monkeypatch.setattr(recordset, "opened", opened)
    monkeypatch.setattr(sys, "argv", ["must", "inspect", "--records", "x"])
    code = command_line.main()
    printed = capsys.readouterr().err
    if isinstance(error, KeyboardInterrupt):
        assert (code, printed) == (130, "interrupted\n")
    else:  # the output is open here, so the pipe was another one
        assert code == 2 and "BrokenPipeError" in printed


def test_ctrl_c_while_the_command_line_is_parsed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """click ends the process then, without a word."""

    def parsed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line._Command, "make_context", parsed)
    monkeypatch.setattr(sys, "argv", ["must", "inspect", "--records", "x"])
    assert (command_line.main(), capsys.readouterr().err) == (130, "interrupted\n")
