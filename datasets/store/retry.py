"""Decides whether a failed transfer is repeated, and after which pause."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Exponential pauses with full jitter (Brooker, AWS Architecture Blog, 2015): colliding clients spread out.

    Attributes:
        attempts: failures in a row, without a byte of progress, before it is an error. None: as many as ``AWS_MAX_ATTEMPTS`` or
            the profile say, which a store of S3 resolves.
        first, longest: upper ends of the first and of the longest pause, in seconds.
        retry_seconds: time without progress that must have passed as well before it is an error.
    """

    attempts: int | None = None
    first: float = 0.1
    longest: float = 8.0
    retry_seconds: float = 0.0

    def gives_up(self, failures: int, seconds: float) -> bool:
        """Return whether so many failures in a row, over so many seconds, are an error."""
        assert self.attempts is not None
        return failures >= self.attempts and seconds >= self.retry_seconds

    def pause(self, failures: int, jitter: float) -> float:
        """Return the seconds to wait after so many failures in a row; ``jitter`` is uniform in [0, 1)."""
        return min(self.longest, self.first * 2.0 ** (failures - 1)) * jitter


FAST_RETRY = Backoff(attempts=3, longest=0.5)
"""For requests that fail soon, because their caller repeats them itself, later or with newer content."""


def default_backoff(retry_seconds: float = 0.0) -> Backoff:
    """Make a backoff of as many attempts as the user's settings of AWS say."""
    return Backoff(retry_seconds=retry_seconds)
