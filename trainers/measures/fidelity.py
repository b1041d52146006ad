"""Inception score and FID, where torch-fidelity and its weights are installed.

The network is torch-fidelity's, which gives the numbers that papers report. Nothing is downloaded here: weights are read from
the file that UNBRAID_INCEPTION names, or from torch's own cache.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unbraid.trainers.measures.frechet import frechet_distance, gaussian

VARIABLE = "UNBRAID_INCEPTION"
WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
CHUNK = 50
SPLITS = 10
"""Parts of which the published inception score is the mean."""
log = logging.getLogger("unbraid")

Extractor = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Images (B, 3, H, W) uint8 → features (B, 2048) and logits (B, 1008)."""


class UnavailableError(Exception):
    """Inception cannot be used here; the message says why and what to do."""


def inception_extractor(device: torch.device) -> Extractor:
    """Load torch-fidelity's Inception onto a device.

    Raises:
        UnavailableError: when the package or the weights are missing.
    """
    path = Path(os.environ.get(VARIABLE) or hub_weights(WEIGHTS))
    require_weights(path, f"put {WEIGHTS} of torch-fidelity there, or name it in {VARIABLE}")
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except (ImportError, RuntimeError) as error:
        raise UnavailableError(f"torch-fidelity cannot be imported ({error}): pip install 'unbraid[fidelity]'") from None
    network = FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path))
    network = network.to(device).eval()

    @torch.no_grad()
    def extract(images: Tensor) -> tuple[Tensor, Tensor]:
        features, logits = network(images)
        return features, logits

    return extract


def hub_weights(name: str) -> Path:
    """The path of a file of weights in torch's own cache."""
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def require_weights(path: Path, remedy: str) -> None:
    """Check that a file holds weights only, because torch-fidelity unpickles it.

    Raises:
        UnavailableError: with what to do.
    """
    if not path.is_file():
        raise UnavailableError(f"no weights at {path}: {remedy}")
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise UnavailableError(f"{path}: not a file of weights ({error}); {remedy}") from None


def inception_scores(fake: Tensor, real: Tensor, extractor: Extractor | None = None) -> dict[str, float]:
    """Scores of generated images (N, 3, H, W) in [0, 1] by Inception; empty, with a warning, where it is not at hand.

    ``is`` of all images at once, ``is_pg2`` as papers report it, the mean over ten parts in their order (from ten images on),
    ``fid`` between them and real ones. A score of fewer images is lower: compare ``is_pg2`` at equal numbers of images.

    Args:
        extractor: default: torch-fidelity's.
    """
    if extractor is None:
        try:
            extractor = inception_extractor(fake.device)
        except UnavailableError as reason:
            _say_once(f"IS and FID are left out: {reason}")
            return {}
    (features, logits), (real_features, _) = _extracted(fake, extractor), _extracted(real, extractor)
    scores = {"is": inception_score(logits), "fid": frechet_distance(gaussian(features), gaussian(real_features))}
    return scores | ({"is_pg2": split_inception_score(logits)} if len(logits) >= SPLITS else {})


def inception_score(logits: Tensor) -> float:
    """exp E[KL(p(y|x) ‖ p(y))] of logits (N, classes) (Salimans et al., 2016)."""
    given = torch.log_softmax(logits.double(), 1)
    marginal = torch.logsumexp(given, 0, keepdim=True) - np.log(len(logits))
    return float((given.exp() * (given - marginal)).sum(1).mean().exp())


def split_inception_score(logits: Tensor) -> float:
    """The mean of :func:`inception_score` over ten parts of logits (N, classes), N >= 10, as in Salimans et al.'s code."""
    ends = [part * len(logits) // SPLITS for part in range(SPLITS + 1)]
    return float(np.mean([inception_score(logits[a:b]) for a, b in pairwise(ends)]))


def _extracted(images: Tensor, extractor: Extractor) -> tuple[Tensor, Tensor]:
    pixels = images.clamp(0, 1).mul(255).round().byte()
    parts = [extractor(chunk) for chunk in pixels.split(CHUNK)]
    return torch.cat([features for features, _ in parts]), torch.cat([logits for _, logits in parts])


@lru_cache(maxsize=8)
def _say_once(text: str) -> None:
    log.warning(text)
