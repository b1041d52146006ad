"""Retention: the best configurations keep their checkpoints, all other trials keep metrics, report and newest picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from unbraid.datasets.store import Store, discard
from unbraid.trainers.runs.aside import ASIDE
from unbraid.trainers.runs.pictures import newest_pictures
from unbraid.trainers.search.campaign.history import Configuration, Trial
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.campaign.ranking import ranked
from unbraid.trainers.search.campaign.sections import Pbt
from unbraid.trainers.search.plan.plan import Plan

PREVIEWS = "preview/"
REMOVED = ("checkpoints/", f"{ASIDE}/", "figures/", "tensorboard/")


class Retention:
    """Removes checkpoints and pictures of trials that have ended and are not needed any more.

    A configuration is compared with those that still have their files, so the work at the end of a trial does not grow with the
    campaign.
    """

    def __init__(self, journal: Journal, plan: Plan) -> None:
        self._journal = journal
        self._plan = plan
        self._done_with_files = {c.number for c in plan.configurations if self._is_done(c)}

    def apply(self, changed: Iterable[Configuration]) -> None:
        """Remove what is not needed since these configurations have changed."""
        self._done_with_files |= {configuration.number for configuration in changed if self._is_done(configuration)}
        if isinstance(self._plan.campaign.scheduler, Pbt) and not all(c.ended for c in self._plan.configurations):
            return  # a member that has ended may still be copied
        done = [self._plan.configurations[number] for number in sorted(self._done_with_files)]
        done = [configuration for configuration in done if self._is_done(configuration)]  # one may have got another seed
        best = ranked(done, self._plan.campaign)[: self._plan.campaign.keep]
        for configuration in done:
            kept = self._kept(configuration) if configuration in best else []
            for trial in configuration.trials.values():
                if trial.ended and not trial.pinned and trial not in kept and trial.name in self._journal.trials_with_files:
                    remove_files(self._journal.trial_store(trial.name))
                    self._journal.trials_with_files.discard(trial.name)
            if configuration not in best:
                self._done_with_files.discard(configuration.number)

    def _is_done(self, configuration: Configuration) -> bool:
        """Whether files of a configuration may be removed: where models are compared with each other, only after that."""
        return configuration.is_complete(self._plan.campaign) if self._plan.campaign.compares_models else configuration.ended

    def _kept(self, configuration: Configuration) -> list[Trial]:
        """The trials of one of the best configurations that keep their files: its best one, and all while others may follow."""
        if not configuration.is_complete(self._plan.campaign):
            return list(configuration.trials.values())
        best = configuration.best_trial(self._plan.campaign)
        return [] if best is None else [best]


def remove_files(run: Store) -> None:
    """Leave a run's configuration, metrics, report and newest picture."""
    keys = run.keys()
    kept = newest_preview(keys)
    discard(run, [key for key in keys if key.startswith(REMOVED) or (key.startswith(PREVIEWS) and key != kept)])


def newest_preview(keys: Sequence[str]) -> str | None:
    """The key of a run's newest picture, the first of those of one update by name; None when it has none."""
    return next(iter(newest_pictures(key for key in keys if key.startswith(PREVIEWS))), None)
