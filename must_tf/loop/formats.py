"""The datasets of a plan: their keys are the options of `must convert`.

A plan file is checked before TensorFlow is imported, so what needs it is imported in the functions.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
from typer.models import OptionInfo

from must_tf.common.errors import UserError, nearest
from must_tf.common.text import brief
from tfrecords_tools.cli import convert, datasets, drawn

if TYPE_CHECKING:
    from tfrecords_tools.sources import Source

RECORDS = "records"  # the format of a dataset that is converted already; its only option is `records`
# Options of a conversion that the loop sets itself.
SET_BY_THE_LOOP = ("out", "json", "part", "validation_share", "exclude", "runner", "runner_options")

Options = Mapping[str, Any]  # of a dataset in the plan, without `format` and the plan's own keys


class NumberKind(NamedTuple):
    """A kind of numbers in a plan: the types that YAML makes of them, and their name in messages."""

    types: tuple[type, ...]
    name: str


NUMBERS = {int: NumberKind((int,), "a whole number"), float: NumberKind((int, float), "a number")}


class ConvertOption(NamedTuple):
    """One option of a conversion.

    Attributes:
      flag: as on the command line, like "--full-masks".
      key: as in a plan, like "full_masks".
      parameter: of the function that makes the source; "" for an option that all conversions share.
      is_required: whether it has no default.
      kind: of its value, or of each of them; `bool` if it takes none on the command line.
      is_list: whether it can be repeated.
    """

    flag: str
    key: str
    parameter: str
    is_required: bool
    kind: type
    is_list: bool

    @property
    def is_flag(self) -> bool:
        """True if the option takes no value on the command line."""
        return self.kind is bool


def formats() -> dict[str, Callable[..., Any]]:
    """Returns the commands below `must convert` by name."""
    commands = [command for module in (convert, datasets, drawn) for command in module.app.registered_commands]
    callbacks = [(command.name, command.callback) for command in commands if command.callback]
    return dict(sorted((name or callback.__name__.replace("_", "-"), callback) for name, callback in callbacks))


def options(form: str) -> dict[str, ConvertOption]:
    """Returns the options of a format by their keys in a plan, without those that the loop sets."""
    if form == RECORDS:
        return {RECORDS: ConvertOption("", RECORDS, "", True, str, False)}
    command = formats()[form]
    own = inspect.signature(command.__wrapped__).parameters  # type: ignore[attr-defined]  # set by functools.wraps
    listed = [
        _option(parameter, own)
        for parameter in inspect.signature(command).parameters.values()
        if parameter.annotation is not typer.Context
    ]
    return {option.key: option for option in listed if option.key not in SET_BY_THE_LOOP}


def _option(parameter: inspect.Parameter, own: Mapping[str, Any]) -> ConvertOption:
    kind, *extra = typing.get_args(parameter.annotation) or (parameter.annotation,)
    # In an annotation, typer keeps the first of an option's names as its default.
    infos = [info for info in extra if isinstance(info, OptionInfo)]
    declared = [name for info in infos for name in (info.default, *(info.param_decls or ()))]
    names = [name for name in declared if isinstance(name, str) and name.startswith("--")]
    flag = next(iter(names), f"--{parameter.name.replace('_', '-')}")
    return ConvertOption(
        flag,
        flag.removeprefix("--").replace("-", "_"),
        parameter.name if parameter.name in own else "",
        parameter.default is inspect.Parameter.empty,
        next((plain for plain in (bool, int, float) if kind is plain), str),
        "list" in str(kind),
    )


def problems(where: str, form: Any, given: Options, others: Sequence[str] = ()) -> list[str]:
    """Returns everything that is wrong with a dataset's format and its keys.

    Args:
      where: names the dataset in the messages.
      form: its format.
      given: its options.
      others: the keys of a dataset that are no options, for a message about a misspelt one.
    """
    known = (*formats(), RECORDS)
    if form not in known:
        hint = nearest(str(form), known)
        return [f"{where}: format {brief(form)} is unknown.{hint} Known: {', '.join(known)}."]
    possible = options(form)
    keys = [*others, *possible]
    wrong = [
        f"{where}: {form} has no option {brief(key)}.{nearest(str(key), keys)} Known: {', '.join(keys)}."
        for key in given
        if key not in possible
    ]
    missing = [key for key, option in possible.items() if option.is_required and key not in given]
    wrong += [f"{where}: {form} needs {brief(key)}, the option {possible[key].flag or RECORDS}." for key in missing]
    wrong += [
        f"{where}.{key}: {_misfit(value, possible[key])}"
        for key, value in given.items()
        if key in possible and _misfit(value, possible[key])
    ]
    return wrong


def _misfit(value: Any, option: ConvertOption) -> str:
    """Returns why the value does not fit the option; "" if it does."""
    if option.is_flag and not isinstance(value, bool):
        return f"must be true or false, not {brief(value)}."
    if option.is_list:
        items = value if isinstance(value, list) else [value]
        return "" if all(isinstance(item, str) for item in items) else f"must be a list of texts, not {brief(value)}."
    if isinstance(value, (list, dict)) or value is None:
        return f"must be one value, not {brief(value)}."
    if option.kind is str and isinstance(value, bool):  # YAML's meaning of a folder called `no`
        return f"must be a text, not {brief(value)}. Put it in quotes."
    if option.kind in NUMBERS and type(value) not in NUMBERS[option.kind].types:
        return f"must be {NUMBERS[option.kind].name}, not {brief(value)}."
    return ""


def arguments(form: str, given: Options) -> list[str]:
    """Returns the words of the conversion after `must convert`, without the options that the loop sets."""
    words = [form]
    for key, value in given.items():
        option = options(form)[key]
        if option.is_flag:
            words += [option.flag] if value else []
        else:
            for item in value if isinstance(value, list) else [value]:
                words += [option.flag, str(item)]
    return words


def source(where: str, form: str, given: Options) -> Source:
    """Returns the dataset's source. Raises UserError if the options do not fit; `where` names the dataset."""
    command, known = formats()[form], options(form)
    shared = {key: _parsed(value, known[key]) for key, value in given.items()}
    values = {known[key].parameter: value for key, value in shared.items() if known[key].parameter}
    with named(where):
        made = command.__wrapped__(**values)  # type: ignore[attr-defined]
        return convert.relabelled(made, shared)


@contextlib.contextmanager
def named(where: str) -> Iterator[None]:
    """Puts `where` before every problem of a UserError that is raised in the block."""
    try:
        yield
    except UserError as error:
        raise UserError("\n".join(f"{where}: {problem}" for problem in error.problems)) from error


def _parsed(value: Any, option: ConvertOption) -> Any:
    """Returns the value as the command line would give it. YAML makes numbers and dates of texts that look so."""
    if option.is_list:
        return value if isinstance(value, list) else [value]
    return option.kind(value)


def folder_of(records: str) -> str:
    """Returns the folder of a dataset that is converted already. Raises UserError if it has no manifest."""
    from must_tf.data import manifest

    folder = records if os.path.isdir(records) else os.path.dirname(records)
    manifest.read(folder)
    return folder


def state(where: str, form: str, given: Options) -> str:
    """Returns a hash of the dataset's files by name, size and time. Raises UserError if there are none."""
    if form == RECORDS:
        return ""
    from tfrecords_tools.convert import run as runner

    with named(where):
        encoder = runner.Encoder(source(where, form, given))
        return runner.fingerprint(encoder, encoder.find(), 1)
