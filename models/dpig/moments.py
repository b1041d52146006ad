"""Mean and covariance of embeddings, summed up batch by batch."""

import torch
from torch import Tensor, nn

FAINTEST = 0.01
"""Least deviation of a number, as a share of the mean over numbers: what hardly changes is not blown up to the others' size."""
RIDGE = 1e-3
"""Share by which variances are raised before they are factored: numbers that depend on each other, or few samples, leave a
singular matrix."""
LEAST_VARIANCE = 0.01
"""Of a scaled number, as far as :data:`RIDGE` goes: one that never changes has a variance of 0."""


class Moments(nn.Module):
    """Count, sum and sum of outer products of vectors, in double precision; sums of several ranks or batches add up.

    Attributes:
        count: ().
        total: (width,).
        products: (width, width).
    """

    count: Tensor
    total: Tensor
    products: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("total", torch.zeros(width, dtype=torch.float64))
        self.register_buffer("products", torch.zeros(width, width, dtype=torch.float64))

    @torch.no_grad()
    def add(self, vectors: Tensor) -> None:
        """Count vectors (B, width) in."""
        values = vectors.double()
        self.count += len(values)
        self.total += values.sum(0)
        self.products += values.T @ values

    @torch.no_grad()
    def merge(self, other: "Moments") -> None:
        """Count in what others have counted."""
        for mine, theirs in zip(self.buffers(), other.buffers(), strict=True):
            mine += theirs

    @property
    def mean(self) -> Tensor:
        """(width,)."""
        return self.total / self.count

    @property
    def covariance(self) -> Tensor:
        """(width, width), of the vectors as they are: divided by their count."""
        return self.products / self.count - torch.outer(self.mean, self.mean)

    @property
    def std(self) -> Tensor:
        """(width,) deviation of each number, :data:`FAINTEST` of their mean at least."""
        std = self.covariance.diagonal().clamp_min(0).sqrt()
        return std.maximum(FAINTEST * std.mean()).clamp_min(1e-6)

    @property
    def factor(self) -> Tensor:
        """Cholesky factor L of the covariance LLᵀ of numbers scaled by ``std``: lower triangular, (width, width)."""
        std = self.std
        scaled = self.covariance / torch.outer(std, std)
        ridge = RIDGE * scaled.diagonal().clamp_min(LEAST_VARIANCE)
        # no check for errors, which would wait for a GPU: the ridge leaves no singular matrix
        factor: Tensor = torch.linalg.cholesky_ex(scaled + ridge.diag()).L
        return factor
