"""A copy of the tree with a fourth system in it, and everything that the tree must do with a system.

The files of the system are in ``tree``, each at its place in the repository. They are the shortest example of a system.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
ADDED = Path(__file__).parent / "tree"
COPIED = ("unbraid", "models", "datasets", "trainers", "cluster", "tests", "pyproject.toml")
NAME, PRESET, RUN = "tally", "tally-small", "strokes"
SECONDS = 240
"""Longest that one command may take."""

STROKES = "".join(f"{split} {i % 6} {i % 4}\n" for split, count in (("train", 96), ("test", 24)) for i in range(count))
CAMPAIGN = """
name: tally-campaign
preset: tally-small
fixed: {data.url: set, run.updates: 4}
storage: campaigns
space:
  loss.style: {log_uniform: [0.001, 0.1]}
  networks.autoencoder.hidden: {choice: [16, 32]}
objectives:
  - {metric: rebuilt/l1, mode: min}
  - {metric: selection/centrality}
searcher: {kind: tpe}
seeds: {count: 2}
budget: {trials: 4}
"""
AGREEMENT = """
import torch
from unbraid.trainers.evaluate import open_model
from unbraid.trainers.measures.flops import meta_batch
from unbraid.trainers.system import agreement, has_agreement

def test_two_models_of_tally_are_compared():
    assert has_agreement("tally")
    model, config = open_model("strokes", "runs", torch.device("cpu"))
    assert agreement("tally", model, model) > 0.5
    assert set(meta_batch(config)) == {"image", "count"}
"""


class Addition:
    """A copy of this tree in ``folder``, with the fourth system's files added and no other file changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(ROOT / name, folder / name)
        for file in added_files():
            target = folder / file
            assert not target.exists(), f"{file} is no new file"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ADDED / file, target)

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command in the copy, with the copy's ``unbraid``; its output is one text."""
        environment = os.environ | {"PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"}
        for name in [name for name in environment if name.startswith(("AWS_", "UNBRAID_")) or name == "RAY_ADDRESS"]:
            del environment[name]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def python(self, *arguments: str) -> str:
        """Run Python in the copy and return its output.

        Raises:
            AssertionError: with the output, when it fails.
        """
        done = self.run(sys.executable, *arguments)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def unbraid(self, *arguments: str) -> str:
        """Run ``unbraid`` in the copy, see :meth:`python`."""
        return self.python("-m", "unbraid.cluster.cli", *arguments)

    def contracts(self) -> subprocess.CompletedProcess[str]:
        """Check the contracts of imports in the copy."""
        return self.run(Path(sys.executable).parent / "lint-imports", "--no-cache")


def added_files() -> list[Path]:
    """Return the fourth system's files, by their places in the repository."""
    return sorted(path.relative_to(ADDED) for path in ADDED.rglob("*") if path.is_file() and path.suffix in (".py", ".yaml"))


def lists_the_preset(addition: Addition) -> None:
    """``unbraid presets`` lists its preset, with its summary."""
    assert f"{PRESET:28} Strokes of 16x16" in addition.unbraid("presets")


def packs_its_data(addition: Addition) -> None:
    """``unbraid data pack`` offers its source with the source's own options, and packs a field that no other set has."""
    assert NAME in addition.unbraid("data", "pack", "--help")
    assert "--ink" in addition.unbraid("data", "pack", NAME, "--help")
    (addition.folder / "strokes.txt").write_text(STROKES)
    addition.unbraid("data", "pack", NAME, "strokes.txt", "set", "--ink", "200", "--shards", "2")
    assert '"count"' in (addition.folder / "set" / "index.json").read_text()


def trains(addition: Addition) -> None:
    """``unbraid train`` trains it to the end: checkpoints, previews, measures, a report."""
    output = addition.unbraid("train", PRESET, "--debug", "data.url=set", f"run.name={RUN}")
    assert "mean difference of rebuilt images" in output
    run = addition.folder / "runs" / RUN
    assert (run / "report.png").stat().st_size > 1000
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"step-00000003", "step-00000006"}
    assert list(run.rglob("preview/*")) and list(run.rglob("figures/*"))
    assert "test/style/slant_correlation" in (run / "metrics.jsonl").read_text()


def measures_again(addition: Addition) -> None:
    """``unbraid eval`` measures its checkpoint: everything that its configuration promises."""
    output = addition.unbraid("eval", RUN)
    assert all(f'"{name}"' in output for name in ("rebuilt/l1", "style/deviation", "style/slant_correlation"))


def generates(addition: Addition) -> None:
    """``unbraid generate`` offers its command, which draws a picture."""
    assert NAME in addition.unbraid("generate", "--help")
    assert "drawn.png: " in addition.unbraid("generate", NAME, RUN, "--counts", "4", "--output", "drawn.png")


def is_used(addition: Addition) -> None:
    """``unbraid export`` writes its model, and ``unbraid.load`` gives one that draws."""
    assert "unbraid.load(" in addition.unbraid("export", RUN, "exported")
    lines = ("import numpy, unbraid", "model = unbraid.load('exported')", "image = numpy.zeros((16, 16), numpy.uint8)")
    output = addition.python("-c", "; ".join((*lines, "print(model.recount([image] * 3, 2))")))
    assert "Images(3 of 16x16, grey)" in output


def is_searched(addition: Addition) -> None:
    """``unbraid tune`` takes a campaign over it, which chooses by a measure and by the agreement of models."""
    (addition.folder / "campaign.yaml").write_text(CAMPAIGN)
    output = addition.unbraid("tune", "campaign.yaml", "--dry-run")
    assert "FLOP an update" in output and "networks.autoencoder.hidden: " in output


def is_tested(addition: Addition) -> None:
    """The meta-device test takes it, on a batch of the fields that its configuration names; two of its models are compared."""
    (addition.folder / "tests" / "check_tally.py").write_text(AGREEMENT)
    tests = ("tests/trainers/step/test_meta_device.py", "tests/check_tally.py")
    output = addition.python("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, "-k", NAME)
    assert "3 passed" in output, output  # a step, a step with every change, the comparison


def keeps_the_contracts(addition: Addition) -> None:
    """Import-linter's contracts hold with it."""
    done = addition.contracts()
    assert done.returncode == 0, done.stdout


Capability = Callable[[Addition], None]
CAPABILITIES: tuple[Capability, ...] = (
    lists_the_preset,
    packs_its_data,
    trains,
    measures_again,
    generates,
    is_used,
    is_searched,
    is_tested,
    keeps_the_contracts,
)
"""What the tree must do with a system, in the order in which they build on each other."""
