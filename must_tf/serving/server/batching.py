"""Joins the photos of several requests into one call of the model.

An idle model takes a photo at once. A model that has just answered expects as many photos as it has answered, beside
those that wait, up to the batch size: clients that get an answer often ask again. It waits for them until none has come
for PATIENCE times as long as its last call took, and at most for LONGEST times as long. Otherwise eight clients that
ask again at once would be served as one and seven, or as four and four, in turn: the fewer photos a call has, the more
each costs.

Photos of all sizes share a batch. If one does not fit beside the others, it is predicted again by itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from must_tf.serving import screening

Row = dict[str, np.ndarray]  # one photo's outputs by name; maps have the photo's own size
Predict = Callable[[Sequence[bytes]], list[Row]]
LOG = logging.getLogger("must_tf.serve")
PATIENCE = 0.1  # of the last call's time. Answers of 2 MB are sent, and asked for again, one in 3 ms
LONGEST = 0.3  # of the last call's time; it is the most that waiting for others can add to a call
# Seconds after its end at which a wait was held up by other work of the event loop. An idle loop's waits end up to a
# millisecond late, because it asks the system for whole ones, and the thread has to wake up.
LATE = 0.002


class Busy(Exception):
    """Too many photos are waiting."""


class TooMany(Exception):
    """A request has more photos than may wait at any time."""


class Sizes(NamedTuple):
    """The largest number of photos in a call of the model, and of those that wait."""

    batch: int = 8
    queue: int = 64


class _Waiting(NamedTuple):
    photo: bytes
    done: asyncio.Future[Row]


class Batcher:
    """The queue before one model. All methods belong to the thread of the event loop."""

    def __init__(self, predict: Predict, sizes: Sizes, observe: Callable[[int], None] = lambda images: None):
        """`predict` is called in a thread of its own, one call at a time; `observe` with each batch's size."""
        self._predict, self._sizes, self._observe = predict, sizes, observe
        self._waiting: deque[_Waiting] = deque()
        self._thread = ThreadPoolExecutor(1, "model")
        self._running: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()
        self._is_closing = False

    @property
    def waiting(self) -> int:
        """The number of photos that wait."""
        return len(self._waiting)

    async def rows(self, photos: Sequence[bytes]) -> list[Row]:
        """Predicts photos. If the caller is cancelled, those that still wait are dropped.

        Raises:
          Busy: they do not fit into the queue.
          TooMany: they would not even fit into an empty one.
        """
        if len(photos) > self._sizes.queue:
            raise TooMany(f"the request has {len(photos)} images, and at most {self._sizes.queue} may be sent at once")
        if len(self._waiting) + len(photos) > self._sizes.queue:
            raise Busy(f"{len(self._waiting)} photos are waiting, and at most {self._sizes.queue} may wait")
        loop = asyncio.get_running_loop()
        own = [_Waiting(photo, loop.create_future()) for photo in photos]
        self._waiting.extend(own)
        self._arrived.set()
        if self._running is None or self._running.done():
            self._running = loop.create_task(self._run())
        try:
            return list(await asyncio.gather(*(waiting.done for waiting in own)))
        finally:
            for waiting in own:
                waiting.done.cancel()
            self._waiting = deque(waiting for waiting in self._waiting if not waiting.done.done())

    async def _run(self) -> None:
        """Predicts until the queue is empty."""
        while self._waiting:
            size = min(len(self._waiting), self._sizes.batch)
            started = time.monotonic()
            await self._answer([self._waiting.popleft() for _ in range(size)])
            await self._others(min(size + len(self._waiting), self._sizes.batch), time.monotonic() - started)

    async def _others(self, expected: int, call: float) -> None:
        """Waits until this many photos wait, or no more of them come. `call` are the seconds of the last call."""
        end = time.monotonic() + LONGEST * call
        while len(self._waiting) < expected and not self._is_closing:
            self._arrived.clear()
            began = time.monotonic()
            seconds = min(PATIENCE * call, end - began)
            try:
                await asyncio.wait_for(self._arrived.wait(), seconds)
            except asyncio.TimeoutError:
                # A busy loop encodes answers, or has not yet looked at the requests that came meanwhile.
                was_held_up = time.monotonic() > began + seconds + LATE
                if not was_held_up or time.monotonic() > end:
                    return

    async def _answer(self, batch: list[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        self._observe(len(batch))
        try:
            rows = await loop.run_in_executor(self._thread, self._predict, [waiting.photo for waiting in batch])
        except Exception as error:  # the model failed as a whole, for example out of memory: each request is told
            LOG.exception("a batch of %d photos failed", len(batch))
            for waiting in batch:
                if not waiting.done.done():
                    waiting.done.set_exception(RuntimeError(f"the model failed: {type(error).__name__}"))
            return
        crowded_out = [len(batch) > 1 and screening.is_crowded_out(row) for row in rows]
        for waiting, row, again in zip(batch, rows, crowded_out, strict=True):
            if not again and not waiting.done.done():
                waiting.done.set_result(row)
        for waiting, again in zip(batch, crowded_out, strict=True):
            if again:
                await self._answer([waiting])

    async def close(self) -> None:
        """Waits for the photos in the queue.

        A request that chose this model before it was replaced may still come, and is answered. The thread ends when
        nothing refers to it any more.
        """
        self._is_closing = True
        self._arrived.set()  # ends waiting for others
        if self._running is not None:
            await asyncio.gather(self._running, return_exceptions=True)
