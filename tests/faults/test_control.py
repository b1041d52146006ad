"""What runs a cluster is lost: a job's driver, the dashboard while following, Ray's control store."""

import shutil
import time
from collections.abc import Iterator

import pytest

from tests.faults.hosts import on_hosts, wait_until_answers
from tests.faults.scenario import Scenario, every_update_once, scenario
from tests.trainers.launch.test_launch import wait_for

pytestmark = [
    *on_hosts(),
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server: Debian's package of that name"),
]
UPDATES = 300


@pytest.fixture(scope="module")
def kept(digits_url: str) -> Iterator[Scenario]:
    """A cluster whose control store keeps what it knows in Redis."""
    with scenario(digits_url, digits_url.replace("digits", "kept")) as s:
        redis = s.net.host()
        command = ["redis-server", "--bind", redis.address, "--protected-mode", "no", "--save", ""]
        redis.start(command, {}, s.net.folder / "redis.log")
        wait_until_answers(redis.address, 6379)
        s.up(2, head_environment={"RAY_REDIS_ADDRESS": f"{redis.address}:6379"})
        yield s


def test_a_job_whose_driver_is_killed_goes_on_when_submitted_again(kept: Scenario) -> None:
    kept.name = "orphan"
    arguments = ("run.workers=2", f"run.updates={UPDATES}")
    command = kept.submit(*arguments)
    wait_for(lambda: kept.step() > 25, "training", 500)
    assert kept.head is not None
    (driver,) = kept.head.drivers()
    driver.kill()
    code, text = command.finish()
    assert code != 0
    assert "unbraid jobs retry" in text
    code, text = kept.submit(*arguments).finish()
    assert code == 0, text
    assert every_update_once(kept.store, UPDATES)


def test_a_dashboard_that_is_restarted_is_followed_on(kept: Scenario) -> None:
    kept.name = "followed"
    command = kept.submit("run.workers=2", f"run.updates={UPDATES}")
    wait_for(lambda: kept.step() > 25, "training", 500)
    assert kept.head is not None
    before = kept.step()
    kept.head.restart("dashboard/dashboard.py", kept.net.folder / "dashboard.log", pause=5)
    code, text = command.finish()
    assert code == 0, text
    assert kept.starts() == 1
    shown = [line for line in text.splitlines() if line.startswith("update ")]
    updates = [int(line.split()[1].partition("/")[0]) for line in shown]
    assert updates[0] < before < updates[-1] == UPDATES
    assert shown == [line for line in kept.jobs("logs").stdout.splitlines() if line.startswith("update ")]


def test_a_control_store_that_is_restarted_does_not_stop_training(kept: Scenario) -> None:
    kept.name = "unmoved"
    command = kept.submit("run.workers=2", f"run.updates={UPDATES}")
    wait_for(lambda: kept.step() > 25, "training", 500)
    assert kept.head is not None
    before = time.time()
    kept.head.restart("gcs/gcs_server", kept.net.folder / "gcs.log", pause=3)
    code, text = command.finish()
    assert code == 0, text
    assert kept.goes_on(before + 5)
    assert kept.starts() == 1
    assert every_update_once(kept.store, UPDATES)
