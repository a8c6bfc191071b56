"""Prints rate and memory of every source: listing few and many images, and converting few.

    python -m benchmarks.sources [NAME ...] [--few 2000] [--many 32000] [--out table.md]

Images are tiny, so what is measured is the source, not the decoding. Seconds are those of the processor: on a machine
that does other things too they are more, but not many times as many. The memory of a listing must not grow with the
images: its peak is compared.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from benchmarks.sources.layouts import LAYOUTS
from must_tf.common.errors import UserError, exit_on_user_error, nearest
from tfrecords_tools.convert import run as convert
from tfrecords_tools.sources import Source

FLAT = 1.15  # largest ratio of the peaks of many and of few images
HEAD = ("source", "listed/s", "converted/s", "peak MB, few", "peak MB, many", "")


class Cost(NamedTuple):
    """Processor seconds and peak memory of one process."""

    seconds: float
    megabytes: float


def _list(source: Source, folder: str) -> None:
    del folder
    source.find()


def _convert(source: Source, folder: str) -> None:
    convert.convert(source, convert.Options(f"{folder}/out", workers=1))


def _child(work: Callable[[Source, str], None], source: Source, folder: str, pipe: object) -> None:
    start = time.process_time()
    work(source, folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pipe.send(Cost(time.process_time() - start, peak))  # type: ignore[attr-defined]


def cost(work: Callable[[Source, str], None], source: Source, folder: str) -> Cost:
    """Measures a piece of work in a process of its own, which has all imports already.

    Raises:
      UserError: it failed.
    """
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(False)
    process = context.Process(target=_child, args=(work, source, folder, sending))
    process.start()
    sending.close()
    try:
        return receiving.recv()
    except EOFError:
        raise UserError(f"{type(source).__name__} failed in {folder}, see above.") from None
    finally:
        process.join()


def row(name: str, few: int, many: int) -> list[str]:
    """Measures one source."""
    with tempfile.TemporaryDirectory() as few_folder, tempfile.TemporaryDirectory() as many_folder:
        small = LAYOUTS[name](Path(few_folder), few)
        listed, converted = cost(_list, small, few_folder), cost(_convert, small, few_folder)
        large = cost(_list, LAYOUTS[name](Path(many_folder), many), many_folder)
    flat = "flat" if large.megabytes <= FLAT * listed.megabytes else "GROWS"
    rates = (many / large.seconds, few / converted.seconds)
    return [name, *(f"{rate:,.0f}" for rate in rates), f"{listed.megabytes:.0f}", f"{large.megabytes:.0f}", flat]


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Sources; all without one.")] = None,
    few: Annotated[int, typer.Option(help="Images that are listed and converted.")] = 2000,
    many: Annotated[int, typer.Option(help="Images that are listed.")] = 32000,
    out: Annotated[str, typer.Option(help="File for the table, besides the terminal.")] = "",
) -> None:
    """Measures the sources one after another."""
    wanted = names or [*LAYOUTS]
    for name in wanted:
        if name not in LAYOUTS:
            raise UserError(f"no source {name!r}.{nearest(name, LAYOUTS)} There are {', '.join(LAYOUTS)}.")
    lines = ["| " + " | ".join(HEAD) + " |", "|---|---|---|---|---|---|"]
    for name in wanted:
        lines.append("| " + " | ".join(row(name, few, many)) + " |")
        typer.echo(lines[-1])
        if out:
            Path(out).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(exit_on_user_error(lambda: typer.run(main)))
