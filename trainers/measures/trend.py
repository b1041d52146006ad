"""Whether a noisy sequence, such as a loss while it trains, falls: the slope of a straight line through it, with its error."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEWEST = 3
"""Values through which a line can be laid and its error known."""
ERRORS = 2
"""Standard errors by which a slope must be below 0 before a sequence counts as falling."""


@dataclass(frozen=True)
class Trend:
    """A least-squares line through a sequence.

    Attributes:
        change: of the line from the first value to the last; negative where the sequence falls.
        error: standard error of the change, for values that scatter around the line independently of each other.
    """

    change: float
    error: float

    @property
    def highest(self) -> float:
        """The change plus :data:`ERRORS` standard errors: below 0 only where the sequence falls beyond doubt."""
        return self.change + ERRORS * self.error

    @property
    def falls(self) -> bool:
        """Whether the sequence falls by more than chance would explain."""
        return self.highest < 0


def trend(values: Sequence[float]) -> Trend:
    """The least-squares line through equally spaced values.

    Raises:
        ValueError: when there are fewer than three, or one is not a number.
    """
    if len(values) < FEWEST or not np.isfinite(values).all():
        raise ValueError(
            f"a trend needs at least {FEWEST} finite values, got {list(values)[:5]} and so on, {len(values)} in all"
        )
    y = np.asarray(values, np.float64)
    x = np.linspace(-0.5, 0.5, len(y))
    change = float(x @ y / (x @ x))
    residual = y - y.mean() - change * x
    return Trend(change, float(np.sqrt(residual @ residual / (len(y) - 2) / (x @ x))))
