"""Counts by reason, with examples: images and labels that were dropped or changed, and problems found in records."""

from __future__ import annotations

import dataclasses
from typing import Any


class Dropped(Exception):
    """An image or label that does not go into the records. `reason` is counted; `example` says which one it was."""

    def __init__(self, reason: str, example: str):
        super().__init__(reason, example)
        self.reason, self.example = reason, example


class Tally:
    """{reason: {"count": number of times, "examples": the first of them}}.

    Attributes:
      EXAMPLES: the most examples that are kept per reason; enough to find the cause, short enough to print.
      KEY: the key of the examples.
    """

    EXAMPLES = 5
    KEY = "examples"

    def __init__(self, content: dict[str, dict[str, Any]] | None = None):
        self.content = content or {}

    def add(self, reason: str, example: str, count: int = 1) -> None:
        """Counts `reason` once, or `count` times with a single example."""
        self.merge({reason: {"count": count, self.KEY: [example]}})

    def merge(self, content: dict[str, dict[str, Any]]) -> None:
        """Adds the content of another tally."""
        for reason, counted in content.items():
            total = self.content.setdefault(reason, {"count": 0, self.KEY: []})
            total["count"] += counted["count"]
            total[self.KEY] = (total[self.KEY] + counted[self.KEY])[: self.EXAMPLES]

    def count(self, kind: str) -> int:
        """Returns the sum over all reasons "<kind>: ..."."""
        return sum(entry["count"] for reason, entry in self.content.items() if reason.startswith(f"{kind}: "))


class Findings(Tally):
    """{problem: {"count": number of times, "places": the first of them}}."""

    EXAMPLES = 100  # enough to repair by hand; a broken dataset must not fill the memory
    KEY = "places"


@dataclasses.dataclass
class Account:
    """Counts of what a conversion drops and changes.

    Reasons read "image: ...", "object: ..." or "<task>: ..."; the word before the colon names what was lost.

    Attributes:
      dropped: not in the records.
      notes: in the records, but changed.
    """

    dropped: Tally = dataclasses.field(default_factory=Tally)
    notes: Tally = dataclasses.field(default_factory=Tally)

    def merge(self, other: Account) -> None:
        """Adds the counts of another account."""
        self.dropped.merge(other.dropped.content)
        self.notes.merge(other.notes.content)
