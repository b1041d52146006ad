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
import logging
import re
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from typing import Any, TypeVar

import yaml

from unbraid.datasets.errors import DataError
from unbraid.datasets.passwords import without_password
from unbraid.datasets.store import Store, discard, open_below, open_store
from unbraid.datasets.store.lease import Lease
from unbraid.datasets.untrusted.documents import DocumentError, parse_json
from unbraid.trainers.config.schema import SystemConfig, absolute, differences
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.aside import set_aside
from unbraid.trainers.runs.record import (
    RUN_KEY,
    measures_of,
    provenance,
    read_config,
    read_run_or_none,
    scan_metrics,
    write_run,
)
from unbraid.trainers.search.campaign.continuing import continued
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration, Trial, trial_name
from unbraid.trainers.search.campaign.reading import parse_stored
from unbraid.trainers.search.campaign.records import CampaignRecord, ConfigurationRecord, all_held
from unbraid.trainers.search.campaign.space import Params, holds, values_of

FILE_KEY = "campaign.yaml"
STATUS_KEY = "campaign.json"
CONFIGURATIONS = "configurations/"
TRIALS = "trials/"
READERS = 16
"""Threads that read records at once."""
LARGEST_GAP = 1000
"""Configurations that may be missing before one: with more it is not of this campaign."""
LOST = "lost: its values cannot be read"
"""Cause of failure of a trial whose configuration is gone."""

log = logging.getLogger(__name__)

_TRIAL_KEY = re.compile(rf"{TRIALS}(?P<name>[0-9]{{4,9}}-s[0-9]{{1,9}})/(trial\.json|config\.yaml)")
_CONFIGURATION_KEY = re.compile(rf"{CONFIGURATIONS}[0-9]{{4,9}}\.json")


