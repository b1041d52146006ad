"""``unbraid submit``: a mistake is found here, before anything is sent."""

import uuid
from pathlib import Path

import pytest

from tests.cluster.test_cli import unbraid
from unbraid.cluster.local.services import LocalServices


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name what to run"),
        (("generate",), "does not run on a cluster"),
        (("train", "infogan-mnits"), "no such preset"),
        (("train", "infogan-mnist", "run.updats=3"), "did you mean run.updates"),
        (("train", "infogan-mnist", "--debug"), "are for `unbraid train`"),
        (("tune", "status", "x"), "needs no cluster"),
    ],
)
def test_mistakes_are_found_before_anything_is_sent(services: LocalServices, arguments: tuple[str, ...], message: str) -> None:
    result = unbraid("submit", *arguments)
    assert result.exit_code in (1, 2)
    assert message in result.output


def test_a_folder_of_this_machine_is_refused_for_a_cluster_elsewhere(services: LocalServices) -> None:
    result = unbraid("submit", "--address", "http://192.0.2.9:8265", "train", "infogan-mnist")
    assert result.exit_code == 1
    assert "is a folder of this machine, which the cluster does not see" in result.output


def test_a_preset_that_the_clusters_tree_lacks_fails_with_its_error(services: LocalServices) -> None:
    result = unbraid("submit", "--no-upload", "train", "of-tomorrow")
    assert result.exit_code == 1
    assert "preset 'of-tomorrow': no such preset" in result.output


def test_what_is_left_out_is_said_on_standard_error_and_included_on_purpose(services: LocalServices, tmp_path: Path) -> None:
    for name in ("notes.txt", "test.pem", "weights.pt"):
        (tmp_path / name).write_text(name)
    words = ("submit", "--detach", "--working-dir", str(tmp_path), "--include", "weights.pt")
    result = unbraid(*words, "data", "inspect", f"s3://unbraid/{uuid.uuid4().hex}")
    assert result.exit_code == 0, result.output
    assert result.stderr == "left out 1: files that may hold keys, such as test.pem; --include test.pem uploads it on purpose\n"
    assert result.stdout.startswith("job data-inspect-")


def test_nothing_is_included_in_a_job_of_kubernetes() -> None:
    """Its pods run what is in their image."""
    result = unbraid("submit", "--kube", "--include", "*.pem", "train", "infogan-mnist")
    assert result.exit_code == 2
    assert "are for a Ray cluster that is running, not for --kube" in " ".join(result.output.split())
