"""Calls that hang, take gigabytes or end their process are reported, and later calls go on."""

from __future__ import annotations

import os
import time

import pytest

from tests.tools.guarded import Failed, Guarded, Limits


def act(what: str) -> str:
    """Does what a command must not do."""
    if what == "hang":
        time.sleep(600)
    if what == "take":
        for length in (300, 1):  # it is not enough to look at the end
            kept = bytearray(length * 2**20)
            kept[:: 2**12] = b"x" * len(kept[:: 2**12])
    if what == "end":
        os._exit(3)
    return {"fine": "done"}[what]


def test_what_a_call_must_not_do_is_reported() -> None:
    call = Guarded(act, Limits(seconds=2, megabytes=200))
    said = []
    for what in ("fine", "hang", "take", "end", "raise", "fine"):
        try:
            said.append(call(what))
        except Failed as failure:
            said.append(str(failure).splitlines()[-1])
    assert said[0] == said[5] == "done" and said[4] == "KeyError: 'raise'"
    assert said[1] == "no end within 2 s" and said[3] == "the process ended with 3"
    assert said[2].endswith(" MB")
    call.close()
    assert call.peak < 200


def test_a_call_starts_with_the_memory_of_its_own() -> None:
    """The peak of an earlier call is not that of a later one."""
    call = Guarded(act, Limits(seconds=60, megabytes=10_000))
    with pytest.raises(Failed):
        call("take")
    assert call.peak > 300
    assert call("fine") == "done" and call.peak < 200
    call.close()
