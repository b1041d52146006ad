"""The record of what a member of a population copied from others, ``lineage.json`` in its run."""

from __future__ import annotations

import json
from typing import Any

from unbraid.datasets.store import Store

LINEAGE = "lineage.json"


def read_lineage(store: Store) -> list[dict[str, Any]]:
    """What a member took over, in order: from whom, at which update, with which values."""
    if not store.exists(LINEAGE):
        return []
    lineage: list[dict[str, Any]] = json.loads(store.get(LINEAGE))
    return lineage
