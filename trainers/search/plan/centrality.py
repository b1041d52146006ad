"""ModelCentrality: selection without labels by the agreement of models (Lin et al., InfoGAN-CR, ICML 2020, section 4).

Several models find the factors that the data has; what a single model finds by accident differs from model to model. So a model
is good when the other models of its configuration recover the codes of its images, and it recovers the codes of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

M = TypeVar("M")


def agreement_matrix(models: Sequence[M], agreement: Callable[[M, M], float]) -> list[list[float]]:
    """The agreement of each pair of models: row i, column j holds how well model i recovers the codes of model j's images.

    Args:
        agreement: of a reader and a drawer, in [0, 1]; the diagonal is 1 without calling it.
    """
    return [[1.0 if reader is drawer else agreement(reader, drawer) for drawer in models] for reader in models]


def centralities(matrix: Sequence[Sequence[float]]) -> list[float]:
    """Each model's mean agreement with the others, as reader and as drawer (Lin et al., algorithm 1)."""
    count = len(matrix)
    return [sum(matrix[i][j] + matrix[j][i] for j in range(count) if j != i) / (2 * (count - 1)) for i in range(count)]
