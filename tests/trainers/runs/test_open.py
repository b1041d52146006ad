"""A run is named by its name in a storage, by its folder or by its URL, and what is not there is one sentence."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from unbraid.cluster.cli import main
from unbraid.cluster.commands.runs import _cut
from unbraid.datasets.store import AbsentError, FolderStore
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.open import FEW, claim_run, find_run, run_names
from unbraid.trainers.runs.progress import aligned


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    for name in ("first", "second"):
        claim_run(resolve("infogan-mnist", [f"run.name={name}", f"run.storage={tmp_path}/runs"]), "test", {})
    return tmp_path / "runs"


def test_a_run_is_found_by_its_name_its_folder_and_its_url(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(storage)
    for reference in ("first", str(storage / "first"), "./first", f"{storage}/first/"):
        found = find_run(reference, str(storage))
        assert isinstance(found, FolderStore) and found.root.resolve() == storage / "first", reference


@pytest.mark.parametrize(
    "command", [["runs", "show"], ["eval"], ["runs", "delete", "--yes"], ["generate", "infogan", "traverse"]]
)
@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("firts", "no run 'firts' in {storage} (did you mean first?); there are first, second"),
        ("{storage}/none", "no run at {storage}/none; a run's folder holds its config.yaml"),
        ("{storage}", "no run at {storage}; a run's folder holds its config.yaml"),
    ],
)
def test_every_command_says_which_runs_are_there(command: list[str], reference: str, message: str, storage: Path) -> None:
    result = CliRunner().invoke(main, [*command, reference.format(storage=storage), "--storage", str(storage)])
    assert result.exit_code == 1
    assert result.output == f"Error: {message.format(storage=storage)}\n"
    assert run_names(str(storage)) == ["first", "second"]


def test_a_long_list_of_runs_is_cut(tmp_path: Path) -> None:
    for i in range(FEW + 3):
        FolderStore(tmp_path / f"run{i:02d}", create=True).put("run.json", b"{}")
    with pytest.raises(ConfigError, match=r"; there are run00, .*, run07, …$"):
        find_run("zzz", str(tmp_path))


def test_a_storage_that_is_not_there_is_an_error_and_an_empty_one_is_not(tmp_path: Path) -> None:
    missing = CliRunner().invoke(main, ["runs", "list", "--storage", str(tmp_path / "nowhere")])
    assert missing.exit_code == 1
    assert missing.output.startswith(f"Error: {tmp_path}/nowhere: no such folder; --storage names the one that holds runs")
    empty = CliRunner().invoke(main, ["runs", "list", "--storage", str(tmp_path)])
    assert (empty.exit_code, empty.output) == (0, f"no runs in {tmp_path}\n")
    with pytest.raises(ConfigError, match=r"in .*nowhere, a folder that is not there"):
        find_run("x", str(tmp_path / "nowhere"))
    with pytest.raises(AbsentError):
        run_names(str(tmp_path / "nowhere"))


def test_unlike_runs_are_compared_by_what_they_share(storage: Path) -> None:
    claim_run(resolve("cdd-mnist-cdcb-small", ["run.name=other", f"run.storage={storage}"]), "test", {})
    claim_run(resolve("infogan-mnist", ["run.name=third", f"run.storage={storage}", "codes.noise=7"]), "test", {})
    alike = CliRunner().invoke(main, ["runs", "compare", "first", "third", "--storage", str(storage)]).output
    assert "codes.noise" in alike and "only some" not in alike
    unlike = CliRunner().invoke(main, ["runs", "compare", "first", "other", "--storage", str(storage)]).output
    assert "data.url" in unlike and "codes" not in unlike and "networks.parts" not in unlike
    assert "settings that only some of them have" in unlike


def test_a_comparison_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("", "a" * 60, "b" * 70), ("data.url", "s3://" + "x" * 90, "y"), ("optim.betas", "[0.5, 0.999]", "[0.5, 0.9]")]
    for columns in (40, 80, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = aligned(_cut(rows)).splitlines()
        assert max(map(len, lines)) <= columns
        assert ("…" in lines[0]) == (columns < 200)
        assert lines[2].split()[0] == "optim.betas"
