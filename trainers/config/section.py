"""What a section of a configuration is: typed fields, each with what changing it does to a run."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True)
class Effect:
    """What changing a key does to a run. Fields are annotated with one of the two below; a field without either is *learnt*.

    A run is named after its learnt and its budget keys. It goes on with other values of its budget and execution keys; with
    another value of a learnt key it would be another run, and is refused.

    Attributes:
        names_the_run: whether the key is part of a run's default name.
    """

    names_the_run: bool


BUDGET = Effect(names_the_run=True)
"""How long a run trains: another budget is another run by default, and a run may be given a larger one."""
EXECUTION = Effect(names_the_run=False)
"""Where, how fast and how visibly a run trains; what an update learns from its batch does not depend on it."""


@dataclass(frozen=True)
class FormerName:
    """The name that a key had in an earlier version; its use is an error that names the present one."""

    name: str


class Section(BaseModel):
    """A part of a configuration: typed, immutable, no unknown keys, finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
