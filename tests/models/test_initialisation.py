"""First weights: their distributions, and the layers that they are of."""

import math

import pytest
import torch
from torch import nn

from unbraid.models.initialisation import normal_weights, xavier_weights


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(20, 40, 5), nn.BatchNorm2d(400)),
        nn.ConvTranspose2d(40, 20, 5),
        nn.Conv2d(40, 40, 5, bias=False),
        nn.Linear(200, 100),
    )


def layers(of: nn.Module) -> list[nn.Conv2d | nn.ConvTranspose2d | nn.Linear]:
    return [module for module in of.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]


@pytest.mark.parametrize("norms", [False, True])
def test_normal_weights_are_dcgans(norms: bool) -> None:
    torch.manual_seed(0)
    built = network()
    normal_weights(built, norms)
    for layer in layers(built):
        assert layer.weight.mean().item() == pytest.approx(0, abs=1e-3)
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.03)
        assert layer.bias is None or (layer.bias == 0).all()
    scale = built.get_parameter("0.1.weight")
    assert scale.mean().item() == pytest.approx(1, abs=5e-3)
    assert scale.std().item() == pytest.approx(0.02 if norms else 0, abs=2e-3)
    assert (built.get_parameter("0.1.bias") == 0).all()


def test_normal_weights_leave_batch_norms_alone_unless_asked() -> None:
    built = network()
    normal_weights(built)
    assert (built.get_parameter("0.1.weight") == 1).all()


def test_xavier_weights_are_uniform_within_their_bound() -> None:
    torch.manual_seed(0)
    built = network()
    before = built.get_parameter("1.weight").clone()
    xavier_weights(built)
    for layer in layers(built):
        if isinstance(layer, nn.ConvTranspose2d):
            assert torch.equal(layer.weight, before)
            continue
        taps = layer.weight[0, 0].numel()
        bound = math.sqrt(6 / (taps * (layer.weight.shape[0] + layer.weight.shape[1])))
        assert bound * 0.99 < layer.weight.abs().max().item() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)
        assert layer.bias is None or (layer.bias == 0).all()
