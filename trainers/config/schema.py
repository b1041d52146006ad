"""What every system's configuration shares: sections, fields, checks.

Nothing heavy is imported here: a misspelt key is answered in milliseconds.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, model_validator

from unbraid.datasets.passwords import NO_PASSWORDS, has_password
from unbraid.trainers.config.words import a_name, fields_of, nearest
from unbraid.trainers.errors import ConfigError


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


class ImageAugmentConfig(Section):
    """Random changes of training images on the device; what only D sees is in the systems' own sections.

    Attributes:
        flip: left to right, half of them.
        crop: pixels of padding, of which a random window of the image's size is cut.
        brightness, contrast, saturation: strengths of colour jitter, see :func:`unbraid.models.augment.random_colour`.
    """

    flip: bool = False
    crop: int = Field(0, ge=0)
    brightness: float = Field(0.0, ge=0)
    contrast: float = Field(0.0, ge=0, le=1)
    saturation: float = Field(0.0, ge=0, le=1)

    @property
    def colour(self) -> bool:
        """Whether colours are jittered at all."""
        return max(self.brightness, self.contrast, self.saturation) > 0


class DataConfig(Section):
    """Where images come from and in which order.

    Attributes:
        url: of the packed set, ``s3://bucket/prefix`` or a folder.
        split: to train on.
        validation_split: measured and shown while training, and whatever is chosen is chosen by it.
        test_split: measured at the end, to be reported. With null the last measures are of the validation split too, as for a
            campaign's trials, which are chosen from.
        fit: [height, width] to which images are resized when they are read, for a set of several sizes. It costs a worker's
            processor a decoding and a resizing of every full image; packing with --size pays once.
        batch: images in a *global* batch, shared by all workers.
        lanes: parallel streams that the order is made of; as many as workers at least, a divisor of the batch. Workers
            share them out: a multiple of their number gives each the same work.
        window: samples of a lane that are shuffled together.
        prefetch_mb: encoded samples and decoded batches that a worker holds; what is shuffled together is held in any case.
        decode_threads: of a worker; 0 is as many as its processor has cores.
        max_skipped: samples that cannot be used before that is an error; each is replaced by a neighbour.
        cache: folder on each node that keeps shards; null is none. ``cache_gb`` is its limit.
        augment: of training images.
    """

    url: str = "s3://unbraid/mnist"
    split: str = "train"
    validation_split: Annotated[str, FormerName("evaluation_split")] = "validation"
    test_split: str | None = "test"
    fit: tuple[PositiveInt, PositiveInt] | None = None
    batch: int = Field(128, ge=1)
    lanes: int = Field(16, ge=1)
    window: int = Field(256, ge=1)
    prefetch_mb: Annotated[int, EXECUTION] = Field(256, ge=1)
    decode_threads: Annotated[int, EXECUTION] = Field(0, ge=0)
    max_skipped: Annotated[int, EXECUTION] = Field(0, ge=0)
    cache: Annotated[str | None, EXECUTION] = None
    cache_gb: Annotated[float, EXECUTION] = Field(20.0, gt=0)
    augment: ImageAugmentConfig = ImageAugmentConfig()

    @property
    def reported_split(self) -> str:
        """The split of the last measures, and of pictures of a trained model."""
        return self.validation_split if self.test_split is None else self.test_split


class ScheduleConfig(Section):
    """How learning rates change, and the moving averages of weights that pictures, measures and later stages use.

    Attributes:
        halve_every: updates between halvings of the rates; 0 is never.
        decay_from: share of ``run.updates`` from which on rates fall linearly to zero; 1 is never.
        ema_decay: of the averages in an update; they are taken every ``ema_every``.
    """

    halve_every: int = Field(0, ge=0)
    decay_from: float = Field(1.0, ge=0, le=1)
    ema_decay: float = Field(0.999, ge=0, lt=1)
    ema_every: int = Field(10, ge=1)


class RunConfig(Section):
    """How long a run trains, on which workers, and what it keeps.

    Attributes:
        name: of the run in its storage; the default names preset and configuration, so that the same command
            goes on with the same run.
        storage: folder or ``s3://bucket/prefix`` that holds runs.
        seed: decides weights, order, latents and augmentations.
        updates: budget; ``minutes`` ends the run earlier when set (that clock restarts on resume).
        workers: data-parallel processes; ``cpus`` and ``gpus`` each of them gets. ``cpus: 0`` shares out the machine.
        precision: of forward passes; ``auto`` asks the device.
        batch_norm: statistics of ``each`` worker's share of a batch, or of the ``global`` batch.
        log_every, preview_every, checkpoint_every, evaluate_every: in updates; 0 means at the end only.
        evaluate_at: further updates after which measures are taken, such as the rungs of a search.
        labels: whether measures that read labels are taken too; see :meth:`SystemConfig.measures`.
        keep_checkpoints: newest ones kept.
        max_failures: times that a lost worker is replaced before the run gives up.
        min_workers: with fewer than ``workers`` but so many, the run goes on, and grows again; null waits for all of them.
            ``resize_seconds`` lie between two looks for room to grow; so long, within 10 s and 60 s, workers on a node that has
            just gone are waited for before the group starts with fewer.
        wait_minutes: that resources which the cluster lacks are waited for, as one that grows may bring them; null refuses what
            is larger than the cluster at once, and waits for what others hold as long as it takes.
        worker_timeout_seconds: a worker that has not answered for this long counts as lost, and is replaced.
        storage_retry_minutes: for how long requests to a storage that does not answer, or refuses, are repeated.
        collective_minutes: for how long a worker waits for the others in an all-reduce before it fails (the process group's
            timeout); longer than ``storage_retry_minutes``, during which one worker may wait for its data.
    """

    name: Annotated[Annotated[str, AfterValidator(a_name)] | None, EXECUTION] = None
    storage: Annotated[str, EXECUTION] = "runs"
    seed: int = Field(0, ge=0, lt=2**63)
    updates: Annotated[int, BUDGET] = Field(5000, ge=1)
    minutes: Annotated[float | None, BUDGET] = Field(None, gt=0)
    workers: Annotated[int, EXECUTION] = Field(1, ge=1)
    cpus: Annotated[int, EXECUTION] = Field(0, ge=0)
    gpus: Annotated[float, EXECUTION] = Field(0, ge=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    batch_norm: Literal["each", "global"] = "each"
    log_every: Annotated[int, EXECUTION] = Field(10, ge=1)
    preview_every: Annotated[int, EXECUTION] = Field(250, ge=0)
    checkpoint_every: Annotated[int, EXECUTION] = Field(250, ge=0)
    evaluate_every: Annotated[int, EXECUTION] = Field(0, ge=0)
    evaluate_at: Annotated[tuple[PositiveInt, ...], EXECUTION] = ()
    labels: Annotated[bool, EXECUTION] = True
    keep_checkpoints: Annotated[int, EXECUTION] = Field(2, ge=1)
    max_failures: Annotated[int, EXECUTION] = Field(3, ge=0)
    min_workers: Annotated[int | None, EXECUTION] = Field(None, ge=1)
    resize_seconds: Annotated[float, EXECUTION] = Field(60.0, gt=0)
    wait_minutes: Annotated[float | None, EXECUTION] = Field(None, gt=0)
    worker_timeout_seconds: Annotated[float, EXECUTION, FormerName("silence_seconds")] = Field(60.0, gt=0)
    storage_retry_minutes: Annotated[float, EXECUTION, FormerName("patience_minutes")] = Field(10.0, ge=0)
    collective_minutes: Annotated[float, EXECUTION] = Field(20.0, gt=0)


@dataclass(frozen=True)
class BatchField:
    """A field of a batch.

    Attributes:
        kind: ``image`` (uint8), ``integer`` (int64) or ``array`` (float32), as data sets have them.
        shape: of one sample, (C, H, W) for images; None where images of any size will do.
    """

    kind: Literal["image", "integer", "array"]
    shape: tuple[int, ...] | None


class SystemConfig(Section):
    """The root of a configuration; each system adds its own sections.

    Attributes:
        truth_fields: fields that some sets have and training never sees; measures may.
        watched: prefixes of the metrics that a person watches beside the losses while training.
        primary_metric: the measure that sums up a finished run, and its name in words; None where there is none.
    """

    truth_fields: ClassVar[tuple[str, ...]] = ("label",)
    watched: ClassVar[tuple[str, ...]] = ()
    primary_metric: ClassVar[tuple[str, str] | None] = None

    system: str
    data: DataConfig = DataConfig()
    run: RunConfig = RunConfig()

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
    left, right = (dict(_leaves(c.model_dump(mode="json"))) for c in (a, b))
    return {
        key: (left.get(key), right.get(key)) for key in sorted(left.keys() | right.keys()) if left.get(key) != right.get(key)
    }


def keys_of(config: BaseModel) -> set[str]:
    """The dotted keys that a configuration has values for."""
    return {key for key, _ in _leaves(config.model_dump(mode="json"))}


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _without(content: Mapping[str, Any], keys: set[str], prefix: str = "") -> dict[str, Any]:
    return {
        name: _without(value, keys, f"{prefix}{name}.") if isinstance(value, Mapping) else value
        for name, value in content.items()
        if f"{prefix}{name}" not in keys
    }


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
