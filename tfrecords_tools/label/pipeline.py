"""Adds the missing labels to the records of one shard.

Three steps run at once, on different batches, so that the networks hardly ever wait:

    decode, fit into each network's input  ->  forward                  ->  restore, keep, encode, serialise
    threads, one image each                    threads, one batch each      threads, one image each

With a GPU, the networks take one batch at a time; without, they take a few, see `parallelism`. At most `AHEAD` more
batches are in progress, whatever the shard's size, and fewer and smaller ones if the records are large. Records leave
in the order in which they came. An exception in a thread is raised when its record would have left.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import framing, opening, record
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks import discover
from tfrecords_tools.label import confidence, parallelism
from tfrecords_tools.reading import bad_records, recordset
from tfrecords_tools.teachers import BATCH_SIZE, Predictions, Teacher, stacked
from tfrecords_tools.teachers.frames import InputFrame, View, view
from tfrecords_tools.teachers.trained import parts

# Besides those in the networks, one batch is prepared, one is finished, and one waits for the slowest step.
AHEAD = 3
# Bytes of the records in progress, besides those of one batch: a photo of 100 million pixels may be a PNG of 0.3 GB.
MOST_BYTES = 256_000_000
BATCH_BYTES = MOST_BYTES // 4  # of more than one record
# Pixels of an image that is finished alone. Two threads would mostly wait for each other to get Python's lock: up to
# this size that takes a quarter more processor time, and is no faster (two cores, six tasks).
SMALL = 50_000


class LabelledRecord(NamedTuple):
    """One record with the labels that it lacked."""

    serialized: bytes
    added: tuple[str, ...]  # tasks that have labels of a teacher now and had none of this teacher before
    notes: tuple[str, ...] = ()  # what the teachers repaired in their predictions


class _Prepared(NamedTuple):
    """One record, ready for the networks."""

    serialized: bytes
    info: ImageInfo
    before: dict[str, str]  # {task: origin}
    origins: dict[str, str]  # the same without labels that are to be replaced
    wanted: tuple[bool, ...]  # by teacher: whether it may add labels
    doubted: tuple[bool, ...]  # by teacher: whether these get a confidence by comparison
    views: dict[InputFrame, View]
    mirrored: dict[InputFrame, View]  # of the mirrored image, for the teachers that are `doubted`


class _Context(NamedTuple):
    """The arguments that all records of a shard share."""

    path: str
    teachers: Sequence[Teacher]
    replace: Collection[str]
    with_confidence: bool
    step: int  # of maps, see `Teacher.labels`
    configs: dict[str, Any]  # {task: its config}; costs milliseconds to make
    room: parallelism.Room  # for decoded images and their labels
    turn: threading.Lock  # to finish an image that is `SMALL`


_Stacks = dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]]  # {which views: their batch, pixels and infos}


class _Rows(NamedTuple):
    """One teacher's predictions for a batch, {row of the batch: predictions}."""

    straight: dict[int, Predictions]
    mirrored: dict[int, Predictions]


def labelled(
    path: str,
    teachers: Sequence[Teacher],
    tick: Callable[[int], None],
    replace: Collection[str] = frozenset(),
    with_confidence: bool = False,
    half_maps: bool = False,
) -> Iterator[LabelledRecord]:
    """Yields the records, in order. Each image is read and decoded once for all teachers.

    Args:
      path: of the shard.
      teachers: at most one per task.
      tick: called with the number of images that were finished.
      replace: tasks for which labels of other teachers are replaced; real labels never are.
      with_confidence: label mirrored images, too, and store the agreement where a task asks for it.
      half_maps: new maps have half the height and width of their image.

    Raises:
      UserError: a record cannot be read, or a prediction is NaN or infinite.
    """
    settings = path, teachers, replace, with_confidence, 2 if half_maps else 1
    context = _Context(*settings, recordset.configs_of({}), parallelism.Room(), threading.Lock())
    threads, passes = max(2, parallelism.own_cores()), parallelism.passes()
    with (
        ThreadPoolExecutor(threads, "prepare") as prepare,
        ThreadPoolExecutor(passes, "forward") as forward,
        ThreadPoolExecutor(threads, "finish") as finish,
    ):
        try:
            waiting: deque[list[Future[LabelledRecord | None]]] = deque()
            sizes: deque[int] = deque()
            for batch in _batches(path):
                ready = [prepare.submit(_prepared, number, serialized, context) for number, serialized in batch]
                predictions = forward.submit(_forward, ready, context)
                rows = range(len(ready))
                waiting.append([finish.submit(_finished, row, predictions, ready, context) for row in rows])
                sizes.append(sum(len(serialized) for _, serialized in batch))
                while len(waiting) == AHEAD + passes or sum(sizes) > MOST_BYTES:
                    sizes.popleft()
                    yield from _results(waiting.popleft(), tick)
            while waiting:
                yield from _results(waiting.popleft(), tick)
        finally:  # after a failure, or if the caller stops early, work that has not begun is dropped
            for pool in (prepare, forward, finish):
                pool.shutdown(wait=False, cancel_futures=True)


