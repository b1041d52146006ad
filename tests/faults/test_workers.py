"""A worker that dies, hangs, or eats its node's memory, on hosts of their own."""

from collections.abc import Callable

import psutil

from tests.faults.hosts import Host, on_hosts
from tests.faults.scenario import Scenario, every_update_once, kill_trainers, stop_trainers
from tests.faults.seen import check_samples
from unbraid.trainers.runs.record import read_config

pytestmark = on_hosts()
UPDATES = 120
Property = Callable[[str, object], None]


def test_a_killed_worker_is_replaced_and_every_sample_is_seen_once(cluster: Scenario, record_property: Property) -> None:
    record_property("seconds_until_it_goes_on", cluster.recover("killed", UPDATES, kill_trainers))
    lost = [event for event in cluster.events() if event.startswith("worker_lost: rank ")]
    assert any(cluster.workers[1].address in event for event in lost), lost
    check_samples(cluster.trace, read_config(cluster.store), cluster.worlds())


def test_a_hung_worker_is_noticed_named_and_replaced(cluster: Scenario, record_property: Property) -> None:
    record_property("seconds_until_it_goes_on", cluster.recover("hung", UPDATES, stop_trainers))
    lost = [event for event in cluster.events() if event.startswith("worker_lost: rank ")]
    assert any("hanging" in event and cluster.workers[1].address in event and "after update" in event for event in lost), lost
    assert not cluster.workers[1].trainers()


def test_a_worker_that_eats_its_nodes_memory_is_ended_and_that_is_said(cluster: Scenario) -> None:
    greedy = cluster.workers[1]
    memory = psutil.virtual_memory()
    limit = 1 - (memory.available - (6 << 30)) / memory.total  # the machine's, since hosts share its memory
    cluster.bring_back(greedy, {"RAY_memory_usage_threshold": f"{limit:.3f}", "RAY_memory_monitor_refresh_ms": "100"})

    def hog(host: Host) -> None:
        (victim,) = host.trainers()
        (cluster.trace / f"hog-{victim.pid}").touch()

    cluster.recover("hungry", UPDATES, hog)
    status = cluster.jobs("status").stdout
    assert any("memory" in line and "worker_lost: rank " in line for line in status.splitlines()), status


def test_a_full_disk_under_a_workers_scratch_space_is_the_runs_cause(cluster: Scenario) -> None:
    """A checkpoint is written to a file on the node before it goes to S3; there the disk is full, and stays so."""
    cluster.name = "full"
    scratch = cluster.small_disk(megabytes=1)
    for host in cluster.workers:
        cluster.bring_back(host, {"TMPDIR": str(scratch)})
    command = cluster.submit("run.workers=2", f"run.updates={UPDATES}", "run.storage_retry_minutes=0.1")
    code, text = command.finish()
    assert code != 0
    assert "No space left on device" in text
    status = cluster.jobs("status").stdout
    assert "cause: " in status and "No space left on device" in status, status
    for host in cluster.workers:
        cluster.bring_back(host)
    code, text = cluster.submit("run.workers=2", f"run.updates={UPDATES}").finish()
    assert code == 0, text
    assert every_update_once(cluster.store, UPDATES)
