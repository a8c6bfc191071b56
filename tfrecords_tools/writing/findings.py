"""What is wrong, by kind, with the places."""

from __future__ import annotations

from typing import Any

MOST = 100  # places that are kept of one kind: enough to mend by hand, and a broken set does not fill memory


class Findings:
    """{what: {"count": times, "places": the first of them}}."""

    def __init__(self) -> None:
        self.content: dict[str, dict[str, Any]] = {}

    def add(self, what: str, where: str) -> None:
        """One more."""
        self._add(what, 1, [where])

    def merge(self, other: Findings) -> None:
        """Adds another's."""
        for what, found in other.content.items():
            self._add(what, found["count"], found["places"])

    def _add(self, what: str, count: int, places: list[str]) -> None:
        mine = self.content.setdefault(what, {"count": 0, "places": []})
        mine["count"] += count
        mine["places"] = (mine["places"] + places)[:MOST]
