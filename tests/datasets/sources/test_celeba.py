"""CelebA's faces and attributes."""

from pathlib import Path

import pytest

from tests.datasets.sources.raw_files import archived, packed, picture
from unbraid.datasets.errors import DataError
from unbraid.datasets.sources.celeba import read_celeba


@pytest.fixture
def celeba(tmp_path: Path) -> Path:
    root = tmp_path / "celeba"
    names = [f"{i:06d}.jpg" for i in range(1, 9)]
    for i, name in enumerate(names):
        picture(root / "img_align_celeba" / name, 218, 178, i)
    rows = [f"{name} {' '.join('1' if (i >> k) & 1 else '-1' for k in range(3))}" for i, name in enumerate(names)]
    (root / "list_attr_celeba.txt").write_text("\n".join(["8", "Bangs Male Young", *rows]))
    (root / "list_eval_partition.txt").write_text("\n".join(f"{n} {i % 3}" for i, n in enumerate(names)))
    return root


@pytest.mark.parametrize("kind", ["folder", ".zip"])
def test_celeba_is_cut_to_the_face_with_its_attributes(celeba: Path, tmp_path: Path, kind: str) -> None:
    if kind == ".zip":
        images = celeba / "img_align_celeba"
        archived(images, kind)
        images.rename(tmp_path / "gone")
    source = read_celeba(celeba, "celeba")
    assert {split: len(items) for split, items in source.splits.items()} == {"train": 3, "valid": 3, "test": 2}
    batch = packed(source, tmp_path / "out")
    assert batch["image"].shape == (3, 3, 64, 64)
    assert sorted(map(tuple, batch["attributes"].tolist())) == [(0, 0, 0), (0, 1, 1), (1, 1, 0)]


def test_a_celeba_list_of_another_kind_is_refused(celeba: Path) -> None:
    (celeba / "list_attr_celeba.txt").write_text("8\nBangs Male Young\n000001.jpg 1 -1\n")
    with pytest.raises(DataError, match=r"the line of 000001\.jpg does not have 3 values"):
        read_celeba(celeba, "celeba")
