"""The working tree as one zip: what git would keep, and never what must not leave this machine."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from types import MappingProxyType

import unbraid
from unbraid.trainers.errors import TrainingError

LIMIT_MB = 50.0
SECRETS = (
    ".env", ".env.*", "*.pem", "*.key", "*.p12", "*.pfx", "id_rsa*", "id_ed25519*", "credentials", "credentials.*", "*_token",
    "token", ".netrc", "kubeconfig*", "s3.json",
)  # fmt: skip
"""Names of files that hold keys, tracked or not."""
DATA = ("*.tar", "*.tar.gz", "*.tgz", "*.zip", "*.pt", "*.pth", "*.ckpt", "*.safetensors", "*-ubyte", "*-ubyte.gz", "*.mat")
"""Names of data and weights: they lie on S3."""
NEVER = (".git", ".venv", ".unbraid", "__pycache__", "runs", "campaigns", "node_modules")
"""Folders that are left out where there is no git to ask; at the top only, but for caches."""
_EPOCH = (1980, 1, 1, 0, 0, 0)


class TreeError(TrainingError):
    """A working tree that cannot be uploaded; the message says which files are in the way."""


def source_folder() -> Path:
    """The folder that holds the packages which are running: a checkout, or where they were installed."""
    return Path(unbraid.__file__).parent.parent


def files_of(folder: Path) -> list[Path]:
    """What belongs to the tree, relative to it, in order: what .gitignore does not name, no keys, no data."""
    names = _git_files(folder)
    if names is None:
        names = [path.relative_to(folder) for path in folder.rglob("*") if not _is_left_out(path.relative_to(folder))]
    names += [copy for name in names for copy in _linked(folder, name, names)]
    unwanted = (*SECRETS, *DATA)
    return sorted(name for name in names if (folder / name).is_file() and not any(fnmatch(name.name, p) for p in unwanted))


def zip_tree(
    folder: Path, target: Path, limit_mb: float = LIMIT_MB, further: Mapping[Path, Path] = MappingProxyType({})
) -> str:
    """Write the tree to a zip that is the same for the same content.

    Args:
        further: files from elsewhere, by their names in the zip.

    Returns:
        Twelve hex digits of its SHA-256.

    Raises:
        TreeError: when it is larger than the limit, naming the largest files.
    """
    files = files_of(folder)
    if not files:
        raise TreeError(f"{folder}: holds no files to upload; name the folder of your checkout with --working-dir")
    paths: dict[Path, Path] = {name: folder / name for name in files} | dict(further)
    sizes = {name: path.stat().st_size for name, path in paths.items()}
    total = sum(sizes.values()) / 1e6
    if total > limit_mb:
        largest = sorted(paths, key=lambda name: -sizes[name])[:5]
        listing = "\n".join(f"  {sizes[name] / 1e6:8.1f} MB  {name}" for name in largest)
        raise TreeError(
            f"{folder}: {total:.0f} MB of files, at most {limit_mb:g} MB are uploaded. The largest:\n{listing}\n"
            "name them in .gitignore (data belongs on S3), or raise --max-mb"
        )
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in paths.items():
            entry = zipfile.ZipInfo(name.as_posix(), _EPOCH)
            entry.external_attr = (path.stat().st_mode & 0o777) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return hashlib.sha256(target.read_bytes()).hexdigest()[:12]


def _linked(folder: Path, name: Path, names: list[Path]) -> list[Path]:
    """The files behind a link to a folder of the tree, under the link's name: a zip that Ray unpacks holds no links."""
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
