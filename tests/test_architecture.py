"""Contracts between the folders, and the size of files."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LONGEST_FILE = 400


def test_imports_go_one_way() -> None:
    done = subprocess.run([Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("folder", ["models", "datasets", "trainers", "cluster", "tests", "benchmarks"])
def test_no_file_is_too_long_to_hold_in_the_head(folder: str) -> None:
    long = {str(p): n for p in (ROOT / folder).rglob("*.py") if (n := len(p.read_text().splitlines())) > LONGEST_FILE}
    assert not long


def test_command_line_and_config_import_nothing_heavy() -> None:
    script = (
        "import sys; import unbraid.cluster.cli; "
        "from unbraid.trainers.config.overrides import resolve; resolve('infogan-mnist', ['run.seed=3']);"
        "print([m for m in ('torch', 'kornia', 'ray', 'boto3', 'webdataset', 'matplotlib', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
