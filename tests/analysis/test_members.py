"""What an evaluation keeps of an ensemble: corrected for its size, in one table with runs of a single member."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anchorbench.analysis.ensemble import ensemble, reliability
from anchorbench.analysis.members import CORRECTED, corrected, member_sums, rain_cap, spread_of, summary
from anchorbench.analysis.score import score
from anchorbench.fields import Grid

GRID = Grid((8, 8), extent=(8.0, 8.0))
BAND = GRID.with_rung(4)


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def common(n: int) -> dict:
    return {"grid": GRID, "clusters": torch.arange(n), "n_clusters": n}


@pytest.mark.parametrize("members", [2, 5])
def test_the_corrected_error_is_without_bias_that_of_an_ensemble_of_any_size(members):
    # Members N(0, 1) about 0, truth 0.5: any number of them leaves (0 − 0.5)² = 0.25, of which P keeps the mean's.
    # 1000 samples of 64 points: (x̄ − 0.5)² has a deviation of at most 1, its mean one of 1/250.
    n = 1000
    x = torch.randn(members, n, 1, 8, 8, generator=rng(members), dtype=torch.float64)
    y = torch.full((n, 1, 8, 8), 0.5, dtype=torch.float64)
    words = {**common(n), "band": BAND, "how": "spectral"}
    sums = score(x.mean(0), y, **words).joined(spread_of(x, **words))
    found = {name: (sums[name] - sums[f"ensemble_spread_{name}"]).sum() / sums["weight"].sum() for name in CORRECTED}
    assert found["resolved"] == pytest.approx(0.25, abs=0.015)
    assert found["unseen"] == pytest.approx(0.0, abs=0.015)
    assert found["total"] == pytest.approx(0.25, abs=0.015)
    plain = sums["total"].sum() / sums["weight"].sum()
    assert plain == pytest.approx(0.25 + 1 / members, abs=0.015), "uncorrected, fewer members are worse"


def test_correcting_leaves_a_run_without_members_alone_and_never_goes_below_0():
    x, y = torch.zeros(3, 1, 8, 8), torch.ones(3, 1, 8, 8)
    words = {**common(3), "band": BAND, "how": "spectral"}
    alone = score(x, y, **words)
    assert corrected(alone) == alone
    both = score(x, x, **words).joined(spread_of(torch.randn(2, 3, 1, 8, 8, generator=rng(0)), **words))
    assert (corrected(both)["total"] == 0).all()


def test_the_crps_of_one_member_is_its_mean_absolute_error_and_it_has_no_spread():
    x, y = (torch.rand(2, 1, 8, 8, generator=rng(seed)) for seed in (0, 1))
    said = summary([member_sums(x[None], y, cap=5.5, **common(2))])
    assert said["crps"] == said["crps_plain"] == pytest.approx(float((x - y).abs().mean()), rel=1e-5)
    assert said["rmse"] == pytest.approx(float((x - y).square().mean().sqrt()), rel=1e-5)
    assert said["spread_skill"] is None
    assert said["rank_deviation"] is None


def test_rain_is_scored_again_with_all_amounts_cut_at_the_cap_and_its_mass_compared():
    y = torch.full((1, 1, 8, 8), 20.0)
    x = torch.stack([torch.full_like(y, 10.0), torch.full_like(y, 14.0)])
    said = summary([member_sums(x, y, cap=rain_cap(1.0, "h"), **common(1))])
    # Beyond 5.5 mm in an hour all are one; uncut |10 − 20| and |14 − 20| less half of |10 − 14|: 8 − 2 = 6.
    assert said["crps_cut"] == 0.0
    assert said["crps"] == pytest.approx(6.0)
    assert said["mass_error"] == pytest.approx(12 / 20 - 1)
    assert rain_cap(5.0, "min") == pytest.approx(5.5 / 12)


def test_seeds_add_up_as_their_sums_do():
    x, y = torch.randn(3, 4, 1, 8, 8, generator=rng(3)), torch.randn(4, 1, 8, 8, generator=rng(4))
    whole = member_sums(x, y, **common(4))
    halves = [
        member_sums(x[:, i], y[i], grid=GRID, clusters=torch.arange(4)[i], n_clusters=4)
        for i in (slice(0, 2), slice(2, 4))
    ]
    assert summary(halves) == pytest.approx(summary([whole]), nan_ok=True)


def test_the_truth_of_a_reliable_ensemble_is_above_a_threshold_as_often_as_members_say():
    # Truth and 4 members alike N(m, 1), m ~ N(0, 1) a point: with k of 4 above 0 the truth is so with a chance near
    # (k + a) / (4 + 2a); for uniform chances, which this is, a = 1: (k + 1)/6.
    n, grid = 240, Grid((240, 240), extent=(240.0, 240.0))
    m = torch.randn(1, 1, n, n, generator=rng(5))
    x, y = m + torch.randn(4, 1, 1, n, n, generator=rng(6)), m + torch.randn(1, 1, n, n, generator=rng(7))
    one = torch.zeros(1, dtype=torch.long)
    sums = ensemble(x, y, grid=grid, clusters=one, n_clusters=1, thresholds=[0.0], scales=[1.0])
    often, share = reliability(sums, threshold=0.0, members=4)
    # Φ(m) is uniform on (0, 1) as m has the deviation of the noise: each k has 1/5 of the area.
    np.testing.assert_allclose(often[:, 0], [(k + 1) / 6 for k in range(5)], atol=0.02)
    np.testing.assert_allclose(share[:, 0], 0.2, atol=0.01)
