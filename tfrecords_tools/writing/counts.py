"""What was lost or changed on the way into the records, counted by reason."""

from __future__ import annotations

import dataclasses
from typing import Any

EXAMPLES = 5  # enough to find the cause, short enough to print


class Dropped(Exception):
    """An image that does not go into the records: `reason` is counted, `example` says which one."""

    def __init__(self, reason: str, example: str):
        super().__init__(reason, example)
        self.reason, self.example = reason, example


class Tally:
    """{reason: count and first examples}."""

    def __init__(self, content: dict[str, dict[str, Any]] | None = None):
        self.content = content or {}

    def add(self, reason: str, example: str, count: int = 1) -> None:
        """One more of `reason`, or `count` of them with one example."""
        self.merge({reason: {"count": count, "examples": [example]}})

    def merge(self, content: dict[str, dict[str, Any]]) -> None:
        """Adds another tally's content."""
        for reason, found in content.items():
            mine = self.content.setdefault(reason, {"count": 0, "examples": []})
            mine["count"] += found["count"]
            mine["examples"] = (mine["examples"] + found["examples"])[:EXAMPLES]

    def count(self, kind: str) -> int:
        """The sum over all reasons "<kind>: ..."."""
        return sum(v["count"] for k, v in self.content.items() if k.startswith(f"{kind}: "))


@dataclasses.dataclass
class Account:
    """`dropped`: is not in the records. `notes`: is in them, but not as it was found.

    Reasons read "image: ...", "object: ..." or "<task>: ..."; what stands before the colon was lost.
    """

    dropped: Tally = dataclasses.field(default_factory=Tally)
    notes: Tally = dataclasses.field(default_factory=Tally)
