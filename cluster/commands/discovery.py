"""Groups whose commands are the modules of a folder, each imported when its command is used."""

from __future__ import annotations

import importlib
import re
from importlib import resources
from typing import Any

import click


class FolderGroup(click.Group):
    r"""A group whose commands are the modules of a package: a module that is added is a command, without an edit elsewhere.

    A module is a command when its docstring begins with the words that call it, as in ``\"""``unbraid jobs``: list and stop``.
    The rest of that line is the short help in the group's help, which therefore imports none of them. A module whose docstring
    begins otherwise (shared options, tables) is no command. The module ``NAME`` holds a :class:`click.Command` called NAME;
    an underscore in a module's name is a dash in the command's.

    Args:
        package: dotted name of the folder.
    """

    def __init__(self, *arguments: Any, package: str, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.package = package
        self._short_helps: dict[str, str] | None = None

    @property
    def short_helps(self) -> dict[str, str]:
        """Each command's name and short help, in order of names."""
        if self._short_helps is None:
            self._short_helps = short_helps(self.package)
        return self._short_helps

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all commands, importing none."""
        return list(self.short_helps)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name in self.short_helps and cmd_name not in self.commands:
            self.commands[cmd_name] = load_command(self.package, cmd_name)
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first word names; the answer to a wrong word names the nearest command."""
        if not (args[0] in self.short_helps or args[0].startswith("-") or ctx.resilient_parsing):
            from unbraid.trainers.config.words import nearest

            hint = nearest(args[0], self.short_helps) or f"; expected one of {', '.join(self.short_helps)}"
            raise click.UsageError(f"no such command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands of the help."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.short_helps.items()))


def short_helps(package: str) -> dict[str, str]:
    """Read each command's name and short help from the first line of its module: ``NAME.py``, or ``NAME/__init__.py``."""
    found = {}
    for entry in resources.files(package).iterdir():
        source = entry / "__init__.py" if entry.is_dir() else entry
        if not (source.name.endswith(".py") and source.is_file()):
            continue
        name = entry.name.removesuffix(".py").replace("_", "-")
        with source.open(encoding="utf-8") as file:
            opening = re.match(rf'"""``unbraid (?:\S+ )*{re.escape(name)}``: (.+?)\.?(?:"""|$)', file.readline())
        if opening:
            found[name] = opening[1][0].upper() + opening[1][1:]
    return dict(sorted(found.items()))


def load_command(package: str, name: str) -> click.Command:
    """Import a module of a package and return its command.

    Raises:
        LookupError: when the module holds no command of its name.
    """
    module = importlib.import_module(f"{package}.{name.replace('-', '_')}")
    for member in vars(module).values():
        if isinstance(member, click.Command) and member.name == name:
            return member
    raise LookupError(f"{module.__file__}: its docstring begins as a command's does, but it defines no click command {name!r}")
