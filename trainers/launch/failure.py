"""The error that ended a launch for good: the worker that met it writes it to the run's storage, the driver reads it."""

import json
from dataclasses import asdict, dataclass

from unbraid.datasets.store import Store
from unbraid.datasets.untrusted.documents import Name, Text, parse_json
from unbraid.trainers.errors import FATAL, RunError

FAILURE_KEY = "failure.json"


@dataclass(frozen=True)
class _Failure:
    """The content of ``failure.json``: the launch, the error's class, its message."""

    launch: Name
    kind: Name
    message: Text


def write_failure(store: Store, launch: str, error: RunError) -> None:
    """Write the error that ends a launch; its cause is one of :data:`~unbraid.trainers.errors.FATAL`."""
    failure = _Failure(launch, type(error.__cause__).__name__, str(error))
    store.put(FAILURE_KEY, json.dumps(asdict(failure)).encode())


def read_failure(store: Store, launch: str) -> Exception | None:
    """Read the error that ended a worker of this launch for good; None when there is none, or only one of an earlier launch."""
    if not store.exists(FAILURE_KEY):
        return None
    failure = parse_json(store.get(FAILURE_KEY), _Failure, f"{store.url}/{FAILURE_KEY}")
    if failure.launch != launch:
        return None
    kind = next((kind for kind in FATAL if kind.__name__ == failure.kind), RunError)
    return kind(failure.message)
