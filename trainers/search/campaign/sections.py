"""The sections of a campaign's file, and what each of their keys decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from unbraid.trainers.config.section import BUDGET, EXECUTION, Section


@dataclass(frozen=True)
class Decides:
    """Mark of a campaign's key that sets keys of every trial's configuration; those can be neither fixed nor searched.

    Attributes:
        keys: dotted keys of the trial's configuration.
    """

    keys: tuple[str, ...]


class Objective(Section):
    """A measure that a campaign optimises, and its direction."""

    metric: str
    mode: Literal["max", "min"] = "max"

    @property
    def sign(self) -> float:
        """The factor that makes larger values better."""
        return 1.0 if self.mode == "max" else -1.0


class SearcherConfig(Section):
    """How configurations are chosen.

    Attributes:
        kind: ``random``; ``grid``, every point of choices and integers; ``tpe``, Optuna's tree-structured Parzen estimator,
            which becomes the multi-objective variant when there are several objectives.
        startup: number of random configurations before ``tpe`` starts to learn.
    """

    kind: Literal["random", "grid", "tpe"] = "random"
    startup: int = Field(10, ge=1)


class NoScheduler(Section):
    """Every trial trains to its end."""

    kind: Literal["none"] = "none"


class Asha(Section):
    """Asynchronous successive halving (Li et al., MLSys 2020): at each rung only the best 1/``reduction`` continue.

    Attributes:
        type: ``stopping`` decides for good when a trial reaches a rung; ``promotion``, the paper's, pauses it there, and it
            goes on once it is among the best.
        grace: updates before the first rung; each further rung is ``reduction`` times later.
        metric: the measure that decides at rungs, with its ``mode``; the default is the first objective.
    """

    kind: Literal["asha"]
    type: Literal["stopping", "promotion"] = "stopping"
    grace: int = Field(ge=1)
    reduction: int = Field(3, ge=2)
    metric: str | None = None
    mode: Literal["max", "min"] = "max"


class HyperbandConfig(Section):
    """Hyperband (Li et al., JMLR 2018): successive halving in brackets, each of which starts with more updates than the last.

    Attributes:
        grace: fewest updates before the first rung. Rungs are at the budget of a trial divided by powers of ``reduction``.
        metric: as of :class:`Asha`, with its ``mode``.
    """

    kind: Literal["hyperband"]
    grace: int = Field(ge=1)
    reduction: int = Field(3, ge=2)
    metric: str | None = None
    mode: Literal["max", "min"] = "max"


class Median(Section):
    """The median stopping rule (Golovin et al., KDD 2017): a trial stops when its best score is worse than the median of the
    other trials' running means.

    Attributes:
        every: updates between evaluations.
        grace: updates before a trial may be stopped.
        others: number of other trials that must have been evaluated before one is stopped.
    """

    kind: Literal["median"]
    every: int = Field(ge=1)
    grace: int = Field(0, ge=0)
    others: int = Field(3, ge=1)
    metric: str | None = None
    mode: Literal["max", "min"] = "max"


class Pbt(Section):
    """Population-based training (Jaderberg et al., 2017): the worst members exploit the best, then explore.

    All of ``budget.trials`` are one population, trained in generations. To exploit is to copy a donor's weights and values, to
    explore is to change the values. Weights fit only networks of the same sizes, so only losses, learning rates and
    augmentations can be searched.

    Attributes:
        every: updates of a generation, at whose end every member is evaluated and the worst exploit the best.
        quantile: fraction of the population that is replaced, and fraction that donates.
        resample: probability that exploring draws a new value instead of multiplying the old one by 1.2 or 0.8.
    """

    kind: Literal["pbt"]
    every: Annotated[int, Decides(("run.checkpoint_every", "run.keep_checkpoints"))] = Field(ge=1)
    quantile: float = Field(0.25, gt=0, le=0.5)
    resample: float = Field(0.25, ge=0, le=1)
    metric: str | None = None
    mode: Literal["max", "min"] = "max"


SchedulerConfig = Annotated[NoScheduler | Asha | HyperbandConfig | Median | Pbt, Field(discriminator="kind")]


def hyperband_rungs(updates: int, grace: int, reduction: int) -> tuple[int, ...]:
    """The updates of Hyperband's rungs, ascending: those of a trial's budget divided by powers of ``reduction``."""
    rungs: list[int] = []
    while (at := updates // reduction ** (len(rungs) + 1)) >= grace:
        rungs.insert(0, at)
    return tuple(rungs)


class SeedsConfig(Section):
    """Seeds of a configuration, whose score is the median over them because adversarial training varies from seed to seed.

    A configuration whose first seed was stopped by the scheduler, or failed, gets no further seeds.

    Attributes:
        count: seeds of a configuration.
        promising: fraction of the configurations, ranked by their first seed, that get the further seeds; 1 is all.
    """

    count: int = Field(1, ge=1)
    promising: float = Field(1.0, gt=0, le=1)


class BudgetConfig(Section):
    """Limits of a campaign; it ends at the first that is reached.

    Attributes:
        trials: number of trainings, seeds included; may be omitted for a grid.
        updates: of all trials together; when they are used up, no further trial starts.
        minutes: of wall time, earlier launches included; running trials are stopped, and continue if the limit is raised.
        gpu_hours: of all trials together; when they are used up, no further trial starts.
        money: as ``gpu_hours``, at ``resources.price``.
    """

    trials: Annotated[int | None, BUDGET] = Field(None, ge=1)
    updates: Annotated[int | None, BUDGET] = Field(None, ge=1)
    minutes: Annotated[float | None, BUDGET] = Field(None, gt=0)
    gpu_hours: Annotated[float | None, BUDGET] = Field(None, gt=0)
    money: Annotated[float | None, BUDGET] = Field(None, gt=0)


class ResourcesConfig(Section):
    """Resources of each trial. A trial with one worker trains in Tune's process, a larger one as a Ray Train worker group.

    Attributes:
        workers: data-parallel processes of a trial.
        cpus: of each worker.
        gpus: of each worker; may be a fraction.
        price: of one GPU for an hour, in any currency.
    """

    workers: Annotated[int, EXECUTION, Decides(("run.workers",))] = Field(1, ge=1)
    cpus: Annotated[int, EXECUTION, Decides(("run.cpus",))] = Field(1, ge=1)
    gpus: Annotated[float, EXECUTION, Decides(("run.gpus",))] = Field(0.0, ge=0)
    price: Annotated[float | None, EXECUTION] = Field(None, gt=0)


def decided_keys(section: BaseModel, prefix: str = "") -> dict[str, str]:
    """Keys of trials' configurations that a section decides, each with the dotted campaign key that decides it."""
    found: dict[str, str] = {}
    for name, field in type(section).model_fields.items():
        for mark in field.metadata:
            if isinstance(mark, Decides):
                found |= dict.fromkeys(mark.keys, f"{prefix}{name}")
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            found |= decided_keys(value, f"{prefix}{name}.")
    return found
