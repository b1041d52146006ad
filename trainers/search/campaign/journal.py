"""The journal: the records of a campaign in its storage, from which it is resumed, watched and reported.

::

    STORAGE/NAME/campaign.yaml              the file, as it was checked
                 campaign.json              status, versions, seconds used
                 configurations/0007.json   values, and how much its models agree
                 trials/0007-s1/            a run like any other: config.yaml, metrics.jsonl, checkpoints/, report.png
                 trials/0007-s1/trial.json  state, cause, and the scores of each evaluation
                 report.html, report.png
"""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import yaml
from pydantic import ConfigDict, JsonValue
from typing_extensions import TypedDict  # pydantic reads none but this one before Python 3.12

from unbraid.datasets.errors import DataError
from unbraid.datasets.passwords import without_password
from unbraid.datasets.store import Store, open_below, open_store
from unbraid.datasets.store.lease import Lease
from unbraid.datasets.untrusted.documents import Count, Name, Seconds, Text, parse_json
from unbraid.trainers.config.schema import absolute, differences, effects
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.record import measures_of, provenance, read_metrics
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration, Trial
from unbraid.trainers.search.campaign.lineage import LINEAGE_KEY, read_lineage
from unbraid.trainers.search.campaign.reading import parse_campaign

FILE_KEY = "campaign.yaml"
STATUS_KEY = "campaign.json"
CONFIGURATIONS = "configurations/"
TRIALS = "trials/"
READERS = 16
"""Threads that read records at once."""

_TRIAL_KEY = re.compile(rf"{TRIALS}(?P<name>[0-9]{{4,9}}-s[0-9]{{1,9}})/(trial\.json|config\.yaml)")
_CONFIGURATION_KEY = re.compile(rf"{CONFIGURATIONS}[0-9]{{4,9}}\.json")


