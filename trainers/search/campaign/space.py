"""The search space of a campaign: dimensions over the dotted paths of a configuration. Pure functions, no files."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Protocol, Self

from pydantic import Discriminator, Field, Tag, model_validator

from unbraid.trainers.config.section import Section

Params = dict[str, Any]
"""A point of the space: a value for each active dimension, by dotted path."""
MOST_COUNTED = 20_000
"""Points of a space that are listed; a larger one is not searched to its end."""
MAX_CORNERS = 4096
"""Of a space with more corners, :func:`corners` yields the points that differ from its middle in two dimensions."""


class Suggester(Protocol):
    """Chooses values of dimensions: an Optuna trial, or :class:`RandomSuggester`."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...

    def suggest_categorical(self, name: str, choices: Any) -> Any: ...


class RandomSuggester:
    """Draws every value independently from its dimension's distribution."""

    def __init__(self, source: random.Random) -> None:
        self._source = source

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A uniform number, or with ``log`` one whose logarithm is uniform."""
        if log:
            return min(max(math.exp(self._source.uniform(math.log(low), math.log(high))), low), high)
        return self._source.uniform(low, high)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """A uniform whole number, both bounds included."""
        return self._source.randint(low, high)

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """One of the choices, all equally probable."""
        return self._source.choice(choices)


class _Dimension(Section):
    """What all dimensions have in common.

    Attributes:
        when: the condition under which this dimension is active: values of other dimensions, by path.
    """

    when: dict[str, Any] = Field({})

    @property
    def text(self) -> str:
        """The dimension in a line, such as ``log_uniform 0.1 to 10``."""
        kind, values = next(item for item in self.model_dump().items() if item[0] in KINDS)
        condition = " and ".join(f"{path} is {json.dumps(value)}" for path, value in self.when.items())
        ends = " | ".join(map(json.dumps, values)) if kind == "choice" else f"{kind} {values[0]:g} to {values[1]:g}"
        return f"{ends}{f', when {condition}' if condition else ''}"


class Uniform(_Dimension):
    """A number between two bounds."""

    uniform: tuple[float, float]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _require_ordered(self.uniform)
        return self

    def suggest(self, name: str, suggester: Suggester) -> float:
        return suggester.suggest_float(name, *self.uniform)

    @property
    def extremes(self) -> list[Any]:
        return list(self.uniform)

    @property
    def middle(self) -> Any:
        return sum(self.uniform) / 2


class LogUniform(_Dimension):
    """A positive number whose logarithm is uniform."""

    log_uniform: tuple[float, float]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _require_ordered(self.log_uniform)
        if self.log_uniform[0] <= 0:
            raise ValueError(f"log_uniform starts at {self.log_uniform[0]:g}: a logarithm needs more than 0")
        return self

    def suggest(self, name: str, suggester: Suggester) -> float:
        return suggester.suggest_float(name, *self.log_uniform, log=True)

    @property
    def extremes(self) -> list[Any]:
        return list(self.log_uniform)

    @property
    def middle(self) -> Any:
        return math.sqrt(self.log_uniform[0] * self.log_uniform[1])


class Integer(_Dimension):
    """A whole number between two bounds, both included."""

    integer: tuple[int, int]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _require_ordered(self.integer)
        return self

    def suggest(self, name: str, suggester: Suggester) -> int:
        return suggester.suggest_int(name, *self.integer)

    @property
    def extremes(self) -> list[Any]:
        return list(self.integer)

    @property
    def middle(self) -> Any:
        return sum(self.integer) // 2


class Choice(_Dimension):
    """One of a list of any YAML values."""

    choice: Annotated[list[Any], Field(min_length=1)]

    def suggest(self, name: str, suggester: Suggester) -> Any:
        return self.choice[self.categories.index(suggester.suggest_categorical(name, self.categories))]

    @property
    def categories(self) -> list[str]:
        """The values as JSON: Optuna's categories, which cannot be lists."""
        return [json.dumps(value) for value in self.choice]

    @property
    def extremes(self) -> list[Any]:
        return self.choice

    @property
    def middle(self) -> Any:
        return self.choice[0]


KINDS = ("uniform", "log_uniform", "integer", "choice")


def _kind_of(dimension: Any) -> str | None:
    """The key that says which kind a dimension is of."""
    given = dimension if isinstance(dimension, Mapping) else vars(dimension)
    return next((kind for kind in KINDS if kind in given), None)


Dimension = Annotated[
    Annotated[Uniform, Tag("uniform")]
    | Annotated[LogUniform, Tag("log_uniform")]
    | Annotated[Integer, Tag("integer")]
    | Annotated[Choice, Tag("choice")],
    Discriminator(_kind_of),
]
"""A mistake in a dimension is one of its own kind, and not one of each kind."""
Space = Mapping[str, Dimension]


