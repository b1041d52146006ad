"""Distances between images; LPIPS by a named stand-in, since neither torch-fidelity nor its weights can be had in tests."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from unbraid.trainers.measures import diversity as module
from unbraid.trainers.measures.diversity import diversity, laplacian_distance, laplacian_pyramid


def test_a_pyramid_ends_at_eight_pixels_and_loses_nothing_flat() -> None:
    flat = torch.full((2, 3, 64, 64), 0.25)
    levels = laplacian_pyramid(flat)
    assert [level.shape[2] for level in levels] == [64, 32, 16, 8]
    assert all(level.abs().max() < 1e-5 for level in levels[:-1])
    assert torch.allclose(levels[-1], torch.tensor(0.25))


def test_the_distance_is_none_of_an_image_to_itself_and_grows_with_the_change() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 3, 32, 32, generator=generator)
    assert laplacian_distance(images, images).abs().max() == 0
    near, far = images.lerp(images.roll(1, 0), 0.1), images.roll(1, 0)
    assert torch.allclose(10 * laplacian_distance(images, near), laplacian_distance(images, far), rtol=1e-3)
    # a change of colour everywhere is seen at the last level only, of which a 32x32 image has three
    assert torch.allclose(laplacian_distance(images, images + 0.3), torch.full((4,), 0.1), atol=1e-4)


def test_lpips_stands_beside_it_where_it_can_be_had_named_stand_in() -> None:
    def stand_in(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().mean((1, 2, 3))

    a, b = torch.zeros(40, 3, 16, 16), torch.full((40, 3, 16, 16), 0.5)
    assert diversity(a, b, stand_in) == {"laplacian": pytest.approx(0.25, abs=1e-4), "lpips": pytest.approx(0.25)}


def test_without_weights_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    module._lpips.cache_clear()
    images = torch.rand(2, 3, 16, 16)
    for _ in range(2):
        assert set(diversity(images, images)) == {"laplacian"}
    assert len(caplog.records) == 1
    assert f"LPIPS is left out: no weights at {tmp_path}/checkpoints/weights-vgg16-lpips.pth" in caplog.text
    module._lpips.cache_clear()


def test_harmful_weights_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    module._lpips.cache_clear()
    (tmp_path / "checkpoints").mkdir()
    for name in module.LPIPS_WEIGHTS:
        (tmp_path / "checkpoints" / name).write_bytes(pickle.dumps(Harmful(tmp_path / "ran"), protocol=2))
    images = torch.rand(2, 3, 16, 16)
    assert set(diversity(images, images)) == {"laplacian"}
    assert "not a file of weights" in caplog.text
    assert not (tmp_path / "ran").exists()
    module._lpips.cache_clear()


class Harmful:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)
