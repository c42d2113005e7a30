"""Scores of an ensemble as sums that merge: one call a batch, `+` over batches, a root or a ratio last.

    CRPS            mean_m |x_m − y| − ½ G,   G = mean_{m≠m′} |x_m − x_m′| (fair), or with m = m′ counted too (plain)
    spread-skill    √( (M+1)/M · Σ s² / Σ (x̄ − y)² ),   s² unbiased: 1 where truth is one more member
                    (Fortin et al. 2014)
    RMSE of x̄       √( Σ (x̄ − y)² − s²/M ): that of an ensemble of any size (corrected)
    ranks           how many members lie below the truth; a tie of t members is spread over t + 1 ranks
    FSS             1 − Σ (F_x − F_y)² / Σ (F_x² + F_y²),   F the share of a box that is above a threshold (Roberts and
                    Lean 2008), F_x of all members together
    reliability     how often y exceeds a threshold where k of M members do
    quantile error  mean_m |q(x_m) − q(y)|, q over the points of a sample
    wet share, mass of members and of the truth, whose ratios are the errors

Fair CRPS is that of an ensemble of any size, in the mean (Ferro 2014).  A batch's members are at hand together; beyond
them memory holds what one sample needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anchorbench.analysis.intervals import Array
from anchorbench.analysis.score import Sums, checked
from anchorbench.errors import AnchorbenchError
from anchorbench.fields import Grid


def ensemble(
    members: Tensor,
    truth: Tensor,
    *,
    grid: Grid,
    clusters: Tensor,
    n_clusters: int,
    weights: Tensor | None = None,
    wet_above: float | None = None,
    quantiles: Sequence[float] = (),
    thresholds: Sequence[float] = (),
    scales: Sequence[float] = (),
) -> Sums:
    """The sums of a batch, (cluster, channel) each; read them with the functions below.

    members: (M, B, C, *grid), M >= 2, a number that all batches share.  truth: (B, C, *grid).  weights: (B, 1, *grid),
    the valid share of each cell.  Values in whatever unit; so are wet_above and thresholds.  quantiles: levels, in
    [0, 1], over points with weight above 0.  scales: sides of the boxes of FSS in the grid's unit of length, rounded to
    odd numbers of points.
    Raises GridError where shapes do not fit, AnchorbenchError for one member or values that are not finite.
    """
    if members.ndim != truth.ndim + 1 or len(members) < 2:
        raise AnchorbenchError(
            f"an ensemble is (members, samples, channels, *grid) with two members or more, not {tuple(members.shape)}"
        )
    for member in members:
        checked(member, truth, grid=grid, weights=weights, clusters=clusters, n=n_clusters)
    area = grid.area_weights().to(truth.device, torch.float64)
    boxes = [_window(scale, grid) for scale in scales]
    rows: list[dict[str, Tensor]] = []
    for i in range(len(truth)):
        w = area if weights is None else area * weights[i, 0].double()
        valid = w > 0
        x, y = (u.double().where(valid, 0.0) for u in (members[:, i], truth[i]))
        row = {**_crps(x, y, w), **_ranks(x, y, w)}
        row["members_mass"], row["truth_mass"] = _total(x.mean(0), w), _total(y, w)
        if wet_above is not None:
            row["members_wet"] = _total((x > wet_above).double().mean(0), w)
            row["truth_wet"] = _total((y > wet_above).double(), w)
        for level in quantiles:
            row[_quantile_name(level)] = _quantile_error(x, y, valid, level)
        for threshold in thresholds:
            above_x, above_y = (x > threshold).double().mean(0), (y > threshold).double()
            row |= _reliable(x > threshold, above_y, w, threshold)
            for scale, box in zip(scales, boxes, strict=True):
                names = _fss_names(scale, threshold)
                row |= dict(zip(names, _fractions(above_x, above_y, w, grid, box), strict=True))
        row["samples"] = torch.full_like(row["weight"], float(valid.any()))
        rows.append(row)
    where = clusters.to(truth.device, torch.long)
    arrays = {}
    for name in rows[0]:
        total = torch.zeros(n_clusters, truth.shape[1], dtype=torch.float64, device=truth.device)
        arrays[name] = total.index_add_(0, where, torch.stack([row[name] for row in rows])).cpu().numpy()
    return Sums(arrays)


def crps(sums: Sums, *, fair: bool = True) -> Array:
    """Mean CRPS by channel, in the fields' unit: (C,)."""
    return _pooled(sums, "absolute_error") - 0.5 * _pooled(sums, "difference" if fair else "difference_plain")


