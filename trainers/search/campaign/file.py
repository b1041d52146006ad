"""A campaign's file: what is searched, from where, towards what, and within which budget."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.schema import Section, SystemConfig
from unbraid.trainers.search.campaign.sections import (
    Asha,
    BudgetConfig,
    CollapseConfig,
    NoScheduler,
    Objective,
    Pbt,
    ResourcesConfig,
    SchedulerConfig,
    SearcherConfig,
    SeedsConfig,
)
from unbraid.trainers.search.campaign.space import KINDS, Dimension, Params, grid, ordered

CENTRALITY = "selection/centrality"
"""The mean agreement between the models of a configuration's seeds, see :mod:`unbraid.trainers.search.plan.centrality`."""
MAY_CHANGE = ("budget", "concurrency", "resources", "keep", "storage")
"""What a campaign may go on with changed: none alters what its trials are."""
NOT_SEARCHED = ("run.", "data.url", "data.split", "data.evaluation_split")
OWNED = {
    "run.name": "name", "run.storage": "storage", "run.seed": "seed", "run.workers": "resources.workers",
    "run.cpus": "resources.cpus", "run.gpus": "resources.gpus", "run.evaluate_at": "scheduler",
    "run.evaluate_every": "scheduler",
}  # fmt: skip
"""Keys of trials that the campaign decides, and by which of its own."""


