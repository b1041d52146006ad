"""What InfoGAN must be able to show, as numbers (Chen et al., section 7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from unbraid.models.infogan.codes import latent_vector, mutual_information, sample_codes
from unbraid.models.infogan.specs import PRIOR_VARIANCE, CodeSpec
from unbraid.models.random import RandomSource
from unbraid.trainers.data import EvaluationData
from unbraid.trainers.measures.clustering import Clustering, clustering
from unbraid.trainers.measures.density import density_and_coverage, principal_components
from unbraid.trainers.step.distributed import gather_parts, on_main, spread
from unbraid.trainers.systems.infogan.model import Model, Reader

MEASURE_SEED = 20_160_612
"""Seed of the codes that L_I is measured on: the same for every run, and never those of training."""
INFORMATION_BATCHES = 20
INFORMATION_BATCH = 500
QUALITY_IMAGES = 2000
CALIBRATION_IMAGES = 4000
"""Training images whose batch statistics the reader of real images has."""
CALIBRATION_BATCH = 128


@dataclass(frozen=True)
class ReadCodes:
    """What Q reads from the held-out images.

    Attributes:
        assigned: (N, categorical codes) the most likely class of each.
        labels: (N,) true classes; None where the set has none.
        images: (M, C, H, W) uint8, the first of them.
    """

    assigned: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    images: torch.Tensor


def evaluate(model: Model, data: EvaluationData) -> dict[str, float]:
    """All measures of a trained InfoGAN.

    ``code/…_accuracy``, ``_nmi`` and ``_ari`` compare the code that Q reads from real held-out images with
    their labels, one set of numbers a categorical code, and ``code/accuracy`` the best of them; left out where
    a data set has no labels. ``info/…_nats`` is L_I on 10,000 generated images, ``…_ceiling_nats`` the most it could be,
    ``…_share`` L_I as a share of that (:meth:`unbraid.models.infogan.specs.CodeSpec.information_shares`), ``info/share`` the
    mean over codes. ``…_explained`` is the share of a continuous code's variance that Q's mean explains, whatever the variance
    of Q. ``quality/density`` and ``quality/coverage`` are of 2,000 generated images
    among as many held-out ones, see :mod:`unbraid.trainers.measures.density`. ``selection/covered_information``, the
    product of share and coverage, is high when images show the codes that they were drawn with *and* stand in for real
    ones; it reads no label.
    """
    read = read_codes(model, data, QUALITY_IMAGES)
    real = model.unit_range(model.normalise(read.images))
    scores = measure_information(model, data) | measure_quality(model, real, data)
    scores["selection/covered_information"] = scores["info/share"] * scores["quality/coverage"]
    results = code_clusterings(model.codes, read)
    for name, result in results.items():
        scores |= {f"code/{name}_accuracy": result.accuracy, f"code/{name}_nmi": result.nmi, f"code/{name}_ari": result.ari}
    if results:
        scores["code/accuracy"] = max(result.accuracy for result in results.values())
    return scores


@torch.no_grad()
def measure_information(model: Model, data: EvaluationData) -> dict[str, float]:
    """``info/…``: what Q reads of fresh codes from images of the averaged G, with these images' own statistics."""
    spec, source = model.codes, RandomSource(MEASURE_SEED, model.device)
    samples = [sample_codes(spec, source, INFORMATION_BATCH) for _ in range(INFORMATION_BATCHES)]
    mine = samples[data.world.rank :: data.world.size]
    fake = [model.draw(latent_vector(spec, sample)) for sample in mine]
    reader = model.reader(fake, data.world)
    read = []
    for sample, images in zip(mine, fake, strict=True):
        posterior = reader.read(images)
        errors = (sample.continuous - posterior.mean).square().mean(0)
        read.append(torch.cat([torch.stack(list(mutual_information(spec, posterior, sample).values())), errors])[None])
    means = torch.cat(gather_parts(read, data.world)).double().mean(0).tolist()
    nats, squared = dict(zip(spec.names, means, strict=False)), means[len(spec.names) :]
    scores = {f"info/{name}_nats": value for name, value in nats.items()}
    scores |= {f"info/{name}_ceiling_nats": value for name, value in spec.ceilings.items()}
    shares = spec.information_shares(nats)
    scores |= {f"info/{name}_share": share for name, share in shares.items()}
    scores["info/share"] = sum(shares.values()) / len(shares)
    explained = [max(1 - error / PRIOR_VARIANCE, 0.0) for error in squared]
    return scores | {f"info/continuous_{i}_explained": share for i, share in enumerate(explained)}


@torch.no_grad()
def measure_quality(model: Model, real: torch.Tensor, data: EvaluationData) -> dict[str, float]:
    """Density and coverage of generated images among held-out ones, in the real ones' principal components.

    Args:
        real: (N, C, H, W) in [0, 1], the same on every rank.
    """
    source = RandomSource(MEASURE_SEED + 1, model.device)
    drawn = [sample_codes(model.codes, source, INFORMATION_BATCH) for _ in range(QUALITY_IMAGES // INFORMATION_BATCH)]
    fake = spread(lambda sample: model.unit_range(model.draw(latent_vector(model.codes, sample))), drawn, data.world)
    scores = on_main(lambda: density_and_coverage(*principal_components(real, torch.cat(fake))), data.world)
    return {f"quality/{name}": value for name, value in scores.items()}


def code_clusterings(spec: CodeSpec, read: ReadCodes) -> dict[str, Clustering]:
    """Each categorical code as a clustering of the labels; empty where there are no labels or no such codes."""
    if read.labels is None:
        return {}
    return {
        f"categorical_{i}": clustering(read.assigned[:, i], read.labels, classes) for i, classes in enumerate(spec.categorical)
    }


def read_codes(model: Model, data: EvaluationData, images: int) -> ReadCodes:
    """What Q reads from all held-out images, with the batch statistics of training images.

    Args:
        images: to be kept.
    """
    reader = real_reader(model, data)
    kept: list[torch.Tensor] = []
    assigned: list[torch.Tensor] = []
    labels: list[torch.Tensor] = []
    for batch in data.held_out():
        normalised = model.normalise(batch["image"])
        logits = reader.read(normalised).logits
        assigned.append(
            torch.stack([of_code.argmax(1) for of_code in logits], 1) if logits else normalised.new_zeros(len(normalised), 0)
        )
        if sum(map(len, kept)) * data.world.size < images:
            kept.append(batch["image"])
        if "label" in batch:
            labels.append(batch["label"])
    world = data.world
    codes = torch.cat(gather_parts(assigned, world)).long().cpu().numpy()
    shown = torch.cat(gather_parts(kept, world))[:images]
    truth = gather_parts(labels, world) if _any(labels, data) else []
    return ReadCodes(codes, torch.cat(truth).cpu().numpy() if truth else None, shown)


def real_reader(model: Model, data: EvaluationData) -> Reader:
    """Q with the batch statistics of training images."""
    batches = data.training(CALIBRATION_IMAGES, CALIBRATION_BATCH)
    return model.reader((model.normalise(batch["image"]) for batch in batches), data.world)


def _any(labels: list[torch.Tensor], data: EvaluationData) -> bool:
    """Whether the split has labels; a rank without a batch cannot know by itself."""
    return data.world.any(bool(labels))
