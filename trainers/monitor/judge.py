"""The judge of a run: whether its scalars say that it has diverged or collapsed, and since when.

It reads lines of metrics, one after the other, and knows nothing else: fed with a run's recorded lines it is where it was when
they were written. Five kinds of scalar are judged, each against its own recent past:

    error        positive, falls as a system learns: reconstructions, regressions  its logarithm rises
    information  a lower bound in nats, rises as a system learns                   it falls
    gradient     the norm of a player's gradient                                   its logarithm rises
    update       the norm of what its optimiser adds to the weights                its logarithm rises
    data         the deviation of real images over a batch, which nobody learns    its logarithm rises or falls

Adversarial losses wander and are not judged, but for two states from which no generator learns any more: a discriminator that
has won, and generated samples that are all the same.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from unbraid.trainers.config.schema import Bounded
from unbraid.trainers.config.sections import DivergenceConfig

Kind = Literal["error", "information", "gradient", "update", "data"]
Scalars = Mapping[str, float]
NORMS: Mapping[str, Kind] = {"gradient_norm/": "gradient", "update_norm/": "update"}
DISCRIMINATOR_LOSS = "loss/d"
REAL_DEVIATION, FAKE_DEVIATION = "samples/real_deviation", "samples/fake_deviation"
"""Scalars of systems that have them: the cross-entropy of a discriminator, and standard deviations over a batch of real and of
generated samples."""
FEW = 3
"""Names in a sentence."""
MOST_OF_ONE = 2.0
"""What one reading counts at most: no single one, however wild, is a divergence."""
INDEPENDENT = 4.0
"""Spreads that are enough for real images: batches are drawn independently, and three in a row so far out are no chance."""
TO_NORMAL = 1.4826
"""A normal distribution's standard deviation, as a multiple of its median absolute deviation."""


@dataclass(frozen=True)
class Finding:
    """What the judge has found.

    Attributes:
        kind: ``diverged`` or ``collapsed``.
        what: happened, from what to what, in words.
        since: the step of the first sign of it.
        step: at which it was certain.
    """

    kind: Literal["diverged", "collapsed"]
    what: str
    since: int
    step: int


class Judge:
    """Reads the lines of one run's metrics; see the module.

    Args:
        bounded: kinds of the scalars that are judged, by prefix of their names; a system's configuration says it.

    Attributes:
        clean: the newest step that was read without any sign of trouble; 0 before.
        finding: the first one; None while there is none.
    """

    def __init__(self, config: DivergenceConfig, bounded: Mapping[str, Bounded]) -> None:
        self.clean = 0
        self.finding: Finding | None = None
        self._config = config
        self._kinds: dict[str, Kind] = {**bounded, **NORMS, REAL_DEVIATION: "data"}
        self._series: dict[str, _Series | None] = {}
        self._collapses = _collapses(config)

    def replay(self, lines: Iterable[Mapping[str, float]]) -> None:
        """Read the lines that a run has recorded."""
        for line in lines:
            self.read(line)

    def read(self, line: Mapping[str, float]) -> Finding | None:
        """Read one more line.

        Returns:
            What is found at this line; None for most.
        """
        step = int(line["step"])
        scalars = {name: value for name, value in line.items() if "/" in name}
        is_measured = any(name.startswith(("evaluation/", "test/")) for name in scalars)
        if is_measured:
            return None
        found = self._not_finite(scalars, step) or self._jumped(scalars, step) or self._collapsed(scalars, step)
        if found is None and not self._is_suspicious:
            self.clean = step
        self.finding = self.finding or found
        return found

    @property
    def _is_suspicious(self) -> bool:
        return any(series is not None and series.since is not None for series in self._series.values()) or any(
            collapse.since is not None for collapse in self._collapses
        )

    def _not_finite(self, scalars: Scalars, step: int) -> Finding | None:
        broken = [name for name, value in scalars.items() if not math.isfinite(value)]
        if not broken:
            return None
        named = ", ".join(broken[:FEW]) + (f" and {len(broken) - FEW} more" if len(broken) > FEW else "")
        return Finding("diverged", f"{named} {'is' if len(broken) == 1 else 'are'} not finite", step, step)

    def _jumped(self, scalars: Scalars, step: int) -> Finding | None:
        found = None
        for name, value in scalars.items():
            if name not in self._series:
                kind = next((kind for prefix, kind in self._kinds.items() if name.startswith(prefix)), None)
                self._series[name] = None if kind is None else _Series(kind, self._config)
            series = self._series[name]
            if series is not None:
                words = series.read(value, step)
                if words is not None and found is None:
                    found = Finding("diverged", f"{name} {words}", series.since or step, step)
        return found

    def _collapsed(self, scalars: Scalars, step: int) -> Finding | None:
        for collapse in self._collapses:
            words = collapse.read(scalars, step)
            if words is not None:
                return Finding("collapsed", words, collapse.since or step, step)
        return None