class Campaign(Section):
    """A search over the configurations of one preset.

    Attributes:
        name: of its folder in ``storage``.
        preset: that every trial starts from.
        fixed: values of dotted paths, the same for all trials.
        space: by dotted path, see :mod:`unbraid.trainers.search.campaign.space`.
        objectives: one, or several for a Pareto front.
        labels: ``report`` forbids to select by a measure that reads labels; ``select`` allows it; ``none`` takes none.
        concurrency: trials at once; 0 is as many as the cluster's resources hold.
        keep: best configurations that keep checkpoints; of all others metrics and one picture stay.
        seed: decides all draws; trials of a configuration train with this seed and the ones after it.
        failures: times that a trial lost with its process or node goes on from its checkpoint.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    preset: str
    fixed: dict[str, Any] = Field({})
    space: dict[str, Dimension]
    objectives: Annotated[list[Objective], Field(min_length=1)]
    labels: Literal["report", "select", "none"] = "report"
    searcher: SearcherConfig = SearcherConfig()
    scheduler: SchedulerConfig = NoScheduler()
    seeds: SeedsConfig = SeedsConfig()
    budget: BudgetConfig = BudgetConfig()
    resources: ResourcesConfig = ResourcesConfig()
    collapse: CollapseConfig = CollapseConfig()
    concurrency: int = Field(0, ge=0)
    keep: int = Field(3, ge=1)
    seed: int = Field(0, ge=0)
    failures: int = Field(3, ge=0)
    storage: str = "campaigns"

    @field_validator("space", mode="before")
    @classmethod
    def _one_kind_each(cls, space: Any) -> Any:
        if not isinstance(space, Mapping) or not space:
            raise ValueError("expected dotted paths, such as loss.info_continuous: {log_uniform: [0.01, 1]}")
        for path, dimension in space.items():
            kinds = [kind for kind in KINDS if isinstance(dimension, Mapping) and kind in dimension]
            if len(kinds) != 1:
                raise ValueError(f"{path}: expected one of {', '.join(KINDS)}, such as {{uniform: [0, 1]}}")
        return space

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self.space)
        if self.searcher.kind == "grid":
            grid(self.space)
        elif self.budget.trials is None:
            raise ValueError(f"budget.trials: a {self.searcher.kind} search never ends by itself; say how many")
        if self.budget.trials is not None and self.budget.trials < self.seeds.count:
            raise ValueError(f"budget.trials={self.budget.trials} allows no configuration its seeds.count={self.seeds.count}")
        many = len(self.objectives) > 1
        if many and self.scheduler.kind != "none" and self.scheduler_objective is None:
            raise ValueError("scheduler.metric: with several objectives, say which one measure stops trials")
        if CENTRALITY in self.metrics and self.seeds.count < 2:
            raise ValueError(f"objectives: {CENTRALITY} compares the models of a configuration: set seeds.count to 2 or more")
        if self.scheduler.kind != "none" and self.scheduler_objective is None:
            raise ValueError(f"scheduler.metric: {CENTRALITY} is known only after trials have ended; name another measure")
        if self.scheduler.kind == "pbt":
            self._require_exchangeable()
        return self

    def _require_exchangeable(self) -> None:
        for path, dimension in self.space.items():
            if not path.startswith(("loss.", "optim.", "augment.")) or dimension.when:
                raise ValueError(
                    f"space.{path}: scheduler pbt copies weights between trials, which must have the same networks and codes "
                    "all the time: search loss.*, optim.* and augment.* without conditions, and put the rest under fixed"
                )
        if self.concurrency:
            raise ValueError("concurrency: with scheduler pbt the whole population takes turns on all that the cluster has")
        if self.seeds.count > 1:
            raise ValueError("seeds.count: with scheduler pbt each member of the population has one seed")

    @property
    def metrics(self) -> list[str]:
        """Of the objectives."""
        return [objective.metric for objective in self.objectives]

    @property
    def scheduler_objective(self) -> Objective | None:
        """What the scheduler decides by; None without one, and where none is named and none can be meant."""
        scheduler = self.scheduler
        if isinstance(scheduler, NoScheduler):
            return None
        if scheduler.metric is not None:
            return Objective(metric=scheduler.metric, mode=scheduler.mode)
        if len(self.objectives) > 1 or self.objectives[0].metric == CENTRALITY:
            return None
        return self.objectives[0]

    @property
    def selects_by(self) -> list[str]:
        """Every measure that decides anything."""
        scheduler = self.scheduler_objective
        return self.metrics + ([scheduler.metric] if scheduler is not None else [])

    @cached_property
    def updates(self) -> int:
        """Of a trial that is not stopped."""
        return self._resolved({}).run.updates

    @property
    def rungs(self) -> tuple[int, ...]:
        """Updates before the end at which a trial is measured."""
        scheduler = self.scheduler
        if isinstance(scheduler, Asha):
            rungs, at = [], scheduler.grace
            while at < self.updates:
                rungs.append(at)
                at *= scheduler.reduction
            return tuple(rungs)
        if isinstance(scheduler, NoScheduler):
            return ()
        return tuple(range(scheduler.every, self.updates, scheduler.every))

    @property
    def most_trials(self) -> int:
        """Trials at most."""
        trials = self.budget.trials
        if self.searcher.kind == "grid":
            every = len(grid(self.space)) * self.seeds.count
            return every if trials is None else min(trials, every)
        assert trials is not None
        return trials

    def config(self, params: Params, seed: int, name: str) -> SystemConfig:
        """A trial's configuration.

        Args:
            seed: number of it within the configuration, from 0.

        Raises:
            ConfigError: where these values do not go together.
        """
        config = self._resolved(params)
        run = {
            "name": name,
            "storage": f"{self.storage.rstrip('/')}/{self.name}/trials",
            "seed": self.seed + seed,
            "workers": self.resources.workers,
            "cpus": self.resources.cpus,
            "gpus": self.resources.gpus,
            "evaluate_at": self.rungs,
            "labels": config.run.labels and self.labels != "none",
            "max_failures": self.failures,
        }
        if isinstance(self.scheduler, Pbt):
            run["checkpoint_every"] = self.scheduler.every
        return config.model_copy(update={"run": config.run.model_copy(update=run)}).with_absolute_folders()

    def _resolved(self, params: Params) -> SystemConfig:
        values = self.fixed | params | {"run.workers": self.resources.workers}
        return resolve(self.preset, [f"{path}={json.dumps(value)}" for path, value in values.items()])

    def identity(self) -> dict[str, Any]:
        """All that decides what its trials are, by key."""
        return self.model_dump(mode="json", exclude=set(MAY_CHANGE))
