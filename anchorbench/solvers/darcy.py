"""2-D Darcy flow with u = 0 on the boundary of a rectangle, by cell-centred finite volumes.

    −∇·(a ∇u) = f,   a > 0

Each cell balances what flows through its four faces with its share of f.  Between neighbours T (u_i − u_j) flows,
T = 2 a_i a_j/(a_i + a_j) times (length of the face)/(distance of the centres); to a wall, half a cell away, T u_i with
T = 2 a_i times the same.  The matrix is symmetric, positive definite and an M-matrix: f ≥ 0 gives u ≥ 0, and what
leaves through the walls is the integral of f.  The error is of order h² where a is smooth.  Across layers whose walls
are faces the flow is exact; where a jumps inside a cell, the error is of order h; where cells of two values meet corner
to corner u behaves as r^γ with γ < 1, and a thresholded field's staircase has a measured order of 1.3 to 1.5.

Sources: S. V. Patankar, Numerical Heat Transfer and Fluid Flow (1980), section 4.2-3 (harmonic faces); R. Eymard,
T. Gallouët, R. Herbin, Finite Volume Methods, Handbook of Numerical Analysis VII (2000), chapter 3; the coefficient's
statistics: Z. Li et al., Fourier Neural Operator for Parametric PDEs, ICLR 2021, appendix A.3.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
import torch
from scipy.fft import dstn, idstn
from scipy.sparse import diags
from scipy.sparse.linalg import splu
from torch import Tensor

from anchorbench.errors import AnchorbenchError, ConfigError, GridError, unknown
from anchorbench.fields.grid import Grid

Method = Literal["auto", "cg", "direct"]

#: Beyond this contrast a_max/a_min, `auto` solves directly: conjugate gradients' steps grow as its root.
LARGEST_CONTRAST = 100.0


def square(n: int) -> Grid:
    """The unit square with n x n cells, axes (y, x)."""
    return Grid((n, n), extent=(1.0, 1.0), centring="cell", periodic=(False, False))


def solve(
    coefficient: Tensor,
    *,
    forcing: float | Tensor = 1.0,
    grid: Grid | None = None,
    method: Method = "auto",
    tolerance: float = 1e-10,
) -> Tensor:
    """u of −∇·(a ∇u) = f with u = 0 on the boundary: the mean over each cell, to second order.

    `cg`: conjugate gradients preconditioned by the constant-coefficient problem, which sines diagonalise; the
    residual falls below `tolerance` of ‖f‖ in about ½ √(a_max/a_min) ln(2/tolerance) steps, whatever the grid.
    `direct`: sparse LU.  `auto`: cg up to a contrast of 100.

    coefficient: (..., Ny, Nx), positive.  forcing: a number, or fields that broadcast against it.  grid: its cells,
    default the unit square.  Returns (..., Ny, Nx), the coefficient's dtype and device; float64 inside, on the CPU.
    Raises GridError where these are no cells of a rectangle with walls; AnchorbenchError where a is not positive and
    finite, f not finite, or cg does not arrive.
    """
    if method not in get_args(Method):
        raise AnchorbenchError(unknown("method", method, get_args(Method)))
    grid = _grid_of(coefficient, grid)
    a = coefficient.detach().to("cpu", torch.float64).reshape(-1, *grid.shape).numpy()
    f = torch.as_tensor(forcing, dtype=torch.float64).detach().cpu().expand(coefficient.shape).reshape(a.shape).numpy()
    if not (np.isfinite(a).all() and (a > 0).all()):
        raise AnchorbenchError(
            "the coefficient is not positive and finite everywhere", do="never restrict it spectrally"
        )
    if not np.isfinite(f).all():
        raise AnchorbenchError("the forcing is not finite", do="give finite numbers")
    area = math.prod(grid.spacing)
    out = np.empty_like(a)
    for i, (one, source) in enumerate(zip(a, f, strict=True)):
        walls = _conductances(one, grid)
        if method == "cg" or (method == "auto" and one.max() <= LARGEST_CONTRAST * one.min()):
            out[i] = _conjugate_gradients(walls, source * area, grid, tolerance=tolerance)
        else:
            out[i] = _direct(walls, source * area)
    return torch.from_numpy(out).reshape(coefficient.shape).to(coefficient)


def fluxes(coefficient: Tensor, pressure: Tensor, *, grid: Grid | None = None) -> tuple[Tensor, Tensor]:
    """What flows through each face towards higher y and x, −a ∂u/∂n · length: (..., Ny + 1, Nx) and (..., Ny, Nx + 1).

    coefficient and pressure: (..., Ny, Nx).  Float64.  Raises GridError as `solve`.
    """
    grid = _grid_of(coefficient, grid)
    along_y, along_x = (torch.from_numpy(t) for t in _conductances(coefficient.double().numpy(), grid))
    u = pressure.double()
    y = torch.nn.functional.pad(u, (0, 0, 1, 1))
    x = torch.nn.functional.pad(u, (1, 1))
    return along_y * -y.diff(dim=-2), along_x * -x.diff(dim=-1)


def _conductances(a: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """T of the faces across y (..., Ny + 1, Nx) and across x (..., Ny, Nx + 1), the walls first and last."""
    dy, dx = grid.spacing
    south, north, west, east = a[..., :-1, :], a[..., 1:, :], a[..., :, :-1], a[..., :, 1:]
    inner_y, inner_x = 2 * south * north / (south + north), 2 * west * east / (west + east)
    across_y = np.concatenate([2 * a[..., :1, :], inner_y, 2 * a[..., -1:, :]], axis=-2) * (dx / dy)
    across_x = np.concatenate([2 * a[..., :, :1], inner_x, 2 * a[..., :, -1:]], axis=-1) * (dy / dx)
    return across_y, across_x


def _diagonal(walls: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    y, x = walls
    return np.asarray(y[1:] + y[:-1] + x[:, 1:] + x[:, :-1])


def _direct(walls: tuple[np.ndarray, np.ndarray], b: np.ndarray) -> np.ndarray:
    y, x = walls
    n_x = b.shape[1]
    beside = -x[:, 1:].copy()
    beside[:, -1] = 0  # the last cell of a row is no neighbour of the first of the next
    beside, above = beside.ravel()[:-1], -y[1:-1].ravel()
    parts, offsets = [_diagonal(walls).ravel(), beside, beside, above, above], [0, 1, -1, n_x, -n_x]
    matrix = diags(parts, offsets, format="csc")
    # Symmetric and diagonally dominant: no pivoting, and an ordering for the pattern of A + Aᵀ.
    factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    u: np.ndarray = factors.solve(b.ravel()).reshape(b.shape)
    return u


def _conjugate_gradients(
    walls: tuple[np.ndarray, np.ndarray], b: np.ndarray, grid: Grid, *, tolerance: float
) -> np.ndarray:
    (y, x), diagonal = walls, _diagonal(walls)
    y, x = y[1:-1], x[:, 1:-1]

    def balance(u: np.ndarray) -> np.ndarray:
        """A u: what leaves each cell."""
        out: np.ndarray = diagonal * u
        out[1:] -= y * u[:-1]
        out[:-1] -= y * u[1:]
        out[:, 1:] -= x * u[:, :-1]
        out[:, :-1] -= x * u[:, 1:]
        return out

    # With walls half a cell away, sin(π m (i + ½)/N), m = 1 ... N, are the waves of the second difference.
    (n_y, n_x), (dy, dx) = b.shape, grid.spacing
    stiffness_y = 4 * np.sin(np.pi * np.arange(1, n_y + 1) / (2 * n_y)) ** 2 * (dx / dy)
    stiffness_x = 4 * np.sin(np.pi * np.arange(1, n_x + 1) / (2 * n_x)) ** 2 * (dy / dx)
    stiffness = stiffness_y[:, None] + stiffness_x

    def uniform(r: np.ndarray) -> np.ndarray:
        """The solution for a = 1."""
        out: np.ndarray = idstn(dstn(r, type=2, norm="ortho") / stiffness, type=2, norm="ortho")
        return out

    u, r = np.zeros_like(b), b.copy()
    wanted = tolerance * np.linalg.norm(b)
    if not wanted:
        return u
    p = z = uniform(r)
    product = float(np.vdot(r, z))
    for _ in range(10_000):
        q = balance(p)
        step = product / float(np.vdot(p, q))
        u += step * p
        r -= step * q
        if np.linalg.norm(r) <= wanted:
            return u
        z = uniform(r)
        product, former = float(np.vdot(r, z)), product
        p = z + (product / former) * p
    raise AnchorbenchError("conjugate gradients did not arrive at the tolerance", do="take method='direct'")


def _grid_of(coefficient: Tensor, grid: Grid | None) -> Grid:
    if coefficient.ndim < 2 or coefficient.numel() == 0 or min(coefficient.shape[-2:]) < 2:
        raise GridError(
            f"the solver takes fields (..., Ny, Nx) of 2 x 2 cells or more, not {tuple(coefficient.shape)}",
            do="give fields on a rectangle",
        )
    if grid is None:
        n_y, n_x = coefficient.shape[-2:]
        return square(n_x).with_shape((n_y, n_x))
    walled = grid.ndim == 2 and grid.kind == "planar" and grid.centring == "cell" and not any(grid.periodic)
    if not walled:
        raise GridError(
            f"the solver takes cells of a rectangle with walls, not {grid.kind} '{grid.centring}' points of shape"
            f" {grid.shape}, periodic {grid.periodic}",
            do="use anchorbench.solvers.darcy.square(n)",
        )
    if grid.shape != tuple(coefficient.shape[-2:]):
        raise GridError(
            f"fields {tuple(coefficient.shape)} do not lie on a grid of shape {grid.shape}", do="drop grid="
        )
    return grid


def gaussian_field(
    points: int, *, rng: np.random.Generator, waves: int = 64, decay: float = 2.0, bend: float = 3.0
) -> Tensor:
    """A Gaussian random field on the cells of the unit square, mean 0 over the square: (points, points), float64.

    g = Σ c_mn cos(πm y) cos(πn x), m, n ≤ waves, (m, n) ≠ (0, 0), c_mn normal with deviation
    (π²(m² + n²) + bend²)^(−decay/2): the law N(0, (−Δ + bend²)^−decay) with zero slope at the walls, scaled to variance
    1 on average.  The same `rng` gives the same field on every grid.  Raises ConfigError where one does not carry it.
    """
    if not 1 <= waves < points:
        raise ConfigError(f"{points} cells do not carry {waves} half waves", do=f"take 1 to {points - 1} waves")
    m = np.arange(waves + 1)
    deviation = (np.pi**2 * (m[:, None] ** 2 + m**2) + bend**2) ** (-decay / 2)
    deviation[0, 0] = 0.0
    basis = np.cos(np.pi * np.outer((np.arange(points) + 0.5) / points, m))
    basis[:, 1:] *= math.sqrt(2)
    weights = deviation * rng.normal(size=deviation.shape) / np.linalg.norm(deviation)
    return torch.from_numpy(basis @ weights @ basis.T)


def two_phases(field: Tensor, *, low: float, high: float) -> Tensor:
    """a = high where the field is above 0, else low."""
    return torch.where(field > 0, torch.full_like(field, high), torch.full_like(field, low))


def log_normal(field: Tensor, *, median: float, deviation: float) -> Tensor:
    """a = median · exp(deviation · field)."""
    return median * torch.exp(deviation * field)
