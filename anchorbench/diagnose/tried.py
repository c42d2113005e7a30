"""A model on trial: in evaluation mode, on grids of one periodic box, given functions that each samples exactly."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anchorbench.diagnose.findings import function_on
from anchorbench.fields import Grid
from anchorbench.models.registry import call

#: The largest wave of a smooth function.
LOW = 5
#: What float32 leaves of an identity.
ROUNDING = 1e-4


class Tried:
    """The model in evaluation mode on grids of one periodic box, with fields of its own dtype."""

    def __init__(self, model: nn.Module, *, home: Grid, in_channels: int) -> None:
        self.model, self.home, self.in_channels = model.eval(), home, in_channels
        first = next(model.parameters(), torch.zeros(()))
        self.device, self.dtype = first.device, first.real.dtype

    def grid(self, n: int) -> Grid:
        return self.home.with_shape((n,) * self.home.ndim)

    def field(self, n: int, low: float, high: float, *, size: float = 1.0) -> Tensor:
        grid = self.grid(n)
        return size * torch.stack([function_on(grid, low, high, seed=11 + c) for c in range(self.in_channels)])[None]

    def __call__(self, u: Tensor) -> Tensor:
        """The answer to u (B, C, n, ...), float64."""
        grid = self.grid(int(u.shape[-1]))
        with torch.no_grad():
            out = call(self.model, u.to(self.device, self.dtype), grid, grid)
        return out.double().cpu()
