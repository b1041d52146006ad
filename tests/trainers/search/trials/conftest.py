"""Ray, for campaigns on it."""

from collections.abc import Iterator

import pytest
import ray

from unbraid.cluster.local.services import LocalServices


@pytest.fixture(scope="module")
def address(services: LocalServices) -> Iterator[str]:
    found = services.ray_address()
    assert found is not None
    yield found
    ray.shutdown()
