"""What every system's configuration shares, and the one way to resolve it: preset, then overrides, then checks.

Nothing heavy is imported here: a misspelt key is answered in milliseconds.
"""

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module, resources
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trainers.errors import ConfigError

PRESETS = resources.files("trainers") / "presets"


class Section(BaseModel):
    """A part of a configuration: typed, immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageAugmentConfig(Section):
    """How training images are changed on the device before anything sees them; for D's view see the systems.

    Attributes:
        flip: left to right, half of them.
        crop: pixels of padding, of which a random window of the image's size is cut.
        brightness, contrast, saturation: strengths of colour jitter, see :func:`models.augment.random_colour`.
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
        split: to train on; ``evaluation_split`` to measure on.
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
    evaluation_split: str = "test"
    batch: int = Field(128, ge=1)
    lanes: int = Field(16, ge=1)
    window: int = Field(256, ge=1)
    prefetch_mb: int = Field(256, ge=1)
    decode_threads: int = Field(0, ge=0)
    max_skipped: int = Field(0, ge=0)
    cache: str | None = None
    cache_gb: float = Field(20.0, gt=0)
    augment: ImageAugmentConfig = ImageAugmentConfig()


class RunConfig(Section):
    """How long, on what, and what is kept.

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
        silence_seconds: a worker that has answered nothing for so long is lost, and replaced.
        patience_minutes: that a storage which is away or refuses is tried again, before it ends the run.
    """

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    storage: str = "runs"
    seed: int = Field(0, ge=0)
    updates: int = Field(5000, ge=1)
    minutes: float | None = Field(None, gt=0)
    workers: int = Field(1, ge=1)
    cpus: int = Field(0, ge=0)
    gpus: float = Field(0, ge=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    batch_norm: Literal["each", "global"] = "each"
    log_every: int = Field(10, ge=1)
    preview_every: int = Field(250, ge=0)
    checkpoint_every: int = Field(250, ge=0)
    evaluate_every: int = Field(0, ge=0)
    evaluate_at: tuple[int, ...] = ()
    labels: bool = True
    keep_checkpoints: int = Field(2, ge=1)
    max_failures: int = Field(3, ge=0)
    min_workers: int | None = Field(None, ge=1)
    resize_seconds: float = Field(60.0, gt=0)
    wait_minutes: float | None = Field(None, gt=0)
    silence_seconds: float = Field(60.0, gt=0)
    patience_minutes: float = Field(10.0, ge=0)


class SystemConfig(Section):
    """The root of a configuration; each system adds its own sections.

    Attributes:
        needs_fields: what each sample of its data set must hold.
        truth_fields: what some hold and training never sees; measures may.
        watched: prefixes of the metrics that a person watches beside the losses while training.
        headline: the measure by which a finished run is told, and its name in words; None where there is none.
    """

    needs_fields: ClassVar[tuple[str, ...]] = ("image",)
    truth_fields: ClassVar[tuple[str, ...]] = ("label",)
    watched: ClassVar[tuple[str, ...]] = ()
    headline: ClassVar[tuple[str, str] | None] = None

    system: str
    data: DataConfig = DataConfig()
    run: RunConfig = RunConfig()

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(C, H, W) of the images that the networks are built for; None where any will do."""
        return None

    def measures(self) -> dict[str, bool]:
        """Names of the measures that an evaluation always reports, and whether it reads labels, or other truth, for them.

        Where truth is missing, those that need it are left out of the evaluation.
        """
        return {}

    def require_inputs(self) -> dict[str, "SystemConfig"]:
        """The configurations of the runs that this one starts from, by name; none of them for most systems.

        Raises:
            ConfigError: when one is not there or does not fit, naming the key and what to do.
        """
        return {}

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
        """Folders become absolute: a worker's current folder is another one."""
        cache = None if self.data.cache is None else absolute(self.data.cache)
        data = self.data.model_copy(update={"url": absolute(self.data.url), "cache": cache})
        run = self.run.model_copy(update={"storage": absolute(self.run.storage)})
        return self.model_copy(update={"data": data, "run": run})

    def digest(self) -> str:
        """Eight hex digits of everything that changes what is learnt; where and how it runs is left out."""
        content = self.model_dump(mode="json", exclude={"run": _NOT_LEARNT, "data": _NOT_LEARNT_FROM})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


_NOT_LEARNT = {
    "name", "storage", "workers", "cpus", "gpus", "log_every", "preview_every", "checkpoint_every", "evaluate_every",
    "evaluate_at", "labels", "keep_checkpoints", "max_failures", "min_workers", "resize_seconds", "wait_minutes",
    "silence_seconds", "patience_minutes",
}  # fmt: skip
_NOT_LEARNT_FROM = {"prefetch_mb", "decode_threads", "max_skipped", "cache", "cache_gb"}


def absolute(url: str) -> str:
    """A folder's absolute path; other URLs as they are."""
    return url if "://" in url else str(Path(url).expanduser().absolute())


def preset_names() -> list[str]:
    """All presets, by name."""
    return sorted(p.name.removesuffix(".yaml") for p in PRESETS.iterdir() if p.name.endswith(".yaml"))


def resolve(preset: str | None, overrides: Iterable[str] = (), config_file: Path | None = None) -> SystemConfig:
    """The configuration that a command means.

    Args:
        preset: name of a preset; or None when ``config_file``, a resolved config of an earlier run, is given.
        overrides: ``section.key=value`` in YAML syntax; later ones win.

    Raises:
        ConfigError: on an unknown preset, key or value.
    """
    if config_file is not None:
        content = _extended(_read_yaml(config_file.name, _read_text(config_file)))
    elif preset is not None:
        content = read_preset(preset)
        if "pipeline" in content:
            stages = ", ".join(step["preset"] for step in content["pipeline"].values())
            raise ConfigError(f"preset {preset!r} is a pipeline of several runs; here one is meant, such as {stages}")
    else:
        raise ConfigError(f"name a preset ({', '.join(preset_names())}) or give --config FILE")
    schema = _schema(content.get("system"))
    _check_keys(content, schema, config_file.name if config_file else f"preset {preset}")
    for override in overrides:
        _apply(content, override, schema)
    try:
        config = schema.model_validate(content)
    except ValidationError as error:
        raise ConfigError(explain(error)) from None
    if config.run.name is None:
        run = config.run.model_copy(update={"name": f"{preset or config.system}-{config.digest()}"})
        config = config.model_copy(update={"run": run})
    return config


def load(content: Mapping[str, Any]) -> SystemConfig:
    """The typed configuration of a dumped one (``config.model_dump(mode="json")``)."""
    try:
        return _schema(content.get("system")).model_validate(content)
    except ValidationError as error:
        raise ConfigError(explain(error)) from None


def differences(a: SystemConfig, b: SystemConfig) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with both values."""
    left, right = (dict(_leaves(c.model_dump(mode="json"))) for c in (a, b))
    return {
        key: (left.get(key), right.get(key)) for key in sorted(left.keys() | right.keys()) if left.get(key) != right.get(key)
    }


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _schema(system: object) -> type[SystemConfig]:
    known = system_names()
    if system not in known:
        raise ConfigError(f"system: {system!r} is not one of {', '.join(known)}")
    schema: type[SystemConfig] = import_module(f"trainers.{system}.config").Config
    return schema


def system_names() -> list[str]:
    """All systems: each is a folder here with a ``config.py``, its name the dotted path to it."""
    root = Path(str(resources.files("trainers")))
    return sorted(".".join(p.parent.relative_to(root).parts) for p in root.rglob("config.py") if p.parent != root)


def read_preset(name: str) -> dict[str, Any]:
    """A preset's content, what it extends included."""
    names = preset_names()
    if name not in names:
        raise ConfigError(f"preset {name!r}: no such preset{nearest(name, names)}; there are {', '.join(names)}")
    return _extended(_read_yaml(f"preset {name}", (PRESETS / f"{name}.yaml").read_text()))


def _extended(content: dict[str, Any]) -> dict[str, Any]:
    parent = content.pop("extends", None)
    return content if parent is None else _merge(read_preset(parent), content)


def _merge(base: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        inner = merged.get(key)
        merged[key] = _merge(inner, value) if isinstance(value, Mapping) and isinstance(inner, dict) else value
    return merged


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); expected a config.yaml of a run") from None


def _read_yaml(where: str, text: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML ({error})") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{where}: expected a mapping of sections, found {type(content).__name__}")
    return content


def _apply(content: dict[str, Any], override: str, schema: type[SystemConfig]) -> None:
    path, separator, text = override.partition("=")
    if not separator:
        raise ConfigError(f"{override!r}: expected section.key=value, such as run.updates=2000")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"{path}: {text!r} is not a YAML value") from None
    keys = path.split(".")
    nested: Any = value
    for key in reversed(keys):
        nested = {key: nested}
    _check_keys(nested, schema, "command line")
    section = content
    for key in keys[:-1]:
        section = section.setdefault(key, {})
        if not isinstance(section, dict):
            raise ConfigError(f"{path}: {key} is not a section")
    section[keys[-1]] = value


