"""From fields to words: references whose verdict is known before anything is run."""

from __future__ import annotations

import math

import pytest
import torch

from anchorbench.analysis import Cells, curve, judge, score
from anchorbench.fields import Grid, prolong, restrict

HOME, RUNGS, N_CLUSTERS = Grid((8, 8)), (8, 16, 32), 6


@pytest.fixture(params=[torch.float32, torch.float64])
def finest(request):
    """Fields that fall as k⁻³, so that the band unseen at 8 holds a small part of the energy; k < 16 only."""
    n, g = 32, torch.Generator().manual_seed(7)
    k = torch.fft.fftfreq(n, 1 / n)
    radius = torch.hypot(k[:, None], k[None, :])
    inside = (k.abs()[:, None] < 16) & (k.abs()[None, :] < 16) & (radius > 0)
    white = torch.fft.fft2(torch.randn(12, 1, n, n, generator=g, dtype=torch.float64))
    return torch.fft.ifft2(white * inside / radius.clamp_min(1) ** 3).real.to(request.param)


def cells(predict, finest, *, seeds=3):
    """predict(seed, grid, truth) scored on each rung, two samples a trajectory, in units of the truth's deviation."""
    sigma = float(restrict(finest, HOME).double().square().mean().sqrt())
    sums = []
    for seed in range(seeds):
        sums.append({})
        for n in RUNGS:
            grid = Grid((n, n))
            truth = restrict(finest, grid)
            sums[-1][n] = score(
                predict(seed, grid, truth),
                truth,
                grid=grid,
                band=HOME,
                how="spectral",
                clusters=torch.arange(12) // 2,
                n_clusters=N_CLUSTERS,
            )
    return Cells.from_sums(sums, sigma=sigma)


def noise(seed, like):
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed)).to(like) * like.std()


def test_a_run_s_own_coarse_prediction_is_anchored_flat_and_empty(finest):
    def coarse_then_upsample(seed, grid, truth):
        home = restrict(finest, HOME)
        return prolong(home + 0.1 * noise(seed, home), grid)

    found = cells(coarse_then_upsample, finest)
    verdict = judge(found, train_rung=8)
    assert (verdict.word, verdict.second_word) == ("anchored", "empty")
    assert verdict.slope_estimate == pytest.approx(0.0, abs=1e-5)
    assert curve(found).error == pytest.approx((found.rms("resolved", 8),) * 3, rel=1e-5)


def test_the_truth_has_no_first_word_and_adds(finest):
    verdict = judge(cells(lambda seed, grid, truth: truth, finest), train_rung=8)
    assert (verdict.word, verdict.second_word, verdict.skill) == (None, "adds", 1.0)


def test_a_low_pass_of_the_truth_has_no_first_word_and_is_empty(finest):
    verdict = judge(cells(lambda seed, grid, truth: prolong(restrict(truth, HOME), grid), finest), train_rung=8)
    assert (verdict.word, verdict.second_word) == (None, "empty")


def test_a_solver_of_second_order_converges_with_slope_minus_two_and_adds(finest):
    def solver(seed, grid, truth):
        return truth * (1 + 0.3 * (8 / grid.rung) ** 2)

    verdict = judge(cells(solver, finest, seeds=1), train_rung=8)
    assert (verdict.word, verdict.second_word) == ("converging", "adds")
    assert verdict.slope_estimate == pytest.approx(-2.0, abs=1e-4)


def test_a_model_that_hallucinates_is_anchored_and_harms_though_its_total_error_grows(finest):
    """Why the verdict is not read off the total error: the same resolved error on every rung, noise above it."""

    def hallucinating(seed, grid, truth):
        home = restrict(finest, HOME)
        low = prolong(home + 0.1 * noise(seed, home), grid)
        if grid == HOME:
            return low
        above = noise(seed, truth)
        return low + 0.5 * (above - prolong(restrict(above, HOME), grid))

    found = cells(hallucinating, finest)
    verdict, drawn = judge(found, train_rung=8), curve(found, train_rung=8)
    assert (verdict.word, verdict.second_word) == ("anchored", "harms")
    # noise of 0.1 on 49 of the 64 waves at ρ₀ (the Nyquist waves are no part of it), and of 0.5 on the rest of 1024
    resolved, above = 0.1**2 * 49 / 64, 0.5**2 * (1 - 49 / 1024)
    assert drawn.ratio_own[-1] == pytest.approx(math.sqrt(1 + above / resolved), rel=0.1)
