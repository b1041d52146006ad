"""The plan of a campaign: it knows what runs and what was found, and decides what is done next; it starts nothing itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import BY_HAND, FINAL, Configuration, Descent, State, Trial, median_score
from unbraid.trainers.search.campaign.space import Params
from unbraid.trainers.search.plan.proposals import is_exhausted, propose
from unbraid.trainers.search.schedulers.choose import scheduler_of
from unbraid.trainers.search.schedulers.scheduler import Resolution, Rungs, Verdict, rung_of


@dataclass(frozen=True)
class Assignment:
    """A piece of work: to train one seed of a configuration, or to compare the models of all its seeds with each other.

    Attributes:
        descent: the state that the trial copies before it trains on; None keeps its own.
    """

    kind: Literal["train", "compare"]
    number: int
    seed: int = 0
    descent: Descent | None = None


class Plan:
    """Gives out a campaign's work: interrupted trials first, then comparisons, paused trials, further seeds, new ones.

    Args:
        configurations: of earlier launches; their interrupted trials are in state ``running``.

    Attributes:
        campaign: as it is now; :meth:`change` gives it another space or budget.
    """

    def __init__(self, campaign: Campaign, configurations: list[Configuration]) -> None:
        self.campaign = campaign
        self.configurations = configurations
        self._rungs = Rungs(campaign, configurations)
        self._scheduler = scheduler_of(campaign, self._rungs)
        self._trials = [trial for c in configurations for trial in c.trials.values()]
        self._interrupted: list[Trial] = []
        self._waiting = [trial for trial in self._trials if trial.state == "waiting"]
        self._running: set[str] = set()
        self._comparing: set[int] = set()
        self._to_stop: list[Trial] = []
        self._stopped_by_hand: list[Trial] = []
        self._exhausted = (-1, False)
        for trial in self._trials:
            if trial.state in ("running", "paused"):
                self._take_back(trial)

    def next(self) -> Assignment | None:
        """The next piece of work; None while there is none, which may change until the plan is :attr:`over`."""
        for queue in (self._interrupted, self._waiting):
            if queue:
                return self._train(queue.pop(0))
        for configuration in self._to_compare():
            self._comparing.add(configuration.number)
            return Assignment("compare", configuration.number)
        if self._is_spent():
            return None
        return self._released() or self._new_trial()

    def settle(self) -> list[Trial]:
        """Stop the trials that will not go on: paused ones, and interrupted ones at a rung that stops them.

        Returns:
            These trials, so that they can be recorded.
        """
        for trial in self._to_stop:
            self.pause(trial)
        to_stop, self._to_stop = self._to_stop, []
        stopped = to_stop + [resolution.trial for resolution in self._resolutions() if not resolution.goes_on]
        if self._only_paused() and (self._is_spent() or (not self._may_grow() and not self._can_release())):
            stopped = list(self._rungs.paused.values())
        for trial in stopped:
            self._rungs.release(trial)
            self.record_end(trial, "stopped", f"by the scheduler after {rung_of(trial)} updates")
        by_hand, self._stopped_by_hand = self._stopped_by_hand, []
        for trial in by_hand:
            self.record_end(trial, "stopped", BY_HAND)
        return stopped + by_hand

    def change(self, campaign: Campaign) -> None:
        """Go on with another space or budget; what was tried stays, and keeps the values that it was trained with."""
        self.campaign = campaign
        self._exhausted = (-1, False)

    def campaign_of(self, configuration: Configuration) -> Campaign:
        """The campaign as it was when a configuration was proposed, which says how its trials are trained."""
        return self.campaign.at(configuration.revision)

    def ask(self, params: Params) -> Configuration:
        """Add a configuration that a person asks for, which is trained next."""
        configuration = Configuration(len(self.configurations), params, revision=self.campaign.revision, asked=True)
        self.configurations.append(configuration)
        self._waiting.append(self._added(configuration, 0))
        return configuration

    def add_seed(self, configuration: Configuration) -> Trial:
        """Train another seed of a configuration, also beyond those that the campaign gives it."""
        configuration.centrality = None
        trial = self._added(configuration, len(configuration.trials))
        self._waiting.append(trial)
        return trial

    def repeat(self, trial: Trial) -> None:
        """Train a trial that has failed or was stopped further; a stopped one to its end, whatever the scheduler says."""
        trial.pinned = trial.pinned or trial.state == "stopped"
        trial.state, trial.cause = "waiting", ""
        self.configurations[trial.number].given_up = False
        self.configurations[trial.number].centrality = None
        self._waiting.append(trial)

    def stop(self, trial: Trial) -> None:
        """Stop a trial. One that runs keeps its state until its process has ended; a later launch would not start it again."""
        trial.cause = BY_HAND
        if trial.name in self._running:
            return
        if trial.name in self._rungs.paused:
            self._rungs.release(trial)
        for queue in (self._interrupted, self._waiting, self._to_stop):
            if trial in queue:
                queue.remove(trial)
        self.record_end(trial, "stopped", BY_HAND)

    def pin(self, trial: Trial, pinned: bool) -> None:
        """Let a trial train to its end whatever the scheduler says, or leave that to the scheduler again."""
        trial.pinned = pinned
        if pinned and trial.name in self._rungs.paused:
            self._rungs.release(trial)
            trial.state = "waiting"
            self._waiting.append(trial)

    def give_back(self, assignment: Assignment) -> None:
        """Take back a piece of work that could not be started; :meth:`next` will return it again."""
        if assignment.kind == "compare":
            self._comparing.discard(assignment.number)
            return
        self._take_back(self.trial(assignment.number, assignment.seed))

    def give_back_all(self) -> None:
        """Take back all work that has been given out and not ended."""
        self._comparing.clear()
        for trial in [trial for trial in self._trials if trial.name in self._running]:
            self._take_back(trial)

    @property
    def over(self) -> bool:
        """Whether nothing runs or waits, and no more work will follow; paused trials are to be settled before."""
        if (
            self._stopped_by_hand
            or self._interrupted
            or self._waiting
            or self._to_stop
            or self._comparing
            or self._running
            or self._rungs.paused
        ):
            return False
        if next(iter(self._to_compare()), None) is not None:
            return False
        return self._is_spent() or not self._may_grow()

    def trials(self) -> list[Trial]:
        """All trials of all configurations."""
        return list(self._trials)

    def trial(self, number: int, seed: int) -> Trial:
        """The trial of a configuration's seed."""
        return self.configurations[number].trials[seed]

    def record_scores(self, trial: Trial, updates: int, scores: Mapping[str, float]) -> Verdict:
        """Record an evaluation of a trial; it replaces those of the same and later updates. Returns what the trial does now."""
        trial.updates = max(trial.updates, updates)
        trial.rungs = [rung for rung in trial.rungs if rung[0] < updates] + [(updates, scores)]
        decides = self._rungs.add(trial, updates) and not trial.pinned
        return self._scheduler.judge(trial, updates) if decides else "continue"

    def pause(self, trial: Trial) -> None:
        """Record that a trial waits at a rung until the scheduler lets it go on."""
        trial.state = "paused"
        self._running.discard(trial.name)
        self._rungs.pause(trial)

    def record_end(self, trial: Trial, state: State, cause: str = "") -> None:
        """Record the final state of a trial."""
        assert state in FINAL
        trial.state, trial.cause = state, cause
        self._running.discard(trial.name)

    def record_centrality(self, number: int, centrality: dict[int, float]) -> None:
        """Record the comparison of a configuration's models; an empty result is a comparison that failed."""
        self._comparing.discard(number)
        self.configurations[number].centrality = centrality

    def _take_back(self, trial: Trial) -> None:
        self._running.discard(trial.name)
        if trial.cause == BY_HAND:
            self._stopped_by_hand.append(trial)
            return
        verdict = self._verdict_at_rung(trial)
        if verdict == "pause":
            self.pause(trial)
        else:
            (self._to_stop if verdict == "stop" else self._interrupted).append(trial)

    def _verdict_at_rung(self, trial: Trial) -> Verdict:
        """What an interrupted trial does that is at a rung and has not trained further; others continue."""
        updates = rung_of(trial)
        is_there = 0 < updates == trial.updates < self.campaign.updates and self._rungs.add(trial, updates)
        is_there = is_there and not trial.pinned
        return self._scheduler.judge(trial, updates) if is_there else "continue"

    def _train(self, trial: Trial, descent: Descent | None = None) -> Assignment:
        trial.state = "running"
        self._running.add(trial.name)
        return Assignment("train", trial.number, trial.seed, descent)

    def _to_compare(self) -> list[Configuration]:
        if not self.campaign.compares_models:
            return []
        return [c for c in self.configurations if c.needs_comparison(self.campaign) and c.number not in self._comparing]

    def _released(self) -> Assignment | None:
        """The paused trial that goes on next, with what it copies before."""
        resolution = next((resolution for resolution in self._resolutions() if resolution.goes_on), None)
        if resolution is None:
            return None
        trial, descent = resolution.trial, resolution.descent
        self._rungs.release(trial)
        configuration = self.configurations[trial.number]
        if descent is not None and descent not in configuration.descents:
            configuration.descents.append(descent)
        return self._train(trial, descent)

    def _can_release(self) -> bool:
        return any(resolution.goes_on for resolution in self._resolutions())

    def _resolutions(self) -> Iterator[Resolution]:
        self._rungs.closed, self._rungs.idle = not self._may_grow(), self._only_paused()
        return self._scheduler.resolve()

    def _only_paused(self) -> bool:
        return not (self._interrupted or self._waiting or self._comparing or self._running)

    def _is_spent(self) -> bool:
        """Whether the budget of updates, GPU hours or money is used up."""
        updates, hours = self.campaign.budget.updates, self.campaign.most_gpu_hours
        if updates is not None and sum(trial.updates for trial in self._trials) >= updates:
            return True
        return hours is not None and self.campaign.gpu_hours(sum(trial.seconds for trial in self._trials)) >= hours

    def _may_grow(self) -> bool:
        """Whether further trials may follow: the budget has room, and there are values or seeds left to try."""
        if not self._has_room():
            return False
        return not self._is_exhausted() or self._seed_wanted() is not None

    def _has_room(self) -> bool:
        """Whether the budget allows another trial."""
        most = self.campaign.budget.trials
        return most is None or len(self._trials) < most

    def _is_exhausted(self) -> bool:
        """Whether the space has no further point; asked once for each number of configurations."""
        count = len(self.configurations)
        if self._exhausted[0] != count:
            self._exhausted = count, is_exhausted(self.campaign, self.configurations)
        return self._exhausted[1]

    def _new_trial(self) -> Assignment | None:
        if not self._has_room():
            return None
        self._give_up_unpromising()
        return self._next_seed() or self._new_configuration()

    def _next_seed(self) -> Assignment | None:
        configuration = self._seed_wanted()
        return None if configuration is None else self._train(self._added(configuration, len(configuration.trials)))

    def _seed_wanted(self) -> Configuration | None:
        """The first configuration that may get another seed: its first seed has ended, it is in the space and not given up."""
        if self.campaign.seeds.count == 1:
            return None
        waiting = (c for c in self.configurations if len(c.trials) < self.campaign.seeds.count and not c.given_up)
        return next((c for c in waiting if c.trials[0].ended and c.point(self.campaign) is not None), None)

    def _give_up_unpromising(self) -> None:
        """Give up configurations whose first seed is not promising; for good, even if others turn out worse later."""
        if self.campaign.seeds.count == 1:
            return
        for configuration in self.configurations:
            first = configuration.trials[0]
            if len(configuration.trials) == 1 and first.ended and not self._is_promising(first):
                configuration.given_up = True

    def _is_promising(self, first: Trial) -> bool:
        """Whether a first seed finished and is among the best ``seeds.promising`` of all first seeds."""
        if first.state != "finished":
            return False
        objective = (self.campaign.scheduler_objectives or self.campaign.objectives)[0]
        score = median_score([first], objective)
        if score is None:  # an objective that is known only after all seeds have ended
            return True
        firsts = [c.trials[0] for c in self.configurations if c.trials[0].ended]
        others = [other for trial in firsts if (other := median_score([trial], objective)) is not None]
        better = sum(objective.sign * (other - score) > 0 for other in others)
        return better < max(1, self.campaign.seeds.promising * len(firsts))

    def _new_configuration(self) -> Assignment | None:
        number = len(self.configurations)
        params = None if self._is_exhausted() else propose(self.campaign, number, self.configurations)
        if params is None:
            self._exhausted = number, True
            return None
        configuration = Configuration(number, params, revision=self.campaign.revision)
        self.configurations.append(configuration)
        return self._train(self._added(configuration, 0))

    def _added(self, configuration: Configuration, seed: int) -> Trial:
        trial = configuration.trials[seed] = Trial(configuration.number, seed)
        self._trials.append(trial)
        return trial
