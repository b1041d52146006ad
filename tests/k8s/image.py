"""What the image lacks of the source tree, read from its Dockerfile and the list of files that are sent to the builder."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "unbraid"
"""The folder of the installed package; its links point to the folders that hold the code."""


def image_findings(tree: Path, dockerfile: str, ignore: str) -> Iterator[str]:
    """Name what an installation in the image needs and does not get.

    Args:
        tree: the source tree that is the build's context.
        dockerfile: its instructions.
        ignore: the patterns of its ``.dockerignore``: everything is left out, then some entries are taken in again.
    """
    sent = {line.removeprefix("!") for line in ignore.splitlines() if line.startswith("!")}
    if "*" not in ignore.splitlines():
        yield "the .dockerignore does not leave out everything first: keys and data would be sent to the builder"
    copied = _copied(tree, dockerfile)
    for name in needed(tree):
        if name not in sent:
            yield f"{name}: is not sent to the builder; add !{name} to the .dockerignore"
        if copied.get(name) != name:
            yield f"{name}: is not copied to the same place in the image; add `COPY {name} {name}` to the Dockerfile"


def needed(tree: Path) -> list[str]:
    """Entries at the top of a tree that an installation reads: the package, what its links point to, and its metadata."""
    links = [path for path in (tree / PACKAGE).iterdir() if path.is_symlink()]
    folders = [path.resolve().relative_to(tree.resolve()).parts[0] for path in links]
    project = tomllib.loads((tree / "pyproject.toml").read_text())["project"]
    return sorted({PACKAGE, *folders, "pyproject.toml", "constraints.txt", project["readme"], *project["license-files"]})


def _copied(tree: Path, dockerfile: str) -> dict[str, str]:
    """Where COPY instructions put each source, relative to the working directory.

    A file keeps its name in a target that is a folder; of a folder, the content is copied, so its name is lost.
    """
    copied: dict[str, str] = {}
    for line in dockerfile.splitlines():
        if line.startswith("COPY "):
            *sources, target = [word for word in line.split()[1:] if not word.startswith("--")]
            into = target == "." or target.endswith("/")
            copied |= {name: str(Path(target) / name) if into and (tree / name).is_file() else target for name in sources}
    return copied
