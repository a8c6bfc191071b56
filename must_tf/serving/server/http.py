"""Connections. Those that do not send the head of a request, or do not read the answer, are closed: they add up."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0  # to send the first line and the headers of a request
READ_SECONDS = 30.0  # without a byte read of an answer; a slow client may take longer for all of it
UNREAD = 1 << 30  # bytes of answers that wait to be read, over all connections
REASON = b'{"error":"the server has too many connections. Try again later"}'
FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(REASON), REASON)
)


class Connection(H11Protocol):
    """Uvicorn's HTTP/1.1, with limits on the time that a client takes."""

    _head_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None
    behind_since = 0.0  # when the client began not to read; 0 if it reads

    def connection_made(self, transport: Any) -> None:
        """Begins to wait for the first request, or refuses the connection if there are too many."""
        super().connection_made(transport)
        # Uvicorn would refuse the requests of all connections while there are too many, also of those that came first.
        limit, self.limit_concurrency = self.limit_concurrency, None
        if limit is not None and len(self.connections) > limit:
            transport.write(FULL)
            transport.close()
        else:
            self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Stops the timer if a request has begun."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_timer()
        elif self._head_timer is None:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the timers."""
        self._stop_timer()
        self._stop_read_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begins to watch whether the client reads: it is behind."""
        super().pause_writing()
        self._stop_read_timer()
        self.behind_since = self.loop.time()
        self._make_room()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Stops watching."""
        self.behind_since = 0.0
        self._stop_read_timer()
        super().resume_writing()

    def _make_room(self) -> None:
        """Closes the connections that are behind for longest, if unread answers take too much memory."""
        behind = [one for one in self.connections if isinstance(one, Connection) and one.behind_since]
        unread = sum(one.transport.get_write_buffer_size() for one in behind)
        for one in sorted(behind, key=lambda one: one.behind_since):
            if unread > UNREAD and one is not self:
                unread -= one.transport.get_write_buffer_size()
                one.transport.abort()

    def _watch(self, unread: int) -> None:
        self._read_timer = self.loop.call_later(READ_SECONDS, self._look, unread)

    def _look(self, before: int) -> None:
        """Closes the connection if none of `before` bytes was read since the last look."""
        unread = self.transport.get_write_buffer_size()
        if unread < before:
            self._watch(unread)
        else:
            self.transport.abort()

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _wait_for_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._close_idle)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _close_idle(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()
