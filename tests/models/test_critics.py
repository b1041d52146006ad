"""The critic of vectors, against its layers written out."""

import torch
from torch import nn
from torch.nn import functional as F

from unbraid.models.critics import VectorCritic


def test_a_critic_is_hidden_layers_with_leaky_relu_and_a_linear_score() -> None:
    torch.manual_seed(0)
    critic = VectorCritic(width=3, hidden=5, layers=2, slope=0.3)
    linear = [module for module in critic.modules() if isinstance(module, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(3, 5), (5, 5), (5, 1)]
    vectors = torch.randn(4, 3)
    hidden = F.leaky_relu(linear[1](F.leaky_relu(linear[0](vectors), 0.3)), 0.3)
    scores = critic(vectors)
    assert scores.shape == (4,)
    assert torch.allclose(scores, linear[2](hidden)[:, 0])
