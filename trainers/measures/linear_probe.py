"""Linear probes of representations (Alain & Bengio, 2016): what a linear model reads from features.

Probes are fitted to training images and scored on held-out ones; features are scaled to one deviation first, or what is faint
would be taken for nothing.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

KEPT_BACK = 0.2
"""Share of the fitted samples that is held back to choose the strength of the regularisation."""
RIDGES = (1.0, 100.0, 10_000.0)
LOGISTIC = (1.0, 0.001)
"""C, the inverse strength of regularisation: for few features, and for many, which overfit."""
FEW = 64

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Probed:
    """Features (N, ...) and what is to be read from them: (N,) classes, or (N, 3) colours."""

    features: Tensor
    truth: Tensor


def label_accuracy(fitted: Probed, scored: Probed) -> float:
    """Accuracy of a multinomial logistic regression on held-out samples."""
    from sklearn.linear_model import LogisticRegression

    known, seen = _scaled(fitted, scored)
    probe = LogisticRegression(C=LOGISTIC[0 if known.shape[1] <= FEW else 1], max_iter=200, tol=1e-3)
    return float(probe.fit(known, fitted.truth.cpu().numpy()).score(seen, scored.truth.cpu().numpy()))


def colour_r2(fitted: Probed, scored: Probed) -> float:
    """R² of a ridge regression of RGB colours on held-out samples, the mean over channels."""
    from scipy.linalg import LinAlgWarning
    from sklearn.linear_model import Ridge

    known, seen = _scaled(fitted, scored)
    wanted = fitted.truth.cpu().numpy()
    first = round((1 - KEPT_BACK) * len(known))
    with warnings.catch_warnings():
        # numbers of S without noise nearly depend on each other; a stronger ridge wins where that does harm
        warnings.simplefilter("ignore", LinAlgWarning)
        probes = [Ridge(strength).fit(known[:first], wanted[:first]) for strength in RIDGES]
    best = max(probes, key=lambda probe: float(probe.score(known[first:], wanted[first:])))
    return float(best.score(seen, scored.truth.cpu().numpy()))


def _scaled(fitted: Probed, scored: Probed) -> tuple[Array, Array]:
    """Features scaled by the mean and deviation of the fitted ones."""
    known, seen = (probed.features.detach().flatten(1).float() for probed in (fitted, scored))
    mean, deviation = known.mean(0), known.std(0)
    deviation = deviation.where(deviation > 0, 1.0)
    return ((known - mean) / deviation).cpu().numpy(), ((seen - mean) / deviation).cpu().numpy()
