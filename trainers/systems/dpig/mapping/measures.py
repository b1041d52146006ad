"""What stage II must be able to show, as numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from unbraid.models.dpig.specs import FACTORS
from unbraid.models.random import RandomSource
from unbraid.trainers.measures.fidelity import inception_scores
from unbraid.trainers.measures.frechet import frechet_distance, gaussian
from unbraid.trainers.step.images import normalised, unit_range
from unbraid.trainers.system import Batch
from unbraid.trainers.systems.dpig.plausibility import PoseRange

if TYPE_CHECKING:
    from unbraid.trainers.systems.dpig.mapping.system import Embeddings, Mapping

MEASURE_SEED = 20_180_618
DRAWN = 4000


@dataclass(frozen=True)
class Seen:
    """What training images look like to stage I: real embeddings by factor, and the range of poses."""

    embeddings: dict[str, Tensor]
    poses: PoseRange

    @classmethod
    def of(cls, system: Mapping, batches: Iterable[Batch]) -> Seen:
        """Of some batches of training images."""
        kept = [(embed_batch(system, batch), batch["keypoints"]) for batch in batches]
        return cls(_joined([e for e, _ in kept]), PoseRange.of(torch.cat([k for _, k in kept]), system.size))


def evaluate(system: Mapping, batches: Iterable[Batch]) -> dict[str, float]:
    """Distances between Gaussians fitted to embeddings, standardised as the mappings are, and plausible poses.

    ``frechet/FACTOR`` (Heusel et al., 2017, equation 6, on embeddings instead of Inception's features) is between drawn and
    held-out real ones; ``…_train`` between training and held-out ones, what a perfect mapping would reach;
    ``…_shuffled`` between these after each number of the embedding is shuffled over images by itself: means and variances are
    right, covariances gone.
    ``frechet/mean_ratio`` is drawn over shuffled, the mean over factors. ``plausible/…_percent``: see
    :mod:`unbraid.trainers.systems.dpig.plausibility`.
    ``samples/is`` and ``samples/fid`` of whole images where Inception is at hand.
    """
    assert system.seen is not None
    every = list(batches)
    real, poses = _joined([embed_batch(system, batch) for batch in every]), torch.cat([batch["keypoints"] for batch in every])
    images = torch.cat([batch["image"] for batch in every]).float() / 255
    source = RandomSource(MEASURE_SEED, system.device)
    model, ratios = system.model, []
    scores: dict[str, float] = {}
    for factor, held_out in real.items():
        noise = model.noise(factor, DRAWN, source)
        mapping = model.mapping(factor)
        with torch.no_grad():
            drawn = mapping(noise)
        seen = mapping.standardise(system.seen.embeddings[factor])
        shuffled = torch.stack([column[torch.argsort(source.uniform(len(seen)))] for column in seen.unbind(1)], 1)
        reference = gaussian(mapping.standardise(held_out))
        found, floor, baseline = (frechet_distance(gaussian(x), reference) for x in (drawn, seen, shuffled))
        scores |= {f"frechet/{factor}": found, f"frechet/{factor}_train": floor, f"frechet/{factor}_shuffled": baseline}
        ratios.append(found / max(baseline, 1e-12))
        if factor == "pose":
            sampled = model.map(factor, noise)
            scores["plausible/sampled_percent"] = 100 * _share(system.seen.poses.plausible(sampled, system.size))
            scores["plausible/real_percent"] = 100 * _share(system.seen.poses.plausible(poses, system.size))
    if set(real) == set(FACTORS):
        people = unit_range(model.decode(model.sample(min(len(images), DRAWN), source)))
        scores |= {f"samples/{name}": value for name, value in inception_scores(people, images).items()}
    scores["frechet/mean_ratio"] = float(np.mean(ratios))
    return scores


def embed_batch(system: Mapping, batch: Batch) -> Embeddings:
    """Real embeddings of a batch as the stream gives it."""
    return system.embed(normalised(batch["image"]), batch["keypoints"])


def _joined(parts: list[Embeddings]) -> Embeddings:
    return {factor: torch.cat([part[factor] for part in parts]) for factor in parts[0]}


def _share(flags: Tensor) -> float:
    return flags.float().mean().item()