class CampaignRecord(TypedDict, total=False):
    """The content of ``campaign.json``; fields of provenance are kept as they are."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]  # the name is pydantic's

    command: Text
    started: Seconds
    seconds: Seconds
    status: Name
    message: Text
    versions: dict[Name, Text | None]


@dataclass(frozen=True)
class _ConfigurationRecord:
    """The content of an object below ``configurations/``."""

    number: Count
    params: dict[Name, JsonValue]
    centrality: dict[int, float] | None
    given_up: bool


class Journal:
    """Reads and writes the records of one campaign; each write is one atomic object.

    Attributes:
        lease: of the campaign, while a command runs it.
        trials_with_files: names of trials that were written since retention last removed their checkpoints and pictures, see
            :mod:`unbraid.trainers.search.trials.retention`.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.lease: Lease | None = None
        self.trials_with_files: set[str] = set()

    @classmethod
    def open(cls, storage: str, name: str) -> Journal:
        """The journal of an existing campaign.

        Raises:
            ConfigError: when there is no such campaign.
        """
        store = open_below(absolute(storage), name)
        if not store.exists(FILE_KEY):
            raise ConfigError(f"{store.url}: no such campaign; `unbraid tune FILE` starts one, --storage says where it is")
        return cls(store)

    @classmethod
    def check(cls, campaign: Campaign) -> Journal:
        """The journal of a campaign that may be new; writes nothing.

        Raises:
            ConfigError: when a campaign of that name has a file with other results.
        """
        journal = cls(open_below(campaign.storage, campaign.name))
        if journal.store.exists(FILE_KEY):
            _require_same_trials(journal.campaign(), campaign)
        return journal

    @classmethod
    def claim(cls, campaign: Campaign, command: str) -> Journal:
        """The journal of a new campaign, or of an existing one that this file continues.

        Whoever calls this has the right to write there.

        Args:
            command: that starts it, for the record.

        Raises:
            ConfigError: when a campaign of that name has a file with other results.
            DataError: when the storage cannot be written.
        """
        open_below(campaign.storage, campaign.name, create=True)
        journal = cls.check(campaign)
        store = journal.store
        store.put(FILE_KEY, yaml.safe_dump(campaign.model_dump(mode="json"), sort_keys=False).encode())
        if not store.exists(STATUS_KEY):
            journal.set_status(command=command, started=time.time(), seconds=0.0, **provenance())
        return journal

    def require_lease(self) -> None:
        """Check, before anything is written, that this command still runs the campaign.

        Raises:
            DataError: when another command has taken it over.
        """
        if self.lease is not None and self.lease.superseded_by is not None:
            raise DataError(f"this campaign has been taken over: {self.lease.superseded_by} runs it now")

    def campaign(self) -> Campaign:
        """The campaign's file as of its newest launch; its storage is the place where the journal was found."""
        campaign = parse_campaign(self.store.get(FILE_KEY), self.store.url)
        return campaign.model_copy(update={"storage": self.store.url.rpartition("/")[0]})

    def status(self) -> CampaignRecord:
        """The content of ``campaign.json``; empty before the first launch."""
        if not self.store.exists(STATUS_KEY):
            return CampaignRecord()
        return parse_json(self.store.get(STATUS_KEY), CampaignRecord, f"{self.store.url}/{STATUS_KEY}")

    def set_status(self, **change: Any) -> None:
        """Set fields of ``campaign.json``."""
        self.require_lease()
        self.store.put(STATUS_KEY, without_password(json.dumps(dict(self.status()) | change, indent=2)).encode())

    def write_configuration(self, configuration: Configuration) -> None:
        """Write a configuration's values, before its first trial starts, and whatever changes later."""
        self.require_lease()
        content = {
            "number": configuration.number,
            "params": configuration.params,
            "centrality": configuration.centrality,
            "given_up": configuration.given_up,
        }
        self.store.put(f"{CONFIGURATIONS}{configuration.number:04d}.json", json.dumps(content, indent=2).encode())

    def write_trial(self, trial: Trial) -> None:
        """Write a trial's state and scores."""
        self.require_lease()
        self.trials_with_files.add(trial.name)
        self.store.put(f"{TRIALS}{trial.name}/trial.json", without_password(json.dumps(asdict(trial), indent=2)).encode())

    def trial_store(self, name: str) -> Store:
        """The store of a trial's run."""
        return open_store(f"{self.store.url}/{TRIALS}{name}")

    def read(self) -> list[Configuration]:
        """All configurations with their trials, by number; a trial without an end is ``running``.

        Raises:
            DataError: when the storage cannot be read.
        """
        keys = self.store.keys(TRIALS)
        begun = sorted({found["name"] for key in keys if (found := _TRIAL_KEY.fullmatch(key))})
        with ThreadPoolExecutor(READERS) as pool:
            configurations = list(pool.map(self._read_configuration, self._configuration_keys()))
            trials = list(pool.map(self._read_trial, begun))
        known = {configuration.number: configuration for configuration in configurations}
        for trial in trials:
            if trial.number not in known:
                raise DataError(
                    f"{self.store.url}/{TRIALS}{trial.name}: no {CONFIGURATIONS}{trial.number:04d}.json belongs to it"
                )
            configuration = known[trial.number]
            configuration.trials[trial.seed] = trial
            if f"{TRIALS}{trial.name}/{LINEAGE_KEY}" in keys:
                configuration.params = dict(read_lineage(self.trial_store(trial.name))[-1].params)
        self.trials_with_files = set(begun)
        for configuration in configurations:
            if not configuration.trials:  # the driver died between writing the configuration and its first trial
                configuration.trials[0] = Trial(configuration.number, 0)
        return configurations

    def _configuration_keys(self) -> list[str]:
        return [key for key in self.store.keys(CONFIGURATIONS) if _CONFIGURATION_KEY.fullmatch(key)]

    def _read_configuration(self, key: str) -> Configuration:
        content = parse_json(self.store.get(key), _ConfigurationRecord, f"{self.store.url}/{key}")
        return Configuration(content.number, dict(content.params), centrality=content.centrality, given_up=content.given_up)

    def _read_trial(self, name: str) -> Trial:
        number, seed = name.split("-s")
        key = f"{TRIALS}{name}/trial.json"
        trial = Trial(int(number), int(seed), "running")
        if self.store.exists(key):
            trial = parse_json(self.store.get(key), Trial, f"{self.store.url}/{key}")
            if trial.name != name:
                raise DataError(f"{self.store.url}/{key}: describes trial {trial.name}")
        if not trial.ended:
            trial.state = "running"
            lines = read_metrics(self.trial_store(name))
            trial.updates = max((int(line["step"]) for line in lines), default=0)
            trial.rungs = [(int(line["step"]), measures_of(line)) for line in lines if measures_of(line)]
        return trial


def _require_same_trials(stored: Campaign, given: Campaign) -> None:
    """See that a campaign's file changes nothing that decides its results.

    Raises:
        ConfigError: naming each key that would, with both values.
    """
    may_change = effects(Campaign)
    changed = {key: values for key, values in differences(stored, given).items() if key not in may_change}
    if changed:
        listing = "\n".join(f"  {key}: {before!r} there, {now!r} in the file" for key, (before, now) in changed.items())
        raise ConfigError(
            f"campaign {given.name!r} in {given.storage} was started from another file:\n{listing}\n"
            f"give this one another name, or take these changes back (only {', '.join(may_change)} may change)"
        )
