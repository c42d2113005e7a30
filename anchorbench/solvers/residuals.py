"""What an equation leaves of a state and the next one, or of a coefficient and its pressure: R = 0 for the solution.

    steps    R = (u₁ − u₀)/Δt − ½ (F(u₀) + F(u₁))    `trapezoidal`,    or − F(½ (u₀ + u₁))    `midpoint`
    darcy    R = −∇·(a ∇u) − f

F is the right-hand side in conservative form.  On a periodic box a derivative multiplies waves, ∂ → i s, ∂² → −q:

    spectral    s = k, q = k², |k| below the Nyquist; products on 3/2 of the points, every mode of the rung advanced
    finite      s = sin(kh)/h, q = (2 sin(kh/2)/h)²: the central differences of second order; products on the points

All is differentiable in every field, on any device.  The true solution leaves something too: Δt² of the step, h² of
finite differences, and on a rung the waves that it does not carry.  That is measured, not assumed away.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from anchorbench.errors import AnchorbenchError, GridError, unknown
from anchorbench.fields.grid import Grid
from anchorbench.fields.resample import prolong, restrict
from anchorbench.fields.separable import constant
from anchorbench.solvers.burgers import BurgersFlow
from anchorbench.solvers.flow import Flow, check_box
from anchorbench.solvers.stepper_3d import Flow3d
from anchorbench.solvers.stepping import band

Scheme = Literal["trapezoidal", "midpoint"]
Derivatives = Literal["spectral", "finite"]
Stencil = Literal["faces", "wide"]


def step_residual(
    before: Tensor, after: Tensor, rate: Callable[[Tensor], Tensor], *, dt: float, scheme: Scheme = "trapezoidal"
) -> Tensor:
    """R = (u₁ − u₀)/Δt − ½ (F(u₀) + F(u₁)), or − F(½ (u₀ + u₁)) by `midpoint`: of order Δt² at the solution.

    Of u' = F(u), u''' to leading order, `trapezoidal` leaves −Δt²/12 u'''.

    before, after: (...), physical units.  rate: F.  Returns (...), in units a unit of time.
    Raises AnchorbenchError where dt is not above 0, or for an unknown scheme.
    """
    if not 0 < dt < math.inf:
        raise AnchorbenchError(f"dt is {dt}: there is no residual without a step", do="give a dt above 0")
    change = (after - before) / dt
    if scheme == "trapezoidal":
        return change - 0.5 * (rate(before) + rate(after))
    if scheme == "midpoint":
        return change - rate(0.5 * (before + after))
    raise AnchorbenchError(unknown("scheme", scheme, get_args(Scheme)))


# -- right-hand sides on a periodic box --------------------------------------------------------------------------------


def burgers_rate(velocity: Tensor, flow: BurgersFlow, grid: Grid, *, derivatives: Derivatives = "spectral") -> Tensor:
    """F(u) = −∂(u²/2)/∂x + ν ∂²u/∂x².  velocity: (..., N).  Raises GridError where that is no periodic line."""
    waves = _Waves(velocity, grid, derivatives, ndim=1)
    pressure = waves.of(waves.lower(0.5 * waves.lift(velocity) ** 2))
    return waves.back(-1j * waves.s(0) * pressure - flow.viscosity * waves.q * waves.of(velocity))


def vorticity_rate(vorticity: Tensor, flow: Flow, grid: Grid, *, derivatives: Derivatives = "spectral") -> Tensor:
    """F(ω) = −∂(u ω)/∂x − ∂(v ω)/∂y + ν∇²ω − μω + f,   (u, v) = (∂ψ/∂y, −∂ψ/∂x),   ∇²ψ = −ω.

    The velocity is that of ω itself.  vorticity: (..., N, N), axes (y, x).  Raises GridError where that is no box.
    """
    check_box(grid)
    waves = _Waves(vorticity, grid, derivatives, ndim=2)
    w, s_y, s_x = waves.of(vorticity), waves.s(0), waves.s(1)
    psi = w * waves.inverse_q
    velocity = waves.lift(waves.back(torch.stack((1j * s_y * psi, -1j * s_x * psi), dim=-3)))
    flux = waves.of(waves.lower(velocity * waves.lift(vorticity).unsqueeze(-3)))
    transport = 1j * s_x * flux[..., 0, :, :] + 1j * s_y * flux[..., 1, :, :]
    force = constant(_push, flow, grid, dtype=vorticity.dtype, device=vorticity.device)
    return waves.back(-transport - (flow.viscosity * waves.q + flow.drag) * w) + force


def velocity_rate(velocity: Tensor, flow: Flow3d, grid: Grid, *, derivatives: Derivatives = "spectral") -> Tensor:
    """F(u) = P(−∂_j (u_i u_j) + f) + ν∇²u,   P = 1 − s s·/|s|²,   f̂ = ε û/(2 E_f) for 0 < |k| ≤ k_f.

    velocity: (..., 3, N, N, N), components along x, y, z, axes (z, y, x).  What of u has divergence stays in R.
    Raises GridError where that is no periodic box of length 2π.
    """
    waves = _Waves(velocity, grid, derivatives, ndim=3)
    if not all(math.isclose(length, 2 * math.pi) for length in grid.extent) or velocity.shape[-4:-3] != (3,):
        raise GridError(f"three components on a box of length 2π, not {tuple(velocity.shape)} on {grid.extent}")
    u, s = waves.of(velocity), torch.stack(torch.broadcast_tensors(waves.s(2), waves.s(1), waves.s(0)))
    lifted = waves.lift(velocity)
    flux = waves.of(waves.lower(lifted.unsqueeze(-5) * lifted.unsqueeze(-4)))
    pushed = -(1j * s * flux).sum(-4)
    if flow.injection:
        low = u * constant(_low_waves, grid, flow.forcing_wavenumber, dtype=velocity.dtype, device=velocity.device)
        twice_energy = waves.back(low).square().sum(-4, keepdim=True).mean((-3, -2, -1), keepdim=True)
        pushed = pushed + flow.injection / twice_energy * low
    length = s.square().sum(0)
    pressure = (s * pushed).sum(-4, keepdim=True) * torch.where(length > 1e-9, 1 / length.clamp_min(1e-9), 0.0)
    return waves.back(pushed - s * pressure - flow.viscosity * waves.q * u)


class _Waves:
    """Derivatives and products of fields on one periodic grid."""

    def __init__(self, field: Tensor, grid: Grid, derivatives: Derivatives, *, ndim: int) -> None:
        if derivatives not in get_args(Derivatives):
            raise AnchorbenchError(unknown("derivatives", derivatives, get_args(Derivatives)))
        if grid.ndim != ndim or grid.kind != "planar" or not all(grid.periodic):
            raise GridError(f"a periodic box of {ndim} axes, not shape {grid.shape}, periodic {grid.periodic}")
        if tuple(field.shape[-ndim:]) != grid.shape:
            raise GridError(f"fields {tuple(field.shape)} do not lie on a grid of shape {grid.shape}")
        self._grid, self._derivatives = grid, derivatives
        self._fine = grid.with_shape(tuple(band(n, "padded")[0] for n in grid.shape))
        self._axes = tuple(range(-ndim, 0))
        self._dtype, self._device = field.dtype, field.device
        self.q = self._constant(_laplacian)
        self.inverse_q = self._constant(_inverse_laplacian)

    def _constant(self, build: Callable[..., Tensor], *args: int) -> Tensor:
        return constant(build, self._grid, self._derivatives, *args, dtype=self._dtype, device=self._device)

    def s(self, axis: int) -> Tensor:
        return self._constant(_first, axis)

    def of(self, u: Tensor) -> Tensor:
        out: Tensor = torch.fft.rfftn(u, dim=self._axes)
        return out

    def back(self, spectrum: Tensor) -> Tensor:
        out: Tensor = torch.fft.irfftn(spectrum, s=self._grid.shape, dim=self._axes)
        return out

    def lift(self, u: Tensor) -> Tensor:
        """On the points where products are taken."""
        return prolong(u, self._fine) if self._derivatives == "spectral" else u

    def lower(self, u: Tensor) -> Tensor:
        """A product back on the grid."""
        return restrict(u, self._grid) if self._derivatives == "spectral" else u


def _angles(grid: Grid, axis: int) -> tuple[Tensor, Tensor]:
    """k h and whether the wave is below the Nyquist, of the half spectrum, laid along its axis."""
    n = grid.shape[axis]
    last = axis == grid.ndim - 1
    m = (torch.fft.rfftfreq(n, dtype=torch.float64) if last else torch.fft.fftfreq(n, dtype=torch.float64)) * n
    m = m.round().reshape(-1, *(1,) * (grid.ndim - 1 - axis))
    return m * (2 * math.pi / n), 2 * m.abs() < n


def _first(grid: Grid, derivatives: Derivatives, axis: int) -> Tensor:
    angle, inside = _angles(grid, axis)
    symbol = angle if derivatives == "spectral" else torch.sin(angle)
    return symbol * inside / grid.spacing[axis]


def _laplacian(grid: Grid, derivatives: Derivatives) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for axis, h in enumerate(grid.spacing):
        angle, inside = _angles(grid, axis)
        total = total + ((angle * inside if derivatives == "spectral" else 2 * torch.sin(angle / 2)) / h) ** 2
    return total


def _inverse_laplacian(grid: Grid, derivatives: Derivatives) -> Tensor:
    q = _laplacian(grid, derivatives)
    return torch.where(q > 0, 1 / q.clamp_min(1e-12), 0.0)


def _low_waves(grid: Grid, highest: float) -> Tensor:
    k2 = _laplacian(grid, "spectral")
    return ((k2 > 0) & (k2 <= highest**2 + 1e-9)).double()


def _push(flow: Flow, grid: Grid) -> Tensor:
    return flow.forcing(grid, dtype=torch.float64)


# -- steady flow between walls -----------------------------------------------------------------------------------------


def darcy_residual(
    coefficient: Tensor, pressure: Tensor, *, forcing: float, grid: Grid, stencil: Stencil = "faces"
) -> Tensor:
    """R = −∇·(a ∇u) − f with u = 0 on the walls, a unit of area.

    `faces`: the solver's own balance of each cell, harmonic means on its faces; zero at the solver's own solution.
    Returns (..., Ny, Nx).
    `wide`: a central difference of a times a central difference, ((a u')_{i+1} − (a u')_{i−1})/2h over two spacings, as
    the published physics loss takes it across jumps of a (Sakarvadia et al., ICLR 2026, code), here with the grid's own
    h.  It says nothing of the two cells next to each wall: (..., Ny − 4, Nx − 4).  It is blind to a chessboard.

    coefficient, pressure: (..., Ny, Nx).  Raises GridError where these are no cells of a rectangle with walls, or for
    `wide` fewer than 5; AnchorbenchError for an unknown stencil.
    """
    walled = grid.ndim == 2 and grid.kind == "planar" and grid.centring == "cell" and not any(grid.periodic)
    if not walled:
        raise GridError(f"cells of a rectangle with walls, not '{grid.centring}' points, periodic {grid.periodic}")
    if tuple(coefficient.shape[-2:]) != grid.shape or tuple(pressure.shape[-2:]) != grid.shape:
        shapes = f"{tuple(coefficient.shape)} and {tuple(pressure.shape)}"
        raise GridError(f"fields {shapes} do not lie on a grid of shape {grid.shape}")
    if stencil == "wide":
        if min(grid.shape) < 5:
            raise GridError(f"wide differences need 5 cells a side, not {grid.shape}")
        along_y, along_x = (_wide(coefficient, pressure, axis, grid.spacing[axis]) for axis in (-2, -1))
        return -(along_y[..., 2:-2] + along_x[..., 2:-2, :]) - forcing
    if stencil != "faces":
        raise AnchorbenchError(unknown("stencil", stencil, get_args(Stencil)))
    leaving = sum(_outflow(coefficient, pressure, axis, grid.spacing[axis]) for axis in (-2, -1))
    return torch.as_tensor(leaving) - forcing


def _outflow(a: Tensor, u: Tensor, axis: int, h: float) -> Tensor:
    """What leaves each cell through its two faces across one axis, a unit of area; walls are half a cell away."""
    n = a.shape[axis]
    lower, upper = a.narrow(axis, 0, n - 1), a.narrow(axis, 1, n - 1)
    inner = 2 * lower * upper / (lower + upper)
    faces = torch.cat((2 * a.narrow(axis, 0, 1), inner, 2 * a.narrow(axis, n - 1, 1)), dim=axis)
    wall = torch.zeros_like(u.narrow(axis, 0, 1))
    return -(faces * torch.cat((wall, u, wall), dim=axis).diff(dim=axis)).diff(dim=axis) / h**2


def _wide(a: Tensor, u: Tensor, axis: int, h: float) -> Tensor:
    """(a u')' by central differences of 2h twice: four cells fewer along the axis."""

    def across(f: Tensor) -> Tensor:
        n = f.shape[axis]
        return (f.narrow(axis, 2, n - 2) - f.narrow(axis, 0, n - 2)) / (2 * h)

    return across(a.narrow(axis, 1, a.shape[axis] - 2) * across(u))
