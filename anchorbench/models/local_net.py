"""`local`: convolutions whose taps stay where they are in physical units, whatever the grid.

    v₀ = A u,   v_{i+1} = v_i + σ(W_i * v_i + b_i),   out = B v_n,   (W * v)(x) = Σⱼ Wⱼ v(x + j h₀)

h₀ is the spacing of the train rung.  What such a network does to a field is the same on every grid, up to how the
field is sampled: it has no other way to know which rung it is on.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from anchorbench.fields.carry import on_grid
from anchorbench.fields.grid import Grid
from anchorbench.models.local import LocalConv
from anchorbench.models.options import LocalOptions


class LocalNet(nn.Module):
    """Fields to fields on any grid of the box, 1 to 3 dimensions.

    grid: of the train rung, whose spacing places the taps.
    inputs: (B, C_in, *grid.shape) -> (B, C_out, *out_grid.shape).  Where `out_grid` is another, the inputs are carried
    to it first.
    """

    def __init__(self, in_channels: int, out_channels: int, grid: Grid, options: LocalOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or LocalOptions()
        self.lift, self.project = nn.Linear(in_channels, options.width), nn.Linear(options.width, out_channels)
        self.convs = nn.ModuleList(
            LocalConv(options.width, options.width, options.kernel, spacing=grid.spacing, physical=True)
            for _ in range(options.layers)
        )
        self.points = nn.ModuleList(nn.Linear(options.width, options.width) for _ in range(options.layers))

    def forward(self, inputs: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
        x = self.lift(on_grid(inputs, grid, out_grid).movedim(1, -1))
        for conv, point in zip(self.convs, self.points, strict=True):
            x = x + F.gelu(conv(x, out_grid) + point(x))
        out: Tensor = self.project(x)
        return out.movedim(-1, 1)

    @property
    def facts(self) -> dict[str, str]:
        """What the card says beyond what it measures."""
        k, n = self.options.kernel, self.options.layers
        return {
            "embedding": "none",
            "padding": "circular on periodic axes, else replicate",
            "kernel": f"{n} layers of {k} points a side, in physical units: spacing of the train rung",
        }
