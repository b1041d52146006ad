"""S3 that is away, slow, or refuses writes, while a cluster trains."""

import time
from collections.abc import Callable

from tests.faults.hosts import on_hosts
from tests.faults.scenario import Scenario, every_update_once
from tests.trainers.launch.test_launch import wait_for
from unbraid.trainers.runs.checkpoint import Checkpoints

pytestmark = on_hosts()
UPDATES = 240


def test_storage_away_for_a_minute_costs_no_update_and_no_worker(
    cluster: Scenario, record_property: Callable[[str, object], None]
) -> None:
    cluster.name = "away"
    command = cluster.submit("run.workers=2", f"run.updates={UPDATES}")
    wait_for(lambda: cluster.step() > 45, "training", 500)
    steps = Checkpoints(cluster.store, 2).steps()
    assert steps
    cluster.fail_storage("away")
    time.sleep(60)
    assert set(Checkpoints(cluster.store, 2).steps()) & set(steps)  # an earlier one stays whole
    cluster.fail_storage(None)
    back = time.monotonic()
    wait_for(lambda: cluster.goes_on(time.time() - 5), "going on", 60)
    record_property("seconds_until_seen", time.monotonic() - back)
    code, text = command.finish()
    assert code == 0, text
    assert every_update_once(cluster.store, UPDATES)
    assert cluster.starts() == 1
    kinds = {event.partition(":")[0] for event in cluster.events()}
    assert {"storage_away", "storage_back", "checkpoint"} <= kinds


def test_writes_that_are_refused_are_tried_again_and_reported(cluster: Scenario) -> None:
    cluster.name = "refused"
    command = cluster.submit("run.workers=2", f"run.updates={UPDATES}")
    wait_for(lambda: cluster.step() > 45, "training", 500)
    cluster.proxy.fault = lambda number, line: "slow_down" if line.startswith(("PUT", "POST")) else None
    time.sleep(30)
    cluster.fail_storage(None)
    code, text = command.finish()
    assert code == 0, text
    assert every_update_once(cluster.store, UPDATES)
    assert cluster.starts() == 1
    told = [event for event in cluster.events() if event.startswith("checkpoint")]
    assert any("trying again" in event for event in told) and any("is complete, after" in event for event in told), told


def test_slow_storage_slows_nothing_but_itself(cluster: Scenario) -> None:
    """Every request takes half a second more; samples are read ahead, and checkpoints written beside."""
    cluster.name = "slow"
    cluster.proxy.stall = 0.5
    cluster.fail_storage("late")
    code, text = cluster.submit("run.workers=2", f"run.updates={UPDATES}").finish()
    cluster.fail_storage(None)
    assert code == 0, text
    assert every_update_once(cluster.store, UPDATES)
    assert cluster.starts() == 1
