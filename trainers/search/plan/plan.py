"""What a campaign does next. It knows what is running and what was found; it starts nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import FINAL, Configuration, State, Trial, median_score, wants_judgement
from unbraid.trainers.search.plan.proposals import propose


@dataclass(frozen=True)
class Assignment:
    """A piece of work: to train one seed of a configuration, or to judge its models among each other."""

    kind: Literal["train", "judge"]
    number: int
    seed: int = 0


class Plan:
    """Deals out a campaign: interrupted trials first, then judgements, seeds of promising configurations, new configurations.

    Args:
        configurations: what earlier launches left, trials that they did not end in state ``running``.
    """

    def __init__(self, campaign: Campaign, configurations: list[Configuration]) -> None:
        self.campaign = campaign
        self.configurations = configurations
        self._interrupted = [t for c in configurations for t in c.trials.values() if t.state == "running"]
        self._waiting = [t for c in configurations for t in c.trials.values() if t.state == "waiting"]
        self._judging: set[int] = set()
        self._exhausted = False

    def next(self) -> Assignment | None:
        """The next piece of work, or None while there is none, see :meth:`over`."""
        for queue in (self._interrupted, self._waiting):
            if queue:
                return self._train(queue.pop(0))
        for configuration in self.configurations:
            if wants_judgement(configuration, self.campaign) and configuration.number not in self._judging:
                self._judging.add(configuration.number)
                return Assignment("judge", configuration.number)
        if not self._affordable():
            return None
        self._give_up_hopeless()
        return self._next_seed() or self._new_configuration()

    @property
    def over(self) -> bool:
        """Whether no work runs and no more will come."""
        if self._interrupted or self._waiting or self._judging or any(t.state == "running" for t in self.trials()):
            return False
        if any(wants_judgement(configuration, self.campaign) for configuration in self.configurations):
            return False
        return not self._affordable() or (self._exhausted and self._seed_wanted() is None)

    def trials(self) -> list[Trial]:
        """All of them."""
        return [trial for configuration in self.configurations for trial in configuration.trials.values()]

    def trial(self, number: int, seed: int) -> Trial:
        """One of them."""
        return self.configurations[number].trials[seed]

    def measured(self, trial: Trial, updates: int, scores: Mapping[str, float]) -> None:
        """A trial was measured."""
        trial.updates = max(trial.updates, updates)
        trial.rungs = [rung for rung in trial.rungs if rung[0] < updates] + [(updates, scores)]

    def ended(self, trial: Trial, state: State, cause: str = "") -> None:
        """A trial is over."""
        assert state in FINAL
        trial.state, trial.cause = state, cause

    def judged(self, number: int, centrality: dict[int, float]) -> None:
        """A configuration's models were compared; an empty result is one that failed."""
        self._judging.discard(number)
        self.configurations[number].centrality = centrality

    def _train(self, trial: Trial) -> Assignment:
        trial.state = "running"
        return Assignment("train", trial.number, trial.seed)

    def _affordable(self) -> bool:
        budget, trials = self.campaign.budget, self.trials()
        if len(trials) >= self.campaign.most_trials:
            return False
        if budget.updates is not None and sum(trial.updates for trial in trials) >= budget.updates:
            return False
        hours = sum(trial.seconds for trial in trials) * self.campaign.resources.gpus * self.campaign.resources.workers / 3600
        return budget.gpu_hours is None or hours < budget.gpu_hours

    def _next_seed(self) -> Assignment | None:
        configuration = self._seed_wanted()
        if configuration is None:
            return None
        seed = len(configuration.trials)
        configuration.trials[seed] = Trial(configuration.number, seed)
        return self._train(configuration.trials[seed])

    def _seed_wanted(self) -> Configuration | None:
        """The first configuration that may get another seed: its first one has ended, and it is not given up."""
        waiting = (c for c in self.configurations if len(c.trials) < self.campaign.seeds.count and not c.given_up)
        return next((configuration for configuration in waiting if configuration.trials[0].ended), None)

    def _give_up_hopeless(self) -> None:
        """For good: what was hopeless when it was looked at does not come back when others turn out worse."""
        for configuration in self.configurations:
            first = configuration.trials[0]
            alone = len(configuration.trials) == 1 < self.campaign.seeds.count
            if alone and first.ended and not self._is_promising(first):
                configuration.given_up = True

    def _is_promising(self, first: Trial) -> bool:
        """Whether a first seed is among the best ``seeds.promising`` of all; one that was stopped or failed never is."""
        if first.state != "finished":
            return False
        objective = self.campaign.scheduler_objective or self.campaign.objectives[0]
        mine = median_score([first], objective)
        if mine is None:  # known only when all seeds have ended
            return True
        firsts = [c.trials[0] for c in self.configurations if c.trials[0].ended]
        scores = [score for trial in firsts if (score := median_score([trial], objective)) is not None]
        better = sum(objective.sign * (score - mine) > 0 for score in scores)
        return better < max(1, self.campaign.seeds.promising * len(firsts))

    def _new_configuration(self) -> Assignment | None:
        if self._exhausted:
            return None
        number = len(self.configurations)
        params = propose(self.campaign, number, self.configurations)
        if params is None:
            self._exhausted = True
            return None
        configuration = Configuration(number, params, {0: Trial(number, 0)})
        self.configurations.append(configuration)
        return self._train(configuration.trials[0])
