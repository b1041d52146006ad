"""Holds out a validation split of the training split, for choosing: the test split is for reporting alone."""

import hashlib
from dataclasses import replace

from unbraid.datasets.sources.source import Item, Source

TRAIN, VALIDATION = "train", "validation"


def with_validation(source: Source, share: float) -> Source:
    """Move whole groups of the training split to a validation split, by a hash of each group's name.

    Added samples never move the others. A set that has a validation split keeps it, and from a training split that is a single
    group nothing can be held out.

    Args:
        share: of the groups; 0 holds out nothing.
    """
    items = source.splits.get(TRAIN, ())
    if source.splits.get(VALIDATION) or not items or not share:
        return source
    groups = {_group(item) for item in items}
    if len(groups) < 2:
        return replace(
            source, understood=[*source.understood, f"held out nothing for {VALIDATION}: all of {TRAIN} is one group"]
        )
    places = {group: _place(group) for group in groups}
    held_out = {group for group, place in places.items() if place < share} or {min(places, key=places.__getitem__)}
    if len(held_out) == len(groups):
        held_out.discard(max(places, key=places.__getitem__))
    kept = [item for item in items if _group(item) not in held_out]
    validation = [item for item in items if _group(item) in held_out]
    what = f"{len(held_out):,} of {len(groups):,} groups" if len(groups) < len(items) else f"{len(held_out):,} samples"
    return replace(
        source,
        splits={TRAIN: kept, VALIDATION: validation} | {name: rest for name, rest in source.splits.items() if name != TRAIN},
        understood=[*source.understood, f"held out {what} of {TRAIN} for {VALIDATION} (--validation {share:g})"],
    )


def _group(item: Item) -> str:
    return item.group or item.key


def _place(group: str) -> float:
    """Return a number in [0, 1) that is decided by the name alone."""
    return int.from_bytes(hashlib.sha256(group.encode(errors="surrogateescape")).digest()[:8], "big") / 2**64
