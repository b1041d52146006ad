"""Removes objects that only take up room: a store that keeps them must not end the work."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from urllib.parse import urlsplit

from unbraid.datasets.store.protocol import RefusedError, Store

log = logging.getLogger(__name__)
_said: set[str] = set()


def discard(store: Store, keys: Iterable[str]) -> None:
    """Delete objects that are not needed any more.

    A store that refuses to delete, because of an append-only policy for example, is named by one warning of this process, and
    its objects stay.

    Raises:
        DataError: when the store fails for another reason.
    """
    for key in keys:
        try:
            store.delete(key)
        except RefusedError as error:
            where = urlsplit(store.url).netloc or store.url
            if where not in _said:
                _said.add(where)
                log.warning("%s; work goes on, and what is not needed any more stays there", error)
            return
