"""The driver's side of a Ray Train run, with a ``fit`` of the tests' own in place of Ray Train's."""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.train import WorkerGroupError

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import FolderStore, Store
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.errors import RepeatedLossError, RunError, SupersededError, UnsavedError
from unbraid.trainers.launch import ray_train, supervision
from unbraid.trainers.launch.failure import read_failure, write_failure
from unbraid.trainers.launch.ray_train import cpus_per_worker, train_on_ray
from unbraid.trainers.launch.supervision import Attempt, EndConditions, FitThread, RunFollower, WorkerLossLog
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.events import read_events
from unbraid.trainers.runs.record import METRICS_KEY, write_run

LAUNCH = "this-launch"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = FolderStore(tmp_path / "run", create=True)
    write_run(store, {"starts": 1})
    return store


@pytest.fixture(autouse=True)
def ray_is_not_there(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Driver metrics and resources without a cluster; returns a list of what is done to Ray."""
    done: list[str] = []

    class Metrics:
        def __init__(self, run: str) -> None: ...
        def __enter__(self) -> Callable[[Mapping[str, float]], None]:
            return lambda line: None

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr(supervision, "RayMetrics", Metrics)
    monkeypatch.setattr(supervision, "FOLLOW_SECONDS", 0.01)
    monkeypatch.setattr(supervision, "SAME_END_SECONDS", 0.01)
    monkeypatch.setattr(ray, "shutdown", lambda: done.append("shutdown"))
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 4.0})
    monkeypatch.setattr(ray, "available_resources", lambda: {"CPU": 1.0})
    monkeypatch.setattr(ray_train, "connect", lambda address: done.append("connect"))
    monkeypatch.setattr(ray_train, "set_controller_timeouts", lambda *seconds: None)
    return done


def lines(*steps: int) -> bytes:
    return b"".join(json.dumps({"step": step}).encode() + b"\n" for step in steps)


def attempt(store: Store, fit: Callable[[], object], lease: Any = None, most_waiting: float | None = None) -> Attempt:
    follower = RunFollower(store, lambda line: None, lambda: "")
    return Attempt(fit, follower, EndConditions(store, LAUNCH, lease, most_waiting), "run", owns_ray=True)


def lease(superseded_by: str | None = None, seconds_since_stop: float = 0.0, stop_requested: bool = False) -> Any:
    return SimpleNamespace(superseded_by=superseded_by, seconds_since_stop=seconds_since_stop, stop_requested=stop_requested)


@pytest.fixture
def alive() -> Any:
    """A ``fit`` that does not end before the test does."""
    ended = threading.Event()
    yield lambda: ended.wait(60)
    ended.set()


def test_an_attempt_that_ends_well_shows_all_lines_and_has_no_error(store: Store, ray_is_not_there: list[str]) -> None:
    shown: list[int] = []
    follower = RunFollower(store, lambda line: shown.append(line["step"]), lambda: "")
    fit = lambda: store.put(METRICS_KEY, lines(1, 2, 3))  # noqa: E731
    done = Attempt(fit, follower, EndConditions(store, LAUNCH, None, None), "run", owns_ray=True)
    done.run()
    assert shown == [1, 2, 3]
    assert done.error is None
    assert done.lost_controller is None
    assert ray_is_not_there == []


def test_a_lost_worker_group_is_not_a_lost_controller(store: Store) -> None:
    def lose_workers() -> None:
        raise WorkerGroupError("a worker died", {0: RuntimeError("out of memory")})

    def lose_controller() -> None:
        raise ValueError("the controller died")

    first, second = attempt(store, lose_workers), attempt(store, lose_controller)
    first.run()
    second.run()
    assert isinstance(first.error, WorkerGroupError)
    assert first.lost_controller is None
    assert str(second.lost_controller) == "the controller died"
    with pytest.raises(RunError, match=r"run mine was lost after 2 replacements of its workers: .*\nRepeat the command"):
        first.raise_error(resolve("infogan-mnist", ["run.name=mine", "run.max_failures=2"]))
    with pytest.raises(RunError, match="run mine could not be started or kept up: the controller died"):
        second.raise_error(resolve("infogan-mnist", ["run.name=mine"]))


def test_a_fatal_error_of_a_worker_ends_the_run_and_its_workers(
    store: Store, alive: Callable[[], object], ray_is_not_there: list[str]
) -> None:
    error = RunError("train-00.tar: damaged")
    error.__cause__ = DataError("train-00.tar: damaged")
    write_failure(store, LAUNCH, error)
    with pytest.raises(RunError, match=r"train-00\.tar: damaged") as raised:
        attempt(store, alive).run()
    assert isinstance(raised.value.__cause__, DataError)
    assert ray_is_not_there == ["shutdown"]
    assert read_failure(store, "another-launch") is None


def test_a_trials_attempt_leaves_ray_to_tune(store: Store, alive: Callable[[], object], ray_is_not_there: list[str]) -> None:
    of_trial = attempt(store, alive, lease(superseded_by="job-2"))
    of_trial.owns_ray = False
    with pytest.raises(RunError):
        of_trial.run()
    assert ray_is_not_there == []


@pytest.mark.parametrize(
    ("held", "cause", "message"),
    [
        (lease(superseded_by="job-2"), SupersededError, "this run has been taken over: job-2 trains it now"),
        (lease(seconds_since_stop=1000), UnsavedError, "stopped as asked; the workers did not end within 25 s"),
        (lease(stop_requested=True), UnsavedError, "stopped as asked, before a worker had started"),
    ],
)
def test_a_lease_ends_a_run_whose_workers_are_alive(
    store: Store, alive: Callable[[], object], held: Any, cause: type[Exception], message: str
) -> None:
    with pytest.raises(RunError, match=message) as raised:
        attempt(store, alive, held).run()
    assert isinstance(raised.value.__cause__, cause)


def test_a_run_without_a_worker_ends_after_its_time_and_one_with_a_worker_does_not(
    store: Store, alive: Callable[[], object]
) -> None:
    with pytest.raises(RunError, match=r"no worker could start within run\.wait_minutes=0\.0001"):
        attempt(store, alive, most_waiting=0.006).run()

    def train() -> None:
        write_run(store, {"starts": 2})
        threading.Event().wait(0.1)

    attempt(store, train, most_waiting=0.05).run()


def test_a_person_who_asks_for_a_stop_waits_for_the_checkpoint(store: Store) -> None:
    """Only a process that will be killed has no time."""

    def train() -> None:
        write_run(store, {"starts": 2})
        threading.Event().wait(0.1)
        held.stop_requested = True
        threading.Event().wait(0.2)

    held = lease()
    attempt(store, train, held).run()


def test_a_follower_shows_the_lines_again_that_a_new_worker_group_writes_after_its_checkpoint(store: Store) -> None:
    shown: list[int] = []
    store.put(METRICS_KEY, lines(1))
    follower = RunFollower(store, lambda line: shown.append(line["step"]), lambda: "")
    for steps in ((1, 2), (1, 2, 3, 4), (1, 2), (1, 2, 3, 4, 5)):
        store.put(METRICS_KEY, lines(*steps))
        follower.update()
    assert shown == [2, 3, 4, 3, 4, 5]


def test_a_follower_says_what_is_waited_for_until_a_worker_starts(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supervision, "WAITING_SECONDS", 0.0)
    follower = RunFollower(store, lambda line: None, lambda: supervision.free_resources({"CPU": 8.0}))
    follower.update()
    assert follower.waited > 0
    assert "the workers need 8 CPUs (the cluster has 4, 1 free)" in capsys.readouterr().err
    write_run(store, {"starts": 2})
    follower.update()
    assert not follower.waiting
    assert follower.waited == 0
    assert capsys.readouterr().err == ""


def test_fit_runs_beside_the_main_thread_and_keeps_its_error() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    thread = FitThread(interrupt)
    assert thread.wait(60)
    assert isinstance(thread.error, KeyboardInterrupt)


def test_a_lost_worker_is_recorded_with_rank_and_step(store: Store) -> None:
    store.put(METRICS_KEY, lines(1, 2))
    WorkerLossLog(store.url, "launch").after_exception(None, {1: RuntimeError("it\ndied")})
    (event,) = read_events(store)
    assert (event.kind, event.message) == ("worker_lost", "rank 1, after update 2: it died")


class Controllers:
    """Controllers of which each does what a list says: an error that it ends with, or None for a good end."""

    def __init__(self, store: Store, ends: list[Exception | None], monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.has_worker = True
        self._store = store
        self._ends = ends
        monkeypatch.setattr(ray_train, "make_trainer", self.make)

    def make(
        self, worker: object, settings: object, run: object, store: Store, resources: object, name: str, launch: str
    ) -> Any:
        self.names.append(name)
        return SimpleNamespace(fit=self.fit)

    def fit(self) -> None:
        if self.has_worker:
            write_run(self._store, {"starts": 1 + len(self.names)})
        error = self._ends[len(self.names) - 1]
        if error is not None:
            raise error


def config(store: Store, *overrides: str) -> SystemConfig:
    root = Path(store.url)
    return resolve("infogan-mnist", [f"run.name={root.name}", f"run.storage={root.parent}", "run.max_failures=2", *overrides])


def test_a_lost_controller_is_replaced_and_recorded(
    store: Store, ray_is_not_there: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    controllers = Controllers(store, [ValueError("first"), ValueError("second"), None], monkeypatch)
    train_on_ray(config(store), None, lambda line: None)
    assert [name[-2:] for name in controllers.names] == ["-1", "-2", "-3"]
    assert ray_is_not_there == ["connect", "shutdown", "connect", "shutdown", "connect"]
    events = read_events(store)
    assert [(event.kind, event.message) for event in events] == [
        ("controller_lost", "first"),
        ("controller_lost", "second"),
    ]


def test_controllers_are_replaced_as_often_as_configured(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    controllers = Controllers(store, [ValueError(f"loss {number}") for number in range(9)], monkeypatch)
    with pytest.raises(RunError, match="could not be started or kept up: loss 2"):
        train_on_ray(config(store), None, lambda line: None)
    assert len(controllers.names) == 3


def test_a_controller_that_never_had_a_worker_is_not_replaced(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    controllers = Controllers(store, [ValueError("no network"), None], monkeypatch)
    controllers.has_worker = False
    with pytest.raises(RunError, match="no network"):
        train_on_ray(config(store), None, lambda line: None)
    assert len(controllers.names) == 1


def test_a_trial_does_not_replace_its_controller(
    store: Store, ray_is_not_there: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    controllers = Controllers(store, [ValueError("lost"), None], monkeypatch)
    errors: list[BaseException] = []

    def trial() -> None:
        try:
            train_on_ray(config(store), None, lambda line: None)
        except RunError as error:
            errors.append(error)

    thread = threading.Thread(target=trial)
    thread.start()
    thread.join(60)
    assert "lost" in str(errors[0])
    assert len(controllers.names) == 1
    assert "shutdown" not in ray_is_not_there


@pytest.mark.parametrize(
    ("overrides", "cpus"),
    [((), 4), (("run.workers=2",), 2), (("run.cpus=3",), 3), (("run.workers=8", "run.wait_minutes=1"), 1)],
)
def test_workers_share_the_clusters_cpus(store: Store, overrides: tuple[str, ...], cpus: int) -> None:
    assert cpus_per_worker(config(store, *overrides), {"CPU": 4.0}) == cpus


DIED = "The actor died unexpectedly before finishing this task. pid: {pid} Worker exit type: SYSTEM_ERROR"
MEMORY = (
    "Task was killed due to the node running low on memory. Memory on the node (IP: 10.0.0.7, ID: 5b1d{pid}0f3ac1d2e4) where "
    "the lease (pid={pid}, memory used={pid}.53GB) was running was 7.{pid}GB / 8.00GB; use `ray logs raylet.out -ip 10.0.0.7`"
)
"""As Ray 2.60 says it, with other numbers each time."""
LOST = "The actor is dead because its node has died. Node Id: {pid}"


def deaths(store: Store, *messages: str, checkpoints: Sequence[int] = ()) -> Exception | None:
    """The failure that a launch is ended by after workers died so, with a checkpoint of these steps before each death."""
    log = WorkerLossLog(store.url, "launch")
    for number, message in enumerate(messages):
        if number < len(checkpoints):
            Checkpoints(store, 9).write(checkpoints[number], {"updates": checkpoints[number]})
        peers = f"Connection closed by peer [10.0.0.7]:{5000 + number}"
        log.after_exception(None, {0: RuntimeError(message.format(pid=4000 + number)), 1: RuntimeError(peers)})
    return read_failure(store, "launch")


@pytest.mark.parametrize("message", [DIED, MEMORY])
def test_a_group_that_dies_of_one_cause_for_the_third_time_ends_the_launch(message: str, tmp_path: Path) -> None:
    error = deaths(FolderStore(tmp_path, create=True), message, message, message)
    assert isinstance(error, RepeatedLossError)
    assert str(error).startswith(
        "workers have died 3 times of the same cause, each time after the beginning: Connection closed"
    )
    assert message[:30] in str(error)


@pytest.mark.parametrize(
    ("messages", "checkpoints"),
    [
        ((DIED, DIED), ()),
        ((DIED, "CUDA out of memory", DIED), ()),
        ((DIED, DIED, DIED), (10, 20, 30)),
        ((DIED, LOST, DIED, DIED), ()),
        ((LOST,) * 9, ()),
    ],
)
def test_another_cause_a_new_checkpoint_or_a_lost_node_is_survived(
    tmp_path: Path, messages: tuple[str, ...], checkpoints: tuple[int, ...]
) -> None:
    assert deaths(FolderStore(tmp_path, create=True), *messages, checkpoints=checkpoints) is None
