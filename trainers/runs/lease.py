"""The lease of a run: one launch at a time trains it. The run's storage holds the lease, and requests to stop its holder.

Each launch claims the next generation number by creating an object that only one launch can create. The holder renews its entry
while it lives; another launch may take the run over when the entry has expired. A launch that sees a higher number than its own
has been superseded and writes no more, so a launch that was cut off from everything but the storage does no harm later.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import Store
from unbraid.datasets.threads import WatchedThread
from unbraid.datasets.untrusted.documents import Name, Seconds, Text, parse_json
from unbraid.datasets.untrusted.text import printable
from unbraid.trainers.errors import ConfigError

FOLDER = "lease"
RENEW_SECONDS = 5.0
EXPIRY_SECONDS = 30.0
"""A holder that has not renewed its entry for so long is gone."""
LONG_AGO_SECONDS = 600.0
"""An entry of this age has expired, however much the clocks of two machines differ; it need not be watched first."""
_NAME = re.compile(rf"{FOLDER}/(?P<generation>[0-9]{{8}})\.(?P<kind>json|stop)")


@dataclass(frozen=True)
class Holder:
    """The process that trains a run.

    Attributes:
        host, pid, born: of the process; ``born`` is its start time in ticks, because pids are reused.
        user: who started it.
        job: its Ray job, or "".
        since, renewed: seconds since the epoch, by the holder's clock.
        released: whether it has given the lease back.
    """

    host: Name
    pid: Annotated[int, Field(ge=0, lt=2**31)]
    born: Text
    user: Text
    job: Text
    since: Seconds
    renewed: Seconds
    released: bool = False

    @classmethod
    def here(cls, job: str = "") -> Holder:
        """This process."""
        now = round(time.time(), 3)
        return cls(socket.gethostname(), os.getpid(), _born(os.getpid()), _user(), job, now, now)

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        what = f"job {self.job}" if self.job else f"process {self.pid} on {self.host}"
        return printable(f"{what}, started by {self.user} at {since}")

    @property
    def is_gone(self) -> bool:
        """Whether it is certain, without watching the entry, that the process trains no more."""
        if self.released or abs(time.time() - self.renewed) > LONG_AGO_SECONDS:
            return True
        return self.host == socket.gethostname() and _born(self.pid) != self.born


class Lease:
    """The right to train a run, renewed by a thread until the block ends.

    Attributes:
        generation: its number.
        superseded_by: the launch that has taken the run over, if one has.
    """

    def __init__(self, store: Store, generation: int, holder: Holder) -> None:
        self.generation = generation
        self.superseded_by: Holder | None = None
        self._stop_requested_at: float | None = None
        self._store = store
        self._holder = holder
        self._ended = threading.Event()
        self._renewer = WatchedThread(self._renew, "renew-lease", on_error=lambda error: self.request_stop())

    @classmethod
    def acquire(cls, store: Store, name: str, job: str = "", on_wait: Callable[[str], None] = print) -> Lease:
        """Claim the run for this process; waits until an earlier holder's entry has expired, if it is not renewed.

        Args:
            name: of the run, for messages.
            job: the Ray job of this process, or "".
            on_wait: called with a message before waiting.

        Raises:
            ConfigError: when another launch trains the run; the message names that launch.
        """
        while True:
            generation, holder = newest(store)
            if holder is not None and not holder.is_gone:
                on_wait(f"{holder} was training this run: waiting up to {EXPIRY_SECONDS:.0f} s to see whether it still does")
                _wait_until_gone(store, generation, holder, name)
            mine = Holder.here(job)
            if store.put_new(_entry(generation + 1), _json(mine)):
                _delete_before(store, generation + 1)
                return cls(store, generation + 1, mine)

    def __enter__(self) -> Self:
        self._renewer.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Give the lease back, so that the next launch need not wait.

        Raises:
            ThreadError: when the lease could not be renewed any more, which has ended the launch.
        """
        self._ended.set()
        self._renewer.join(RENEW_SECONDS)
        if self.superseded_by is None and self._renewer.error is None:
            with suppress(DataError):  # the storage is away: the entry expires
                self._store.put(_entry(self.generation), _json(replace(self._holder, renewed=time.time(), released=True)))
        self._renewer.raise_error()

    def request_stop(self) -> None:
        """Ask this launch's workers to write a checkpoint and stop. May be called in a signal handler."""
        self._stop_requested_at = time.monotonic()
        WatchedThread(lambda: request_stop(self._store, self.generation), "request-stop").start()

    @property
    def seconds_since_stop(self) -> float:
        """Seconds since this process asked its workers to stop; 0 when it has not."""
        return 0.0 if self._stop_requested_at is None else time.monotonic() - self._stop_requested_at

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            try:
                generation, holder = newest(self._store)
                if generation > self.generation:
                    self.superseded_by = holder
                    return
                self._store.put(_entry(self.generation), _json(replace(self._holder, renewed=round(time.time(), 3))))
            except DataError:
                continue  # the storage is away; other launches cannot read it either


def newest(store: Store) -> tuple[int, Holder | None]:
    """The highest generation number and its holder; 0 and None when the run was never trained."""
    generation = _newest(store.keys(f"{FOLDER}/"))
    if not generation:
        return 0, None
    key = _entry(generation)
    return generation, parse_json(store.get(key), Holder, f"{store.url}/{key}")


def request_stop(store: Store, generation: int) -> None:
    """Ask the launch of that generation to write a checkpoint and stop."""
    store.put(_stop(generation), b"")


def read_requests(store: Store, generation: int) -> tuple[bool, Holder | None]:
    """Whether the launch of that generation was asked to stop, and the launch that has superseded it, if one has."""
    keys = store.keys(f"{FOLDER}/")
    return _stop(generation) in keys, newest(store)[1] if _newest(keys) > generation else None


def _wait_until_gone(store: Store, generation: int, holder: Holder, name: str) -> None:
    """Watch an entry until it has expired. Only this machine's clock is used."""
    until = time.monotonic() + EXPIRY_SECONDS
    while time.monotonic() < until:
        time.sleep(1.0)
        now, then = newest(store)
        if then is None or (now == generation and then.is_gone):
            return
        if now != generation or then.renewed != holder.renewed:
            raise ConfigError(
                f"run {name} is being trained by {then}: follow or stop that one, or give this one another run.name"
            )


def _delete_before(store: Store, generation: int) -> None:
    for key in store.keys(f"{FOLDER}/"):
        if 0 < _number(key, "json") < generation or 0 < _number(key, "stop") < generation:
            store.delete(key)


def _newest(keys: Iterable[str]) -> int:
    return max((_number(key, "json") for key in keys), default=0)


def _entry(generation: int) -> str:
    return f"{FOLDER}/{generation:08d}.json"


def _stop(generation: int) -> str:
    return f"{FOLDER}/{generation:08d}.stop"


def _number(key: str, kind: str) -> int:
    """The generation in the name of an entry or a request; 0 for any other object, which is passed over."""
    found = _NAME.fullmatch(key)
    return int(found["generation"]) if found and found["kind"] == kind else 0


def _json(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _born(pid: int) -> str:
    """Start time of a process of this machine in ticks; "" when there is none, or the system does not say."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return "" if stat.rpartition(")")[2].split()[0] == "Z" else stat.rpartition(")")[2].split()[19]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the user of a container need not have a name
        return f"user {os.getuid()}"
