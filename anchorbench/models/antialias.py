"""Activations that do not alias: up-sample by 2, act, low-pass, down-sample (Karras et al., NeurIPS 2021, section 3).

    Σ(u) = R_{2n→n} σ( R_{n→2n} u ),   R the filter below

A nonlinearity makes waves beyond the Nyquist of the grid, and there they pass for others.  On twice the points they
have room, and the low-pass takes them away before the way back: what is left aliases from beyond three times the
band.  Of u² nothing is left.

Two filters, axis by axis:

    fourier    û'(k) = û(k), |k| < min(n, n')/2, on periodic axes: exact.  On others it is sinc
    sinc       Σ_j u_j sinc(c z) w(c z), z = x/h − j, c = min(1, h/h'), w Kaiser's window over `taps` zeros of the sinc
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anchorbench.fields.grid import Grid
from anchorbench.fields.resample_fourier import dirichlet
from anchorbench.fields.separable import along_axes, constant, working_dtype

Filter = Literal["fourier", "sinc"]

#: Of Kaiser's window: the stop band of the sinc is about 50 dB down.
KAISER_BETA = 5.0


def resample(u: Tensor, source: Grid, to: Grid, *, how: Filter = "fourier", taps: int = 12) -> Tensor:
    """The field on other points of its box, its waves beyond the coarser of the two Nyquists removed.

    An axis that keeps its points is left as it is, and constants are kept by both filters.  Beyond an axis that is not
    periodic the outermost value goes on.

    u: (..., *source.shape), floating point.  Returns (..., *to.shape), same dtype.
    """
    if source.shape == to.shape:
        return u
    dtype = working_dtype(u)
    matrices = [
        None if n == m else constant(filter_matrix, to, source, axis, how, taps, dtype=dtype, device=u.device)
        for axis, (n, m) in enumerate(zip(source.shape, to.shape, strict=True))
    ]
    return along_axes(u.to(dtype), matrices).to(u.dtype)


def filter_matrix(to: Grid, source: Grid, axis: int, how: Filter, taps: int) -> Tensor:
    """The filter along one axis: (to.shape[axis], source.shape[axis]) float64; its rows add up to 1."""
    n, periodic = source.shape[axis], source.periodic[axis]
    if how == "fourier" and periodic:
        return dirichlet(to.shape[axis], n, source.centring == "cell")
    h = source.spacing[axis]
    cut = min(1.0, h / to.spacing[axis])
    at = (to.coordinates(axis) - source.coordinates(axis)[0]) / h
    reach = math.ceil(taps / (2 * cut)) + 1
    index = torch.arange(-reach, n + reach)
    z = cut * (at[:, None] - index)
    inside = (1 - (2 * z / taps).square()).clamp_min(0)
    window = torch.special.i0(KAISER_BETA * inside.sqrt()) * (inside > 0)
    weights = torch.sinc(z) * window
    ends = index % n if periodic else index.clamp(0, n - 1)
    folded = torch.zeros(len(at), n, dtype=torch.float64).index_add(1, ends, weights)
    return folded / folded.sum(1, keepdim=True)


def scaled(grid: Grid, *, double: bool) -> Grid:
    """The grid with half the spacing, or twice it (the last spacing of an odd axis is a wider one)."""
    ends = (n - i for n, i in zip(grid.shape, grid.intervals, strict=True))
    return grid.with_shape(
        tuple((2 * i if double else (i + 1) // 2) + end for i, end in zip(grid.intervals, ends, strict=True))
    )


class AliasFree(nn.Module):
    """σ of a field, on the grid that is asked for; works on twice the points of the finer of the two.

    antialias: false is the plain way: σ on the points, then the nearest point.
    u: (B, C, *grid.shape) -> (B, C, *to.shape).
    """

    def __init__(
        self,
        activation: Callable[[Tensor], Tensor],
        *,
        how: Filter = "fourier",
        taps: int = 12,
        antialias: bool = True,
    ) -> None:
        super().__init__()
        self.activation, self.how, self.taps, self.antialias = activation, how, taps, antialias

    def forward(self, u: Tensor, grid: Grid, to: Grid | None = None) -> Tensor:
        to = grid if to is None else to
        if not self.antialias:
            out = self.activation(u)
            return out if to.shape == grid.shape else F.interpolate(out, size=to.shape, mode="nearest")
        fine = scaled(grid.with_shape(tuple(map(max, grid.shape, to.shape))), double=True)
        out = self.activation(resample(u, grid, fine, how=self.how, taps=self.taps))
        return resample(out, fine, to, how=self.how, taps=self.taps)
