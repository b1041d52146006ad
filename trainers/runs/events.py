"""Events of a run that a person should know of: a lost worker, a storage that does not answer, a preemption.

Each event is an object of its own, because several processes write events at the same time.
"""

import json
import time
from dataclasses import dataclass

from unbraid.datasets.errors import DataError
from unbraid.datasets.passwords import without_password
from unbraid.datasets.store import Store
from unbraid.datasets.untrusted.documents import Name, Seconds, Text, parse_json

EVENTS = "events"


def event_entry(kind: str, message: str) -> tuple[str, bytes]:
    """Key and content of an event that happens now."""
    now = time.time()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}"
    content = {"time": round(now, 3), "kind": kind, "message": without_password(message)}
    return f"{EVENTS}/{stamp}-{kind}.json", json.dumps(content).encode()


@dataclass(frozen=True)
class Event:
    """Something that a person should know of.

    Attributes:
        time: seconds since the epoch.
        kind: in one word.
    """

    time: Seconds
    kind: Name
    message: Text


def read_events(store: Store) -> list[Event]:
    """Read all events of a run, in the order in which they happened; an object that is none is one of kind ``damaged``."""
    return [_read(store, key) for key in store.keys(f"{EVENTS}/") if key.endswith(".json")]


def _read(store: Store, key: str) -> Event:
    try:
        return parse_json(store.get(key), Event, f"{store.url}/{key}")
    except DataError as error:
        return Event(0, "damaged", str(error))
