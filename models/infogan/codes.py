"""Latent codes of InfoGAN: independent categorical and continuous variables beside noise (Chen et al., 2016, section 4)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unbraid.models.infogan.specs import CodeSpec
from unbraid.models.random import RandomSource


@dataclass(frozen=True)
class CodeSample:
    """One draw of codes and noise for a batch of B.

    Attributes:
        noise: (B, noise).
        categorical: (B, number of categorical codes), int64 class of each.
        continuous: (B, number of continuous codes) in [-1, 1].
    """

    noise: Tensor
    categorical: Tensor
    continuous: Tensor


@dataclass(frozen=True)
class CodePosterior:
    """Q(c | x): the distribution of each code given an image, for a batch of B.

    Attributes:
        logits: one (B, K_i) for each categorical code.
        mean: (B, continuous).
        log_variance: (B, continuous), zero where sigma is fixed at 1.
    """

    logits: tuple[Tensor, ...]
    mean: Tensor
    log_variance: Tensor


def sample_codes(spec: CodeSpec, source: RandomSource, batch: int) -> CodeSample:
    """Draw ``batch`` rows of codes and noise from their priors."""
    noise = source.uniform(batch, spec.noise, low=-1.0) if spec.noise_prior == "uniform" else source.normal(batch, spec.noise)
    uniform = source.uniform(batch, len(spec.categorical))
    categorical = torch.empty_like(uniform, dtype=torch.int64)
    for i, classes in enumerate(spec.categorical):
        # uniform < 1, but uniform * K may round up to K in float32
        categorical[:, i] = (uniform[:, i] * classes).long().clamp(max=classes - 1)
    return CodeSample(noise, categorical, source.uniform(batch, spec.continuous, low=-1.0))


def latent_vector(spec: CodeSpec, sample: CodeSample) -> Tensor:
    """Join noise, one-hot categorical codes and continuous codes to the generator's input (B, latent_width)."""
    one_hots = [
        F.one_hot(sample.categorical[:, i], classes).to(sample.noise.dtype) for i, classes in enumerate(spec.categorical)
    ]
    return torch.cat([sample.noise, *one_hots, sample.continuous], dim=1)


def split_head(spec: CodeSpec, head: Tensor) -> CodePosterior:
    """Split the Q head's output (B, head_width) into the parameters of each code's distribution.

    Raises:
        ValueError: when the width is another than these codes need.
    """
    if head.ndim != 2 or head.shape[1] != spec.head_width:
        raise ValueError(
            f"the Q head gives {tuple(head.shape)}, but these codes need (B, {spec.head_width}): "
            "the network was built for other codes"
        )
    head = head.float()
    learnt = [i for i, variance in enumerate(spec.variances) if variance == "learnt"]
    *logits, mean, raw = torch.split(head, [*spec.categorical, spec.continuous, len(learnt)], dim=1)
    columns = list(torch.zeros_like(mean).unbind(1))
    floor = torch.full((), math.log(spec.variance_floor), device=head.device)
    for i, column in zip(learnt, raw.unbind(1), strict=True):
        columns[i] = torch.logaddexp(column, floor)  # the variance is exp(column) + variance_floor
    log_variance = torch.stack(columns, dim=1) if columns else mean
    return CodePosterior(tuple(logits), mean, log_variance)


def log_likelihood(spec: CodeSpec, posterior: CodePosterior, sample: CodeSample) -> dict[str, Tensor]:
    """E[log Q(c | x)] of each code, a mean over the batch, in nats (equation 5, first term).

    Categorical: minus the cross-entropy. Continuous: the log-density of a Gaussian with its constant, so that the prior's
    entropy added to it gives the bound itself, not a shifted one.
    """
    terms: dict[str, Tensor] = {}
    for i, logits in enumerate(posterior.logits):
        terms[f"categorical_{i}"] = -F.cross_entropy(logits, sample.categorical[:, i])
    squared = (sample.continuous - posterior.mean) ** 2 * torch.exp(-posterior.log_variance)
    density = -0.5 * (math.log(2 * math.pi) + posterior.log_variance + squared)
    for i in range(spec.continuous):
        terms[f"continuous_{i}"] = density[:, i].mean()
    return terms


def mutual_information(spec: CodeSpec, posterior: CodePosterior, sample: CodeSample) -> dict[str, Tensor]:
    """L_I of each code in nats: E[log Q(c | x)] + H(c), a lower bound of I(c; G(z, c)) (equation 5)."""
    entropies = spec.entropies
    return {name: value + entropies[name] for name, value in log_likelihood(spec, posterior, sample).items()}
