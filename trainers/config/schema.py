"""The root of every system's configuration, its checks, and what its keys do.

Nothing heavy is imported here: a misspelt key is answered in milliseconds.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, model_validator

from unbraid.datasets.passwords import NO_PASSWORDS, has_password
from unbraid.trainers.config.section import Effect, FormerName, Section
from unbraid.trainers.config.sections import DataConfig, DivergenceConfig, RunConfig
from unbraid.trainers.config.words import fields_of, nearest
from unbraid.trainers.errors import ConfigError


@dataclass(frozen=True)
class BatchField:
    """A field of a batch.

    Attributes:
        kind: ``image`` (uint8), ``integer`` (int64) or ``array`` (float32), as data sets have them.
        shape: of one sample, (C, H, W) for images; None where images of any size will do.
    """

    kind: Literal["image", "integer", "array"]
    shape: tuple[int, ...] | None


Bounded = Literal["error", "information"]
"""Kinds of scalars that a run's judge compares with their past; see :mod:`unbraid.trainers.monitor.judge`."""


LEAST_SSIM = 0.1
"""Images that are no more similar than this, in the mean, have nothing in common that was learnt."""


@dataclass(frozen=True)
class PrimaryMetric:
    """The measure that sums up a run.

    Attributes:
        name: as in ``evaluation/NAME``.
        words: for it.
        lower_is_better: whether the best value is the lowest.
    """

    name: str
    words: str
    lower_is_better: bool = False

    def best(self, values: Mapping[int, float]) -> int | None:
        """The step with the best of the values, the earliest of equal ones; None where there are no values."""
        sign = 1 if self.lower_is_better else -1
        return min(values, key=lambda step: (sign * values[step], step), default=None)


class SystemConfig(Section):
    """The root of a configuration; each system adds its own sections.

    Attributes:
        truth_fields: fields that some sets have and training never sees; measures may.
        watched: prefixes of the metrics that a person watches beside the losses while training.
        bounded: kinds of the scalars by which the judge tells that a run has diverged, by prefix of their names; losses of
            adversaries wander and are none. See :mod:`unbraid.trainers.monitor.judge`.
        primary_metric: the measure that sums up a finished run; None where there is none.
    """

    truth_fields: ClassVar[tuple[str, ...]] = ("label",)
    watched: ClassVar[tuple[str, ...]] = ()
    bounded: ClassVar[Mapping[str, Bounded]] = {}
    primary_metric: ClassVar[PrimaryMetric | None] = None

    system: str
    data: DataConfig = DataConfig()
    run: RunConfig = RunConfig()
    divergence: DivergenceConfig = DivergenceConfig()

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(C, H, W) of the images that the networks are built for; None where any will do."""
        return None

    def training_fields(self) -> dict[str, BatchField]:
        """What an update reads of a batch; a data set must hold these fields."""
        return {"image": BatchField("image", self.image_shape)}

    def measures(self) -> dict[str, bool]:
        """Names of the measures that an evaluation always reports, and whether it reads labels, or other truth, for them.

        Where truth is missing, those that need it are left out of the evaluation.
        """
        return {}

    def selection_metric(self, searched: Collection[str]) -> PrimaryMetric | None:
        """The measure by which a search compares configurations without labels; None where the system reports none.

        Args:
            searched: dotted keys in which the configurations differ.
        """
        metric = self.primary_metric
        return None if metric is None or self.measures().get(metric.name, True) else metric

    def nothing_learnt(self, scores: Mapping[str, float]) -> str | None:
        """Why measures say that nothing was learnt, in words; None where they do not.

        Args:
            scores: measures by name; those that were not taken are missing.
        """
        return None

    def require_inputs(self) -> dict[str, "SystemConfig"]:
        """The configurations of the runs that this one starts from, by name; most systems start from none.

        Raises:
            ConfigError: when one is not there or does not fit, naming the key and what to do.
        """
        return {}

    @model_validator(mode="after")
    def _urls_have_no_passwords(self) -> Self:
        for key, url in (("data.url", self.data.url), ("data.cache", self.data.cache), ("run.storage", self.run.storage)):
            if url is not None and has_password(url):
                raise ValueError(f"{key}={url}: {NO_PASSWORDS}")
        return self

    @model_validator(mode="after")
    def _collectives_outlast_the_storage(self) -> Self:
        run = self.run
        if run.workers > 1 and run.collective_minutes <= run.storage_retry_minutes:
            raise ValueError(
                f"run.collective_minutes={run.collective_minutes:g} must be larger than run.storage_retry_minutes="
                f"{run.storage_retry_minutes:g}: workers would give each other up while one still waits for the storage"
            )
        return self

    @model_validator(mode="after")
    def _lanes_are_shared(self) -> Self:
        data, workers = self.data, self.run.workers
        if data.lanes < workers:
            raise ValueError(
                f"data.lanes={data.lanes} cannot be shared by run.workers={workers}: each owns one at least; raise data.lanes, "
                "or use fewer workers"
            )
        if (self.run.min_workers or 1) > workers:
            raise ValueError(f"run.min_workers={self.run.min_workers} are more than run.workers={workers}: lower it")
        if data.batch % data.lanes:
            raise ValueError(
                f"data.batch={data.batch} is not a multiple of data.lanes={data.lanes}: each lane gives the same number"
            )
        return self

    @property
    def shares(self) -> list[int]:
        """Samples of a global batch that a worker may hold, ascending, with as many workers as there may be."""
        lanes, workers = self.data.lanes, range(self.run.min_workers or self.run.workers, self.run.workers + 1)
        return sorted({self.data.batch // lanes * held for n in workers for held in (lanes // n, -(-lanes // n))})

    def with_absolute_folders(self) -> Self:
        """The same configuration with absolute folders: a worker's current folder is another one."""
        cache = None if self.data.cache is None else absolute(self.data.cache)
        data = self.data.model_copy(update={"url": absolute(self.data.url), "cache": cache})
        run = self.run.model_copy(update={"storage": absolute(self.run.storage)})
        return self.model_copy(update={"data": data, "run": run})

    def digest(self) -> str:
        """Eight hex digits of the keys that name a run, see :class:`Effect`."""
        unnamed = {key for key, effect in effects(type(self)).items() if not effect.names_the_run}
        content = _without(self.model_dump(mode="json"), unnamed)
        content["data"]["url"] = place(self.data.url)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def effects(schema: type[BaseModel], prefix: str = "") -> dict[str, Effect]:
    """The effect of every dotted key that is annotated with one; the others are learnt."""
    found: dict[str, Effect] = {}
    for name, field in schema.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= effects(field.annotation, f"{prefix}{name}.")
        for mark in field.metadata:
            if isinstance(mark, Effect):
                found[f"{prefix}{name}"] = mark
    return found


