"""How commands end: with a message and an exit code, and with a word on Ctrl-C."""

from __future__ import annotations

import pytest

from must_tf.common.errors import UserError, exit_on_user_error


def raising(error: BaseException) -> int:
    """Raises what it is given."""
    raise error


@pytest.mark.parametrize(
    "error,code,text",
    [(UserError("no such key."), 2, "error: no such key.\n"), (KeyboardInterrupt(), 130, "interrupted\n")],
)
def test_a_command_ends_with_a_line_and_its_code(
    error: BaseException, code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_on_user_error(lambda: raising(error)) == code
    assert capsys.readouterr().err == text
