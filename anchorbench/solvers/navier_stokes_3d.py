"""3-D incompressible Navier-Stokes on the periodic box [0, 2π)³, pseudo-spectral.

    ∂u/∂t + u·∇u = −∇p + ν∇²u + f,   ∇·u = 0,   f̂ = ε û/(2 E_f) in the lowest shells 0 < |k| ≤ k_f

Fields are (..., 3, N, N, N): the components along x, y, z, on axes (z, y, x).  A mean flow stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Unpack

import torch
from torch import Tensor

from anchorbench.errors import GridError
from anchorbench.fields.grid import Grid
from anchorbench.solvers.stepper_3d import AXES, Flow3d, Modes, Stepper3d
from anchorbench.solvers.stepping import Dealias, SpectralRun, Stepping, band, require_finite


def cube(n: int) -> Grid:
    """The periodic box [0, 2π)³ with n × n × n points, axes (z, y, x)."""
    return Grid((n, n, n), extent=(2 * math.pi,) * 3)


@torch.no_grad()
def integrate(
    velocity: Tensor,
    flow: Flow3d,
    *,
    duration: float,
    **how: Unpack[Stepping],
) -> Tensor:
    """u(t + duration) from u(t), by integrating-factor RK4.

    Steps of dt = courant/(k_max U), U the largest velocity component of the batch, measured again as the flow goes;
    shortened so that they land on `duration` exactly.  `dt` fixes the step instead: then a sample does not feel the
    others of its batch.

    dealias: `two_thirds` advances |k_i| < N/3; `padded` every |k_i| < N/2, at 27/8 of the cost: the `solver` reference.
    What the state holds beyond that, and its divergence, are dropped.

    velocity: (..., 3, N, N, N), any N ≥ 4, odd or even.  grid: its points, checked if given.  dtype: float32 or
    float64, default the velocity's.  Returns (..., 3, N, N, N) on the same device.
    Raises GridError where that is no box; AnchorbenchError where an option is off, or the solution blows up.
    """
    run = _Run(velocity, flow, **how)
    run.advance(duration)
    return run.fields()


@torch.no_grad()
def trajectory(
    velocity: Tensor,
    flow: Flow3d,
    *,
    interval: float,
    frames: int,
    on_frame: Callable[[int, Tensor], None],
    **how: Unpack[Stepping],
) -> None:
    """Call `on_frame(i, u)` at the times 0, interval, ..., (frames − 1) interval, u (..., 3, N, N, N); none is kept.

    The first is the start, within the band that is advanced.  Other options and errors as in `integrate`.
    """
    run = _Run(velocity, flow, **how)
    for i in range(frames):
        if i:
            run.advance(interval)
        on_frame(i, run.fields())


class _Run(SpectralRun):
    """The modes of a batch."""

    def __init__(self, velocity: Tensor, flow: Flow3d, **how: Unpack[Stepping]) -> None:
        super().__init__(velocity, **how)
        self.n = _points_of(velocity, self.grid)
        points, k_max = band(self.n, self.dealias)
        fields = velocity.reshape(-1, 3, self.n, self.n, self.n).to(self.dtype)
        self.stepper = Stepper3d(fields, flow, k_max=k_max, points=points)
        require_finite(self.stepper.speed, of="velocity")

    def steps(self, duration: float) -> None:
        self.stepper.advance(duration, courant=self.courant, step=self.dt)

    def fields(self) -> Tensor:
        return self.stepper.fields(self.n).reshape(self.shape)


def _points_of(velocity: Tensor, grid: Grid | None) -> int:
    shape = tuple(velocity.shape[-4:])
    n = shape[-1] if shape else 0
    if velocity.ndim < 4 or shape != (3, n, n, n) or n < 4 or velocity.numel() == 0:
        raise GridError(
            f"the solver takes velocities (..., 3, N, N, N) of 4 points or more a side, not {tuple(velocity.shape)}",
            do="stack the components along x, y and z before the axes (z, y, x)",
        )
    if grid is not None:
        periodic = grid.ndim == 3 and all(grid.periodic)
        if not periodic or not all(math.isclose(length, 2 * math.pi) for length in grid.extent):
            raise GridError(
                f"the solver fills a periodic box of length 2π, not shape {grid.shape}, extent {grid.extent}",
                do="use anchorbench.solvers.cube(n)",
            )
        if grid.shape != (n, n, n):
            raise GridError(
                f"fields {tuple(velocity.shape)} do not lie on a grid of shape {grid.shape}", do="drop grid="
            )
    return n


# -- the right-hand side, twice ----------------------------------------------------------------------------------------


@torch.no_grad()
def rhs(velocity: Tensor, flow: Flow3d, *, dealias: Dealias = "two_thirds") -> Tensor:
    """∂u/∂t as the steps take it: (..., 3, N, N, N), within the advanced band."""
    stepper = _Run(velocity, flow, dealias=dealias).stepper
    return stepper.modes.on_points(stepper.tendency(), velocity.shape[-1]).reshape(velocity.shape)


def rhs_plain(velocity: Tensor, flow: Flow3d, *, dealias: Dealias = "two_thirds") -> Tensor:
    """∂u/∂t = P(u × ω) + ν∇²u + f, the rotational form: the reference that `rhs` is tested against."""
    points, k_max = band(velocity.shape[-1], dealias)
    modes = Modes(k_max, device=velocity.device, dtype=velocity.dtype)
    u = modes.solenoidal(modes.of(velocity))
    cross = torch.linalg.cross(modes.on_points(u, points), modes.on_points(modes.curl(u), points), dim=-4)
    out = modes.solenoidal(modes.of(cross)) - flow.viscosity * modes.k2 * u
    forced = (modes.k2 > 0) & (modes.k2 <= flow.forcing_wavenumber**2)
    low = modes.on_points(u * forced, velocity.shape[-1])
    twice_energy = low.square().sum(-4, keepdim=True).mean(AXES, keepdim=True)
    return modes.on_points(out, velocity.shape[-1]) + flow.injection / twice_energy * low


# -- what is measured of a state ---------------------------------------------------------------------------------------


def _modes_of(velocity: Tensor) -> tuple[Modes, Tensor, int]:
    """Every wave below the Nyquist, its coefficients, and the points a side."""
    n = _points_of(velocity, None)
    modes = Modes((n - 1) // 2, device=velocity.device, dtype=velocity.dtype)
    return modes, modes.of(velocity), n


def vorticity(velocity: Tensor) -> Tensor:
    """ω = ∇ × u: (..., 3, N, N, N).  The Nyquist waves of an even N have no slope and are left out."""
    modes, u, n = _modes_of(velocity)
    return modes.on_points(modes.curl(u), n)


def divergence(velocity: Tensor) -> Tensor:
    """∇·u: (..., N, N, N)."""
    modes, u, n = _modes_of(velocity)
    return modes.on_points(modes.divergence(u), n)


def energy(velocity: Tensor) -> Tensor:
    """⟨|u|²⟩/2 over the box: (...)."""
    return 0.5 * velocity.square().sum(-4).mean(AXES)


def helicity(velocity: Tensor) -> Tensor:
    """⟨u·ω⟩ over the box: (...)."""
    return (velocity * vorticity(velocity)).sum(-4).mean(AXES)


def dissipation(velocity: Tensor, viscosity: float) -> Tensor:
    """ν ⟨|ω|²⟩, which in a periodic box is the rate at which friction takes energy: (...)."""
    return viscosity * vorticity(velocity).square().sum(-4).mean(AXES)


# -- where flows begin -------------------------------------------------------------------------------------------------


def taylor_green(n: int, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """u = (sin x cos y cos z, −cos x sin y cos z, 0), of energy 1/8: (3, n, n, n).

    Source: M. Brachet et al., J. Fluid Mech. 130 (1983) 411-452, equation 1.1 with θ = 0.
    """
    z, y, x = cube(n).mesh()
    u = torch.sin(x) * torch.cos(y) * torch.cos(z)
    v = -torch.cos(x) * torch.sin(y) * torch.cos(z)
    return torch.stack((u, v, torch.zeros_like(u))).to(dtype)


def random_velocity(
    n: int,
    points: int,
    *,
    generator: torch.Generator,
    peak_wavenumber: float = 2.0,
    rms: float = 1.0,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Gaussian velocities without divergence or mean, √⟨|u|²/3⟩ = rms, each field: (n, 3, points, points, points).

    E(k) ∝ k⁴ exp(−2 k²/k_peak²), largest at k_peak.  Drawn on the generator's device.
    """
    device = generator.device
    modes = Modes((points - 1) // 2, device=device, dtype=torch.float64)
    noise = torch.randn((n, 3, points, points, points), generator=generator, dtype=torch.float64, device=device)
    q2 = modes.k2 / peak_wavenumber**2
    # |û|² is E(k) shared out over a sphere of 4πk²: k² exp(−2q²).
    shaped = modes.solenoidal(modes.of(noise) * (q2.sqrt() * torch.exp(-q2)))
    fields = modes.on_points(shaped, points)
    speed = fields.square().sum(-4, keepdim=True).mean(AXES, keepdim=True).div(3).sqrt()
    return (fields * (rms / speed)).to(dtype)
