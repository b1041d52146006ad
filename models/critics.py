"""Critics that systems share: networks whose scores estimate the Wasserstein distance (Arjovsky et al., 2017)."""

from torch import Tensor, nn


class VectorCritic(nn.Module):
    """Scores vectors by fully connected layers with leaky ReLU.

    Args:
        width: length of the vectors.
        hidden: width of each of the ``layers`` hidden layers.
        slope: of the leaky ReLU.
    """

    def __init__(self, width: int, hidden: int, layers: int, slope: float) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        for _ in range(layers):
            modules += [nn.Linear(width, hidden), nn.LeakyReLU(slope)]
            width = hidden
        self.layers = nn.Sequential(*modules, nn.Linear(width, 1))

    def forward(self, vectors: Tensor) -> Tensor:
        """(B, width) → scores (B,)."""
        scores: Tensor = self.layers(vectors)
        return scores.squeeze(1)
