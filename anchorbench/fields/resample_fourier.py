"""Trigonometric resampling: û'(k) = û(k) for |kᵢ| < min(Nᵢ, Nᵢ')/2, and nothing else.

The inequality is strict: the Nyquist wave of an even grid is the same samples for every phase, so no other grid can be
told where to put it.  With it dropped the kept band is symmetric, a real field stays real, and the map is a product of
one real matrix an axis, the Dirichlet kernel D_m(θ) = Σ_{|k| ≤ m} exp(i k θ).  On the whole sphere the waves are
spherical harmonics of degree l < min(N, N')/2, N the rows (fields/sphere.py).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from anchorbench.errors import GridError
from anchorbench.fields.grid import Grid
from anchorbench.fields.separable import along_axes, constant, working_dtype
from anchorbench.fields.sphere import mesh_of, project_harmonic, resample_harmonic

# Points an axis of the coarser grid.  One thread of a CPU, 16 float32 fields: 256² to 128² takes 2.7 ms by matrices,
# 5.2 by FFT, and back 2.6 and 12.6 (torch's irfft2 is slow there); from 512² to 256² the two are even.
MATRIX_POINTS = 128


def band(n: int) -> int:
    """The highest whole wave below the Nyquist of n points: the largest m < n/2."""
    return (n - 1) // 2


def dirichlet(n_to: int, n_from: int, cell: bool) -> Tensor:
    """W[p, q] = D_m(x_p − y_q) / n_from with m = band(min(n_to, n_from)): (n_to, n_from), float64.

    x and y are the two grids' points on [0, 2π): p h for point centring, (p + ½) h for cells.
    """
    m, turn, half = band(min(n_to, n_from)), n_to * n_from, int(cell)
    p, q = torch.arange(n_to)[:, None], torch.arange(n_from)
    # θ = π j / (n_to n_from) in whole numbers, taken to within half a period of 0, where a sine keeps all its digits.
    j = _nearest_zero((2 * p + half) * n_from - (2 * q + half) * n_to, 2 * turn)
    upper = torch.sin(_nearest_zero((2 * m + 1) * j, 4 * turn).double() * (math.pi / (2 * turn)))
    lower = torch.sin(j.double() * (math.pi / (2 * turn)))
    kernel = torch.where(j == 0, 2.0 * m + 1.0, upper / lower.masked_fill(j == 0, 1.0))
    return kernel / n_from


def _nearest_zero(j: Tensor, period: int) -> Tensor:
    reduced: Tensor = torch.remainder(j + period // 2, period)
    return reduced - period // 2


def waves(n: int, m: int) -> Tensor:
    """Orthonormal real waves 1/√n, √(2/n) cos kx, √(2/n) sin kx for k = 1 ... m: (n, 2m + 1), float64."""
    k, x = torch.arange(1, m + 1), torch.arange(n)[:, None]
    angle = (k * x % n).double() * (2 * math.pi / n)
    mean = torch.full((n, 1), math.sqrt(0.5), dtype=torch.float64)
    return torch.cat([mean, torch.cos(angle), torch.sin(angle)], dim=1) * math.sqrt(2 / n)


def _transposed_waves(n: int, m: int) -> Tensor:
    return waves(n, m).T


def resample_spectral(u: Tensor, source: Grid, to: Grid) -> Tensor:
    """û'(k) = û(k), |kᵢ| < min(Nᵢ, Nᵢ')/2, by whichever of the two forms is faster.

    u: (..., *source.shape).  Returns (..., *to.shape), same dtype.  The box is periodic (`check_periodic`).
    """
    if source.kind == "latlon":
        return resample_harmonic(u, source, to)
    pairs = list(zip(to.shape, source.shape, strict=True))
    if max(min(pair) for pair in pairs) > MATRIX_POINTS:
        return resample_fft(u, source, to)
    cell, dtype = to.centring == "cell", working_dtype(u)
    matrices = [constant(dirichlet, m, n, cell, dtype=dtype, device=u.device) for m, n in pairs]
    return along_axes(u.to(dtype), matrices).to(u.dtype)


def resample_fft(u: Tensor, source: Grid, to: Grid) -> Tensor:
    """The same by FFT: pick the band's corners of the half spectrum, turn their phases, transform back.

    On cells a wave's coefficient turns by exp(i k (Δ' − Δ)/2), half the difference of the spacings.
    """
    axes = tuple(range(-to.ndim, 0))
    bands = [band(min(m, n)) for m, n in zip(to.shape, source.shape, strict=True)]
    spectrum = torch.fft.rfftn(u.to(working_dtype(u)), dim=axes, norm="forward")
    for axis, m, n_to, n_from in zip(axes, bands, to.shape, source.shape, strict=True):
        last, n_out = axis == -1, n_to // 2 + 1 if axis == -1 else n_to
        k = torch.arange(0 if last else -m, m + 1, device=u.device)
        kept = spectrum.index_select(axis, k % n_from)
        if to.centring == "cell":
            turn = k.double() * (math.pi * (1 / n_to - 1 / n_from))
            phase = torch.polar(torch.ones_like(turn), turn).to(kept.dtype)
            kept = kept * phase.reshape(-1, *(1,) * (-axis - 1))
        shape = list(kept.shape)
        shape[axis] = n_out
        spectrum = kept.new_zeros(shape).index_copy(axis, k % n_to, kept)
    resampled: Tensor = torch.fft.irfftn(spectrum, s=to.shape, dim=axes, norm="forward")
    return resampled.to(u.dtype)


def project_spectral(u: Tensor, source: Grid, onto: Grid) -> Tensor:
    """P u = Q Qᵀ u, Q the orthonormal waves |kᵢ| < Nᵢ/2 of `onto`; axes on which `onto` is finer stay as they are."""
    if source.kind == "latlon":
        return project_harmonic(u, source, onto)
    bands = [band(m) if m <= n else None for m, n in zip(onto.shape, source.shape, strict=True)]
    kept = [2 * m + 1 for m in bands if m is not None]
    if not kept:
        return u
    if max(kept) > MATRIX_POINTS:
        return project_fft(u, source, onto)
    dtype = working_dtype(u)
    down: list[Tensor | None] = []
    up: list[Tensor | None] = []
    for m, n in zip(bands, source.shape, strict=True):
        for side, build in ((down, _transposed_waves), (up, waves)):
            side.append(None if m is None else constant(build, n, m, dtype=dtype, device=u.device))
    return along_axes(along_axes(u.to(dtype), down), up).to(u.dtype)


def project_fft(u: Tensor, source: Grid, onto: Grid) -> Tensor:
    """The same by FFT over the axes on which `onto` is not finer: û(k) kept for |kᵢ| < Nᵢ/2, else 0."""
    sizes = zip(range(-onto.ndim, 0), onto.shape, source.shape, strict=True)
    cut = [(axis, band(m), n) for axis, m, n in sizes if m <= n]
    axes = tuple(axis for axis, _, _ in cut)
    spectrum = torch.fft.rfftn(u.to(working_dtype(u)), dim=axes)
    for axis, m, n in cut:
        k = torch.arange(spectrum.shape[axis], device=u.device)
        keep = torch.minimum(k, n - k) <= m
        spectrum = spectrum * keep.reshape(-1, *(1,) * (-axis - 1))
    projected: Tensor = torch.fft.irfftn(spectrum, s=tuple(n for _, _, n in cut), dim=axes)
    return projected.to(u.dtype)


def check_periodic(grid: Grid) -> None:
    """Raises GridError where a field has no series of waves: a part of the sphere, or an axis that is not periodic."""
    if grid.kind == "latlon":
        mesh_of(grid)
    elif not all(grid.periodic):
        raise GridError(
            f"'spectral' needs a box that is periodic on every axis; this one has periodic={grid.periodic}",
            do="take how='block_mean' or how='conservative'",
        )
