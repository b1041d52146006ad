"""One launch at a time trains a run. Who that is, and whether it shall stop, stands in the run's storage.

Each launch claims the next number, which only one can write. It renews its entry while it lives; an entry that is not
renewed any more is taken over. Whoever sees a higher number than its own has been taken over itself, and writes no more: a
launch that was cut off from everything but the storage, and comes back, does no harm.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import Store
from unbraid.trainers.errors import ConfigError, SupersededError

FOLDER = "lease"
RENEW_SECONDS = 5.0
EXPIRY_SECONDS = 30.0
"""A holder that has not renewed for so long is gone."""
LONG_AGO_SECONDS = 600.0
"""So old an entry needs no watching, whatever the clocks of two machines say."""


@dataclass(frozen=True)
class Holder:
    """Who trains a run.

    Attributes:
        host, pid, born: of the process; ``born`` is its start in ticks, because a pid is used again.
        user: who started it; ``job``: the Ray job that it is, or "".
        since, renewed: seconds since the epoch, by the holder's clock.
        released: it has ended in order.
    """

    host: str
    pid: int
    born: str
    user: str
    job: str
    since: float
    renewed: float
    released: bool = False

    @classmethod
    def here(cls, job: str = "") -> Holder:
        """This process."""
        now = round(time.time(), 3)
        return cls(socket.gethostname(), os.getpid(), _born(os.getpid()), _user(), job, now, now)

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        what = f"job {self.job}" if self.job else f"process {self.pid} on {self.host}"
        return f"{what}, started by {self.user} at {since}"

    @property
    def is_gone(self) -> bool:
        """Whether that is certain without watching."""
        if self.released or abs(time.time() - self.renewed) > LONG_AGO_SECONDS:
            return True
        return self.host == socket.gethostname() and _born(self.pid) != self.born


class Lease:
    """The right to train a run, held until the block ends.

    Attributes:
        generation: its number.
        lost: who has taken it over, if somebody has.
    """

    def __init__(self, store: Store, generation: int, holder: Holder) -> None:
        self.generation = generation
        self.lost: Holder | None = None
        self._stopping_since: float | None = None
        self._store = store
        self._holder = holder
        self._ended = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="renew-lease", daemon=True)

    @classmethod
    def acquire(cls, store: Store, name: str, job: str = "", report: Callable[[str], None] = print) -> Lease:
        """Claim the run for this process.

        Args:
            name: of the run, for messages.
            job: the Ray job that this process is.
            report: told when there is something to wait for.

        Raises:
            ConfigError: when another launch trains it, naming that one.
        """
        while True:
            generation, holder = newest(store)
            if holder is not None and not holder.is_gone:
                report(f"{holder} was training this run: waiting up to {EXPIRY_SECONDS:.0f} s to see whether it still does")
                _see_that_it_is_gone(store, generation, holder, name)
            mine = Holder.here(job)
            if store.put_new(_entry(generation + 1), _json(mine)):
                _forget_before(store, generation + 1)
                return cls(store, generation + 1, mine)

    def __enter__(self) -> Self:
        self._renewer.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Give it back, so that the next launch need not wait."""
        self._ended.set()
        self._renewer.join(RENEW_SECONDS)
        if self.lost is None:
            with suppress(DataError):  # then it expires
                self._store.put(_entry(self.generation), _json(replace(self._holder, renewed=time.time(), released=True)))

    def request_stop(self) -> None:
        """Ask this launch's workers for a checkpoint and an end. Safe in a signal handler."""
        self._stopping_since = time.monotonic()
        threading.Thread(target=request_stop, args=(self._store, self.generation), daemon=True).start()

    @property
    def stopping(self) -> float:
        """Seconds since this process asked for a stop; 0 when it has not."""
        return 0.0 if self._stopping_since is None else time.monotonic() - self._stopping_since

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            try:
                generation, holder = newest(self._store)
                if generation > self.generation:
                    self.lost = holder
                    return
                self._store.put(_entry(self.generation), _json(replace(self._holder, renewed=round(time.time(), 3))))
            except DataError:
                continue  # the storage is away: for others too


