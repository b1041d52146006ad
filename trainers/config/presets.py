"""Presets: named YAML files that hold what differs from a system's defaults.

unbraid ships some. Users add theirs in a folder that the environment variable ``UNBRAID_PRESETS`` names; a name that is in both
means the user's.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from unbraid.datasets.untrusted.yaml12 import Scalar, decoded, parse_scalars
from unbraid.trainers.config.words import nearest
from unbraid.trainers.errors import ConfigError

FOLDER_VARIABLE = "UNBRAID_PRESETS"
"""Environment variable that names a folder of the user's own presets."""
SHIPPED = resources.files("unbraid.trainers") / "presets"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # as of a run, which is named after its preset


@dataclass(frozen=True)
class Preset:
    """A preset's file.

    Attributes:
        name: without ``.yaml``.
        own: whether it comes from the user's folder.
        replaces: whether unbraid ships one of the same name, which this one takes the place of.
    """

    name: str
    file: Traversable
    own: bool = False
    replaces: bool = False

    @property
    def where(self) -> str:
        """The preset for messages, with its file when that is the user's."""
        return f"preset {self.name} ({self.file})" if self.own else f"preset {self.name}"

    def text(self) -> str:
        """The file's content.

        Raises:
            ConfigError: when it cannot be read, or is not text in UTF-8.
        """
        try:
            return decoded(self.file.read_bytes())
        except OSError as error:
            raise ConfigError(f"{self.where}: cannot be read ({error.strerror})") from None
        except yaml.YAMLError as error:
            raise ConfigError(f"{self.where}: {error}") from None

    def summary(self) -> str:
        """The remark in the file's first line; empty when it begins otherwise."""
        first = next(iter(self.text().splitlines()), "")
        return first.lstrip("# ") if first.startswith("#") else ""


def all_presets() -> dict[str, Preset]:
    """Find all presets.

    Returns:
        Presets by name, in alphabetical order; the user's take the place of shipped ones.

    Raises:
        ConfigError: when ``UNBRAID_PRESETS`` names no readable folder, or a file in it has a name that no preset can have.
    """
    shipped, own = _shipped(), _own()
    merged = shipped | {name: Preset(name, file, own=True, replaces=name in shipped) for name, file in own.items()}
    return dict(sorted(merged.items()))


def preset_names() -> list[str]:
    """The names of all presets, in order."""
    return list(all_presets())


def own_folder() -> Path | None:
    """The folder of the user's own presets, or None when ``UNBRAID_PRESETS`` is unset or empty."""
    value = os.environ.get(FOLDER_VARIABLE)
    return Path(value).absolute() if value else None


def read_preset(name: str) -> dict[str, Any]:
    """A preset's content, merged over those that it extends.

    Raises:
        ConfigError: when there is no such preset, or its file or one that it extends is wrong.
    """
    return _read(name, (), "")


def extended(content: dict[str, Any], where: str) -> dict[str, Any]:
    """A file's content, merged over the preset that its ``extends`` names.

    Args:
        where: the content comes from, for messages.

    Raises:
        ConfigError: when it extends no preset.
    """
    return _extended(content, where, ())


@dataclass(frozen=True)
class Stage:
    """A stage of a pipeline's preset.

    Attributes:
        preset: what it trains.
        starts_from: for each dotted key of its configuration that names a run, the earlier stage whose run that is.
    """

    preset: str
    starts_from: Mapping[str, str]


