"""Effective resolution: where the squared coherence with the truth falls below one half."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from anchorbench.analysis import coherence, effective_wavenumber
from anchorbench.errors import AnchorbenchError
from anchorbench.fields import Grid, radial_spectrum

K = np.arange(6.0)


def test_noise_beside_the_truth_lowers_coherence_by_its_share():
    """p = g y + n, n independent of y: γ² = g² Y / (g² Y + N), whatever the gain; ⟨|p − y|²⟩ = (g − 1)² Y + N."""
    truth, noise = np.array([4.0, 2.0, 1.0]), np.array([0.0, 2.0, 9.0])
    for g in (0.5, 1.0, 3.0):
        found = coherence(g**2 * truth + noise, truth, (g - 1) ** 2 * truth + noise)
        np.testing.assert_allclose(found, g**2 * truth / (g**2 * truth + noise), rtol=1e-12)


def test_spectra_of_fields_give_the_cosine_of_a_shift_squared():
    """A wave that is a phase φ off has Re p̂ŷ* = |ŷ|² cos φ: γ² = cos² φ below 90°, and 0 beyond."""
    grid = Grid((64,), extent=(2 * math.pi,))
    x = torch.arange(64, dtype=torch.float64) * 2 * math.pi / 64
    phases = {1: 0.3, 3: 1.0, 7: 2.0}
    truth = sum(torch.cos(k * x) for k in phases)
    shifted = sum(torch.cos(k * x - phase) for k, phase in phases.items())
    spectra = [radial_spectrum(u, grid).energy.numpy() for u in (shifted, truth, shifted - truth)]
    found = coherence(*spectra)
    assert found[[1, 3, 7]] == pytest.approx([math.cos(0.3) ** 2, math.cos(1.0) ** 2, 0.0], abs=1e-12)
    assert np.isnan(found[[2, 4, 20]]).all(), "where the truth has nothing, nothing can be known of it"


def test_it_lies_on_the_line_between_the_two_rings_about_one_half():
    found = effective_wavenumber(K, [0.1, 0.9, 0.7, 0.3, 0.8, 0.0])
    assert found.k == pytest.approx(2.5)  # from 0.7 at 2 to 0.3 at 3; the mean's ring does not count
    assert (found.at_least, found.text) == (False, "2.5")


def test_a_prediction_that_is_right_everywhere_is_at_least_as_fine_as_its_grid():
    found = effective_wavenumber(K, [1.0] * 6)
    assert (found.k, found.at_least, found.text) == (5.0, True, "at least 5")


def test_a_prediction_of_nothing_is_below_the_first_wave():
    truth = np.ones(6)
    found = effective_wavenumber(K, coherence(0 * truth, truth, truth))
    assert (found.k, found.text) == (None, "below the first wave")
    assert effective_wavenumber(K, [math.nan] * 6) is None


def test_spectra_that_do_not_fit_are_refused():
    with pytest.raises(AnchorbenchError, match="share their rings"):
        coherence([1.0], [1.0, 2.0], [1.0])
    with pytest.raises(AnchorbenchError, match="not negative"):
        coherence([-1.0], [1.0], [1.0])
    with pytest.raises(AnchorbenchError, match="ascends"):
        effective_wavenumber([1.0, 1.0], [1.0, 0.0])
