"""Retrieval of an image's partner in another domain by nearest neighbours of representations."""

import torch
from torch import Tensor
from torch.nn import functional as F


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


def mean_average_precision(queries: Tensor, gallery: Tensor, query_classes: Tensor, gallery_classes: Tensor) -> float:
    """Mean over queries of the average precision with which entries of the query's class come first.

    Args:
        queries, gallery: vectors or images (N, ...) and (M, ...).
        query_classes, gallery_classes: (N,) and (M,). Queries without an entry of their class are left out.
    """
    order = distances(queries, gallery).argsort(dim=1, stable=True)
    relevant = (gallery_classes[order] == query_classes[:, None]).float()
    precision = relevant.cumsum(1) / torch.arange(1, relevant.shape[1] + 1, device=relevant.device)
    counts = relevant.sum(1)
    found = (precision * relevant).sum(1)[counts > 0] / counts[counts > 0]
    return found.mean().item() if len(found) else 0.0


def edges(images: Tensor) -> Tensor:
    """Size of the gradient at each pixel, scaled to one norm an image: an untrained filter that sees shapes and not colours.

    Args:
        images: (N, C, H, W).

    Returns:
        (N, 1, H, W).
    """
    padded = F.pad(images.float(), (1, 1, 1, 1), mode="replicate")
    vertical = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]).square()
    horizontal = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]).square()
    sizes = (vertical + horizontal).sum(1, keepdim=True).sqrt()
    scaled: Tensor = sizes / sizes.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]
    return scaled
