"""Pictures that show what stage I has learnt."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import Tensor

from unbraid.models.dpig.specs import FACTORS
from unbraid.trainers.system import Batch
from unbraid.trainers.systems.dpig.appearance.measures import EVALUATED, exchange_partners, known_population
from unbraid.trainers.systems.dpig.leakage import measure_leakage
from unbraid.trainers.systems.dpig.people import SHOWN, gather, same_person_pairs, sitters
from unbraid.trainers.systems.dpig.pictures import exchange_sheet, leakage_picture, rebuilt_sheet, transfer_sheet

if TYPE_CHECKING:
    from unbraid.trainers.systems.dpig.appearance.system import Appearance

EXCHANGED_WITH = 5


def preview_grids(system: Appearance) -> dict[str, Tensor]:
    """``rebuilt``, and ``swap_FACTOR`` for each factor: a matrix of people who lend each other that factor."""
    people, model = sitters(system.config, system.device), system.model
    few = people[slice(0, EXCHANGED_WITH)]
    factors = model.encode(few.images, few.keypoints)
    swaps = {f"swap_{factor}": exchange_sheet(model, factors, few.images, factor) for factor in FACTORS}
    return {"rebuilt": rebuilt_sheet(model, people)} | swaps


def explanation_grids(system: Appearance, batches: Iterable[Batch]) -> dict[str, Tensor]:
    """``transfer`` where people can be told apart, ``leakage`` where the truth is known."""
    people, figures = gather(batches, EVALUATED), {}
    condition, target = same_person_pairs(people)
    if len(condition):
        every = slice(None, None, max(1, len(condition) // SHOWN))
        chosen = condition[every][:SHOWN], target[every][:SHOWN]
        figures["transfer"] = transfer_sheet(system.model, people[chosen[0]], people[chosen[1]])
    population = known_population(system, people)
    if population is not None:
        some, others = exchange_partners(people)
        figures["leakage"] = leakage_picture(measure_leakage(system.model, population, people[some], people[others]))
    return figures
