"""The files that a job gets, as one zip: what git would keep of a working tree, and never keys or data."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from types import MappingProxyType
from typing import Any

import unbraid
from unbraid.trainers.config.presets import FOLDER_VARIABLE, all_presets
from unbraid.trainers.errors import TrainingError

LIMIT_MB = 50.0
PACKAGE = Path("unbraid")
OWN_PRESETS = Path("own-presets")
"""Folder in the zip for the presets that the user has added to those of the tree."""
SECRETS = (
    ".env", ".env.*", "*.pem", "*.key", "*.p12", "*.pfx", "id_rsa*", "id_ed25519*", "credentials", "credentials.*", "*_token",
    "token", ".netrc", "kubeconfig*", "s3.json",
)  # fmt: skip
"""Names of files that hold keys, tracked or not."""
DATA = ("*.tar", "*.tar.gz", "*.tgz", "*.zip", "*.pt", "*.pth", "*.ckpt", "*.safetensors", "*-ubyte", "*-ubyte.gz", "*.mat")
"""Names of files with data and weights, which belong on S3."""
NEVER = (".git", ".venv", ".unbraid", "__pycache__", "runs", "campaigns", "node_modules")
"""Folders that are left out of a tree without git: at its top, caches everywhere."""
_EPOCH = (1980, 1, 1, 0, 0, 0)


class TreeError(TrainingError):
    """A working tree cannot be uploaded; the message names the files that prevent it."""


def checkout() -> Path | None:
    """Return the checkout whose code is running; None when unbraid is installed from a wheel."""
    folder = Path(unbraid.__file__).parent.parent
    return folder if (folder / "pyproject.toml").is_file() else None


def files_of(folder: Path) -> list[Path]:
    """List the files of a working tree, relative to it, in order, without what .gitignore names, keys and data."""
    names = _git_files(folder)
    if names is None:
        names = [path.relative_to(folder) for path in folder.rglob("*") if not _is_left_out(path.relative_to(folder))]
    names += [copy for name in names for copy in _linked(folder, name, names)]
    return sorted(name for name in names if (folder / name).is_file() and _may_leave(name))


def upload_files(folder: Path | None) -> dict[Path, Path]:
    """Choose the files that a job gets.

    A tree that has no package ``unbraid`` gets the one that is running, so that the job runs the code that submitted it.
    Code that ``unbraid`` links to is uploaded below ``unbraid`` only: the top of the tree is on a job's path, and a package
    ``datasets`` there would hide Hugging Face's.

    Args:
        folder: a working tree; None: nothing but the package ``unbraid`` that is running.

    Returns:
        Each file's name in the zip, and where it is.

    Raises:
        TreeError: when the folder holds no files.
    """
    files: dict[Path, Path] = {}
    if folder is not None:
        files = {name: folder / name for name in files_of(folder)}
        if not files:
            raise TreeError(f"{folder}: holds no files to upload; name the folder of your checkout with --working-dir")
        linked = _targets(folder)
        files = {n: p for n, p in files.items() if n.suffix != ".py" or not any(n.is_relative_to(target) for target in linked)}
    if PACKAGE / "__init__.py" not in files:
        files |= _package_files()
    return files


@contextmanager
def zipped_tree(folder: Path | None, limit_mb: float = LIMIT_MB) -> Iterator[tuple[dict[str, Any], str]]:
    """Zip a tree and the user's own presets, as a temporary file that lasts as long as the context.

    Yields:
        A runtime environment that uploads the zip, and twelve hex digits of the zip's SHA-256.
    """
    own = {OWN_PRESETS / f"{name}.yaml": Path(str(preset.file)) for name, preset in all_presets().items() if preset.own}
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "tree.zip"
        digest = zip_tree(folder, archive, limit_mb, own)
        environment: dict[str, Any] = {"working_dir": str(archive)}
        if own:
            environment["env_vars"] = {FOLDER_VARIABLE: str(OWN_PRESETS)}
        yield environment, digest


def zip_tree(
    folder: Path | None, target: Path, limit_mb: float = LIMIT_MB, further: Mapping[Path, Path] = MappingProxyType({})
) -> str:
    """Write what :func:`upload_files` chooses to a zip that is the same for the same content.

    Args:
        further: files from elsewhere, by their names in the zip.

    Returns:
        Twelve hex digits of its SHA-256.

    Raises:
        TreeError: when the folder is empty, or larger than the limit, naming the largest files.
    """
    files = upload_files(folder) | dict(further)
    sizes = {name: path.stat().st_size for name, path in files.items()}
    total = sum(sizes.values()) / 1e6
    if total > limit_mb:
        largest = sorted(files, key=lambda name: -sizes[name])[:5]
        listing = "\n".join(f"  {sizes[name] / 1e6:8.1f} MB  {name}" for name in largest)
        raise TreeError(
            f"{folder or PACKAGE}: {total:.0f} MB of files, at most {limit_mb:g} MB are uploaded. The largest:\n{listing}\n"
            "name them in .gitignore (data belongs on S3), or raise --max-mb"
        )
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name.as_posix(), _EPOCH)
            entry.external_attr = (files[name].stat().st_mode & 0o777) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name].read_bytes())
    return hashlib.sha256(target.read_bytes()).hexdigest()[:12]


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
    package = Path(unbraid.__file__).parent
    files = {}
    for folder, _, names in os.walk(package, followlinks=True):  # in a checkout its subpackages are links
        for path in (Path(folder) / name for name in names):
            name = PACKAGE / path.relative_to(package)
            if _may_leave(name) and not _is_left_out(name):
                files[name] = path
    return files


def _may_leave(name: Path) -> bool:
    return not any(fnmatch(name.name, pattern) for pattern in (*SECRETS, *DATA))


def _linked(folder: Path, name: Path, names: list[Path]) -> list[Path]:
    """List the files behind a link to a folder of the tree, under the link's name: Ray unpacks a zip without its links."""
    link = folder / name
    if not link.is_symlink() or not link.is_dir() or not link.resolve().is_relative_to(folder.resolve()):
        return []
    target = link.resolve().relative_to(folder.resolve())
    return [name / other.relative_to(target) for other in names if other.is_relative_to(target)]


def _git_files(folder: Path) -> list[Path] | None:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return [Path(name) for name in done.stdout.split("\0") if name] if done.returncode == 0 else None


def _is_left_out(name: Path) -> bool:
    return name.parts[0] in NEVER or "__pycache__" in name.parts or name.suffix == ".pyc"
