"""Spherical harmonics on latlon grids: analysis and synthesis, winds, means over cells, resampling.

    u(φ, λ) = Σ_{l < L} Σ_{|m| ≤ l} c_lm Y_lm,   c_lm = mean(u Y*_lm),   mean |Y_lm|² = 1

Y_lm is √(4π) times the orthonormal harmonic, with Condon-Shortley's sign.  Fields are real, so c_{l,−m} = (−1)^m c*_lm,
and only m ≥ 0 is kept: coefficients are complex (..., L, L), [l, m], 0 where m > l.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from anchorbench.errors import GridError
from anchorbench.fields.grid import Grid
from anchorbench.fields.harmonics import Mesh, curl_divergence, row_weights, to_modes, to_waves, wind_waves
from anchorbench.fields.legendre import Rows, latitudes, legendre_part
from anchorbench.fields.separable import constant, own_grid, working_dtype

# Degrees by which a box may miss a pole.
ROUNDING = 1e-9


def covers_sphere(grid: Grid) -> bool:
    """True for latlon grids from pole to pole and all round: of cells, or of points with a row on either pole."""
    if grid.kind != "latlon" or not grid.periodic[1] or grid.shape[0] < 2:
        return False
    return abs(grid.extent[0] - 180) <= ROUNDING and abs(grid.origin[0] + 90) <= ROUNDING


@lru_cache(maxsize=256)
def mesh_of(grid: Grid) -> Mesh:
    """The rows and columns of a grid.  Raises GridError unless it is latlon and covers the sphere."""
    if not covers_sphere(grid):
        raise GridError(
            f"spherical harmonics need the whole sphere; this is a {grid.kind} grid of {grid.extent} {grid.unit}",
            do="take how='conservative', or a latlon grid from pole to pole and all round",
        )
    rows: Rows = "cells" if grid.centring == "cell" else "poles"
    return Mesh(rows, grid.shape[0], grid.shape[1], math.radians(float(grid.coordinates(1)[0])))


def n_degrees(grid: Grid) -> int:
    """L = ⌈N/2⌉, N the rows: the degrees l < N/2 are exact.  Fewer where the columns are fewer than the rows.

    Raises GridError unless the grid covers the sphere.
    """
    return mesh_of(grid).n_degrees


def quadrature_weights(grid: Grid) -> Tensor:
    """Weights of the points, with mean 1, under which the harmonics l < N/2 are orthonormal: (*shape), float64.

    Fejér's on cells, Clenshaw-Curtis with poles; all positive.  `Grid.area_weights` are the areas of the cells, for
    means over cells; `project(how="spectral")` is orthogonal in these.  Raises GridError as `n_degrees`.
    """
    mesh = mesh_of(grid)
    weights = row_weights(mesh.rows, mesh.n_rows) * mesh.n_rows
    return weights[:, None].expand(grid.shape).contiguous()


# -- transforms ------------------------------------------------------------------------------------------------------


def analyse(u: Tensor, grid: Grid, *, degrees: int | None = None) -> Tensor:
    """c_lm = Σ w u Y*_lm over the grid's points, l < degrees: (..., *grid.shape) to (..., degrees, degrees).

    u's own coefficients where u holds degrees l < N/2 alone, else its best fit in the quadrature's mean square.
    degrees: `n_degrees(grid)` at most, and by default.  Complex, of u's working precision.
    Raises GridError where u is not on the grid, or the grid does not carry the degrees.
    """
    mesh = _checked(u, grid)
    return _from_layout(to_modes(_waves(u, mesh, _carried(mesh, degrees)), mesh), u.shape[:-2])


def synthesise(c: Tensor, grid: Grid) -> Tensor:
    """u = Σ c_lm Y_lm at the grid's points, for any L: c (..., L, L) to (..., *grid.shape), real.

    Raises GridError where c are no coefficients, or the grid does not cover the sphere.
    """
    mesh = mesh_of(grid)
    return _points(to_waves(_to_layout(c), mesh), mesh, c.shape[:-2])


def wind(vorticity: Tensor, divergence: Tensor, grid: Grid, *, radius: float) -> tuple[Tensor, Tensor]:
    """The wind (u, v) = k × ∇ψ + ∇χ with ∇²ψ = ζ, ∇²χ = δ, eastward and northward, at the grid's points.

    vorticity, divergence: (..., L, L) coefficients, 1/time; degree 0 has no wind.  radius: of the sphere.  On rows at
    the poles u and v are the limits along each meridian.  Returns two (..., *grid.shape).  Raises as `synthesise`.
    """
    mesh = mesh_of(grid)
    psi, chi = (inverse_laplacian(c) * radius for c in (vorticity, divergence))
    u, v = wind_waves(_to_layout(psi), _to_layout(chi), mesh)
    return _points(u, mesh, vorticity.shape[:-2]), _points(v, mesh, vorticity.shape[:-2])


def vorticity_divergence(
    u: Tensor, v: Tensor, grid: Grid, *, radius: float, degrees: int | None = None
) -> tuple[Tensor, Tensor]:
    """ζ = k·∇×(u, v) and δ = ∇·(u, v) as coefficients, integrated by parts: δ_lm = −mean((u, v)·∇Y*_lm).

    u, v: (..., *grid.shape), eastward and northward; exact where ψ and χ hold degrees l < N/2 alone.
    Returns two (..., degrees, degrees).  Raises GridError as `analyse`.
    """
    mesh = _checked(u, grid)
    if u.shape != v.shape:
        raise GridError(f"a wind has two components on the same points, not {tuple(u.shape)} and {tuple(v.shape)}")
    degrees = _carried(mesh, degrees)
    curl, div = curl_divergence(_waves(u, mesh, degrees) / radius, _waves(v, mesh, degrees) / radius, mesh)
    return _from_layout(curl, u.shape[:-2]), _from_layout(div, u.shape[:-2])


def inverse_laplacian(c: Tensor) -> Tensor:
    """∇⁻²c = −c_lm/(l(l + 1)) on a sphere of radius 1, 0 at l = 0: (..., L, L)."""
    degree = torch.arange(c.shape[-2], dtype=c.real.dtype, device=c.device)
    eigenvalue = (degree * (degree + 1)).clamp_min(1)
    return torch.where(degree > 0, -1 / eigenvalue, 0.0)[:, None] * c


def degree_energies(a: Tensor, b: Tensor) -> Tensor:
    """E_l = Σ_{|m| ≤ l} Re a_lm b*_lm: (..., L, L) each to (..., L).  Σ E_l = mean(u v), u and v the two fields."""
    product = a.real * b.real + a.imag * b.imag
    return 2 * product.sum(-1) - product[..., 0]


# -- between grids ---------------------------------------------------------------------------------------------------


def resample_harmonic(u: Tensor, source: Grid, to: Grid) -> Tensor:
    """c'_lm = c_lm for l < min(N, N')/2, N rows, and nothing else: (..., *source.shape) to (..., *to.shape)."""
    degrees = min(n_degrees(source), n_degrees(to))
    return synthesise(analyse(u, source, degrees=degrees), to).to(u.dtype)


def project_harmonic(u: Tensor, source: Grid, onto: Grid) -> Tensor:
    """P u at u's own points: the degrees l < N/2, N the rows of `onto`; u as it is where it has fewer rows."""
    if onto.shape[0] > source.shape[0]:
        return u
    degrees = min(n_degrees(source), n_degrees(onto))
    return synthesise(analyse(u, source, degrees=degrees), source).to(u.dtype)


