"""Fidelity and diversity of generated samples without labels, by nearest neighbours in a space of features.

Density and coverage (Naeem et al., ICML 2020), precision and recall (Kynkäänniemi et al., NeurIPS 2019).

Where samples come in groups that resemble each other, such as images of one person, neighbours are other groups: else a ball
would reach no further than its own group, and nobody new could lie in it.
"""

import torch
from torch import Tensor

NEIGHBOURS = 5
"""Of density and coverage, as published."""
MANIFOLD_NEIGHBOURS = 3
"""Of precision and recall, as published."""
COMPONENTS = 32
CHUNK = 1000


def density_and_coverage(
    real: Tensor, fake: Tensor, neighbours: int = NEIGHBOURS, groups: Tensor | None = None
) -> dict[str, float]:
    """Density and coverage of fake samples among real ones (equations 4 and 5).

    Around every real sample lies a ball that reaches to its ``neighbours``-th nearest other. ``density`` is the number of balls
    that a fake sample lies in over ``neighbours``, a mean, about 1 for fake samples that are distributed as the real ones (with
    groups whose members are alike up to their size); ``coverage`` is the share of balls that hold a fake sample, at most 1.

    Args:
        real, fake: features (N, D) and (M, D).
        groups: (N,) number of each real sample's group; default: each is its own.
    """
    inside = _inside(fake, real, neighbours, _each_its_own(real, groups))
    return {"density": inside.float().sum(1).mean().item() / neighbours, "coverage": inside.any(0).float().mean().item()}


def precision_and_recall(
    real: Tensor,
    fake: Tensor,
    neighbours: int = MANIFOLD_NEIGHBOURS,
    groups: Tensor | None = None,
    fake_groups: Tensor | None = None,
) -> dict[str, float]:
    """Precision and recall of fake samples (equation 2): the manifold of either set is the union of its samples' balls.

    ``precision`` is the share of fake samples within the manifold of real ones, ``recall`` the share of real samples within the
    manifold of fake ones. In many dimensions both stay below 1 for equal distributions: read them beside those of real samples.

    Args:
        real, fake: features (N, D) and (M, D); N and M should be equal.
        groups, fake_groups: (N,) and (M,), see :func:`density_and_coverage`.
    """
    return {
        "precision": _inside(fake, real, neighbours, _each_its_own(real, groups)).any(1).float().mean().item(),
        "recall": _inside(real, fake, neighbours, _each_its_own(fake, fake_groups)).any(1).float().mean().item(),
    }


def principal_components(real: Tensor, fake: Tensor, count: int = COMPONENTS) -> tuple[Tensor, Tensor]:
    """Project flattened images (N, C, H, W) on the real ones' first principal components: (N, count) each."""
    flat = real.flatten(1).float()
    mean = flat.mean(0)
    _, vectors = torch.linalg.eigh((flat - mean).T @ (flat - mean))
    axes = vectors[:, -count:]
    return (flat - mean) @ axes, (fake.flatten(1).float() - mean) @ axes


def _inside(points: Tensor, centres: Tensor, neighbours: int, groups: Tensor) -> Tensor:
    """(M, N) bool: whether each of M points lies in the ball around each of N centres."""
    radii = _radii(centres, neighbours, groups)
    return torch.cat([torch.cdist(part, centres) < radii for part in points.split(CHUNK)])


def _radii(centres: Tensor, neighbours: int, groups: Tensor) -> Tensor:
    """(N,) distance of each centre to its ``neighbours``-th nearest other group, which is as near as its nearest member.

    Raises:
        ValueError: when there are not so many groups.
    """
    known, of_group = torch.unique(groups, return_inverse=True)
    if len(known) <= neighbours:
        raise ValueError(f"{len(groups)} samples in {len(known)} groups: {neighbours} neighbours need more of them")
    parts = []
    for part, own in zip(centres.split(CHUNK), of_group.split(CHUNK), strict=True):
        to_group = centres.new_full((len(part), len(known)), torch.inf)
        to_group.scatter_reduce_(1, of_group.expand(len(part), -1), torch.cdist(part, centres), "amin")
        to_group.scatter_(1, own[:, None], torch.inf)
        parts.append(to_group.kthvalue(neighbours, dim=1).values)
    return torch.cat(parts)


def _each_its_own(samples: Tensor, groups: Tensor | None) -> Tensor:
    return torch.arange(len(samples), device=samples.device) if groups is None else groups