def _results(batch: Sequence[Future[LabelledRecord | None]], tick: Callable[[int], None]) -> Iterator[LabelledRecord]:
    for future in batch:
        if (labelled_record := future.result()) is not None:
            yield labelled_record
    tick(len(batch))


def _batches(path: str) -> Iterator[list[tuple[int, bytes]]]:
    if framing.whole_records(path) is not None:
        raise UserError(f"{path} is truncated or damaged: a record is longer than the file. Convert it again.")
    try:
        records = tf.data.TFRecordDataset(path).prefetch(1)
        batch: list[tuple[int, bytes]] = []
        size = 0
        for number, serialized in enumerate(record.without_autotune(records).as_numpy_iterator()):
            if len(batch) == BATCH_SIZE or (batch and size + len(serialized) > BATCH_BYTES):
                yield batch
                batch, size = [], 0
            batch.append((number, serialized))
            size += len(serialized)
        if batch:
            yield batch
    except tf.errors.DataLossError as error:
        raise UserError(f"{path} is truncated or damaged ({error.message}). Convert it again.") from error


def _prepared(number: int, serialized: bytes, context: _Context) -> _Prepared | None:
    """Returns None for a bad record that `bad_records` leaves out."""
    with bad_records.reading(context.path, number):
        return _prepare(serialized, context)
    return None


def _prepare(serialized: bytes, context: _Context) -> _Prepared:
    example = opening.parsed(serialized)
    opening.require(example, discover(), context.configs)
    before = record.origins_of(example)
    origins = {task: origin for task, origin in before.items() if not _is_replaced(task, origin, context.replace)}
    wanted = tuple(_is_wanted(origins, teacher) for teacher in context.teachers)
    doubted = tuple(context.with_confidence and _is_doubted(origins, teacher) for teacher in context.teachers)
    frames, turned = (
        {teacher.frame for teacher, is_asked in zip(context.teachers, asked, strict=True) if is_asked}
        for asked in (wanted, doubted)
    )
    info = record.info_of(example)
    with context.room.taken(info), tf.device("CPU:0"):  # an accelerator is left to the networks
        image = record.decode_image(opening.image_of(example)) if frames else None
        views = {frame: view(image, frame) for frame in frames}
        mirrored = {frame: view(tf.reverse(image, [1]), frame) for frame in turned}
    return _Prepared(serialized, info, before, origins, wanted, doubted, views, mirrored)


def _is_replaced(task: str, origin: str, replace: Collection[str]) -> bool:
    return task in replace and record.is_pseudo(origin)


def _is_wanted(origins: dict[str, str], teacher: Teacher) -> bool:
    """Returns True if the teacher can add labels. A task that needs another one is added with it or not at all."""
    return any(
        _is_free(task, origins) and not any(need in origins for need in discover()[task].needs)
        for task in teacher.about.tasks
    )


def _is_doubted(origins: dict[str, str], teacher: Teacher) -> bool:
    """Returns True if the teacher can add labels whose confidence comes from a comparison."""
    return any(_is_free(task, origins) for task in confidence.compared(teacher.about.tasks))


def _is_free(task: str, origins: dict[str, str]) -> bool:
    """Returns True if there are no labels of the task, nor of one that needs it.

    Masks lie on boxes, even if no origin is stored for the boxes, and new boxes would overwrite those.
    """
    return task not in origins and not any(task in spec.needs for other, spec in discover().items() if other in origins)


