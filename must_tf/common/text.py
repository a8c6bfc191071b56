"""Phrases that messages and tables share."""

from __future__ import annotations

from collections.abc import Iterable


def listed(names: Iterable[str], limit: int = 5, separator: str = ", ") -> str:
    """Joins names for a message: "a, b, c and 4 more".

    Args:
      names: what to list.
      limit: how many of them are written out.
      separator: between two names; "; " if they are clauses with commas of their own.
    """
    known = list(names)
    more = f" and {len(known) - limit} more" if len(known) > limit else ""
    return separator.join(known[:limit]) + more
