"""A cluster of a head and two nodes, shared by the tests that leave it whole."""

from collections.abc import Iterator

import pytest

from tests.faults.scenario import Scenario, scenario


@pytest.fixture(scope="module")
def cluster(digits_url: str) -> Iterator[Scenario]:
    """One CPU on each node; whoever uses it gives its run a name of its own."""
    with scenario(digits_url, digits_url.replace("digits", "runs")) as made:
        made.up(2)
        yield made
