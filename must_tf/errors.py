"""The one exception for what a user can mend, and how the commands end on it."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable


class UserError(Exception):
    """Something the user gave does not fit. The message says what, where and the remedy."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?" for the closest of `known`, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def exit_on_user_error(main: Callable[[], int | None]) -> int:
    """Runs `main`; a UserError becomes one line on stderr and exit code 2."""
    try:
        return main() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
