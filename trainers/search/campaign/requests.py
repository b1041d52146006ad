"""What persons ask of a campaign while it may be running: entries in its storage, which its driver reads and answers.

::

    STORAGE/NAME/requests/<nanoseconds>-<random>.json   what is asked for, and not yet done
                 changes/<nanoseconds>-<random>.json    what was done, or why it was refused
"""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import JsonValue

from unbraid.datasets.store import Store, discard
from unbraid.datasets.untrusted.documents import DocumentError, Name, Seconds, Text, parse_json
from unbraid.trainers.runs.aside import set_aside

REQUESTS = "requests/"
CHANGES = "changes/"
_ENTRY = re.compile(r"(?P<name>[0-9]{19,20}-[0-9a-f]{8})\.json")

Kind = Literal["change", "enqueue", "stop", "repeat", "pin", "unpin"]


@dataclass(frozen=True)
class Request:
    """One thing that a person asks for.

    Attributes:
        kind: ``change`` the space or the budget; ``enqueue`` points of the space; ``stop``, ``repeat``, ``pin`` or ``unpin``
            trials.
        words: of a change, see :func:`~unbraid.trainers.search.campaign.changes.changed`.
        points: to enqueue.
        targets: trials such as ``0007-s1``, or configurations such as ``0007``.
        by: who asks.
        at: seconds since the epoch.
    """

    kind: Kind
    words: list[Text] = field(default_factory=list)
    points: list[dict[Name, JsonValue]] = field(default_factory=list)
    targets: list[Name] = field(default_factory=list)
    by: Text = ""
    at: Seconds = 0.0

    @property
    def text(self) -> str:
        """The request in a line, such as ``stop 0007-s1``."""
        points = (", ".join(f"{path}={value}" for path, value in point.items()) for point in self.points)
        return " ".join((self.kind, *self.words, *self.targets, *points))


@dataclass(frozen=True)
class Answer:
    """A request with what was done.

    Attributes:
        outcome: in words.
        refused: whether nothing was done.
        updates: of all trials together when it was done.
    """

    request: Request
    outcome: Text
    refused: bool = False
    updates: int = 0


class Inbox:
    """The requests of a campaign, and their answers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, request: Request) -> str:
        """Leave a request for whoever runs the campaign; returns its name."""
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
        self._store.put(f"{REQUESTS}{name}.json", _json(asdict(request)))
        return name

    def waiting(self) -> dict[str, Request]:
        """The requests without an answer, oldest first, by name; damaged ones are set aside."""
        found: dict[str, Request] = {}
        for key in self._store.keys(REQUESTS):
            name = _ENTRY.fullmatch(key.removeprefix(REQUESTS))
            if name is None:
                continue
            try:
                found[name["name"]] = parse_json(self._store.get(key), Request, f"{self._store.url}/{key}")
            except DocumentError:
                set_aside(self._store, [key], key.replace("/", "-"))
        return dict(sorted(found.items()))

    def answer(self, name: str, answer: Answer) -> None:
        """Record what was done for a request."""
        self._store.put(f"{CHANGES}{name}.json", _json(asdict(answer)))
        discard(self._store, [f"{REQUESTS}{name}.json"])

    def answer_to(self, name: str) -> Answer | None:
        """The answer to a request; None before there is one."""
        key = f"{CHANGES}{name}.json"
        return parse_json(self._store.get(key), Answer, f"{self._store.url}/{key}") if self._store.exists(key) else None

    def answers(self) -> list[Answer]:
        """All answers, oldest first; damaged ones are passed over."""
        found = []
        for key in sorted(self._store.keys(CHANGES)):
            name = _ENTRY.fullmatch(key.removeprefix(CHANGES))
            try:
                answer = self.answer_to(name["name"]) if name else None
            except DocumentError:
                continue
            found += [answer] if answer is not None else []
        return found


def asked_here(kind: Kind, **what: Any) -> Request:
    """A request by the user of this process, now."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # the user of a container need not have a name
        user = f"user {os.getuid()}"
    return Request(kind, **what, by=f"{user} on {socket.gethostname()}", at=round(time.time(), 3))


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=2).encode()
