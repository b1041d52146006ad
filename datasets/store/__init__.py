"""Reads and writes objects under a URL, ``s3://bucket/prefix`` or a folder; no other package accesses either."""

from pathlib import Path

from unbraid.datasets.errors import DataError
from unbraid.datasets.store.folder import FolderStore
from unbraid.datasets.store.location import parse_location
from unbraid.datasets.store.protocol import AbsentError, RefusedError, Store, StoreStatistics, UnconditionalError
from unbraid.datasets.store.retry import Backoff
from unbraid.datasets.store.tidying import discard
from unbraid.datasets.untrusted.keys import relative_key

__all__ = [
    "AbsentError",
    "FolderStore",
    "RefusedError",
    "Store",
    "StoreStatistics",
    "UnconditionalError",
    "discard",
    "open_below",
    "open_store",
]


def open_store(url: str, create: bool = False, backoff: Backoff | None = None) -> Store:
    """Open the store at ``s3://bucket/prefix`` or at a folder.

    Args:
        create: create the folder or the bucket when it is missing.
        backoff: how often and how long failed requests are repeated; default
            :func:`unbraid.datasets.store.retry.default_backoff`.

    Raises:
        DataError: on a malformed URL, a missing bucket, wrong keys or a server that does not answer.
    """
    place = parse_location(url)
    if isinstance(place, Path):
        return FolderStore(place, create)
    from unbraid.datasets.store.s3 import S3Store

    return S3Store(place.name, place.prefix, create, backoff)


def open_below(url: str, name: str, create: bool = False, backoff: Backoff | None = None) -> Store:
    """Open the store of one thing in a storage, such as a run: the folder or prefix ``name`` below ``url``.

    Raises:
        DataError: as :func:`open_store`, and when the name leaves the storage, or its folder is a link.
    """
    try:
        relative_key(name)
    except ValueError as error:
        raise DataError(f"{url}: {error}") from None
    store = open_store(f"{url.rstrip('/')}/{name}", backoff=backoff)
    if isinstance(store, FolderStore):
        FolderStore(Path(open_store(url).url)).require_no_link(name)
    return open_store(f"{url.rstrip('/')}/{name}", create, backoff) if create else store
