"""Events of a run that a person should know of: a lost worker, a storage that does not answer, a preemption.

Each event is an object of its own, because several processes write events at the same time.
"""

import json
import time
from typing import Any

from unbraid.datasets.store import Store

EVENTS = "events"


def event_entry(kind: str, message: str) -> tuple[str, bytes]:
    """Key and content of an event that happens now."""
    now = time.time()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}"
    return f"{EVENTS}/{stamp}-{kind}.json", json.dumps({"time": round(now, 3), "kind": kind, "message": message}).encode()


def read_events(store: Store) -> list[dict[str, Any]]:
    """Read all events of a run in the order in which they happened, each with ``time``, ``kind`` and ``message``."""
    return [json.loads(store.get(key)) for key in store.keys(f"{EVENTS}/")]
