"""Fields on finer points by their Fourier series, with zeros beyond: any sizes, mirrored at ends.

    û'(k) = û(k) for |k| < n/2,   ½ û(n/2) at k = ±n/2 of an even axis,   0 beyond,   û the mean-normalised transform

so constants keep their value whatever the sizes.  An axis with ends is made periodic by its mirror image, which is a
cosine series: no jump at the ends, so none of the ringing of one.  On cells each wave is turned by half the difference
of the spacings, or the field would be shifted.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from anchorbench.errors import GridError
from anchorbench.fields.grid import Grid
from anchorbench.fields.separable import working_dtype


def spectral_resize(u: Tensor, source: Grid, to: Grid) -> Tensor:
    """The band-limited interpolation of u: exact for waves below the Nyquist of `source`, and keeps the mean of all.

    u: (..., *source.shape), real.  Returns (..., *to.shape), same dtype.  Raises GridError where `to` is coarser.
    """
    return from_spectrum(spectrum(u, source), source, to).to(u.dtype)


def spectrum(u: Tensor, grid: Grid) -> Tensor:
    """û of the field and its mirror images, mean-normalised: complex (..., *extended)."""
    u = u.to(working_dtype(u))
    for axis in range(-grid.ndim, 0):
        if not grid.periodic[axis]:
            n = u.shape[axis]
            # Between points the mirror stands on the last one, between cells on its edge.
            first, count = (0, n) if grid.centring == "cell" else (1, max(n - 2, 0))
            u = torch.cat((u, u.narrow(axis, min(first, n - 1), count).flip(axis)), axis)
    transformed: Tensor = torch.fft.fftn(u, dim=tuple(range(-grid.ndim, 0)), norm="forward")
    return transformed


def from_spectrum(z: Tensor, source: Grid, to: Grid) -> Tensor:
    """The real part, on the points of `to`, of the series that z holds for `source`, mirror images cut off.

    z: complex, as `spectrum` gives it.  Returns (..., *to.shape), real.  Raises GridError where `to` is coarser.
    """
    if any(m < n for m, n in zip(to.shape, source.shape, strict=True)):
        raise GridError(f"a series is padded to finer points, not from {source.shape} to {to.shape}")
    axes = tuple(range(-to.ndim, 0))
    for axis in axes:
        n, m = z.shape[axis], _extended(to, axis)
        if n == m:
            continue
        k = torch.arange(-(n // 2), n // 2 + 1, device=z.device)
        turn = k.double() * (math.pi / m - math.pi / n if to.centring == "cell" else 0.0)
        # An even axis has one Nyquist wave: half of it each way.
        share = torch.where(2 * k.abs() == n, 0.5, 1.0).double()
        factor = torch.polar(share, turn).to(z.dtype).reshape(-1, *(1,) * (-axis - 1))
        kept = z.index_select(axis, k % n) * factor
        shape = list(z.shape)
        shape[axis] = m
        z = kept.new_zeros(shape).index_copy(axis, k % m, kept)
    out: Tensor = torch.fft.ifftn(z, dim=axes, norm="forward").real
    for axis, n in zip(axes, to.shape, strict=True):
        out = out.narrow(axis, 0, n)
    return out


def _extended(grid: Grid, axis: int) -> int:
    n = grid.shape[axis]
    if grid.periodic[axis]:
        return n
    return 2 * n if grid.centring == "cell" else max(2 * n - 2, 1)
