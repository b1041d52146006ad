"""Says who reads a set, so that it is not packed over while a run or a campaign trains on it."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import Store, open_store
from unbraid.datasets.store.lease import Holder
from unbraid.datasets.store.retry import FAST_RETRY
from unbraid.datasets.threads import WatchedThread
from unbraid.datasets.untrusted.documents import parse_json

FOLDER = "readers"
RENEW_SECONDS = 60.0
GOODBYE_SECONDS = 5.0
"""An entry that cannot be removed for so long is left: it expires."""
MOST_LOOKED_AT = 100


@contextmanager
def reading(url: str, job: str = "") -> Iterator[None]:
    """Keep an entry beside a set that says that this process reads it, while the block runs.

    Where the store allows no writing there is none: readers of such a set are not seen. Nothing waits for the entry.

    Args:
        url: of the set.
        job: the Ray job of this process, or "".
    """
    holder, ended = Holder.here(job), threading.Event()
    key = f"{FOLDER}/{socket.gethostname()}-{os.getpid()}-{int(holder.since * 1000)}.json"

    def renew() -> None:
        with suppress(DataError):  # read-only, or away
            store = open_store(url, backoff=FAST_RETRY)
            while True:
                with suppress(DataError):
                    store.put(key, json.dumps(asdict(replace(holder, renewed=round(time.time(), 3)))).encode())
                if ended.wait(RENEW_SECONDS):
                    store.delete(key)
                    return

    thread = WatchedThread(renew, "announce-reader")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(GOODBYE_SECONDS)


def readers_of(store: Store) -> list[Holder]:
    """Return the processes that read a set now, as far as they could say so."""
    found = []
    for key in store.keys(f"{FOLDER}/")[:MOST_LOOKED_AT]:
        with suppress(DataError):  # a foreign object, or one that has gone since
            holder = parse_json(store.get(key), Holder, f"{store.url}/{key}")
            if not holder.is_gone:
                found.append(holder)
    return found
