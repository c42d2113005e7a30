"""`Flow`: the constants of forced or decaying 2-D turbulence, and the box that it fills."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from anchorbench.errors import ConfigError, GridError
from anchorbench.fields.grid import Grid


def box(n: int) -> Grid:
    """The periodic box [0, 2π)² with n × n points, axes (y, x)."""
    return Grid((n, n), extent=(2 * math.pi, 2 * math.pi))


@dataclass(frozen=True)
class Flow:
    """∂ω/∂t + u·∇ω = ν∇²ω − μω + f on [0, 2π)², ω = ∂v/∂x − ∂u/∂y = −∇²ψ, (u, v) = (∂ψ/∂y, −∂ψ/∂x).

    The fluid is pushed along x by χ sin(k_f y) (Kolmogorov's forcing): f = −χ k_f cos(k_f y).

    viscosity: ν.  drag: μ.  forcing_wavenumber: k_f.  forcing_amplitude: χ; 0 lets the flow decay.

    Raises ConfigError where ν, μ or k_f make no flow.
    """

    viscosity: float
    drag: float = 0.1
    forcing_wavenumber: int = 4
    forcing_amplitude: float = 1.0

    def __post_init__(self) -> None:
        if not (self.viscosity >= 0 and self.drag >= 0 and math.isfinite(self.viscosity + self.drag)):
            raise ConfigError(
                f"viscosity and drag are finite and not negative: {self.viscosity}, {self.drag}",
                do="give viscosity >= 0 and drag >= 0",
            )
        if self.forcing_wavenumber < 1 or self.forcing_wavenumber != int(self.forcing_wavenumber):
            raise ConfigError(
                f"forcing_wavenumber is {self.forcing_wavenumber}; the box carries whole waves",
                do="give a whole number of 1 or more",
            )

    def forcing(self, grid: Grid, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """f = −χ k_f cos(k_f y) on the points of `grid`: (N, N); 0 where the grid cannot carry it, k_f ≥ N/2.

        Raises GridError if `grid` is not the box [0, 2π)².
        """
        check_box(grid)
        k_f = self.forcing_wavenumber
        if 2 * k_f >= grid.shape[0]:
            return torch.zeros(grid.shape, dtype=dtype)
        profile = -self.forcing_amplitude * k_f * torch.cos(k_f * grid.coordinates(0))
        return profile[:, None].expand(grid.shape).to(dtype).contiguous()


def check_box(grid: Grid) -> None:
    """Raises GridError if `grid` is not square, periodic, and 2π long."""
    square = grid.ndim == 2 and grid.shape[0] == grid.shape[1]
    if not (square and all(grid.periodic) and all(math.isclose(x, 2 * math.pi) for x in grid.extent)):
        raise GridError(
            f"the solver fills a square periodic box of length 2π, not shape {grid.shape}, extent {grid.extent}",
            do="use anchorbench.solvers.box(n)",
        )
