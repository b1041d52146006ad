"""What stage II must be able to show, as numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from unbraid.models.dpig.embeddings import NoiseMapping
from unbraid.models.dpig.moments import Moments
from unbraid.models.random import RandomSource
from unbraid.trainers.data import Batch, EvaluationData
from unbraid.trainers.measures.density import NEIGHBOURS, density_and_coverage, precision_and_recall
from unbraid.trainers.measures.fidelity import inception_scores
from unbraid.trainers.measures.frechet import frechet_distance, gaussian
from unbraid.trainers.measures.two_sample import two_sample_accuracy
from unbraid.trainers.step.distributed import World, gather_parts, on_main
from unbraid.trainers.step.images import normalised, unit_range
from unbraid.trainers.systems.dpig.model import Model
from unbraid.trainers.systems.dpig.plausibility import CALIBRATION_IMAGES, PoseRange, joint_deviations

MEASURE_SEED = 20_180_618
DRAWN = 4000


@dataclass(frozen=True)
class Embedded:
    """Real images as stage I embeds them.

    Attributes:
        embeddings: (N, width) by factor.
        keypoints: (N, 18, 3).
        person: (N,) number of the person; of an image without one a number of its own.
    """

    embeddings: dict[str, Tensor]
    keypoints: Tensor
    person: Tensor


def evaluate(model: Model, data: EvaluationData) -> dict[str, float]:
    """Drawn embeddings and poses against held-out real ones.

    Each number of an embedding is scaled by its mean and deviation over training images. Beside what the model draws, each
    measure is there for two rivals: ``…_gaussian`` is drawn from the Gaussian fitted to training embeddings, ``…_train`` are
    training embeddings themselves, what a perfect mapping would reach.

    - ``frechet/FACTOR`` (Heusel et al., 2017, equation 6, on embeddings instead of Inception's features) sees means and
      covariances only. ``…_shuffled`` are training embeddings after each number was shuffled over images by itself.
      ``frechet/mean_ratio`` is drawn over shuffled, the mean over factors.
    - ``two_sample/``, ``precision/``, ``recall/``, ``density/``, ``coverage/``: see
      :mod:`unbraid.trainers.measures.two_sample` and :mod:`unbraid.trainers.measures.density`, with as many drawn as held-out
      ones; images of one person are one group.
    - ``plausible/…_percent``: see :mod:`unbraid.trainers.systems.dpig.plausibility`. ``variety/pose_ratio``: deviation of
      joints in drawn poses over that in real ones, the mean over joints; ``_lowest`` and ``_highest`` are of single joints.
    - ``samples/is`` and ``samples/fid`` of whole images where Inception is at hand.
    """
    world = data.world
    training = embed(model, data.training(CALIBRATION_IMAGES), world)
    held_out = list(data.held_out())
    real = embed(model, held_out, world)
    source = RandomSource(MEASURE_SEED, model.device)
    scores: dict[str, float] = {}
    for factor in real.embeddings:
        rival = fitted_gaussian(training.embeddings[factor])
        with torch.no_grad():
            drawn = {
                "": model.mapping(factor).draw(model.noise(factor, DRAWN, source)),
                "_gaussian": rival.draw(source.normal(DRAWN, rival.width)),
            }
        scores |= _frechet_scores(factor, drawn, training, real, source)
        scores |= on_main(partial(_sample_based_scores, factor, drawn, training, real), world)
        if factor == "pose":
            scores |= _pose_scores(model, drawn, training.keypoints, real.keypoints)
    if set(real.embeddings) == set(model.factors):
        scores |= _sample_scores(model, held_out, source, world)
    ratios = [scores[f"frechet/{f}"] / max(scores[f"frechet/{f}_shuffled"], 1e-12) for f in real.embeddings]
    scores["frechet/mean_ratio"] = float(np.mean(ratios))
    return scores


def fitted_gaussian(embeddings: Tensor) -> NoiseMapping:
    """A mapping that draws from the Gaussian of the mean and covariance of embeddings (N, width)."""
    width = embeddings.shape[1]
    moments = Moments(width).to(embeddings.device)
    moments.add(embeddings)
    mapping = NoiseMapping(None, width, correlated=True).to(embeddings.device)
    mapping.fit(moments)
    return mapping


def embed(model: Model, batches: Iterable[Batch], world: World) -> Embedded:
    """Real embeddings and poses of all ranks' batches, in order; a collective.

    Args:
        batches: this rank's share.
    """
    kept = [(model.embeddings(normalised(batch["image"]), batch["keypoints"]), batch) for batch in batches]
    embeddings = {
        factor: torch.cat(gather_parts([of_batch[factor] for of_batch, _ in kept], world)) for factor in model.mappings
    }
    keypoints = torch.cat(gather_parts([batch["keypoints"] for _, batch in kept], world))
    own = -1 - torch.arange(len(keypoints), device=keypoints.device)
    if not world.any(any("person" in batch for _, batch in kept)):
        return Embedded(embeddings, keypoints, own)
    person = torch.cat(gather_parts([batch["person"] for _, batch in kept], world))
    return Embedded(embeddings, keypoints, torch.where(person < 0, own, person))


def _frechet_scores(
    factor: str, drawn: dict[str, Tensor], training: Embedded, real: Embedded, source: RandomSource
) -> dict[str, float]:
    scale = Scale.of(training.embeddings[factor])
    seen = scale(training.embeddings[factor])
    shuffled = torch.stack([column[torch.argsort(source.uniform(len(seen)))] for column in seen.unbind(1)], 1)
    rivals = {rival: scale(values) for rival, values in drawn.items()} | {"_train": seen, "_shuffled": shuffled}
    reference = gaussian(scale(real.embeddings[factor]))
    return {f"frechet/{factor}{rival}": frechet_distance(gaussian(x), reference) for rival, x in rivals.items()}


def _sample_based_scores(factor: str, drawn: dict[str, Tensor], training: Embedded, real: Embedded) -> dict[str, float]:
    """Measures of single samples, for as many drawn and training ones as there are held-out ones."""
    scale = Scale.of(training.embeddings[factor])
    truth, groups = scale(real.embeddings[factor]), _groups(real.person)
    every = torch.arange(len(truth), device=truth.device)
    chosen = every * len(training.person) // len(truth) if len(training.person) > len(truth) else every[: len(training.person)]
    of_training = scale(training.embeddings[factor])[chosen]
    rivals = {rival: (scale(values)[: len(truth)], None) for rival, values in drawn.items()}
    scores: dict[str, float] = {}
    for rival, (fake, own) in (rivals | {"_train": (of_training, _groups(training.person[chosen]))}).items():
        measured = {"two_sample": two_sample_accuracy(truth, fake, groups, own)}
        measured |= density_and_coverage(truth, fake, groups=groups)
        measured |= precision_and_recall(truth, fake, groups=groups, fake_groups=own)
        scores |= {f"{name}/{factor}{rival}": value for name, value in measured.items()}
    return scores


@dataclass(frozen=True)
class Scale:
    """Scales each number of embeddings by its mean and deviation, (width,) each, over those of training images."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, embeddings: Tensor) -> Scale:
        moments = Moments(embeddings.shape[1]).to(embeddings.device)
        moments.add(embeddings)
        return cls(moments.mean, moments.std)

    def __call__(self, embeddings: Tensor) -> Tensor:
        """(N, width) → (N, width), float32."""
        return ((embeddings - self.mean) / self.std).float()


def _groups(person: Tensor) -> Tensor | None:
    """Images of one person as a group; None where that would leave too few people to be measured on."""
    return person if len(torch.unique(person)) > NEIGHBOURS else None


def _pose_scores(model: Model, drawn: dict[str, Tensor], seen: Tensor, real: Tensor) -> dict[str, float]:
    """Whether drawn poses lie within the range of training poses, and vary as much as held-out ones."""
    plausible = PoseRange.of(seen, model.size).plausible
    scores = {"plausible/real_percent": 100 * _share(plausible(real, model.size))}
    for rival, name in (("", "sampled"), ("_gaussian", "gaussian")):
        poses = model.draw_pose(drawn[rival])
        scores[f"plausible/{name}_percent"] = 100 * _share(plausible(poses, model.size))
        ratios = joint_deviations(poses, model.size) / joint_deviations(real, model.size).clamp_min(1e-6)
        found = {"ratio": ratios.mean(), "lowest": ratios.min(), "highest": ratios.max()}
        scores |= {f"variety/pose{rival}_{part}": value.item() for part, value in found.items()}
    return scores


def _sample_scores(model: Model, held_out: list[Batch], source: RandomSource, world: World) -> dict[str, float]:
    """``samples/…``: Inception's scores of drawn people among real ones."""
    images = torch.cat(gather_parts([batch["image"] for batch in held_out], world)).float() / 255
    drawn = model.sample(min(len(images), DRAWN), source)
    people = unit_range(model.shared_over(world).decode(drawn))
    return {f"samples/{name}": value for name, value in on_main(lambda: inception_scores(people, images), world).items()}


def _share(flags: Tensor) -> float:
    return flags.float().mean().item()
