"""DPIG's networks of embeddings (Ma et al., CVPR 2018): pose auto-encoder, mappings from noise to embeddings, their critics.

Layers are fully connected with leaky ReLU; outputs, and the pose decoder's first layer, are linear.
"""

from collections.abc import Mapping as ByFactor

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unbraid.models.critics import VectorCritic
from unbraid.models.dpig.moments import Moments
from unbraid.models.dpig.pose import KEYPOINTS, POSE_WIDTH
from unbraid.models.dpig.specs import MappingSpec, PoseSpec
from unbraid.models.initialisation import he_weights, xavier_weights
from unbraid.models.losses import gradient_penalty


class ResidualPair(nn.Module):
    """Two fully connected layers with a skip connection."""

    def __init__(self, width: int, slope: float) -> None:
        super().__init__()
        self.first, self.second, self.slope = nn.Linear(width, width), nn.Linear(width, width), slope

    def forward(self, x: Tensor) -> Tensor:
        """(B, width) → (B, width)."""
        return x + F.leaky_relu(self.second(F.leaky_relu(self.first(x), self.slope)), self.slope)


def perceptron(
    inputs: int, hidden: int, pairs: int, outputs: int, slope: float, is_first_linear: bool = False
) -> nn.Sequential:
    """(B, inputs) → (B, outputs): a layer of ``hidden`` units, residual pairs, a linear layer.

    Args:
        is_first_linear: whether the first layer has no leaky ReLU.
    """
    activation: list[nn.Module] = [] if is_first_linear else [nn.LeakyReLU(slope)]
    blocks = [ResidualPair(hidden, slope) for _ in range(pairs)]
    return nn.Sequential(nn.Linear(inputs, hidden), *activation, *blocks, nn.Linear(hidden, outputs))


class PoseAutoencoder(nn.Module):
    """Compresses pose vectors to embeddings, and decodes them again."""

    def __init__(self, spec: PoseSpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = perceptron(POSE_WIDTH, spec.hidden, spec.pairs, spec.embedding, spec.slope)
        self.decoder = perceptron(spec.embedding, spec.hidden, spec.pairs, POSE_WIDTH, spec.slope, is_first_linear=True)
        xavier_weights(self)

    def encode(self, vectors: Tensor) -> Tensor:
        """Pose vectors (B, 54) → (B, embedding)."""
        embedding: Tensor = self.encoder(vectors)
        return embedding

    def decode(self, embedding: Tensor) -> Tensor:
        """(B, embedding) → pose vectors (B, 54).

        Coordinates are linear. Visibilities are rounded to 0 or 1; their gradient is that of the sigmoid before rounding.
        """
        row, column, logit = self.decoder(embedding).view(-1, KEYPOINTS, 3).unbind(2)
        visible = torch.sigmoid(logit)
        visible = visible + (visible.round() - visible).detach()
        return torch.stack([row, column, visible], 2).flatten(1)

    def forward(self, vectors: Tensor) -> Tensor:
        """Pose vectors (B, 54) → rebuilt ones (B, 54)."""
        return self.decode(self.encode(vectors))


class NoiseMapping(nn.Module):
    """Φ: maps noise to embeddings of stage I.

    Embeddings of stage I have any scale, often 0.01. Φ and its critic work on standardised ones.

    Args:
        spec: None is no network: a correlated mapping without one draws from the Gaussian of the embeddings' mean and
            covariance.
        width: of noise and embeddings.
        correlated: the output is multiplied by ``factor``, so that what the layers give as noise of covariance I has the
            embeddings' covariance.

    Attributes:
        mean, std: of stage I's embeddings, (width,). At first 0 and 1, which is the paper's form: no standardisation.
        factor: L of the covariance LLᵀ of embeddings so scaled, (width, width), lower triangular, at first I; None where
            not correlated.
    """

    mean: Tensor
    std: Tensor
    factor: Tensor | None

    def __init__(self, spec: MappingSpec | None, width: int, correlated: bool = False) -> None:
        super().__init__()
        self.width = width
        self.is_gaussian = spec is None
        self.is_residual = spec is not None and spec.residual
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))
        self.register_buffer("factor", torch.eye(width) if correlated else None)
        self.layers = nn.Sequential()
        if spec is not None:
            self.layers = perceptron(width, spec.hidden, spec.pairs, width, spec.slope)
        xavier_weights(self)
        if self.is_residual:
            weight, bias = list(self.layers[-1].parameters())
            nn.init.zeros_(weight)
            nn.init.zeros_(bias)

    def forward(self, noise: Tensor) -> Tensor:
        """Noise (B, width) → standardised embeddings (B, width)."""
        embedding: Tensor = self.layers(noise)
        if self.is_residual:
            embedding = noise + embedding
        return embedding if self.factor is None else embedding @ self.factor.T

    def draw(self, noise: Tensor) -> Tensor:
        """Noise (B, width) → embeddings (B, width) in the scale of stage I."""
        embedding: Tensor = self(noise) * self.std + self.mean
        return embedding

    def standardise(self, embedding: Tensor) -> Tensor:
        """Embeddings of stage I (B, width) → standardised ones (B, width)."""
        return (embedding - self.mean) / self.std

    def noise_of(self, embedding: Tensor) -> Tensor:
        """The noise (B, width) that a Gaussian draws these embeddings (B, width) from, exactly."""
        assert self.is_gaussian and self.factor is not None, "layers have no inverse"
        noise: Tensor = torch.linalg.solve_triangular(self.factor, self.standardise(embedding).T, upper=False)
        return noise.T

    @torch.no_grad()
    def fit(self, moments: Moments) -> None:
        """Standardise by these moments from now on."""
        mean, std = moments.mean, moments.std
        self.mean.copy_(mean)
        self.std.copy_(std)
        if self.factor is not None:
            self.factor.copy_(moments.factor)