def _forward(ready: Sequence[Future[_Prepared | None]], context: _Context) -> list[_Rows]:
    """Returns the predictions of each teacher, of the rows to which it may add labels."""
    batch = {row: one for row, future in enumerate(ready) if (one := future.result()) is not None}
    stacks: _Stacks = {}
    found = []
    for number, teacher in enumerate(context.teachers):
        views = {row: one.views[teacher.frame] for row, one in batch.items() if one.wanted[number]}
        mirrored = {row: one.mirrored[teacher.frame] for row, one in batch.items() if one.doubted[number]}
        found.append(_Rows(_forward_one(teacher, views, stacks), _forward_one(teacher, mirrored, stacks)))
    return found


def _forward_one(teacher: Teacher, views: Mapping[int, View], stacks: _Stacks) -> dict[int, Predictions]:
    """Returns a teacher's predictions. `stacks` are the inputs of the teachers before, most of which take the same."""
    if not views:
        return {}
    key = tuple(id(one.pixels) for one in views.values())
    if key not in stacks:
        pixels, infos = zip(*views.values(), strict=True)
        stacks[key] = stacked(pixels), stacked(infos)
    predictions = teacher.forward(*stacks[key])
    return {row: tf.nest.map_structure(lambda x, place=place: x[place], predictions) for place, row in enumerate(views)}


def _finished(
    row: int,
    predictions: Future[list[_Rows]],
    ready: Sequence[Future[_Prepared | None]],
    context: _Context,
) -> LabelledRecord | None:
    by_teacher, prepared = predictions.result(), ready[row].result()
    if prepared is None:
        return None
    of_teachers = list(zip(context.teachers, by_teacher, strict=True))
    serialized, added = record.merge(prepared.serialized, {}, discover()), set[str]()
    is_small = prepared.info.height * prepared.info.width <= SMALL
    turn = context.turn if is_small else contextlib.nullcontext()
    with turn, context.room.taken(prepared.info), tf.device("CPU:0"):
        for teacher, rows in of_teachers:  # written one after the other, as the maps of all may take many gigabytes
            serialized, tasks = _with_labels(serialized, (teacher, rows, context.step), row, prepared)
            added |= {task for task in tasks if prepared.before.get(task) != teacher.about.origin}
    notes = tuple(
        note
        for teacher, rows in of_teachers
        for note in (teacher.notes(rows.straight[row]) if row in rows.straight else ())
    )
    return LabelledRecord(serialized, tuple(task for task in discover() if task in added), notes)


def _with_labels(
    serialized: bytes, of_teacher: tuple[Teacher, _Rows, int], row: int, prepared: _Prepared
) -> tuple[bytes, tuple[str, ...]]:
    """Returns the record with the labels that a teacher adds, and their tasks."""
    teacher, rows, step = of_teacher
    added: tuple[str, ...] = ()
    straight, mirrored = (
        parts(teacher, of_row[row], prepared.info) if row in of_row else [] for of_row in (rows.straight, rows.mirrored)
    )
    for place, part in enumerate(straight):
        both = part, mirrored[place] if mirrored else None
        new = _missing(prepared.origins, _labels(teacher, step, both, prepared), teacher)
        serialized = record.merge(serialized, new, discover()) if new else serialized
        added += tuple(new)
    return serialized, added


def _labels(
    teacher: Teacher, step: int, both: tuple[Predictions, Predictions | None], prepared: _Prepared
) -> dict[str, Labels]:
    """Returns a teacher's labels of one image, with their confidence if it was asked for.

    Args:
      teacher: that predicted.
      step: of `Teacher.labels`.
      both: the predictions for the image and for the mirrored image; None if no confidence was asked for.
      prepared: the record.
    """
    source_id, frame, (straight, mirrored) = prepared.info.source_id, teacher.frame, both
    labels = teacher.labels(straight, prepared.views[frame].info, source_id, step)
    if mirrored is None or not confidence.compared(labels):
        return labels
    turned = teacher.labels(mirrored, prepared.mirrored[frame].info, source_id, step)
    return confidence.added(labels, turned, teacher.configs)


def _missing(origins: dict[str, str], labels: Mapping[str, Labels], teacher: Teacher) -> dict[str, record.Labelled]:
    """Returns the labels that a teacher adds to a record with labels of these origins.

    A task that needs another one shares its objects. It is only added together with the other's labels, by the same
    teacher: masks of one teacher do not fit boxes of another, nor real boxes.
    """
    new: dict[str, record.Labelled] = {}
    for task, spec in discover().items():
        if task in labels and all(need in new for need in spec.needs) and _is_free(task, origins):
            new[task] = record.Labelled(labels[task], teacher.about.origin, teacher.about.annotated.get(task))
    return new
