"""Exports: what lies in one, and what a damaged, foreign or newer one is answered with."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

import unbraid
from unbraid.cluster.cli import main
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.package import CARD_KEY, MODEL_KEY, PACKAGE_KEY
from unbraid.trainers.systems.cdd.inference import CDD
from unbraid.trainers.systems.dpig.trained import DPIG, PosedPeople
from unbraid.trainers.systems.infogan.inference import InfoGAN
from unbraid.trainers.systems.pix2pix.inference import Pix2Pix
from unbraid.trainers.use.trained import TrainedModel


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def exported(trained_infogan: Path, tmp_path: Path) -> Path:
    done = command("export", "info", str(tmp_path / "model"), "--storage", str(trained_infogan))
    assert done.exit_code == 0, done.output
    assert "unbraid.load(" in done.output
    return tmp_path / "model"


def test_the_card_is_what_the_hub_reads_and_pictures_lie_beside_it(exported: Path) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard((exported / CARD_KEY).read_text())
    assert (getattr(card.data, "library_name", ""), getattr(card.data, "pipeline_tag", "")) == (
        "unbraid",
        "unconditional-image-generation",
    )
    head = yaml.safe_load((exported / CARD_KEY).read_text().split("---")[1])
    names = {metric["name"] for result in head["model-index"][0]["results"] for metric in result["metrics"]}
    assert "info/share" in names
    text = (exported / CARD_KEY).read_text()
    shown = [line for line in text.splitlines() if line.startswith("![")]
    assert shown
    assert all((exported / line.partition("(")[2].rstrip(")")).is_file() for line in shown)
    assert "unbraid.load(" in text
    assert "data digest" in text


@pytest.mark.parametrize("kind", [InfoGAN, DPIG, PosedPeople, CDD, Pix2Pix])
def test_the_lines_of_a_card_call_what_the_model_can_do(kind: type[TrainedModel]) -> None:
    called = re.findall(r"model\.(\w+)\(", kind.example)
    assert called
    assert set(called) <= set(kind.methods)
    assert all(callable(getattr(kind, name)) for name in kind.methods)


def test_weights_are_those_that_are_used_and_no_others(exported: Path) -> None:
    parts = {name.partition("/")[0] for name in load_file(exported / MODEL_KEY)}
    assert parts == {"generator_ema", "discriminator_ema", "extra"}


def test_the_lines_of_the_card_run_in_a_fresh_process_without_ray(exported: Path) -> None:
    code = (exported / CARD_KEY).read_text().split("```python")[1].split("```")[0].replace("FOLDER", str(exported))
    code += "\nimport sys\nassert 'ray' not in sys.modules, 'Ray was imported'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=exported.parent)
    assert done.returncode == 0, done.stderr
    assert (exported.parent / "samples.png").is_file()


def test_generate_takes_an_export_for_a_run(exported: Path, tmp_path: Path) -> None:
    done = command("generate", "infogan", "sample", str(exported), "--output", str(tmp_path / "a.png"))
    assert done.exit_code == 0, done.output
    again = command("export", "info", str(exported), "--storage", str(exported.parent))
    assert "no run 'info'" in again.output


def test_another_export_replaces_one_and_something_else_stays(exported: Path, trained_infogan: Path) -> None:
    before = (exported / MODEL_KEY).read_bytes()
    (exported / "programs").mkdir()
    (exported / "programs/generator.pt2").write_text("of other weights")
    again = command("export", "info", str(exported), "--storage", str(trained_infogan))
    assert again.exit_code == 0, again.output
    assert (exported / MODEL_KEY).read_bytes() == before
    assert not (exported / "programs/generator.pt2").exists()
    (exported / "thesis.tex").write_text("years of work")
    refused = command("export", "info", str(exported), "--storage", str(trained_infogan))
    assert refused.exit_code == 1
    assert "holds something else (thesis.tex)" in refused.output


def test_a_damaged_a_cut_off_a_foreign_and_a_newer_export_are_one_error_each(exported: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            unbraid.load(str(exported))

    weights, content = (exported / MODEL_KEY).read_bytes(), (exported / PACKAGE_KEY).read_text()
    (exported / MODEL_KEY).write_bytes(weights[: len(weights) // 2])
    refused("is damaged or cut off")
    save_file({"other/x": torch.zeros(1)}, exported / MODEL_KEY)
    refused("is damaged or cut off")
    (exported / MODEL_KEY).write_bytes(weights)
    (exported / PACKAGE_KEY).write_text(json.dumps(json.loads(content) | {"format": 99, "unbraid": "9.0"}))
    refused("of format 99, written by unbraid 9.0")
    (exported / PACKAGE_KEY).write_text(content[:100])
    with pytest.raises(Exception, match=r"config\.json"):
        unbraid.load(str(exported))
    (exported / PACKAGE_KEY).unlink()
    refused("no export; it holds model.safetensors and config.json")


@pytest.mark.parametrize("kind", ["pt2", "onnx"])
def test_programs_draw_the_same_without_us(kind: str, trained_infogan: Path, tmp_path: Path) -> None:
    done = command("export", "info", str(tmp_path / "m"), "--storage", str(trained_infogan), "--format", kind)
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "m/programs").iterdir()) == [f"generator.{kind}", f"reader.{kind}"]
    model = unbraid.load(str(tmp_path / "m"), "cpu")
    assert isinstance(model, InfoGAN)
    latent = torch.randn(5, model.networks.codes.latent_width)
    if kind == "pt2":
        drawn = torch.export.load(tmp_path / "m/programs/generator.pt2").module()(latent)
    else:
        import onnxruntime

        session = onnxruntime.InferenceSession(str(tmp_path / "m/programs/generator.onnx"))
        drawn = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: latent.numpy()})[0])
    assert torch.allclose(drawn, model.networks.draw(latent), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("export", "info"), "name a DESTINATION"),
        (("export", "info", "--push", "nobody"), "expected OWNER/NAME"),
        (("export", "info", "--push", "me/mine"), "there is no token of the Hugging Face hub; set HF_TOKEN"),
        (("export", "info", "m", "--private"), "--private: is for --push"),
        (("export", "info", "m", "--checkpoint", "5000"), "no checkpoint of step 5000"),
    ],
)
def test_what_cannot_be_exported_is_one_error(
    arguments: tuple[str, ...], message: str, trained_infogan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    done = command(*arguments, "--storage", str(trained_infogan))
    assert done.exit_code != 0
    assert message in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "m" / PACKAGE_KEY).exists()
