"""Worker processes for work that is divided into tasks, like shards."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import itertools
import multiprocessing
import multiprocessing.connection
import multiprocessing.context
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

from must_tf.common import devices, interrupts, process_setup, upstream
from must_tf.common.errors import UserError
from must_tf.common.progress import Progress

POLL_SECONDS = 0.2  # between two updates of the progress line
QUEUED = 2  # tasks per worker: a running one and a waiting one
# Converting needs no accelerator, and every process that sees one would take its memory. Errors arrive as Python
# exceptions; TensorFlow's own log would only say that there is no GPU. With oneDNN, TensorFlow keeps the memory of
# tensors for later ones, which doubles what the largest maps take, and there is no network that it would speed up.
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", process_setup.KERNELS: "0"}

IMAGES_PER_WORKER = 500  # starting a process without a fork takes as long as converting this many

# Called with a task, and a function to report a number of images as done.
WorkFunction = Callable[[Any, Callable[..., None]], Any]
Environment = Mapping[str, str]

_counter: Any = None  # in a worker: the shared number of finished images
_stop: Any = None  # in a worker: set when its work is no longer needed


class Stopped(Exception):
    """Ends the work of a process whose result is no longer needed."""


def default_count(images: int) -> int:
    """Returns the number of workers for this many images: one per core of this process, fewer for few images."""
    return min(devices.cores(), -(-images // IMAGES_PER_WORKER))


def run(job: WorkFunction, tasks: Iterable[Any], workers: int, progress: Progress) -> list[Any]:
    """Computes `[job(task, tick) for task in tasks]` in several processes.

    Args:
      job: a function at module level; the same task always gives the same result.
      tasks: picklable. The next one is taken when a worker is about to be free, so only a few are in memory.
      workers: number of processes; 1 works in this process.
      progress: advanced at every tick.

    Returns:
      The results in the order of the tasks.

    Raises:
      UserError: raised by `job`, or a process died.
    """
    if workers <= 1:
        return [job(task, progress.advance) for task in tasks]
    with _environment():
        return _pooled(job, tasks, [{}] * workers, progress)


def run_in(
    environments: Sequence[Environment], job: WorkFunction, tasks: Iterable[Any], progress: Progress
) -> list[Any]:
    """Like `run`, with one process per environment, set before the process starts working.

    Output of `job` is shown once, by the first process, on stderr.
    """
    return _pooled(job, tasks, environments, progress)


def apart(job: WorkFunction, task: Any) -> Any:
    """Computes `job(task, tick)` in a process of its own: this one opens no file, and can still be forked.

    If TensorFlow's runtime has started, the work is done in this process, which cannot be forked any more.
    """
    if upstream.tensorflow_has_started():
        return job(task, lambda count=1: None)
    with _environment():
        return _pooled(job, [task], [{}], Progress(1, "look at"))[0]


def _pooled(
    job: WorkFunction, tasks: Iterable[Any], environments: Sequence[Environment], progress: Progress
) -> list[Any]:
    context, workers = _context(environments), len(environments)
    counter, stop, places = context.Value("q", 0), context.Event(), context.SimpleQueue()
    for place in enumerate(environments):
        places.put(place)
    start_arguments = (counter, stop, places)
    with _frozen(), concurrent.futures.ProcessPoolExecutor(workers, context, _start, start_arguments) as pool:
        try:
            return _results(pool, job, tasks, _Watch(counter, progress, workers * QUEUED))
        except BrokenProcessPool:
            raise UserError(
                "a worker process was killed, usually because memory ran out. Finished shards are kept: "
                "run the same command again with fewer --workers."
            ) from None
        finally:
            stop.set()  # after an error or Ctrl-C the other workers end at their next image
            pool.shutdown(wait=True, cancel_futures=True)


def _context(environments: Sequence[Environment] = ()) -> multiprocessing.context.BaseContext:
    """Chooses how worker processes start.

    A fork shares the memory of the imports and starts at once; a fresh interpreter needs its own and takes seconds.
    TensorFlow survives a fork if nothing has been computed yet: its threads start with the first operation. CUDA never
    does: if each process gets a GPU, this process has queried the GPUs already.
    """
    started = upstream.tensorflow_has_started()
    gpus = any("CUDA_VISIBLE_DEVICES" in environment for environment in environments)
    method = "fork" if sys.platform == "linux" and not started and not gpus else "spawn"
    return multiprocessing.get_context(method)


@contextlib.contextmanager
def _frozen() -> Iterator[None]:
    """Keeps the garbage collector away from existing objects: it would write into pages shared with forked processes.

    A command that has already frozen its imports keeps them frozen.
    """
    frozen_before = gc.get_freeze_count() > 0
    gc.freeze()
    try:
        yield
    finally:
        if not frozen_before:
            gc.unfreeze()


class _Watch(NamedTuple):
    """State that the parent watches while the workers run."""

    counter: Any  # the shared number of finished images
    progress: Progress
    max_tasks: int  # that are handed out at the same time


def _results(pool: concurrent.futures.Executor, job: WorkFunction, tasks: Iterable[Any], watch: _Watch) -> list[Any]:
    """Returns the results of all tasks; raises at the first that fails."""
    results: dict[int, Any] = {}
    waiting: dict[concurrent.futures.Future, int] = {}
    shown, numbered = 0, enumerate(tasks)
    while True:
        for number, task in itertools.islice(numbered, watch.max_tasks - len(waiting)):
            with interrupts.postponed():  # it may start a process
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
    """Sets `ENVIRONMENT` for processes that start inside the block; restores this process's own values afterwards."""
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
    """Sets up a worker: the parent handles Ctrl-C, and the worker ends with its parent."""
    global _counter, _stop
    gc.freeze()  # the garbage collector would write into every page that a forked process shares
    _counter, _stop = counter, stop
    number, environment = places.get()
    if environment:
        os.environ.update(environment)
        sys.stdout = open(os.devnull, "w") if number else sys.stderr  # noqa: SIM115  # until the process ends
    interrupts.admit()
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """Ends this worker when its parent is killed, so that it does not write at the same time as the next run."""
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
