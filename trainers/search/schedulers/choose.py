"""The scheduler of a campaign."""

from __future__ import annotations

from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Trial
from unbraid.trainers.search.campaign.sections import Asha, HyperbandConfig, Median, Pbt
from unbraid.trainers.search.schedulers.asha import AshaPromotion, AshaStopping
from unbraid.trainers.search.schedulers.hyperband import Hyperband
from unbraid.trainers.search.schedulers.median import MedianStopping
from unbraid.trainers.search.schedulers.population import Population
from unbraid.trainers.search.schedulers.scheduler import PausesNothing, Rungs, Scheduler, Verdict


class NoScheduling(PausesNothing):
    """Every trial trains to its end."""

    def judge(self, trial: Trial, updates: int) -> Verdict:
        """Continue."""
        return "continue"


def scheduler_of(campaign: Campaign, rungs: Rungs) -> Scheduler:
    """The scheduler that a campaign's file names, over its history."""
    config = campaign.scheduler
    if isinstance(config, Asha):
        return (AshaPromotion if config.type == "promotion" else AshaStopping)(config, rungs)
    if isinstance(config, HyperbandConfig):
        return Hyperband(config, campaign.updates, rungs)
    if isinstance(config, Median):
        return MedianStopping(config, rungs)
    if isinstance(config, Pbt):
        return Population(config, campaign, rungs)
    return NoScheduling()
