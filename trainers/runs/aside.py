"""What cannot be used is set aside: moved within the run, so that it is neither taken again nor deleted."""

from __future__ import annotations

import time
from collections.abc import Iterable

from unbraid.datasets.store import AbsentError, RefusedError, Store

ASIDE = "set-aside"
"""The folder of a run for it."""


def set_aside(store: Store, keys: Iterable[str], label: str) -> str:
    """Move objects to a folder of their own under :data:`ASIDE`; returns in words where they are now.

    Args:
        store: of the run, which the caller holds.
        keys: in the order in which they are moved; those that are not there are passed over.
        label: last part of the folder's name.

    Raises:
        DataError: when the storage fails. One that does not allow it keeps them where they are.
    """
    folder = f"{ASIDE}/{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{label}"
    for key in keys:
        try:
            store.move(key, f"{folder}/{key.rpartition('/')[2]}")
        except AbsentError:
            continue
        except RefusedError as error:
            return f"left where it is ({error})"
    return f"set aside in {store.url}/{folder}"
