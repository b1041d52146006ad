"""Finds the sets that ``unbraid data`` can fetch, pack and draw: a module of this folder declares what it offers.

A module named ``market1501.py`` offers the kind ``market1501``, one named ``mnist_cdcb.py`` the kind ``mnist-cdcb``:

    PACK = PackKind(read_market1501, example="~/Market-1501 --keypoints train.csv")

makes it a kind of ``unbraid data pack``, ``FETCH`` one of ``unbraid data fetch``, ``MAKE`` one of ``unbraid data make``. The
keyword-only parameters of the declared function become the command's options, each annotated with an :class:`Option`; the
module's docstring becomes its help. Kinds are listed without importing their modules, so that help answers at once.
"""

import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.abc import InspectLoader
from pathlib import Path
from typing import ClassVar, TypeVar

from unbraid.datasets import sources
from unbraid.datasets.sources.source import Source


@dataclass(frozen=True)
class Option:
    """Describes a keyword-only parameter that is an option of the command: ``Annotated[int, Option("…", least=1)]``.

    Attributes:
        help: one sentence.
        least, most: bounds of a number, both inclusive.
    """

    help: str
    least: int | None = None
    most: int | None = None


def name_of_kind(kind: str, path: Path, options: Mapping[str, object]) -> str:
    """Return the kind: the name of a set of which there is only one."""
    return kind


def name_of_path(kind: str, path: Path, options: Mapping[str, object]) -> str:
    """Return the name of the raw folder or archive, without its suffixes."""
    return path.stem.split(".")[0]


def name_with_size(kind: str, path: Path, options: Mapping[str, object]) -> str:
    """Return the kind with the size of its images: ``people-128x64``."""
    size = options["size"]
    assert isinstance(size, tuple)
    return f"{kind}-{'x'.join(map(str, size))}"


@dataclass(frozen=True)
class FetchKind:
    """Raw files that ``unbraid data fetch KIND`` gets from public mirrors.

    Attributes:
        fetch: called with the destination, a folder that may have the files already or None, and a function for reports.
    """

    DECLARATION: ClassVar[str] = "FETCH"

    fetch: Callable[[Path, Path | None, Callable[[str], None]], Path]


@dataclass(frozen=True)
class PackKind:
    """Raw files that ``unbraid data pack KIND`` reads.

    Attributes:
        read: called with the path of the raw files, the name of the set, and the options.
        example: arguments of the command, for its help.
        default_name: the set's name where the user gives none, from the kind, the path and the options.
        fetched: the kind whose fetched files are read where the user names no path; None: this kind's own.
    """

    DECLARATION: ClassVar[str] = "PACK"

    read: Callable[..., Source]
    example: str
    default_name: Callable[[str, Path, Mapping[str, object]], str] = name_of_kind
    fetched: str | None = None


@dataclass(frozen=True)
class MakeKind:
    """A synthetic set that ``unbraid data make KIND`` draws.

    Attributes:
        make: called with the name of the set and the options, among them ``size``.
        example: arguments of the command, for its help.
    """

    DECLARATION: ClassVar[str] = "MAKE"

    make: Callable[..., Source]
    example: str


Kind = FetchKind | PackKind | MakeKind
Form = TypeVar("Form", bound=Kind)


def kinds(form: type[Kind]) -> dict[str, str]:
    """Map each kind of a form to the first line of its module's docstring, by reading the modules without importing them."""
    found = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(sources.__path__)):
        code = _source_code(name)
        if re.search(rf"^{form.DECLARATION}\b.*=", code, re.MULTILINE):
            opening = re.match(r'"""(.+?)\.?(?:"""|$)', code, re.MULTILINE)
            found[name.replace("_", "-")] = opening[1] if opening else ""
    return found


def load_kind(kind: str, form: type[Form]) -> tuple[Form, str]:
    """Import the module of a kind.

    Returns:
        What the module declares, and its docstring.

    Raises:
        TypeError: when the declaration is of another type.
    """
    module = importlib.import_module(f"{sources.__name__}.{kind.replace('-', '_')}")
    declared = getattr(module, form.DECLARATION)
    if not isinstance(declared, form):
        raise TypeError(f"{module.__name__}.{form.DECLARATION} is {declared!r}; it must be a {form.__name__}")
    return declared, module.__doc__ or ""


def _source_code(name: str) -> str:
    spec = importlib.util.find_spec(f"{sources.__name__}.{name}")
    assert spec is not None
    assert isinstance(spec.loader, InspectLoader)
    return spec.loader.get_source(spec.name) or ""
