"""``unbraid tune`` as a user meets it: dry runs, status, and one error for a mistake before any trial starts."""

from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from click.testing import CliRunner, Result

from tests.trainers.search.campaigns import content
from unbraid.cluster.cli import main
from unbraid.cluster.commands.job_request import job_request
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.search.campaign.history import Configuration, Trial
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.campaign.reading import read_campaign
from unbraid.trainers.search.plan.plan import Plan


def unbraid(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def write(folder: Path, data: Path, **change: Any) -> str:
    fixed = {"data.url": str(data)} | change.pop("fixed", {})
    path = folder / f"{change.get('name', 'tiny')}.yaml"
    path.write_text(yaml.safe_dump(content(**{"storage": str(folder / "campaigns"), "fixed": fixed} | change)))
    return str(path)


def refused(result: Result, message: str) -> None:
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert message in result.output
    assert "Traceback" not in result.output


@pytest.fixture
def started(tmp_path: Path, digits_folder: Path) -> str:
    """A campaign's file whose storage holds two configurations, one of them trained; no trial ran."""
    file = write(tmp_path, digits_folder)
    journal = Journal.claim(read_campaign(file), "test")
    done = Trial(0, 0, "finished", updates=8, rungs=[(8, {"info/share": 0.25})], seconds=3.0)
    for number, trial in enumerate([done, Trial(1, 0, "failed", "diverged: loss/d is not finite")]):
        journal.write_configuration(Configuration(number, {"loss.info_categorical": 0.5 + number, "optim.lr_generator": 1e-3}))
        trial.number = number
        journal.write_trial(trial)
    return file


def test_a_dry_run_shows_samples_and_what_it_costs_and_writes_nothing(tmp_path: Path, digits_folder: Path) -> None:
    asha = {"kind": "asha", "grace": 2, "reduction": 2}
    result = unbraid("tune", write(tmp_path, digits_folder, scheduler=asha), "--dry-run", "budget.trials=8")
    assert result.exit_code == 0, result.output
    assert "at most 8 trials of 8 updates: 64 updates" in result.output
    assert "rungs at 2, 4 updates" in result.output
    assert result.output.count("loss.info_categorical: ") == 5
    assert "GFLOP an update" in result.output
    assert not (tmp_path / "campaigns").exists()


def test_status_shows_the_table_from_the_storage_alone(started: str, tmp_path: Path) -> None:
    result = unbraid("tune", "status", "tiny", "--storage", str(tmp_path / "campaigns"))
    assert result.exit_code == 0, result.output
    assert "2 of 4 trials over (1 finished, 1 failed)" in result.output
    assert result.output.index("0000") < result.output.index("0001")
    assert "diverged" in result.output


def test_a_file_goes_on_with_its_campaign_but_another_of_that_name_is_refused(
    started: str, tmp_path: Path, digits_folder: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    file = write(other, digits_folder, storage=str(tmp_path / "campaigns"), fixed={"run.updates": 9})
    result = unbraid("tune", file)
    refused(result, "was started from another file")
    assert "fixed.run.updates: 8 there, 9 in the file" in result.output
    assert Journal.claim(read_campaign(started, ["budget.trials=9"]), "test").campaign().budget.trials == 9


def test_resume_takes_no_changes_and_needs_a_campaign(started: str, tmp_path: Path) -> None:
    storage = str(tmp_path / "campaigns")
    refused(unbraid("tune", "--resume", "tiny", "budget.trials=9", "--storage", storage), "goes on with the campaign as it is")
    refused(unbraid("tune", "--resume", "nobody", "--storage", storage), "no such campaign")
    refused(unbraid("tune", "status", "nobody", "--storage", storage), "no such campaign")


def test_a_resumed_campaign_whose_stored_file_was_edited_is_checked_again(started: str, tmp_path: Path) -> None:
    stored = tmp_path / "campaigns/tiny/campaign.yaml"
    stored.write_text(stored.read_text().replace("info/share", "info/shore"))
    refused(unbraid("tune", "--resume", "tiny", "--storage", str(tmp_path / "campaigns")), "info/shore is not reported")


def test_export_needs_a_trial_that_has_a_score(started: str, tmp_path: Path) -> None:
    storage = ("--storage", str(tmp_path / "campaigns"))
    refused(unbraid("tune", "export", "tiny", "--configuration", "1", *storage), "no trial has a score yet")
    refused(unbraid("tune", "export", "tiny", "--configuration", "7", *storage), "has 2 configurations")
    refused(unbraid("tune", "export", "tiny", "--best", "--configuration", "1", *storage), "name one of them")


def test_a_resumed_campaign_can_be_looked_at_without_starting_it(started: str, tmp_path: Path) -> None:
    result = unbraid("tune", "--resume", "tiny", "--dry-run", "--storage", str(tmp_path / "campaigns"))
    assert result.exit_code == 0, result.output
    assert "at most 4 trials of 8 updates" in result.output
    assert Journal.open(str(tmp_path / "campaigns"), "tiny").status().get("status") is None


def test_an_export_that_cannot_be_written_is_one_error(started: str, tmp_path: Path) -> None:
    planned = read_campaign(started)
    run = open_run(str(tmp_path / "campaigns/tiny/trials"), "0000-s0", create=True)
    config = planned.trial_config({"loss.info_categorical": 0.5}, 0, "0000-s0")
    run.put("config.yaml", yaml.safe_dump(config.model_dump(mode="json")).encode())
    written = tmp_path / "best.yaml"
    storage = ("--storage", str(tmp_path / "campaigns"))
    assert unbraid("tune", "export", "tiny", "-o", str(written), *storage).exit_code == 0
    assert unbraid("tune", "export", "tiny", "-o", str(written), *storage).exit_code == 0, "the same again changes nothing"
    content = yaml.safe_load(written.read_text())
    written.write_text("mine")
    refused(
        unbraid("tune", "export", "tiny", "-o", str(written), *storage),
        "best.yaml: is there already, with other content; --force",
    )
    assert written.read_text() == "mine"
    assert unbraid("tune", "export", "tiny", "-o", str(written), "--force", *storage).exit_code == 0
    assert yaml.safe_load(written.read_text()) == content
    assert content["extends"] == "infogan-mnist-reference"
    assert content["loss"] == {"info_categorical": 0.5}
    assert "storage" not in content["run"]
    (tmp_path / "file").write_text("")
    refused(
        unbraid("tune", "export", "tiny", "-o", str(tmp_path / "file/best.yaml"), *storage),
        "file: is a file, a folder was expected",
    )


def test_data_that_does_not_fit_is_reported_before_a_trial_starts(tmp_path: Path, digits_folder: Path) -> None:
    nowhere = write(tmp_path, tmp_path / "nowhere")
    refused(unbraid("tune", nowhere), "nowhere")
    wide = write(tmp_path, digits_folder, name="wide", fixed={"networks.image": {"channels": 1, "height": 32, "width": 32}})
    refused(unbraid("tune", wide), "does not fit the images")
    assert not (tmp_path / "campaigns").exists()


@pytest.mark.usefixtures("services")
def test_a_bucket_that_refuses_writes_is_reported_before_a_trial_starts(
    tmp_path: Path, digits_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    file = write(tmp_path, digits_folder, name="keys")
    refused(unbraid("tune", file, "storage=s3://unbraid/campaigns"), "S3 refused the keys")
    refused(unbraid("tune", file, "--storage", "s3://unbraid/campaigns"), "S3 refused the keys")


def test_a_campaign_that_is_sent_to_a_cluster_keeps_its_storage(tmp_path: Path, digits_folder: Path) -> None:
    file = write(tmp_path, digits_folder)

    def storage(*further: str, here: bool = True) -> str:
        return job_request(["tune", file, *further], tmp_path, here, uploaded=True).metadata["storage"]

    assert storage() == str(tmp_path / "campaigns")
    assert storage("--storage", "s3://b/campaigns", here=False) == "s3://b/campaigns"
    with pytest.raises(ConfigError, match="is a folder of this machine"):
        storage(here=False)
    with pytest.raises(ConfigError, match="name a campaign's file"):
        job_request(["tune", "run"], tmp_path, same_machine=True, uploaded=True)


def test_keys_under_fixed_are_dotted_paths(tmp_path: Path, digits_folder: Path) -> None:
    campaign = read_campaign(write(tmp_path, digits_folder), ["fixed.data.url=s3://b/other", "fixed.run.updates=9"])
    assert campaign.fixed["data.url"] == "s3://b/other"
    assert campaign.fixed["run.updates"] == 9


def test_the_error_for_an_unknown_name_names_the_campaigns() -> None:
    refused(unbraid("tune", "infogan-mnist-weights-smal"), "did you mean infogan-mnist-weights-small?")
    refused(unbraid("tune", "run"), "name a campaign's file")
    assert "infogan-mnist-codes-small" in unbraid("tune", "campaigns").output


def test_a_dry_run_of_a_preset_shows_the_campaign_that_was_understood(tmp_path: Path) -> None:
    words = ["optim.lr_generator=1e-3|2e-3", "run.updates=20", "--seeds", "2", "--storage", str(tmp_path)]
    result = unbraid("tune", "infogan-mnist-small", *words, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "infogan-mnist-small, grid, 2 seeds each" in result.output
    assert "searched: optim.lr_generator 0.001 | 0.002" in result.output
    assert "fixed: run.updates = 20" in result.output
    assert "objective: selection/covered_information (max)" in result.output
    assert "at most 4 trials of 20 updates" in result.output
    assert not list(tmp_path.iterdir())
    refused(unbraid("tune", "infogan-mnist-small", "run.updates=20", "--dry-run"), "nothing is searched")


def test_a_dry_run_is_priced_for_a_card_and_a_price_needs_one(tmp_path: Path, digits_folder: Path) -> None:
    file = write(tmp_path, digits_folder)
    result = unbraid("tune", file, "--dry-run", "--gpu", "h100", "--price", "2.5")
    assert result.exit_code == 0, result.output
    assert "h100 hours, 0.00 at 2.5 an hour: 49.5 TFLOP/s, assumed: 5% of its peak" in result.output
    refused(unbraid("tune", file, "--dry-run", "--price", "2.5"), "--price 2.5: of which card? Add --gpu")
    refused(unbraid("tune", file, "--gpu", "h100"), "says what --dry-run counts hours of")
    refused(unbraid("tune", file, "--dry-run", "--gpu", "geforce2"), "--gpu geforce2: no run was trained on such a card")
    refused(unbraid("tune", file, "--dry-run", "budget.money=10"), "budget.money: set resources.price")
    trained = unbraid("train", "infogan-mnist-small", "--dry-run", "--gpu", "h100", "--price", "2.5")
    assert yaml.safe_load(trained.output)["system"] == "infogan"
    assert trained.output.splitlines()[-1].startswith("# 0.0")
    refused(unbraid("train", "infogan-mnist-small", "--dry-run", "--price", "2.5"), "of which card?")


def test_status_tells_what_was_spent_and_the_spread_over_seeds(tmp_path: Path, digits_folder: Path) -> None:
    more = {"resources": {"gpus": 0.5, "price": 4.0}, "budget": {"trials": 4, "money": 8.0}, "seeds": {"count": 2}}
    file = write(tmp_path, digits_folder, **more)
    campaign = read_campaign(file)
    journal = Journal.claim(campaign, "test")
    journal.write_configuration(Configuration(0, {"loss.info_categorical": 0.5, "optim.lr_generator": 1e-3}))
    for seed, score in enumerate((0.25, 0.5)):
        journal.write_trial(Trial(0, seed, "finished", updates=8, rungs=[(8, {"info/share": score})], seconds=3600.0))
    result = unbraid("tune", "status", "tiny", "--storage", campaign.storage)
    assert "spent: 1.00 of 2.00 GPU hours, 4.00 at 4 an hour" in result.output
    assert "0.3750 [0.2500, 0.5000]" in result.output
    journal.write_trial(Trial(0, 1, "finished", updates=8, seconds=10800.0))
    assert Plan(campaign, journal.read()).next() is None


def test_all_trials_are_exported_for_optunas_dashboard(started: str, tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    storage = str(tmp_path / "campaigns")
    result = unbraid("tune", "export", "tiny", "--storage", storage, "--optuna", str(file))
    assert result.exit_code == 0, result.output
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{file}")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED"]
    assert study.best_value == 0.25
    refused(unbraid("tune", "export", "tiny", "--storage", storage, "--optuna", str(file)), "is there already; --force")
    refused(unbraid("tune", "export", "tiny", "--storage", storage, "--optuna", "x.db", "--best"), "writes all trials")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".study")]


def test_watching_shows_a_campaign_until_it_ends(started: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.open(str(tmp_path / "campaigns"), "tiny")
    journal.set_status(status="running")
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        journal.set_status(status="finished" if len(waits) == 2 else "running")

    monkeypatch.setattr("unbraid.cluster.commands.tune.status.time.sleep", wait)
    result = unbraid("tune", "status", "tiny", "--storage", str(tmp_path / "campaigns"), "--watch")
    assert len(waits) == 2
    assert result.output.count("tiny: running") == 1  # nothing had changed at the second look
    assert "tiny: finished" in result.output