def ordered(space: Space) -> list[str]:
    """The paths of a space, each after the dimensions that its condition names.

    Raises:
        ValueError: when a condition names a missing dimension or a value that it never has, or conditions are circular.
    """
    done: list[str] = []
    waiting = list(space)
    for name, dimension in space.items():
        for other, value in dimension.when.items():
            if other not in space:
                raise ValueError(f"space.{name}.when: {other} is not in the space")
            parent = space[other]
            if not isinstance(parent, Choice):
                raise ValueError(f"space.{name}.when: {other} is not a choice")
            if value not in parent.choice:
                raise ValueError(f"space.{name}.when: {other} is never {value!r}; it is one of {parent.choice}")
    while waiting:
        ready = [name for name in waiting if all(other in done for other in space[name].when)]
        if not ready:
            raise ValueError(f"space: the conditions of {', '.join(waiting)} depend on each other in a circle")
        done += ready
        waiting = [name for name in waiting if name not in ready]
    return done


def is_active(dimension: Dimension, params: Mapping[str, Any]) -> bool:
    """Whether the condition of a dimension holds at a point."""
    return all(other in params and params[other] == value for other, value in dimension.when.items())


def sample(space: Space, suggester: Suggester) -> Params:
    """Draw one point of the space."""
    params: Params = {}
    for name in ordered(space):
        if is_active(space[name], params):
            params[name] = space[name].suggest(name, suggester)
    return params


def holds(space: Space, params: Mapping[str, Any]) -> bool:
    """Whether a point is one of a space: a value for each active dimension and no other, of the dimension's kind."""
    names = {name for name in ordered(space) if is_active(space[name], params)}
    return names == set(params) and all(_is_value(space[name], value) for name, value in params.items())


def _is_value(dimension: Dimension, value: Any) -> bool:
    """Whether a value is of a dimension's kind; explored ones may lie beyond its ends."""
    if isinstance(dimension, Choice):
        return value in dimension.choice
    if isinstance(dimension, Integer):
        return type(value) is int
    return type(value) in (int, float) and math.isfinite(value)


def lies_within(dimension: Dimension, value: Any) -> bool:
    """Whether a value is one of a dimension's choices, or not beyond its ends."""
    if isinstance(dimension, Choice):
        return value in dimension.choice
    low, high = dimension.extremes
    return bool(low <= value <= high)


def values_of(space: Space, content: Mapping[str, Any]) -> Params:
    """The point of a space at which a configuration is, given as nested mappings; values that it lacks are left out."""
    params: Params = {}
    for name in ordered(space):
        if not is_active(space[name], params):
            continue
        value: Any = content
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            params[name] = value
    return params


def corners(space: Space) -> Iterator[Params]:
    """Points at which every dimension has an extreme value; of a large space, see :data:`MAX_CORNERS`, fewer."""
    names = ordered(space)
    if math.prod(len(space[name].extremes) for name in names) <= MAX_CORNERS:
        yield from _distinct(space, names, itertools.product(*(space[name].extremes for name in names)))
        return
    middle = [space[name].middle for name in names]
    yield from _distinct(space, names, _two_off_the_middle(space, names, middle))


def _two_off_the_middle(space: Space, names: list[str], middle: list[Any]) -> Iterator[tuple[Any, ...]]:
    for i, j in itertools.combinations(range(len(names)), 2):
        for a, b in itertools.product(space[names[i]].extremes, space[names[j]].extremes):
            yield (*middle[:i], a, *middle[i + 1 : j], b, *middle[j + 1 :])


def is_finite(space: Space, names: Iterable[str]) -> bool:
    """Whether each of these dimensions is a choice or a whole number."""
    return all(isinstance(space[name], Choice | Integer) for name in names)


def size(space: Space) -> int | None:
    """The number of points of a space of choices and whole numbers; None for any other, and beyond :data:`MOST_COUNTED`."""
    count = 1
    for dimension in space.values():
        if isinstance(dimension, Choice):
            count *= len(dimension.choice)
        elif isinstance(dimension, Integer):
            count *= dimension.integer[1] - dimension.integer[0] + 1
        else:
            return None
    return len(grid(space)) if count <= MOST_COUNTED else None


def grid(space: Space) -> list[Params]:
    """All points of a space of choices and integers, in order.

    Raises:
        ValueError: when a dimension is continuous.
    """
    names = ordered(space)
    values: list[list[Any]] = []
    for name in names:
        dimension = space[name]
        if isinstance(dimension, Choice):
            values.append(dimension.choice)
        elif isinstance(dimension, Integer):
            values.append(list(range(dimension.integer[0], dimension.integer[1] + 1)))
        else:
            raise ValueError(f"space.{name}: a grid needs a choice or an integer; list the values wanted as a choice")
    return list(_distinct(space, names, itertools.product(*values)))


def _distinct(space: Space, names: list[str], points: Iterator[tuple[Any, ...]]) -> Iterator[Params]:
    """Points with their active dimensions only, without repetitions."""
    seen: set[str] = set()
    for values in points:
        params: Params = {}
        for name, value in zip(names, values, strict=True):
            if is_active(space[name], params):
                params[name] = value
        if key_of(params) not in seen:
            seen.add(key_of(params))
            yield params


def key_of(params: Params) -> str:
    """Text that two points have in common only when they are equal."""
    return json.dumps(params, sort_keys=True)


def _require_ordered(bounds: tuple[float, float]) -> None:
    if not bounds[0] < bounds[1]:
        raise ValueError(f"bounds {bounds[0]:g} and {bounds[1]:g}: the first must be less than the second")