# -- means over cells ------------------------------------------------------------------------------------------------


def cell_means(c: Tensor, grid: Grid) -> Tensor:
    """The exact mean of Σ c_lm Y_lm over each cell, for any L: c (..., L, L) to (..., *grid.shape).

        ū = Σ c_lm [∫ P̄_lm cos φ dφ / ∫ cos φ dφ] e^{imλ} sin(m Δλ/2)/(m Δλ/2)

    Raises GridError unless the grid has cells and covers the sphere.
    """
    mesh = _cells_of(grid)
    matrix = constant(row_means, mesh.n_rows, c.shape[-1], dtype=c.real.dtype, device=c.device)
    means = torch.complex(*(torch.bmm(matrix, part) for part in _parts(_to_layout(c))))
    return _points(means * _sinc(c.shape[-1], mesh, means), mesh, c.shape[:-2])


def from_cell_means(u: Tensor, grid: Grid, *, degrees: int) -> Tensor:
    """The harmonics l < degrees whose means over the cells come nearest to u, in the mean square of areas.

    u: (..., *grid.shape).  degrees: not more than the rows, nor half the columns.  Returns (..., degrees, degrees).
    Raises GridError where the cells do not tell so many degrees apart, and as `cell_means`.
    """
    _checked(u, grid)
    mesh = _cells_of(grid)
    if not 1 <= degrees <= min(mesh.n_rows, (mesh.n_columns + 1) // 2):
        raise GridError(f"cells {grid.shape} do not tell {degrees} degrees apart")
    columns = _waves(u, mesh, degrees)
    matrix = constant(row_means_inverse, mesh.n_rows, degrees, dtype=columns.real.dtype, device=u.device)
    columns = columns / _sinc(degrees, mesh, columns)
    modes = torch.complex(*(torch.bmm(matrix, part) for part in _parts(columns)))
    return _from_layout(modes, u.shape[:-2])


def row_means(n_rows: int, degrees: int) -> Tensor:
    """∫ P̄_lm cos φ dφ / ∫ cos φ dφ over each row of cells: (m, rows, l), float64, by Gauss' rule inside each."""
    nodes, weights = latitudes("gauss", 12 + 2 * math.ceil(degrees / n_rows))
    edges = torch.linspace(-math.pi / 2, math.pi / 2, n_rows + 1, dtype=torch.float64)
    inside = (edges[1:] + edges[:-1])[:, None] / 2 + math.pi / (2 * n_rows) * torch.sin(nodes)
    share = weights * torch.cos(inside)
    share = share / share.sum(1, keepdim=True)
    return torch.einsum("mlrq,rq->mrl", legendre_part(inside, degrees, "value"), share)


def row_means_inverse(n_rows: int, degrees: int) -> Tensor:
    """The least-squares inverse of `row_means` under the rows' areas: (m, l, rows), float64, 0 where l < m."""
    forward = row_means(n_rows, degrees)
    root = Grid((n_rows, 1), (180.0, 360.0), "cell", "latlon").area_weights()[:, 0].sqrt()
    inverse = torch.zeros(degrees, degrees, n_rows, dtype=torch.float64)
    for m in range(degrees):
        inverse[m, m:] = torch.linalg.pinv(root[:, None] * forward[m, :, m:]) * root
    return inverse


def _cells_of(grid: Grid) -> Mesh:
    mesh = mesh_of(grid)
    if mesh.rows != "cells":
        raise GridError("means over cells are of a grid with centring 'cell'")
    return mesh


def _sinc(degrees: int, mesh: Mesh, like: Tensor) -> Tensor:
    """sin(m Δλ/2)/(m Δλ/2), what a mean over one column does to a wave: (m, 1, 1)."""
    orders = torch.arange(degrees, dtype=like.real.dtype, device=like.device)
    return torch.sinc(orders / mesh.n_columns)[:, None, None]


# -- layouts ---------------------------------------------------------------------------------------------------------


def _checked(u: Tensor, grid: Grid) -> Mesh:
    if own_grid(u, grid).shape != grid.shape:
        raise GridError(f"a field of shape {tuple(u.shape)} is not on a grid {grid.shape}")
    return mesh_of(grid)


def _carried(mesh: Mesh, degrees: int | None) -> int:
    degrees = mesh.n_degrees if degrees is None else degrees
    if not 1 <= degrees <= mesh.n_degrees:
        raise GridError(f"{mesh.n_rows} x {mesh.n_columns} points carry {mesh.n_degrees} degrees, not {degrees}")
    return degrees


def _waves(u: Tensor, mesh: Mesh, degrees: int) -> Tensor:
    """(..., rows, columns) to (m, rows, B), the phase counted from longitude 0."""
    u = u.to(working_dtype(u)).reshape(-1, mesh.n_rows, mesh.n_columns)
    waves: Tensor = torch.fft.rfft(u, norm="forward")[..., :degrees]
    return (waves * _phase(degrees, -mesh.first, waves)).permute(2, 1, 0)


def _points(waves: Tensor, mesh: Mesh, leading: torch.Size) -> Tensor:
    """(m, rows, B) to (..., rows, columns); orders that the columns alias are sampled as they are."""
    degrees = waves.shape[0]
    waves = waves.permute(2, 1, 0)
    finer = (2 * degrees - 2) // mesh.n_columns + 1
    u = torch.fft.irfft(waves * _phase(degrees, mesh.first, waves), n=finer * mesh.n_columns, norm="forward")
    sampled: Tensor = u[..., ::finer].reshape(*leading, mesh.n_rows, mesh.n_columns)
    return sampled


def _phase(degrees: int, angle: float, like: Tensor) -> Tensor:
    turn = torch.arange(degrees, dtype=torch.float64, device=like.device) * angle
    phase: Tensor = torch.polar(torch.ones_like(turn), turn).to(like.dtype)
    return phase


def _to_layout(c: Tensor) -> Tensor:
    """(..., l, m) to (m, l, B)."""
    if c.ndim < 2 or c.shape[-1] != c.shape[-2] or not c.is_complex():
        raise GridError(f"coefficients are complex (..., L, L), not {c.dtype} {tuple(c.shape)}")
    return c.reshape(-1, *c.shape[-2:]).permute(2, 1, 0)


def _from_layout(modes: Tensor, leading: torch.Size) -> Tensor:
    return modes.permute(2, 1, 0).reshape(*leading, *modes.shape[1::-1])


def _parts(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.real.contiguous(), x.imag.contiguous()
