"""The anomaly correlation coefficient as sums that merge.

    ACC = Σ w (f − c)(y − c) / √( Σ w (f − c)²  Σ w (y − c)² )

f the forecast, y the truth, c the climatology, w the areas of the cells times what is valid of them.  1: every
departure from the usual is foretold; 0: none is; −1: the opposite.  Forecast centres take it over each map and average
over days (Murphy and Epstein 1989); here all maps of the test split go into one quotient, so that batches, seeds and
machines merge exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor

from anchorbench.analysis.score import Sums, by_cluster, checked
from anchorbench.errors import GridError
from anchorbench.fields import Grid

ANOMALY_NAMES = ("anomaly_product", "anomaly_forecast", "anomaly_truth")


def anomalies(
    prediction: Tensor,
    truth: Tensor,
    climatology: Tensor,
    *,
    grid: Grid,
    weights: Tensor | None = None,
    clusters: Tensor,
    n_clusters: int,
    channel_scale: Tensor | None = None,
) -> Sums:
    """Σ w (f−c)(y−c), Σ w (f−c)² and Σ w (y−c)² by cluster and channel, in float64.

    prediction, truth: (B, C, *grid).  climatology: (C, *grid), in their unit.  weights: (B, 1, *grid), the valid share
    of each cell.  clusters: (B,), 0 ... n_clusters − 1.  channel_scale: (C,), divides all three.
    Raises GridError where shapes do not fit, AnchorbenchError where a prediction is NaN or infinite.
    """
    prediction, truth, weights = checked(prediction, truth, grid=grid, weights=weights, clusters=clusters, n=n_clusters)
    if climatology.shape != truth.shape[1:]:
        raise GridError(
            f"the climatology on rung {grid.name} is {tuple(climatology.shape)}, not {tuple(truth.shape[1:])}"
        )
    usual = climatology.to(truth)
    f, y = prediction - usual, truth - usual
    if channel_scale is not None:
        scale = channel_scale.to(truth).reshape(-1, *(1,) * grid.ndim)
        f, y = f / scale, y / scale
    area = grid.area_weights().to(truth)[None, None]
    w = area if weights is None else area * weights
    energies = dict(zip(ANOMALY_NAMES, (f * y, f.square(), y.square()), strict=True))
    return by_cluster(energies, w, clusters=clusters, n_clusters=n_clusters)


def correlation(sums: Iterable[Sums], *, channel: int = 0) -> float | None:
    """ACC of all that was summed; None where forecast or truth never leaves the climatology."""
    parts = list(sums)
    product, forecast, truth = (sum(float(s[name][:, channel].sum()) for s in parts) for name in ANOMALY_NAMES)
    scale = math.sqrt(forecast * truth)
    return product / scale if scale > 0 else None
