"""The same scores by the package `scores`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scores import probability, spatial

from anchorbench.analysis.ensemble import crps, ensemble, fss, rank_histogram
from anchorbench.fields import Grid

GRID = Grid((20, 20), extent=(20.0, 20.0), centring="cell", periodic=(False, False))
ONE = torch.zeros(1, dtype=torch.long)


@pytest.mark.parametrize(("fair", "method"), [(True, "fair"), (False, "ecdf")])
def test_crps_is_that_of_scores(fair, method):
    rng = torch.Generator().manual_seed(0)
    members, truth = torch.randn(7, 1, 1, 20, 20, generator=rng), torch.randn(1, 1, 20, 20, generator=rng)
    sums = ensemble(members, truth, grid=GRID, clusters=ONE, n_clusters=1)
    wanted = probability.crps_for_ensemble(
        xr.DataArray(members[:, 0, 0].double().numpy(), dims=("member", "y", "x")),
        xr.DataArray(truth[0, 0].double().numpy(), dims=("y", "x")),
        "member",
        method=method,
    )
    np.testing.assert_allclose(crps(sums, fair=fair)[0], float(wanted), rtol=1e-9)


def test_fss_is_that_of_scores():
    rng = torch.Generator().manual_seed(1)
    # Dry beyond reach of the border: what lies outside the domain is then one and the same to both.
    inside = torch.zeros(20, 20)
    inside[4:-4, 4:-4] = 1
    x, y = (torch.rand(20, 20, generator=rng) * inside for _ in range(2))
    members = torch.stack([x, x])[:, None, None]
    sums = ensemble(members, y[None, None], grid=GRID, clusters=ONE, n_clusters=1, thresholds=[0.5], scales=[5.0])
    wanted = spatial.fss_2d_single_field(
        x.numpy(), y.numpy(), event_threshold=0.5, window_size=(5, 5), zero_padding=True
    )
    np.testing.assert_allclose(fss(sums, scale=5.0, threshold=0.5)[0], float(wanted), rtol=1e-6)


def test_the_rank_histogram_is_that_of_scores():
    rng = torch.Generator().manual_seed(2)
    members, truth = torch.randn(5, 1, 1, 20, 20, generator=rng), 2 * torch.randn(1, 1, 20, 20, generator=rng)
    sums = ensemble(members, truth, grid=GRID, clusters=ONE, n_clusters=1)
    wanted = probability.rank_histogram(
        xr.DataArray(members[:, 0, 0].double().numpy(), dims=("member", "y", "x")),
        xr.DataArray(truth[0, 0].double().numpy(), dims=("y", "x")),
        "member",
    )
    np.testing.assert_allclose(rank_histogram(sums)[:, 0], wanted.values, atol=1e-12)
