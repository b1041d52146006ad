"""The rules for rendered objects: what a rule is given, where rules are registered, and how labels and quantities compare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tests.k8s.pods import PodTemplate, pods_of
from tests.k8s.rendering import Document

UNIT_LETTERS = "KMGTim"
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "m": 1e-3, "": 1.0}


@dataclass(frozen=True)
class Objects:
    """The objects that a rule checks, and those that exist already.

    Attributes:
        applied: the objects that are checked.
        existing: the objects that were applied before; of a job, its overlay's.
    """

    applied: list[Document]
    existing: list[Document]

    @property
    def all(self) -> list[Document]:
        """All objects."""
        return [*self.existing, *self.applied]

    def names(self, kind: str) -> set[str]:
        """The names of all objects of a kind."""
        return {d["metadata"]["name"] for d in self.all if d["kind"] == kind}

    def pods(self) -> Iterator[PodTemplate]:
        """The pods of the objects that are checked."""
        return pods_of(self.applied)


Rule = Callable[[Objects], Iterable[str]]
"""Yields a message for each violation."""
RULES: list[Rule] = []


def rule(function: Rule) -> Rule:
    """Register a rule."""
    RULES.append(function)
    return function


def quantity(text: object) -> float:
    """Convert a quantity of Kubernetes, such as ``500m``, ``2Gi`` or ``"4"``, to a number."""
    number = str(text).rstrip(UNIT_LETTERS)
    return float(number) * UNITS[str(text).removeprefix(number)]


def matches(selector: Document, labels: dict[str, str]) -> bool:
    """Whether a label selector selects a pod with these labels."""
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()
