"""A run and a campaign as their users hold them: configuration, metrics, pictures, model."""

from __future__ import annotations

import io
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from unbraid.datasets.store import Store, open_store
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.evaluate import read_model
from unbraid.trainers.runs.open import find_run
from unbraid.trainers.runs.package import is_package, read_package
from unbraid.trainers.runs.record import REPORT_KEY, read_config, read_metrics, read_run_or_none
from unbraid.trainers.system import load_model
from unbraid.trainers.use.trained import Origin, TrainedModel, trained_model

if TYPE_CHECKING:
    import pandas

PICTURES = ("preview/", "figures/")


class Run:
    """A run in its storage, which may still train.

    Args:
        store: of the run.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def __repr__(self) -> str:
        return f"Run({self.name!r}, {self.config.system}, {self.status}, {self.step:,} updates, {self.url})"

    @property
    def url(self) -> str:
        """Its folder or URL."""
        return self.store.url

    @cached_property
    def config(self) -> SystemConfig:
        """Its configuration."""
        return read_config(self.store)

    @property
    def name(self) -> str:
        """Its name."""
        return self.config.run.name or self.url.rpartition("/")[2]

    @property
    def record(self) -> dict[str, Any]:
        """Its record, ``run.json``: command, versions, commit, status; empty where it cannot be read."""
        return dict(read_run_or_none(self.store) or {})

    @property
    def status(self) -> str:
        """``running``, ``finished``, ``failed``, ``stopped`` or ``diverged``; ``claimed`` before it trains."""
        return str(self.record.get("status", "claimed"))

    @property
    def step(self) -> int:
        """Updates made, as its record says."""
        return int(self.record.get("step", 0))

    @property
    def measures(self) -> dict[str, float]:
        """The measures of its last evaluation, by name; empty before the first."""
        return dict(self.record.get("evaluation", {}))

    def metrics(self) -> pandas.DataFrame:
        """All that it has recorded: a row for each update at which it did, a column for each metric; NaN where none was."""
        import pandas

        lines = pandas.DataFrame.from_records(list(read_metrics(self.store)))
        return lines.groupby("step").last() if len(lines) else lines

    def pictures(self) -> dict[str, Image.Image]:
        """The report, the figures, and the previews of each update, by key such as ``preview/samples/00000500.png``."""
        every = self.store.keys()
        keys = [key for key in every if key.endswith(".png") and (key.startswith(PICTURES) or key == REPORT_KEY)]
        return {key: Image.open(io.BytesIO(self.store.get(key))) for key in sorted(keys)}

    def model(self, device: str = "auto", step: int | None = None) -> TrainedModel:
        """The model that it has learnt: averaged weights, in evaluation mode.

        Args:
            device: such as ``cpu`` or ``cuda:1``; ``auto`` is a GPU where there is one.
            step: of the checkpoint; None is the newest whole one.

        Raises:
            CheckpointError: when it has no such checkpoint.
            ConfigError: when its system draws nothing by itself.
        """
        model, updates = read_model(self.store, device_of(device), step)
        return trained_model(self.config, model, Origin(self.name, updates, self.url))


def open_run(reference: str, storage: str = "runs") -> Run:
    """Open a run.

    Args:
        reference: its name in ``storage``, or its folder or URL.

    Raises:
        ConfigError: when there is no such run, naming those that are there.
    """
    return Run(find_run(reference, storage))


def load_export(place: str, device: str = "auto") -> TrainedModel:
    """The model of an export, the same bit for bit as the run's.

    Args:
        place: its folder or URL.
        device: as of :meth:`Run.model`.

    Raises:
        ConfigError: when there is none, it is damaged, or a newer version has written it.
    """
    store = open_store(place)
    package = read_package(store)
    model = load_model(package.config, package.networks, package.inputs, device_of(device))
    extras = {name: tensor.to(device_of(device)) for name, tensor in package.extras.items()}
    return trained_model(package.config, model, Origin(package.facts.name, package.facts.updates, store.url, extras))


def open_trained(reference: str, storage: str, device: str = "auto", systems: tuple[str, ...] = ()) -> TrainedModel:
    """The model of a run or of an export.

    Args:
        reference: name of a run in ``storage``, or folder or URL of a run or an export.
        systems: that it may be of; empty means any.

    Raises:
        ConfigError: when there is none, or it is of another system.
        CheckpointError: when the run has no checkpoint yet.
    """
    if "/" in reference and is_package(open_store(reference)):
        found = load_export(reference, device)
    else:
        run = open_run(reference, storage)
        if systems and run.config.system not in systems:
            raise ConfigError(f"{reference}: is a run of {run.config.system}; name a run of {' or '.join(systems)}")
        found = run.model(device)
    if systems and found.config.system not in systems:
        raise ConfigError(f"{reference}: is a model of {found.config.system}; name a run of {' or '.join(systems)}")
    return found


def device_of(name: str) -> torch.device:
    """The device of a name; ``auto`` is a GPU where there is one.

    Raises:
        ConfigError: when there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device {name}: is not here ({str(error).splitlines()[0]}); expected auto, cpu, cuda or cuda:1"
        ) from None
    return device
