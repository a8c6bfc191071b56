"""The command `must serve`: exports over HTTP."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from must_tf.cli.flags import ServeFlags, parse_serve
from must_tf.common.errors import UserError, exit_on_user_error


def main(arguments: Sequence[str]) -> None:
    """Parses the flags and serves."""
    run(parse_serve(arguments))


def run(flags: ServeFlags) -> None:
    """Serves until the process is asked to stop.

    Raises:
      UserError: a flag is out of range, a package is missing, an export cannot be loaded, or the port is taken.
    """
    for name in ("batch_size", "queue", "connections", "max_request_bytes", "max_request_seconds", "reload_seconds"):
        if getattr(flags, name) <= 0:
            raise UserError(f"--{name}={getattr(flags, name)} must be above 0.")
    try:
        from must_tf.serving.server import command
        from must_tf.serving.server.batching import Sizes
        from must_tf.serving.server.reading import RequestLimits
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed. Install it with: pip install 'must-tf[serve]'") from None
    options = command.ServerOptions(
        flags.host,
        flags.port,
        RequestLimits(flags.max_request_bytes, flags.max_request_seconds),
        Sizes(flags.batch_size, flags.queue),
        flags.connections,
        flags.reload_seconds,
    )
    command.run(flags.exports, options)


def cli(flags: ServeFlags) -> None:
    """Serves and ends the process with an exit code."""
    sys.exit(exit_on_user_error(lambda: run(flags)))
