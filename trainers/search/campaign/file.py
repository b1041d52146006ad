"""A campaign's file: what is searched, starting from which preset, towards which objectives, and within which budget."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.config.section import EXECUTION, Section
from unbraid.trainers.config.words import a_name
from unbraid.trainers.search.campaign.sections import (
    Asha,
    BudgetConfig,
    Decides,
    HyperbandConfig,
    NoScheduler,
    Objective,
    Pbt,
    ResourcesConfig,
    SchedulerConfig,
    SearcherConfig,
    SeedsConfig,
    hyperband_rungs,
)
from unbraid.trainers.search.campaign.space import KINDS, Dimension, Params, grid, ordered, size

CENTRALITY = "selection/centrality"
"""The mean agreement between the models of a configuration's seeds, see :mod:`unbraid.trainers.search.plan.centrality`."""
PRESET = "preset"
"""The entry of ``start_from`` that means the preset's own values."""
SAME_WEIGHTS = ("loss.", "optim.", "augment.")
"""Sections of a configuration that leave the shapes of all weights as they are, so that members can copy each other's."""

MEMBER_CHECKPOINTS = 3
"""Of a population's member: that of a generation stays until all members that exploit it have copied it."""


class Former(Section):
    """What a campaign searched before it was changed.

    Attributes:
        space, fixed: as of :class:`Campaign`.
    """

    space: dict[str, Dimension]
    fixed: dict[str, Any]


