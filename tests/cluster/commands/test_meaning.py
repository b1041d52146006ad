"""A command means the same here and as a job: one reading of its words for `train` and for `submit train`."""

from pathlib import Path

import pytest
import yaml

from tests.cluster.test_cli import unbraid
from unbraid.cluster.commands.job_request import job_request
from unbraid.cluster.commands.meaning import requested_campaign, requested_runs
from unbraid.trainers.config.systems import load_config
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.search.campaign.command_line import Wishes

COMMANDS = [
    ["infogan-mnist"],
    ["infogan-mnist-small", "run.seed=3", "codes.categorical=[10, 10]", "run.workers=4"],
    ["dpig-people-small", "run.updates=7", "mapping.run.updates=9", "appearance.run.workers=4"],
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_a_job_trains_what_the_same_command_trains_here(arguments: list[str], tmp_path: Path) -> None:
    shown = unbraid("train", *arguments, "--dry-run")
    here = [load_config(content, "dry run") for content in yaml.safe_load_all(shown.output)]
    request = job_request(["train", *arguments], tmp_path, same_machine=True, uploaded=True)
    assert request.metadata["run"] == here[-1].run.name
    assert request.metadata["digest"] == here[-1].digest()
    assert request.metadata["storage"] == here[-1].run.storage
    assert request.workers == max(config.run.workers for config in here)
    assert request.metadata["preset"] == arguments[0]


def test_a_file_and_overrides_mean_the_same_in_both(tmp_path: Path) -> None:
    """The first word after --config is an override, though click reads it as the preset."""
    file = tmp_path / "config.yaml"
    file.write_text(unbraid("train", "infogan-mnist", "--dry-run").output)
    shown = unbraid("train", "--config", str(file), "run.name=again", "run.seed=5", "--dry-run")
    request = job_request(
        ["train", "--config", str(file), "run.name=again", "run.seed=5"], tmp_path, same_machine=True, uploaded=True
    )
    assert request.metadata["run"] == "again"
    assert request.metadata["digest"] == load_config(yaml.safe_load(shown.output), "dry run").digest()
    assert request.metadata["preset"] == str(file)
    assert request.arguments[:3] == ("train", "--config", "config.yaml")  # its name in the uploaded tree


def test_debugging_takes_one_worker_unless_an_override_says_otherwise() -> None:
    assert requested_runs("infogan-mnist-small", [], None).workers == 2
    assert requested_runs("infogan-mnist-small", [], None, debug=True).workers == 1
    assert requested_runs("infogan-mnist-small", ["run.workers=3"], None, debug=True).workers == 3


def test_the_same_work_has_the_same_name_and_other_work_another(tmp_path: Path) -> None:
    def base(*overrides: str) -> str:
        return job_request(["train", "infogan-mnist", *overrides], tmp_path, same_machine=True, uploaded=True).base

    assert base() == base("run.workers=4")  # the same run goes on
    assert len({base(), base("run.seed=2"), base("run.storage=s3://b/runs"), base("run.name=mine")}) == 4


@pytest.mark.parametrize("first", ["budget.trials=9", None])
def test_resuming_takes_no_changes_here_and_there(first: str | None, tmp_path: Path) -> None:
    overrides = ["seed=3"] if first is None else []
    with pytest.raises(ConfigError, match="goes on with the campaign as it is"):
        requested_campaign(first, overrides, "mine", None, Wishes())
    with pytest.raises(ConfigError, match="goes on with the campaign as it is"):
        job_request(["tune", "--resume", "mine", "seed=3"], tmp_path, same_machine=True, uploaded=True)


def test_a_resumed_campaign_is_found_in_its_storage(tmp_path: Path) -> None:
    requested = requested_campaign(None, [], "mine", "s3://b/campaigns", Wishes())
    assert (requested.name, requested.storage, requested.content) == ("mine", "s3://b/campaigns", None)
    request = job_request(
        ["tune", "--resume", "mine", "--storage", "s3://b/campaigns"], tmp_path, same_machine=False, uploaded=True
    )
    assert (request.metadata["campaign"], request.metadata["storage"]) == ("mine", "s3://b/campaigns")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run.updates=5"], "run.updates=5: a preset comes before what is changed in it: PRESET run.updates=5"),
        (
            ["infogan-mnist", "--config", "x.yaml"],
            "infogan-mnist: both a preset and --config x.yaml are given; leave one of them out",
        ),
        ([], "name a preset (`unbraid presets` lists them), or give --config FILE"),
        (["Infogan-Mnist"], "preset 'Infogan-Mnist': no such preset (did you mean infogan-mnist?)"),
    ],
)
def test_words_in_the_wrong_place_are_understood_as_the_mistake_that_they_are(words: list[str], message: str) -> None:
    result = unbraid("train", *words, "--dry-run")
    assert result.exit_code == 1, result.output
    assert message in result.output
    assert len(result.output) < 300


def test_a_campaign_of_a_preset_means_the_same_there() -> None:
    words = ["infogan-mnist-small", "loss.info_continuous=log(0.1,1)", "--trials", "4", "--seeds", "2", "--storage", "s3://b/c"]
    request = job_request(["tune", *words], None, same_machine=False, uploaded=True)
    wishes = Wishes(trials=4, seeds=2)
    here = requested_campaign(words[0], words[1:2], None, "s3://b/c", wishes)
    assert request.metadata["campaign"] == here.name
    assert request.arguments == ("tune", *words)


@pytest.mark.parametrize(
    ("first", "words", "wishes", "message"),
    [
        ("infogan-mnist-weights-small", [], Wishes(trials=5), "is a campaign's file, which says trials"),
        ("run.seed=0..4", ["infogan-mnist"], Wishes(), "a preset or a campaign's file comes before"),
        (None, [], Wishes(trials=5), "name a campaign's file, a preset"),
        ("infogan-mnits", ["run.seed=0..4"], Wishes(), "cannot be read"),
    ],
)
def test_a_preset_and_a_file_are_told_apart(first: str | None, words: list[str], wishes: Wishes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        requested_campaign(first, words, None, None, wishes)
