"""Command-line flags by typer, for commands without subcommands.

A dataclass declares the flags. Its docstring is the help text, and every field is a flag of the same name:

    @dataclasses.dataclass(frozen=True)
    class ExportFlags:
        \"\"\"Exports a trained run for serving.\"\"\"

        model_dir: Annotated[str, flag("--model_dir", "Run directory of train.py.")]

    flags = parse(ExportFlags, sys.argv[1:], "export.py", example="--model_dir=runs/student")

Flags are never abbreviated. A mistake ends the process with exit code 2 and suggests the nearest spelling.
"""

from __future__ import annotations

import collections
import dataclasses
import inspect
import os
import sys
import typing
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import typer
import typer.core

from must_tf.common import interrupts
from must_tf.common.errors import nearest

Flags = TypeVar("Flags")


class Command(typer.core.TyperCommand):
    """A command with options that stand once, unless they take several values.

    Click would use the last one silently: records that `--records` names first would be missing from the result.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the arguments. Raises click's UsageError for an option that is there again."""
        rest = super().parse_args(ctx, list(args))
        given = collections.Counter(self.make_parser(ctx).parse_args(args=list(args))[2])
        for parameter, count in given.items():
            single = not (getattr(parameter, "multiple", True) or getattr(parameter, "is_flag", True))
            if count > 1 and single:
                name = max(parameter.opts, key=len)
                joined = " `must merge` joins record sets." if name == "--records" else ""
                ctx.fail(f"{name} is given {count} times, but takes one value.{joined or ' Give it once.'}")
        return rest


def flag(name: str, text: str, metavar: str | None = None) -> Any:
    """Returns the description of a flag, for `Annotated`. Without a `metavar`, help shows the type of the value."""
    return typer.Option(name, help=text, metavar=metavar)


def argument(name: str, text: str) -> Any:
    """Returns the description of a value without a flag, for `Annotated`. Help shows it as `name`."""
    return typer.Argument(metavar=name, help=text, show_default=False)


def typed(program: str) -> str:
    """Returns the command that the user typed, like "must train" or "must-train"; `program` if it has another name."""
    name = os.path.basename(sys.argv[0])
    return name if name.startswith("must") else program


def parse(flags: type[Flags], arguments: Sequence[str], program: str, example: str = "") -> Flags:
    """Parses the arguments.

    Args:
      flags: a dataclass, see above.
      arguments: without the program's name.
      program: its name in the help text, unless `typed` knows better.
      example: arguments for the end of the help text.

    Raises:
      SystemExit: with code 2, after a message on stderr, if a flag or a value is wrong; with 0 after `--help`.
    """
    program, parsed = typed(program), list[Flags]()

    def command(**values: Any) -> None:
        parsed.append(flags(**values))

    command.__signature__ = _signature(flags)  # type: ignore[attr-defined]  # what typer reads
    # Plain text instead of rich's boxes: it can be copied, and importing rich would delay every start.
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(
        cls=Command,
        help=inspect.getdoc(flags),
        epilog=f"Example: {program} {example}" if example else None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )(command)
    try:
        with interrupts.at_once():  # typer would end without a word, or go on if Ctrl-C comes after the last flag
            app(list(arguments), prog_name=program)
    except SystemExit:
        if not parsed:
            raise
    return parsed[0]


def _signature(flags: Any) -> inspect.Signature:
    """Returns a function's signature with the dataclass's fields as keyword arguments."""
    hints = typing.get_type_hints(flags, include_extras=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Signature(
        [
            inspect.Parameter(field.name, kind, default=_default(field), annotation=_checked(hints[field.name]))
            for field in dataclasses.fields(flags)
        ]
    )


def _checked(hint: Any) -> Any:
    """Returns the annotation of a flag. Choices are checked here, because typer's message suggests no spelling."""
    kind, option = typing.get_args(hint)
    if typing.get_origin(kind) is not typing.Literal:
        return hint
    choices = typing.get_args(kind)

    def check(value: str) -> str:
        if value not in choices:
            guess = nearest(value, choices)
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(map(repr, choices))}.{guess}")
        return value

    metavar = f"<{'|'.join(choices)}>"
    return Annotated[str, typer.Option(*option.param_decls, help=option.help, metavar=metavar, callback=check)]


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
