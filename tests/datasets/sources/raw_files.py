"""Raw files laid out as data sets publish them, and packed sets, for the tests of sources."""

import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from unbraid.datasets.packing.pack import pack
from unbraid.datasets.sources.source import Source
from unbraid.datasets.store import FolderStore
from unbraid.datasets.stream.stream import read_split


def picture(path: Path, height: int, width: int, seed: int = 0, kind: str = "JPEG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 4 or 1, width // 4 or 1, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((width, height)).save(path, kind, quality=95)
    return path


def packed(source: Source, folder: Path, split: str = "train") -> dict[str, np.ndarray]:
    """All of one split, by field."""
    store = FolderStore(folder, create=True)
    pack(source, store, lambda text: None)
    batches = list(read_split(str(folder), split, 1000))
    return {name: np.concatenate([batch[name].numpy() for batch in batches]) for name in batches[0]}


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1)


def archived(folder: Path, kind: str) -> Path:
    if kind == "folder":
        return folder
    archive = folder.with_suffix(kind)
    if kind == ".zip":
        with zipfile.ZipFile(archive, "w") as zipped:
            for file in sorted(folder.rglob("*.*")):
                zipped.write(file, file.relative_to(folder))
    else:
        with tarfile.open(archive, "w:gz" if kind.endswith("gz") else "w") as tar:
            tar.add(folder, ".")
    return archive
