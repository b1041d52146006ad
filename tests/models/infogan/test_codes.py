"""Latent codes: layout, sampling, likelihood, entropy."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.models.infogan.codes import (
    CodePosterior,
    CodeSample,
    latent_vector,
    log_likelihood,
    mutual_information,
    sample_codes,
    split_head,
)
from unbraid.models.infogan.specs import CodeSpec, Variance
from unbraid.models.random import RandomSource

CPU = torch.device("cpu")
MIXES = st.builds(
    CodeSpec,
    noise=st.integers(0, 8),
    categorical=st.lists(st.integers(2, 12), min_size=1, max_size=3).map(tuple),
    continuous=st.integers(0, 4),
    noise_prior=st.sampled_from(["uniform", "normal"]),
    variance=st.sampled_from(["fixed", "learnt"]),
)


@given(MIXES)
@settings(max_examples=50, deadline=None)
def test_any_mix_of_codes_samples_to_its_layout(spec: CodeSpec) -> None:
    sample = sample_codes(spec, RandomSource(0, CPU), 64)
    latent = latent_vector(spec, sample)
    assert latent.shape == (64, spec.latent_width)
    one_hots = latent[:, spec.noise : spec.noise + sum(spec.categorical)]
    assert torch.equal(one_hots.sum(1), torch.full((64,), float(len(spec.categorical))))
    for i, classes in enumerate(spec.categorical):
        assert sample.categorical[:, i].max() < classes
    assert sample.continuous.abs().le(1).all()


@given(MIXES)
@settings(max_examples=50, deadline=None)
def test_head_is_split_into_what_the_codes_need(spec: CodeSpec) -> None:
    posterior = split_head(spec, torch.randn(5, spec.head_width))
    assert [logits.shape for logits in posterior.logits] == [(5, classes) for classes in spec.categorical]
    assert posterior.mean.shape == posterior.log_variance.shape == (5, spec.continuous)


def test_all_classes_are_drawn_equally_often() -> None:
    sample = sample_codes(CodeSpec(categorical=(10,)), RandomSource(0, CPU), 100_000)
    shares = torch.bincount(sample.categorical[:, 0], minlength=10) / 100_000
    assert shares.sub(0.1).abs().max() < 0.005


def test_two_ranks_draw_the_halves_of_what_one_draws() -> None:
    spec = CodeSpec()
    whole = latent_vector(spec, sample_codes(spec, RandomSource(3, CPU), 8))
    halves = [latent_vector(spec, sample_codes(spec, RandomSource(3, CPU, 2, range(rank, rank + 1)), 4)) for rank in range(2)]
    assert torch.equal(whole, torch.cat(halves))


def test_numbers_of_an_update_do_not_depend_on_those_before() -> None:
    fresh, used = RandomSource(3, CPU), RandomSource(3, CPU)
    used.normal(100)
    fresh.seek(7)
    used.seek(7)
    assert torch.equal(fresh.uniform(5, 2), used.uniform(5, 2))


def test_perfect_categorical_posterior_reaches_the_ceiling() -> None:
    spec = CodeSpec(noise=0, categorical=(10,), continuous=0)
    sample = sample_codes(spec, RandomSource(0, CPU), 32)
    certain = 1000.0 * torch.nn.functional.one_hot(sample.categorical[:, 0], 10)
    value = mutual_information(spec, split_head(spec, certain), sample)["categorical_0"]
    assert value.item() == pytest.approx(math.log(10), abs=1e-5)
    assert spec.ceilings["categorical_0"] == pytest.approx(2.302585)


def test_ignorant_categorical_posterior_has_no_information() -> None:
    spec = CodeSpec(noise=0, categorical=(10,), continuous=0)
    value = mutual_information(spec, split_head(spec, torch.zeros(32, 10)), sample_codes(spec, RandomSource(0, CPU), 32))
    assert value["categorical_0"].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("variance", ["fixed", "learnt"])
def test_continuous_log_likelihood_is_the_normal_density(variance: Variance) -> None:
    spec = CodeSpec(noise=0, categorical=(), continuous=2, variance=variance)
    head = torch.randn(6, spec.head_width)
    sample = CodeSample(torch.zeros(6, 0), torch.zeros(6, 0, dtype=torch.int64), torch.rand(6, 2))
    posterior: CodePosterior = split_head(spec, head)
    sigma = torch.exp(0.5 * posterior.log_variance)
    expected = torch.distributions.Normal(posterior.mean, sigma).log_prob(sample.continuous).mean(0)
    terms = log_likelihood(spec, posterior, sample)
    assert torch.allclose(torch.stack([terms["continuous_0"], terms["continuous_1"]]), expected, atol=1e-6)


def test_variance_is_chosen_for_each_code() -> None:
    spec = CodeSpec(noise=0, categorical=(3,), continuous=2, variance=("fixed", "learnt"))
    head = torch.tensor([[0.0, 0.0, 0.0, 0.1, 0.2, 0.7]])
    posterior = split_head(spec, head)
    assert posterior.mean.tolist() == [pytest.approx([0.1, 0.2])]
    assert posterior.log_variance.tolist() == [pytest.approx([0.0, math.log(math.exp(0.7) + 0.01)])]
    assert spec.ceilings["continuous_0"] == pytest.approx(math.log(2) - 0.5 * math.log(2 * math.pi))
    assert spec.ceilings["continuous_1"] == pytest.approx(math.log(2) - 0.5 * math.log(2 * math.pi * 0.01))


@pytest.mark.parametrize("floor", [0.01, 0.1])
def test_a_learnt_variance_has_a_floor_and_l_i_a_ceiling(floor: float) -> None:
    """However sure Q is, and right to be."""
    spec = CodeSpec(noise=0, categorical=(), continuous=1, variance="learnt", variance_floor=floor)
    codes = torch.rand(400, 1) * 2 - 1
    sample = CodeSample(torch.zeros(400, 0), torch.zeros(400, 0, dtype=torch.int64), codes)
    posterior = split_head(spec, torch.cat([codes, torch.full_like(codes, -60.0)], 1))
    assert posterior.log_variance.exp().min().item() == pytest.approx(floor, rel=1e-4)
    assert mutual_information(spec, posterior, sample)["continuous_0"].item() == pytest.approx(spec.ceilings["continuous_0"])


@pytest.mark.parametrize("variance", ["fixed", "learnt"])
def test_the_share_of_information_runs_from_the_prior_to_the_ceiling(variance: Variance) -> None:
    spec = CodeSpec(noise=0, categorical=(4,), continuous=1, variance=variance)
    codes = torch.linspace(-1, 1, 20_001)[:, None]
    sample = CodeSample(torch.zeros(20_001, 0), torch.zeros(20_001, 1, dtype=torch.int64), codes)

    def share(mean: torch.Tensor, of_variance: float) -> float:
        raw = [torch.full_like(codes, math.log(of_variance - 0.01))] if variance == "learnt" else []
        posterior = split_head(spec, torch.cat([torch.zeros(len(codes), 4), mean, *raw], 1))
        nats = {name: value.item() for name, value in mutual_information(spec, posterior, sample).items()}
        assert spec.information_shares(nats)["categorical_0"] == pytest.approx(0, abs=1e-6)
        return spec.information_shares(nats)["continuous_0"]

    assert share(0 * codes, 1 / 3) == pytest.approx(0, abs=1e-3)
    assert share(codes, 0.0100001) == pytest.approx(1, abs=1e-3)
    assert share(-codes, 0.02) == 0
    noisy = codes + 0.2 * torch.randn(codes.shape, generator=torch.Generator().manual_seed(0))
    expected = 1 - 3 * 0.04 if variance == "fixed" else math.log(1 / 3 / 0.04) / (math.log(1 / 3 / 0.01) + 1)
    assert share(noisy, 0.04) == pytest.approx(expected, abs=0.02)


def test_the_share_of_a_categorical_code_is_of_its_entropy() -> None:
    spec = CodeSpec(categorical=(8,), continuous=0)
    assert spec.information_shares({"categorical_0": math.log(2)})["categorical_0"] == pytest.approx(1 / 3)
    assert spec.information_shares({"categorical_0": -1.0})["categorical_0"] == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"categorical": (1,)}, "at least 2 classes"),
        ({"categorical": (), "continuous": 0}, "nothing to predict"),
        ({"noise": -1}, "negative"),
        ({"continuous": 3, "variance": ("fixed",)}, "1 entries for 3"),
        ({"variance_floor": 0.0}, "variance_floor=0 must be above 0 and below 0.333"),
        ({"variance_floor": 0.5}, r"variance_floor=0\.5 must be above 0"),
    ],
)
def test_impossible_codes_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CodeSpec(**fields)  # type: ignore[arg-type]


def test_a_head_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="built for other codes"):
        split_head(CodeSpec(), torch.zeros(4, 5))
