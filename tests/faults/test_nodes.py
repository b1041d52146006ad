"""A node is cut off and comes back, on hosts of their own: the run goes on with fewer workers, and grows again."""

from pathlib import Path

import pytest
import torch

from tests.faults.hosts import missing
from tests.faults.scenario import every_update_once, scenario, weights
from tests.trainers.test_launch import finish, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
]
UPDATES = 300


def test_a_run_goes_on_without_a_node_that_is_cut_off_and_grows_when_it_is_back(
    digits_url: str, bucket_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every update once in the record, and weights as an undisturbed run of two workers has them, but for rounding."""
    folder: Path = tmp_path_factory.mktemp("hosts")
    with scenario(folder, digits_url, bucket_url) as s:
        s.up(workers=2)
        command = s.submit("run.workers=2", "run.min_workers=1", f"run.updates={UPDATES}")
        wait_for(lambda: s.step() > 25, "training with two", 180)
        assert s.world() == 2
        s.workers[1].cut()
        wait_for(lambda: s.starts() > 1 and s.world() == 1, "going on with one", 180)
        starts = s.starts()
        s.workers[1].kill()
        s.workers[1].heal()
        assert s.head is not None
        s.net.worker(s.head, host=s.workers[1])
        wait_for(lambda: s.starts() > starts and s.world() == 2, "growing to two", 240)
        code, text = finish(command)
        assert code == 0, text
        assert every_update_once(s.store, UPDATES)
        assert any(event.startswith("worker_lost: rank") for event in s.events())
        disturbed = weights(s.store)
        s.name = "undisturbed"
        code, text = finish(s.submit("run.workers=2", f"run.updates={UPDATES}"))
        assert code == 0, text
        undisturbed = weights(s.store)
    apart = [(disturbed[k] - undisturbed[k]).norm() / undisturbed[k].norm().clamp_min(1e-6) for k in undisturbed]
    assert torch.stack(apart).median() < 0.05
