"""A command that is refused changes nothing: all bytes of the storage are compared, before and after."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from torch import Tensor

from tests.cluster.commands.test_tune import write
from tests.trainers.systems.infogan.test_system import TINY
from unbraid.cluster.cli import main
from unbraid.cluster.local.services import FOLDER_VARIABLE
from unbraid.datasets.errors import DataError
from unbraid.datasets.store import lease as lease_module
from unbraid.datasets.store import open_store
from unbraid.datasets.store.lease import Lease
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_config, read_run
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.campaign.reading import read_campaign
from unbraid.trainers.systems.infogan.system import InfoGAN

pytestmark = pytest.mark.usefixtures("unmeasured")


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases that are renewed ten times a second, and no services of this machine."""
    monkeypatch.setattr(lease_module, "RENEW_SECONDS", 0.1)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))


def unbraid(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def train(url: Path | str, storage: Path, *overrides: str) -> Result:
    settings = [*TINY, f"data.url={url}", f"run.storage={storage}", "run.name=mine", "run.updates=3", "run.preview_every=0"]
    return unbraid("train", "infogan-mnist", *settings, *overrides, "--debug")


@pytest.fixture(scope="module")
def trained(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A storage with a finished run, which no test changes."""
    storage = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(storage / "none"))
        done = train(digits_folder, storage)
    assert done.exit_code == 0, done.output
    yield storage


def contents(folder: Path) -> dict[str, bytes]:
    """All bytes below a folder, but for what a holder writes that renews its lease."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    renewed = {key: b"" for key in files if "lease/" in key and not key.endswith(".partial")}
    return renewed | {key: path.read_bytes() for key, path in files.items() if "lease/" not in key}


def require_refused(result: Result, message: str) -> None:
    assert result.exit_code == 1, result.output
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_second_launch_of_a_run_that_is_trained(trained: Path, digits_folder: Path) -> None:
    """Even one whose configuration might go on with that run."""
    with Lease.acquire(open_run(str(trained), "mine"), "busy"):
        before = contents(trained)
        refused = train(digits_folder, trained, "run.updates=5", "run.log_every=1")
        assert contents(trained) == before
    require_refused(refused, "run mine is being trained by process ")


@pytest.mark.parametrize(
    ("is_new", "override", "message"),
    [
        (False, "loss.info_continuous=0.5", "has another configuration"),
        *((is_new, "run.workers=2", "--debug trains in this process alone") for is_new in (False, True)),
        *((is_new, "data.validation_split=none", "has no such split") for is_new in (False, True)),
        (True, "optim.betas=[1.5,0.9]", "infogan cannot be built from this configuration: Invalid beta parameter"),
        (True, f"networks.trunk.layers=[{', '.join(6 * ['{channels: 8}'])}]", "networks.trunk changes the image by"),
        (True, "run.keep_checkpoints=100000000", "MiB are needed for checkpoints"),
        (True, "run.seed=18446744073709551616", "run.seed: "),
    ],
)
def test_a_run_that_cannot_be_trained(
    is_new: bool, override: str, message: str, trained: Path, digits_folder: Path, tmp_path: Path
) -> None:
    storage = tmp_path / "runs" if is_new else trained
    before = contents(storage)
    require_refused(train(digits_folder, storage, override, "run.updates=5"), message)
    assert contents(storage) == before


@pytest.mark.parametrize("left", ["nothing", "a checkpoint", "metrics", "a torn configuration"])
def test_a_run_that_was_claimed_in_vain_may_be_claimed_by_another_configuration(
    left: str, digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that found its disk full, or its set gone, before its first update was kept."""

    def fails(*arguments: object) -> None:
        raise DataError("the set is gone")

    with monkeypatch.context() as patch:
        patch.setattr("unbraid.trainers.launch.here.train_here", fails)
        require_refused(train(digits_folder, tmp_path, "loss.info_continuous=0.5"), "the set is gone")
    run = tmp_path / "mine"
    assert read_run(open_run(str(tmp_path), "mine"))["status"] == "failed"
    if left == "a checkpoint":
        (run / "checkpoints/step-00000002").mkdir(parents=True)
        (run / "checkpoints/step-00000002/checkpoint.json").write_text("{}")
    elif left == "metrics":
        (run / "metrics.jsonl").write_text('{"step": 1}\n')
    elif left == "a torn configuration":
        (run / "config.yaml").write_text("system: infog")
    before = contents(tmp_path)
    done = train(digits_folder, tmp_path)
    if left in ("a checkpoint", "metrics"):
        require_refused(done, "has another configuration")
        assert contents(tmp_path) == before
    else:
        assert done.exit_code == 0, done.output
        assert read_config(open_run(str(tmp_path), "mine")).model_dump()["loss"]["info_continuous"] == 1.0
        assert "message" not in read_run(open_run(str(tmp_path), "mine"))


def test_a_finished_run(trained: Path, digits_folder: Path) -> None:
    """Its configuration stays that of the launch that has trained it."""
    before = contents(trained)
    done = train(digits_folder, trained, "run.updates=2", "run.log_every=7")
    assert "is finished" in done.output
    assert contents(trained) == before


@pytest.mark.parametrize("is_new", [False, True])
def test_a_run_for_which_the_cluster_is_too_small(
    is_new: bool, trained: Path, digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is known only when the run is claimed; a new one leaves no trace."""
    monkeypatch.setattr("unbraid.trainers.launch.ray_train.connect", lambda address: None)
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 2.0})
    storage = tmp_path / "runs" if is_new else trained
    before = {key: content for key, content in contents(storage).items() if "lease/" not in key}
    settings = [*TINY, f"data.url={digits_folder}", f"run.storage={storage}", "run.name=mine", "run.updates=5"]
    refused = unbraid("train", "infogan-mnist", *settings, "run.workers=4")
    require_refused(refused, "run.workers=4 need 4 CPUs, the cluster has 2")
    after = contents(storage)
    assert {key: content for key, content in after.items() if "lease/" not in key} == before
    assert any("lease/" in key for key in after) != is_new


def test_a_second_launch_of_a_campaign_that_is_run(tmp_path: Path, digits_folder: Path) -> None:
    file = write(tmp_path, digits_folder)
    journal = Journal.claim(read_campaign(file), "test")
    with Lease.acquire(journal.store, "busy"):
        before = contents(tmp_path)
        refused = unbraid("tune", file, "budget.trials=9")
        assert contents(tmp_path) == before
    require_refused(refused, "campaign tiny is being run by process ")


def test_a_campaign_that_was_taken_over_writes_no_more(tmp_path: Path, digits_folder: Path) -> None:
    journal = Journal.claim(read_campaign(write(tmp_path, digits_folder)), "test")
    with Lease.acquire(journal.store, "busy") as lease:
        journal.lease = lease
        journal.set_status(status="running")
        lease.superseded_by = lease_module.Holder.here("job-2")
        before = contents(tmp_path)
        with pytest.raises(DataError, match="this campaign has been taken over: job job-2"):
            journal.set_status(status="finished")
        assert contents(tmp_path) == before


def test_a_packing_to_a_place_that_holds_something_else(tmp_path: Path) -> None:
    for number in range(20):
        pixels = np.full((32, 32, 3), number, np.uint8)
        (tmp_path / "raw").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"raw/{number:02d}.png")
    place = tmp_path / "set"
    packing = ["data", "pack", "folder", str(tmp_path / "raw"), str(place), "--size", "32x32"]
    done = unbraid(*packing)
    assert done.exit_code == 0, done.output
    before = contents(place)
    require_refused(unbraid(*packing, "--validation", "0.5"), "another set is packed there")
    assert contents(place) == before
    with Lease.acquire(open_store(str(place)), "busy", folder="packing/lease", keep=False):
        held = contents(place)
        require_refused(unbraid(*packing, "--force"), "is being packed by process ")
        assert contents(place) == held
    (place / "foreign.tar").write_bytes(b"somebody's")
    before = contents(place)
    require_refused(unbraid(*packing, "--force"), "holds 1 tars that are no part of this set")
    assert contents(place) == before


def test_a_campaign_whose_trials_cannot_make_an_update(
    tmp_path: Path, digits_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without this check each of its trials would be claimed, and fail by itself."""

    def refuses_high_rates(system: InfoGAN, real: Tensor) -> object:
        rate = system.optimizers["generator"].param_groups[0]["lr"]
        return real @ real.new_empty(3, 5) if rate > 5e-3 else {}

    monkeypatch.setattr(InfoGAN, "update_discriminator", refuses_high_rates)
    result = unbraid("tune", write(tmp_path, digits_folder))
    require_refused(result, "space: at the corner loss.info_categorical=10.0, optim.lr_generator=0.01: infogan cannot make")
    assert not (tmp_path / "campaigns").exists()