def mean_rmse(sums: Sums, *, corrected: bool = True) -> Array:
    """RMSE of the ensemble's mean, (C,); corrected: less s²/M, what a finite ensemble adds to it."""
    squared = _pooled(sums, "mean_error")
    less = _pooled(sums, "variance_of_mean") if corrected else np.zeros_like(squared)
    root: Array = np.sqrt(np.maximum(squared - less, 0.0))
    return root


def spread_skill(sums: Sums) -> Array:
    """√((M+1)/M Σ s² / Σ (x̄ − y)²), (C,): below 1 too little spread, above 1 too much."""
    spread = _pooled(sums, "variance") + _pooled(sums, "variance_of_mean")
    ratio: Array = np.sqrt(spread / _pooled(sums, "mean_error"))
    return ratio


def rank_histogram(sums: Sums) -> Array:
    """Share of the area in which r members lie below the truth, r = 0 ... M: (M + 1, C), summing to 1."""
    names = sorted(name for name in sums if name.startswith("rank_"))
    return np.stack([_pooled(sums, name) for name in names])


def rank_deviation(sums: Sums) -> Array:
    """√( mean_r ((M+1) h_r − 1)² ), (C,): 0 for a flat histogram, √M for one with a single rank."""
    shares = rank_histogram(sums)
    deviation: Array = np.sqrt(np.square(len(shares) * shares - 1).mean(0))
    return deviation


def fss(sums: Sums, *, scale: float, threshold: float) -> Array:
    """Fractions skill score, (C,): 1 perfect; NaN where neither members nor truth ever exceed the threshold."""
    apart, most = (sums[name].sum(0) for name in _fss_names(scale, threshold))
    worst: Array = np.divide(apart, most, out=np.full_like(apart, np.nan), where=most > 0)
    return 1 - worst


def reliability(sums: Sums, *, threshold: float, members: int) -> tuple[Array, Array]:
    """How often the truth exceeds it where k of M members do, k = 0 ... M, and the share of the area where they do so.

    (M + 1, C) each; the first is NaN where k members never did.  On the diagonal k/M up to (k + 1/2)/(M + 1): members
    and truth are alike.
    """
    said, seen = (np.stack([sums[_reliable_name(threshold, k, of)].sum(0) for k in range(members + 1)])
                  for of in ("said", "seen"))  # fmt: skip
    often: Array = np.divide(seen, said, out=np.full_like(seen, np.nan), where=said > 0)
    share: Array = said / said.sum(0)
    return often, share


def quantile_error(sums: Sums, *, level: float) -> Array:
    """Mean over samples and members of |q(x_m) − q(y)|, (C,), in the fields' unit."""
    error: Array = sums[_quantile_name(level)].sum(0) / sums["samples"].sum(0)
    return error


def wet_shares(sums: Sums) -> tuple[Array, Array]:
    """Share of the area above `wet_above`: of the members and of the truth, (C,) each."""
    return _pooled(sums, "members_wet"), _pooled(sums, "truth_wet")


def mass_error(sums: Sums) -> Array:
    """Σ x̄ / Σ y − 1, (C,); for fields whose total is not 0."""
    ratio: Array = sums["members_mass"].sum(0) / sums["truth_mass"].sum(0)
    return ratio - 1


def _pooled(sums: Sums, name: str) -> Array:
    pooled: Array = sums[name].sum(0) / sums["weight"].sum(0)
    return pooled


def _total(u: Tensor, w: Tensor) -> Tensor:
    """Σ w u over the points: (C, *grid) -> (C,)."""
    return (w * u).flatten(1).sum(1)


def _crps(x: Tensor, y: Tensor, w: Tensor) -> dict[str, Tensor]:
    """x (M, C, *grid), y (C, *grid).  Pairs by order: Σ_{m<m′} |x_m − x_m′| = Σ_i (2i − M + 1) x_(i), i from 0."""
    n = len(x)
    place = 2 * torch.arange(n, dtype=x.dtype, device=x.device) - n + 1
    apart = torch.tensordot(place, x.sort(0).values, dims=1) / (n * (n - 1) / 2)
    variance, mean = torch.var_mean(x, dim=0)
    return {
        "weight": _total(torch.ones_like(y), w),
        "absolute_error": _total((x - y).abs().mean(0), w),
        "difference": _total(apart, w),
        "difference_plain": _total(apart * (n - 1) / n, w),
        "mean_error": _total((mean - y).square(), w),
        "variance": _total(variance, w),
        "variance_of_mean": _total(variance / n, w),
    }


