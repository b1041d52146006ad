"""What stage II must be able to show, as numbers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from unbraid.models.random import RandomSource
from unbraid.trainers.data import Batch, EvaluationData
from unbraid.trainers.measures.fidelity import inception_scores
from unbraid.trainers.measures.frechet import frechet_distance, gaussian
from unbraid.trainers.step.distributed import World, gather_parts, on_main
from unbraid.trainers.step.images import normalised, unit_range
from unbraid.trainers.systems.dpig.model import Model
from unbraid.trainers.systems.dpig.plausibility import CALIBRATION_IMAGES, PoseRange

MEASURE_SEED = 20_180_618
DRAWN = 4000
Embedded = tuple[dict[str, Tensor], Tensor]
"""Embeddings (N, width) by factor, and keypoints (N, 18, 3)."""


def evaluate(model: Model, data: EvaluationData) -> dict[str, float]:
    """Distances between Gaussians fitted to embeddings, standardised as the mappings are, and plausible poses.

    ``frechet/FACTOR`` (Heusel et al., 2017, equation 6, on embeddings instead of Inception's features) is between drawn and
    held-out real ones; ``…_train`` between training and held-out ones, what a perfect mapping would reach;
    ``…_shuffled`` between these after each number of the embedding is shuffled over images by itself: means and variances are
    right, covariances gone.
    ``frechet/mean_ratio`` is drawn over shuffled, the mean over factors. ``plausible/…_percent``: see
    :mod:`unbraid.trainers.systems.dpig.plausibility`. ``samples/is`` and ``samples/fid`` of whole images where Inception is at
    hand.
    """
    world = data.world
    training, training_poses = embed(model, data.training(CALIBRATION_IMAGES), world)
    held_out = list(data.held_out())
    real, poses = embed(model, held_out, world)
    source = RandomSource(MEASURE_SEED, model.device)
    scores: dict[str, float] = {}
    ratios = []
    for factor in real:
        noise = model.noise(factor, DRAWN, source)
        mapping = model.mapping(factor)
        with torch.no_grad():
            drawn = mapping(noise)
        seen = mapping.standardise(training[factor])
        shuffled = torch.stack([column[torch.argsort(source.uniform(len(seen)))] for column in seen.unbind(1)], 1)
        reference = gaussian(mapping.standardise(real[factor]))
        found, floor, baseline = (frechet_distance(gaussian(x), reference) for x in (drawn, seen, shuffled))
        scores |= {f"frechet/{factor}": found, f"frechet/{factor}_train": floor, f"frechet/{factor}_shuffled": baseline}
        ratios.append(found / max(baseline, 1e-12))
        if factor == "pose":
            plausible = PoseRange.of(training_poses, model.size).plausible
            scores["plausible/sampled_percent"] = 100 * _share(plausible(model.map(factor, noise), model.size))
            scores["plausible/real_percent"] = 100 * _share(plausible(poses, model.size))
    if set(real) == set(model.factors):
        scores |= _sample_scores(model, held_out, source, world)
    scores["frechet/mean_ratio"] = float(np.mean(ratios))
    return scores


def embed(model: Model, batches: Iterable[Batch], world: World) -> Embedded:
    """Real embeddings and poses of all ranks' batches, in order; a collective.

    Args:
        batches: this rank's share.
    """
    kept = [(model.embeddings(normalised(batch["image"]), batch["keypoints"]), batch["keypoints"]) for batch in batches]
    embeddings = {
        factor: torch.cat(gather_parts([of_batch[factor] for of_batch, _ in kept], world)) for factor in model.mappings
    }
    return embeddings, torch.cat(gather_parts([keypoints for _, keypoints in kept], world))


def _sample_scores(model: Model, held_out: list[Batch], source: RandomSource, world: World) -> dict[str, float]:
    """``samples/…``: Inception's scores of drawn people among real ones."""
    images = torch.cat(gather_parts([batch["image"] for batch in held_out], world)).float() / 255
    drawn = model.sample(min(len(images), DRAWN), source)
    people = unit_range(model.shared_over(world).decode(drawn))
    return {f"samples/{name}": value for name, value in on_main(lambda: inception_scores(people, images), world).items()}


def _share(flags: Tensor) -> float:
    return flags.float().mean().item()
