"""How fast a run trains, and how fast it reads."""

import time

from unbraid.datasets.stream.stream import SampleStream


class Rates:
    """Rates between two log lines. Those of data are this rank's own.

    Args:
        batch: images in a global batch.
        step: updates made before this launch.
    """

    def __init__(self, stream: SampleStream, batch: int, step: int) -> None:
        self._stream = stream
        self._batch = batch
        self._step = step
        self._since = time.monotonic()
        self._waited = 0.0
        self._megabytes = 0.0

    def read(self, step: int) -> dict[str, float]:
        """The rates since the last call, at update ``step``."""
        now, waited = time.monotonic(), self._stream.statistics.wait_seconds
        seconds, updates = now - self._since, step - self._step
        rates = {
            "speed/updates_per_second": updates / seconds,
            "speed/images_per_second": updates * self._batch / seconds,
            "data/wait_seconds": (waited - self._waited) / updates,
            "data/wait_percent": 100 * (waited - self._waited) / seconds,
            "data/epoch": float(self._stream.position.epoch),
            **self._transfers(seconds),
        }
        self._since, self._step, self._waited = now, step, waited
        return rates

    def leave_out_time(self, since: float) -> None:
        """Count the time from ``since`` (``time.monotonic``) until now in no rate: it was not spent on training."""
        self._since += time.monotonic() - since

    def _transfers(self, seconds: float) -> dict[str, float]:
        """What was read since the last call, and what went wrong since the start."""
        store, cache = self._stream.store.statistics, self._stream.cache
        megabytes, self._megabytes = store.bytes / 1e6 - self._megabytes, store.bytes / 1e6
        transfers = {
            "data/megabytes_per_second": megabytes / seconds,
            "data/retries": float(sum(store.retries.values())),
            "data/skipped_samples": float(self._stream.statistics.skipped),
        }
        if cache is not None:
            lookups = max(cache.statistics.hits + cache.statistics.misses, 1)
            transfers["data/cache_hit_percent"] = 100 * cache.statistics.hits / lookups
        return transfers
