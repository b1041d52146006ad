"""Opens a packed set whose tars may lie in another place than its index and tables."""

from pathlib import Path

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import Index, read_index
from unbraid.datasets.store import FolderStore, Store, open_store
from unbraid.datasets.store.protocol import LARGEST_GET, StoreStatistics
from unbraid.datasets.store.retry import Backoff


def open_set(url: str, backoff: Backoff | None = None) -> tuple[Store, Index]:
    """Open a set for reading: a store that has its index, its tables and its tars, and the index.

    Raises:
        DataError: when there is no set, or its index names a place for its tars that cannot be opened or trusted.
    """
    store = open_store(url, backoff=backoff)
    index = read_index(store)
    if not index.tars:
        return store, index
    if not index.tars.startswith("s3://") and not (isinstance(store, FolderStore) and Path(index.tars).is_absolute()):
        raise DataError(f"{store.url}: its index says that the tars are at {index.tars}, which is not on S3; index them again")
    return TarsElsewhere(store, open_store(index.tars, backoff=backoff)), index


class TarsElsewhere:
    """Joins two stores for reading: tars are taken from the one, all else from the other.

    Args:
        store: of the index and the tables.
        tars: of the tars; nothing is written there.
    """

    def __init__(self, store: Store, tars: Store) -> None:
        self.url = store.url
        self._store = store
        self._tars = tars
        self._tars.statistics = store.statistics

    @property
    def statistics(self) -> StoreStatistics:
        """What both have transferred."""
        return self._store.statistics

    @statistics.setter
    def statistics(self, statistics: StoreStatistics) -> None:
        self._store.statistics = self._tars.statistics = statistics

    def get(self, key: str, limit: int = LARGEST_GET) -> bytes:
        return self._of(key).get(key, limit)

    def get_range(self, key: str, start: int, length: int) -> memoryview:
        return self._of(key).get_range(key, start, length)

    def put(self, key: str, content: bytes) -> None:
        self._store.put(key, content)

    def put_new(self, key: str, content: bytes) -> bool:
        return self._store.put_new(key, content)

    def put_file(self, key: str, path: Path) -> None:
        self._store.put_file(key, path)

    def move(self, key: str, to: str) -> None:
        self._store.move(key, to)

    def exists(self, key: str) -> bool:
        return self._of(key).exists(key)

    def keys(self, prefix: str = "") -> list[str]:
        return self._store.keys(prefix)

    def sizes(self, prefix: str = "") -> dict[str, int]:
        return self._store.sizes(prefix)

    def delete(self, key: str) -> None:
        self._store.delete(key)

    def close(self) -> None:
        self._store.close()
        self._tars.close()

    def _of(self, key: str) -> Store:
        return self._tars if key.endswith(".tar") else self._store
