"""Pictures that show what the pose auto-encoder has learnt."""

from __future__ import annotations

import torch
from torch import Tensor

from unbraid.trainers.data import EvaluationData
from unbraid.trainers.runs.pictures import sheet
from unbraid.trainers.system import Measures
from unbraid.trainers.systems.dpig.people import SHOWN, People, gather_people, shown_people
from unbraid.trainers.systems.dpig.pictures import skeleton_images
from unbraid.trainers.systems.dpig.pose.model import Model


def preview(model: Model, data: EvaluationData) -> dict[str, Tensor]:
    """``poses``: held-out people, their poses, and the poses rebuilt."""
    return {"poses": _sheet(model, shown_people(data))}


def figures(model: Model, data: EvaluationData, scores: Measures) -> dict[str, Tensor]:
    """``poses_held_out``: the same of further people."""
    further = gather_people(data.held_out(3 * SHOWN), data.world)[slice(SHOWN, 3 * SHOWN)]
    return {"poses_held_out": _sheet(model, further)}


def _sheet(model: Model, people: People) -> Tensor:
    rebuilt = model.rebuild(people.keypoints)
    rows = [(people.images + 1) / 2, skeleton_images(people.keypoints, model.size), skeleton_images(rebuilt, model.size)]
    return sheet(torch.cat(rows), len(people))
