"""The lease of a place in a store, such as a run or a set: one process at a time writes there.

The place holds the lease, and requests to stop its holder. Each process, called a launch, claims the next generation number by
creating an object that only one launch can create. The holder renews its entry while it lives; another launch may take the
place over when the entry has expired. A launch that sees a higher number than its own has been superseded and writes no more,
so a launch that was cut off from everything but the storage does no harm later.

In a store without conditional writes, launches claim a number by entries of their own: see :func:`_elect`.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field

from unbraid.datasets.errors import DataError
from unbraid.datasets.store.protocol import Store, UnconditionalError
from unbraid.datasets.store.tidying import discard
from unbraid.datasets.threads import WatchedThread
from unbraid.datasets.untrusted.documents import DocumentError, Name, Seconds, Text, parse_json
from unbraid.datasets.untrusted.text import printable

FOLDER = "lease"
RENEW_SECONDS = 5.0
EXPIRY_SECONDS = 30.0
"""A holder that has not renewed its entry for so long is gone."""
LONG_AGO_SECONDS = 600.0
"""An entry of this age has expired, however much the clocks of two machines differ; it need not be watched first."""
ELECTION_SECONDS = 3.0
"""Pause between a launch's own entry and its look at those of others, in a store without conditional writes."""
HOLDER = "{holder}"
"""Stands for the holder in the message of an error."""
_NAME = re.compile(r"(?P<generation>[0-9]{8})\.(?P<kind>json|stop|[0-9a-f]{32}\.claim)")


class HeldError(DataError):
    """Another process holds the lease; the message names that process."""


