"""The lineage of a population's member: the donors whose weights it copied, when, and its values from then on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pydantic import JsonValue

from unbraid.datasets.store import Store
from unbraid.datasets.untrusted.documents import Count, DocumentError, Name, parse_json

LINEAGE_KEY = "lineage.json"
"""In the member's run."""


@dataclass(frozen=True)
class Descent:
    """One entry of a lineage.

    Attributes:
        updates: of the donor's state that was copied.
        donor: name of the trial that it was copied from.
        params: the member's values from then on.
    """

    updates: Count
    donor: Name
    params: Mapping[Name, JsonValue]


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
