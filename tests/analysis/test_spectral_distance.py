"""FreSh's bins and distance against closed forms, and what says whether a distance foretold anything."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.testing import assert_close

from anchorbench.analysis.foretelling import agreement, foretelling
from anchorbench.analysis.spectral_distance import binned_spectrum, wasserstein
from anchorbench.errors import AnchorbenchError


def wave(n: int, ky: int, kx: int) -> torch.Tensor:
    at = torch.arange(n, dtype=torch.float64)
    return torch.cos(2 * math.pi * (ky * at[:, None] + kx * at) / n)[None]


def one(bins: int, at: int) -> torch.Tensor:
    return torch.eye(bins, dtype=torch.float64)[at - 1]


@pytest.mark.parametrize(("ky", "kx", "bin_"), [(0, 5, 5), (7, 0, 7), (2, 3, 5), (1, 1, 2)])
def test_a_wave_along_both_axes_is_in_the_one_bin_of_its_sum(ky, kx, bin_):
    assert_close(binned_spectrum(wave(32, ky, kx), ndim=2, bins=16), one(16, bin_))


def test_a_wave_of_opposite_signs_is_in_no_bin_and_in_its_ring():
    # (3, −3) is (3, 29) in raw indices: bin 32, beyond 16.  |k| = 4.24: ring 4.
    diagonal = wave(32, 3, -3)
    assert not binned_spectrum(diagonal, ndim=2, bins=16).any()
    assert_close(binned_spectrum(diagonal, ndim=2, bins=16, form="radial"), one(16, 4))
    background = diagonal + 0.01 * wave(32, 0, 2)
    assert_close(binned_spectrum(background, ndim=2, bins=16), one(16, 2), atol=1e-9, rtol=0)


def test_the_bins_are_the_sums_over_antidiagonals_of_all_channels_amplitudes():
    for n in (16, 17):
        u = torch.randn(2, n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
        amplitude = torch.fft.fft2(u).abs().sum(0)
        bins = n // 2
        sums = torch.stack([sum(amplitude[k, b - k] for k in range(b + 1)) for b in range(1, bins + 1)])
        assert_close(binned_spectrum(u, ndim=2, bins=bins), sums / sums.sum())


def test_white_noise_is_a_ramp_of_b_plus_one():
    u = torch.randn(200, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    ramp = torch.arange(1, 17) + 1.0
    # Amplitudes vary by half their mean: 200 fields know the first bin, of two waves, to 3 %.
    assert_close(binned_spectrum(u, ndim=2, bins=16).mean(0), ramp / ramp.sum(), rtol=0.08, atol=0)


def test_lines_and_volumes_have_bins_of_the_sum_of_their_waves():
    at = 2 * math.pi * torch.arange(16, dtype=torch.float64) / 16
    assert_close(binned_spectrum(torch.cos(3 * at)[None], ndim=1, bins=8), one(8, 3))
    volume = torch.cos(at[:, None, None] + 2 * at[:, None] + 3 * at)[None]
    assert_close(binned_spectrum(volume, ndim=3, bins=8), one(8, 6))


def test_a_plane_that_is_not_square_is_resized_to_its_shorter_side():
    tall = torch.cos(2 * math.pi * 2 * torch.arange(16) / 16).expand(1, 48, 16)
    assert_close(binned_spectrum(tall, ndim=2, bins=8), one(8, 2).float(), atol=2e-3, rtol=0)


def test_the_mean_is_no_wave_and_there_are_no_more_bins_than_half_the_points():
    assert not binned_spectrum(torch.full((1, 8, 8), 3.0), ndim=2, bins=4).any()
    with pytest.raises(AnchorbenchError, match="5 bins of a spectrum on 8 points"):
        binned_spectrum(torch.zeros(1, 8, 8), ndim=2, bins=5)
    with pytest.raises(AnchorbenchError, match=r"no form of spectrum 'radail'.*'radial'"):
        binned_spectrum(torch.zeros(1, 8, 8), ndim=2, bins=4, form="radail")


def test_the_distance_of_a_shift_is_the_shift_and_of_others_that_of_scipy():
    a = one(16, 3)
    assert wasserstein(a, a).item() == 0
    assert wasserstein(a, one(16, 12)).item() == 9
    rng = np.random.default_rng(0)
    x, y = rng.random(16), rng.random(16)
    expected = stats.wasserstein_distance(range(16), range(16), x, y)
    assert wasserstein(torch.tensor(x / x.sum()), torch.tensor(y / y.sum())).item() == pytest.approx(expected)


def test_a_distance_that_falls_where_quality_rises_foretells_it_wholly():
    distance = np.array([[3.0, 1.0, 2.0], [0.5, 4.0, 9.0]])
    told = foretelling(distance, -(distance**3))
    assert told.rank.mean == -1
    assert told.same == 1
    assert told.lost.mean == 0


def test_what_is_lost_is_the_quality_between_the_best_setting_and_the_nearest():
    told = foretelling(np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]]), np.array([[20.0, 26.0, 20.0], [7.0, 9.0, 8.0]]))
    # 26 − 20 and 9 − 9: mean 3; two fields: 3 ± t(0.975, 1) · 6/√2/√2 = 12.706 · 3.
    assert (told.lost.mean, told.same) == (3, 0.5)
    assert told.lost.high == pytest.approx(3 + 12.706 * 3, rel=1e-4)
    # Ranks (1, 2, 3) and (1.5, 3, 1.5): no correlation.  (3, 1, 2) and (1, 3, 2): −1.
    assert told.rank.mean == pytest.approx(-0.5)


def test_choices_agree_by_kendalls_tau():
    # 1 2 3 4 against 1 2 4 3: five pairs in order, one not: (5 − 1)/6.
    assert agreement(np.array([1, 2, 3, 4]), np.array([1, 2, 4, 3])) == pytest.approx(4 / 6)
    assert math.isnan(agreement(np.ones(3), np.arange(3)))
    with pytest.raises(AnchorbenchError, match="nothing varies"):
        foretelling(np.ones((2, 3)), np.ones((2, 3)))
