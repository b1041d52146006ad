"""What stage I must be able to show, as numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unbraid.datasets.shards.index import read_index
from unbraid.datasets.sources.people import population_of
from unbraid.datasets.store import open_store
from unbraid.datasets.synthetic.people.population import Population
from unbraid.models.dpig.pose import body_mask
from unbraid.models.dpig.specs import FACTORS
from unbraid.trainers.measures.fidelity import inception_scores
from unbraid.trainers.measures.similarity import image_quality
from unbraid.trainers.step.images import unit_range
from unbraid.trainers.system import Batch
from unbraid.trainers.systems.dpig.leakage import Leakage, measure_leakage, swap_ratios
from unbraid.trainers.systems.dpig.people import People, gather, same_person_pairs

if TYPE_CHECKING:
    from unbraid.trainers.systems.dpig.appearance.system import Appearance

EVALUATED = 1000
EXCHANGED = 200
"""People of whom each factor is exchanged."""


def evaluate(system: Appearance, batches: Iterable[Batch]) -> dict[str, float]:
    """All measures of a trained stage I, on the first thousand images of the evaluation split.

    ``rebuilt/…`` compares images with themselves, ``transfer/…`` (pose-guided generation) one image of a person in the pose of
    another with that other; there also ``is``, ``fid``, ``mask_is``, ``mask_fid`` if Inception is at hand. ``swap/…_ratio``:
    how much more the exchange of a factor changes its own side of the coarse body mask. Where the truth is known, ``leakage/…``
    and ``truth/…`` of :mod:`unbraid.trainers.systems.dpig.leakage`.
    """
    people = gather(batches, EVALUATED)
    model = system.model
    factors = model.encode(people.images, people.keypoints)
    masks, real = person_masks(system, people.keypoints), unit_range(people.images)
    rebuilt = unit_range(model.decode(factors))
    scores = {f"rebuilt/{name}": value for name, value in image_quality(rebuilt, real, masks).items()}
    condition, target = same_person_pairs(people)
    if len(condition):
        posed = unit_range(model.decode(factors[condition].exchanged("pose", factors[target])))
        quality = image_quality(posed, real[target], masks[target])
        quality |= inception_scores(posed, real[target])
        masked = inception_scores(posed * masks[target], real[target] * masks[target])
        quality |= {f"mask_{name}": value for name, value in masked.items()}
        scores |= {f"transfer/{name}": value for name, value in quality.items()}
    some, others = exchange_partners(people)
    ratios = swap_ratios(model, factors[some], factors[others], masks[some])
    scores |= {f"swap/{name}": value for name, value in ratios.items()}
    population = known_population(system, people)
    if population is not None:
        leakage = measure_leakage(model, population, people[some], people[others])
        scores |= leakage_scores(leakage)
        silhouettes = true_silhouettes(population, people[some])
        ratios = swap_ratios(model, factors[some], factors[others], silhouettes)
        scores |= {f"truth/{name}": value for name, value in ratios.items()}
    return scores


def person_masks(system: Appearance, keypoints: Tensor) -> Tensor:
    """(N, 1, H, W) coarse body masks, as the encoder uses them."""
    drawing, image = system.config.networks.drawing, system.config.networks.image
    parts = keypoints.split(64)
    return torch.cat([body_mask(k, (image.height, image.width), drawing.mask_radius, drawing.closing) for k in parts])


def exchange_partners(people: People) -> tuple[Tensor, Tensor]:
    """Rows of people, and for each the row of somebody else."""
    rows = torch.arange(min(EXCHANGED, len(people)), device=people.images.device)
    partners = (rows + len(people) // 2) % len(people)
    same = people.person[rows] == people.person[partners]
    known = people.person[rows] >= 0
    return rows, torch.where(same & known, (partners + 1) % len(people), partners)


def known_population(system: Appearance, people: People) -> Population | None:
    """That drew the evaluation split; None for photographs."""
    return population_of(read_index(open_store(system.config.data.url))) if people.has_truth else None


def leakage_scores(leakage: Leakage) -> dict[str, float]:
    """By name, ``leakage/foreground_on_background`` for what a change of the foreground does to background pixels."""
    scores = {
        f"leakage/{row}_on_{column}": float(leakage.matrix[i, j])
        for i, row in enumerate(FACTORS)
        for j, column in enumerate(FACTORS)
    }
    scores |= {"leakage/off_diagonal": leakage.off_diagonal, "leakage/diagonal": leakage.diagonal}
    for i, factor in enumerate(FACTORS):
        scores[f"truth/{factor}_error_inside"] = float(leakage.inside[i])
        scores[f"truth/{factor}_error_outside"] = float(leakage.outside[i])
    return scores


def true_silhouettes(population: Population, people: People) -> Tensor:
    """(N, 1, H, W) as they were drawn."""
    numbers = zip(people.person.tolist(), people.background.tolist(), people.pose.tolist(), strict=True)
    drawn = [torch.from_numpy(population.render(*three).silhouette) for three in numbers]
    return torch.stack(drawn)[:, None].to(people.images.device)
