"""Synthetic people: a factor follows from its number, changes its own pixels only, and is packed like any other set."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from unbraid.datasets.errors import DataError
from unbraid.datasets.packing.pack import pack
from unbraid.datasets.shards.index import Index, read_index
from unbraid.datasets.sources.people import make_people, population_of
from unbraid.datasets.store import open_store
from unbraid.datasets.stream.stream import read_split
from unbraid.datasets.synthetic.people.population import CAMERA, Population
from unbraid.datasets.synthetic.people.scene import camera_view
from unbraid.datasets.synthetic.people.skeleton import INDEX

POPULATION = Population(0, 64, 32)
SOMEBODY = {"foreground": 3, "background": 2 * CAMERA + 1, "pose": 5}


def picture(**changed: int) -> NDArray[np.int64]:
    return POPULATION.render(**(SOMEBODY | changed)).image.astype(np.int64)


def test_the_same_numbers_draw_the_same_picture() -> None:
    first = picture()
    camera_view.cache_clear()
    assert np.array_equal(picture(), first)
    assert not np.array_equal(POPULATION.render(**SOMEBODY).image, Population(1, 64, 32).render(**SOMEBODY).image)
    noisy = POPULATION.photograph(**SOMEBODY).image
    assert np.array_equal(noisy, POPULATION.photograph(**SOMEBODY).image)
    assert 0.5 < np.abs(noisy - picture()).mean() < 3


def test_each_factor_changes_its_own_pixels_only() -> None:
    here = POPULATION.render(**SOMEBODY)
    another = POPULATION.render(**(SOMEBODY | {"foreground": 4}))
    person = np.maximum(here.silhouette, another.silhouette) > 0
    changed = np.abs(picture(foreground=4) - picture()).max(2) > 8
    near = binary_dilation(person, np.ones((3, 3)))
    assert changed[near].mean() > 0.3
    assert not changed[~near].any()
    moved = np.abs(picture(background=CAMERA) - picture()).max(2) > 8
    inner = here.silhouette == 1
    assert moved[here.silhouette == 0].mean() > 0.5
    assert moved[inner].mean() < 0.15  # the lens mixes neighbours


def test_keypoints_follow_the_pose_and_lie_on_the_person() -> None:
    for number in range(40):
        drawn = POPULATION.render(number, 3, number)
        other = POPULATION.render(number + 1, 3, number)
        assert np.array_equal(drawn.keypoints, other.keypoints)
        assert drawn.keypoints.shape == (18, 3)
        hit = [
            drawn.silhouette[round(float(row)), round(float(column))] > 0.2
            for row, column, found in drawn.keypoints[[INDEX["neck"], INDEX["right_hip"], INDEX["left_knee"]]]
            if found
        ]
        assert all(hit)


def test_missing_keypoints_are_marked_and_most_are_found() -> None:
    keypoints = np.stack([POPULATION.render(0, 0, number).keypoints for number in range(200)])
    found = keypoints[:, :, 2] == 1
    assert (keypoints[~found] == (-1, -1, 0)).all()
    assert (keypoints[found][:, :2] >= 0).all()
    assert 0.75 < found.mean() < 0.98
    assert 0.2 < found[:, INDEX["nose"]].mean() < 0.8  # half of them are seen from behind


def test_an_occluder_hides_keypoints_and_is_not_the_person() -> None:
    numbers = [n for n in range(400) if POPULATION.background(n).occluder is not None]
    assert 15 < len(numbers) < 70
    hidden, clear = 0, next(n for n in range(400) if POPULATION.background(n).occluder is None)
    for number in numbers:
        free, behind = POPULATION.render(0, clear, number), POPULATION.render(0, number, number)
        assert (behind.silhouette <= free.silhouette + 1e-6).all()
        hidden += int((free.keypoints[:, 2] - behind.keypoints[:, 2]).sum())
    assert hidden > 0


def test_a_packed_set_can_be_drawn_again(tmp_path: Path) -> None:
    source = make_people("people", identities=6, images=3, cameras=4, size=POPULATION.size, test_share=0.3)
    index = pack(source, open_store(str(tmp_path), create=True), lambda text: None, shards=4)
    assert population_of(read_index(open_store(str(tmp_path)))) == POPULATION
    identities: dict[str, set[int]] = {}
    for split in index.splits:
        (batch,) = read_split(str(tmp_path), split, 100)
        identities[split] = set(batch["person"].tolist())
        for row in range(len(batch["image"])):
            numbers = [int(batch[name][row]) for name in ("person", "background", "pose")]
            truth = POPULATION.render(*numbers)
            stored = batch["image"][row].permute(1, 2, 0).numpy().astype(np.int64)
            assert np.abs(stored - truth.image).mean() < 12  # JPEG and noise
            assert np.allclose(batch["keypoints"][row].numpy(), truth.keypoints)
            assert numbers[1] // CAMERA == batch["camera"][row]
    assert identities["train"] == {0, 1, 2, 3}
    assert identities["test"] == {4, 5}


@pytest.mark.parametrize(
    ("size", "identities", "message"),
    [((16, 8), 4, "people need at least 32x16"), ((64, 32), 1, "--identities 1")],
)
def test_what_cannot_be_drawn_is_refused(size: tuple[int, int], identities: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_people("people", identities=identities, images=3, size=size)


@pytest.mark.parametrize("changed", [{"version": 0}, {"generator": "mnist-cdcb"}, None])
def test_photographs_and_other_generators_have_no_population(changed: dict[str, str | int] | None) -> None:
    recipe = make_people("people", identities=4, images=1, size=POPULATION.size).recipe
    assert population_of(Index("set", {}, (), "", "", recipe=recipe)) == POPULATION
    assert population_of(Index("set", {}, (), "", "", recipe={} if changed is None else {**recipe, **changed})) is None
