"""Campaigns in virtual time: the real plan, journal, schedulers, session and storage, with trials that only tell scores.

What cannot run here is a thousand GPUs: a trial's training is replaced by its score as a function of its values and updates,
and Ray Tune by a list of events. Nodes are lost and the driver is killed at random moments, by one seed.
"""

from __future__ import annotations

import heapq
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from unbraid.datasets.store import FolderStore
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration, trial_name
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.campaign.requests import Inbox, Kind, Request
from unbraid.trainers.search.campaign.space import Params
from unbraid.trainers.search.plan.plan import Plan
from unbraid.trainers.search.trials.reports import Report
from unbraid.trainers.search.trials.session import Session

KINDS: tuple[Kind, ...] = ("change", "stop", "repeat", "pin", "unpin")
"""What persons ask."""
Score = Callable[[Params, int, int], dict[str, float]]
"""The scores of a trial, by its values, seed and updates."""


class DriverKilledError(Exception):
    """The driver was killed between a trial's last report and its end."""


@dataclass
class Member:
    """A trial as its own process and storage know it.

    Attributes:
        updates: made, as its newest checkpoint has them.
    """

    updates: int = 0


@dataclass
class Cluster:
    """A cluster in virtual time.

    Attributes:
        places: trials that run at once.
        node_loss: probability that a stretch of training is lost with its node.
        kill: probability, at each event, that the driver is killed and started again.
        drop: probability that Tune ends a trial without a word.
        asks: probability, at each event, that a person asks something of the campaign.
        launches: of the driver.
        members: the trials, by name.
        ended: how many times each trial was trained to its end.
        decisions: real seconds that the driver took for each trial that it started and each report that it handled.
    """

    campaign: Campaign
    journal: Journal
    places: int
    score: Score
    source: random.Random
    node_loss: float = 0.0
    kill: float = 0.0
    drop: float = 0.0
    asks: float = 0.0
    now: float = 0.0
    launches: int = 0
    members: dict[str, Member] = field(default_factory=dict)
    ended: Counter[str] = field(default_factory=Counter)
    decisions: list[float] = field(default_factory=list)
    _counter: int = 0
    _events: list[tuple[float, str]] = field(default_factory=list)
    _running: dict[str, dict[str, Any]] = field(default_factory=dict)

    def run(self) -> list[Configuration]:
        """Run the campaign to its end, over as many launches as that takes; returns what the storage holds then."""
        while not self._launch():
            pass
        return self.journal.read()

    def _launch(self) -> bool:
        """One launch of the driver; whether the plan is over, and not the driver killed."""
        self.launches += 1
        configurations = self.journal.read()
        self.journal.repair(configurations)
        session = Session(Plan(self.journal.campaign(), configurations), self.journal, lambda plan: None)
        self._events, self._running = [], {}
        while True:
            self._start(session)
            if not self._events:
                assert session.plan.over, "the campaign hangs: nothing runs, and the plan is not over"
                session.close()
                return True
            self.now, trial_id = heapq.heappop(self._events)
            if self.source.random() < self.kill:
                return False
            task = self._running.pop(trial_id)
            if self.source.random() < self.drop:
                session.reconcile(self._running)
                continue
            self._ask(session)
            try:
                goes_on = self.source.random() < self.node_loss or not self._report(session, trial_id, task)
            except DriverKilledError:
                return False
            if goes_on:
                self._train(trial_id, task)  # to its next evaluation; a lost one begins again at its checkpoint

    def _ask(self, session: Session) -> None:
        """Let a person ask something of a random trial."""
        trials = session.plan.trials()
        if not trials or self.source.random() >= self.asks:
            return
        trial, kind = self.source.choice(trials), self.source.choice(KINDS)
        words = [f"loss.info_categorical=log({self.source.uniform(0.05, 0.5)},10)"] if kind == "change" else []
        Inbox(self.journal.store).put(Request(kind, words=words, targets=[] if words else [trial.name]))
        session.do_requests()

    def _start(self, session: Session) -> None:
        """Start trials until there is no room or no work."""
        while True:
            self._counter += 1
            trial_id = f"trial {self._counter}"
            with self._decision():
                task = session.start_next(trial_id, self.places)
            if task is None:
                return
            self._train(trial_id, task)

    def _train(self, trial_id: str, task: dict[str, Any]) -> None:
        self._running[trial_id] = task
        heapq.heappush(self._events, (self.now + self._duration(task), trial_id))

    @contextmanager
    def _decision(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.decisions.append(time.perf_counter() - started)

    def _duration(self, task: dict[str, Any]) -> float:
        member = self._member(task)
        return (self._next(member) - member.updates) * self.source.uniform(0.5, 2.0)

    def _member(self, task: dict[str, Any]) -> Member:
        return self.members.setdefault(trial_name(task["number"], task["seed"]), Member())

    def _next(self, member: Member) -> int:
        """The updates at which a trial is evaluated next."""
        return next((at for at in self.campaign.rungs if at > member.updates), self.campaign.updates)

    def _report(self, session: Session, trial_id: str, task: dict[str, Any]) -> bool:
        """Let a trial reach its next evaluation and report it; whether it is stopped there."""
        name, member = trial_name(task["number"], task["seed"]), self._member(task)
        at = self._next(member)
        member.updates = at
        scores = self.score(task["params"], task["seed"], at)
        self._record(name, at, scores)
        is_last = at == self.campaign.updates
        report = Report(updates=at, scores=scores, seconds=float(at), outcome="finished" if is_last else None)
        with self._decision():
            stops = session.on_report(trial_id, report)
        if self.source.random() < self.kill:
            raise DriverKilledError
        with self._decision():
            if stops:
                session.on_end(trial_id, report)
        self.ended[name] += is_last
        return stops

    def _record(self, name: str, at: int, scores: dict[str, float]) -> None:
        """What the trial's run would have written."""
        store = self.journal.trial_store(name)
        assert isinstance(store, FolderStore)
        line = {"step": at, "time": 1.0} | {f"evaluation/{metric}": value for metric, value in scores.items()}
        path = store.root / "metrics.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(f"{line}\n".replace("'", '"'))


def bowl(params: Params, seed: int, updates: int) -> dict[str, float]:
    """Scores that grow with the updates, and are best at a weight of 1 and a learning rate of 1e-3; seeds differ a little."""
    weight, rate = float(params["loss.info_categorical"]), float(params["optim.lr_generator"])
    distance = math.log10(weight) ** 2 + math.log10(rate / 1e-3) ** 2
    noise = random.Random(f"{params}/{seed}").uniform(-0.01, 0.01)
    value = (1 - math.exp(-updates / 4)) * math.exp(-distance) + noise
    return {"info/share": value, "quality/coverage": 1.0 - distance + noise}
