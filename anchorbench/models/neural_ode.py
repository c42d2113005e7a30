"""A neural ordinary differential equation in hidden fields (Chen et al., NeurIPS 2018, eq. 2), solved by Runge-Kutta.

    v(0) = A u,   dv/dt = f(v) = K_n * σ(... σ(K₁ * v + b₁) ...) + b_n,   out = B v(1)

f is a convolutional network whose taps lie `units` apart: `physical` at the spacing of the train rung on every grid,
`grid` at that of the grid at hand.  Neither f nor the number of steps knows of a Courant number: f is bounded on every
grid, so what is stable on the train rung is stable on a finer one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from anchorbench.fields.carry import on_grid
from anchorbench.fields.grid import Grid
from anchorbench.models.fno import ACTIVATIONS
from anchorbench.models.local import LocalConv
from anchorbench.models.options import NeuralOdeOptions


def rk4(f: Callable[[Tensor], Tensor], v: Tensor, *, steps: int, time: float = 1.0) -> Tensor:
    """v(time) of dv/dt = f(v) by the classical method of order 4, in equal steps; the gradient goes through them.

    For f = M v one step multiplies by 1 + z + z²/2 + z³/6 + z⁴/24, z = M time/steps.
    """
    dt = time / steps
    for _ in range(steps):
        k1 = f(v)
        k2 = f(v + dt / 2 * k1)
        k3 = f(v + dt / 2 * k2)
        k4 = f(v + dt * k3)
        v = v + dt / 6 * (k1 + 2 * (k2 + k3) + k4)
    return v


class Tendency(nn.Module):
    """f: convolutions with σ between them, linear at its end; (B, *grid, C) -> the same."""

    def __init__(self, options: NeuralOdeOptions, spacing: tuple[float, ...]) -> None:
        super().__init__()
        width, physical = options.width, options.units == "physical"
        self.convs = nn.ModuleList(
            LocalConv(width, width, options.kernel, spacing=spacing, physical=physical) for _ in range(options.layers)
        )
        self.biases = nn.ParameterList(torch.zeros(width) for _ in range(options.layers))
        self.activation = ACTIVATIONS[options.activation]

    def forward(self, v: Tensor, grid: Grid) -> Tensor:
        for i, (conv, bias) in enumerate(zip(self.convs, self.biases, strict=True)):
            v = conv(self.activation(v) if i else v, grid) + bias
        return v


class NeuralODE(nn.Module):
    """Fields to fields on any grid of the box, 1 to 3 dimensions.

    grid: of the train rung, whose spacing places `physical` taps.
    inputs: (B, C_in, *grid.shape) -> (B, C_out, *out_grid.shape).  Where `out_grid` is another, the inputs are carried
    to it first.
    """

    def __init__(
        self, in_channels: int, out_channels: int, grid: Grid, options: NeuralOdeOptions | None = None
    ) -> None:
        super().__init__()
        self.options = options = options or NeuralOdeOptions()
        self.lift, self.project = nn.Linear(in_channels, options.width), nn.Linear(options.width, out_channels)
        self.tendency = Tendency(options, grid.spacing)

    def forward(self, inputs: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
        v = self.lift(on_grid(inputs, grid, out_grid).movedim(1, -1))
        v = rk4(lambda v: self.tendency(v, out_grid), v, steps=self.options.steps)
        out: Tensor = self.project(v)
        return out.movedim(-1, 1)

    @property
    def facts(self) -> dict[str, str]:
        """What the card says beyond what it measures."""
        o = self.options
        where = "physical units: spacing of the train rung" if o.units == "physical" else "grid points: it shrinks"
        return {
            "embedding": "none",
            "padding": "circular on periodic axes, else replicate",
            "kernel": f"{o.layers} convolutions of {o.kernel} points a side, in {where}; {o.steps} steps of RK4",
        }
