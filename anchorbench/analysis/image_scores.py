"""Scores of images as sums that merge: relative norm, largest error, PSNR and SSIM, each the mean over samples.

    RFNE   ‖e‖ / ‖y‖                               IN    max |e|, absolute
    PSNR   10 log₁₀(R² / mean e²)                  R     the range, one number a channel for all samples and rungs
    SSIM   mean over windows of  (2 μ_x μ_y + c₁)(2 s_xy + c₂) / ((μ_x² + μ_y² + c₁)(s_x² + s_y² + c₂)),
           windows Gaussian, σ = 1.5 points, 11 an axis, whole inside the field; c₁ = (0.01 R)², c₂ = (0.03 R)²

(Wang et al., IEEE TIP 2004.)  A mean over samples is Σ score / Σ 1, so batches, ranks and machines merge.  The range is
given, not taken from the images at hand: with a range of its own each subset has a PSNR of its own.  A window spans
points, so on a finer rung it sees less of the field: SSIM compares models on one rung, not rungs.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from anchorbench.analysis.score import Sums, checked, point_weights
from anchorbench.errors import AnchorbenchError
from anchorbench.fields import Grid

IMAGE_NAMES = ("image_samples", "image_rfne", "image_max", "image_psnr", "image_windows", "image_ssim")
WINDOW, WIDTH = 11, 1.5
#: Of a perfect image: 10 log₁₀ of it over rounding, so that a mean stays finite.
MOST_PSNR = 150.0


def image_scores(
    prediction: Tensor,
    truth: Tensor,
    *,
    grid: Grid,
    data_range: Tensor,
    weights: Tensor | None = None,
    clusters: Tensor,
    n_clusters: int,
    channel_scale: Tensor | None = None,
) -> Sums:
    """Sums over samples of RFNE, IN, PSNR and SSIM, and how many samples and how many with an SSIM, by cluster.

    Shapes, weights, clusters and channel_scale as in `score`; data_range: (C,), in units of the divided fields.
    Means over points are by area and valid share; SSIM counts windows that are valid throughout.  A sample without a
    valid point, without truth to be relative to, or smaller than a window is in no sum of that score.

    Raises GridError and AnchorbenchError as `score`, the latter also for a range that is not positive.
    """
    prediction, truth, weights = checked(prediction, truth, grid=grid, weights=weights, clusters=clusters, n=n_clusters)
    if data_range.shape != truth.shape[1:2] or not bool((data_range > 0).all()):
        raise AnchorbenchError(f"a range is one positive number for each of {truth.shape[1]} channels: {data_range}")
    if channel_scale is not None:
        scale = channel_scale.to(truth).reshape(-1, *(1,) * grid.ndim)
        prediction, truth = prediction / scale, truth / scale
    w = point_weights(grid, weights, how="conservative", like=truth).expand(len(truth), 1, *grid.shape).flatten(2)
    valid = w > 0
    e, y = (prediction - truth).flatten(2), truth.flatten(2)
    total = w.sum(-1)
    mse = (w * e.square()).sum(-1) / total.clamp_min(1e-300)
    energy = (w * y.square()).sum(-1) / total.clamp_min(1e-300)
    extent = data_range.to(truth)
    psnr = (10 * torch.log10(extent.square() / mse.clamp_min(1e-300))).clamp_max(MOST_PSNR)
    counts = ((total > 0) & (energy > 0)).double()
    similar, windows = ssim(prediction, truth, extent, valid.view(len(truth), 1, *grid.shape))
    found = {
        "image_samples": counts,
        "image_rfne": (mse / energy.clamp_min(1e-300)).sqrt() * counts,
        "image_max": (e.abs() * valid).amax(-1) * counts,
        "image_psnr": psnr * counts,
        "image_windows": (windows > 0).double().expand_as(mse),
        "image_ssim": similar,
    }
    arrays = {}
    for name, values in found.items():
        by_cluster = values.new_zeros(n_clusters, values.shape[1])
        arrays[name] = by_cluster.index_add_(0, clusters.to(values.device, torch.long), values).cpu().numpy()
    return Sums(arrays)


def ssim(x: Tensor, y: Tensor, data_range: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Mean SSIM over the windows that lie inside the field and are valid throughout, and how many: (B, C), (B, 1).

    x, y: (B, C, *grid) float64; data_range (C,); valid (B, 1, *grid).  0 where there is no window.
    """
    points = tuple(range(2, x.ndim))
    if min(x.shape[2:]) < WINDOW:
        return x.new_zeros(x.shape[:2]), x.new_zeros(len(x), 1)
    extent = data_range.view(-1, *[1] * len(points))
    c1, c2 = (0.01 * extent).square(), (0.03 * extent).square()
    mu_x, mu_y = local_mean(x), local_mean(y)
    # Moments about the local means of values already less their own mean: no digits lost to a large offset.
    base = y.mean(points, keepdim=True)
    u, v = x - base, y - base
    du, dv = mu_x - base, mu_y - base
    s_x, s_y = local_mean(u * u) - du * du, local_mean(v * v) - dv * dv
    s_xy = local_mean(u * v) - du * dv
    similar = (2 * mu_x * mu_y + c1) * (2 * s_xy + c2) / ((mu_x**2 + mu_y**2 + c1) * (s_x + s_y + c2))
    inside = local_mean(valid.to(x)) > 1 - 1e-9
    windows = inside.sum(points).to(x)
    return (similar * inside).sum(points) / windows.clamp_min(1), windows


def local_mean(u: Tensor) -> Tensor:
    """Gaussian means over windows inside the field: (B, C, n₁, ...) -> (B, C, n₁ − 10, ...)."""
    at = torch.arange(WINDOW, dtype=u.dtype, device=u.device) - WINDOW // 2
    kernel = torch.exp(-at.square() / (2 * WIDTH**2))
    kernel = kernel / kernel.sum()
    for axis in range(2, u.ndim):
        moved = u.movedim(axis, -1)
        rows = F.conv1d(moved.reshape(-1, 1, moved.shape[-1]), kernel.view(1, 1, -1))
        u = rows.view(*moved.shape[:-1], -1).movedim(-1, axis)
    return u


def pooled_psnr(total: float, weight: float, data_range: float) -> float:
    """10 log₁₀(R² Σw / Σ w e²): of all samples' mean square, as published tables have it."""
    return math.inf if total == 0 else 10 * math.log10(data_range**2 * weight / total)
