"""Plans the shards of a set, and describes the plan before anything is written."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.collection import UnusableSampleError
from unbraid.datasets.sources.source import Item, Source
from unbraid.datasets.untrusted.keys import relative_key

SHARD_BYTES = 32 << 20
FEWEST_SHARDS = 80
"""Default number of shards of a small set: an epoch shuffles whole shards, so that many of them mix better than few."""
FEWEST_SAMPLES = 32
"""Default number of samples in a shard of a tiny set: as many as are checked by one call when they are read."""
SHOWN_KEYS = 5
"""Keys of several samples that an error names."""
PROBES = 16
"""Samples that are loaded to estimate the mean size."""
SHUFFLE_SEED = 0
LONGEST_NAME = 300
"""Characters of the name of a set, as in the index."""

Report = Callable[[str], None]


@dataclass(frozen=True)
class ShardPlan:
    """One shard to write."""

    name: str
    items: Sequence[Item]

    @property
    def digest(self) -> str:
        """Hex digest of the keys and fingerprints of the items, which decide the bytes of the shard."""
        content = json.dumps([(item.key, item.fingerprint) for item in self.items])
        return hashlib.sha256(content.encode()).hexdigest()


Plans = dict[str, list[ShardPlan]]
"""The shards of each split."""


def plan_shards(source: Source, shards: int | None = None) -> Plans:
    """Assign the items of each split to shards whose sample counts differ by one at most.

    Args:
        shards: number in the largest split; other splits get as many in proportion. Default: shards of about 32 MiB, but
            80 at least where these get 32 samples each.

    Raises:
        DataError: when there is nothing to pack, there are fewer samples than shards, two samples have one key, or the set has
            no name.
    """
    if not any(source.splits.values()):
        reasons = "".join(f"\n  left out: {reason}" for reason in source.left_out)
        raise DataError(f"{source.name}: no samples to pack{reasons}")
    _require_name(source.name)
    for split, items in source.splits.items():
        _require_keys(items)
        _require_distinct(source.name, split, items)
    largest = max(len(items) for items in source.splits.values())
    if shards is not None and shards > largest:
        raise DataError(f"{source.name}: {shards} shards for {largest} samples: ask for at most as many shards as samples")
    per_shard = largest / shards if shards is not None else _samples_a_shard(source, largest)
    plans: Plans = {}
    for split, items in source.splits.items():
        if not items:
            continue
        order = np.random.default_rng(SHUFFLE_SEED).permutation(len(items)) if source.shuffle else np.arange(len(items))
        parts = np.array_split(order, max(1, round(len(items) / per_shard)))
        plans[split] = [
            ShardPlan(f"{split}-{number:06d}.tar", [items[i] for i in part.tolist()]) for number, part in enumerate(parts)
        ]
    return plans


def digest_of(plans: Plans) -> str:
    """Return the hex digest of all that decides the bytes of a set."""
    content = json.dumps({split: [(plan.name, plan.digest) for plan in of_split] for split, of_split in plans.items()})
    return hashlib.sha256(content.encode()).hexdigest()


def describe_source(source: Source, plans: Plans, report: Report) -> None:
    """Report how the raw files were understood, what is left out, and which shards they become."""
    report(f"{source.name}: {'; '.join(f'{name} ({field})' for name, field in source.fields.items())}")
    for line in source.understood:
        report(f"  {line}")
    for line in source.left_out:
        report(f"  left out {line}")
    if source.unusable:
        report(f"  unusable {len(source.unusable):,} samples, such as {source.unusable[0]}")
    size = _mean_bytes(source)
    for split, of_split in plans.items():
        counts = [len(plan.items) for plan in of_split]
        each = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} or {max(counts):,}"
        total = sum(counts)
        report(
            f"  {split:8} {total:,} samples in {len(counts)} shards of {each}, about {total * size / 1e6:,.1f} MB "
            f"({of_split[0].name} … {of_split[-1].name})"
        )


def _require_name(name: str) -> None:
    """Check the name of a set: it is kept in the index, printed, and a part of the default destination."""
    if not name:
        raise DataError("the set has no name; give it one with --name")
    try:
        relative_key(name)
    except ValueError as error:
        raise DataError(f"--name: {error}") from None
    if len(name) > LONGEST_NAME:
        raise DataError(f"--name {name[:20]}…: has {len(name)} characters, at most {LONGEST_NAME} are kept")


def _require_keys(items: Sequence[Item]) -> None:
    """Check that every key can be one, before anything is written.

    Raises:
        DataError: naming the file whose name is too long.
    """
    for item in items:
        try:
            relative_key(item.key)
        except ValueError as error:
            raise DataError(f"{item.where or item.key}: cannot be a sample's key: {error}; shorten its name") from None


def _require_distinct(name: str, split: str, items: Sequence[Item]) -> None:
    """Check that no two samples of a split have one key.

    Raises:
        DataError: with the number of such keys, and the files of the first few.
    """
    shared = [key for key, times in Counter(item.key for item in items).items() if times > 1]
    if not shared:
        return
    lines = []
    for key in shared[:SHOWN_KEYS]:
        files = [item.where or "drawn" for item in items if item.key == key]
        rest = f" and {len(files) - 2:,} more" if len(files) > 2 else ""
        lines.append(f"  {key}: {' and '.join(files[:2])}{rest}")
    if len(shared) > SHOWN_KEYS:
        lines.append(f"  and {len(shared) - SHOWN_KEYS:,} more")
    raise DataError(
        f"{name}: several samples of {split} have one key, and there are {len(shared):,} such keys (a key is a file's path, "
        "with _ for a dot); rename the files:\n" + "\n".join(lines)
    )


def _samples_a_shard(source: Source, largest: int) -> float:
    return min(max(1.0, SHARD_BYTES / _mean_bytes(source)), max(FEWEST_SAMPLES, largest / FEWEST_SHARDS))


def _mean_bytes(source: Source) -> float:
    """Estimate the bytes of a sample in a tar, from some that are spread over the largest split."""
    items = max(source.splits.values(), key=len)
    sizes = []
    for item in items[:: max(1, len(items) // PROBES)]:
        try:
            members = item.load()
        except UnusableSampleError:
            continue  # reported when it is packed
        sizes.append(sum(512 + -(-len(content) // 512) * 512 for content in members.values()))
    return float(np.mean(sizes)) if sizes else 1.0
