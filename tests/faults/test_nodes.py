"""A node is cut off and comes back, is taken away with notice, or the whole cluster is lost, on hosts of their own."""

import time
from collections.abc import Callable

from torch import Tensor

from tests.faults.hosts import on_hosts
from tests.faults.scenario import Scenario, every_update_once, longest_pause, scenario, weights
from tests.faults.seen import check_samples
from tests.trainers.launch.test_launch import wait_for
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.record import read_config

pytestmark = on_hosts(1200)
UPDATES = 240


def test_a_run_goes_on_without_a_node_that_is_cut_off_and_grows_when_it_is_back(
    digits_url: str, bucket_url: str, record_property: Callable[[str, object], None]
) -> None:
    """Every update once, and the weights are those of an undisturbed run but for rounding.

    How far rounding carries a GAN in so many updates differs between CPUs, so the measure is a control: the same start and
    the same latents with the samples in another order.
    """
    with scenario(digits_url, bucket_url) as s:
        s.up(workers=2)
        command = s.submit("run.workers=2", "run.min_workers=1", f"run.updates={UPDATES}")
        wait_for(lambda: s.step() > 25, "training with two", 180)
        assert s.world() == 2
        s.hold(UPDATES - 30)  # between two checkpoints: two workers make the updates before it again
        s.workers[1].cut()
        wait_for(lambda: s.starts() > 1 and s.world() == 1, "going on with one", 180)
        starts = s.starts()
        s.bring_back(s.workers[1])
        wait_for(lambda: s.starts() > starts and s.world() == 2, "growing to two", 240)
        s.release()
        code, text = command.finish()
        assert code == 0, text
        assert every_update_once(s.store, UPDATES)
        assert any(event.startswith("worker_lost: rank") for event in s.events())
        check_samples(s.trace, read_config(s.store), s.worlds())
        record_property("longest_pause_seconds", longest_pause(s.store))
        disturbed = weights(s.store)
        undisturbed = weights_after(s, "undisturbed")
        control = weights_after(s, "control", "data.window=20")
    carried, control_apart = apart(disturbed, undisturbed), apart(control, undisturbed)
    record_property("apart", carried)
    record_property("control_apart", control_apart)
    assert carried < control_apart / 2


def test_a_node_that_is_taken_away_with_notice_leaves_a_checkpoint(digits_url: str, bucket_url: str) -> None:
    with scenario(digits_url, bucket_url) as s:
        s.up(workers=2)
        command = s.submit("run.workers=2", "run.min_workers=1", f"run.updates={UPDATES}", "run.checkpoint_every=100000")
        wait_for(lambda: s.step() > 25, "training with two", 180)
        s.drain(s.workers[1], 30)
        goes = time.monotonic() + 30
        wait_for(lambda: bool(Checkpoints(s.store, 9).steps()), "the checkpoint", 20)
        time.sleep(goes - time.monotonic())
        kept, starts, reached = Checkpoints(s.store, 9).steps()[-1], s.starts(), s.step()
        s.workers[1].kill()
        wait_for(lambda: s.starts() > starts or s.step() >= UPDATES, "going on with one", 500)
        code, text = command.finish()
        assert code == 0, text
        assert any(event.startswith("preempted: ") for event in s.events())
        assert every_update_once(s.store, UPDATES)
        assert reached == kept  # the last checkpoint is of the last update before the end: nothing is trained again
        check_samples(s.trace, read_config(s.store), s.worlds())


def test_a_cluster_that_is_lost_with_its_head_is_gone_on_from_on_another(digits_url: str, bucket_url: str) -> None:
    with scenario(digits_url, bucket_url) as s:
        s.up(workers=2)
        command = s.submit("run.workers=2", f"run.updates={UPDATES}")
        wait_for(lambda: s.step() > 25, "training", 180)
        assert s.head is not None
        for host in (s.head, *s.workers):
            host.kill()
        s.up(workers=2)
        code, text = s.submit("run.workers=2", f"run.updates={UPDATES}").finish()
        command.process.kill()
        assert code == 0, text
        assert s.starts() == 2
        assert every_update_once(s.store, UPDATES)
        again = check_samples(s.trace, read_config(s.store), s.worlds()).again
        assert again <= 2 * (20 + 1)  # both workers' shares of an interval between checkpoints, and of the batch in hand


def weights_after(s: Scenario, name: str, *overrides: str) -> dict[str, Tensor]:
    """Of a run of two workers that nothing disturbs."""
    s.name = name
    code, text = s.submit("run.workers=2", f"run.updates={UPDATES}", *overrides).finish()
    assert code == 0, text
    return weights(s.store)


def apart(some: dict[str, Tensor], others: dict[str, Tensor]) -> float:
    """The median, over tensors, of how far two runs' weights lie apart as a share of their size."""
    shares = [
        float((some[name] - value).norm() / value.norm().clamp_min(1e-6))
        for name, value in others.items()
        if value.is_floating_point()
    ]
    return sorted(shares)[len(shares) // 2]