Value = TypeVar("Value")
Kind = TypeVar("Kind")


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
        self._campaign: Campaign | None = None
        self._damaged: dict[str, str] = {}  # message of each damaged record by its key

    @property
    def damaged(self) -> list[str]:
        """The records that could not be read so far, and why."""
        return list(self._damaged.values())

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
        if journal.exists:
            continued(journal.campaign(), campaign)
        return journal

    @property
    def exists(self) -> bool:
        """Whether the campaign has begun."""
        return self.store.exists(FILE_KEY)

    @classmethod
    def claim(cls, campaign: Campaign, command: str, starts: Sequence[Params] = ()) -> Journal:
        """The journal of a new campaign, or of an existing one that this file continues.

        Whoever calls this has the right to write there.

        Args:
            command: that starts it, for the record.
            starts: the points that a new campaign tries first.

        Raises:
            ConfigError: when a campaign of that name has a file with other results.
            DataError: when the storage cannot be written.
        """
        open_below(campaign.storage, campaign.name, create=True)
        journal = cls(open_below(campaign.storage, campaign.name))
        store = journal.store
        if journal.exists:
            campaign = continued(journal.campaign(), campaign)
        elif not store.keys(TRIALS):  # else its file was lost, and its history goes on
            discard(store, store.keys(CONFIGURATIONS))  # of a claim that was cut off: a campaign begins with its file
            for number, point in enumerate(starts):
                journal.write_configuration(Configuration(number, point, asked=True))
        journal.write_campaign(campaign)
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
        """The campaign's file as of its newest launch, which has checked it; its storage is where the journal was found."""
        campaign = parse_stored(self.store.get(FILE_KEY), f"{self.store.url}/{FILE_KEY}")
        self._campaign = campaign.model_copy(update={"storage": self.store.url.rpartition("/")[0]})
        return self._campaign

    def write_campaign(self, campaign: Campaign) -> None:
        """Write the campaign's file."""
        self.require_lease()
        self.store.put(FILE_KEY, yaml.safe_dump(campaign.model_dump(mode="json"), sort_keys=False).encode())
        self._campaign = campaign

    def renew(self, trial: Trial) -> None:
        """Let the run of a trial that had ended go on from its newest checkpoint."""
        self.require_lease()
        run = self.trial_store(trial.name)
        if run.exists(RUN_KEY):
            write_run(run, {"status": "stopped", "message": ""})

    def status(self) -> CampaignRecord:
        """The content of ``campaign.json``; empty before the first launch, and where it is damaged."""
        if not self.store.exists(STATUS_KEY):
            return CampaignRecord()
        return self._read_or(CampaignRecord(), STATUS_KEY, CampaignRecord)

    def set_status(self, **change: Any) -> None:
        """Set fields of ``campaign.json``; a damaged one is set aside, and a new one begun."""
        self.require_lease()
        status = dict(self.status())
        if STATUS_KEY in self._damaged:
            self._set_aside(STATUS_KEY)
        self.store.put(STATUS_KEY, without_password(json.dumps(status | change, indent=2)).encode())

    def write_configuration(self, configuration: Configuration) -> None:
        """Write a configuration's values, before its first trial starts, and whatever changes later."""
        self.require_lease()
        content = {
            "number": configuration.number,
            "params": configuration.start,
            "centrality": configuration.centrality,
            "given_up": configuration.given_up,
            "descents": [asdict(descent) for descent in configuration.descents],
            "revision": configuration.revision,
            "asked": configuration.asked,
        }
        self.store.put(_configuration_key(configuration.number), json.dumps(content, indent=2).encode())

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

        Records that are damaged are named in :attr:`damaged`. A configuration's values are then those of its first trial's run;
        where that cannot be read either, it has failed. A trial's state is then what its run's record and metrics say.

        Raises:
            DataError: when the storage cannot be read.
        """
        keys = self.store.keys(TRIALS)
        begun = sorted({found["name"] for key in keys if (found := _TRIAL_KEY.fullmatch(key))})
        self._find_campaign()
        with ThreadPoolExecutor(READERS) as pool:
            known = {c.number: c for c in pool.map(self._read_configuration, self._configuration_numbers())}
            trials = list(pool.map(self._read_trial, begun))
        configurations = self._without_gaps(known)
        for trial in trials:
            if trial.number >= len(configurations):
                missing = f"{CONFIGURATIONS}{trial.number:04d}.json"
                where = f"{TRIALS}{trial.name}"
                self._damaged[where] = f"{self.store.url}/{where}: no {missing} belongs to it; left out"
                continue
            configuration = configurations[trial.number]
            configuration.trials[trial.seed] = trial
            if configuration.given_up and not configuration.params and not trial.ended:
                trial.state, trial.cause = "failed", LOST
        self.trials_with_files = set(begun)
        for configuration in configurations:
            if not configuration.trials:  # the driver died between writing the configuration and its first trial
                configuration.trials[0] = Trial(configuration.number, 0)
        return configurations

    def repair(self, configurations: list[Configuration]) -> None:
        """Set damaged records aside, name each by a warning, and write them again from what :meth:`read` has found."""
        trials = {f"{TRIALS}{trial.name}/trial.json": trial for c in configurations for trial in c.trials.values()}
        numbered = {_configuration_key(configuration.number): configuration for configuration in configurations}
        for key, message in list(self._damaged.items()):
            log.warning("%s", message)
            if key in trials:
                self._set_aside(key)
                self.write_trial(trials[key])
            elif key in numbered:
                self._set_aside(key)
                self.write_configuration(numbered[key])

    def _set_aside(self, key: str) -> None:
        set_aside(self.store, [key], key.replace("/", "-"))
        self._damaged.pop(key, None)

    def _read_or(self, otherwise: Value, key: str, kind: type[Kind]) -> Kind | Value:
        """A record; where it is damaged, ``otherwise``, and its key is noted with a message."""
        try:
            return parse_json(self.store.get(key), kind, f"{self.store.url}/{key}")
        except DocumentError as error:
            self._damaged[key] = str(error)
            return otherwise

    def _find_campaign(self) -> None:
        """Read the campaign's file, unless it is known; without it records are checked less, and none is recovered."""
        if self._campaign is None:
            with suppress(ConfigError, DataError):
                self.campaign()

    def _configuration_numbers(self) -> list[int]:
        """Numbers of the records of configurations; an object that is called otherwise is passed over."""
        keys = (key for key in self.store.keys(CONFIGURATIONS) if _CONFIGURATION_KEY.fullmatch(key))
        numbers = ((int(key.removeprefix(CONFIGURATIONS).removesuffix(".json")), key) for key in keys)
        return [number for number, key in numbers if _configuration_key(number) == key]

    def _read_configuration(self, number: int) -> Configuration:
        key = _configuration_key(number)
        content = self._read_or(None, key, ConfigurationRecord)
        if content is not None and (content.number != number or not all_held(self._campaign, content)):
            self._damaged[key] = f"{self.store.url}/{key}: is not of this campaign's configuration {number}"
            content = None
        if content is None:
            return self._recovered(number)
        return Configuration(
            number,
            dict(content.params),
            centrality=content.centrality,
            given_up=content.given_up,
            descents=content.descents,
            revision=content.revision,
            asked=content.asked,
        )

    def _recovered(self, number: int) -> Configuration:
        """A configuration with the values of its first trial's run; without them it has failed."""
        lost = Configuration(number, {}, {0: Trial(number, 0, "failed", LOST)}, given_up=True)
        if self._campaign is None:
            return lost
        try:
            config = read_config(self.trial_store(trial_name(number, 0)))
        except (ConfigError, DataError):
            return lost
        found = [Configuration(number, self._values(config, r), revision=r) for r in range(self._campaign.revision, -1, -1)]
        fitting = [c for c in found if holds(self._campaign.at(c.revision).space, c.start)]
        return min(fitting, key=lambda c: self._apart(config, c), default=lost)

    def _values(self, config: SystemConfig, revision: int) -> Params:
        """The point at which a trial's configuration is in the space of a revision."""
        assert self._campaign is not None
        return values_of(self._campaign.at(revision).space, config.model_dump(mode="json"))

    def _apart(self, config: SystemConfig, configuration: Configuration) -> int:
        """In how many keys a trial's configuration differs from what the campaign would give that point."""
        assert self._campaign is not None
        try:
            given = self._campaign.at(configuration.revision).trial_config(configuration.start, 0, "")
        except ConfigError:  # values that go together no more, in this version
            return sys.maxsize
        return len(differences(config, given))

    def _without_gaps(self, found: Mapping[int, Configuration]) -> list[Configuration]:
        """Configurations by number; missing ones are recovered, and one far from all others is left out."""
        configurations: list[Configuration] = []
        for number in sorted(found):
            if number - len(configurations) > LARGEST_GAP:
                key = _configuration_key(number)
                self._damaged[key] = f"{self.store.url}/{key}: is far from all other configurations; left out"
                break
            for missing in range(len(configurations), number):
                key = _configuration_key(missing)
                self._damaged[key] = f"{self.store.url}/{key}: is missing"
                configurations.append(self._recovered(missing))
            configurations.append(found[number])
        return configurations

    def _read_trial(self, name: str) -> Trial:
        number, seed = name.split("-s")
        key = f"{TRIALS}{name}/trial.json"
        running = Trial(int(number), int(seed), "running")
        trial = self._read_or(running, key, Trial) if self.store.exists(key) else running
        if trial.name != name:
            self._damaged[key] = f"{self.store.url}/{key}: describes trial {trial.name}"
            trial = running
        if not trial.ended:
            self._read_run(trial, is_damaged=key in self._damaged)
        return trial

    def _read_run(self, trial: Trial, is_damaged: bool) -> None:
        """Give a trial the updates and scores that its run's metrics tell, and where its record is damaged the run's end."""
        store = self.trial_store(trial.name)
        metrics = scan_metrics(store)
        if metrics.damaged:
            self._damaged[f"{TRIALS}{trial.name}/metrics"] = metrics.damaged[0]
        if trial.state != "waiting":
            trial.state = "running"
        trial.updates = max((int(line["step"]) for line in metrics.lines), default=0)
        trial.rungs = [(int(line["step"]), measures_of(line)) for line in metrics.lines if measures_of(line)]
        run = read_run_or_none(store) if is_damaged else None
        if run is not None and run.get("status") == "finished":
            trial.state, trial.seconds = "finished", run.get("seconds", 0.0)
        elif run is not None and run.get("status") == "failed":
            trial.state, trial.cause, trial.seconds = "failed", run.get("message", ""), run.get("seconds", 0.0)


def _configuration_key(number: int) -> str:
    return f"{CONFIGURATIONS}{number:04d}.json"