def _ranks(x: Tensor, y: Tensor, w: Tensor) -> dict[str, Tensor]:
    """rank_0 ... rank_M: each point's w, in equal parts over the ranks that a tie leaves open."""
    n, channels = len(x), len(y)
    below, level = ((x < y).sum(0).flatten(1), (x == y).sum(0).flatten(1))
    part = (w.flatten() / (level + 1)).reshape(channels, -1)
    # What starts at a rank and ends after another, added up along the ranks.
    steps = torch.zeros(channels, n + 2, dtype=torch.float64, device=x.device)
    steps.scatter_add_(1, below, part).scatter_add_(1, below + level + 1, -part)
    shares = steps.cumsum(1)[:, : n + 1]
    digits = len(str(n))
    return {f"rank_{r:0{digits}d}": shares[:, r] for r in range(n + 1)}


def _quantile_error(x: Tensor, y: Tensor, valid: Tensor, level: float) -> Tensor:
    """(C,); 0 where nothing is valid, and the sample does not count."""
    if not valid.any():
        return y.new_zeros(len(y))
    q_x, q_y = (_quantile(u[..., valid], level) for u in (x, y))
    return (q_x - q_y).abs().mean(0)


def _quantile(values: Tensor, level: float) -> Tensor:
    """Linear between the sorted values, as numpy's; torch.quantile takes 16 million at most.  (..., n) -> (...)."""
    ordered = values.sort(-1).values
    at = level * (ordered.shape[-1] - 1)
    low = math.floor(at)
    high = min(low + 1, ordered.shape[-1] - 1)
    return torch.lerp(ordered[..., low], ordered[..., high], at - low)


def _fractions(above_x: Tensor, above_y: Tensor, w: Tensor, grid: Grid, box: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Σ w (F_x − F_y)² and Σ w (F_x² + F_y²); F counts the points of the box that are there and were observed."""
    seen = _box_sums(w[None], grid, box)
    f_x, f_y = (_box_sums(w * u, grid, box) / seen.clamp_min(1e-300) for u in (above_x, above_y))
    return _total((f_x - f_y).square(), w), _total(f_x.square() + f_y.square(), w)


def _box_sums(u: Tensor, grid: Grid, box: Sequence[int]) -> Tensor:
    """Sums over boxes of odd sides centred on each point: (C, *grid) -> the same; beyond a closed side lies nothing."""
    for axis, (n, periodic) in enumerate(zip(box, grid.periodic, strict=True), start=1):
        reach = n // 2
        rows = u.movedim(axis, -1)
        ends = (rows[..., -reach:], rows[..., :reach]) if periodic else (torch.zeros_like(rows[..., :reach]),) * 2
        padded = torch.cat([ends[0], rows, ends[1]], -1) if reach else rows
        running = F.pad(padded.cumsum(-1), (1, 0))
        u = (running[..., n:] - running[..., :-n]).clamp_min(0).movedim(-1, axis)
    return u


def _window(scale: float, grid: Grid) -> list[int]:
    """Points of a box of this side on each axis, odd, no more than the axis holds."""
    sides = []
    for n, spacing in zip(grid.shape, grid.spacing, strict=True):
        odd = 2 * round((scale / spacing - 1) / 2) + 1
        sides.append(max(1, min(odd, n if n % 2 else n - 1)))
    return sides


def _reliable(above: Tensor, truth: Tensor, w: Tensor, threshold: float) -> dict[str, Tensor]:
    """Area in which exactly k members exceed the threshold, and of it that in which the truth does: k = 0 ... M."""
    count, found = above.sum(0), dict[str, Tensor]()
    for k in range(len(above) + 1):
        here = (count == k).double()
        found[_reliable_name(threshold, k, "said")] = _total(here, w)
        found[_reliable_name(threshold, k, "seen")] = _total(here * truth, w)
    return found


def _reliable_name(threshold: float, k: int, of: str) -> str:
    return f"reliable_{of}_{threshold:g}_{k:03d}"


def _fss_names(scale: float, threshold: float) -> tuple[str, str]:
    return f"fss_apart_{scale:g}_{threshold:g}", f"fss_most_{scale:g}_{threshold:g}"


def _quantile_name(level: float) -> str:
    return f"quantile_error_{level:g}"
