"""What a campaign's trials may keep: the best few their checkpoints, the others metrics and one picture."""

from __future__ import annotations

from collections.abc import Sequence

from unbraid.datasets.store import Store
from unbraid.trainers.runs.record import REPORT_KEY
from unbraid.trainers.search.campaign.file import CENTRALITY, Campaign
from unbraid.trainers.search.campaign.history import Configuration
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.campaign.ranking import ranked

PREVIEWS = "preview/"
FOLDERS = ("checkpoints/", "figures/", "tensorboard/")


def prune(journal: Journal, campaign: Campaign, configurations: Sequence[Configuration]) -> None:
    """Empty the runs of trials that are over and will not be needed."""
    for trial_name in journal.full & set(_unneeded(campaign, configurations)):
        empty(journal.trial_store(trial_name))
        journal.full.discard(trial_name)


def _unneeded(campaign: Campaign, configurations: Sequence[Configuration]) -> list[str]:
    """Names of trials that are over, and neither among the best nor waiting to be compared with others."""
    done = [configuration for configuration in configurations if configuration.complete(campaign)]
    kept = {trial.name for c in ranked(done, campaign)[: campaign.keep] if (trial := c.best_trial(campaign)) is not None}
    if CENTRALITY not in campaign.metrics:  # nothing but its score is asked of a trial whose other seeds still train
        done = [configuration for configuration in configurations if configuration.ended]
        kept |= {trial.name for c in ranked(done, campaign)[: campaign.keep] for trial in c.trials.values()}
    return [trial.name for c in done for trial in c.trials.values() if trial.ended and trial.name not in kept]


def empty(run: Store) -> None:
    """Leave configuration, metrics and one picture: the report, or the newest sample of a trial that did not get so far."""
    keys = run.keys()
    for key in keys:
        if key.startswith(FOLDERS) or (key.startswith(PREVIEWS) and key != picture_of(keys)):
            run.delete(key)


def picture_of(keys: Sequence[str]) -> str | None:
    """The one picture of a run: its report, or its newest sample, or None before the first."""
    if REPORT_KEY in keys:
        return REPORT_KEY
    previews = [key for key in keys if key.startswith(PREVIEWS)]
    return max(previews, key=lambda key: key.split("/")[-1], default=None)
