"""A run that was moved is where it lies now, and data that was moved is the same data."""

import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.trainers.systems.infogan.test_system import TINY
from unbraid.cluster.cli import main
from unbraid.cluster.local.services import FOLDER_VARIABLE
from unbraid.datasets.store import open_store
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.open import claim_run, open_run
from unbraid.trainers.runs.record import read_config, read_run

pytestmark = pytest.mark.usefixtures("unmeasured")


@pytest.fixture(autouse=True)
def no_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))


def train(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["train", *arguments, "--debug"])


@pytest.fixture
def run(digits_folder: Path, tmp_path: Path) -> Path:
    """The folder of a run of three updates, on data of its own."""
    shutil.copytree(digits_folder, tmp_path / "digits")
    settings = [f"data.url={tmp_path / 'digits'}", f"run.storage={tmp_path / 'runs'}", "run.name=mine"]
    done = train("infogan-mnist", *TINY, *settings, "run.updates=3", "run.preview_every=0", "run.log_every=1")
    assert done.exit_code == 0, done.output
    return tmp_path / "runs/mine"


def test_a_run_and_its_data_that_were_moved_go_on_where_they_lie(run: Path, tmp_path: Path) -> None:
    moved, data = tmp_path / "home/old-runs/copy", tmp_path / "home/data"
    moved.parent.mkdir(parents=True)
    run.rename(moved)
    (tmp_path / "digits").rename(data)
    done = train("--config", str(moved / "config.yaml"), f"data.url={data}", "run.updates=5")
    assert done.exit_code == 0, done.output
    assert f"run copy → {moved}" in done.output
    assert f"data.url: the set lies at {data} now, before at {tmp_path / 'digits'}: the digest is the same" in done.output
    assert not run.parent.exists() or not list(run.parent.iterdir())
    store = open_run(str(moved.parent), "copy")
    assert read_run(store)["starts"] == 2
    assert Checkpoints(store, 2).steps() == [3, 5]
    config = read_config(store)
    assert (config.run.name, config.run.storage, config.data.url) == ("copy", str(moved.parent), str(data))


def test_another_set_at_the_new_place_is_refused(run: Path, tmp_path: Path) -> None:
    text = (tmp_path / "digits/index.json").read_text()
    shutil.copytree(tmp_path / "digits", tmp_path / "other")
    digest = read_run(open_run(str(run.parent), "mine"))["data_digest"]
    (run / "run.json").write_text((run / "run.json").read_text().replace(digest, "0" * 64))
    assert digest in text
    done = train("--config", str(run / "config.yaml"), f"data.url={tmp_path / 'other'}", "run.updates=5")
    assert done.exit_code == 1
    assert "was trained on the set with the digest 0000" in done.output


def test_a_set_at_another_place_is_another_one_where_no_digest_is_known(run: Path, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "digits", tmp_path / "other")
    (run / "run.json").write_text("{}")
    done = train("--config", str(run / "config.yaml"), f"data.url={tmp_path / 'other'}", "run.updates=5")
    assert done.exit_code == 1
    assert "data.url: " in done.output
    assert "has another configuration" in done.output


def test_a_configuration_outside_of_a_runs_folder_is_of_the_run_that_it_names(run: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    for copy in (tmp_path / "kept/config.yaml", run / "mine.yaml"):
        shutil.copy(run / "config.yaml", copy)
        config = resolve(None, [], copy)
        assert (config.run.storage, config.run.name) == (str(run.parent), "mine")


def test_overrides_win_over_the_place_of_a_file(run: Path, tmp_path: Path) -> None:
    """A run may be repeated under another name from its file."""
    moved = run.rename(tmp_path / "moved")
    config = resolve(None, ["run.name=again", "run.storage=s3://bucket/runs"], moved / "config.yaml")
    assert (config.run.storage, config.run.name) == ("s3://bucket/runs", "again")
    named = resolve(None, ["run.name=again"], moved / "config.yaml")
    assert named.run.storage == str(tmp_path)
    unnamable = moved.rename(tmp_path / "mine (copy)")
    with pytest.raises(ConfigError, match=r"run\.name"):
        resolve(None, [], unnamable / "config.yaml")


def test_default_names_do_not_depend_on_how_a_path_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    here = os.fspath(tmp_path)
    written = (f"{here}/sets/a", "sets/a", "./sets/a/", "sets//a", "sets/b/../a", "~/sets/a")
    names = {resolve("infogan-mnist", [f"data.url={url}"]).run.name for url in written}
    assert len(names) == 1
    assert names != {resolve("infogan-mnist", ["data.url=sets/b"]).run.name}
    remote = {resolve("infogan-mnist", [f"data.url={url}"]).run.name for url in ("s3://sets/a", "s3://sets/a/")}
    assert len(remote) == 1


def test_a_run_in_a_bucket_that_was_renamed_is_where_its_url_says(bucket_url: str, tmp_path: Path) -> None:
    config = resolve("infogan-mnist", [f"run.storage={bucket_url}/old", "run.name=mine", "run.seed=7"])
    claim_run(config, "test", {})
    old, new = open_store(f"{bucket_url}/old/mine"), open_store(f"{bucket_url}/new/copy", create=True)
    keys = old.keys()
    for key in keys:
        new.put(key, old.get(key))
        old.delete(key)
    found = resolve(None, ["run.updates=9"], f"{new.url}/config.yaml")
    assert (found.run.storage, found.run.name, found.run.seed, found.run.updates) == (f"{bucket_url}/new", "copy", 7, 9)
    with pytest.raises(ConfigError, match=r"old/mine/config\.yaml: cannot be read .*expected a config\.yaml of a run"):
        resolve(None, [], f"{old.url}/config.yaml")
    new.delete("run.json")
    alone = resolve(None, [], f"{new.url}/config.yaml")
    assert alone.run.name == "mine", "a file that lies in no run's folder is what it says"
