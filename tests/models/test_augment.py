"""Augmentation: what each change does, that it is each image's own, and that gradients pass."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from unbraid.models.augment import random_affine, random_colour, random_cutout, random_flip, random_shift
from unbraid.models.random import RandomSource

CHANGES: dict[str, Callable[[Tensor, RandomSource], Tensor]] = {
    "affine": lambda images, source: random_affine(images, source, 15.0, 0.1, 0.2, 2.0),
    "flip": random_flip,
    "shift": lambda images, source: random_shift(images, source, 2, 3),
    "colour": lambda images, source: random_colour(images, source, 1.0, 0.5, 1.0),
    "cutout": lambda images, source: random_cutout(images, source, 0.5),
}


def source(owned: range = range(1), lanes: int = 1, device: str = "cpu") -> RandomSource:
    return RandomSource(3, torch.device(device), lanes, owned)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(16, 3, 12, 10, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", CHANGES)
def test_the_same_seed_gives_the_same_change(images: Tensor, name: str) -> None:
    assert torch.equal(CHANGES[name](images, source()), CHANGES[name](images, source()))
    assert not torch.equal(CHANGES[name](images, source()), images)


@pytest.mark.parametrize("name", CHANGES)
def test_ranks_change_their_shares_as_one_changes_all(images: Tensor, name: str) -> None:
    """Unequal ones: of 16 images in 4 lanes, three ranks hold 4, 4 and 8."""
    alone = CHANGES[name](images, source())
    owned = [range(1), range(1, 2), range(2, 4)]
    shares = [CHANGES[name](images[4 * lanes.start : 4 * lanes.stop], source(lanes, 4)) for lanes in owned]
    assert torch.equal(torch.cat(shares), alone)


@pytest.mark.parametrize("name", CHANGES)
def test_gradients_pass(images: Tensor, name: str) -> None:
    images.requires_grad_()
    CHANGES[name](images, source()).square().sum().backward()
    assert images.grad is not None
    assert images.grad.flatten(1).norm(dim=1).gt(0).all()


@pytest.mark.parametrize("name", CHANGES)
def test_nothing_is_read_back_to_the_host(name: str) -> None:
    images = torch.empty(4, 3, 12, 10, device="meta")
    assert CHANGES[name](images, source(device="meta")).shape == images.shape


def test_half_of_the_images_are_mirrored(images: Tensor) -> None:
    many = images[:1].expand(1000, -1, -1, -1)
    flipped = random_flip(many, source())
    kept = (flipped == many).flatten(1).all(1)
    assert torch.equal(flipped[~kept], many[~kept].flip(3))
    assert 420 < int(kept.sum()) < 580


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_a_shift_moves_by_whole_pixels(images: Tensor, padding: str) -> None:
    moved = random_shift(images, source(), 2, 3, padding)
    found = set()
    for before, after in zip(images, moved, strict=True):
        for rows in range(-2, 3):
            for columns in range(-3, 4):
                inner = before[:, 2:-2, 3:-3]
                if torch.equal(after[:, 2 + rows : 10 + rows, 3 + columns : 7 + columns], inner):
                    found.add((rows, columns))
                    break
    assert len(found) > 6
    assert (moved == 0).any() == (padding == "zeros")


def test_colour_keeps_what_it_should(images: Tensor) -> None:
    brighter = random_colour(images, source(), 1.0, 0.0, 0.0) - images
    assert torch.allclose(brighter, brighter[:, :1, :1, :1].expand_as(brighter), atol=1e-6)
    assert brighter.abs().max() <= 0.5
    contrasted = random_colour(images, source(), 0.0, 0.5, 0.0)
    assert torch.allclose(contrasted.mean((1, 2, 3)), images.mean((1, 2, 3)), atol=1e-6)
    saturated = random_colour(images, source(), 0.0, 0.0, 1.0)
    assert torch.allclose(saturated.mean(1), images.mean(1), atol=1e-6)


def test_cutout_takes_a_square_out(images: Tensor) -> None:
    holes = (random_cutout(images + 1, source(), 0.5) == 0).float()
    share = holes.mean((1, 2, 3))
    assert share.max() <= 0.25 + 0.05
    assert share.min() > 0.03
