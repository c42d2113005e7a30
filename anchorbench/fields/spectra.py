"""Spectra in physical wavenumbers: a ring, or a band, holds the same waves on every rung.

Energy is a share of the mean square: E over a set of waves is Σ |û(k)|², û = FFT(u)/n, so that the energies of all
waves sum to mean(u²) (Parseval).  A ring is |k| in [(r − ½) dk, (r + ½) dk), dk = 2π / (longest extent).

On a latlon grid that covers the sphere the waves are spherical harmonics and k is their degree, the total wavenumber l:
E_l = Σ_{|m| ≤ l} |c_lm|², l < N/2 for N rows, the mean that of `quadrature_weights`.  A part of the sphere is treated
as a plane, its axes in degrees.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from anchorbench.errors import GridError, unknown
from anchorbench.fields.grid import Grid
from anchorbench.fields.separable import constant, own_grid, working_dtype
from anchorbench.fields.sphere import analyse, covers_sphere, degree_energies, n_degrees, quadrature_weights

Taper = Literal["hann"] | None

# A wave this close (relatively) to an edge counts as on it: 2π m / L and a person's 2π · 5.0 differ in the last bit.
EDGE = 1e-9
# On a CPU: the values transformed at a time, about what its second cache holds; and the values a field from which one
# CSR product a field beats one for all of them (256²: 0.02 ms a field against 0.09).
CHUNK = 2**19
ONE_BY_ONE = 2**14


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Energy per ring: k (K,), radians per unit of length; energy (..., K), corner (...), in the field's unit squared.

    The rings are those that the grid holds completely, below every axis' Nyquist; `corner` is all energy beyond them.
    Σ energy + corner = mean(u²).  On the sphere k is the degree l, and `corner` what no degree l < N/2 holds.
    """

    k: Tensor
    energy: Tensor
    corner: Tensor

    def pooled(self) -> Spectrum:
        """The mean over all fields: energy (K,), corner ()."""
        return Spectrum(self.k, self.energy.reshape(-1, len(self.k)).mean(0), self.corner.mean())


@dataclass(frozen=True, slots=True)
class CrossSpectrum:
    """Co-spectrum Σ Re â b̂* over rings, and both powers; Σ co.energy + co.corner = mean(a b)."""

    co: Spectrum
    a: Spectrum
    b: Spectrum

    def pooled(self) -> CrossSpectrum:
        """The means over all fields; a coherence is taken of means, never averaged itself."""
        return CrossSpectrum(self.co.pooled(), self.a.pooled(), self.b.pooled())

    @property
    def k(self) -> Tensor:
        return self.co.k

    @property
    def coherence(self) -> Tensor:
        """γ² = co² / (E_a E_b), (..., K), in [0, 1]; 0 where either has no energy."""
        powers = self.a.energy * self.b.energy
        return torch.where(powers > 0, self.co.energy**2 / torch.where(powers > 0, powers, 1.0), 0.0)


def radial_spectrum(u: Tensor, grid: Grid, *, taper: Taper = None) -> Spectrum:
    """E_r = Σ |û(k)|² over (r − ½) dk ≤ |k| < (r + ½) dk, r = 0, 1, ..., as long as the ring is whole on this grid.

    u: (..., *grid.shape), 1, 2 or 3 dimensions.  Returns k (K,), energy (..., K), corner (...), u's dtype.
    taper "hann" windows the axes that are not periodic with w = sin²: u becomes μ + w (u − μ) / rms(w), μ the
    w-weighted mean, so that a jump at the ends is no energy, the mean stays in ring 0, white noise keeps its energy.
    On the whole sphere k = l, E_l = Σ_{|m| ≤ l} |c_lm|² for l < N/2, N rows, and nothing is tapered.  On a part of it
    the axes count as they are, in degrees.  Raises GridError where u is not on the grid.
    """
    if covers_sphere(grid):
        return _by_degree(u, u, grid, taper)
    edges = ring_edges(grid)
    energy = _binned(_prepared(u, grid, taper), None, grid, (*edges, math.inf)).to(u.dtype)
    return Spectrum(_ring_numbers(grid, u), energy[..., :-1], energy[..., -1])


def radial_spectrum_plain(u: Tensor, grid: Grid, *, taper: Taper = None) -> Spectrum:
    """The same, straight from the definition: every wave of the full FFT is added to its ring.  Not for the sphere."""
    edges = (*ring_edges(grid), math.inf)
    axes = tuple(range(-grid.ndim, 0))
    power = torch.fft.fftn(_prepared(u, grid, taper), dim=axes, norm="forward").abs().square()
    index = band_index(grid, edges, half=False).to(u.device).flatten()
    energy = power.new_zeros(*power.shape[: -grid.ndim], len(edges) - 1)
    energy = energy.index_add(-1, index, power.flatten(-grid.ndim)).to(u.dtype)
    return Spectrum(_ring_numbers(grid, u), energy[..., :-1], energy[..., -1])


