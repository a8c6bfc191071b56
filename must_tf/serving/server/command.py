"""Runs a server from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from types import FrameType
from typing import NamedTuple

import uvicorn
from starlette.applications import Starlette

from must_tf.common.errors import UserError
from must_tf.serving import companions
from must_tf.serving.clients.client_rest import TOKEN
from must_tf.serving.server import app, models
from must_tf.serving.server.batching import Sizes
from must_tf.serving.server.http import Connection
from must_tf.serving.server.metrics import Metrics
from must_tf.serving.server.models import Model
from must_tf.serving.server.reading import RequestLimits
from must_tf.serving.server.service import Service

SAMPLES = 3  # photos that the page offers
BACKLOG = 1024  # connections that the system holds until they are accepted


class ServerOptions(NamedTuple):
    """Choices of `must serve`."""

    host: str
    port: int
    limits: RequestLimits
    sizes: Sizes
    connections: int
    reload_seconds: float


class _Server(uvicorn.Server):
    """Reports that it is not ready as soon as it is asked to stop, and then ends without an error."""

    def __init__(self, config: uvicorn.Config, service: Service):
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins to stop; requests that were accepted are still answered. A second Ctrl-C does not wait for them."""
        del frame
        if not self.should_exit:
            waiting = len(self.server_state.tasks)
            answers = f"; requests still being answered: {waiting}. Press Ctrl-C again not to wait" if waiting else ""
            # Not by `print`, which may be interrupted itself. Stderr may be closed; if it was at the
            # start, its number may be a connection's.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                os.write(sys.stderr.fileno(), f"stopping{answers}\n".encode())
        self._service.is_ready = False
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def run(exports: Sequence[str], options: ServerOptions) -> None:
    """Serves until the process is asked to stop.

    Raises:
      UserError: an export cannot be loaded, or the port is taken.
    """
    roots = models.named(exports)
    with _listener(options.host, options.port) as listener:
        metrics = Metrics()
        loaded = {name: Model(name, root, options.sizes, metrics.batch) for name, root in roots.items()}
        service = Service(loaded, options.limits, metrics)
        token = os.environ.get(TOKEN, "")
        application = app.build(service, token, [companions.sample(number) for number in range(SAMPLES)])
        application.router.lifespan_context = _lifespan(service, options.reload_seconds, listener, token)
        logging.basicConfig(stream=sys.stderr, format="%(levelname)s: %(message)s")
        _Server(configuration(application, options), service).run(sockets=[listener])


def configuration(application: Starlette, options: ServerOptions) -> uvicorn.Config:
    """Returns uvicorn's settings."""
    return uvicorn.Config(
        application,
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        limit_concurrency=options.connections,
        timeout_graceful_shutdown=int(options.limits.seconds),
    )


def _listener(host: str, port: int) -> socket.socket:
    """Returns a bound socket.

    Raises:
      UserError: the address cannot be used.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise UserError(f"cannot listen at {host}, port {port} ({error}). Give another --port or --host.") from None
    return listener


def _lifespan(service: Service, reload_seconds: float, listener: socket.socket, token: str) -> app.Lifespan:
    host, port = listener.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    @contextlib.asynccontextmanager
    async def lifespan(application: Starlette) -> AsyncIterator[None]:
        del application
        listener.listen(BACKLOG)  # clients can connect as soon as they read the address below
        for name, model in service.models.items():
            print(f"{name}, version {model.current.number}: {address}/v1/models/{name}", flush=True)
        print(f"The page is at {address}/ . Stop with Ctrl-C.", flush=True)
        if not token and not ipaddress.ip_address(host).is_loopback:
            print(f"warning: anyone who reaches {address} can use the models. Set {TOKEN}.", file=sys.stderr)
        refreshing = asyncio.create_task(service.refresh(reload_seconds))
        yield
        refreshing.cancel()
        for model in service.models.values():
            await model.current.batcher.close()

    return lifespan
