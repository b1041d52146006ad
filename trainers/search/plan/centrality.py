"""Choosing without labels by agreement: ModelCentrality (Lin et al., InfoGAN-CR, ICML 2020, section 4).

What is right about a way to take data apart, several models find; what is accidental, each finds for itself. So a model is good
when the other models of its configuration read its images as it meant them, and it reads theirs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.evaluate import read_model
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import trial_name
from unbraid.trainers.system import Model, agreement


def judge(campaign: Campaign, number: int) -> dict[str, float]:
    """The centrality of each seed's model of a configuration, by the seed's number.

    Raises:
        CheckpointError: when a model is not there any more.
    """
    names = [trial_name(number, seed) for seed in range(campaign.seeds.count)]
    storage = f"{campaign.storage.rstrip('/')}/{campaign.name}/trials"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(campaign.resources.cpus)
    models = [read_model(open_run(storage, name), device)[0] for name in names]
    matrix = agreements(resolve(campaign.preset).system, models)
    return {str(seed): value for seed, value in enumerate(centralities(matrix))}


def agreements(system: str, models: Sequence[Model]) -> list[list[float]]:
    """Row i, column j: how well model i reads what model j makes; ones where these are the same."""
    return [[1.0 if a is b else agreement(system, reader=a, drawer=b) for b in models] for a in models]


def centralities(matrix: Sequence[Sequence[float]]) -> list[float]:
    """Each model's mean agreement with the others, both ways (Lin et al., algorithm 1)."""
    count = len(matrix)
    return [sum(matrix[i][j] + matrix[j][i] for j in range(count) if j != i) / (2 * (count - 1)) for i in range(count)]
