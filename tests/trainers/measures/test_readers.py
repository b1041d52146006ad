"""Readers find what is there, and nothing else."""

from collections.abc import Callable
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from unbraid.models.random import RandomSource
from unbraid.trainers.measures import readers
from unbraid.trainers.measures.readers import Known, class_accuracy, linear_r2
from unbraid.trainers.systems.cdd.probes import noise_of, with_noise

CPU = torch.device("cpu")
ROWS, FITTED = 1500, 1000
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def truth() -> tuple[Tensor, Tensor, Tensor]:
    """Classes, colours, and numbers that know neither."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 10, (ROWS,), generator=generator)
    return labels, torch.rand(ROWS, 3, generator=generator), torch.randn(ROWS, 100, generator=generator)


def accuracy(features: Tensor, labels: Tensor, linear: bool = True, noise: Callable[[Tensor], Tensor] | None = None) -> float:
    fitted, scored = Known(features[:FITTED], labels[:FITTED]), Known(features[FITTED:], labels[FITTED:])
    return class_accuracy(fitted, scored, linear, noise)


def r2(features: Tensor, colours: Tensor) -> float:
    return linear_r2(Known(features[:FITTED], colours[:FITTED]), Known(features[FITTED:], colours[FITTED:]))


def test_classes_are_read_where_they_are(truth: tuple[Tensor, Tensor, Tensor]) -> None:
    labels, _, noise = truth
    assert accuracy(noise, labels) < 0.2
    assert accuracy(torch.cat([noise, 3 * torch.eye(10)[labels]], 1), labels) > 0.95
    assert accuracy(torch.eye(10)[labels], labels) > 0.99


def test_a_hidden_layer_reads_what_no_line_divides() -> None:
    features = 2 * torch.rand(ROWS, 2, generator=torch.Generator().manual_seed(0)) - 1
    labels = (features.prod(1) > 0).long()
    assert accuracy(features, labels) < 0.65
    assert accuracy(features, labels, linear=False) > 0.9


def test_of_maps_the_hidden_layer_finds_a_shape_anywhere() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (ROWS,), generator=generator)
    maps = torch.zeros(ROWS, 1, 8, 8)
    for row, label in enumerate(labels.tolist()):
        i, j = torch.randint(0, 6, (2,), generator=generator).tolist()
        maps[row, 0, i : i + (3 if label else 1), j : j + (1 if label else 3)] = 1
    assert accuracy(maps, labels, linear=False) > 0.9
    assert accuracy(maps, labels) < 0.75


def test_noise_on_numbers_that_hardly_vary_does_not_drown_the_others(truth: tuple[Tensor, Tensor, Tensor]) -> None:
    labels, _, noise = truth
    features, source = torch.cat([torch.eye(10)[labels], 0.001 * noise.repeat(1, 4)], 1), RandomSource(0, CPU)
    found = accuracy(features, labels, linear=False, noise=lambda clean: with_noise(clean, 0.1, source))
    assert found > 0.9


def test_fresh_noise_hides_what_is_fainter(truth: tuple[Tensor, Tensor, Tensor]) -> None:
    labels, colours, noise = truth
    faint, source = torch.cat([noise, 0.01 * torch.eye(10)[labels]], 1), RandomSource(0, CPU)
    assert accuracy(faint, labels) > 0.9
    assert accuracy(faint, labels, noise=lambda features: with_noise(features, 0.3, source)) < 0.2
    colour = torch.cat([noise, 0.01 * colours], 1)
    assert r2(colour, colours) > 0.95
    assert abs(r2(with_noise(colour, 0.3, source), colours)) < 0.05
    for part, std in (("shared", 0.3), ("exclusive", 0.3 / 8)):
        drowned = with_noise(colour, noise_of(part, 0.3), source)
        assert (drowned - colour).std().item() == pytest.approx(std, rel=0.05)


@pytest.mark.parametrize("width", [4, 100, 2000])
def test_colours_are_read_where_they_are_and_noise_is_no_worse_than_the_mean(
    truth: tuple[Tensor, Tensor, Tensor], width: int
) -> None:
    """Of fewer numbers than samples, and of more, which are solved in another form."""
    _, colours, _ = truth
    noise = torch.randn(ROWS, width, generator=torch.Generator().manual_seed(1))
    assert -0.03 < r2(noise, colours) < 0.05
    mixed = colours @ torch.randn(3, width, generator=torch.Generator().manual_seed(2))
    assert r2(mixed + 0.1 * noise, colours) > 0.9
    assert r2(torch.zeros(ROWS, width), colours) == pytest.approx(0, abs=0.02)


def test_readers_learn_with_dropout_and_are_scored_without(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(nn.Linear):
        seen: ClassVar[set[tuple[bool, bool]]] = set()

        def forward(self, features: Tensor) -> Tensor:
            self.seen.add((torch.is_grad_enabled(), self.training))
            return super().forward(features)

    monkeypatch.setattr(readers, "_reader", lambda shape, classes, linear: Watched(shape.numel(), classes))
    accuracy(torch.randn(ROWS, 3), torch.arange(ROWS) % 2)
    assert Watched.seen == {(True, True), (False, False)}


def test_the_same_samples_give_the_same_figures_and_leave_torchs_numbers_alone(truth: tuple[Tensor, Tensor, Tensor]) -> None:
    labels, _, noise = truth
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = accuracy(noise, labels, linear=False)
    assert torch.equal(torch.rand(3), expected)
    assert accuracy(noise, labels, linear=False) == first