def _check_keys(content: Mapping[str, Any], schema: type, where: str, prefix: str = "") -> None:
    fields = _fields(schema)
    for key, value in content.items():
        if key not in fields:
            path = f"{prefix}{key}"
            raise ConfigError(f"{path}: unknown key in {where}{nearest(path, all_keys(schema, prefix))}")
        if isinstance(value, Mapping) and _fields(fields[key]):
            _check_keys(value, fields[key], where, f"{prefix}{key}.")


def all_keys(schema: type, prefix: str = "") -> list[str]:
    """Every dotted key of a configuration class."""
    keys: list[str] = []
    for name, inner in _fields(schema).items():
        keys += all_keys(inner, f"{prefix}{name}.") if _fields(inner) else [f"{prefix}{name}"]
    return keys


def _fields(schema: Any) -> dict[str, Any]:
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return {name: field.annotation for name, field in schema.model_fields.items()}
    if isinstance(schema, type) and dataclasses.is_dataclass(schema):
        return {field.name: field.type for field in dataclasses.fields(schema)}
    return {}


def nearest(key: str, known: Iterable[str]) -> str:
    """`` (did you mean …?)`` where something known is close to what was given, else nothing."""
    matches = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f" (did you mean {matches[0]}?)" if matches else ""


def explain(error: ValidationError) -> str:
    """One line a problem: the dotted key, what was expected, what was given."""
    lines = []
    for problem in error.errors():
        # pydantic puts the names of union branches in its path: "variance.literal['fixed','learnt']"
        path = ".".join(str(part) for part in problem["loc"] if "[" not in str(part) or str(part).isdigit())
        message = problem["msg"].removeprefix("Value error, ")
        given = "" if isinstance(problem["input"], dict) or not path else f" (got {problem['input']!r})"
        lines.append(f"{path}: {message}{given}" if path else message)
    return "\n".join(dict.fromkeys(lines))
