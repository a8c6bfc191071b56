"""The command `must`, which has every command of the project: `must train ...` is `must-train ...`.

Nothing but the chosen command is imported, and nothing large before signals are handled: Ctrl-C would show a traceback.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence

from must_tf.common import interrupts

# Command -> its entry point, and a line for the help.
COMMANDS = {
    "run": ("must_tf.loop.command:run", "the whole loop on your data, from a plan file"),
    "predict": ("must_tf.cli.entry_points:predict", "let a trained model predict images"),
    "train": ("must_tf.cli.entry_points:train", "train and evaluate a teacher, a student or a transfer"),
    "export": ("must_tf.cli.entry_points:export", "export a trained run for serving"),
    "serve": ("must_tf.cli.entry_points:serve", "serve exports over HTTP, with a page to try them"),
    "transfer": ("must_tf.cli.entry_points:transfer", "compare checkpoints by fine-tuning them"),
    "doctor": ("must_tf.cli.entry_points:doctor", "check the installation"),
    "convert": ("", "convert a dataset into records"),
    "merge": ("", "merge record sets"),
    "label": ("", "let teachers add the labels that images lack"),
    "evaluate": ("", "measure teachers on images with real labels"),
    "stats": ("", "judge pseudo labels"),
    "check": ("", "check records"),
    "inspect": ("", "look at records"),
    "export-coco": ("", "write records as COCO files"),
    "export-yolo": ("", "write records as a YOLO dataset"),
}
RECORDS = "tfrecords_tools.__main__:main"  # of the commands without an entry point of their own; it reads their name

HELP = """Usage: must COMMAND [OPTIONS]

Multi-task self-training for TensorFlow Model Garden.

Commands:
{commands}

Options of a command: must COMMAND --help"""


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Runs the command that the first argument names; returns its exit code."""
    with interrupts.at_once():
        return _command(arguments)()


def _command(arguments: Sequence[str] | None) -> Callable[[], int | None]:
    """Imports the command that the first argument names. Returns it, or one that only gives an exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        print(HELP.format(commands="\n".join(f"  {name:<13}{text}" for name, (_, text) in COMMANDS.items())))
        return lambda: 0
    name = words[0]
    if name == "--version":
        from must_tf import __version__

        print(__version__)
        return lambda: 0
    if name in ("--each_line", "--fork_each_line"):  # other commands of the project start these
        from must_tf.common import shared_process

        return lambda: (shared_process.run if name == "--each_line" else shared_process.run_forks)(main)
    if name not in COMMANDS:
        from must_tf.common.errors import nearest

        print(f"error: {name!r} is not a command.{nearest(name, COMMANDS)} See must --help.", file=sys.stderr)
        return lambda: 2
    entry = COMMANDS[name][0]
    sys.argv[:] = [f"must {name}", *words[1:]] if entry else ["must", *words]
    module, _, function = (entry or RECORDS).partition(":")
    return getattr(importlib.import_module(module), function)


if __name__ == "__main__":
    sys.exit(main())
