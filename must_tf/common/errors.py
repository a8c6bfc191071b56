"""The one exception for what a user can mend, and how the commands end on it."""

from __future__ import annotations

import contextlib
import difflib
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence


class UserError(Exception):
    """Something the user gave does not fit. The message says what, where and the remedy."""

    @property
    def problems(self) -> list[str]:
        """One sentence per thing that is wrong."""
        return [str(self)]


class UserErrors(UserError):
    """Several things that do not fit, one per line."""

    def __init__(self, problems: Sequence[str]):
        super().__init__("\n  - ".join([f"{len(problems)} things do not fit:", *problems]))
        self._problems = list(problems)

    @property
    def problems(self) -> list[str]:
        """One sentence per thing that is wrong."""
        return self._problems


class Mistakes:
    """Gathers what is wrong, so that everything is said at once.

    Attributes:
      found: a sentence each.
    """

    def __init__(self, found: Iterable[str] = ()):
        self.found = list(found)

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """What is raised as a UserError inside is noted, and the work goes on after the block."""
        try:
            yield
        except UserError as error:
            self.found += error.problems

    def end(self) -> None:
        """Raises what was noted, if anything."""
        found = list(dict.fromkeys(self.found))
        if found:
            raise UserError(found[0]) if len(found) == 1 else UserErrors(found)


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?" for the closest of `known`, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def exit_on_user_error(main: Callable[[], int | None]) -> int:
    """Runs `main`; a UserError becomes a line on stderr, or one per mistake, and exit code 2.

    Any other exception keeps its traceback and ends with 2 as well: Python's own 1 would say that the work was done.
    """
    try:
        return main() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    except Exception:
        traceback.print_exc()
    return 2
