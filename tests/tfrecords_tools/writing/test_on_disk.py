"""Collections that are kept on disk."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tfrecords_tools.writing import on_disk


def test_equal_names_get_the_first_number_that_is_new() -> None:
    names = on_disk.NameSet(["a__3"])
    assert [names.add_numbered("a") for _ in range(4)] == ["a", "a__2", "a__4", "a__5"]
    assert [names.add_numbered(name) for name in ("b", "a__4", "b")] == ["b", "a__4__2", "b__2"]


def test_a_number_is_tried_once() -> None:
    """Otherwise the thousandth name would cost a thousand times the first."""

    class Counted(on_disk.NameSet):
        tries = 0

        def add(self, name: str) -> bool:
            self.tries += 1
            return super().add(name)

    names = Counted()
    assert len({names.add_numbered("a.jpg") for _ in range(100)}) == 100
    assert names.tries <= 200


def test_a_database_is_closed_with_its_last_user() -> None:
    """Python 3.13 warns otherwise. In another thread nothing is said, and nothing closed."""
    connection: Any = on_disk.database()
    with ThreadPoolExecutor(1) as other:
        other.submit(connection.__del__).result()
    assert connection.execute("SELECT 1").fetchone() == (1,)
    connection.__del__()
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")
