"""Every file that is read, with any content: an answer or one clear error, within bounds of time and memory."""

import io
import json
import tarfile
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.security.test_hostile_runs import run_in
from tests.security.test_hostile_sets import packed
from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import read_index
from unbraid.datasets.shards.inspect import inspect_set
from unbraid.datasets.shards.table import make_table
from unbraid.datasets.shards.tar import parse_sample
from unbraid.datasets.shards.walk import TarError, walk
from unbraid.datasets.store import FolderStore
from unbraid.datasets.store.lease import Lease, newest
from unbraid.trainers.errors import ConfigError, RunError, TrainingError
from unbraid.trainers.launch.failure import read_failure, write_failure
from unbraid.trainers.runs.checkpoint import Checkpoints, complete_steps, read_manifest
from unbraid.trainers.runs.events import read_events
from unbraid.trainers.runs.record import read_config, read_metrics, read_run
from unbraid.trainers.runs.summary import summarise
from unbraid.trainers.search.campaign.history import Descent
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.campaign.lineage import append_lineage, read_lineage

CLEAR = (DataError, TrainingError)
MOST_SECONDS, MOST_MB = 5.0, 256.0
LETTERS = "aZ0_ /.\\\"'{}[]:,-\n\t\x00\x1b\x7f\x85\u00e9\u202e\u2028\U0001f600"
"""Not all of Unicode: hypothesis takes a minute to make its table of that."""
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(LETTERS, max_size=20)
    | st.just("../../etc/passwd")
    | st.just("\x1b[2J"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(LETTERS, max_size=8), inner, max_size=4),
    max_leaves=12,
)


def damaged(whole: bytes, draw: st.DrawFn) -> bytes:
    """The content cut off, zeroed in part, or with other bytes in it."""
    kind = draw(st.sampled_from(["cut", "zeroed", "replaced"]))
    at = draw(st.integers(0, len(whole)))
    if kind == "cut":
        return whole[:at]
    length = draw(st.integers(1, 64))
    put = bytes(length) if kind == "zeroed" else draw(st.binary(min_size=1, max_size=length))
    return whole[:at] + put + whole[at + len(put) :]


def other_shape(whole: bytes, draw: st.DrawFn, is_yaml: bool) -> bytes:
    """The document with one value in it exchanged for any other."""
    first = whole.splitlines()[0] if whole.count(b"\n") and whole[:1] == b"{" and not whole.startswith(b"{\n") else whole
    content: Any = yaml.safe_load(whole) if is_yaml else json.loads(first)
    place: Any = content
    while True:
        keys: list[Any] = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
            place = place[key]
            continue
        place[key] = draw(json_values)
        break
    return (yaml.safe_dump(content, allow_unicode=True) if is_yaml else json.dumps(content) + "\n").encode("utf-8", "replace")


