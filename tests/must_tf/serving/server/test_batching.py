"""Photos of several requests are joined, and everyone gets their own rows."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest

from must_tf.serving.server import batching
from must_tf.serving.server.batching import Batcher, Busy, Row, Sizes
from tests.must_tf.serving.server.stub_server import crowded_out


class Recorder:
    """A model whose row is the photo's length. The first call waits until it is released."""

    def __init__(self) -> None:
        self.calls: list[list[bytes]] = []
        self.go_on = threading.Event()
        self.seconds = 0.0  # that a call takes

    def __call__(self, photos: Sequence[bytes]) -> list[Row]:
        self.calls.append(list(photos))
        assert self.go_on.wait(10)
        time.sleep(self.seconds)
        return [one(photo) for photo in photos]


def one(photo: bytes) -> Row:
    """A photo's row."""
    return {"length": np.array(len(photo)), "image/status": np.array(b"ok", object)}


def lengths(rows: Sequence[Row]) -> list[int]:
    """The lengths in rows."""
    return [int(row["length"]) for row in rows]


async def begun(model: Recorder, batcher: Batcher) -> asyncio.Task[list[Row]]:
    """Starts a request that keeps the model busy."""
    task = asyncio.create_task(batcher.rows([b"x"]))
    while not model.calls:
        await asyncio.sleep(0.001)
    return task


def test_what_waits_is_joined_up_to_the_batch_size() -> None:
    """Five photos of three requests wait for a busy model that takes four."""

    async def scenario() -> None:
        model = Recorder()
        batcher = Batcher(model, Sizes(4, 10))
        first = await begun(model, batcher)
        requests = [[b"a", b"bb"], [b"ccc"], [b"dddd", b"eeeee"]]
        tasks = [asyncio.create_task(batcher.rows(photos)) for photos in requests]
        await asyncio.sleep(0)
        assert batcher.waiting == 5
        model.go_on.set()
        assert lengths(await first) == [1]
        assert [lengths(await task) for task in tasks] == [[1, 2], [3], [4, 5]]
        assert [len(call) for call in model.calls] == [1, 4, 1]
        await batcher.close()

    asyncio.run(scenario())


async def answered_four_while_one_waits(model: Recorder, batcher: Batcher) -> list[asyncio.Task[list[Row]]]:
    """Returns the requests for four photos that are answered together, and for one that came meanwhile."""
    tasks = [asyncio.create_task(batcher.rows([b"four"] * 4))]
    while not model.calls:
        await asyncio.sleep(0.001)
    tasks.append(asyncio.create_task(batcher.rows([b"x"])))
    await asyncio.sleep(0)
    model.go_on.set()
    assert lengths(await tasks[0]) == [4] * 4
    return tasks


def test_clients_that_ask_again_are_served_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """One photo waits when four are answered: the model begins when three more are there."""
    monkeypatch.setattr(batching, "PATIENCE", 1e6)
    monkeypatch.setattr(batching, "LONGEST", 1e6)

    async def scenario() -> None:
        model = Recorder()
        batcher = Batcher(model, Sizes(4, 10))
        tasks = await answered_four_while_one_waits(model, batcher)
        tasks.append(asyncio.create_task(batcher.rows([b"yy"] * 2)))
        await asyncio.sleep(0.01)
        assert len(model.calls) == 1
        assert lengths(await asyncio.wait_for(batcher.rows([b"zzz"]), 10)) == [3]
        assert [lengths(await task) for task in tasks[1:]] == [[1], [2, 2]]
        assert model.calls[1:] == [[b"x", b"yy", b"yy", b"zzz"]]
        await batcher.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("patience", "longest"),
    [(1e6, 0.0), (0.0, 1e6)],
    ids=["though_others_keep_coming", "when_none_comes"],
)
def test_waiting_for_others_has_an_end(patience: float, longest: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "PATIENCE", patience)
    monkeypatch.setattr(batching, "LONGEST", longest)

    async def scenario() -> None:
        model = Recorder()
        batcher = Batcher(model, Sizes(4, 10))
        tasks = await answered_four_while_one_waits(model, batcher)
        assert lengths(await asyncio.wait_for(tasks[1], 10)) == [1]
        await batcher.close()

    asyncio.run(scenario())


