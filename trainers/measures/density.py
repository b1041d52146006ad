"""Fidelity and diversity of generated images without labels: density and coverage (Naeem et al., ICML 2020)."""

import torch
from torch import Tensor

NEIGHBOURS = 5
COMPONENTS = 32
CHUNK = 1000


def density_and_coverage(real: Tensor, fake: Tensor, neighbours: int = NEIGHBOURS) -> dict[str, float]:
    """Density and coverage of fake samples among real ones (equations 4 and 5).

    Around every real sample lies a ball that reaches to its ``neighbours``-th nearest other. ``density`` is the number of balls
    that a fake sample lies in over ``neighbours``, a mean, about 1 for fake samples that are distributed as the real ones;
    ``coverage`` is the share of balls that hold a fake sample, at most 1.

    Args:
        real, made: features (N, D) and (M, D).
    """
    radii = torch.cat([torch.cdist(part, real).kthvalue(neighbours + 1, dim=1).values for part in real.split(CHUNK)])
    inside = torch.cat([torch.cdist(part, real) < radii for part in fake.split(CHUNK)])
    return {"density": inside.float().sum(1).mean().item() / neighbours, "coverage": inside.any(0).float().mean().item()}


def principal_components(real: Tensor, fake: Tensor, count: int = COMPONENTS) -> tuple[Tensor, Tensor]:
    """Project flattened images (N, C, H, W) on the real ones' first principal components: (N, count) each."""
    flat = real.flatten(1).float()
    mean = flat.mean(0)
    _, vectors = torch.linalg.eigh((flat - mean).T @ (flat - mean))
    axes = vectors[:, -count:]
    return (flat - mean) @ axes, (fake.flatten(1).float() - mean) @ axes
