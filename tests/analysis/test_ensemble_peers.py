"""The same scores by the package `scores`, where it is installed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anchorbench.analysis.ensemble import crps, ensemble, fss
from anchorbench.fields import Grid

GRID = Grid((20, 20), extent=(20.0, 20.0), centring="cell", periodic=(False, False))
ONE = torch.zeros(1, dtype=torch.long)


@pytest.mark.parametrize(("fair", "method"), [(True, "fair"), (False, "ecdf")])
def test_crps_is_that_of_scores(fair, method):
    theirs = pytest.importorskip("scores.probability", reason="the package 'scores' is not installed")
    xr = pytest.importorskip("xarray")
    rng = torch.Generator().manual_seed(0)
    members, truth = torch.randn(7, 1, 1, 20, 20, generator=rng), torch.randn(1, 1, 20, 20, generator=rng)
    sums = ensemble(members, truth, grid=GRID, clusters=ONE, n_clusters=1)
    wanted = theirs.crps_for_ensemble(
        xr.DataArray(members[:, 0, 0].double().numpy(), dims=("member", "y", "x")),
        xr.DataArray(truth[0, 0].double().numpy(), dims=("y", "x")),
        "member",
        method=method,
    )
    np.testing.assert_allclose(crps(sums, fair=fair)[0], float(wanted), rtol=1e-9)


def test_fss_is_that_of_scores():
    theirs = pytest.importorskip("scores.spatial", reason="the package 'scores' is not installed")
    rng = torch.Generator().manual_seed(1)
    # Dry beyond reach of the border: what lies outside the domain is then one and the same to both.
    inside = torch.zeros(20, 20)
    inside[4:-4, 4:-4] = 1
    x, y = (torch.rand(20, 20, generator=rng) * inside for _ in range(2))
    members = torch.stack([x, x])[:, None, None]
    sums = ensemble(members, y[None, None], grid=GRID, clusters=ONE, n_clusters=1, thresholds=[0.5], scales=[5.0])
    wanted = theirs.fss_2d_single_field(
        x.numpy(), y.numpy(), event_threshold=0.5, window_size=(5, 5), zero_padding=True
    )
    np.testing.assert_allclose(fss(sums, scale=5.0, threshold=0.5)[0], float(wanted), rtol=1e-6)