def test_a_busy_event_loop_does_not_split_what_belongs_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience ends while the loop writes answers. The requests that came meanwhile are still read."""
    monkeypatch.setattr(batching, "PATIENCE", 0.2)
    monkeypatch.setattr(batching, "LONGEST", 1e6)

    async def scenario() -> None:
        model = Recorder()
        model.seconds = 0.1
        batcher = Batcher(model, Sizes(4, 10))
        tasks = await answered_four_while_one_waits(model, batcher)
        await asyncio.sleep(0)  # the batcher begins to wait
        time.sleep(0.05)
        for _ in range(5):  # turns of the loop until a request is read
            await asyncio.sleep(0)
        tasks.append(asyncio.create_task(batcher.rows([b"yyy"] * 3)))
        assert lengths(await tasks[1]) == [1]
        assert model.calls[1:] == [[b"x", b"yyy", b"yyy", b"yyy"]]
        await batcher.close()

    asyncio.run(scenario())


def test_a_model_that_has_answered_one_photo_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next photo is as many as it expects."""
    monkeypatch.setattr(batching, "PATIENCE", 1e6)
    monkeypatch.setattr(batching, "LONGEST", 1e6)

    async def scenario() -> None:
        model = Recorder()
        model.go_on.set()
        batcher = Batcher(model, Sizes(4, 10))
        assert lengths(await asyncio.wait_for(batcher.rows([b"x"]), 10)) == [1]
        assert lengths(await asyncio.wait_for(batcher.rows([b"bb"]), 10)) == [2]

    asyncio.run(scenario())


def test_a_full_queue_refuses() -> None:
    async def scenario() -> None:
        model = Recorder()
        batcher = Batcher(model, Sizes(1, 2))
        tasks = [await begun(model, batcher), asyncio.create_task(batcher.rows([b"a", b"b"]))]
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="2 photos are waiting"):
            await batcher.rows([b"c"])
        model.go_on.set()
        assert [len(rows) for rows in await asyncio.gather(*tasks)] == [1, 2]
        await batcher.close()

    asyncio.run(scenario())


def test_closing_waits_for_all_photos_that_were_accepted() -> None:
    """For those in the model, and for those that wait behind them."""

    async def scenario() -> None:
        model = Recorder()
        batcher = Batcher(model, Sizes(1, 10))
        tasks = [await begun(model, batcher), asyncio.create_task(batcher.rows([b"aa", b"bbb"]))]
        await asyncio.sleep(0)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        assert not closing.done()
        model.go_on.set()
        assert [lengths(await asyncio.wait_for(task, 10)) for task in tasks] == [[1], [2, 3]]
        await closing

    asyncio.run(scenario())


def test_a_request_that_comes_while_its_model_is_replaced_is_answered() -> None:
    """It chose the model just before."""

    async def scenario() -> None:
        batcher = Batcher(lambda photos: [one(photo) for photo in photos], Sizes(1, 10))
        assert lengths(await batcher.rows([b"a"])) == [1]
        await batcher.close()
        assert lengths(await batcher.rows([b"bb"])) == [2]

    asyncio.run(scenario())


def test_photos_of_a_request_that_is_gone_leave_their_place_to_others() -> None:
    async def scenario() -> None:
        model = Recorder()
        batcher = Batcher(model, Sizes(1, 2))
        first = await begun(model, batcher)
        gone = asyncio.create_task(batcher.rows([b"a", b"b"]))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        stays = asyncio.create_task(batcher.rows([b"cc", b"ddd"]))
        await asyncio.sleep(0)
        assert batcher.waiting == 2
        model.go_on.set()
        assert lengths(await first + await stays) == [1, 2, 3]
        await batcher.close()

    asyncio.run(scenario())


def test_photos_of_a_request_that_is_gone_are_not_predicted() -> None:
    async def scenario() -> None:
        model = Recorder()
        batcher = Batcher(model, Sizes(4, 10))
        first = await begun(model, batcher)
        gone, stays = (asyncio.create_task(batcher.rows([photo])) for photo in (b"gone", b"stays"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        model.go_on.set()
        assert lengths(await first + await stays) == [1, 5]
        assert model.calls == [[b"x"], [b"stays"]]
        await batcher.close()

    asyncio.run(scenario())


def test_a_photo_that_does_not_fit_beside_others_is_predicted_by_itself() -> None:
    """Only then is its answer its own."""
    calls: list[list[bytes]] = []

    def model(photos: Sequence[bytes]) -> list[Row]:
        calls.append(list(photos))
        return [crowded_out() if photo == b"large" and len(photos) > 1 else one(photo) for photo in photos]

    async def scenario() -> None:
        batcher = Batcher(model, Sizes(4, 10))
        assert lengths(await batcher.rows([b"large", b"b"])) == [5, 1]
        assert calls == [[b"large", b"b"], [b"large"]]
        await batcher.close()

    asyncio.run(scenario())


def test_a_failure_reaches_every_request_of_the_batch_and_no_other() -> None:
    def model(photos: Sequence[bytes]) -> list[Row]:
        if b"fatal" in photos:
            raise MemoryError
        return [one(photo) for photo in photos]

    async def scenario() -> None:
        batcher = Batcher(model, Sizes(4, 10))
        with pytest.raises(RuntimeError, match="the model failed: MemoryError"):
            await batcher.rows([b"fatal", b"b"])
        assert lengths(await batcher.rows([b"ok"])) == [2]
        await batcher.close()

    asyncio.run(scenario())
