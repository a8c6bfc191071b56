"""Worker processes for work that comes in shards."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from must_tf.errors import UserError
from must_tf.progress import Progress

POLL_SECONDS = 0.2  # how often the progress line looks at the counter
# Converting needs no accelerator, and every process that sees one would take its memory. What goes wrong
# becomes a Python exception here; TensorFlow's own log would only say that there is no GPU.
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}

Job = Callable[[Any, Callable[[], None]], Any]  # (what to do, called after every image) -> result

_counter: Any = None  # in a worker: the shared number of images done


def run(job: Job, tasks: Sequence[Any], workers: int, progress: Progress) -> list[Any]:
    """`[job(task, tick) for task in tasks]`, over processes; results in the order of the tasks.

    Args:
      job: a function at module level; the same task always gives the same result.
      tasks: can be pickled.
      workers: processes; 1 works in this one.
      progress: advanced at every tick.

    Raises:
      UserError: as `job` raised it, or because a process died.
    """
    if min(workers, len(tasks)) <= 1:
        return [job(task, progress.advance) for task in tasks]
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    counter = context.Value("q", 0)
    count = min(workers, len(tasks))
    with (
        _environment(),
        concurrent.futures.ProcessPoolExecutor(count, context, _start, (counter,)) as pool,
    ):
        futures = [pool.submit(_call, job, task) for task in tasks]
        try:
            _watch(futures, counter, progress)
            return [future.result() for future in futures]
        except BrokenProcessPool:
            raise UserError(
                "a worker process was killed, usually for lack of memory. Finished shards are kept: "
                "run the same command again with fewer --workers."
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _watch(futures: list[concurrent.futures.Future], counter: Any, progress: Progress) -> None:
    """Moves the progress line until all is done or something failed."""
    shown, waiting = 0, set(futures)
    while waiting:
        done, waiting = concurrent.futures.wait(waiting, POLL_SECONDS, concurrent.futures.FIRST_EXCEPTION)
        progress.advance(counter.value - shown)
        shown = counter.value
        for future in done:
            future.result()


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Variables for the processes that start meanwhile; this one's are put back."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start(counter: Any) -> None:
    """In a worker, first: Ctrl-C is the parent's to handle, and without a parent there is no work."""
    global _counter
    _counter = counter
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """A killed parent cannot end its workers, and they must not write beside the next run's."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _call(job: Job, task: Any) -> Any:
    return job(task, _tick)


def _tick() -> None:
    with _counter.get_lock():
        _counter.value += 1
