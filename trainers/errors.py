"""Errors of training that are not bugs: each message says what was wrong, where, and what to do."""

from unbraid.datasets.errors import DataError


def in_one_line(text: object, limit: int = 300) -> str:
    """An error, or what a server said, without line breaks and not too long."""
    return " ".join(str(text).split())[:limit] or type(text).__name__


class TrainingError(Exception):
    """The base of all of them."""


class ConfigError(TrainingError):
    """A configuration that cannot run; the message names the key and what was expected."""


class CheckpointError(TrainingError):
    """A checkpoint that cannot be written or read; the message says which, and what is still safe."""


class DivergenceError(TrainingError):
    """Training that produced a number which is not finite; going on would only repeat it."""


class RunError(TrainingError):
    """A run that ended without reaching its budget; the message says why and where it stands."""


class SupersededError(TrainingError):
    """Another launch has taken the run over; this one writes no more."""


class StoppedError(TrainingError):
    """Training that was asked to stop and has; what was trained is in a checkpoint."""


FATAL = (DataError, ConfigError, CheckpointError, DivergenceError, SupersededError, StoppedError)
"""Errors that a repetition would meet again; a run that they end raises a :class:`RunError` of which they are the cause."""
