"""What stage I must be able to show, as numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from unbraid.datasets.shards.index import read_index
from unbraid.datasets.sources.people import population_of
from unbraid.datasets.store import open_store
from unbraid.datasets.synthetic.people.population import Population
from unbraid.models.dpig.specs import FACTORS
from unbraid.trainers.data import EvaluationData
from unbraid.trainers.measures.similarity import image_quality
from unbraid.trainers.step.images import unit_range
from unbraid.trainers.systems.dpig.leakage import Leakage, measure_leakage, swap_ratios
from unbraid.trainers.systems.dpig.model import Factors, Model
from unbraid.trainers.systems.dpig.people import People, gather_people
from unbraid.trainers.systems.dpig.transfer import transfer_scores

EVALUATED = 1000
EXCHANGED = 200
"""People of whom each factor is exchanged."""


def evaluate(model: Model, data: EvaluationData) -> dict[str, float]:
    """All measures of a trained stage I, on the first thousand images of the evaluation split.

    ``rebuilt/…`` compares images with themselves, ``transfer/…`` (pose-guided generation) one image of a person in the pose of
    another with that other; there also ``ssim_pg2`` and ``mask_ssim_pg2`` as the authors compute them, and ``is``, ``is_pg2``,
    ``fid`` and the same with ``mask_`` if Inception is at hand. ``swap/…_ratio``:
    how much more the exchange of a factor changes its own side of the coarse body mask. Where the truth is known, ``leakage/…``
    and ``truth/…`` of :mod:`unbraid.trainers.systems.dpig.leakage`. A model without a background has no ``leakage/…`` (each
    factor's pixels are compared with the others'), and no measure of the background.
    """
    people, model = gather_people(data.held_out(EVALUATED), data.world), model.shared_over(data.world)
    factors = model.encode(people.images, people.keypoints)
    masks, real = model.masks(people.keypoints), unit_range(people.images)
    rebuilt = unit_range(model.decode(factors))
    scores = {f"rebuilt/{name}": value for name, value in image_quality(rebuilt, real, masks).items()}
    scores |= _transfer_scores(model, people, factors, masks, data)
    some, others = exchange_partners(people)
    ratios = swap_ratios(model, factors[some], factors[others], masks[some])
    scores |= {f"swap/{name}": value for name, value in ratios.items()}
    population = known_population(data.config.data.url, people)
    if population is not None:
        if model.factors == FACTORS:
            scores |= leakage_scores(measure_leakage(model, population, people[some], people[others]))
        silhouettes = true_silhouettes(population, people[some])
        ratios = swap_ratios(model, factors[some], factors[others], silhouettes)
        scores |= {f"truth/{name}": value for name, value in ratios.items()}
    return scores


def _transfer_scores(model: Model, people: People, factors: Factors, masks: Tensor, data: EvaluationData) -> dict[str, float]:
    def posed(condition: Tensor, target: Tensor) -> Tensor:
        return model.decode(factors[condition].exchanged("pose", factors[target]))

    return transfer_scores(people, masks, posed, data)


def exchange_partners(people: People) -> tuple[Tensor, Tensor]:
    """Rows of people, and for each the row of somebody else."""
    rows = torch.arange(min(EXCHANGED, len(people)), device=people.images.device)
    partners = (rows + len(people) // 2) % len(people)
    same = people.person[rows] == people.person[partners]
    known = people.person[rows] >= 0
    return rows, torch.where(same & known, (partners + 1) % len(people), partners)


def known_population(url: str, people: People) -> Population | None:
    """The population that the set at ``url`` was drawn from; None for photographs."""
    return population_of(read_index(open_store(url))) if people.has_truth else None


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
