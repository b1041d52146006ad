"""A storage whose writes fail on request, for the tests of what a run writes to it."""

import os
from collections.abc import Iterator

import pytest

from tests.datasets.store.fault_proxy import Fault, fault_proxy
from unbraid.trainers.runs import checkpoint_writer


class Trouble:
    """The fault that writes to S3 meet from now on; None at first."""

    fault: Fault | None = None

    def __call__(self, number: int, line: str) -> Fault | None:
        return self.fault if line.startswith("PUT") else None


@pytest.fixture
def trouble(services: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trouble]:
    """S3 behind a proxy that makes writes fail, and short pauses between the attempts of a checkpoint writer."""
    monkeypatch.setattr(checkpoint_writer, "RETRY_SECONDS", 0.1)
    trouble = Trouble()
    with fault_proxy(os.environ["AWS_ENDPOINT_URL"], trouble) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield trouble
