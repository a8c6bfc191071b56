"""Worker processes for work that comes in shards."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import itertools
import multiprocessing
import multiprocessing.connection
import multiprocessing.context
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

from must_tf.common import devices, upstream
from must_tf.common.errors import UserError
from must_tf.common.progress import Progress

POLL_SECONDS = 0.2  # how often the progress line looks at the counter
QUEUED = 2  # tasks a worker: one that it works on, one that waits
# Converting needs no accelerator, and every process that sees one would take its memory. What goes wrong
# becomes a Python exception here; TensorFlow's own log would only say that there is no GPU.
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}

IMAGES_PER_WORKER = 500  # a process that is not forked starts no sooner than one has converted these

# Called with a task, and a function to report a number of images as done.
WorkFunction = Callable[[Any, Callable[..., None]], Any]
Environment = Mapping[str, str]

_counter: Any = None  # in a worker: the shared number of images done
_stop: Any = None  # in a worker: set once its work is not wanted any more


class Stopped(Exception):
    """Ends the work of a process whose result nobody waits for."""


def default_count(images: int) -> int:
    """How many worker processes suit this many images: one per core of this process, if each has enough to do."""
    return min(devices.cores(), -(-images // IMAGES_PER_WORKER))


def run(job: WorkFunction, tasks: Iterable[Any], workers: int, progress: Progress) -> list[Any]:
    """`[job(task, tick) for task in tasks]`, over processes; results in the order of the tasks.

    Args:
      job: a function at module level; the same task always gives the same result.
      tasks: can be pickled; one is taken when a worker is about to be free, so that few are in memory.
      workers: processes; 1 works in this one.
      progress: advanced at every tick.

    Raises:
      UserError: as `job` raised it, or because a process died.
    """
    if workers <= 1:
        return [job(task, progress.advance) for task in tasks]
    with _environment():
        return _pooled(job, tasks, [{}] * workers, progress)


def run_in(
    environments: Sequence[Environment], job: WorkFunction, tasks: Iterable[Any], progress: Progress
) -> list[Any]:
    """As `run`, in one process for each of these environments, which each sees from its start.

    What `job` prints is shown once, by the first process, on stderr.
    """
    return _pooled(job, tasks, environments, progress)


def _pooled(
    job: WorkFunction, tasks: Iterable[Any], environments: Sequence[Environment], progress: Progress
) -> list[Any]:
    context, workers = _context(environments), len(environments)
    counter, stop, places = context.Value("q", 0), context.Event(), context.SimpleQueue()
    for place in enumerate(environments):
        places.put(place)
    given = (counter, stop, places)
    with _frozen(), concurrent.futures.ProcessPoolExecutor(workers, context, _start, given) as pool:
        try:
            return _all(pool, job, tasks, _Watch(counter, progress, workers * QUEUED))
        except BrokenProcessPool:
            raise UserError(
                "a worker process was killed, usually for lack of memory. Finished shards are kept: "
                "run the same command again with fewer --workers."
            ) from None
        finally:
            stop.set()  # after an error or Ctrl-C the others end at their next image
            pool.shutdown(wait=True, cancel_futures=True)


def _context(environments: Sequence[Environment] = ()) -> multiprocessing.context.BaseContext:
    """How worker processes start.

    A fork shares the memory that the imports take and starts at once, while a fresh interpreter needs all of it, and
    seconds. TensorFlow survives a fork as long as nothing has been computed: its threads start with the first
    operation.
    CUDA survives none: it has been asked for its GPUs where each process is given one.
    """
    started = upstream.tensorflow_has_started()
    gpus = any("CUDA_VISIBLE_DEVICES" in each for each in environments)
    method = "fork" if sys.platform == "linux" and not started and not gpus else "spawn"
    return multiprocessing.get_context(method)


@contextlib.contextmanager
def _frozen() -> Iterator[None]:
    """What is there already is left alone by the garbage collector: its marks would be written into every page that is
    shared with forked processes. A command has frozen what it imported, and keeps it so."""
    frozen_before = gc.get_freeze_count() > 0
    gc.freeze()
    try:
        yield
    finally:
        if not frozen_before:
            gc.unfreeze()


class _Watch(NamedTuple):
    """What the parent looks at while the workers work."""

    counter: Any  # the shared number of images done
    progress: Progress
    most: int  # tasks that are handed out at a time


def _all(pool: concurrent.futures.Executor, job: WorkFunction, tasks: Iterable[Any], watch: _Watch) -> list[Any]:
    """The results of all tasks; ends with the first that fails."""
    results: dict[int, Any] = {}
    waiting: dict[concurrent.futures.Future, int] = {}
    shown, numbered = 0, enumerate(tasks)
    while True:
        for number, task in itertools.islice(numbered, watch.most - len(waiting)):
            waiting[pool.submit(_call, job, task)] = number
        if not waiting:
            return [results[number] for number in sorted(results)]
        done, _ = concurrent.futures.wait(waiting, POLL_SECONDS, concurrent.futures.FIRST_COMPLETED)
        watch.progress.advance(watch.counter.value - shown)
        shown = watch.counter.value
        for future in done:
            results[waiting.pop(future)] = future.result()


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


def _start(counter: Any, stop: Any, places: Any) -> None:
    """In a worker, first: Ctrl-C is the parent's to handle, and without a parent there is no work."""
    global _counter, _stop
    gc.freeze()  # the collector's marks would be written into every page that a forked process shares
    _counter, _stop = counter, stop
    number, environment = places.get()
    if environment:
        os.environ.update(environment)
        sys.stdout = open(os.devnull, "w") if number else sys.stderr  # noqa: SIM115  # until the process ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """A killed parent cannot end its workers, and they must not write beside the next run's."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _call(job: WorkFunction, task: Any) -> Any:
    return job(task, _tick)


def _tick(count: int = 1) -> None:
    if _stop.is_set():
        raise Stopped
    with _counter.get_lock():
        _counter.value += count