@dataclass(frozen=True)
class Holder:
    """The process that has claimed a place.

    Attributes:
        host, pid, born: of the process; ``born`` is its start time in ticks, because pids are reused.
        user: who started it.
        job: its Ray job, or "".
        processes: names the process table that ``pid`` is of; "" where the system does not say.
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
    processes: Text = ""

    @classmethod
    def here(cls, job: str = "") -> Holder:
        """This process."""
        now = round(time.time(), 3)
        pid = os.getpid()
        return cls(socket.gethostname(), pid, _born(pid), _user(), job, now, now, processes=_process_table())

    def __str__(self) -> str:
        if self == UNKNOWN:
            return "a process whose entry is damaged"
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        what = f"job {self.job}" if self.job else f"process {self.pid} on {self.host}"
        return printable(f"{what}, started by {self.user} at {since}")

    def is_same(self, other: Holder) -> bool:
        """Whether both are the same claim of the same process."""
        return replace(self, renewed=0.0, released=False) == replace(other, renewed=0.0, released=False)

    @property
    def is_gone(self) -> bool:
        """Whether it is certain, without watching the entry, that the process writes no more."""
        if self.released or abs(time.time() - self.renewed) > LONG_AGO_SECONDS:
            return True
        # a host's name does not say it: containers, and machines of one image, may have the same
        return bool(self.processes and self.born) and self.processes == _process_table() and _born(self.pid) != self.born


UNKNOWN = Holder("unknown", 0, "", "unknown", "", 0.0, 0.0)
"""The holder whose entry cannot be read."""


class Lease:
    """The right to write to a place, renewed by a thread until the block ends.

    Attributes:
        generation: its number.
        superseded_by: the launch that has taken the place over, if one has.
        stop_requested: whether this process has asked its workers to stop.
        keep: whether the entry stays as a record when the lease is given back.
    """

    def __init__(self, store: Store, generation: int, holder: Holder, folder: str = FOLDER, keep: bool = True) -> None:
        self.generation = generation
        self.superseded_by: Holder | None = None
        self.stop_requested = False
        self._stop_requested_at: float | None = None
        self._store = store
        self._holder = holder
        self._folder = folder
        self.keep = keep
        self._ended = threading.Event()
        self._renewer = WatchedThread(self._renew, "renew-lease", on_error=lambda error: self.request_stop())

    @classmethod
    def acquire(
        cls,
        store: Store,
        busy: str,
        job: str = "",
        on_wait: Callable[[str], None] = print,
        folder: str = FOLDER,
        keep: bool = True,
    ) -> Lease:
        """Claim a place for this process; waits until an earlier holder's entry has expired, if it is not renewed.

        Args:
            store: the place.
            busy: message of the error when another process holds the lease; ``{holder}`` in it stands for that process.
            job: the Ray job of this process, or "".
            on_wait: called with a message before waiting.
            folder: in the store, in which the entries are written.
            keep: whether the entry stays as a record when the lease is given back.

        Raises:
            HeldError: when another process holds the lease.
        """
        claim = _put_entry
        while True:
            generation, holder = _newest_known(store, folder)
            if holder == UNKNOWN:
                on_wait(f"the entry {_entry(generation, folder)} is damaged: waiting to see whether its holder writes it again")
                if _is_renewed(store, generation, folder):
                    continue
            elif holder is not None and not holder.is_gone:
                on_wait(f"{holder} was at work here: waiting up to {EXPIRY_SECONDS:.0f} s to see whether it still is")
                _wait_until_gone(store, generation, holder, busy, folder)
            mine = Holder.here(job)
            try:
                claimed = claim(store, generation + 1, mine, folder)
            except UnconditionalError as error:
                claim, claimed = _elect, False
                on_wait(
                    f"{error}: so each launch writes an entry of its own, and the first by name goes on after "
                    f"{ELECTION_SECONDS:g} s; a launch that stalls for longer than that may not be noticed"
                )
            if claimed:
                _delete_before(store, generation + 1, folder)
                return cls(store, generation + 1, mine, folder, keep)

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
                self._write(replace(self._holder, renewed=time.time(), released=True))
                if not self.keep:
                    _delete_before(self._store, self.generation + 1, self._folder)
        self._renewer.raise_error()

    def request_stop(self, hurried: bool = True) -> None:
        """Ask this launch's workers to write a checkpoint and stop. May be called in a signal handler.

        Args:
            hurried: whether this process will be killed soon; :attr:`seconds_since_stop` are counted then.
        """
        self.stop_requested = True
        if hurried:
            self._stop_requested_at = time.monotonic()
        WatchedThread(lambda: request_stop(self._store, self.generation, self._folder), "request-stop").start()

    @property
    def job(self) -> str:
        """The Ray job of this process, or ""."""
        return self._holder.job

    @property
    def seconds_since_stop(self) -> float:
        """Seconds since this process asked its workers to stop in a hurry; 0 when it has not."""
        return 0.0 if self._stop_requested_at is None else time.monotonic() - self._stop_requested_at

    def _write(self, holder: Holder) -> None:
        self._store.put(_entry(self.generation, self._folder), _json(holder))

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            try:
                generation, holder = _newest_known(self._store, self._folder)
                is_other = holder is not None and holder != UNKNOWN and not holder.is_same(self._holder)
                if generation > self.generation or is_other:
                    self.superseded_by = holder
                    return
                self._write(replace(self._holder, renewed=round(time.time(), 3)))
            except DataError:
                continue  # the storage is away; other launches cannot read it either


def newest(store: Store, folder: str = FOLDER) -> tuple[int, Holder | None]:
    """The highest generation number and its holder; 0 and None when the place was never claimed.

    Raises:
        DocumentError: when the holder's entry is damaged.
    """
    generation = _newest(store.keys(f"{folder}/"), folder)
    if not generation:
        return 0, None
    key = _entry(generation, folder)
    return generation, parse_json(store.get(key), Holder, f"{store.url}/{key}")


def _newest_known(store: Store, folder: str) -> tuple[int, Holder | None]:
    """As :func:`newest`; a holder whose entry is damaged is :data:`UNKNOWN`."""
    try:
        return newest(store, folder)
    except DocumentError:
        return _newest(store.keys(f"{folder}/"), folder), UNKNOWN


def _is_renewed(store: Store, generation: int, folder: str) -> bool:
    """Watch a damaged entry for as long as a holder needs to write it again; return whether one has."""
    until = time.monotonic() + 2 * RENEW_SECONDS
    while time.monotonic() < until:
        time.sleep(0.5)
        if _newest_known(store, folder) != (generation, UNKNOWN):
            return True
    return False


def request_stop(store: Store, generation: int, folder: str = FOLDER) -> None:
    """Ask the launch of that generation to stop; one that trains writes a checkpoint first."""
    store.put(_stop(generation, folder), b"")


def read_requests(store: Store, generation: int, folder: str = FOLDER) -> tuple[bool, Holder | None]:
    """Whether the launch of that generation was asked to stop, and the launch that has superseded it, if one has."""
    keys = store.keys(f"{folder}/")
    superseded_by = _newest_known(store, folder)[1] if _newest(keys, folder) > generation else None
    return _stop(generation, folder) in keys, superseded_by


def _wait_until_gone(store: Store, generation: int, holder: Holder, busy: str, folder: str) -> None:
    """Watch an entry until it has expired. Only this machine's clock is used."""
    until = time.monotonic() + EXPIRY_SECONDS
    while time.monotonic() < until:
        time.sleep(1.0)
        now, then = _newest_known(store, folder)
        if then is None or (now == generation and then.is_gone):
            return
        if now != generation or then.renewed != holder.renewed:
            raise HeldError(busy.replace(HOLDER, str(then)))


