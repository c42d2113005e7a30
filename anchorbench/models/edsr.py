"""EDSR (Lim et al., CVPR Workshops 2017) for one fixed factor, its output resized to all others.

    f = encoder u,   s conv f  (each point's channels become the s^d points of its cell),   y = conv ...

On the grid that the factor gives nothing is resized; to any other its output is carried as all fields here are, waves
on a periodic box, else bilinear (`fields.carry`).  That resizing adds no detail is what arbitrary-scale models claim to
better.
"""

from __future__ import annotations

from torch import Tensor, nn

from anchorbench.fields.carry import on_grid
from anchorbench.fields.grid import Grid
from anchorbench.models.encoders import ENCODER_FACTS, Encoder
from anchorbench.models.slabs import Conv
from anchorbench.models.sr_options import EdsrOptions


class EDSR(nn.Module):
    """Fields on one grid to fields on any other of the box; 1 to 3 dimensions.

    inputs: (B, C_in, *grid.shape) -> (B, C_out, *out_grid.shape).
    """

    def __init__(self, in_channels: int, out_channels: int, grid: Grid, options: EdsrOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or EdsrOptions()
        self.encoder = Encoder(in_channels, grid.ndim, options)
        self.refine = Conv(options.width, options.width * options.factor**grid.ndim, 3, grid.ndim)
        self.project = Conv(options.width, out_channels, 3, grid.ndim)

    def forward(self, inputs: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
        s = self.options.factor
        # Between two end points there are s (n − 1) spacings: one point more than that.
        finer = grid.with_shape(tuple(s * i + (n - i) for n, i in zip(grid.shape, grid.intervals, strict=True)))
        out: Tensor = self.project(shuffled(self.refine(self.encoder(inputs, grid), grid), finer, s), finer)
        coarser = out_grid.with_shape(tuple(map(min, out_grid.shape, finer.shape)))
        return on_grid(on_grid(out, finer, coarser), coarser, out_grid)

    @property
    def facts(self) -> dict[str, str]:
        """What the card says beyond what it measures."""
        return {
            **ENCODER_FACTS,
            "embedding": "none",
            "kernel": f"3 points an axis, {2 * self.options.blocks + 3} times in the input's grid points and once in "
            f"those {self.options.factor} times finer",
        }


def shuffled(f: Tensor, to: Grid, factor: int) -> Tensor:
    """Channels (C s^d) become the s^d points of each cell: (B, C s^d, *grid) -> (B, C, *to.shape), s = factor."""
    # One axis at a time: its share of the channels moves behind it.
    for axis, n in enumerate(to.shape, start=2):
        batch, channels, *points = f.shape
        parts = f.reshape(batch, channels // factor, factor, *points).movedim(2, axis + 1)
        f = parts.flatten(axis, axis + 1).narrow(axis, 0, n)
    return f
