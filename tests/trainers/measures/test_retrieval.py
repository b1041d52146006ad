"""Retrieval: partners and classes are found where representations hold them, and by nothing else."""

import pytest
import torch

from unbraid.trainers.measures.retrieval import edges, mean_average_precision, recall


def test_recall_finds_partners_and_is_not_fooled_by_a_constant() -> None:
    torch.manual_seed(0)
    gallery = torch.randn(100, 3, 4)
    assert recall(gallery + 0.01 * torch.randn(100, 3, 4), gallery, (1, 5)) == {1: 1.0, 5: 1.0}
    assert recall(torch.ones(100, 8), torch.ones(100, 8), (1, 5)) == {1: 0.0, 5: 0.0}
    chance = recall(torch.randn(100, 3, 4), gallery, (1, 50))
    assert chance[1] < 0.06
    assert 0.3 < chance[50] < 0.7
    swapped = gallery.view(50, 2, 12).flip(1).flatten(0, 1).view_as(gallery)  # the partner's neighbour is nearest
    assert recall(swapped + 1e-3, gallery, (1,)) == {1: 0.0}


def test_mean_average_precision_by_hand_and_of_chance() -> None:
    gallery, classes = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([7, 8, 7, 8])
    found = mean_average_precision(torch.tensor([[-1.0], [4.0]]), gallery, torch.tensor([7, 7]), classes)
    assert found == pytest.approx(((1 + 2 / 3) / 2 + (1 / 2 + 2 / 4) / 2) / 2)
    assert mean_average_precision(torch.tensor([[0.0]]), gallery, torch.tensor([9]), classes) == 0.0
    torch.manual_seed(0)
    labels = torch.randint(0, 10, (500,))
    assert mean_average_precision(torch.randn(500, 8), torch.randn(500, 8), labels, labels) == pytest.approx(0.11, abs=0.02)
    known = torch.eye(10)[labels] + 0.05 * torch.randn(500, 10)
    assert mean_average_precision(known, known, labels, labels) > 0.99


def test_edges_see_shapes_and_not_colours() -> None:
    shape = torch.zeros(1, 1, 16, 16)
    shape[:, :, 4:12, 6:9] = 1
    red, blue = torch.tensor([0.9, 0.1, 0.0]).view(1, 3, 1, 1), torch.tensor([0.1, 0.2, 0.8]).view(1, 3, 1, 1)
    on_black, on_colour = shape * red, shape + (1 - shape) * blue
    assert torch.allclose(edges(on_black), edges(on_colour), atol=1e-6)
    assert not torch.allclose(edges(on_black), edges((shape * red).transpose(2, 3)), atol=1e-2)
    assert edges(on_black).flatten(1).norm(dim=1).item() == pytest.approx(1)
    assert not edges(torch.full((1, 3, 8, 8), 0.3)).any()
