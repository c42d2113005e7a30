"""1-D viscous Burgers equation on the periodic box [0, L), pseudo-spectral, in conservative form.

    ∂u/∂t + ∂(u²/2)/∂x = ν ∂²u/∂x²

In waves û_m e^{ikx}, k = 2π m/L, |m| ≤ m_max: dû/dt = −ν k² û − ½ i k F(u²).  Viscosity is integrated exactly and RK4
takes the rest, so that viscosity limits no step.  The products are free of aliasing in the band that is advanced:
momentum is kept to rounding, and energy, but for the time step, where ν = 0.  The equation knows no place: `point` and
`cell` grids are advanced alike.

Sources: dealiasing, integrating factor: Canuto, Hussaini, Quarteroni, Zang, Spectral Methods, Fundamentals in Single
Domains (2006), sections 3.3 and D.3; closed forms: E. Hopf, Comm. Pure Appl. Math. 3 (1950) 201-230; J. D. Cole, Quart.
Appl. Math. 9 (1951) 225-236.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from anchorbench.errors import ConfigError, GridError
from anchorbench.fields.grid import Grid
from anchorbench.solvers.stepping import SpectralRun, Stepping, band, blew_up, require_finite

#: Steps between two measurements of the speed.
STEPS_PER_SEGMENT = 8


@dataclass(frozen=True)
class BurgersFlow:
    """∂u/∂t + ∂(u²/2)/∂x = ν ∂²u/∂x².  viscosity: ν, length²/time; 0 is right until the first shock.

    Raises ConfigError where ν is negative or not finite.
    """

    viscosity: float

    def __post_init__(self) -> None:
        if not 0 <= self.viscosity < math.inf:
            raise ConfigError(f"the viscosity is {self.viscosity}", do="give a viscosity of 0 or more")


def line(n: int, length: float = 1.0) -> Grid:
    """The periodic box [0, L) with n points."""
    return Grid((n,), extent=(length,))


@torch.no_grad()
def integrate(
    velocity: Tensor,
    flow: BurgersFlow,
    *,
    duration: float,
    **how: Unpack[Stepping],
) -> Tensor:
    """u(t + duration) from u(t), by integrating-factor RK4.

    Steps of dt = courant/(k_max U), U the largest |u| of the batch, measured every few steps; shortened so that they
    land on `duration` exactly.  Stable below 2.8.  `dt` fixes the step instead: a sample's result then depends on
    nothing else of its batch.

    dealias: `two_thirds` advances |m| < N/3; `padded` every |m| < N/2, products on 3/2 N points: the `solver`
    reference.  What the state holds beyond that is dropped.

    velocity: (..., N), any N ≥ 4, odd or even.  grid: its points, default the box [0, 1).  dtype: float32 or float64,
    default the velocity's.  Returns (..., N) on the same device.
    Raises GridError where that is no periodic line; AnchorbenchError where an option is off, or the solution blows up.
    """
    run = _Run(velocity, flow, **how)
    run.advance(duration)
    return run.fields()


@torch.no_grad()
def trajectory(
    velocity: Tensor,
    flow: BurgersFlow,
    *,
    interval: float,
    frames: int,
    **how: Unpack[Stepping],
) -> Tensor:
    """u at the times 0, interval, ..., (frames − 1) interval: (frames, ..., N).

    The first frame is the start, within the band that is advanced.  Other options and errors as in `integrate`.
    """
    run = _Run(velocity, flow, **how)
    out = [run.fields()]
    for _ in range(frames - 1):
        run.advance(interval)
        out.append(run.fields())
    return torch.stack(out)


class _Run(SpectralRun):
    """The waves 0 ... m_max of a batch, (B, m_max + 1), and the step that advances them."""

    def __init__(self, velocity: Tensor, flow: BurgersFlow, **how: Unpack[Stepping]) -> None:
        super().__init__(velocity, **how)
        grid = _grid_of(velocity, self.grid)
        self.n = grid.shape[0]
        self.points, m_max = band(self.n, self.dealias)
        fields = velocity.reshape(-1, self.n).to(self.dtype)
        self.waves = torch.fft.rfft(fields, norm="forward")[:, : m_max + 1]
        self.k = 2 * math.pi / grid.extent[0] * torch.arange(m_max + 1, dtype=torch.float64, device=fields.device)
        self.k_max = float(self.k[-1])
        self.decay = flow.viscosity * self.k**2
        self.transport = (-0.5j * self.k).to(self.waves.dtype)
        self.step_size = math.nan
        require_finite(self._speed(), of="velocity")

    def fields(self) -> Tensor:
        out: Tensor = torch.fft.irfft(self.waves, n=self.n, norm="forward")
        return out.reshape(self.shape)

    def steps(self, duration: float) -> None:
        left = duration
        while left > 1e-12 * duration:
            n_left = max(1, math.ceil(left / (self.dt or self._longest_step()) - 1e-9))
            n_now = n_left if self.dt else min(n_left, STEPS_PER_SEGMENT)
            self._set_step(left / n_left)
            for _ in range(n_now):
                self._step()
            left *= (n_left - n_now) / n_left
            if not math.isfinite(self._speed()):
                raise blew_up(self.points, self.step_size)

    def _speed(self) -> float:
        return float(torch.fft.irfft(self.waves, n=self.points, norm="forward").abs().max())

    def _longest_step(self) -> float:
        reach = self.k_max * self._speed()
        return self.courant / reach if reach > 0 else math.inf

    def _set_step(self, h: float) -> None:
        if h != self.step_size:
            self.step_size = h
            self.factor = torch.exp(-0.5 * h * self.decay).to(self.dtype)

    def _rate(self, waves: Tensor) -> Tensor:
        """−½ i k F(u²)."""
        u = torch.fft.irfft(waves, n=self.points, norm="forward")
        squares: Tensor = torch.fft.rfft(u.square_(), norm="forward")[:, : len(self.k)]
        squares *= self.transport
        return squares

    def _step(self) -> None:
        """With E = e^{−ν k² h/2} and v = E û:  a = N(û), b = N(v + h/2 E a), c = N(v + h/2 b), d = N(E v + h E c),

        û(t + h) = E (v + h/6 (E a + 2 b + 2 c)) + h/6 d.
        """
        h, factor = self.step_size, self.factor
        v = factor * self.waves
        a = factor * self._rate(self.waves)
        b = self._rate(torch.add(v, a, alpha=h / 2))
        c = self._rate(torch.add(v, b, alpha=h / 2))
        d = self._rate(torch.add(v, c, alpha=h).mul_(factor))
        total = b.add_(c).mul_(2).add_(a)
        self.waves = torch.add(v, total, alpha=h / 6).mul_(factor).add_(d, alpha=h / 6)


def _grid_of(velocity: Tensor, grid: Grid | None) -> Grid:
    if velocity.ndim < 1 or velocity.shape[-1] < 4 or velocity.numel() == 0:
        raise GridError(
            f"the solver takes one field or more (..., N) of 4 points or more, not {tuple(velocity.shape)}",
            do="give fields on a line",
        )
    grid = grid or line(velocity.shape[-1])
    if grid.ndim != 1 or not all(grid.periodic):
        raise GridError(
            f"the solver fills a periodic line, not shape {grid.shape}, periodic {grid.periodic}",
            do="use anchorbench.solvers.burgers.line(n)",
        )
    if grid.shape[0] != velocity.shape[-1]:
        raise GridError(f"fields {tuple(velocity.shape)} do not lie on a grid of shape {grid.shape}", do="drop grid=")
    return grid


def energy(velocity: Tensor) -> Tensor:
    """⟨u²⟩/2 over the box: (...)."""
    return 0.5 * velocity.square().mean(-1)


def random_velocity(
    points: int,
    *,
    rng: np.random.Generator,
    waves: int,
    bend: float = 3.0,
    decay: float = 2.0,
    rms: float = 1.0,
) -> Tensor:
    """A random velocity with mean 0 and √⟨u²⟩ = rms: (points,), float64.

    u = Σ_{m ≤ waves} A_m (α_m cos 2πmx/L + β_m sin 2πmx/L), α and β normal, A_m = (1 + (m/bend)²)^(−decay/2).  The
    same `rng` gives the same field on every grid that carries its waves.  Raises ConfigError where this one does not.
    """
    if not 1 <= waves < points / 2:
        raise ConfigError(
            f"{points} points do not carry {waves} waves", do=f"start from 1 to {(points - 1) // 2} waves"
        )
    m = np.arange(1, waves + 1)
    amplitudes = (1 + (m / bend) ** 2) ** (-decay / 2) * (rng.normal(size=(2, waves)).T @ [1, 1j])
    amplitudes *= rms / math.sqrt(0.5 * float(np.sum(np.abs(amplitudes) ** 2)))
    spectrum = np.zeros(points // 2 + 1, dtype=np.complex128)
    spectrum[1 : waves + 1] = amplitudes / 2
    return torch.from_numpy(np.fft.irfft(spectrum, n=points, norm="forward"))
