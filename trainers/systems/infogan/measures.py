"""What InfoGAN must be able to show, as numbers (Chen et al., section 7)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from unbraid.models.infogan.codes import latent_vector, mutual_information, sample_codes, split_head
from unbraid.models.infogan.specs import CodeSpec
from unbraid.models.random import RandomSource
from unbraid.trainers.measures.clustering import Agreement, agreement
from unbraid.trainers.measures.density import density_and_coverage, principal_components
from unbraid.trainers.system import Batch

if TYPE_CHECKING:
    from unbraid.trainers.systems.infogan.system import InfoGAN

MEASURE_SEED = 20_160_612
"""Seed of the codes that L_I is measured on: the same for every run, and never those of training."""
INFORMATION_BATCHES = 20
INFORMATION_BATCH = 500
QUALITY_IMAGES = 2000


def evaluate(system: InfoGAN, batches: Iterable[Batch]) -> dict[str, float]:
    """All measures of a trained InfoGAN.

    ``code/…_accuracy``, ``_nmi`` and ``_ari`` compare the code that Q reads from real held-out images with
    their labels, one set of numbers a categorical code, and ``code/accuracy`` the best of them; left out where
    a data set has no labels. ``info/…_nats`` is L_I on 10,000 made images, ``…_ceiling_nats`` the most it could be,
    ``info/share`` see :func:`information_share`. ``quality/density`` and ``quality/coverage`` of 2,000 made images among as
    many held-out ones, :mod:`unbraid.trainers.measures.density`.
    ``selection/covered_information``, the product of share and coverage, is
    high when the codes tell in images what was put into them *and* these images stand in for the real ones; no label is read.
    """
    kept = list(batches)
    scores = measure_information(system) | measure_quality(system, kept)
    scores["info/share"] = information_share(system.codes, scores)
    scores["selection/covered_information"] = scores["info/share"] * scores["quality/coverage"]
    results = code_agreements(system, kept)
    for name, result in results.items():
        scores |= {f"code/{name}_accuracy": result.accuracy, f"code/{name}_nmi": result.nmi, f"code/{name}_ari": result.ari}
    if results:
        scores["code/accuracy"] = max(result.accuracy for result in results.values())
    return scores


@torch.no_grad()
def measure_information(system: InfoGAN) -> dict[str, float]:
    """L_I of each code in nats and its ceiling, on fresh codes and images of the averaged G, with their own statistics."""
    spec, source = system.codes, RandomSource(MEASURE_SEED, system.device)
    samples = [sample_codes(spec, source, INFORMATION_BATCH) for _ in range(INFORMATION_BATCHES)]
    made = [system.draw(latent_vector(spec, sample)) for sample in samples]
    reader = system.reader(made)
    sums: dict[str, float] = dict.fromkeys(spec.names, 0.0)
    for sample, images in zip(samples, made, strict=True):
        for name, value in mutual_information(spec, split_head(spec, reader.read(images)), sample).items():
            sums[name] += value.item() / INFORMATION_BATCHES
    scores = {f"info/{name}_nats": value for name, value in sums.items()}
    ceilings = {name: value for name, value in spec.ceilings.items() if math.isfinite(value)}
    return scores | {f"info/{name}_ceiling_nats": value for name, value in ceilings.items()}


def information_share(spec: CodeSpec, scores: Mapping[str, float]) -> float:
    """How much of what the codes could tell they do tell, the mean over codes: 1 is all, 0 nothing; not below 0.

    Categorical: L_I / log K. Continuous: the share of variance that is told, ρ². At fixed sigma L_I − H(c) is
    −(log 2π + E[(c − mean)²]) / 2, which holds that error, out of 1/3; at learnt variances it is 1 − exp(−2 L_I), which is ρ²
    of a Gaussian channel of so many nats.
    """
    shares = []
    for name in spec.names:
        nats = scores[f"info/{name}_nats"]
        if name.startswith("categorical"):
            share = nats / spec.entropies[name]
        elif math.isfinite(spec.ceilings[name]):
            share = 1 - 6 * (spec.ceilings[name] - nats)
        else:
            share = 1 - math.exp(-2 * nats)
        shares.append(max(share, 0.0))
    return sum(shares) / len(shares)


@torch.no_grad()
def measure_quality(system: InfoGAN, batches: Iterable[Batch]) -> dict[str, float]:
    """Density and coverage of made images among held-out ones, in the real ones' principal components."""
    real = torch.cat([system.unit_range(system.normalise(batch["image"])) for batch in batches])[:QUALITY_IMAGES]
    source = RandomSource(MEASURE_SEED + 1, system.device)
    drawn = [sample_codes(system.codes, source, INFORMATION_BATCH) for _ in range(QUALITY_IMAGES // INFORMATION_BATCH)]
    made = torch.cat([system.unit_range(system.draw(latent_vector(system.codes, sample))) for sample in drawn])
    scores = density_and_coverage(*principal_components(real, made))
    return {f"quality/{name}": value for name, value in scores.items()}


def code_agreements(system: InfoGAN, batches: Iterable[Batch]) -> dict[str, Agreement]:
    """Agreement of each categorical code with the labels; empty where there are no labels or no such codes."""
    assigned, labels = read_codes(system, batches)
    if labels is None:
        return {}
    return {
        f"categorical_{i}": agreement(assigned[:, i], labels, classes) for i, classes in enumerate(system.codes.categorical)
    }


def read_codes(system: InfoGAN, batches: Iterable[Batch]) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """The most likely class of each categorical code for each real image, (N, codes), and the labels (N,) if any."""
    assigned: list[torch.Tensor] = []
    labels: list[torch.Tensor] = []
    for batch in batches:
        if not system.codes.categorical:
            break
        posterior = system.infer(system.normalise(batch["image"]))
        assigned.append(torch.stack([logits.argmax(1) for logits in posterior.logits], dim=1).cpu())
        if "label" in batch:
            labels.append(batch["label"].cpu())
    codes = torch.cat(assigned).numpy() if assigned else np.zeros((0, len(system.codes.categorical)), np.int64)
    return codes, torch.cat(labels).numpy() if labels else None