def differences(a: BaseModel, b: BaseModel) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with both values."""
    left, right = values_by_key(a), values_by_key(b)
    return {
        key: (left.get(key), right.get(key)) for key in sorted(left.keys() | right.keys()) if left.get(key) != right.get(key)
    }


def keys_of(config: BaseModel) -> set[str]:
    """The dotted keys that a configuration has values for."""
    return set(values_by_key(config))


def values_by_key(config: BaseModel) -> dict[str, Any]:
    """The values of a configuration by dotted key."""
    return dict(_leaves(config.model_dump(mode="json")))


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _without(content: Mapping[str, Any], keys: set[str], prefix: str = "") -> dict[str, Any]:
    left = {
        name: _without(value, keys, f"{prefix}{name}.") if isinstance(value, Mapping) else value
        for name, value in content.items()
        if f"{prefix}{name}" not in keys
    }
    return {name: value for name, value in left.items() if value != {} or content[name] == {}}  # no section without keys


def absolute(url: str) -> str:
    """A folder's absolute path; other URLs as they are, without a slash at the end."""
    return url.rstrip("/") if "://" in url else str(Path(url).expanduser().absolute())


def place(url: str) -> str:
    """A name for a folder or URL that does not depend on how its path is written: absolute, relative, or with a slash more."""
    return absolute(url) if "://" in url else os.path.normpath(absolute(url))


def check_keys(content: Mapping[str, Any], schema: type, where: str, prefix: str = "") -> None:
    """Check that every key of a nested mapping is a key of a configuration class.

    Args:
        where: the mapping comes from, for the message.

    Raises:
        ConfigError: naming the first unknown key and the nearest known one, or the present name of a renamed key.
    """
    fields = fields_of(schema)
    for key, value in content.items():
        path = f"{prefix}{key}"
        if key not in fields:
            renamed = _present_name(schema, key)
            if renamed is not None:
                raise ConfigError(f"{path}: in {where}: this key is called {prefix}{renamed} now; use that name")
            raise ConfigError(f"{path}: unknown key in {where}{nearest(_first_leaf(path, value), all_keys(schema, prefix))}")
        if isinstance(value, Mapping) and fields_of(fields[key]):
            check_keys(value, fields[key], where, f"{path}.")


def _first_leaf(path: str, value: Any) -> str:
    while isinstance(value, Mapping) and value:
        key, value = next(iter(value.items()))
        path = f"{path}.{key}"
    return path


def _present_name(schema: type, key: str) -> str | None:
    """The name that a former key of this class has now; None where it never had one."""
    if not issubclass(schema, BaseModel):
        return None
    return next((name for name, field in schema.model_fields.items() if FormerName(key) in field.metadata), None)


def all_keys(schema: type, prefix: str = "") -> list[str]:
    """Every dotted key of a configuration class."""
    keys: list[str] = []
    for name, inner in fields_of(schema).items():
        keys += all_keys(inner, f"{prefix}{name}.") if fields_of(inner) else [f"{prefix}{name}"]
    return keys
