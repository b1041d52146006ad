"""A command that is to run as a job, and its name."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

KINDS = ("train", "tune", "data", "eval")
"""Commands that run as jobs."""


@dataclass(frozen=True)
class JobRequest:
    """A command that is to run as a job.

    Attributes:
        base: the name of the job's first attempt; the same work has the same base.
        arguments: of ``unbraid``, complete: folders are absolute.
        metadata: stored with the job: kind, base, user, git commit, and the run or campaign.
        workers: the most workers that it trains on; 0 for commands that train none, and for campaigns, which start their own.
    """

    base: str
    arguments: tuple[str, ...]
    metadata: dict[str, str]
    workers: int = 0

    @property
    def kind(self) -> str:
        """The command's name."""
        return self.arguments[0]


def submission_id(kind: str, name: str, *identity: str) -> str:
    """Name a piece of work, ``train-NAME-1a2b3c4d``; the same arguments give the same name."""
    digest = hashlib.sha256(json.dumps([kind, name, *identity]).encode()).hexdigest()[:8]
    return f"{kind}-{re.sub(r'[^A-Za-z0-9_.-]', '-', name)}-{digest}"
