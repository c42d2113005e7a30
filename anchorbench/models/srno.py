"""A super-resolution neural operator (Wei and Zhang, CVPR 2023): all queries at once, joined by Galerkin attention.

    h₀ = conv₁ S f,   h_{l+1} = G(h_l),   y = conv₁ GELU conv₁ h_last

S is the sampler that HiNOTE took over, G its attention without the closing activation; f the features of the encoder
that all rivals share.  The skip of the interpolated input is the training's (`train.increment`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anchorbench.fields.grid import Grid
from anchorbench.models.encoders import ENCODER_FACTS, Encoder
from anchorbench.models.hinote_attention import GalerkinBlock
from anchorbench.models.sampler import query_rows, sampled, sampled_channels
from anchorbench.models.slabs import Conv, Slabs
from anchorbench.models.sr_options import SrnoOptions, usual_heads


class SRNO(nn.Module):
    """Fields on one grid to fields on any other of the box; 1 to 3 dimensions.

    inputs: (B, C_in, *grid.shape) -> (B, C_out, *out_grid.shape).
    """

    def __init__(self, in_channels: int, out_channels: int, grid: Grid, options: SrnoOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or SrnoOptions()
        d, hidden = grid.ndim, options.hidden
        self.encoder = Encoder(in_channels, d, options)
        self.lift = Conv(sampled_channels(options.width, d), hidden, 1, d)
        heads = usual_heads(hidden)
        self.blocks = nn.ModuleList(GalerkinBlock(hidden, heads, d, closing=False) for _ in range(options.layers))
        self.mix, self.project = Conv(hidden, hidden, 1, d), Conv(hidden, out_channels, 1, d)

    def forward(self, inputs: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
        features = self.encoder(inputs, grid)
        height = query_rows(out_grid, len(inputs), None if self.training else self.options.query_points)

        def queries(lo: int, hi: int) -> Tensor:
            rows = torch.arange(lo, hi, device=features.device)
            lifted: Tensor = self.lift(sampled(features, grid, out_grid, rows), out_grid)
            return lifted

        h = Slabs(queries, out_grid, height)
        for block in self.blocks:
            h = block(h)
        return h.then(lambda rows: self.project(F.gelu(self.mix(rows, out_grid)), out_grid)).whole()

    @property
    def facts(self) -> dict[str, str]:
        """What the card says beyond what it measures."""
        return {
            **ENCODER_FACTS,
            "embedding": "each output point's place between the input's points about it, and the two spacings",
            "kernel": f"3 points an axis, {2 * self.options.blocks + 2} times, in the input's grid points; then global "
            "attention",
        }
