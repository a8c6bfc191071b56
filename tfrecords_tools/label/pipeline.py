"""The records of one shard with the labels that they lacked.

Three steps run at once, on different batches, so that the networks hardly ever wait:

    decode, fit into each network's input  ->  forward                  ->  restore, keep, encode, serialise
    threads, an image each                     threads, a batch each        threads, an image each

With a GPU one batch at a time is in the networks, without one a few, see `label_threads`. At most `AHEAD` more are on
their way, whatever the shard's size. Records leave in the order in which they came, and what fails in a thread is
raised where its record would have left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import record
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks import discover
from tfrecords_tools.label import threads as label_threads
from tfrecords_tools.teachers import BATCH_SIZE, Teacher, stacked
from tfrecords_tools.teachers.frames import Frame, View, view

# Beside those in the networks one is prepared, one is finished, and one waits for whichever step is late.
AHEAD = 3


class Done(NamedTuple):
    """One record with the labels that it lacked."""

    serialized: bytes
    added: tuple[str, ...]  # tasks that a teacher labelled who had not labelled them before


class _Prepared(NamedTuple):
    """One record before the networks have seen it."""

    serialized: bytes
    info: ImageInfo
    before: dict[str, str]  # {task: who labelled it}
    origins: dict[str, str]  # the same without what is to be replaced
    wanted: tuple[bool, ...]  # by teacher: whether it has to look
    views: dict[Frame, View]


class _Job(NamedTuple):
    """What is done with every record."""

    path: str
    teachers: Sequence[Teacher]
    replace: Collection[str]


def labelled(
    path: str, teachers: Sequence[Teacher], tick: Callable[[int], None], replace: Collection[str] = frozenset()
) -> Iterator[Done]:
    """The records, in order, each image read and decoded once for all teachers.

    Args:
      path: of the shard.
      teachers: at most one for a task.
      tick: called with the number of images that were done.
      replace: tasks whose labels by other teachers are replaced; real ones never are.

    Raises:
      UserError: a record that cannot be read, or a prediction that is no finite number.
    """
    job = _Job(path, teachers, replace)
    threads, passes = max(2, label_threads.share()), label_threads.passes()
    with (
        ThreadPoolExecutor(threads, "prepare") as prepare,
        ThreadPoolExecutor(passes, "forward") as forward,
        ThreadPoolExecutor(threads, "finish") as finish,
    ):
        try:
            waiting: deque[list[Future[Done]]] = deque()
            for batch in _batches(path):
                ready = [prepare.submit(_prepared, one, job) for one in batch]
                found = forward.submit(_forward, ready, job)
                waiting.append([finish.submit(_finished, row, found, ready, job) for row in range(len(ready))])
                if len(waiting) == AHEAD + passes:
                    yield from _results(waiting.popleft(), tick)
            while waiting:
                yield from _results(waiting.popleft(), tick)
        finally:  # after a failure, and when nobody wants the rest: what has not begun never does
            for pool in (prepare, forward, finish):
                pool.shutdown(wait=False, cancel_futures=True)


def _results(batch: Sequence[Future[Done]], tick: Callable[[int], None]) -> Iterator[Done]:
    for one in batch:
        yield one.result()
    tick(len(batch))


def _batches(path: str) -> Iterator[list[bytes]]:
    try:
        for batch in record.untuned(tf.data.TFRecordDataset(path).batch(BATCH_SIZE).prefetch(1)).as_numpy_iterator():
            yield list(batch)
    except tf.errors.DataLossError as error:
        raise UserError(f"{path} is truncated or damaged ({error.message}). Convert it again.") from error


def _prepared(serialized: bytes, job: _Job) -> _Prepared:
    example = tf.train.Example.FromString(serialized)
    before = record.origins_of(example)
    origins = {task: origin for task, origin in before.items() if not _is_replaced(task, origin, job.replace)}
    wanted = tuple(_is_wanted(origins, teacher) for teacher in job.teachers)
    frames = {teacher.frame for teacher, is_wanted in zip(job.teachers, wanted, strict=True) if is_wanted}
    with tf.device("CPU:0"):  # an accelerator is left to the networks
        image = _image(example, job.path) if frames else None
        views = {one: view(image, one) for one in frames}
    return _Prepared(serialized, record.info_of(example), before, origins, wanted, views)


def _is_replaced(task: str, origin: str, replace: Collection[str]) -> bool:
    return task in replace and record.is_pseudo(origin)


def _is_wanted(origins: dict[str, str], teacher: Teacher) -> bool:
    """Whether it can add anything. What needs another task's objects comes with them or not at all."""
    return any(
        _is_free(task, origins) and not any(need in origins for need in discover()[task].needs)
        for task in teacher.about.tasks
    )


def _is_free(task: str, origins: dict[str, str]) -> bool:
    """Whether nobody has labelled the task, nor one that needs it. Masks lie on boxes, also where no origin says whose
    these are, and new boxes would take their place."""
    return task not in origins and not any(task in spec.needs for other, spec in discover().items() if other in origins)


def _image(example: tf.train.Example, path: str) -> tf.Tensor:
    info = record.info_of(example)
    try:
        return record.decode_image(example.features.feature["image/encoded"].bytes_list.value[0])
    except (tf.errors.InvalidArgumentError, IndexError) as error:
        raise UserError(
            f"{path}: the image of record {info.source_id!r} cannot be decoded. Convert it again."
        ) from error


def _forward(ready: Sequence[Future[_Prepared]], job: _Job) -> list[dict[int, Any]]:
    """By teacher, {row of the batch: predictions}, of the rows that it has to look at."""
    batch = [one.result() for one in ready]
    return [_forward_one(teacher, number, batch) for number, teacher in enumerate(job.teachers)]


def _forward_one(teacher: Teacher, number: int, batch: Sequence[_Prepared]) -> dict[int, Any]:
    rows = [row for row, one in enumerate(batch) if one.wanted[number]]
    if not rows:
        return {}
    views = [batch[row].views[teacher.frame] for row in rows]
    found = teacher.forward(stacked([one.pixels for one in views]), stacked([one.info for one in views]))
    return {row: tf.nest.map_structure(lambda x, place=place: x[place], found) for place, row in enumerate(rows)}


def _finished(row: int, found: Future[list[dict[int, Any]]], ready: Sequence[Future[_Prepared]], job: _Job) -> Done:
    predictions, one = found.result(), ready[row].result()
    with tf.device("CPU:0"):
        labels = [
            teacher.labels(of_batch[row], one.views[teacher.frame].info, one.info.source_id) if row in of_batch else {}
            for teacher, of_batch in zip(job.teachers, predictions, strict=True)
        ]
    new = _missing(one.origins, labels, job.teachers)
    added = tuple(task for task, each in new.items() if one.before.get(task) != each.origin)
    return Done(record.merge(one.serialized, new, discover()), added)


def _missing(
    origins: dict[str, str], labels: Sequence[dict[str, Labels]], teachers: Sequence[Teacher]
) -> dict[str, record.Labelled]:
    """What the teachers add to a record that has labels of these origins.

    A task that needs another shares its objects, so it is added only where the other's labels are added too, by the
    same teacher: masks of one teacher do not fit the boxes of another, nor real ones.
    """
    new: dict[str, record.Labelled] = {}
    for task, spec in discover().items():
        for teacher, found in zip(teachers, labels, strict=True):
            origin = teacher.about.origin
            fits = all(need in new and new[need].origin == origin for need in spec.needs)
            if task in found and fits and _is_free(task, origins):
                new[task] = record.Labelled(found[task], origin)
    return new
