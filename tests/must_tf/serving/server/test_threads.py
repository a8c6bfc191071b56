"""Short work is done at once; long work leaves the event loop to others."""

from __future__ import annotations

import asyncio
import threading

from must_tf.serving.server import threads


def test_only_long_work_is_done_in_a_thread() -> None:
    async def done_in(size: int) -> int:
        return await threads.run(size, threading.get_ident)

    own = threading.get_ident()
    assert asyncio.run(done_in(threads.SHORT)) == own
    assert asyncio.run(done_in(threads.SHORT + 1)) != own
