"""Retrieval of an image's partner in another domain by nearest neighbours of representations."""

import torch
from torch import Tensor


def distances(queries: Tensor, gallery: Tensor) -> Tensor:
    """Euclidean distances (N, M) between vectors or images (N, ...) and (M, ...)."""
    left, right = queries.float().flatten(1), gallery.float().flatten(1)
    centre = right.mean(0)  # what all have in common would only cost precision
    return torch.cdist(left - centre, right - centre)


def recall(queries: Tensor, gallery: Tensor, ks: tuple[int, ...]) -> dict[int, float]:
    """Share of queries whose partner, the gallery's entry of the same row, is among the ``k`` nearest.

    Of entries as near as the partner all count as nearer: a representation that is the same for all finds nothing.
    """
    table = distances(queries, gallery)
    ranks = (table <= table.diagonal()[:, None]).sum(1)
    return {k: (ranks <= k).float().mean().item() for k in ks}
