"""A critic that systems share."""

from torch import Tensor, nn


class VectorCritic(nn.Module):
    """Vectors (B, width) → scores (B,) whose difference estimates the Wasserstein distance; fully connected, leaky ReLU.

    Args:
        width: of the vectors.
        hidden: of each of ``layers`` hidden layers.
        slope: of their leaky ReLU.
    """

    def __init__(self, width: int, hidden: int, layers: int, slope: float) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        for _ in range(layers):
            modules += [nn.Linear(width, hidden), nn.LeakyReLU(slope)]
            width = hidden
        self.layers = nn.Sequential(*modules, nn.Linear(width, 1))

    def forward(self, vectors: Tensor) -> Tensor:
        scores: Tensor = self.layers(vectors)
        return scores.squeeze(1)
