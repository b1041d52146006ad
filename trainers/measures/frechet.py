"""The Fréchet distance between Gaussians, as FID uses it (Heusel et al., NIPS 2017, equation 6)."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from torch import Tensor

Gaussian = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Mean (D,) and covariance (D, D)."""


def gaussian(samples: Tensor) -> Gaussian:
    """The Gaussian fitted to samples (N, D)."""
    values = samples.double().cpu().numpy()
    return values.mean(0), np.cov(values, rowvar=False)


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½)."""
    (mean_a, covariance_a), (mean_b, covariance_b) = a, b
    root = np.real(sqrtm(covariance_a @ covariance_b))
    return float(np.square(mean_a - mean_b).sum() + np.trace(covariance_a + covariance_b - 2 * root))
