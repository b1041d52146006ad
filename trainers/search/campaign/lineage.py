"""The lineage of a population's member: the donors whose weights it copied, when, and its values from then on."""

from __future__ import annotations

import json
from dataclasses import asdict

from unbraid.datasets.store import Store
from unbraid.datasets.untrusted.documents import DocumentError, parse_json
from unbraid.trainers.search.campaign.history import Descent

LINEAGE_KEY = "lineage.json"
"""In the member's run."""


def read_lineage(run: Store) -> list[Descent]:
    """All entries of a member's lineage, in order; empty where it never copied another."""
    if not run.exists(LINEAGE_KEY):
        return []
    where = f"{run.url}/{LINEAGE_KEY}"
    entries = parse_json(run.get(LINEAGE_KEY), list[Descent], where)
    if not entries:
        raise DocumentError(f"{where}: has no entry; it is written with the first")
    return entries


def append_lineage(run: Store, entry: Descent) -> None:
    """Add an entry to a member's lineage."""
    entries = [*read_lineage(run), entry]
    run.put(LINEAGE_KEY, json.dumps([asdict(entry) for entry in entries], indent=2).encode())
