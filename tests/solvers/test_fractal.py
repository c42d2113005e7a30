"""Fractal relief: its spectrum, its moments, its seeds and its edges, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorbench.errors import ConfigError
from anchorbench.fields import Grid, radial_spectrum
from anchorbench.solvers.fractal import fractal_relief, periodic_relief

#: Third moment of a standardised −|g|, g normal: −√2 (4 − π)/(π − 2)^(3/2) = −0.9953.
SKEWNESS_OF_CRESTS = -math.sqrt(2) * (4 - math.pi) / (math.pi - 2) ** 1.5


def reliefs(n: int, points: int = 64, **changes) -> np.ndarray:
    options = {"exponent": 2.5, "longest": 0.5, "ridges": 0.0, **changes}
    return np.stack([fractal_relief(points, seed=i, **options) for i in range(n)])


@pytest.mark.parametrize("exponent", [1.5, 2.5, 3.0])
def test_the_energy_of_a_ring_falls_as_the_exponent_says(exponent):
    # ⟨E(m)⟩ ∝ m^−β; a ring of radius m has about 2π m waves, so 96 fields tell the slope from m = 4 to 28 to ±0.05
    n = 64
    fields = np.stack(
        [periodic_relief(n, exponent=exponent, first=2.0, rng=np.random.default_rng(i)) for i in range(96)]
    )
    spectrum = radial_spectrum(torch.from_numpy(fields), Grid((n, n))).pooled()
    m = np.arange(4, 29)
    slope = np.polyfit(np.log(m), np.log(spectrum.energy[4:29].numpy()), 1)[0]
    assert slope == pytest.approx(-exponent, abs=0.05)


def test_the_cut_keeps_the_slope_of_the_field_it_was_cut_from():
    # a crop with a Hann window smears each ring over its neighbours: a power law stays one
    n = 128
    spectrum = radial_spectrum(
        torch.from_numpy(reliefs(48, n)), Grid((n, n), centring="cell", periodic=(False, False)), taper="hann"
    ).pooled()
    m = np.arange(10, 50)
    assert np.polyfit(np.log(m), np.log(spectrum.energy[10:50].numpy()), 1)[0] == pytest.approx(-2.5, abs=0.1)


def test_there_is_no_wave_longer_than_the_longest_nor_shorter_than_two_points():
    field = periodic_relief(32, exponent=2.0, first=3.0, rng=np.random.default_rng(1))
    power = np.abs(np.fft.fft2(field)) ** 2
    m = np.fft.fftfreq(32, 1 / 32)
    radius = np.hypot(m[:, None], m[None])
    outside = (radius < 3.0) | (radius >= 16)
    assert power[outside].max() < 1e-9 * power.max()
    assert power[~outside].min() > 0


@pytest.mark.parametrize("points", [32, 33])
def test_many_periodic_fields_have_mean_square_one_on_even_and_odd_grids(points):
    # ⟨g²⟩ = 1 exactly in expectation; from 200 fields of some ten effective waves the mean is good to about 4 %
    squares = [
        (periodic_relief(points, exponent=2.0, first=2.0, rng=np.random.default_rng(i)) ** 2).mean() for i in range(200)
    ]
    assert np.mean(squares) == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("ridges", [0.0, 0.5, 1.0])
def test_ridges_leave_mean_and_variance_and_turn_the_third_moment(ridges):
    # g₁ and the crests are independent: the third moments add, r^(3/2) of that of the crests alone
    u = reliefs(256, 48, ridges=ridges, longest=0.25).astype(float)
    assert u.mean() == pytest.approx(0.0, abs=0.02)
    assert u.var() == pytest.approx(1.0, abs=0.03)
    assert (u**3).mean() == pytest.approx(ridges**1.5 * SKEWNESS_OF_CRESTS, abs=0.06)


def test_crests_are_sharp_and_all_as_high_as_a_zero_of_the_field_below():
    # (⟨|g|⟩ − |g|)/std|g| is largest where g = 0: √(2/π)/√(1 − 2/π) = 1.3236
    highest = math.sqrt(2 / math.pi) / math.sqrt(1 - 2 / math.pi)
    u = fractal_relief(128, exponent=3.0, longest=0.5, ridges=1.0, seed=0)
    assert 0.98 * highest < u.max() <= highest + 1e-6


def test_opposite_edges_are_strangers_and_neighbouring_rows_are_not():
    u = reliefs(32)
    # ⟨(a − b)²⟩ = 2 (1 − correlation) for values of variance 1
    assert ((u[:, 0] - u[:, -1]) ** 2).mean() == pytest.approx(2.0, abs=0.4)
    assert ((u[:, 0] - u[:, 1]) ** 2).mean() < 0.2
    whole = np.stack([periodic_relief(64, exponent=2.5, first=2.0, rng=np.random.default_rng(i)) for i in range(32)])
    # of a periodic field the two edges are neighbours
    assert ((whole[:, 0] - whole[:, -1]) ** 2).mean() < 2 * ((whole[:, 0] - whole[:, 1]) ** 2).mean()


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**31), ridges=st.sampled_from([0.0, 0.3, 1.0]))
def test_a_seed_is_one_landscape(seed, ridges):
    options = {"exponent": 2.5, "longest": 0.5, "ridges": ridges}
    one, again = (fractal_relief(16, seed=(seed, 1, 2), **options) for _ in range(2))
    other = fractal_relief(16, seed=(seed, 1, 3), **options)
    assert one.dtype == np.float32
    assert one.shape == (16, 16)
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"ridges": 1.5}, "ridges are a share of the variance, between 0 and 1, not 1.5"),
        ({"longest": 0.01}, "no wave fits a relief of 128 points: the longest is 0.64 points long"),
    ],
)
def test_numbers_that_make_no_landscape_are_refused(change, named):
    with pytest.raises(ConfigError, match=named):
        reliefs(1, **change)
