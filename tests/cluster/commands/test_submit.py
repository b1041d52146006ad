"""``unbraid submit``: a mistake is found here, before anything is sent."""

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