def newest(store: Store) -> tuple[int, Holder | None]:
    """The highest number and who holds it; 0 and nobody when the run was never trained."""
    numbers = [_number(key) for key in store.keys(f"{FOLDER}/") if key.endswith(".json")]
    if not numbers:
        return 0, None
    return max(numbers), Holder(**json.loads(store.get(_entry(max(numbers)))))


def request_stop(store: Store, generation: int) -> None:
    """Ask the launch of that number for a checkpoint and an end."""
    store.put(_stop(generation), b"")


class Lookout:
    """What rank 0 looks at between updates, kept up to date by a thread: nothing waits for the storage.

    Args:
        store: of the run.
        generation: of the launch; 0 is none, which is never stopped or superseded from the storage.
        notice: seconds since the epoch at which this worker's node, or another one's, will be taken away, or None.
    """

    SECONDS = 2.0
    HOLD_SECONDS = 10.0
    """So long before the node goes nothing new is begun: a last checkpoint is written, and the end awaited."""

    def __init__(self, store: Store, generation: int = 0, notice: Callable[[], float | None] = lambda: None) -> None:
        self.stop = False
        self.superseded: Holder | None = None
        self.deadline: float | None = None
        self._store = store
        self._generation = generation
        self._notice = notice
        self._noticed: float | None = None
        self._saved = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="lookout", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()

    def require_lease(self) -> None:
        """Before anything is written.

        Raises:
            SupersededError: when another launch has taken the run over.
        """
        if self.superseded is not None:
            raise SupersededError(f"this run has been taken over: {self.superseded} trains it now")

    @property
    def holds(self) -> bool:
        """Whether the node goes so soon that nothing new should be begun."""
        return self.deadline is not None and self.deadline - time.time() < self.HOLD_SECONDS

    def wants_checkpoint(self) -> bool:
        """Whether one is wanted out of turn; each reason wants one."""
        reasons = (self.deadline is not None) + self.holds + self.stop
        wanted, self._saved = reasons > self._saved, max(reasons, self._saved)
        return wanted

    def await_end(self) -> None:
        """Until the node is gone; returns when it is not."""
        assert self.deadline is not None
        self._ended.wait(max(self.deadline - time.time(), 0) + 2 * self.HOLD_SECONDS)
        self.deadline, self._saved = None, 0

    def _look(self) -> None:
        while not self._ended.wait(self.SECONDS):
            notice = self._notice()
            if notice is not None and notice != self._noticed:
                self._noticed = self.deadline = notice
            if not self._generation:
                continue
            try:
                self._read()
            except DataError:
                continue  # the storage is away; the loop hears of that where it needs it

    def _read(self) -> None:
        keys = self._store.keys(f"{FOLDER}/")
        self.stop = self.stop or _stop(self._generation) in keys
        if max((_number(key) for key in keys if key.endswith(".json")), default=0) > self._generation:
            self.superseded = newest(self._store)[1]


def _see_that_it_is_gone(store: Store, generation: int, holder: Holder, name: str) -> None:
    """Watch an entry until it has expired, by this machine's clock alone."""
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


def _forget_before(store: Store, generation: int) -> None:
    for key in store.keys(f"{FOLDER}/"):
        if _number(key) < generation:
            store.delete(key)


def _entry(generation: int) -> str:
    return f"{FOLDER}/{generation:08d}.json"


def _stop(generation: int) -> str:
    return f"{FOLDER}/{generation:08d}.stop"


def _number(key: str) -> int:
    return int(key.removeprefix(f"{FOLDER}/").partition(".")[0])


def _json(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _born(pid: int) -> str:
    """When a process of this machine was started, in ticks; "" when there is none, or nobody who tells."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return "" if stat.rpartition(")")[2].split()[0] == "Z" else stat.rpartition(")")[2].split()[19]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return f"user {os.getuid()}"
