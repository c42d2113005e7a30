"""A U-Net for two axes or three (Ronneberger et al., MICCAI 2015), with padding that knows the grid's borders.

    down: conv, conv, mean over 2 points an axis     up: nearest point, join with the skip, conv, conv

A convolution spans grid points: its physical support halves with each doubling of the grid, and so does what the
coarsest level sees.  That is the published practice, and the card says so.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anchorbench.errors import ModelError
from anchorbench.fields.carry import on_grid
from anchorbench.fields.grid import Grid
from anchorbench.models.local import pad
from anchorbench.models.options import UnetOptions

CONVOLUTIONS: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {
    1: nn.Conv1d,
    2: nn.Conv2d,
    3: nn.Conv3d,
}
MEANS = {2: F.avg_pool2d, 3: F.avg_pool3d}


class ConvBlock(nn.Module):
    """Two convolutions, each with its normalisation and GELU: (B, C, *grid) -> (B, C', *grid)."""

    def __init__(self, channels_in: int, channels_out: int, ndim: int, options: UnetOptions) -> None:
        super().__init__()
        self.reach = options.kernel // 2
        bias = options.norm == "none"  # a normalisation takes the mean away and brings its own
        self.convs = nn.ModuleList(
            CONVOLUTIONS[ndim](channels, channels_out, options.kernel, bias=bias)
            for channels in (channels_in, channels_out)
        )
        groups = next(g for g in range(min(8, channels_out), 0, -1) if channels_out % g == 0)
        self.norms = nn.ModuleList(nn.Identity() if bias else nn.GroupNorm(groups, channels_out) for _ in self.convs)

    def forward(self, x: Tensor, periodic: tuple[bool, ...]) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            for axis, wraps in enumerate(periodic):
                x = pad(x, self.reach, axis=axis + 2, periodic=wraps)
            x = F.gelu(norm(conv(x)))
        return x


class UNet(nn.Module):
    """Fields to fields on any planar or latlon grid, 2 or 3 dimensions.

    inputs: (B, C_in, *grid.shape) -> (B, C_out, *out_grid.shape).  Where `out_grid` is another, the inputs are carried
    to it first.  An odd axis is halved upwards, and the way back goes to the skip's own size.
    Raises ModelError where the grid has one axis.
    """

    def __init__(self, in_channels: int, out_channels: int, grid: Grid, options: UnetOptions | None = None) -> None:
        super().__init__()
        if grid.ndim not in MEANS:
            raise ModelError(f"unet takes two axes or three; this grid has one: {grid.shape}", do="take --model fno")
        self.options = options = options or UnetOptions()
        self.ndim = d = grid.ndim
        widths = [options.width * 2**level for level in range(options.depth)]
        self.down = nn.ModuleList(
            ConvBlock(before, width, d, options) for before, width in zip([in_channels, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(ConvBlock(below + width, width, d, options) for width, below in pairwise(widths))
        self.head = CONVOLUTIONS[d](options.width, out_channels, 1)

    def forward(self, inputs: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
        x = on_grid(inputs, grid, out_grid)
        mean, skips = MEANS[out_grid.ndim], list[Tensor]()
        for block in self.down:
            if skips:
                two = tuple(min(2, n) for n in x.shape[2:])  # torch has no mean over 2 of 1 point in three dimensions
                x = mean(x, two, ceil_mode=True, count_include_pad=False)
            x = block(x, out_grid.periodic)
            skips.append(x)
        for block, skip in zip(reversed(self.up), reversed(skips[:-1]), strict=True):
            # Nearest, not linear: torch's linear ways clamp at the border and would break a periodic axis.
            x = F.interpolate(x, size=skip.shape[2:], mode="nearest")
            x = block(torch.cat((skip, x), 1), out_grid.periodic)
        out: Tensor = self.head(x)
        return out

    @property
    def facts(self) -> dict[str, str]:
        """What the card says beyond what it measures."""
        size = "x".join([str(self.options.kernel)] * self.ndim)
        return {
            "embedding": "none",
            "padding": "circular on periodic axes, else replicate",
            "kernel": f"{size} on {self.options.depth} levels, in grid points: its support shrinks on a finer grid",
        }
