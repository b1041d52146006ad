"""SVHN's cropped digits."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tests.datasets.sources.raw_files import packed
from unbraid.datasets.errors import DataError
from unbraid.datasets.sources.svhn import read_svhn


def test_svhn_is_read_from_its_mat_files(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 20), dtype=np.uint8)
    labels = np.arange(1, 21, dtype=np.uint8)[:, None] % 10 + 1
    for split in ("train", "test"):
        savemat(tmp_path / f"{split}_32x32.mat", {"X": images, "y": labels})
    batch = packed(read_svhn(tmp_path, "svhn"), tmp_path / "out")
    assert batch["image"].shape == (20, 3, 32, 32)
    for image, label in zip(batch["image"], batch["label"], strict=True):
        (i,) = [k for k in range(20) if np.array_equal(images[..., k].transpose(2, 0, 1), image)]
        assert label == labels[i, 0] % 10
    (tmp_path / "test_32x32.mat").write_bytes(b"no mat file")
    with pytest.raises(DataError, match=r"test_32x32\.mat: not a file of SVHN"):
        read_svhn(tmp_path, "svhn")
