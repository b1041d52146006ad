"""What rules look at, and how they are kept. Each rule yields what breaks it; mutations show that it does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tests.k8s.pods import PodOf, pods_of
from tests.k8s.rendering import Document

LETTERS = "KMGTim"
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "m": 1e-3, "": 1.0}


@dataclass(frozen=True)
class Scene:
    """What is applied, and what is there with it.

    Attributes:
        documents: that are checked.
        there: applied before, a job's overlay.
    """

    documents: list[Document]
    there: list[Document]

    @property
    def all(self) -> list[Document]:
        """Both."""
        return [*self.there, *self.documents]

    def names(self, kind: str) -> set[str]:
        """Of everything of a kind."""
        return {d["metadata"]["name"] for d in self.all if d["kind"] == kind}

    def pods(self) -> Iterator[PodOf]:
        """Of what is checked."""
        return pods_of(self.documents)


Rule = Callable[[Scene], Iterable[str]]
RULES: list[Rule] = []


def rule(function: Rule) -> Rule:
    """Add a rule to those that are checked."""
    RULES.append(function)
    return function


def quantity(text: object) -> float:
    """A number of Kubernetes: ``500m``, ``2Gi``, ``"4"``."""
    number = str(text).rstrip(LETTERS)
    return float(number) * UNITS[str(text).removeprefix(number)]


def matches(selector: Document, labels: dict[str, str]) -> bool:
    """Whether a selector by labels selects."""
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()
