"""Real services and real digits for the tests: SeaweedFS and Ray on loopback, scikit-learn's handwritten digits at 28x28."""

import io
import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image
from sklearn.datasets import load_digits

from tests.trainers.systems.infogan.test_system import TINY
from tests.trainers.systems.pairs import cdd_config, pack_coloured_digits
from tests.trainers.systems.people import pack_people, run, stage_config
from tests.unmeasured import without_measures
from unbraid.cluster.local import processes
from unbraid.cluster.local.services import FOLDER_VARIABLE, LocalServices
from unbraid.datasets.shards.index import Index, write_index
from unbraid.datasets.shards.tar import write_shard
from unbraid.datasets.sources.source import image_field, label_field
from unbraid.datasets.store import Store, open_store
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.launch.ray_internals import ON_LOOPBACK

os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # this environment's programs first
# Ray looks when it is imported, which some tests do before the services are up.
os.environ |= {"RAY_AUTH_MODE": "token", **ON_LOOPBACK}
if "PYTEST_XDIST_WORKER" in os.environ:  # several processes share the cores, and so do all that they start
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
settings.register_profile("unbraid", deadline=None)  # how long an example takes is the machine's matter
settings.load_profile("unbraid")
TRAIN, TEST, SHARD = 1600, 150, 50
FIELDS = {"image": image_field((1, 28, 28)), "label": label_field()}


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServices]:
    """An S3 server and a Ray head of this test session's own, named by the environment as for any user."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("AWS_") or name == "RAY_ADDRESS"]:
        del os.environ[name]
    local = LocalServices(tmp_path_factory.mktemp("local"))
    local.up(report=lambda text: None)
    os.environ.update(local.environment())
    os.environ[FOLDER_VARIABLE] = str(local.folder)
    yield local
    processes.STOP_SECONDS = 4.0  # what these leave behind, nobody reads
    local.down(report=lambda text: None)
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def unmeasured() -> Iterator[None]:
    """For runs whose measures are no matter: taking them is most of what a run of a few updates costs."""
    with without_measures():
        yield


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For networks too small to share: two threads on two busy cores are slower than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def bucket_url(services: LocalServices) -> str:
    """An empty prefix on the real S3 server."""
    return f"s3://unbraid/{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def digits_url(services: LocalServices) -> str:
    """1,600 real handwritten digits for training and 150 for testing, packed on the real S3 server."""
    url = f"s3://unbraid/digits-{uuid.uuid4().hex}"
    pack_digits(open_store(url))
    return url


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same set in a folder."""
    folder = tmp_path_factory.mktemp("digits")
    pack_digits(open_store(str(folder)))
    return folder


@pytest.fixture(scope="session")
def people_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Twelve made people, four images of each, in a folder."""
    return pack_people(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="session")
def trained_dpig(people_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Storage with runs ``appearance``, ``pose`` and ``mapping``: all stages of DPIG after a few updates."""
    storage = tmp_path_factory.mktemp("runs")
    for stage in ("appearance", "pose", "mapping"):
        run(stage_config(stage, people_url, storage, "run.updates=6"))
    return storage


@pytest.fixture(scope="session")
def trained_infogan(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Storage with a run ``info`` of InfoGAN, with a code of ten classes and a continuous one, after a few updates."""
    storage = tmp_path_factory.mktemp("infogan-runs")
    where = [f"run.storage={storage}", f"data.url={digits_folder}", "run.updates=6", "run.log_every=1"]
    run(resolve("infogan-mnist-reference", [*TINY, "run.name=info", *where]))
    return storage


@pytest.fixture(scope="session")
def pairs_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """400 pairs of coloured digits and as coloured backgrounds for training, 120 for testing, in a folder."""
    return pack_coloured_digits(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="session")
def trained_cdd(pairs_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Storage with a run ``cdd`` after a few updates."""
    storage = tmp_path_factory.mktemp("cdd-runs")
    run(cdd_config(pairs_url, storage, "run.updates=6"))
    return storage


def pack_digits(store: Store) -> Index:
    """Pack scikit-learn's digits, enlarged to 28x28, as shards of 50."""
    source = load_digits()
    samples = []
    for i, (pixels, label) in enumerate(zip(source.images, source.target, strict=True)):
        small = Image.fromarray((pixels * 15.9375).astype(np.uint8))
        buffer = io.BytesIO()
        small.resize((28, 28), Image.Resampling.BICUBIC).save(buffer, "PNG")
        samples.append({"__key__": f"{i:05d}", "png": buffer.getvalue(), "cls": b"%d" % label})
    held_out = samples[TRAIN : TRAIN + TEST]
    parts = {"train": samples[:TRAIN], "validation": held_out, "test": held_out}  # alike, so that figures may be compared
    splits = {
        split: tuple(
            write_shard(store, f"{split}-{start // SHARD:05d}.tar", FIELDS, part[start : start + SHARD])
            for start in range(0, len(part), SHARD)
        )
        for split, part in parts.items()
    }
    index = Index("digits", FIELDS, tuple("0123456789"), "CC BY 4.0", "UCI optical recognition of digits", splits)
    write_index(store, index)
    return index


LONG_FILES = (
    "trainers/search/trials",
    "trainers/launch",
    "trainers/step",
    "trainers/systems",
    "cluster/commands",
    "k8s",
    "cluster",
)
"""Where tests take minutes: they begin first, so that no process waits for another at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first; the order within a file stays."""

    def turn(item: pytest.Item) -> int:
        path = item.path.as_posix()
        return next((i for i, folder in enumerate(LONG_FILES) if f"tests/{folder}/" in path), len(LONG_FILES))

    items.sort(key=turn)
