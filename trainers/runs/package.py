"""An export: a model that needs neither its run nor its data set, in formats that other programs read.

::

    DEST/model.safetensors   the networks that are used, one tensor a name: NETWORK/TENSOR, and what reading needs: extra/TENSOR
         config.json         the run's configuration, what is known of it, and the SHA-256 of the weights
         README.md           the model card
         pictures/           newest pictures and the report

``config.json`` is written last, so that a folder without it is no export. Loading never unpickles.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from pydantic import JsonValue
from torch import Tensor

from unbraid.datasets.store import Store, discard
from unbraid.datasets.untrusted.documents import Count, Name, Text, parse_json
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.config.systems import load_config
from unbraid.trainers.errors import ConfigError

MODEL_KEY = "model.safetensors"
PACKAGE_KEY = "config.json"
CARD_KEY = "README.md"
PICTURES, PROGRAMS = "pictures/", "programs/"
"""Beginnings of the keys of its other files."""
FORMAT = 1
"""Of exports that this version writes, and the newest that it reads."""
EXTRA = "extra"


@dataclass(frozen=True)
class Facts:
    """What is known of an exported model beside its weights.

    Attributes:
        name: of the run.
        updates: that the model was trained for.
        measures: of the run's last evaluation.
        split: that they were measured on.
        data_digest: of the set that it was trained on.
        commit, command, device: of its training.
    """

    name: Name
    updates: Count
    measures: dict[Name, float] = field(default_factory=dict)
    split: Name = ""
    data_digest: Text = ""
    commit: Text = ""
    command: Text = ""
    device: Text = ""


@dataclass(frozen=True)
class Package:
    """An export that was read.

    Attributes:
        networks: state dicts by name.
        inputs: configurations of the runs that the model's run started from, by name.
        extras: tensors that reading needs, by name.
    """

    config: SystemConfig
    inputs: dict[str, SystemConfig]
    networks: dict[str, dict[str, Tensor]]
    extras: dict[str, Tensor]
    facts: Facts


@dataclass(frozen=True)
class _Content:
    """The content of ``config.json``."""

    format: Count
    unbraid: Text
    sha256: Text
    config: dict[Name, JsonValue]
    inputs: dict[Name, dict[Name, JsonValue]]
    facts: Facts


class Recorded(Mapping[str, Any]):
    """Networks that note which of them were looked up: those that a model is made of."""

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self._networks = networks
        self.used: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        self.used[name] = self._networks[name]
        return self.used[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._networks)

    def __len__(self) -> int:
        return len(self._networks)


def is_package(store: Store) -> bool:
    """Whether a store holds an export."""
    return store.exists(PACKAGE_KEY) and store.exists(MODEL_KEY)


def write_package(store: Store, package: Package, card: str, files: Mapping[str, bytes]) -> None:
    """Write an export; of an earlier one at the same place nothing is left.

    Args:
        card: the model card.
        files: pictures and programs by key, see :data:`PICTURES` and :data:`PROGRAMS`.

    Raises:
        ConfigError: when something else lies there.
        DataError: when it cannot be written.
    """
    from importlib.metadata import version

    from safetensors.torch import save

    every = store.keys()
    strangers = [key for key in every if not _is_ours(key)]
    if strangers:
        raise ConfigError(f"{store.url}: holds something else ({strangers[0]}); name a new folder, nothing is overwritten")
    discard(store, sorted(every, key=lambda key: key != PACKAGE_KEY))  # without it, it is no export any more
    named = {EXTRA: package.extras, **package.networks}
    tensors = {f"{part}/{name}": t.detach().cpu().contiguous().clone() for part, of in named.items() for name, t in of.items()}
    weights = save(tensors, {"format": "pt"})
    store.put(MODEL_KEY, weights)
    for key, content in files.items():
        store.put(key, content)
    store.put(CARD_KEY, card.encode())
    description = {
        "format": FORMAT,
        "unbraid": version("unbraid"),
        "sha256": hashlib.sha256(weights).hexdigest(),
        "config": package.config.model_dump(mode="json"),
        "inputs": {name: config.model_dump(mode="json") for name, config in package.inputs.items()},
        "facts": asdict(package.facts),
    }
    store.put(PACKAGE_KEY, json.dumps(description, indent=2).encode())


def read_package(store: Store) -> Package:
    """Read an export.

    Raises:
        ConfigError: when there is none, it is damaged or cut off, or a newer version has written it.
        DataError: when it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not is_package(store):
        raise ConfigError(
            f"{store.url}: no export; it holds {MODEL_KEY} and {PACKAGE_KEY}, as `unbraid export RUN DEST` writes them"
        )
    where = f"{store.url}/{PACKAGE_KEY}"
    content = parse_json(store.get(PACKAGE_KEY), _Content, where)
    if content.format > FORMAT:
        raise ConfigError(
            f"{where}: of format {content.format}, written by unbraid {content.unbraid}; this one reads up to {FORMAT}"
        )
    weights = store.get(MODEL_KEY)
    if hashlib.sha256(weights).hexdigest() != content.sha256:
        raise ConfigError(f"{store.url}/{MODEL_KEY}: is damaged or cut off (its SHA-256 is another); export the run again")
    try:
        tensors = load(weights)
    except SafetensorError as error:
        raise ConfigError(f"{store.url}/{MODEL_KEY}: cannot be read ({error}); export the run again") from None
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts.setdefault(part, {})[rest] = tensor
    inputs = {name: load_config(config) for name, config in content.inputs.items()}
    return Package(load_config(content.config), inputs, parts, parts.pop(EXTRA, {}), content.facts)


def in_use(networks: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
    """The state dicts of networks, tensors alone."""
    return {
        name: {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
        for name, state in networks.items()
    }


def _is_ours(key: str) -> bool:
    return key in (MODEL_KEY, PACKAGE_KEY, CARD_KEY) or key.startswith((PICTURES, PROGRAMS))