class Campaign(Section):
    """A search over the configurations of one preset.

    As in a system's configuration, a field without an :class:`~unbraid.trainers.config.schema.Effect` changes what trials learn
    or which of them are chosen; a campaign continues only while these stay the same.

    Attributes:
        name: of the campaign, and of its folder in ``storage``.
        preset: that every trial starts from.
        fixed: values by dotted path, the same for all trials.
        space: dimensions by dotted path, see :mod:`unbraid.trainers.search.campaign.space`.
        objectives: one, or several for a Pareto front. Trials are measured on the validation split alone.
        start_from: points of the space that are tried first: values by dotted path, or ``preset``, or folder or URL of a run or
            of a campaign, whose best configurations are taken; what an entry does not say is as in the preset.
        labels: ``report`` forbids objectives that read labels; ``select`` allows them; ``none`` takes no such measure.
        concurrency: trials that run at once; 0 is as many as fit into the cluster's resources.
        keep: number of best configurations that keep their checkpoints; all others keep metrics, report and newest picture.
        seed: of the search's draws, and of the first seed of each configuration; further seeds count up from it.
        failures: how many times a trial is restarted from its checkpoint after its process or node was lost.
        silent_minutes: after which all running trials are started again from their checkpoints, when none of them was heard.
        former: what was searched before, oldest first; written by ``unbraid tune change`` and not by hand.
    """

    name: Annotated[str, AfterValidator(a_name), Decides(("run.name", "run.group"))]
    preset: str
    fixed: dict[str, Any] = Field({})
    space: dict[str, Dimension]
    objectives: Annotated[list[Objective], Field(min_length=1), Decides(("data.test_split",))]
    start_from: list[dict[str, Any] | str] = Field([])
    labels: Literal["report", "select", "none"] = "report"
    searcher: SearcherConfig = SearcherConfig()
    scheduler: Annotated[SchedulerConfig, Decides(("run.evaluate_at", "run.evaluate_every"))] = NoScheduler()
    seeds: SeedsConfig = SeedsConfig()
    budget: BudgetConfig = BudgetConfig()
    resources: ResourcesConfig = ResourcesConfig()
    concurrency: Annotated[int, EXECUTION] = Field(0, ge=0)
    keep: Annotated[int, EXECUTION] = Field(3, ge=1)
    seed: Annotated[int, Decides(("run.seed",))] = Field(0, ge=0)
    failures: Annotated[int, EXECUTION, Decides(("run.max_failures",))] = Field(3, ge=0)
    silent_minutes: Annotated[float, EXECUTION] = Field(30.0, gt=0)
    storage: Annotated[str, EXECUTION, Decides(("run.storage",))] = "campaigns"
    former: list[Former] = Field([])

    @field_validator("space", mode="before")
    @classmethod
    def _each_dimension_has_one_kind(cls, space: Any) -> Any:
        if not isinstance(space, Mapping):
            raise ValueError("expected dotted paths, such as loss.info_continuous: {log_uniform: [0.01, 1]}")
        for path, dimension in space.items():
            kinds = [kind for kind in KINDS if isinstance(dimension, Mapping) and kind in dimension]
            if len(kinds) != 1:
                raise ValueError(f"{path}: expected one of {', '.join(KINDS)}, such as {{uniform: [0, 1]}}")
        return space

    @model_validator(mode="after")
    def _space_suits_searcher_and_budget(self) -> Self:
        ordered(self.space)
        if not self.space and (self.seeds.count < 2 or self.searcher.kind != "grid"):
            raise ValueError(
                "space: is empty; expected dotted paths, such as loss.info_continuous: {log_uniform: [0.01, 1]}, or, for "
                "several seeds of one configuration, seeds: {count: 5} and searcher: {kind: grid}"
            )
        if self.searcher.kind == "grid":
            grid(self.space)
        elif self.budget.trials is None:
            raise ValueError(f"budget.trials: a {self.searcher.kind} search has no end of its own; set the number of trials")
        if self.budget.trials is not None and self.budget.trials < self.seeds.count:
            raise ValueError(
                f"budget.trials={self.budget.trials} is less than seeds.count={self.seeds.count}: not one configuration could "
                "be trained with all its seeds"
            )
        return self

    @model_validator(mode="after")
    def _money_has_a_price(self) -> Self:
        if self.budget.money is not None and (self.resources.price is None or not self.resources.gpus):
            raise ValueError("budget.money: set resources.price, of one GPU for an hour, and resources.gpus")
        return self

    @model_validator(mode="after")
    def _objectives_suit_scheduler_and_seeds(self) -> Self:
        if CENTRALITY in self.metrics and self.seeds.count < 2:
            raise ValueError(f"objectives: {CENTRALITY} compares the models of a configuration: set seeds.count to 2 or more")
        compared = [objective.metric for objective in self.scheduler_objectives]
        if CENTRALITY in compared:
            raise ValueError(f"scheduler.metric: {CENTRALITY} is known only after trials have ended; name another measure")
        if self.scheduler.kind == "median" and len(compared) > 1:
            raise ValueError("scheduler.metric: the median rule compares one measure; name it")
        return self

    @model_validator(mode="after")
    def _members_can_copy_each_other(self) -> Self:
        if not isinstance(self.scheduler, Pbt):
            return self
        for path, dimension in self.space.items():
            if not path.startswith(SAME_WEIGHTS) or dimension.when:
                raise ValueError(
                    f"space.{path}: scheduler pbt copies weights between trials, which must have the same networks and codes "
                    "all the time: search loss.*, optim.* and augment.* without conditions, and put the rest under fixed"
                )
        if self.seeds.count > 1:
            raise ValueError("seeds.count: with scheduler pbt each member of the population has one seed; leave seeds out")
        return self

    @property
    def metrics(self) -> list[str]:
        """The objectives' metrics."""
        return [objective.metric for objective in self.objectives]

    def gpu_hours(self, seconds: float) -> float:
        """GPU hours of so many seconds of training."""
        return seconds * self.resources.gpus * self.resources.workers / 3600

    @property
    def most_gpu_hours(self) -> float | None:
        """The GPU hours within which the campaign stays, those that its money buys included; None where it has no limit."""
        budget, price = self.budget, self.resources.price
        limits = [budget.gpu_hours, None if budget.money is None or price is None else budget.money / price]
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def compares_models(self) -> bool:
        """Whether the models of a configuration's seeds are compared with each other."""
        return CENTRALITY in self.metrics

    @property
    def scheduler_objectives(self) -> list[Objective]:
        """What the scheduler compares trials by: the measure that it names, else all objectives; none without a scheduler."""
        scheduler = self.scheduler
        if isinstance(scheduler, NoScheduler):
            return []
        if scheduler.metric is not None:
            return [Objective(metric=scheduler.metric, mode=scheduler.mode)]
        return self.objectives

    @property
    def selecting_metrics(self) -> list[str]:
        """The metrics of the objectives and of the scheduler."""
        return self.metrics + [objective.metric for objective in self.scheduler_objectives]

    @cached_property
    def updates(self) -> int:
        """Updates of a trial that trains to its end."""
        return self._resolved({}).run.updates

    @cached_property
    def rungs(self) -> tuple[int, ...]:
        """Updates, before the last, after which a trial is evaluated."""
        scheduler = self.scheduler
        if isinstance(scheduler, Asha):
            rungs, at = [], scheduler.grace
            while at < self.updates:
                rungs.append(at)
                at *= scheduler.reduction
            return tuple(rungs)
        if isinstance(scheduler, NoScheduler):
            return ()
        if isinstance(scheduler, HyperbandConfig):
            return hyperband_rungs(self.updates, scheduler.grace, scheduler.reduction)
        return tuple(range(scheduler.every, self.updates, scheduler.every))

    @cached_property
    def max_trials(self) -> int:
        """The number of trials that the budget, or a space of choices and whole numbers, allows."""
        allowed = [self.budget.trials, None if self.points is None else self.points * self.seeds.count]
        return min(count for count in allowed if count is not None)

    @cached_property
    def points(self) -> int | None:
        """The number of points after which nothing is left to try; None where there is no such number."""
        if self.searcher.kind == "grid":
            return len(grid(self.space))
        return None if isinstance(self.scheduler, Pbt) else size(self.space)  # members of a population may begin at one point

    @property
    def revision(self) -> int:
        """How often the space was changed since the campaign began."""
        return len(self.former)

    def at(self, revision: int) -> Campaign:
        """The campaign as it was before its later changes; configurations keep what they were trained with."""
        if revision == self.revision:
            return self
        then = self.former[revision]
        return self.model_copy(update={"space": then.space, "fixed": then.fixed, "former": self.former[:revision]})

    @property
    def trials_storage(self) -> str:
        """Folder or URL that holds the trials' runs."""
        return f"{self.storage.rstrip('/')}/{self.name}/trials"

    def trial_config(self, params: Params, seed: int, name: str) -> SystemConfig:
        """A trial's configuration.

        Args:
            params: values of the space's active dimensions.
            seed: number of the seed within the configuration, from 0.
            name: of the trial's run.

        Raises:
            ConfigError: when the values do not go together.
        """
        config = self._resolved(params)
        run = {
            "name": name,
            "storage": self.trials_storage,
            "seed": self.seed + seed,
            "workers": self.resources.workers,
            "cpus": self.resources.cpus,
            "gpus": self.resources.gpus,
            "evaluate_at": self.rungs,
            "labels": config.run.labels and self.labels != "none",
            "max_failures": self.failures,
            "group": self.name,
        }
        if isinstance(self.scheduler, Pbt):
            run["checkpoint_every"] = self.scheduler.every
            run["keep_checkpoints"] = MEMBER_CHECKPOINTS
        data = config.data.model_copy(update={"test_split": None})  # what trials are chosen by is no test
        return config.model_copy(update={"data": data, "run": config.run.model_copy(update=run)}).with_absolute_folders()

    def _resolved(self, params: Params) -> SystemConfig:
        values = self.fixed | params | {"run.workers": self.resources.workers}
        return resolve(self.preset, [f"{path}={json.dumps(value)}" for path, value in values.items()])