def stages_in(content: Mapping[str, Any], where: str) -> dict[str, Stage]:
    """The stages that a pipeline's preset names, in order.

    Args:
        where: the content comes from, for messages.

    Raises:
        ConfigError: naming the stage that is wrong.
    """
    stages: dict[str, Stage] = {}
    pipeline = content["pipeline"]
    if not isinstance(pipeline, Mapping) or not pipeline:
        raise ConfigError(f"{where}: pipeline: expected STAGE: {{preset: NAME}} for each stage, found {pipeline!r}")
    for name, stage in pipeline.items():
        key = f"{where}: pipeline.{name}"
        if (
            not isinstance(stage, Mapping)
            or not isinstance(stage.get("preset"), str)
            or stage.keys() - {"preset", "starts_from"}
        ):
            raise ConfigError(f"{key}: expected {{preset: NAME}} and, if need be, starts_from, found {stage!r}")
        starts_from = stage.get("starts_from", {})
        if not isinstance(starts_from, Mapping) or not all(earlier in stages for earlier in starts_from.values()):
            earlier = ", ".join(stages) or "none, this is the first"
            raise ConfigError(f"{key}.starts_from: expected KEY: STAGE of an earlier stage ({earlier}), found {starts_from!r}")
        stages[str(name)] = Stage(stage["preset"], starts_from)
    return stages


def _shipped() -> dict[str, Preset]:
    files = [file for file in SHIPPED.iterdir() if file.name.endswith(".yaml")]
    return {(name := file.name.removesuffix(".yaml")): Preset(name, file) for file in files}


def _own() -> dict[str, Path]:
    """Find the user's files, by preset name.

    Hidden entries are skipped: Kubernetes mounts a ConfigMap with a link ``..data`` and the folder that it points to.
    """
    folder = own_folder()
    if folder is None:
        return {}
    try:
        files = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise ConfigError(
            f"{FOLDER_VARIABLE}={folder}: cannot be read ({error.strerror}); expected a folder of presets, NAME.yaml each"
        ) from None
    for path in files:
        if path.suffix == ".yml" or (path.suffix == ".yaml" and not _NAME.fullmatch(path.stem)):
            raise ConfigError(
                f"{path}: not the file name of a preset; rename it to NAME.yaml, where NAME has letters, digits, dots, dashes "
                "and underscores only"
            )
    return {path.stem: path for path in files if path.suffix == ".yaml"}


def _read(name: str, extending: tuple[Preset, ...], source: str) -> dict[str, Any]:
    """Read a preset, merged over those that it extends.

    Args:
        extending: the presets whose ``extends`` lead here. The user's preset that extends its own name means the shipped one.
        source: where the name was found, for messages; empty for the command line.
    """
    known = all_presets()
    if name not in known:
        hint = "" if own_folder() else f"; {FOLDER_VARIABLE} may name a folder of your own"
        raise ConfigError(f"{source}preset {name!r}: no such preset{nearest(name, known)}; `unbraid presets` lists them{hint}")
    preset = known[name]
    if extending and extending[-1] == preset and preset.replaces:
        preset = _shipped()[name]
    if preset in extending:
        chain = " extends ".join(each.name for each in (*extending, preset))
        raise ConfigError(f"{preset.where}: extends itself ({chain})")
    return _extended(read_yaml(preset.where, preset.text()), preset.where, (*extending, preset))


def _extended(content: dict[str, Any], where: str, extending: tuple[Preset, ...]) -> dict[str, Any]:
    parent = content.pop("extends", None)
    if parent is None:
        return content
    if not isinstance(parent, str):
        raise ConfigError(f"{where}: extends: expected the name of a preset, found {parent!r}")
    return merged(_read(parent, extending, f"{where}: extends: "), content)


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """A nested mapping with the values of another over its own; sections are merged, lists and other values replaced."""
    content = dict(base)
    for key, value in change.items():
        inner = content.get(key)
        content[key] = merged(inner, value) if isinstance(value, Mapping) and isinstance(inner, Mapping) else value
    return content


def read_yaml(where: str, text: str | bytes) -> dict[str, Any]:
    """A YAML mapping, to be read by a schema with :func:`unbraid.trainers.config.words.meant`.

    Args:
        where: it comes from, for messages.

    Raises:
        ConfigError: when it is not YAML, or not a mapping.
    """
    try:
        content = parse_scalars(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML ({error})") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{where}: expected a mapping of sections, found {_kind_of(content)}")
    return content


def _kind_of(content: object) -> str:
    """A parsed document in words."""
    if content is None:
        return "an empty file"
    return "a list" if isinstance(content, list) else f"the value {content!r}" if isinstance(content, Scalar) else "a text"