@st.composite
def contents(draw: st.DrawFn, whole: bytes, kind: str) -> bytes:
    """Any content in place of a whole file."""
    how = draw(st.sampled_from(["damaged", "bytes", "json"] + (["shape", "shape"] if kind in ("json", "yaml") else [])))
    if how == "damaged":
        return damaged(whole, draw)
    if how == "shape":
        return other_shape(whole, draw, kind == "yaml")
    return draw(st.binary(max_size=300)) if how == "bytes" else json.dumps(draw(json_values)).encode("utf-8", "replace")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set, a run with a checkpoint, an event, metrics, a lease and a failure, and a campaign with one trial."""
    root = tmp_path_factory.mktemp("fuzz")
    packed(root / "set", 7)
    store = FolderStore(run_in(root, "run"))
    Checkpoints(store, keep=1).write(4, {"networks": {}})
    store.put("metrics.jsonl", b'{"step": 2, "time": 1.5, "loss/g": 0.5, "speed/updates_per_second": 3.0}\n')
    store.put("events/20260101T000000.000-start.json", json.dumps({"time": 1, "kind": "start", "message": "m"}).encode())
    with Lease.acquire(store, "busy"):
        pass
    try:
        raise RunError("the data are gone") from ConfigError("x")
    except RunError as error:
        write_failure(store, "launch", error)
    append_lineage(store, Descent(3, "0000-s0", {"loss.info_categorical": 0.5}))
    campaign = FolderStore(root / "campaign", create=True)
    text = (Path(__file__).parents[2] / "trainers/campaigns/infogan-mnist-weights-small.yaml").read_bytes()
    campaign.put("campaign.yaml", text)
    campaign.put("campaign.json", json.dumps({"status": "running", "seconds": 3.0, "started": 1.0}).encode())
    configuration = {"number": 0, "params": {"loss.info_categorical": 0.5}, "centrality": None, "given_up": False}
    campaign.put("configurations/0000.json", json.dumps(configuration).encode())
    trial = {"number": 0, "seed": 0, "state": "finished", "cause": "", "updates": 4, "rungs": [[4, {"m": 0.5}]], "seconds": 1.0}
    campaign.put("trials/0000-s0/trial.json", json.dumps(trial).encode())
    return root


def journal(root: Path) -> object:
    opened = Journal(FolderStore(root / "campaign"))
    return opened.status(), opened.read()


def of_set(read: Callable[[FolderStore], object]) -> Callable[[Path], object]:
    return lambda root: read(FolderStore(root / "set"))


def of_run(read: Callable[[FolderStore], object]) -> Callable[[Path], object]:
    return lambda root: read(FolderStore(root / "run"))


def checked(store: FolderStore) -> object:
    return inspect_set(store.url, store.root.parent / "sheet.png", True, lambda line: None)


CHECKPOINT = "run/checkpoints/step-00000004"
READERS: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "index": ("set/index.json", "json", of_set(read_index)),
    "table": ("set/train-000000.npy", "binary", of_set(checked)),
    "shard": ("set/train-000000.tar", "binary", of_set(checked)),
    "record": ("run/run.json", "json", of_run(lambda store: (read_run(store), summarise(store, "run")))),
    "config": ("run/config.yaml", "yaml", of_run(read_config)),
    "metrics": ("run/metrics.jsonl", "json", of_run(read_metrics)),
    "lease": ("run/lease/00000001.json", "json", of_run(newest)),
    "manifest": (f"{CHECKPOINT}/checkpoint.json", "json", of_run(lambda store: read_manifest(store, complete_steps(store)[0]))),
    "state": (f"{CHECKPOINT}/state.pt", "binary", of_run(lambda store: Checkpoints(store, 1).load())),
    "event": ("run/events/20260101T000000.000-start.json", "json", of_run(read_events)),
    "failure": ("run/failure.json", "json", of_run(lambda store: read_failure(store, "launch"))),
    "lineage": ("run/lineage.json", "json", of_run(read_lineage)),
    "campaign": ("campaign/campaign.yaml", "yaml", lambda root: Journal(FolderStore(root / "campaign")).campaign()),
    "campaign's status": ("campaign/campaign.json", "json", journal),
    "configuration": ("campaign/configurations/0000.json", "json", journal),
    "trial": ("campaign/trials/0000-s0/trial.json", "json", journal),
}


@pytest.mark.parametrize("name", READERS)
def test_any_content_gives_an_answer_or_one_clear_error(
    name: str, folder: Path, record_property: Callable[[str, object], None]
) -> None:
    file, kind, read = READERS[name]
    path = folder / file
    whole = path.read_bytes()
    seconds: list[float] = []

    @settings(
        max_examples=12 if name == "campaign" else 60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(contents(whole, kind))
    def answers(content: bytes) -> None:
        path.write_bytes(content)
        started = time.monotonic()
        try:
            read(folder)
        except CLEAR as error:
            assert str(error)
            assert "\x1b" not in str(error)
        seconds.append(time.monotonic() - started)
        assert seconds[-1] < MOST_SECONDS

    read(folder)  # the whole file is answered; what is imported for that is not traced
    tracemalloc.start()
    try:
        answers()
        peak = tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
        path.write_bytes(whole)
    for recorded, value in (("megabytes", peak), ("seconds", max(seconds)), ("examples", len(seconds))):
        record_property(recorded, value)
    assert peak < MOST_MB


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_any_bytes_are_a_tar_or_one_clear_error(data: st.DataObject) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("a.png", "a.cls", "b.png"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    content = memoryview(data.draw(contents(buffer.getvalue(), "binary")))
    with suppress(TarError):
        make_table(walk([content]), {})
    with suppress(ValueError):
        parse_sample(content)
