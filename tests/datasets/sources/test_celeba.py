"""CelebA's faces and attributes."""

from collections.abc import Callable
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
    assert {split: len(items) for split, items in source.splits.items()} == {"train": 3, "validation": 3, "test": 2}
    batch = packed(source, tmp_path / "out")
    assert batch["image"].shape == (3, 3, 64, 64)
    assert sorted(map(tuple, batch["attributes"].tolist())) == [(0, 0, 0), (0, 1, 1), (1, 1, 0)]


def test_a_celeba_list_of_another_kind_is_refused(celeba: Path) -> None:
    (celeba / "list_attr_celeba.txt").write_text("1\nBangs Male Young\n000001.jpg 1 -1\n")
    with pytest.raises(
        DataError, match=r"list_attr_celeba\.txt: line 3: expected 000001\.jpg and 3 values of 1 or -1, found 2"
    ):
        read_celeba(celeba, "celeba")


def test_celeba_as_it_is_passed_on_is_understood(celeba: Path, tmp_path: Path) -> None:
    """PNG copies, doubled extensions, and lists as tables with 0 for no, give the same set."""
    expected = packed(read_celeba(celeba, "celeba"), tmp_path / "published")
    for i, path in enumerate(sorted((celeba / "img_align_celeba").iterdir())):
        if i % 2:
            path.rename(path.with_name(f"{path.name}.jpg"))
    attributes = (celeba / "list_attr_celeba.txt").read_text().splitlines()
    rows = [line.replace("-1", "0").split() for line in attributes[2:]]
    table = [["image_id", *attributes[1].split()], *rows]
    (celeba / "list_attr_celeba.csv").write_text("\ufeff" + "\r\n".join(",".join(row) for row in table))
    partition = [line.split() for line in (celeba / "list_eval_partition.txt").read_text().splitlines()]
    (celeba / "list_eval_partition.csv").write_text("\n".join(["image_id,partition", *(",".join(row) for row in partition)]))
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        (celeba / name).unlink()
    found = packed(read_celeba(celeba, "celeba"), tmp_path / "passed_on")
    for name in expected:
        assert (expected[name] == found[name]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: picture(c / "img_align_celeba/000003.jpg", 64, 64),
            r"have 218x178 pixels .*1 of 8 have not, such as 000003",
        ),
        (
            lambda c: (c / "list_eval_partition.txt").write_text("000001.jpg 0 5\n"),
            r"list_eval_partition\.txt: line 1: expected IMAGE and 0, 1 or 2",
        ),
        (
            lambda c: (c / "list_attr_celeba.txt").write_text("9\nBangs\n000001.jpg 1\n"),
            r"says that it has 9 images, and has 1 lines of them: is it cut off",
        ),
        (lambda c: picture(c / "img_align_celeba/000003.png", 218, 178, 1, "PNG"), "are the same image of CelebA"),
    ],
)
def test_what_is_not_celeba_as_published_is_refused(celeba: Path, change: Callable[[Path], object], message: str) -> None:
    change(celeba)
    with pytest.raises(DataError, match=message):
        read_celeba(celeba, "celeba")
