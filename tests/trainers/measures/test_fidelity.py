"""Inception score and Fréchet distance by hand; the network itself cannot be had here, so a stand-in is named as one."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from unbraid.trainers.measures.fidelity import (
    UnavailableError,
    inception_extractor,
    inception_score,
    inception_scores,
    split_inception_score,
)
from unbraid.trainers.measures.frechet import frechet_distance, gaussian


def test_the_score_of_sure_and_varied_predictions_is_the_number_of_classes() -> None:
    assert inception_score(torch.eye(5).repeat(4, 1) * 100) == pytest.approx(5, rel=1e-4)
    assert inception_score(torch.zeros(8, 5)) == pytest.approx(1)
    assert inception_score(torch.tensor([[100.0, 0, 0]] * 6)) == pytest.approx(1)


def test_the_published_score_is_the_mean_over_ten_parts_in_their_order() -> None:
    """Each part of these 20 has one class only and scores 1; all together are two classes, sure and equally frequent."""
    logits = torch.eye(2).repeat_interleave(10, 0) * 100
    assert inception_score(logits) == pytest.approx(2, rel=1e-4)
    assert split_inception_score(logits) == pytest.approx(1, rel=1e-4)
    assert split_inception_score(torch.eye(2).repeat(10, 1) * 100) == pytest.approx(2, rel=1e-4)
    uneven = torch.eye(2).repeat(6, 1)[:11] * 100  # nine parts of one image and the last one of two
    assert split_inception_score(uneven) == pytest.approx((9 * 1 + 2) / 10, rel=1e-4)


def test_the_frechet_distance_of_known_gaussians() -> None:
    a = (np.zeros(2), np.diag([1.0, 4.0]))
    b = (np.array([3.0, 4.0]), np.diag([9.0, 4.0]))
    assert frechet_distance(a, b) == pytest.approx(25 + (1 + 9 - 2 * 3))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    mean, covariance = gaussian(torch.tensor([[0.0, 1.0], [2.0, 1.0]]))
    assert mean.tolist() == [1, 1]
    assert covariance.tolist() == [[2, 0], [0, 0]]


def test_scores_with_a_stand_in_for_inception() -> None:
    def means_of_channels(images: Tensor) -> tuple[Tensor, Tensor]:
        assert images.dtype == torch.uint8
        means = images.float().mean((2, 3))
        return means, means

    images = torch.rand(120, 3, 8, 8)
    scores = inception_scores(images, images, means_of_channels)
    assert scores["fid"] == pytest.approx(0, abs=1e-6)
    assert scores["is"] > 1
    assert 1 < scores["is_pg2"] != scores["is"]
    assert "is_pg2" not in inception_scores(images[:9], images, means_of_channels)
    assert inception_scores(images / 2, images, means_of_channels)["fid"] > 100


def test_without_weights_the_reason_is_told_and_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("UNBRAID_INCEPTION", str(tmp_path / "none.pth"))
    with caplog.at_level(logging.WARNING, logger="unbraid"):
        assert inception_scores(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)) == {}
    assert f"no weights at {tmp_path}/none.pth" in caplog.text
    assert "UNBRAID_INCEPTION" in caplog.text


def test_a_file_that_would_run_code_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights.pth"
    torch.save({"harmless": Path("no tensor")}, file)
    monkeypatch.setenv("UNBRAID_INCEPTION", str(file))
    with pytest.raises(UnavailableError, match="not a file of weights"):
        inception_extractor(torch.device("cpu"))
