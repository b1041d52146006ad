"""Perceptual distances between images: LPIPS where its weights are installed, and the L1 distance of Laplacian pyramids."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache

import torch
from kornia.geometry.transform import pyrdown, pyrup
from torch import Tensor

from unbraid.trainers.measures.fidelity import UnavailableError, hub_weights, require_weights

SMALLEST = 8
"""Side of the last level of a pyramid."""
CHUNK = 32
LPIPS_WEIGHTS = ("weights-vgg16-lpips.pth", "vgg16-397923af.pth")
"""Files that torch-fidelity's LPIPS is made of, in torch's own cache; nothing is downloaded here."""
log = logging.getLogger("unbraid")

Distance = Callable[[Tensor, Tensor], Tensor]
"""Of images (N, 3, H, W) in [0, 1] and as many others: (N,)."""


def diversity(a: Tensor, b: Tensor, lpips: Distance | None = None) -> dict[str, float]:
    """Mean distances between the rows of two sets of images (N, C, H, W) in [0, 1]: ``laplacian``, and ``lpips`` if installed.

    Args:
        lpips: default: torch-fidelity's.
    """
    perceptual = lpips or _lpips(str(a.device))
    chunks = list(zip(a.split(CHUNK), b.split(CHUNK), strict=True))
    scores = {"laplacian": torch.cat([laplacian_distance(*chunk) for chunk in chunks]).mean().item()}
    if perceptual is not None:
        scores["lpips"] = torch.cat([perceptual(*chunk) for chunk in chunks]).mean().item()
    return scores


def laplacian_pyramid(images: Tensor) -> list[Tensor]:
    """Laplacian pyramid of images (N, C, H, W): details of each scale, finest first, then the coarsest image."""
    levels = []
    while min(images.shape[2:]) >= 2 * SMALLEST:
        smaller = pyrdown(images)
        levels.append(images - pyrup(smaller))
        images = smaller
    return [*levels, images]


def laplacian_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean over the levels of two images' pyramids of their mean absolute difference, (N,); images (N, C, H, W) in [0, 1].

    After the Lap1 of Bojanowski et al., 2018 (Optimizing the Latent Space of Generative Networks), whose sum weights each level
    by its pixels; here each level counts the same at any size.
    """
    pairs = zip(laplacian_pyramid(a), laplacian_pyramid(b), strict=True)
    return torch.stack([(left - right).abs().mean((1, 2, 3)) for left, right in pairs]).mean(0)


@lru_cache(maxsize=2)
def _lpips(device: str) -> Distance | None:
    """torch-fidelity's LPIPS (Zhang et al., 2018, on VGG16), or None with one warning where package or weights are missing."""
    try:
        for name in LPIPS_WEIGHTS:
            require_weights(hub_weights(name), "docs/cdd.md says which files go there")
    except UnavailableError as reason:
        log.warning("LPIPS is left out: %s", reason)
        return None
    try:
        from torch_fidelity.sample_similarity_lpips import SampleSimilarityLPIPS
    except (ImportError, RuntimeError) as error:
        log.warning("LPIPS is left out: torch-fidelity cannot be imported (%s): pip install 'unbraid[fidelity]'", error)
        return None
    network = SampleSimilarityLPIPS("lpips-vgg16").to(device).eval()

    @torch.no_grad()
    def distance(a: Tensor, b: Tensor) -> Tensor:
        left, right = ((images.expand(-1, 3, -1, -1) * 255).round().byte() for images in (a, b))
        result: Tensor = network(left, right)
        return result.flatten()

    return distance
