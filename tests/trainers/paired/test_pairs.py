"""Pairs as measures and pictures see them."""

import torch

from unbraid.models.domains import DOMAINS
from unbraid.trainers.paired.pairs import Pairs


def test_pairs_are_cut_with_all_that_is_known_of_them() -> None:
    pairs = Pairs({d: torch.rand(4, 3, 8, 8) for d in DOMAINS}, torch.arange(4), {d: torch.rand(4, 3) for d in DOMAINS})
    few = pairs[1:3]
    assert len(few) == 2
    assert few.label is not None
    assert few.label.tolist() == [1, 2]
    assert torch.equal(few.colours["y"], pairs.colours["y"][1:3])
    assert len(pairs.without_images()) == 0
