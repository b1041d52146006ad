"""Groups that offer one command for each kind that a module of ``datasets/sources`` declares."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import click

from unbraid.cluster.commands.discovery import FolderGroup
from unbraid.datasets import sources
from unbraid.datasets.sources.kinds import Kind, Option, kinds


class Size(click.ParamType[tuple[int, int]]):
    """``HEIGHTxWIDTH`` in pixels."""

    name = "HxW"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        match = re.fullmatch(r"(\d{1,9})x(\d{1,9})", str(value))
        if match is None or 0 in (int(match[1]), int(match[2])):
            self.fail(f"{value!r} is not HEIGHTxWIDTH, such as 128x64", param, ctx)
        from unbraid.datasets.shards.index import LARGEST_VALUE

        if 3 * int(match[1]) * int(match[2]) > LARGEST_VALUE:
            self.fail(f"{value!r} is larger than any image of a set: at most {LARGEST_VALUE // 3:,} pixels", param, ctx)
        return int(match[1]), int(match[2])


class Share(click.FloatRange):
    """A number within bounds; NaN lies within none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return float(number)


class KindGroup(FolderGroup):
    """Offers a command for each kind of a form, in place of one for each module of a folder.

    Args:
        form: what a module of ``datasets/sources`` declares to be listed.
        command: makes the command of a kind.
    """

    def __init__(self, *arguments: Any, form: type[Kind], command: Callable[[str], click.Command], **attributes: Any) -> None:
        super().__init__(*arguments, package=sources.__name__, options_metavar="", **attributes)
        self.form = form
        self.command_of = command

    @property
    def short_helps(self) -> dict[str, str]:
        """Each kind and its short help, in order of names."""
        return kinds(self.form)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one kind and make its command."""
        return self.command_of(cmd_name) if cmd_name in self.short_helps else None


def help_of(docstring: str, command: str, example: str) -> str:
    """Turn a module's docstring into the help of a command, with an example."""
    return f"{docstring.strip().replace('``', '`')}\n\n\b\nExample:\n  unbraid data {command} {example}"


def options_of(function: Callable[..., object]) -> list[click.Parameter]:
    """Make a command's options from the keyword-only parameters of a function, annotated with :class:`Option`."""
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    return [_option(p.name, hints[p.name], p.default) for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]


def _option(name: str, hint: Any, default: Any) -> click.Option:
    if get_origin(hint) is not Annotated:
        raise TypeError(f"{name}: annotate the option as Annotated[{hint}, Option(...)]")
    kind, described = get_args(hint)[:2]
    flag = f"--{name.replace('_', '-')}"
    if kind is bool:
        return click.Option([flag], is_flag=True, help=described.help)
    if kind == tuple[Path, ...]:
        return click.Option([flag], type=click.Path(path_type=Path), multiple=True, help=described.help)
    shown = "x".join(map(str, default)) if isinstance(default, tuple) else default
    return click.Option([flag], type=_type(name, kind, described), default=shown, show_default=True, help=described.help)


def _type(name: str, kind: Any, described: Option) -> click.ParamType[Any]:
    inner = [argument for argument in get_args(kind) if argument is not type(None)] if type(None) in get_args(kind) else [kind]
    types: dict[Any, click.ParamType[Any]] = {
        int: click.IntRange(described.least, described.most),
        float: Share(described.least, described.most),
        str: click.STRING,
        Path: click.Path(path_type=Path),
        tuple[int, int]: Size(),
    }
    if inner[0] not in types:
        raise TypeError(f"{name}: an option cannot be of type {kind}; use one of {', '.join(map(str, types))}")
    return types[inner[0]]
