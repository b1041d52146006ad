"""Retention: the best configurations keep their checkpoints, all other trials keep metrics and one picture."""

from __future__ import annotations

from collections.abc import Sequence

from unbraid.datasets.store import Store, discard
from unbraid.trainers.runs.aside import ASIDE
from unbraid.trainers.runs.record import REPORT_KEY
from unbraid.trainers.search.campaign.file import CENTRALITY, Campaign
from unbraid.trainers.search.campaign.history import Configuration
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.campaign.ranking import ranked

PREVIEWS = "preview/"
REMOVED = ("checkpoints/", f"{ASIDE}/", "figures/", "tensorboard/")


def apply_retention(journal: Journal, campaign: Campaign, configurations: Sequence[Configuration]) -> None:
    """Remove checkpoints and pictures of trials that have ended and are not needed any more."""
    for name in journal.trials_with_files & set(_not_needed(campaign, configurations)):
        remove_files(journal.trial_store(name))
        journal.trials_with_files.discard(name)


def _not_needed(campaign: Campaign, configurations: Sequence[Configuration]) -> list[str]:
    """Names of ended trials that are neither among the best ``keep`` nor waiting for a comparison of models."""
    done = [configuration for configuration in configurations if configuration.is_complete(campaign)]
    kept = {trial.name for c in ranked(done, campaign)[: campaign.keep] if (trial := c.best_trial(campaign)) is not None}
    if CENTRALITY not in campaign.metrics:  # no comparison will follow: a trial can go before its other seeds have ended
        done = [configuration for configuration in configurations if configuration.ended]
        kept |= {trial.name for c in ranked(done, campaign)[: campaign.keep] for trial in c.trials.values()}
    return [trial.name for c in done for trial in c.trials.values() if trial.ended and trial.name not in kept]


def remove_files(run: Store) -> None:
    """Leave a run's configuration, metrics and one picture, see :func:`kept_picture`."""
    keys = run.keys()
    kept = kept_picture(keys)
    discard(run, [key for key in keys if key.startswith(REMOVED) or (key.startswith(PREVIEWS) and key != kept)])


def kept_picture(keys: Sequence[str]) -> str | None:
    """The key of the picture that a run keeps: its report, else its newest preview; None when it has neither."""
    if REPORT_KEY in keys:
        return REPORT_KEY
    previews = [key for key in keys if key.startswith(PREVIEWS)]
    return max(previews, key=lambda key: key.split("/")[-1], default=None)
