"""A U-Net for two axes (Ronneberger et al., MICCAI 2015), of any size, with padding that knows the grid's borders.

    down: conv, conv, mean over 2x2     up: nearest point, join with the skip, conv, conv

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


class ConvBlock(nn.Module):
    """Two convolutions, each with its normalisation and GELU: (B, C, H, W) -> (B, C', H, W)."""

    def __init__(self, channels_in: int, channels_out: int, options: UnetOptions) -> None:
        super().__init__()
        self.reach = options.kernel // 2
        bias = options.norm == "none"  # a normalisation takes the mean away and brings its own
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels_out, options.kernel, bias=bias) for channels in (channels_in, channels_out)
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
    """Fields to fields on any planar or latlon grid.

    inputs: (B, C_in, *grid.shape) -> (B, C_out, *out_grid.shape).  Where `out_grid` is another, the inputs are carried
    to it first.  An odd axis is halved upwards, and the way back goes to the skip's own size.
    Raises ModelError where the grid has not two axes.
    """

    def __init__(self, in_channels: int, out_channels: int, grid: Grid, options: UnetOptions | None = None) -> None:
        super().__init__()
        if grid.ndim != 2:
            raise ModelError(f"unet takes two axes; this grid has {grid.ndim}: {grid.shape}", do="take --model fno")
        self.options = options = options or UnetOptions()
        widths = [options.width * 2**level for level in range(options.depth)]
        self.down = nn.ModuleList(
            ConvBlock(before, width, options) for before, width in zip([in_channels, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(ConvBlock(below + width, width, options) for width, below in pairwise(widths))
        self.head = nn.Conv2d(options.width, out_channels, 1)

    def forward(self, inputs: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
        x = on_grid(inputs, grid, out_grid)
        skips: list[Tensor] = []
        for block in self.down:
            if skips:
                x = F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
            x = block(x, out_grid.periodic)
            skips.append(x)
        for block, skip in zip(reversed(self.up), reversed(skips[:-1]), strict=True):
            # Nearest, not bilinear: torch's bilinear clamps at the border and would break a periodic axis.
            x = F.interpolate(x, size=skip.shape[2:], mode="nearest")
            x = block(torch.cat((skip, x), 1), out_grid.periodic)
        out: Tensor = self.head(x)
        return out

    @property
    def facts(self) -> dict[str, str]:
        """What the card says beyond what it measures."""
        k = self.options.kernel
        return {
            "embedding": "none",
            "padding": "circular on periodic axes, else replicate",
            "kernel": f"{k}x{k} on {self.options.depth} levels, in grid points: its support shrinks on a finer grid",
        }
