"""The comparison of a configuration's models, one of each seed, with each other."""

from __future__ import annotations

from functools import partial

import torch

from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.evaluate import read_model
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import trial_name
from unbraid.trainers.search.plan.centrality import agreement_matrix, centralities
from unbraid.trainers.system import agreement


def compare_models(campaign: Campaign, number: int) -> dict[int, float]:
    """The centrality of each seed's model of a configuration, by the seed's number.

    Raises:
        CheckpointError: when a model's checkpoint is not there any more.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(campaign.resources.cpus)
    runs = [open_run(campaign.trials_storage, trial_name(number, seed)) for seed in range(campaign.seeds.count)]
    models = [read_model(run, device)[0] for run in runs]
    matrix = agreement_matrix(models, partial(agreement, resolve(campaign.preset).system))
    return dict(enumerate(centralities(matrix)))
