"""A convolutional neural operator (Raonić et al., NeurIPS 2023): a U-Net whose activations and steps do not alias.

    down: conv, Σ onto half the points     up: conv, Σ onto the skip's points, join with the skip, conv, Σ
    on each level: v + conv Σ conv v       Σ: `antialias.AliasFree`

`inner: fixed` is the published rule: kernels span points of one computational grid, that of the train rung, and fields
of other grids are resampled to it and its output back.  On periodic axes nothing finer than the train rung reaches the
output, or is in it; between walls that holds to the stop band of a sinc, and less within its reach of a wall.
`inner: grid` runs on the grid at hand, where kernels shrink with the spacing.

Ours: group normalisation in place of batch normalisation, whose statistics change between training and evaluation;
one residual block a level; the filter (the paper's is a windowed sinc: `filter: sinc`).
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from anchorbench.fields.grid import Grid
from anchorbench.models.antialias import AliasFree, resample, scaled
from anchorbench.models.fno import ACTIVATIONS
from anchorbench.models.local import pad
from anchorbench.models.options import CnoOptions
from anchorbench.models.unet import CONVOLUTIONS


class Conv(nn.Module):
    """A convolution over grid points and its normalisation: (B, C, *grid) -> (B, C', *grid)."""

    def __init__(self, channels_in: int, channels_out: int, ndim: int, options: CnoOptions) -> None:
        super().__init__()
        self.reach = options.kernel // 2
        plain = options.norm == "none"  # a normalisation takes the mean away and brings its own
        self.conv = CONVOLUTIONS[ndim](channels_in, channels_out, options.kernel, bias=plain)
        groups = next(g for g in range(min(8, channels_out), 0, -1) if channels_out % g == 0)
        self.norm = nn.Identity() if plain else nn.GroupNorm(groups, channels_out)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        for axis, wraps in enumerate(grid.periodic):
            x = pad(x, self.reach, axis=axis + 2, periodic=wraps)
        out: Tensor = self.norm(self.conv(x))
        return out


class Residual(nn.Module):
    """v + conv Σ conv v on one level."""

    def __init__(self, channels: int, ndim: int, options: CnoOptions, activation: AliasFree) -> None:
        super().__init__()
        self.first, self.last = (Conv(channels, channels, ndim, options) for _ in range(2))
        self.activation = activation

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        out: Tensor = x + self.last(self.activation(self.first(x, grid), grid), grid)
        return out


class CNO(nn.Module):
    """Fields to fields on any grid of the box, 1 to 3 dimensions.

    grid: of the train rung, the fixed inner grid.
    inputs: (B, C_in, *grid.shape) -> (B, C_out, *out_grid.shape).  An odd axis is halved upwards, and the way back goes
    to the skip's own size.
    """

    def __init__(self, in_channels: int, out_channels: int, grid: Grid, options: CnoOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or CnoOptions()
        self.inner, self.walled = grid.shape, not all(grid.periodic)
        d, widths = grid.ndim, [options.width * 2**level for level in range(options.depth)]
        self.activation = AliasFree(
            ACTIVATIONS[options.activation], how=options.filter, taps=options.taps, antialias=options.antialias
        )
        self.lift = Conv(in_channels, options.width, d, options)
        self.down = nn.ModuleList(Conv(above, below, d, options) for above, below in pairwise(widths))
        self.levels = nn.ModuleList(
            nn.ModuleList(Residual(width, d, options, self.activation) for _ in range(options.blocks))
            for width in widths
        )
        self.up = nn.ModuleList(Conv(below, above, d, options) for above, below in pairwise(widths))
        self.join = nn.ModuleList(Conv(2 * width, width, d, options) for width in widths[:-1])
        self.head = CONVOLUTIONS[d](options.width, out_channels, 1)

    def forward(self, inputs: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
        inner = out_grid if self.options.inner == "grid" else grid.with_shape(self.inner)
        taps = self.options.taps
        out: Tensor = self.head(self._levels(resample(inputs, grid, inner, taps=taps), inner))
        return resample(out, inner, out_grid, taps=taps)

    def _levels(self, x: Tensor, inner: Grid) -> Tensor:
        grids = [inner]
        for _ in self.down:
            grids.append(scaled(grids[-1], double=False))
        x = self.activation(self.lift(x, inner), inner)
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.levels):
            if level:
                x = self.activation(self.down[level - 1](x, grids[level - 1]), grids[level - 1], grids[level])
            for block in cast(nn.ModuleList, blocks):
                x = block(x, grids[level])
            skips.append(x)
        for level in reversed(range(len(self.up))):
            here, below = grids[level], grids[level + 1]
            x = self.activation(self.up[level](x, below), below, here)
            x = self.activation(self.join[level](torch.cat((skips[level], x), 1), here), here)
        return x

    @property
    def facts(self) -> dict[str, str]:
        """What the card says beyond what it measures."""
        o = self.options
        points = "x".join(map(str, self.inner))
        where = f"a fixed inner grid of {points}" if o.inner == "fixed" else "the grid at hand: its support shrinks"
        filtered = o.filter + (", sinc between walls" if self.walled and o.filter == "fourier" else "")
        sigma = f"alias-free ({filtered})" if o.antialias else "plain"
        return {
            "embedding": "none",
            "padding": "circular on periodic axes, else replicate",
            "kernel": f"{o.kernel} points a side on {o.depth} levels, in grid points of {where}; activations {sigma}",
        }
