"""When a failed transfer is tried again, and after how long."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Exponential pauses with full jitter (Brooker, AWS Architecture Blog, 2015): colliding clients spread out.

    Attributes:
        attempts: in a row without a single byte of progress, before it is an error.
        first, longest: seconds, upper ends of the first and of the longest pause.
        patience: seconds without progress that must have passed too.
    """

    attempts: int = 8
    first: float = 0.1
    longest: float = 8.0
    patience: float = 0.0

    def gives_up(self, failures: int, seconds: float) -> bool:
        """Whether so many failures in a row, over so many seconds, are enough."""
        return failures >= self.attempts and seconds >= self.patience

    def pause(self, failures: int, jitter: float) -> float:
        """Seconds to wait after so many failures in a row; ``jitter`` is uniform in [0, 1)."""
        return min(self.longest, self.first * 2.0 ** (failures - 1)) * jitter


FAST_RETRY = Backoff(attempts=3, longest=0.5)
"""For requests that fail soon, because their caller repeats them itself, later or with newer content."""


def default_backoff(patience: float = 0.0) -> Backoff:
    """The number of attempts is ``AWS_MAX_ATTEMPTS`` where that is set, as for every AWS client."""
    return Backoff(attempts=max(1, int(os.environ.get("AWS_MAX_ATTEMPTS", Backoff.attempts))), patience=patience)
