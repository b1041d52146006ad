"""A few minutes of the soak; benchmarks/checkpoint.py has it for half an hour."""

import os

from tests.faults.hosts import on_hosts
from tests.faults.scenario import scenario
from tests.faults.soak import Soak, check, left_lying

MINUTES = float(os.environ.get("UNBRAID_SOAK_MINUTES", "4"))
pytestmark = on_hosts(int(60 * MINUTES) + 900)


def test_a_run_survives_a_random_fault_a_minute(digits_url: str, bucket_url: str) -> None:
    updates = int(100 * MINUTES)
    with scenario(digits_url, bucket_url) as s:
        s.up(workers=2)
        soak = Soak(
            s, int(os.environ.get("UNBRAID_SOAK_SEED", "0")), ("run.workers=2", "run.min_workers=1", f"run.updates={updates}")
        )
        soak.run(60 * MINUTES)
        check(soak, updates)
        assert not left_lying(s.scratch)
