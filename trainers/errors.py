"""Errors of training that are not bugs: each message says what was wrong, where, and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from unbraid.datasets.errors import DataError
from unbraid.datasets.passwords import without_password


class TrainingError(Exception):
    """The base of all these errors. URLs in messages lose their user and password: messages are printed and stored."""

    def __init__(self, message: object = "") -> None:
        super().__init__(without_password(str(message)))


class ConfigError(TrainingError):
    """A configuration that cannot run; the message names the key and what was expected."""


class CheckpointError(TrainingError):
    """A checkpoint that cannot be written or read; the message says which, and which checkpoint is complete."""


class DivergenceError(TrainingError):
    """Training whose numbers say that nothing is learnt any more; continuing would only repeat it."""

    EXIT_STATUS = 3
    """Of a command that ends by it."""


class CollapseError(DivergenceError):
    """Adversaries that no longer learn from each other."""


class RunError(TrainingError):
    """A run that ended before its budget; the message says why and how to continue."""


class RepeatedLossError(TrainingError):
    """Workers that die of the same cause again and again, without a new checkpoint between."""


class SupersededError(TrainingError):
    """A launch whose run another launch has taken over; it must not write any more."""


class StoppedError(TrainingError):
    """Training that stopped because it was asked to; the message names the checkpoint that holds its state."""


class UnsavedError(StoppedError):
    """Training that stopped because it was asked to, without a checkpoint of its last update."""


FATAL = (
    DataError,
    ConfigError,
    CheckpointError,
    CollapseError,
    DivergenceError,
    RepeatedLossError,
    SupersededError,
    StoppedError,
)
"""Errors that would happen again if the same training were repeated."""


@contextmanager
def fatal_as_run_error() -> Iterator[None]:
    """Raise a :class:`RunError` in place of a fatal error, which is its cause. Ray Train may survive any other error."""
    try:
        yield
    except FATAL as error:
        raise RunError(str(error)) from error
