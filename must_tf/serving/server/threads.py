"""Work on a request: short work is done in the event loop, long work in a thread, because others would wait for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from starlette.concurrency import run_in_threadpool

P = ParamSpec("P")
T = TypeVar("T")
SHORT = 4 << 20  # bytes that are copied in about a millisecond


async def run(size: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Calls a function that handles `size` bytes.

    Eight short answers in eight threads would all be ready at the same late time. One after the other, the first client
    can ask again while the last answer is written, and no time is spent on changing threads.
    """
    if size <= SHORT:
        return function(*args, **kwargs)
    return await run_in_threadpool(function, *args, **kwargs)
