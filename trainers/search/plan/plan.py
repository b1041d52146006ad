"""The plan of a campaign: it knows what runs and what was found, and decides what is done next; it starts nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import FINAL, Configuration, State, Trial, median_score
from unbraid.trainers.search.plan.proposals import propose


@dataclass(frozen=True)
class Assignment:
    """A piece of work: to train one seed of a configuration, or to compare the models of all its seeds with each other."""

    kind: Literal["train", "compare"]
    number: int
    seed: int = 0


class Plan:
    """Gives out a campaign's work: interrupted trials first, then comparisons, seeds of promising configurations, new ones.

    Args:
        configurations: of earlier launches; their interrupted trials are in state ``running``.
    """

    def __init__(self, campaign: Campaign, configurations: list[Configuration]) -> None:
        self.campaign = campaign
        self.configurations = configurations
        self._interrupted = [t for c in configurations for t in c.trials.values() if t.state == "running"]
        self._waiting = [t for c in configurations for t in c.trials.values() if t.state == "waiting"]
        self._comparing: set[int] = set()
        self._exhausted = False

    def next(self) -> Assignment | None:
        """The next piece of work; None while there is none, which may change until the plan is :attr:`over`."""
        for queue in (self._interrupted, self._waiting):
            if queue:
                return self._train(queue.pop(0))
        for configuration in self.configurations:
            if configuration.needs_comparison(self.campaign) and configuration.number not in self._comparing:
                self._comparing.add(configuration.number)
                return Assignment("compare", configuration.number)
        if not self._within_budget():
            return None
        self._give_up_unpromising()
        return self._next_seed() or self._new_configuration()

    def give_back(self, assignment: Assignment) -> None:
        """Take back a piece of work that could not be started; :meth:`next` will return it again."""
        if assignment.kind == "compare":
            self._comparing.discard(assignment.number)
        else:
            self._interrupted.append(self.trial(assignment.number, assignment.seed))

    @property
    def over(self) -> bool:
        """Whether nothing runs and no more work will follow."""
        if self._interrupted or self._waiting or self._comparing or any(t.state == "running" for t in self.trials()):
            return False
        if any(configuration.needs_comparison(self.campaign) for configuration in self.configurations):
            return False
        return not self._within_budget() or (self._exhausted and self._seed_wanted() is None)

    def trials(self) -> list[Trial]:
        """All trials of all configurations."""
        return [trial for configuration in self.configurations for trial in configuration.trials.values()]

    def trial(self, number: int, seed: int) -> Trial:
        """The trial of a configuration's seed."""
        return self.configurations[number].trials[seed]

    def record_scores(self, trial: Trial, updates: int, scores: Mapping[str, float]) -> None:
        """Record an evaluation of a trial; it replaces those of the same and later updates."""
        trial.updates = max(trial.updates, updates)
        trial.rungs = [rung for rung in trial.rungs if rung[0] < updates] + [(updates, scores)]

    def record_end(self, trial: Trial, state: State, cause: str = "") -> None:
        """Record the final state of a trial."""
        assert state in FINAL
        trial.state, trial.cause = state, cause

    def record_centrality(self, number: int, centrality: dict[int, float]) -> None:
        """Record the comparison of a configuration's models; an empty result is a comparison that failed."""
        self._comparing.discard(number)
        self.configurations[number].centrality = centrality

    def _train(self, trial: Trial) -> Assignment:
        trial.state = "running"
        return Assignment("train", trial.number, trial.seed)

    def _within_budget(self) -> bool:
        budget, trials = self.campaign.budget, self.trials()
        if len(trials) >= self.campaign.max_trials:
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
        """The first configuration that may get another seed: its first seed has ended, and it was not given up."""
        waiting = (c for c in self.configurations if len(c.trials) < self.campaign.seeds.count and not c.given_up)
        return next((configuration for configuration in waiting if configuration.trials[0].ended), None)

    def _give_up_unpromising(self) -> None:
        """Give up configurations whose first seed is not promising; for good, even if others turn out worse later."""
        for configuration in self.configurations:
            first = configuration.trials[0]
            has_one_of_several = len(configuration.trials) == 1 < self.campaign.seeds.count
            if has_one_of_several and first.ended and not self._is_promising(first):
                configuration.given_up = True

    def _is_promising(self, first: Trial) -> bool:
        """Whether a first seed finished and is among the best ``seeds.promising`` of all first seeds."""
        if first.state != "finished":
            return False
        objective = self.campaign.scheduler_objective or self.campaign.objectives[0]
        score = median_score([first], objective)
        if score is None:  # an objective that is known only after all seeds have ended
            return True
        firsts = [c.trials[0] for c in self.configurations if c.trials[0].ended]
        others = [other for trial in firsts if (other := median_score([trial], objective)) is not None]
        better = sum(objective.sign * (other - score) > 0 for other in others)
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
