"""Schedules of noise, v, and both samplers, on a Gaussian whose way back from noise is known in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anchorbench.errors import MethodError
from anchorbench.methods.noise import (
    ancestral_sample,
    ancestral_step,
    asked,
    even_levels,
    fast_sample,
    noised,
    parted,
    schedule,
)

SHAPES = ("linear", "quadratic", "cosine")


def pair() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(3, 1, 4, 4, generator=rng).double(), torch.randn(3, 1, 4, 4, generator=rng).double()


@settings(max_examples=20)
@given(st.floats(1e-6, 1 - 1e-6), st.sampled_from(["v", "eps"]))
def test_clean_and_noise_come_back_from_what_a_perfect_denoiser_says(kept, predict):
    clean, noise = pair()
    back = parted(noised(clean, noise, kept), asked(clean, noise, kept, predict=predict), kept, predict=predict)
    torch.testing.assert_close(back, (clean, noise), rtol=1e-6, atol=1e-6)


@settings(max_examples=20)
@given(st.floats(0, 1))
def test_noised_and_v_are_clean_and_noise_turned_by_an_angle(kept):
    clean, noise = pair()
    x, v = noised(clean, noise, kept), asked(clean, noise, kept, predict="v")
    torch.testing.assert_close(x**2 + v**2, clean**2 + noise**2)
    one, nothing = torch.ones(1).double(), torch.zeros(1).double()
    variance = noised(one, nothing, kept) ** 2 + noised(nothing, one, kept) ** 2
    torch.testing.assert_close(variance, one)


def test_levels_of_a_batch_are_those_of_its_samples_alone():
    clean, noise = pair()
    kept = schedule("linear", steps=10)[[1, 5, 10]]
    together = noised(clean, noise, kept.view(3, 1, 1, 1))
    for i in range(3):
        torch.testing.assert_close(together[i], noised(clean[i], noise[i], float(kept[i])))


def test_equal_betas_keep_a_power_of_one_minus_beta():
    torch.testing.assert_close(
        schedule("linear", steps=5, beta_min=0.1, beta_max=0.1), torch.tensor(0.9).double() ** torch.arange(6)
    )


@pytest.mark.parametrize(
    ("beta_max", "kept_at_the_end", "half_at"),
    [(0.010, 6.3e-3, 364), (0.015, 5.1e-4, 298), (0.020, 4.0e-5, 259), (0.035, 1.9e-8, 196)],
)
def test_the_published_ends_of_the_betas_leave_what_the_facts_derive(beta_max, kept_at_the_end, half_at):
    kept = schedule("linear", steps=1000, beta_max=beta_max)
    assert float(kept[-1]) == pytest.approx(kept_at_the_end, rel=0.03)  # two digits
    assert float(kept[half_at]) == pytest.approx(0.5, abs=0.003)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_schedule_falls_from_one(shape):
    kept = schedule(shape, steps=50, beta_max=0.2)
    assert kept[0] == 1
    assert len(kept) == 51
    assert (kept.diff() < 0).all()
    assert kept[-1] > 0


def test_the_root_of_a_quadratic_schedules_betas_is_even():
    kept = schedule("quadratic", steps=8, beta_min=0.01, beta_max=0.16)
    betas = 1 - kept[1:] / kept[:-1]
    torch.testing.assert_close(betas.sqrt().diff(), torch.full((7,), 0.3 / 7).double())


def test_betas_that_leave_the_unit_interval_are_refused():
    with pytest.raises(MethodError, match="0 < beta_min <= beta_max < 1"):
        schedule("linear", steps=10, beta_min=0.02, beta_max=0.01)


def test_an_ancestral_step_on_unit_gaussians_is_the_forward_step_itself():
    # x₀ ~ N(0, 1): x_n ~ N(0, 1) at every n, E[ε | x] = √(1−ᾱ) x, so the mean is √(1−β) x; with β z the variance is 1.
    x, z = pair()
    kept, kept_next = 0.3, 0.5
    beta = 1 - 0.3 / 0.5
    step = ancestral_step(x, math.sqrt(1 - kept) * x, kept, kept_next, z)
    torch.testing.assert_close(step, math.sqrt(1 - beta) * x + math.sqrt(beta) * z)


def exact_v(kept: Tensor, mean: float, spread: float):
    """Of x₀ ~ N(m, s²): E[x₀ | x] = m + √ᾱ s²/(ᾱ s² + 1 − ᾱ) (x − √ᾱ m), and v = (√ᾱ x − E[x₀ | x])/√(1−ᾱ)."""

    def denoise(x: Tensor, level: int) -> Tensor:
        a = float(kept[level])
        gain = math.sqrt(a) * spread**2 / (a * spread**2 + 1 - a)
        clean = mean + gain * (x - math.sqrt(a) * mean)
        return (math.sqrt(a) * x - clean) / math.sqrt(1 - a)

    return denoise


@pytest.mark.parametrize("spread", [0.1, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("beta_max", [0.02, 0.035])
def test_the_fast_sampler_carries_unit_noise_to_the_gaussian_it_came_from(beta_max, spread):
    # Every step is affine, x ↦ c x + d: c is the deviation and d the mean of what unit noise becomes.
    kept = schedule("linear", steps=1000, beta_max=beta_max)
    denoise = exact_v(kept, 1.0, spread)

    def made(steps: int) -> tuple[float, float]:
        at_0, at_1 = fast_sample(denoise, torch.tensor([0.0, 1.0]).double(), kept, steps=steps).tolist()
        return at_0, at_1 - at_0

    mean, deviation = made(20)
    assert deviation == pytest.approx(spread, rel=0.03)
    # The ODE leaves of the mean what the schedule has not drowned: m (1 − s √ᾱ_N / √(ᾱ_N s² + 1 − ᾱ_N)).
    a = float(kept[-1])
    assert mean == pytest.approx(1 - spread * math.sqrt(a / (a * spread**2 + 1 - a)), abs=0.01)
    assert abs(made(80)[1] - spread) < 0.25 * abs(deviation - spread) + 1e-2 * spread


@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0])
def test_the_ancestral_sampler_makes_the_variance_it_should(spread):
    # A chain of linear steps on vectors: one entry for the start and for each draw; the squared length is the variance.
    n = 1000
    kept = schedule("linear", steps=n)
    draws = iter(torch.eye(n + 1, dtype=torch.float64))
    made = ancestral_sample(exact_v(kept, 0.0, spread), next(draws), kept, lambda: next(draws))
    assert float(made.norm()) == pytest.approx(spread, rel=0.02)
    still = ancestral_sample(exact_v(kept, 1.0, spread), torch.zeros(1).double(), kept, lambda: torch.zeros(1))
    assert float(still) == pytest.approx(1.0, abs=0.02)


def test_an_ancestral_sampler_of_fewer_steps_takes_even_levels():
    assert even_levels(10, 5) == [10, 8, 6, 4, 2]
    assert even_levels(3, 50) == [3, 2, 1]
    seen = []
    kept = schedule("linear", steps=10)
    ancestral_sample(lambda x, n: seen.append(n) or x, torch.zeros(1), kept, lambda: torch.zeros(1), steps=5)
    assert seen == [10, 8, 6, 4, 2]


def test_both_predictions_lead_to_one_sample():
    kept = schedule("cosine", steps=100)
    start = torch.linspace(-2, 2, 5).double()
    of_v = exact_v(kept, 0.5, 0.7)

    def of_eps(x: Tensor, level: int) -> Tensor:
        return parted(x, of_v(x, level), float(kept[level]), predict="v")[1]

    torch.testing.assert_close(
        fast_sample(of_v, start, kept, steps=12, predict="v"),
        fast_sample(of_eps, start, kept, steps=12, predict="eps"),
        rtol=1e-6,
        atol=1e-6,
    )
