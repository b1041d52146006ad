"""ModelCentrality from pairwise agreements."""

import pytest

from unbraid.trainers.search.plan.centrality import agreement_matrix, centralities


def test_centrality_is_the_mean_agreement_with_the_others_both_ways() -> None:
    assert centralities([[1.0, 0.8, 0.1], [0.6, 1.0, 0.3], [0.1, 0.1, 1.0]]) == pytest.approx([0.4, 0.45, 0.15])


def test_rows_of_the_matrix_are_readers_and_no_model_is_compared_with_itself() -> None:
    agreements = {("a", "b"): 0.25, ("b", "a"): 0.75}
    assert agreement_matrix(["a", "b"], lambda reader, drawer: agreements[reader, drawer]) == [[1.0, 0.25], [0.75, 1.0]]