class NoiseMappings(nn.Module):
    """The player of stage II: one Φ for each factor; see :class:`NoiseMapping` for specs that are None and ``correlated``."""

    def __init__(self, specs: ByFactor[str, MappingSpec | None], widths: ByFactor[str, int], correlated: bool = False) -> None:
        super().__init__()
        mappings = {factor: NoiseMapping(spec, widths[factor], correlated) for factor, spec in specs.items()}
        self.by_factor = nn.ModuleDict(mappings)

    def as_dict(self) -> dict[str, NoiseMapping]:
        """Each factor's Φ."""
        return {factor: mapping for factor, mapping in self.by_factor.items() if isinstance(mapping, NoiseMapping)}

    def forward(self, noise: dict[str, Tensor]) -> dict[str, Tensor]:
        """Noise (B, width) by factor → standardised embeddings (B, width) by factor."""
        return {factor: mapping(noise[factor]) for factor, mapping in self.by_factor.items()}


class EmbeddingCritics(nn.Module):
    """The player against :class:`NoiseMappings`: one critic for each factor."""

    def __init__(self, specs: ByFactor[str, MappingSpec], widths: ByFactor[str, int]) -> None:
        super().__init__()
        self.by_factor = nn.ModuleDict({factor: _critic(spec, widths[factor]) for factor, spec in specs.items()})

    def forward(
        self, real: dict[str, Tensor], fake: dict[str, Tensor], share: Tensor | None
    ) -> dict[str, tuple[Tensor, Tensor, Tensor | None]]:
        """Embeddings (B, width) by factor → by factor: scores of real and of fake ones (B,), and the gradient penalty.

        Args:
            share: (B', 1), see :func:`unbraid.models.losses.gradient_penalty`; None computes no penalty. B' is the same for all
                factors, and a multiple of each one's B, which uses every (B' / B)-th row.
        """
        results: dict[str, tuple[Tensor, Tensor, Tensor | None]] = {}
        for factor, critic in self.by_factor.items():
            penalty = None
            if share is not None:
                mine = share[:: len(share) // len(real[factor])]
                penalty = gradient_penalty(critic, real[factor], fake[factor], mine)
            results[factor] = critic(real[factor]), critic(fake[factor]), penalty
        return results

    def scores(self, fake: dict[str, Tensor]) -> dict[str, Tensor]:
        """Embeddings (B, width) by factor → scores (B,) by factor."""
        return {factor: critic(fake[factor]) for factor, critic in self.by_factor.items()}


def _critic(spec: MappingSpec, width: int) -> VectorCritic:
    critic = VectorCritic(width, spec.critic_hidden, spec.critic_layers, spec.critic_slope)
    he_weights(critic)
    xavier_weights(critic.layers[-1])
    return critic