class _Series:
    """One scalar's readings.

    Attributes:
        since: the first step of the readings beyond the limit that the newest one ends; None when that is within it.
    """

    def __init__(self, kind: Kind, config: DivergenceConfig) -> None:
        self.since: int | None = None
        self._kind = kind
        self._config = config
        self._usual: deque[float] = deque()
        self._ordered: list[float] = []
        self._weight = 0.0

    def read(self, value: float, step: int) -> str | None:
        """Judge one reading by those before it; words for a jump when there were enough of it in a row."""
        badness = self._badness(value)
        if badness is None:  # nothing to compare: a loss that is exactly zero
            return None
        limit, median = self._limit()
        apart = abs(badness - median) if self._kind == "data" else badness - median
        excess = apart / limit if len(self._usual) * 3 >= self._config.window else 0.0
        if excess <= 1:
            self.since, self._weight = None, 0.0
            self._accept(badness)
            return None
        self.since = step if self.since is None else self.since
        self._weight += min(excess, MOST_OF_ONE)
        if self._weight < self._config.readings:
            return None
        moved = "rose" if value > self._value(median) else "fell"
        return f"{moved} from {self._value(median):.3g} to {value:.3g}, since update {self.since}"

    def _badness(self, value: float) -> float | None:
        """A number that rises with trouble."""
        if self._kind == "information":
            return -value
        return math.log(value) if value > 0 else None

    def _value(self, badness: float) -> float:
        return -badness if self._kind == "information" else math.exp(badness)

    def _limit(self) -> tuple[float, float]:
        """How far above the usual a reading may be, and the usual: the median of the window."""
        config = self._config
        least = {
            "error": math.log(config.error_factor),
            "gradient": math.log(config.gradient_factor),
            "update": math.log(config.update_factor),
            "data": math.log(config.data_factor),
            "information": config.information_nats,
        }[self._kind]
        if not self._ordered:
            return least, 0.0
        median = _median(self._ordered)
        spread = TO_NORMAL * statistics.median(abs(value - median) for value in self._ordered)
        times = min(config.spread, INDEPENDENT) if self._kind == "data" else config.spread
        return max(least, times * spread), median

    def _accept(self, badness: float) -> None:
        self._usual.append(badness)
        insort(self._ordered, badness)
        if len(self._usual) > self._config.window:
            del self._ordered[bisect_left(self._ordered, self._usual.popleft())]


class _Condition:
    """A state that counts when it has held for ``collapse_updates`` without a break.

    Args:
        holds: whether it does by the scalars of a line; None where they do not say.
        words: for it.

    Attributes:
        since: its first step; None where it does not hold.
    """

    def __init__(self, config: DivergenceConfig, holds: Callable[[Scalars], bool | None], words: str) -> None:
        self.since: int | None = None
        self._config = config
        self._holds = holds
        self._words = words
        self._readings = 0

    def read(self, scalars: Scalars, step: int) -> str | None:
        """Words for it at the readings at which it counts; None at others."""
        holds = self._holds(scalars)
        if holds is None:
            return None
        self._readings = self._readings + 1 if holds else 0
        self.since = (step if self.since is None else self.since) if holds else None
        config = self._config
        if self.since is None or self._readings < config.readings or step - self.since < config.collapse_updates:
            return None
        return f"{self._words} since update {self.since}"


def _collapses(config: DivergenceConfig) -> tuple[_Condition, _Condition]:
    """A discriminator that is always right, and samples that are all the same."""

    def has_won(scalars: Scalars) -> bool | None:
        return scalars[DISCRIMINATOR_LOSS] < config.loss_d if DISCRIMINATOR_LOSS in scalars else None

    def are_the_same(scalars: Scalars) -> bool | None:
        if FAKE_DEVIATION not in scalars or REAL_DEVIATION not in scalars:
            return None
        return scalars[FAKE_DEVIATION] < config.deviation * scalars[REAL_DEVIATION]

    return (
        _Condition(config, has_won, f"the discriminator has won: {DISCRIMINATOR_LOSS} below {config.loss_d:g}"),
        _Condition(
            config,
            are_the_same,
            f"generated samples are all the same: {FAKE_DEVIATION} below {config.deviation:g} of {REAL_DEVIATION}",
        ),
    )


def _median(ordered: list[float]) -> float:
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
