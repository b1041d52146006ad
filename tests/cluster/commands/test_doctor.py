"""``unbraid doctor`` on a real local cluster."""

import json
import subprocess
import sys
from pathlib import Path

from unbraid.cluster.local.services import LocalServices

ROOT = Path(__file__).parents[3]


def test_the_doctor_finds_a_healthy_cluster_healthy_and_says_so_for_programs(
    services: LocalServices, digits_url: str, tmp_path: Path
) -> None:
    settings = ["infogan-mnist", f"data.url={digits_url}", f"run.storage={tmp_path}", "data.lanes=8", "data.batch=64"]
    command = [sys.executable, "-m", "unbraid.cluster.cli", "doctor", *settings, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    findings = {finding["subject"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert done.returncode == 0, done.stdout
    assert set(findings) >= {
        "Ray",
        "versions",
        "GPUs",
        "run storage",
        "data reads",
        "data set",
        "lanes",
        "clocks",
        "ports",
        "all-reduce",
    }
    assert findings["ports"]["text"] == "all of Ray's and SeaweedFS's are on loopback"
    (rates,) = findings["run storage"]["figures"].values()
    assert rates["read"] > 0


def test_the_doctor_names_what_is_wrong_and_what_to_do(services: LocalServices, tmp_path: Path) -> None:
    settings = ["infogan-mnist", "data.url=s3://unbraid/nothing", f"run.storage={tmp_path}", "run.gpus=1"]
    command = [sys.executable, "-m", "unbraid.cluster.cli", "doctor", *settings]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    for words in ("FAIL  resources", "FAIL  GPUs", "FAIL  data reads", "pack the set there"):
        assert words in done.stdout
