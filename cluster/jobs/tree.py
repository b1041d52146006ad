"""The files that a job gets, as one zip: what git would keep of a working tree, and never keys or data."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import unbraid
from unbraid.cluster.jobs.listing import TreeError, TreeFiles, list_package, list_tree, read_file
from unbraid.trainers.config.presets import FOLDER_VARIABLE, all_presets

LIMIT_MB = 50.0
PACKAGE = Path("unbraid")
OWN_PRESETS = Path("own-presets")
"""Folder in the zip for the presets that the user has added to those of the tree."""
_EPOCH = (1980, 1, 1, 0, 0, 0)


def checkout() -> Path | None:
    """Return the checkout whose code is running; None when unbraid is installed from a wheel."""
    folder = Path(unbraid.__file__).parent.parent
    return folder if (folder / "pyproject.toml").is_file() else None


def upload_files(folder: Path | None, include: Sequence[str] = ()) -> TreeFiles:
    """Choose the files that a job gets.

    A tree that has no package ``unbraid`` gets the one that is running, so that the job runs the code that submitted it.
    Code that ``unbraid`` links to is uploaded below ``unbraid`` only: the top of the tree is on a job's path, and a package
    ``datasets`` there would hide Hugging Face's.

    Args:
        folder: a working tree; None: nothing but the package ``unbraid`` that is running.
        include: patterns of files that are taken although they may hold keys or data.

    Raises:
        TreeError: when the folder holds no files, or git does not list them.
    """
    found = TreeFiles()
    if folder is not None:
        found = list_tree(folder, include)
        if not found.taken:
            raise TreeError(f"{folder}: holds no files to upload; name the folder of your checkout with --working-dir")
        linked = _targets(folder)
        found.taken = {
            name: path
            for name, path in found.taken.items()
            if name.suffix != ".py" or not any(name.is_relative_to(target) for target in linked)
        }
    if PACKAGE / "__init__.py" not in found.taken:
        found.taken |= _package_files()
    return found


@contextmanager
def zipped_tree(
    folder: Path | None,
    limit_mb: float = LIMIT_MB,
    include: Sequence[str] = (),
    report: Callable[[str], None] = lambda text: None,
) -> Iterator[tuple[dict[str, Any], str]]:
    """Zip a tree and the user's own presets, as a temporary file that lasts as long as the context.

    Args:
        include: patterns of files that are taken although they may hold keys or data.
        report: called with a line for each kind of files that were left out.

    Yields:
        A runtime environment that uploads the zip, and the SHA-256 of the zip, which is the same for the same content.
    """
    presets = {name: Path(str(preset.file)) for name, preset in all_presets().items() if preset.own}
    own = {OWN_PRESETS / f"{name}.yaml": file.resolve() for name, file in presets.items()}
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "tree.zip"
        files = upload_files(folder, include)
        for line in files.report():
            report(line)
        digest = zip_tree(files.taken | own, archive, folder or PACKAGE, limit_mb)
        environment: dict[str, Any] = {"working_dir": str(archive)}
        if own:
            environment["env_vars"] = {FOLDER_VARIABLE: str(OWN_PRESETS)}
        yield environment, digest


def zip_tree(files: Mapping[Path, Path], target: Path, where: Path, limit_mb: float = LIMIT_MB) -> str:
    """Write files to a zip that is the same for the same content.

    Args:
        files: the regular file of each name in the zip.
        where: they come from, for messages.

    Returns:
        The zip's SHA-256.

    Raises:
        TreeError: when they are larger than the limit, naming the largest files, or one cannot be read.
    """
    sizes = {name: path.stat().st_size for name, path in files.items()}
    total = sum(sizes.values()) / 1e6
    if total > limit_mb:
        largest = sorted(files, key=lambda name: -sizes[name])[:5]
        listing = "\n".join(f"  {sizes[name] / 1e6:8.1f} MB  {name}" for name in largest)
        raise TreeError(
            f"{where}: {total:.0f} MB of files, at most {limit_mb:g} MB are uploaded. The largest:\n{listing}\n"
            "name them in .gitignore (data belongs on S3), or raise --max-mb"
        )
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            content, mode = read_file(files[name])
            entry = zipfile.ZipInfo(name.as_posix(), _EPOCH)
            entry.external_attr = (mode & 0o777) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return hashlib.sha256(target.read_bytes()).hexdigest()


def requirements(folder: Path | None) -> dict[str, Any]:
    """List what Ray shall install beside the image's packages: a tree's dependencies, at the versions of its constraints.

    Returns:
        The value of ``pip`` in a runtime environment.

    Raises:
        TreeError: when the tree names no dependencies.
    """
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    if folder is None:
        raise TreeError("--install: unbraid is installed without its checkout; name one with --working-dir")
    project, constraints = folder / "pyproject.toml", folder / "constraints.txt"
    for path in (project, constraints):
        if not path.is_file():
            raise TreeError(f"--install: {path} is not there; name the folder of your checkout with --working-dir")
    wanted = [Requirement(line) for line in tomllib.loads(project.read_text())["project"]["dependencies"]]
    pins = [Requirement(line) for line in constraints.read_text().splitlines() if line.strip() and not line.startswith("#")]
    versions = {canonicalize_name(pin.name): pin.specifier for pin in pins}
    for requirement in wanted:
        requirement.specifier = versions.get(canonicalize_name(requirement.name), requirement.specifier)
    # not Ray: the cluster's own is running
    return {"packages": [str(requirement) for requirement in wanted if requirement.name != "ray"]}


def _targets(folder: Path) -> list[Path]:
    """List the folders of a tree that the links in its package point to."""
    root = folder.resolve()
    links = [path.resolve() for path in (folder / PACKAGE).glob("*") if path.is_symlink()]
    return [path.relative_to(root) for path in links if path.is_relative_to(root)]


def _package_files() -> dict[Path, Path]:
    """List the files of the package that is running, by their names in the zip."""
    folder = checkout()
    if folder is not None:  # its subpackages are links
        return {name: path for name, path in list_tree(folder).taken.items() if name.is_relative_to(PACKAGE)}
    package = Path(unbraid.__file__).parent
    return {PACKAGE / name: path for name, path in list_package(package).taken.items()}
