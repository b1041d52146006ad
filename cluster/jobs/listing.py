"""Which files of a working tree a job may get: regular files inside it, as git lists them, none that may hold keys or data."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from unbraid.cluster.jobs.key_files import is_private_key, matches, may_hold_keys
from unbraid.datasets.untrusted.text import in_one_line
from unbraid.trainers.errors import TrainingError

DATA = ("*.tar", "*.tar.gz", "*.tgz", "*.zip", "*.pt", "*.pth", "*.ckpt", "*.safetensors", "*-ubyte", "*-ubyte.gz", "*.mat")
"""Names of files with data and weights, which belong on S3."""
CACHES = (".git", ".venv", ".unbraid", "__pycache__", "node_modules")
RESULTS = ("runs", "campaigns")
"""Folders that are left out of a tree without git: caches anywhere, results at its top."""
GIT_SECONDS = 120
GIT_KEPT = (
    "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_EXEC_PATH", "GIT_CEILING_DIRECTORIES",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
)  # fmt: skip
WHY_GIT = "without it nobody knows what .gitignore keeps here; repair that, or name a folder outside of it with --working-dir"
MOST_FILES = 100_000
"""Links to folders of the tree multiply its files."""


class TreeError(TrainingError):
    """A working tree cannot be uploaded; the message names the files that prevent it."""


class Reason(Enum):
    """Why a file is left out, and what to do about it."""

    KEYS = "files that may hold keys", "; --include EXAMPLE uploads it on purpose"
    DATA = "files of data or weights", "; they belong on S3, and --include EXAMPLE uploads it on purpose"
    FOLDERS = "folders of results, caches and other checkouts", ""
    LINKS_OUT = "links that lead out of the tree", "; copy what they lead to into the tree"
    LINKS = "links to files that are not uploaded", ""
    SPECIAL = "no regular files", ""
    UNREADABLE = "files that cannot be read", ""
    NAMES = "names that are not UTF-8, which a zip cannot hold", "; rename them"
    SUBMODULES = "submodules that are not checked out", "; git submodule update --init"


@dataclass
class TreeFiles:
    """The files of a tree.

    Attributes:
        taken: each file's name, relative to the tree, and the regular file that has its content.
        left_out: names by the reason.
    """

    taken: dict[Path, Path] = field(default_factory=dict)
    left_out: dict[Reason, list[Path]] = field(default_factory=dict)

    def leave_out(self, name: Path, reason: Reason) -> None:
        """Note a file that no job gets."""
        self.left_out.setdefault(reason, []).append(name)

    def report(self) -> list[str]:
        """Say what was left out: a line for each reason, with the number of files and one of them."""
        lines = []
        for reason, names in self.left_out.items():
            (what, remedy), example = reason.value, in_one_line(min(names))
            lines.append(f"left out {len(names):,}: {what}, such as {example}{remedy.replace('EXAMPLE', example)}")
        return lines


def list_tree(folder: Path, include: Sequence[str] = ()) -> TreeFiles:
    """List the files of a working tree.

    Where it, or a folder above it, is a git repository, these are the files that git tracks or does not ignore, in submodules
    and nested repositories too. A link is followed where it leads to a file, or a folder, that is listed itself.

    Args:
        include: patterns of files that are taken although their names say that they may hold keys or data, see
            :func:`unbraid.cluster.jobs.key_files.matches`.

    Raises:
        TreeError: when git does not list the files of a repository: then nobody knows what it ignores.
    """
    root = folder.resolve()
    if not root.is_dir():
        return TreeFiles()
    selection = _Selection(root, include)
    if any(os.path.lexists(parent / ".git") for parent in (root, *root.parents)):
        selection.add(_git_names(root))
    else:
        selection.add(_walked(root, selection.found))
    return selection.finished()


def list_package(folder: Path) -> TreeFiles:
    """List the files of an installed package, of which git knows nothing."""
    selection = _Selection(folder.resolve(), ())
    selection.add(_walked(selection.root, selection.found))
    return selection.finished()


class _Selection:
    """Chooses among the names of a tree.

    Args:
        root: the tree, a path without links.
        include: patterns of files that are taken whatever their names say.
    """

    def __init__(self, root: Path, include: Sequence[str]) -> None:
        self.root = root
        self.found = TreeFiles()
        self._include = include
        self._links: list[Path] = []

    def add(self, names: Iterable[Path]) -> None:
        """Take the regular files among some names, and keep the links for later."""
        for name in dict.fromkeys(names):
            path = self.root / name
            try:
                mode = path.lstat().st_mode
            except (FileNotFoundError, NotADirectoryError):
                continue  # git's index names it still
            except OSError:
                self.found.leave_out(name, Reason.UNREADABLE)
                continue
            if not _is_utf8(name):
                self.found.leave_out(name, Reason.NAMES)
            elif stat.S_ISLNK(mode) or os.path.realpath(path.parent) != str(path.parent):
                self._links.append(name)
            elif stat.S_ISDIR(mode):
                self.found.leave_out(name, Reason.SUBMODULES)
            elif not stat.S_ISREG(mode):
                self.found.leave_out(name, Reason.SPECIAL)
            else:
                self._take(name, path)

    def finished(self) -> TreeFiles:
        """Follow the links, and return all files, in order of their names."""
        own = dict(self.found.taken)
        for link in self._links:
            self._follow(link, link, own, ())
        self.found.taken = dict(sorted(self.found.taken.items()))
        return self.found

    def _take(self, name: Path, path: Path) -> None:
        """Take a regular file, unless its name or its first bytes say that it must stay.

        Args:
            name: in the tree; may lead through links.
            path: without links.
        """
        included = matches(name, self._include)
        try:
            secret = not included and (may_hold_keys(name) or is_private_key(_beginning(path)))
        except OSError:
            self.found.leave_out(name, Reason.UNREADABLE)
            return
        if secret:
            self.found.leave_out(name, Reason.KEYS)
        elif not included and matches(name, DATA):
            self.found.leave_out(name, Reason.DATA)
        else:
            self.found.taken[name] = path
            if len(self.found.taken) > MOST_FILES:
                raise TreeError(f"{self.root}: has more than {MOST_FILES:,} files, links followed; name them in .gitignore")

    def _follow(self, name: Path, link: Path, own: Mapping[Path, Path], way: tuple[Path, ...]) -> None:
        """Take what a link leads to, under the link's name: Ray unpacks a zip without its links.

        Args:
            name: that the content gets.
            link: name of the link itself.
            own: the files of the tree that no link leads to; nothing else is taken through a link.
            way: the folders that were entered by links on the way to this one, which may lead back to them.
        """
        target = Path(os.path.realpath(self.root / link))
        if not target.is_relative_to(self.root):
            self.found.leave_out(name, Reason.LINKS_OUT)
            return
        inner = target.relative_to(self.root)
        if inner in own:
            self._take(name, own[inner])
            return
        if inner in way:
            return
        files, links = ([other for other in names if other.is_relative_to(inner)] for names in (own, self._links))
        if not files and not links:
            self.found.leave_out(name, Reason.LINKS)
        for other in files:
            self._take(name / other.relative_to(inner), own[other])
        for other in links:
            self._follow(name / other.relative_to(inner), other, own, (*way, inner))


def read_file(path: Path) -> tuple[bytes, int]:
    """Read a file of a tree that was listed as a regular one, and must still be.

    Returns:
        Its content and its mode.

    Raises:
        TreeError: when it is another kind of file by now, or cannot be read.
    """
    try:
        with _opened(path) as file:
            return file.read(), stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except OSError as error:
        raise TreeError(f"{path}: {error.strerror or error}; it was a file of the tree when this began: try again") from None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file, not following a link and not waiting for a FIFO's other end."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("is no regular file")
        yield file


def _beginning(path: Path) -> bytes:
    with _opened(path) as file:
        return file.read(64)


def _is_utf8(name: Path) -> bool:
    try:
        return bool(str(name).encode())
    except UnicodeEncodeError:
        return False


def _walked(root: Path, found: TreeFiles) -> Iterator[Path]:
    """List the files of a tree that git knows nothing of, without caches and results."""

    def unreadable(error: OSError) -> None:
        found.leave_out(Path(error.filename).relative_to(root), Reason.UNREADABLE)

    for folder, folders, files in os.walk(root, onerror=unreadable):
        here = Path(folder).relative_to(root)
        never = [name for name in folders if name in CACHES or (name in RESULTS and here == Path())]
        folders[:] = sorted(set(folders) - set(never))
        for name in set(never) - {"__pycache__"}:
            found.leave_out(here / name, Reason.FOLDERS)
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        yield from (here / name for name in (*files, *links) if not name.endswith(".pyc"))


def _git_names(root: Path, below: Path = Path()) -> Iterator[Path]:
    """List what git tracks or does not ignore below a folder of a tree."""
    for name in _ls_files(root / below):
        path = root / below / name
        # a submodule and a nested repository are one entry of the repository around them
        if os.path.realpath(path) == str(path) and os.path.lexists(path / ".git"):
            yield from _git_names(root, below / name)
        else:
            yield below / name


def _ls_files(folder: Path) -> list[Path]:
    command = ["git", "-c", "core.fsmonitor=false", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    # GIT_DIR and the like name another repository than the folder's
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in GIT_KEPT}
    try:
        done = subprocess.run(
            command, cwd=folder, env=variables | {"LC_ALL": "C"}, capture_output=True, timeout=GIT_SECONDS, check=False
        )
    except FileNotFoundError:
        raise TreeError(f"{folder}: is in a git repository, and git is not installed: {WHY_GIT}") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise TreeError(f"{folder}: git does not list its files ({in_one_line(error)}): {WHY_GIT}") from None
    if done.returncode != 0:
        line = in_one_line(os.fsdecode(done.stderr), 400)
        trust = ""
        if b"dubious ownership" in done.stderr:
            trust = f". It belongs to another user; where you trust it: git config --global --add safe.directory {folder}"
        raise TreeError(f"{folder}: git does not list its files ({line}): {WHY_GIT}{trust}")
    return [Path(os.fsdecode(name)) for name in done.stdout.split(b"\0") if name]
