"""Convolutions that know their grid: circular on periodic axes, else replicate; in grid points or physical units."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anchorbench.fields.grid import Grid

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def pad(x: Tensor, width: int, *, axis: int, periodic: bool) -> Tensor:
    """`width` more points on both ends of an axis: the other end's where `periodic`, else the outermost, repeated.

    Any width: a box narrower than the kernel is wrapped as often as it takes.
    """
    n = x.shape[axis]
    if not periodic:
        ends = (x.narrow(axis, i, 1) for i in (0, n - 1))
        left, right = (end.expand(*end.shape[:axis], width, *end.shape[axis + 1 :]) for end in ends)
        return torch.cat((left, x, right), axis)
    while width > 0:
        step = min(width, n)
        x = torch.cat((x.narrow(axis, x.shape[axis] - step, step), x, x.narrow(axis, 0, step)), axis)
        width -= step
    return x


class LocalConv(nn.Module):
    """v(x) = Σⱼ wⱼ u(x + j h), j = -p..p per axis; fields are channels-last, no bias.

    grid units: h is the spacing of the grid at hand, so the support shrinks on a finer grid.
    physical units: h is `spacing`, on every grid.  Where it is a whole number of points the kernel is dilated;
    elsewhere u between two points is their linear interpolation, which is worked into the taps.

    x: (B, n₁, ..., n_d, C) -> (B, n₁, ..., n_d, C').
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, *, spacing: tuple[float, ...], physical: bool
    ) -> None:
        super().__init__()
        self.kernel, self.spacing, self.physical = kernel, spacing, physical
        fan_in = channels_in * kernel ** len(spacing)
        bound = 1 / math.sqrt(fan_in)  # as torch's own convolutions begin
        shape = (channels_out, channels_in, *(kernel,) * len(spacing))
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        ratios = [h0 / h if self.physical else 1.0 for h0, h in zip(self.spacing, grid.spacing, strict=True)]
        dilation = [max(round(r), 1) for r in ratios]
        weight = self.weight
        if any(abs(r - d) > 1e-6 for r, d in zip(ratios, dilation, strict=True)):
            dilation = [1] * len(ratios)
            for axis, ratio in enumerate(ratios):
                taps = _taps(self.kernel, ratio).to(weight)
                weight = torch.tensordot(weight, taps, dims=([axis + 2], [1])).movedim(-1, axis + 2)
        for axis, (periodic, step) in enumerate(zip(grid.periodic, dilation, strict=True)):
            reach = weight.shape[axis + 2] // 2 * step
            x = pad(x, reach, axis=axis + 1, periodic=periodic)
        return CONVOLUTIONS[grid.ndim](x.movedim(-1, 1), weight, dilation=dilation).movedim(1, -1)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
@torch.no_grad()
def _taps(kernel: int, ratio: float) -> Tensor:
    """Where taps `ratio` points apart fall on whole points, by linear interpolation: (points, kernel)."""
    p = kernel // 2
    reach = math.ceil(p * ratio - 1e-6)
    taps = torch.zeros(2 * reach + 1, kernel)
    for j in range(-p, p + 1):
        at = round(j * ratio, 6) + reach
        below = math.floor(at)
        taps[below, j + p] += 1 - (at - below)
        if at > below:
            taps[below + 1, j + p] += at - below
    return taps
