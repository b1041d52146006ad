"""What is read of coloured digits: the ink, whatever its colour, and whether both sides of pairs show the same."""

import pytest
import torch

from unbraid.datasets.stream.stream import read_split
from unbraid.models.domains import DOMAINS
from unbraid.trainers.paired.digits import ink_of, shared_ink
from unbraid.trainers.paired.pairs import pairs_of
from unbraid.trainers.step.images import unit_range

pytestmark = pytest.mark.usefixtures("one_thread")


def test_ink_is_read_whatever_the_colour_and_on_an_uneven_background(pairs_url: str) -> None:
    images = unit_range(pairs_of(next(iter(read_split(pairs_url, "test", 60)))).images["y"])
    pairs = pairs_of(next(iter(read_split(pairs_url, "test", 60))))
    visible = (pairs.colours["x"].amax(1) > 0.2) & (pairs.colours["y"].amin(1) < 0.8)
    ink = {d: ink_of(unit_range(pairs.images[d]), d)[visible] for d in DOMAINS}
    assert visible.sum() > 40
    assert (ink["x"] - ink["y"]).abs().max() < 0.05
    uneven = images.clone()
    uneven[:, :, 0, 0] = 0  # one pixel is as far from white as can be
    again = ink_of(uneven, "y")[visible]
    assert torch.allclose(again[:, :, 1:], ink["y"][:, :, 1:], atol=1e-6)


def test_the_ink_of_pairs_is_shared_where_both_sides_show_one_glyph(pairs_url: str) -> None:
    pairs = pairs_of(next(iter(read_split(pairs_url, "test", 60))))
    x, y = (unit_range(pairs.images[d]) for d in DOMAINS)
    ink = shared_ink(x, y)
    assert ink is not None
    assert torch.equal(ink, ink_of(x, "x"))
    assert shared_ink(x, y.roll(1, 0)) is None
