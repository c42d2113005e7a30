"""Scores of an ensemble against closed forms, brute force over members and boxes, and merged batches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from anchorbench.analysis.ensemble import (
    crps,
    ensemble,
    fss,
    mass_error,
    mean_rmse,
    quantile_error,
    rank_deviation,
    rank_histogram,
    spread_skill,
    wet_shares,
)
from anchorbench.errors import AnchorbenchError
from anchorbench.fields import Grid

GRID = Grid((6, 5), extent=(6.0, 5.0), centring="cell", periodic=(True, False))  # cells of one area


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rain(members: int, samples: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Members and truth with many zeros, two channels, and a mask."""
    shape = (samples, 2, *GRID.shape)
    x = torch.randn(members, *shape, generator=rng(seed)).clamp_min(0)
    y = torch.randn(shape, generator=rng(seed + 1)).clamp_min(0)
    mask = (torch.rand(samples, 1, *GRID.shape, generator=rng(seed + 2)) > 0.3).float()
    return x, y, mask


def sums_of(x: Tensor, y: Tensor, grid: Grid = GRID, **options):
    return ensemble(x, y, grid=grid, clusters=torch.zeros(len(y), dtype=torch.long), n_clusters=1, **options)


def test_both_forms_of_crps_are_what_all_pairs_of_members_say():
    x, y, mask = rain(5, 3)
    sums = sums_of(x, y, weights=mask)
    error = (x - y).abs().mean(0)
    pairs = torch.stack([(a - b).abs() for a in x for b in x]).sum(0)
    for fair, count in ((True, 5 * 4), (False, 5 * 5)):
        by_point = (error - pairs / (2 * count)) * mask
        wanted = by_point.sum((0, 2, 3)) / mask.sum()
        np.testing.assert_allclose(crps(sums, fair=fair), wanted.numpy(), rtol=1e-5)


def test_the_fair_crps_of_unit_gaussians_is_one_over_root_pi_whatever_their_number():
    # E|X − Y| − ½ E|X − X'| = ½ · 2/√π for X, X', Y ~ N(0, 1): a pair's difference has deviation √2 and mean 2/√π.
    # Plain: ½ E|X − X'| counts (M−1)/M, so 1/√π (1 + 1/M).
    grid = Grid((200, 200))
    truth = torch.randn(1, 1, 200, 200, generator=rng(1))
    for m in (2, 8):
        sums = sums_of(torch.randn(m, 1, 1, 200, 200, generator=rng(m)), truth, grid)
        assert float(crps(sums)[0]) == pytest.approx(1 / math.sqrt(math.pi), rel=0.02)
        assert float(crps(sums, fair=False)[0]) == pytest.approx((1 + 1 / m) / math.sqrt(math.pi), rel=0.02)
        assert float(spread_skill(sums)[0]) == pytest.approx(1, abs=0.02)
        assert float(mean_rmse(sums, corrected=False)[0]) == pytest.approx(math.sqrt(1 + 1 / m), rel=0.02)
        assert float(mean_rmse(sums)[0]) == pytest.approx(1, rel=0.02)
        np.testing.assert_allclose(rank_histogram(sums)[:, 0], 1 / (m + 1), atol=0.01)
        assert float(rank_deviation(sums)[0]) < 0.05


def test_members_twice_as_wide_as_the_truth_are_told_from_those_half_as_wide():
    grid, truth = Grid((100, 100)), torch.randn(1, 1, 100, 100, generator=rng(1))
    noise = torch.randn(9, 1, 1, 100, 100, generator=rng(2))
    wide, narrow = (sums_of(scale * noise, truth, grid) for scale in (2.0, 0.5))
    # s² = k², and Σ (x̄ − y)² = 1 + k²/9
    for sums, k in ((wide, 2.0), (narrow, 0.5)):
        wanted = math.sqrt(10 / 9 * k**2 / (1 + k**2 / 9))
        assert float(spread_skill(sums)[0]) == pytest.approx(wanted, rel=0.03)
    ends = [float(rank_histogram(sums)[[0, -1], 0].sum()) for sums in (wide, narrow)]
    assert ends[0] < 0.12 < 0.4 < ends[1], "flat would be 0.2"


