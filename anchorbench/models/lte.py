"""A local texture estimator (Lee and Jin, CVPR 2022): waves about each query, their numbers learned from the features.

    s(q) = Σ_t w_t MLP( A_t ⊙ [cos π θ_t, sin π θ_t] ),   θ_t = Σ_i F_t,i rel_t,i + φ(cell)

A_t and the wave numbers F_t are convolutions of the features at the 2^d points about q, φ is linear in the queries'
spacing.  The encoder is the one that all rivals share.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from anchorbench.fields.grid import Grid
from anchorbench.models.encoders import ENCODER_FACTS, Encoder, layers_of, through
from anchorbench.models.sampler import cell_size, corners, query_rows
from anchorbench.models.slabs import Conv, Slabs
from anchorbench.models.sr_options import LteOptions


class LTE(nn.Module):
    """Fields on one grid to fields on any other of the box; 1 to 3 dimensions.

    inputs: (B, C_in, *grid.shape) -> (B, C_out, *out_grid.shape).
    """

    def __init__(self, in_channels: int, out_channels: int, grid: Grid, options: LteOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or LteOptions()
        d, half = grid.ndim, options.hidden // 2
        self.encoder = Encoder(in_channels, d, options)
        self.textures = Conv(options.width, options.hidden + half * d, 3, d)  # A, then F
        self.phase = nn.Linear(d, half, bias=False)
        self.layers = layers_of(options.hidden, options.hidden, options.layers, out_channels, ndim=d)

    def forward(self, inputs: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
        known, d = self.textures(self.encoder(inputs, grid), grid), grid.ndim
        phase = self.phase(cell_size(grid, out_grid, like=inputs)).view(-1, *[1] * d)
        height = query_rows(out_grid, len(inputs), None if self.training else self.options.query_points)

        def queries(lo: int, hi: int) -> Tensor:
            total: Tensor | float = 0.0
            for values, rel, weight in corners(known, grid, out_grid, torch.arange(lo, hi, device=known.device)):
                amplitude, wave = values[:, : self.options.hidden], values[:, self.options.hidden :]
                angle = math.pi * ((wave.reshape(len(wave), -1, d, *wave.shape[2:]) * rel).sum(2) + phase)
                texture = amplitude * torch.cat([angle.cos(), angle.sin()], dim=1)
                total = total + weight * through(self.layers, texture, out_grid)
            assert isinstance(total, Tensor)  # a grid has corners
            return total

        return Slabs(queries, out_grid, height).whole()

    @property
    def facts(self) -> dict[str, str]:
        """What the card says beyond what it measures."""
        return {
            **ENCODER_FACTS,
            "embedding": "learned waves of each output point's place between the input's points about it",
            "kernel": f"3 points an axis, {2 * self.options.blocks + 3} times, in the input's grid points",
        }
