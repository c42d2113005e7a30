"""A local implicit image function (Chen, Liu and Wang, CVPR 2021): features beside each query, decoded point by point.

    s(q) = Σ_t w_t MLP( f_t, rel_t, cell )        t the 2^d features about q, w_t the areas opposite (`sampler.py`)

f_t is the feature and those about it, 3 an axis (`unfold`); the encoder is the one that all rivals share.

With `sigma` the decoder is given [cos, sin](2π σ B rel/2) beside rel, B ~ N(0, 1) and not learnt, rel/2 the offset in
spacings: a coordinate network's frequencies, for `anchorbench choose` to choose.  Ours; the paper has none.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from anchorbench.fields.grid import Grid
from anchorbench.models.encoders import ENCODER_FACTS, Encoder, layers_of, through
from anchorbench.models.local import pad
from anchorbench.models.sampler import cell_size, corners, query_rows
from anchorbench.models.slabs import Slabs
from anchorbench.models.sr_options import LiifOptions


class LIIF(nn.Module):
    """Fields on one grid to fields on any other of the box; 1 to 3 dimensions.

    inputs: (B, C_in, *grid.shape) -> (B, C_out, *out_grid.shape).
    """

    waves: Tensor

    def __init__(self, in_channels: int, out_channels: int, grid: Grid, options: LiifOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or LiifOptions()
        d = grid.ndim
        self.encoder = Encoder(in_channels, d, options)
        seen = options.width * (3**d if options.unfold else 1)
        coded = 0 if options.sigma is None else 2 * options.waves
        self.layers = layers_of(seen + 2 * d + coded, options.hidden, options.layers, out_channels, ndim=d)
        if coded:
            self.register_buffer("waves", torch.randn(options.waves, d))

    def forward(self, inputs: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
        features = self.encoder(inputs, grid)
        if self.options.unfold:
            features = unfolded(features, grid)
        height = query_rows(out_grid, len(inputs), None if self.training else self.options.query_points)
        cell = cell_size(grid, out_grid, like=features).view(-1, *[1] * grid.ndim)

        def queries(lo: int, hi: int) -> Tensor:
            total: Tensor | float = 0.0
            for values, rel, weight in corners(features, grid, out_grid, torch.arange(lo, hi, device=features.device)):
                place = torch.cat([rel, cell.expand_as(rel), *self.code(rel)])
                place = place.expand(len(values), -1, *rel.shape[1:])
                total = total + weight * through(self.layers, torch.cat([values, place], 1), out_grid)
            assert isinstance(total, Tensor)  # a grid has corners
            return total

        return Slabs(queries, out_grid, height).whole()

    def code(self, rel: Tensor) -> tuple[Tensor, ...]:
        """Waves of the offset, (waves, R, ...) each: cosines, sines; none without `sigma`."""
        if self.options.sigma is None:
            return ()
        phase = math.pi * self.options.sigma * torch.einsum("wd,d...->w...", self.waves, rel)
        return phase.cos(), phase.sin()

    @property
    def facts(self) -> dict[str, str]:
        """What the card says beyond what it measures."""
        return {
            **ENCODER_FACTS,
            "embedding": "each output point's place between the input's points about it, and its spacing",
            "kernel": f"3 points an axis, {2 * self.options.blocks + 2} times, in the input's grid points",
        }


def unfolded(f: Tensor, grid: Grid) -> Tensor:
    """Each point's feature and those about it, 3 an axis: (B, C, *grid) -> (B, 3^d C, *grid)."""
    for axis, (n, periodic) in enumerate(zip(grid.shape, grid.periodic, strict=True)):
        wide = pad(f, 1, axis=axis + 2, periodic=periodic)
        f = torch.cat([wide.narrow(axis + 2, first, n) for first in range(3)], dim=1)
    return f