def test_a_tie_is_spread_over_the_ranks_that_it_leaves_open():
    grid = Grid((1, 2))
    members = torch.tensor([[0.0, 0.0], [0.0, 2.0], [1.0, 3.0]]).view(3, 1, 1, 1, 2)
    truth = torch.tensor([0.0, 2.5]).view(1, 1, 1, 2)
    # Left: none below, two level: a third each to ranks 0, 1, 2.  Right: two below, rank 2.  Each point is half.
    np.testing.assert_allclose(
        rank_histogram(sums_of(members, truth, grid))[:, 0], [1 / 6, 1 / 6, 1 / 6 + 1 / 2, 0], atol=1e-12
    )


def test_a_truth_beyond_all_members_has_one_rank_and_the_largest_deviation():
    sums = sums_of(torch.zeros(12, 2, 1, *GRID.shape), torch.ones(2, 1, *GRID.shape))
    histogram = rank_histogram(sums)[:, 0]
    assert histogram.argmax() == 12
    np.testing.assert_allclose(histogram.sum(), 1)
    np.testing.assert_allclose(rank_deviation(sums), math.sqrt(12))


@pytest.mark.parametrize("side", [1, 3, 5])
def test_fss_is_what_a_walk_over_all_boxes_finds(side):
    x, y, mask = rain(3, 2)
    sums = sums_of(x, y, weights=mask, thresholds=[0.5], scales=[float(side)])
    above_x, above_y = (x > 0.5).float().mean(0) * mask, (y > 0.5).float() * mask
    apart, most, reach = torch.zeros(2), torch.zeros(2), side // 2
    for b in range(2):
        for i in range(6):
            for j in range(5):
                rows = [r % 6 for r in range(i - reach, i + reach + 1)]  # the first axis is periodic
                columns = [c for c in range(j - reach, j + reach + 1) if 0 <= c < 5]
                seen = mask[b, 0][rows][:, columns].sum()
                if mask[b, 0, i, j] == 0:
                    continue
                f_x, f_y = (u[b][:, rows][:, :, columns].sum((1, 2)) / seen for u in (above_x, above_y))
                apart += (f_x - f_y) ** 2
                most += f_x**2 + f_y**2
    np.testing.assert_allclose(fss(sums, scale=side, threshold=0.5), (1 - apart / most).numpy(), rtol=1e-5)


def test_quantiles_wet_shares_and_mass_by_hand():
    grid = Grid((1, 5))
    truth = torch.tensor([0.0, 0.0, 1.0, 2.0, 4.0]).view(1, 1, 1, 5)
    members = torch.stack([2 * truth, truth + 1])
    sums = sums_of(members, truth, grid, quantiles=[0.5, 0.875], wet_above=0.5)
    # medians 1 against 2 and 2; at 0.875 half way between 2 and 4: 3 against 6 and 4
    assert quantile_error(sums, level=0.5) == pytest.approx([1.0])
    assert quantile_error(sums, level=0.875) == pytest.approx([(3 + 1) / 2])
    assert [float(share) for (share,) in wet_shares(sums)] == pytest.approx([(3 + 5) / 10, 3 / 5])
    assert mass_error(sums) == pytest.approx([(14 + 12) / 2 / 7 - 1])


def test_batches_merge_to_the_sums_of_all_and_masked_values_do_not_count():
    x, y, mask = rain(4, 5)
    options = {"quantiles": [0.9], "thresholds": [0.3], "scales": [0.5], "wet_above": 0.1}
    whole = sums_of(x, y, weights=mask, **options)
    spoilt = torch.where(mask > 0, y, torch.nan)
    parts = [sums_of(x[:, part], spoilt[part], weights=mask[part], **options) for part in (slice(0, 2), slice(2, 5))]
    merged = parts[0] + parts[1]
    for name in whole:
        np.testing.assert_allclose(merged[name], whole[name], rtol=1e-12, err_msg=name)


def test_one_member_is_no_ensemble():
    x, y, _ = rain(1, 1)
    with pytest.raises(AnchorbenchError, match="two members or more"):
        sums_of(x, y)