def cross_spectrum(a: Tensor, b: Tensor, grid: Grid, *, taper: Taper = None) -> CrossSpectrum:
    """C_r = Σ Re â(k) b̂(k)* over the rings of `radial_spectrum`, with both powers.

    a, b: (..., *grid.shape), of one shape.  Raises GridError where they are not.
    """
    if a.shape != b.shape:
        raise GridError(
            f"a cross-spectrum is of two fields on the same points, not {tuple(a.shape)} and {tuple(b.shape)}"
        )
    if covers_sphere(grid):
        return CrossSpectrum(
            _by_degree(a, b, grid, taper), _by_degree(a, a, grid, taper), _by_degree(b, b, grid, taper)
        )
    edges = (*ring_edges(grid), math.inf)
    a_ready, b_ready = _prepared(a, grid, taper), _prepared(b, grid, taper)
    k = _ring_numbers(grid, a)
    parts = []
    for left, right in ((a_ready, b_ready), (a_ready, None), (b_ready, None)):
        energy = _binned(left, right, grid, edges).to(a.dtype)
        parts.append(Spectrum(k, energy[..., :-1], energy[..., -1]))
    return CrossSpectrum(*parts)


def band_energies(u: Tensor, grid: Grid, edges: Sequence[float], *, taper: Taper = None) -> Tensor:
    """E_i = Σ |û(k)|² over edges[i] ≤ |k| < edges[i + 1], |k| the Euclidean norm, in every quadrant.

    u: (..., *grid.shape).  edges: rising, radians per unit, `math.inf` allowed.  Returns (..., len(edges) − 1), the
    field's unit squared.  On the whole sphere |k| is the degree l, and a band without end holds, beside its degrees
    l < N/2, all that is no such harmonic.  Raises GridError where the edges do not rise or u is not on the grid.
    """
    edges = tuple(float(edge) for edge in edges)
    if len(edges) < 2 or any(not low < high for low, high in pairwise(edges)):
        raise GridError(f"band edges rise, and are two or more: {edges}")
    if covers_sphere(grid):
        spectrum = _by_degree(u, u, grid, taper)
        energy = torch.cat((spectrum.energy, spectrum.corner[..., None]), dim=-1)
        k = torch.cat((spectrum.k, spectrum.k.new_full((1,), math.inf)))
        low = torch.searchsorted(k, k.new_tensor(edges) * (1 - EDGE)).tolist()
        low[-1] = len(k) if math.isinf(edges[-1]) else low[-1]
        return torch.stack([energy[..., i:j].sum(-1) for i, j in pairwise(low)], dim=-1).to(u.dtype)
    return _binned(_prepared(u, grid, taper), None, grid, edges).to(u.dtype)


def _by_degree(a: Tensor, b: Tensor, grid: Grid, taper: Taper) -> Spectrum:
    """Σ_m Re a_lm b*_lm by degree, and what is left of mean(a b), on the whole sphere."""
    _check_taper(taper)  # there are no ends to taper
    dtype, same = working_dtype(a), b is a
    a, b = a.to(dtype), b.to(dtype)
    first = analyse(a, grid)
    energy = degree_energies(first, first if same else analyse(b, grid))
    weights = constant(quadrature_weights, grid, dtype=dtype, device=a.device)
    corner = (weights * a * b).mean((-2, -1)) - energy.sum(-1)
    k = torch.arange(n_degrees(grid), dtype=torch.float64, device=a.device)
    # Not below 0 but by rounding (Bessel's inequality).
    return Spectrum(k, energy, corner.clamp_min(0) if same else corner)


