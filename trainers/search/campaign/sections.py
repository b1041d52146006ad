"""The sections of a campaign's file, each with its defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from unbraid.trainers.config.schema import Section


class Objective(Section):
    """A measure of evaluation, and whether more of it or less is better."""

    metric: str
    mode: Literal["max", "min"] = "max"

    @property
    def sign(self) -> float:
        """What a value is multiplied by so that more is better."""
        return 1.0 if self.mode == "max" else -1.0


class SearcherConfig(Section):
    """How configurations are chosen.

    Attributes:
        kind: ``random``; ``grid``, every point of choices and integers; ``tpe``, Optuna's tree-structured Parzen estimator,
            with several objectives its multi-objective form.
        startup: configurations that ``tpe`` draws at random before it starts to learn.
    """

    kind: Literal["random", "grid", "tpe"] = "random"
    startup: int = Field(10, ge=1)


class NoScheduler(Section):
    """Every trial runs to its end."""

    kind: Literal["none"] = "none"


class Asha(Section):
    """Asynchronous successive halving (Li et al., MLSys 2020): at each rung only the best 1/``reduction`` go on.

    Attributes:
        grace: updates before the first rung; each next one is ``reduction`` times later.
        metric: that rungs are decided by, with its ``mode``; default: the first objective.
    """

    kind: Literal["asha"]
    grace: int = Field(ge=1)
    reduction: int = Field(3, ge=2)
    metric: str | None = None
    mode: Literal["max", "min"] = "max"


class Median(Section):
    """A trial stops when its best is worse than the median of the others' means so far (Golovin et al., KDD 2017).

    Attributes:
        every: updates between measures; ``grace`` of them before any trial is stopped, ``others`` trials that must be there.
    """

    kind: Literal["median"]
    every: int = Field(ge=1)
    grace: int = Field(0, ge=0)
    others: int = Field(3, ge=1)
    metric: str | None = None
    mode: Literal["max", "min"] = "max"


class Pbt(Section):
    """Population-based training (Jaderberg et al., 2017): the worst take over weights and values of the best and change them.

    All of ``budget.trials`` are one population. Weights only fit networks of the same sizes: so only losses, learning rates and
    augmentations are searched, and code sizes are fixed.

    Attributes:
        every: updates between measures, checkpoints and exchanges.
        quantile: share of the population that is replaced, and that is copied.
        resample: probability that a value is drawn anew and not multiplied by 1.2 or 0.8.
    """

    kind: Literal["pbt"]
    every: int = Field(ge=1)
    quantile: float = Field(0.25, gt=0, le=0.5)
    resample: float = Field(0.25, ge=0, le=1)
    metric: str | None = None
    mode: Literal["max", "min"] = "max"


SchedulerConfig = Annotated[NoScheduler | Asha | Median | Pbt, Field(discriminator="kind")]


class SeedsConfig(Section):
    """Adversaries vary from seed to seed: a configuration's score is the median over ``count`` of them.

    A configuration whose first seed was stopped by the scheduler, or has failed, gets no others.

    Attributes:
        promising: share of configurations, the best after their first seed, that get the other seeds; 1 is all.
    """

    count: int = Field(1, ge=1)
    promising: float = Field(1.0, gt=0, le=1)


class BudgetConfig(Section):
    """What a campaign may use; it ends with the first that is used up.

    Attributes:
        trials: runs of training, seeds included; not needed for a grid.
        updates: of all trials together: no trial starts once they are used up.
        minutes: of wall time, earlier launches included; running trials are stopped, and go on if this is raised.
        gpu_hours: of all trials together: no trial starts once they are used up.
    """

    trials: int | None = Field(None, ge=1)
    updates: int | None = Field(None, ge=1)
    minutes: float | None = Field(None, gt=0)
    gpu_hours: float | None = Field(None, gt=0)


class ResourcesConfig(Section):
    """Of each trial: a trial of one worker runs in place, a larger one as a Ray Train worker group. GPUs may be fractions."""

    workers: int = Field(1, ge=1)
    cpus: int = Field(1, ge=1)
    gpus: float = Field(0.0, ge=0)


class CollapseConfig(Section):
    """When adversaries are given up: for so many lines of metrics in a row, one of these holds.

    Attributes:
        loss_d: the discriminator's cross-entropy is below: it wins, and G learns nothing any more.
        deviation: made samples differ among each other by less than this share of what real ones do.
    """

    lines: int = Field(20, ge=1)
    loss_d: float = Field(0.005, ge=0)
    deviation: float = Field(0.05, ge=0, lt=1)
