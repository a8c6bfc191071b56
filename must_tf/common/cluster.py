"""A training by several processes: the place of this one, by the variable TF_CONFIG, and what they exchange."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from must_tf.common.errors import UserError
from must_tf.common.text import listed

WRITERS = ("chief", "worker")  # the kinds of processes that train
START_SECONDS = 600.0  # in which all processes must have started: a batch system may start them minutes apart
PAUSE_SECONDS = 0.2  # between two looks for them
CONNECT_SECONDS = 5.0
WORD = 8  # bytes: TensorFlow gathers int64, but no bytes


def is_first() -> bool:
    """Returns True for the process that writes checkpoints: the chief, or else the first worker.

    TensorFlow says so only once its workers are connected.
    """
    try:
        content = json.loads(os.environ.get("TF_CONFIG") or "{}")
        place, jobs = content.get("task") or {}, content.get("cluster") or {}
        kind, index = place.get("type", "chief"), int(place.get("index", 0))
    except (ValueError, AttributeError):
        return True  # TensorFlow reports it
    return kind == "chief" or (kind == "worker" and index == 0 and "chief" not in jobs)


@contextlib.contextmanager
def naming_lost() -> Iterator[None]:
    """Raises UserError if the block fails because another process of the training is no longer there."""
    import tensorflow as tf

    lost = (tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.AbortedError)
    try:
        yield
    except lost as error:
        if not os.environ.get("TF_CONFIG"):
            raise
        raise UserError(
            f"{_lost(error.message)} has ended, or cannot be reached any longer; its own output says why. Run the same "
            "command on all machines again: a training continues from its last checkpoint."
        ) from error


def _lost(message: str) -> str:
    """Returns the name of the process that an error of TensorFlow's is about."""
    place = json.loads(os.environ["TF_CONFIG"]).get("task") or {}
    named = set(re.findall(r"/job:(\w+)(?:/replica:\d+)?/task:(\d+)", message))
    others = named - {(place.get("type"), str(place.get("index")))}
    if len(others) != 1:
        return "another process of this training"
    kind, index = others.pop()
    return f"the process {kind} {index} of this training"


def assemble() -> None:
    """Waits until all processes of TF_CONFIG have started.

    Afterwards TensorFlow connects them. It would wait much longer, say nothing, and hold Python's lock meanwhile.
    Each process listens at its own port until it has seen all the others there, or TensorFlow in their place.

    Raises:
      UserError: some are not there after START_SECONDS, or this process cannot have its port.
    """
    try:
        content = json.loads(os.environ.get("TF_CONFIG") or "{}")
        place, jobs = content.get("task") or {}, content.get("cluster") or {}
        own = f"{place.get('type')} {int(place.get('index', 0))}"
        addresses = {f"{kind} {n}": str(a) for kind in WRITERS for n, a in enumerate(jobs.get(kind, ()))}
    except (ValueError, TypeError, AttributeError):
        return  # TensorFlow reports it
    if own not in addresses:
        return
    missing, end = addresses | {}, time.monotonic() + START_SECONDS
    del missing[own]
    with _listening(own, addresses[own]):
        while missing := {name: address for name, address in missing.items() if not _answers(address)}:
            if time.monotonic() >= end:
                break
            time.sleep(PAUSE_SECONDS)
    if missing:
        names = listed(f"{name} ({address})" for name, address in missing.items())
        raise UserError(
            f"waited {START_SECONDS:g} s for the other processes of TF_CONFIG, and cannot reach {names}. Start the "
            "same command on all machines within that time, and check that they reach each other's ports."
        )


@contextlib.contextmanager
def _listening(name: str, address: str) -> Iterator[None]:
    port = address.rpartition(":")[2]
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        server = socket.create_server(("", int(port)), family=family, dualstack_ipv6=both)
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(
            f"TF_CONFIG gives this process, {name}, the address {address!r}, but it cannot listen there: {error}. End "
            "the program that uses the port, or give another one on all machines."
        ) from error
    with server:
        yield


def _answers(address: str) -> bool:
    """Returns True if something listens at an address."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True


def processes() -> int:
    """Returns how many processes train together, in the scope of their distribution strategy."""
    return _places()[1]


def _places() -> tuple[int, int]:
    """Returns the number of this process, from 0, and how many there are. The first one writes checkpoints."""
    import tensorflow as tf  # here, because `is_first` is asked before it starts

    strategy = tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0, 1
    resolver = strategy.cluster_resolver
    jobs: dict[str, list[Any]] = resolver.cluster_spec().as_dict()
    chiefs, workers = (len(jobs.get(kind, ())) for kind in ("chief", "worker"))
    behind = chiefs if resolver.task_type == "worker" else 0
    return behind + (resolver.task_id or 0), max(chiefs + workers, 1)


def gathered(content: bytes) -> list[bytes]:
    """Returns the content of every process, the first one's first.

    All of them must call it, in the same order, in the scope of the strategy.
    """
    import numpy as np
    import tensorflow as tf

    place, count = _places()
    if count == 1:
        return [content]
    gather = tf.distribute.get_strategy().gather
    # Padded by at least a byte: TensorFlow crashes if it gathers nothing.
    words = np.frombuffer(content + bytes(WORD - len(content) % WORD), np.int64)
    about = gather(tf.constant([[place, len(words), len(content)]], tf.int64), axis=0).numpy()  # [processes, 3]
    parts = np.split(gather(tf.constant(words), axis=0).numpy(), np.cumsum(about[:-1, 1]))
    return [parts[row].tobytes()[: about[row, 2]] for row in np.argsort(about[:, 0])]


def as_first_says(text: Callable[[], str]) -> str:
    """Returns the text of the first process, the only one that makes it. To be called like `gathered`."""
    return gathered(text().encode() if _places()[0] == 0 else b"")[0].decode()
