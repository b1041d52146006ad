"""Pictures that show what stage I has learnt."""

from __future__ import annotations

from torch import Tensor

from unbraid.models.dpig.specs import FACTORS
from unbraid.trainers.data import EvaluationData
from unbraid.trainers.system import Measures
from unbraid.trainers.systems.dpig.appearance.measures import EVALUATED, exchange_partners, known_population
from unbraid.trainers.systems.dpig.leakage import measure_leakage
from unbraid.trainers.systems.dpig.model import Model
from unbraid.trainers.systems.dpig.people import gather_people, shown_pairs, shown_people
from unbraid.trainers.systems.dpig.pictures import exchange_sheet, leakage_picture, rebuilt_sheet, transfer_sheet

EXCHANGED_WITH = 5


def preview(model: Model, data: EvaluationData) -> dict[str, Tensor]:
    """``rebuilt``, and ``swap_FACTOR`` for each factor: a matrix of people who lend each other that factor."""
    people = shown_people(data)
    few = people[slice(0, EXCHANGED_WITH)]
    factors = model.encode(few.images, few.keypoints)
    swaps = {f"swap_{factor}": exchange_sheet(model, factors, few.images, factor) for factor in model.factors}
    return {"rebuilt": rebuilt_sheet(model, people)} | swaps


def figures(model: Model, data: EvaluationData, scores: Measures) -> dict[str, Tensor]:
    """``transfer`` where people can be told apart, ``leakage`` where the truth is known and the model has all factors."""
    people, grids = gather_people(data.held_out(EVALUATED), data.world), {}
    condition, target = shown_pairs(people)
    if len(condition):
        grids["transfer"] = transfer_sheet(model, people[condition], people[target])
    population = known_population(data.config.data.url, people)
    if population is not None and model.factors == FACTORS:
        some, others = exchange_partners(people)
        grids["leakage"] = leakage_picture(measure_leakage(model, population, people[some], people[others]))
    return grids
