"""A campaign in its storage, the only truth about it: who resumes it, watches it or draws its report reads this.

::

    STORAGE/NAME/campaign.yaml              the file, as it was checked
                 campaign.json              status, versions, seconds used
                 configurations/0007.json   values, and how far its models agree
                 trials/0007-s1/            a run like any other: config.yaml, metrics.jsonl, checkpoints/, report.png
                 trials/0007-s1/trial.json  how it ended, and each time that it was measured
                 report.html, report.png
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import yaml

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import Store, open_store
from unbraid.trainers.config.schema import absolute
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.record import measures_of, provenance, read_metrics
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration, Trial
from unbraid.trainers.search.campaign.lineage import LINEAGE, read_lineage
from unbraid.trainers.search.campaign.reading import parse_campaign

FILE = "campaign.yaml"
STATUS = "campaign.json"
CONFIGURATIONS = "configurations/"
TRIALS = "trials/"
READERS = 16


class Journal:
    """Reads and writes one campaign's records; each write is one atomic object."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.full: set[str] = set()
        """Names of trials whose runs have not been emptied since they started."""

    @classmethod
    def open(cls, storage: str, name: str) -> Journal:
        """Of a campaign that is there.

        Raises:
            ConfigError: when it is not.
        """
        store = open_store(f"{absolute(storage).rstrip('/')}/{name}")
        if not store.exists(FILE):
            raise ConfigError(f"{store.url}: no such campaign; `unbraid tune FILE` starts one, --storage says where it is")
        return cls(store)

    @classmethod
    def claim(cls, campaign: Campaign, command: str) -> Journal:
        """Of a new campaign, or one that agrees with what is there and goes on.

        Raises:
            ConfigError: when a campaign of that name has another file.
            DataError: when the storage cannot be written.
        """
        store = open_store(f"{campaign.storage.rstrip('/')}/{campaign.name}", create=True)
        journal = cls(store)
        if store.exists(FILE):
            there = journal.campaign()
            before, now = there.identity(), campaign.identity()
            changed = [key for key in now if before.get(key) != now[key]]
            if changed:
                listing = "\n".join(f"  {key}: {before.get(key)!r} there, {now[key]!r} in the file" for key in changed)
                raise ConfigError(
                    f"campaign {campaign.name!r} in {campaign.storage} was started from another file:\n{listing}\n"
                    "give this one another name, or take these back (budget, concurrency, resources and keep may change)"
                )
        store.put(FILE, yaml.safe_dump(campaign.model_dump(mode="json"), sort_keys=False).encode())
        if not store.exists(STATUS):
            journal.set_status(command=command, started=time.time(), seconds=0.0, **provenance())
        return journal

    def campaign(self) -> Campaign:
        """As it was checked when it was started or went on last; its storage is where it is found now."""
        campaign = parse_campaign(self.store.get(FILE).decode(), self.store.url)
        return campaign.model_copy(update={"storage": self.store.url.rpartition("/")[0]})

    def status(self) -> dict[str, Any]:
        """``campaign.json``."""
        content: dict[str, Any] = json.loads(self.store.get(STATUS)) if self.store.exists(STATUS) else {}
        return content

    def set_status(self, **change: Any) -> None:
        """Set fields of it."""
        self.store.put(STATUS, json.dumps(self.status() | change, indent=2).encode())

    def write_configuration(self, configuration: Configuration) -> None:
        """Its values, before any of its trials starts; again when its models were judged, or it was given up."""
        content = {
            "number": configuration.number,
            "params": configuration.params,
            "centrality": configuration.centrality,
            "given_up": configuration.given_up,
        }
        self.store.put(f"{CONFIGURATIONS}{configuration.number:04d}.json", json.dumps(content, indent=2).encode())

    def write_trial(self, trial: Trial) -> None:
        """How it stands."""
        self.full.add(trial.name)
        self.store.put(f"{TRIALS}{trial.name}/trial.json", json.dumps(asdict(trial), indent=2).encode())

    def trial_store(self, name: str) -> Store:
        """Of a trial's run."""
        return open_store(f"{self.store.url}/{TRIALS}{name}")

    def read(self) -> list[Configuration]:
        """Everything tried so far, by number; a trial that never ended was ``running``.

        Raises:
            DataError: when the storage cannot be read.
        """
        keys = self.store.keys(TRIALS)
        begun = sorted({key.split("/")[1] for key in keys if key.endswith(("/trial.json", "/config.yaml"))})
        with ThreadPoolExecutor(READERS) as pool:
            contents = pool.map(self.store.get, self.store.keys(CONFIGURATIONS))
            configurations = [_configuration(json.loads(content)) for content in contents]
            trials = list(pool.map(self._read_trial, begun))
        for trial in trials:
            configuration = configurations[trial.number]
            configuration.trials[trial.seed] = trial
            if f"{TRIALS}{trial.name}/{LINEAGE}" in keys:
                configuration.params = read_lineage(self.trial_store(trial.name))[-1]["params"]
        self.full = set(begun)
        for configuration in configurations:
            if not configuration.trials:  # the campaign was cut between the two writes
                configuration.trials[0] = Trial(configuration.number, 0)
        return configurations

    def _read_trial(self, name: str) -> Trial:
        number, seed = name.split("-s")
        try:
            trial = _trial(json.loads(self.store.get(f"{TRIALS}{name}/trial.json")))
        except DataError:
            trial = Trial(int(number), int(seed), "running")
        if not trial.ended:
            trial.state = "running"
            lines = read_metrics(self.trial_store(name))
            trial.updates = max((line["step"] for line in lines), default=0)
            trial.rungs = [(line["step"], measures_of(line)) for line in lines if measures_of(line)]
        return trial


def _configuration(content: Mapping[str, Any]) -> Configuration:
    judged = content["centrality"]
    centrality = None if judged is None else {int(seed): value for seed, value in judged.items()}
    return Configuration(content["number"], content["params"], centrality=centrality, given_up=content["given_up"])


def _trial(content: dict[str, Any]) -> Trial:
    return Trial(**(content | {"rungs": [(updates, scores) for updates, scores in content["rungs"]]}))
