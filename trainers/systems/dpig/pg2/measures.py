"""Pose-guided generation by PG², measured as DPIG's is."""

from __future__ import annotations

from torch import Tensor

from unbraid.trainers.data import EvaluationData
from unbraid.trainers.systems.dpig.people import gather_people
from unbraid.trainers.systems.dpig.pg2.model import Model
from unbraid.trainers.systems.dpig.transfer import transfer_scores

EVALUATED = 1000
"""Images, as many as of DPIG's stage I."""


def evaluate(model: Model, data: EvaluationData) -> dict[str, float]:
    """``transfer/…`` on the first thousand images of the split, see :mod:`unbraid.trainers.systems.dpig.transfer`."""
    people, model = gather_people(data.held_out(EVALUATED), data.world), model.shared_over(data.world)

    def posed(condition: Tensor, target: Tensor) -> Tensor:
        return model.posed(people[condition], people[target])

    return transfer_scores(people, model.masks(people.keypoints), posed, data)
