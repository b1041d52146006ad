"""Pictures that show what PG² has learnt."""

from __future__ import annotations

from torch import Tensor

from unbraid.trainers.data import EvaluationData
from unbraid.trainers.system import Measures
from unbraid.trainers.systems.dpig.people import SEARCHED, gather_people, shown_pairs
from unbraid.trainers.systems.dpig.pg2.measures import EVALUATED
from unbraid.trainers.systems.dpig.pg2.model import Model
from unbraid.trainers.systems.dpig.pictures import transfer_sheet


def preview(model: Model, data: EvaluationData) -> dict[str, Tensor]:
    """``transfer``: a person, the pose of another image of that person, what is generated, and that image."""
    return _sheet(model, data, SEARCHED, "transfer")


def figures(model: Model, data: EvaluationData, scores: Measures) -> dict[str, Tensor]:
    """``transfer_held_out``: the same of pairs from all over the images that are measured."""
    return _sheet(model, data, EVALUATED, "transfer_held_out")


def _sheet(model: Model, data: EvaluationData, images: int, name: str) -> dict[str, Tensor]:
    """A picture under its name; none where no person is seen twice."""
    people = gather_people(data.held_out(images), data.world)
    condition, target = shown_pairs(people)
    if not len(condition):
        return {}
    return {name: transfer_sheet(model, people[condition], people[target])}