def _elect(store: Store, generation: int, mine: Holder, folder: str) -> bool:
    """Claim a generation without conditional writes, and return whether this launch has won.

    Each launch writes an entry of its own name for that generation, waits a moment, and lists all of them: the first by name
    wins. A launch that comes later finds the winner's entry after its own pause. Only a launch that stalls for longer than the
    pause, between its look and its entry, may not be seen by others; it finds out when it renews the lease.
    """
    claim = f"{folder}/{generation:08d}.{uuid.uuid4().hex}.claim"
    store.put(claim, b"")
    passed_over: set[str] = set()
    until = time.monotonic() + EXPIRY_SECONDS
    while True:
        time.sleep(ELECTION_SECONDS)
        keys = store.keys(f"{folder}/")
        if claim not in keys or _newest(keys, folder) >= generation:
            return False
        claims = [key for key in keys if _number(key, "claim", folder) == generation and key not in passed_over]
        if claims[0] == claim:
            store.put(_entry(generation, folder), _json(mine))
            return True
        if time.monotonic() > until:  # the first one has died before it could write its entry: the next one's turn
            passed_over.add(claims[0])
            until = time.monotonic() + EXPIRY_SECONDS


def _put_entry(store: Store, generation: int, mine: Holder, folder: str) -> bool:
    return store.put_new(_entry(generation, folder), _json(mine))


def _delete_before(store: Store, generation: int, folder: str) -> None:
    """Delete what is left of earlier generations; where that is not allowed, the last word of each holder stays there."""
    kinds = ("json", "stop", "claim")
    keys = store.keys(f"{folder}/")  # sorted: of one generation, claims come before the entry
    discard(store, [key for key in keys if any(0 < _number(key, kind, folder) < generation for kind in kinds)])


def _newest(keys: Iterable[str], folder: str) -> int:
    return max((_number(key, "json", folder) for key in keys), default=0)


def _entry(generation: int, folder: str) -> str:
    return f"{folder}/{generation:08d}.json"


def _stop(generation: int, folder: str) -> str:
    return f"{folder}/{generation:08d}.stop"


def _number(key: str, kind: str, folder: str) -> int:
    """The generation in the name of an entry or a request; 0 for any other object, which is passed over."""
    found = _NAME.fullmatch(key.removeprefix(f"{folder}/"))
    return int(found["generation"]) if found and found["kind"].endswith(kind) else 0


def _json(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _process_table() -> str:
    """Names the table of this process's pids: the boot of a kernel, and the pid namespace; "" where /proc does not show it."""
    proc = Path("/proc")
    try:
        if str((proc / "self").readlink()) != str(os.getpid()):
            return ""
        boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(proc / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


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