def ring_edges(grid: Grid) -> tuple[float, ...]:
    """0, ½ dk, 3/2 dk, ...: the edges of the rings that hold all their waves on this grid."""
    dk = 2 * math.pi / max(grid.extent)
    # An even axis has half of its Nyquist wave: that is the first wave missing.
    missing = min(2 * math.pi * ((n - 1) // 2 + 1) / length for n, length in zip(grid.shape, grid.extent, strict=True))
    rings = math.floor(missing / dk - 0.5 + EDGE) + 1
    return (0.0, *((r + 0.5) * dk for r in range(rings)))


def wavenumbers(grid: Grid, *, half: bool) -> Tensor:
    """|k|, radians per unit, of each entry of fftn (or of rfftn if `half`): (*shape), float64."""
    total = torch.zeros((), dtype=torch.float64)
    for axis, (n, length) in enumerate(zip(grid.shape, grid.extent, strict=True)):
        m = torch.arange(n // 2 + 1 if half and axis == grid.ndim - 1 else n)
        k = torch.minimum(m, n - m).double() * (2 * math.pi / length)
        total = total[..., None] + k**2
    return total.sqrt()


def band_index(grid: Grid, edges: tuple[float, ...], *, half: bool) -> Tensor:
    """The band of each wave: (*shape), int64; −1 below the first edge, len(edges) − 1 beyond the last."""
    marks = torch.tensor([edge * (1 - EDGE) for edge in edges], dtype=torch.float64)
    return torch.searchsorted(marks, wavenumbers(grid, half=half), right=True) - 1


def band_matrix(grid: Grid, edges: tuple[float, ...]) -> Tensor:
    """A with E = A x, x the squared real and imaginary parts of rfftn(u), flat: (bands, 2 n_half), CSR, float64.

    An entry is 1/n², doubled for the waves whose mirror the half spectrum leaves out.
    """
    index = band_index(grid, edges, half=True)
    weight = torch.full(index.shape, 2.0 / grid.n_points**2, dtype=torch.float64)
    weight[..., 0] /= 2
    if grid.shape[-1] % 2 == 0:
        weight[..., -1] /= 2
    inside = ((index >= 0) & (index < len(edges) - 1)).flatten().repeat_interleave(2)
    row = index.flatten().repeat_interleave(2)[inside]
    column, order = inside.nonzero().flatten(), torch.argsort(row, stable=True)
    start = torch.zeros(len(edges), dtype=torch.int64)
    start[1:] = torch.bincount(row, minlength=len(edges) - 1).cumsum(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Ss]parse.*")  # "in beta state", of a product that is tested here
        return torch.sparse_csr_tensor(
            start.int(),
            column[order].int(),
            weight.flatten().repeat_interleave(2)[inside][order],
            size=(len(edges) - 1, inside.numel()),
        )


def _binned(u: Tensor, v: Tensor | None, grid: Grid, edges: tuple[float, ...]) -> Tensor:
    """Σ Re û v̂* per band, v = u where None: (..., bands)."""
    fields = u.reshape(-1, *grid.shape)
    others = None if v is None else v.reshape(-1, *grid.shape)
    matrix = constant(band_matrix, grid, edges, dtype=u.dtype, device=u.device)
    axes = tuple(range(-grid.ndim, 0))
    on_cpu = u.device.type == "cpu"
    chunk = max(1, CHUNK // matrix.shape[1]) if on_cpu else max(1, len(fields))
    energies = []
    for start in range(0, len(fields), chunk):
        part = slice(start, start + chunk)
        x = torch.view_as_real(torch.fft.rfftn(fields[part], dim=axes)).flatten(1)
        y = x if others is None else torch.view_as_real(torch.fft.rfftn(others[part], dim=axes)).flatten(1)
        products = x * y if x.requires_grad or y.requires_grad else x.mul_(y)
        if on_cpu and matrix.shape[1] > ONE_BY_ONE:
            energies.append(torch.stack([matrix @ product for product in products]))
        else:
            energies.append((matrix @ products.mT).mT)
    bands = len(edges) - 1
    energy = torch.cat(energies) if energies else u.new_zeros(0, bands)
    return energy.reshape(*u.shape[: u.ndim - grid.ndim], bands)


def _prepared(u: Tensor, grid: Grid, taper: Taper) -> Tensor:
    """u in the dtype that is computed in, tapered.  Raises GridError where it does not fit the grid."""
    if own_grid(u, grid).shape != grid.shape:
        raise GridError(f"a field of shape {tuple(u.shape)} is not on a grid {grid.shape}")
    _check_taper(taper)
    working_dtype(u)
    u = u if u.dtype == torch.float64 else u.float()
    if taper is None or all(grid.periodic):
        return u
    window = constant(hann, grid, dtype=u.dtype, device=u.device)
    axes = tuple(range(-grid.ndim, 0))
    mean = (window * u).mean(axes, keepdim=True) / window.mean()
    return mean + window * (u - mean)


def _check_taper(taper: Taper) -> None:
    if taper not in (None, "hann"):
        raise GridError(unknown("taper", taper, ["hann"]))


def hann(grid: Grid) -> Tensor:
    """Π sin²(π (n + ½)/N) over the axes that are not periodic, scaled to mean square 1: (*shape), float64."""
    window = torch.ones((), dtype=torch.float64)
    for n, periodic in zip(grid.shape, grid.periodic, strict=True):
        points = torch.arange(n, dtype=torch.float64)
        window = window[..., None] * (
            torch.ones_like(points) if periodic else torch.sin(math.pi * (points + 0.5) / n) ** 2
        )
    return window / window.square().mean().sqrt()


def _ring_numbers(grid: Grid, u: Tensor) -> Tensor:
    rings = torch.arange(len(ring_edges(grid)) - 1, dtype=torch.float64, device=u.device)
    return rings * (2 * math.pi / max(grid.extent))
