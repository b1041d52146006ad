"""Counts what was found by kind, with an example of each, for the report on raw files."""

from collections.abc import Iterable, Iterator, Mapping


class Tally:
    """Counts things by kind, and keeps the first example of each kind.

    Kinds are plural, such as ``files of kind .txt``, so that a line reads ``3 files of kind .txt, such as notes.txt``.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, str] = {}

    def add(self, kind: str, example: str, count: int = 1) -> None:
        """Count something of a kind."""
        self._counts[kind] = self._counts.get(kind, 0) + count
        self._examples.setdefault(kind, example)

    def add_all(self, kind: str, examples: Iterable[str]) -> None:
        """Count several things of a kind."""
        for example in examples:
            self.add(kind, example)

    def update(self, other: "Tally") -> None:
        """Add all that another tally has counted."""
        for kind, count in other.counts.items():
            self.add(kind, other.example(kind), count)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many there are of each kind, the most frequent kind first."""
        return dict(sorted(self._counts.items(), key=lambda item: -item[1]))

    @property
    def total(self) -> int:
        """How many there are of all kinds."""
        return sum(self._counts.values())

    def example(self, kind: str) -> str:
        """Return the first example of a kind."""
        return self._examples[kind]

    def __bool__(self) -> bool:
        return bool(self._counts)

    def __iter__(self) -> Iterator[str]:
        """Yield one line for each kind, the most frequent kind first."""
        for kind, count in self.counts.items():
            yield f"{count:,} {kind}, such as {self._examples[kind]}"
