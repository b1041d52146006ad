"""What becomes of DPIG's embeddings (Ma et al., CVPR 2018): poses compressed, noise mapped to embeddings, critics of both.

All layers are fully connected with leaky ReLU; outputs are linear.
"""

from collections.abc import Mapping as ByFactor

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unbraid.models.dpig.pose import KEYPOINTS, POSE_WIDTH
from unbraid.models.dpig.specs import MappingSpec, PoseSpec
from unbraid.models.layers import VectorCritic
from unbraid.models.losses import gradient_penalty


class ResidualPair(nn.Module):
    """(B, width) → the same: x + two fully connected layers."""

    def __init__(self, width: int, slope: float) -> None:
        super().__init__()
        self.first, self.second, self.slope = nn.Linear(width, width), nn.Linear(width, width), slope

    def forward(self, x: Tensor) -> Tensor:
        return x + F.leaky_relu(self.second(F.leaky_relu(self.first(x), self.slope)), self.slope)


def perceptron(inputs: int, hidden: int, pairs: int, outputs: int, slope: float) -> nn.Sequential:
    """FC hidden, residual pairs, linear FC outputs."""
    blocks = [ResidualPair(hidden, slope) for _ in range(pairs)]
    return nn.Sequential(nn.Linear(inputs, hidden), nn.LeakyReLU(slope), *blocks, nn.Linear(hidden, outputs))


class PoseAutoencoder(nn.Module):
    """Pose vectors (B, 54) → embedding (B, embedding) → pose vectors."""

    def __init__(self, spec: PoseSpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = perceptron(POSE_WIDTH, spec.hidden, spec.pairs, spec.embedding, spec.slope)
        self.decoder = perceptron(spec.embedding, spec.hidden, spec.pairs, POSE_WIDTH, spec.slope)
        initialise(self)

    def encode(self, vectors: Tensor) -> Tensor:
        """(B, embedding)."""
        embedding: Tensor = self.encoder(vectors)
        return embedding

    def decode(self, embedding: Tensor) -> Tensor:
        """(B, 54); coordinates are linear, visibilities rounded to 0 or 1 with the gradient of what they were rounded from."""
        row, column, logit = self.decoder(embedding).view(-1, KEYPOINTS, 3).unbind(2)
        visible = torch.sigmoid(logit)
        visible = visible + (visible.round() - visible).detach()
        return torch.stack([row, column, visible], 2).flatten(1)

    def forward(self, vectors: Tensor) -> Tensor:
        return self.decode(self.encode(vectors))


class NoiseMapping(nn.Module):
    """Φ: noise (B, width) → embedding (B, width).

    Embeddings of stage I come in any scale, often a hundredth. Φ and its critic work on standardised ones; ``mean`` and ``std``
    (width,) lead back. As made they are 0 and 1, which is the paper's form.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: MappingSpec, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))
        self.layers = perceptron(width, spec.hidden, spec.pairs, width, spec.slope)
        initialise(self)

    def forward(self, noise: Tensor) -> Tensor:
        """Standardised embeddings."""
        embedding: Tensor = self.layers(noise)
        return embedding

    def draw(self, noise: Tensor) -> Tensor:
        """Embeddings as stage I's decoder takes them."""
        embedding: Tensor = self(noise) * self.std + self.mean
        return embedding

    def standardise(self, embedding: Tensor) -> Tensor:
        """Embeddings of stage I → what :meth:`forward` makes."""
        return (embedding - self.mean) / self.std


class NoiseMappings(nn.Module):
    """The player of stage II: one Φ a factor. Noise by factor → embeddings by factor."""

    def __init__(self, specs: ByFactor[str, MappingSpec], widths: ByFactor[str, int]) -> None:
        super().__init__()
        self.by_factor = nn.ModuleDict({factor: NoiseMapping(spec, widths[factor]) for factor, spec in specs.items()})

    def as_dict(self) -> dict[str, NoiseMapping]:
        """Each factor's own."""
        return {factor: mapping for factor, mapping in self.by_factor.items() if isinstance(mapping, NoiseMapping)}

    def forward(self, noise: dict[str, Tensor]) -> dict[str, Tensor]:
        return {factor: mapping(noise[factor]) for factor, mapping in self.by_factor.items()}


class EmbeddingCritics(nn.Module):
    """The player against :class:`NoiseMappings`: one critic a factor."""

    def __init__(self, specs: ByFactor[str, MappingSpec], widths: ByFactor[str, int]) -> None:
        super().__init__()
        self.by_factor = nn.ModuleDict({factor: _critic(spec, widths[factor]) for factor, spec in specs.items()})

    def forward(
        self, real: dict[str, Tensor], fake: dict[str, Tensor], share: Tensor | None
    ) -> dict[str, tuple[Tensor, Tensor, Tensor | None]]:
        """Of each factor: scores of real and of fake embeddings (B,), and the gradient penalty if ``share`` (B, 1) is given."""
        results: dict[str, tuple[Tensor, Tensor, Tensor | None]] = {}
        for factor, critic in self.by_factor.items():
            penalty = None if share is None else gradient_penalty(critic, real[factor], fake[factor], share)
            results[factor] = critic(real[factor]), critic(fake[factor]), penalty
        return results

    def scores(self, fake: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scores (B,) of fake embeddings by factor."""
        return {factor: critic(fake[factor]) for factor, critic in self.by_factor.items()}


def _critic(spec: MappingSpec, width: int) -> VectorCritic:
    critic = VectorCritic(width, spec.critic_hidden, spec.critic_layers, spec.slope)
    initialise(critic)
    return critic


@torch.no_grad()
def initialise(network: nn.Module) -> None:
    """Xavier's uniform weights and zero biases, the default of the framework that the reference code was written in."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
