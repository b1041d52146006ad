"""Rendered chairs, as they are published."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.datasets.sources.raw_files import archived, packed, picture
from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import read_index
from unbraid.datasets.sources.chairs import read_chairs
from unbraid.datasets.store import open_store

VIEWS = (("020", "011"), ("030", "348"))
CHAIRS = 40


@pytest.fixture
def chairs(tmp_path: Path) -> Path:
    root = tmp_path / "rendered_chairs"
    for chair in range(CHAIRS):
        for i, (elevation, azimuth) in enumerate(VIEWS):
            picture(root / f"c{chair:02d}/renders/image_{i:03d}_p{elevation}_t{azimuth}_r096.png", 60, 60, chair, "PNG")
    picture(root / "c00/thumbnail.png", 60, 60, 0, "PNG")
    return root


@pytest.mark.parametrize("kind", ["folder", ".tar"])
def test_views_are_grey_and_know_their_chair_and_direction(chairs: Path, tmp_path: Path, kind: str) -> None:
    source = read_chairs(archived(chairs, kind), "chairs", size=(16, 16))
    batch = packed(source, tmp_path / "set")
    assert batch["image"].shape[1:] == (1, 16, 16)
    assert {tuple(view) for view in batch["attributes"].tolist()} == {(20, 11), (30, 348)}
    chair = int(batch["chair"][0])
    with Image.open(chairs / f"c{chair:02d}/renders/image_000_p020_t011_r096.png") as colour:
        grey = np.asarray(colour.resize((16, 16), Image.Resampling.LANCZOS).convert("L"), int)
    assert np.abs(batch["image"][0, 0].astype(int) - grey).max() <= 12, "the image of that chair"
    assert dict(source.left_out.counts) == {"images that are not named as views of a chair": 1}
    assert read_index(open_store(str(tmp_path / "set"))).attributes == ("elevation", "azimuth")


def test_no_chair_is_in_two_splits(chairs: Path) -> None:
    source = read_chairs(chairs, "chairs")
    groups = {split: {item.group for item in items} for split, items in source.splits.items()}
    assert set(groups) == {"train", "test"}
    assert not groups["train"] & groups["test"]
    assert all(len(items) == len(VIEWS) * len(groups[split]) for split, items in source.splits.items())


def test_other_images_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "photos/chair.png", 60, 60, 0, "PNG")
    with pytest.raises(DataError, match="no image is CHAIR/renders/image_"):
        read_chairs(tmp_path / "photos", "chairs")
