"""A campaign as its users hold it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.campaign.ranking import ranked
from unbraid.trainers.use.run import Run

if TYPE_CHECKING:
    import pandas


class CampaignResults:
    """What a campaign has found, as its storage holds it; it may still run.

    Args:
        journal: of the campaign.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def __repr__(self) -> str:
        return f"CampaignResults({self.file.name!r}, {self.status}, {self._journal.store.url})"

    @property
    def file(self) -> Campaign:
        """What it searches, and how."""
        return self._journal.campaign()

    @property
    def status(self) -> str:
        """``running``, ``finished``, ``failed`` or ``interrupted``."""
        return str(self._journal.status().get("status", "not started"))

    def table(self) -> pandas.DataFrame:
        """A row for each configuration, best first: its values, scores (medians over seeds), updates, and trials' states."""
        import pandas

        campaign = self.file
        rows = []
        for configuration in ranked(self._journal.read(), campaign):
            scores = {objective.metric: configuration.score(objective) for objective in campaign.objectives}
            states = " ".join(trial.state for trial in configuration.trials.values())
            known = {"configuration": configuration.number, "updates": configuration.updates, "trials": states}
            rows.append(known | scores | configuration.params)
        return pandas.DataFrame(rows).set_index("configuration") if rows else pandas.DataFrame()

    def run(self, configuration: int | None = None) -> Run:
        """The run of a configuration's best trial; None is the best configuration.

        Raises:
            ConfigError: when no trial has a score.
        """
        from unbraid.trainers.search.report.export import export_preset

        name, _ = export_preset(self._journal, self.file, configuration)
        return Run(self._journal.trial_store(name))

    def configurations(self) -> list[Configuration]:
        """All configurations with their trials, in the order in which they were begun."""
        return self._journal.read()


def open_campaign(name: str, storage: str = "campaigns") -> CampaignResults:
    """Open a campaign.

    Raises:
        ConfigError: when there is none.
    """
    return CampaignResults(Journal.open(storage, name))
