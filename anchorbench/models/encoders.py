"""The encoder that all rivals share (EDSR's trunk: Lim et al., CVPR Workshops 2017): features on the input's points.

    f₀ = conv u,   f_{b+1} = f_b + conv ReLU conv f_b,   f = f₀ + conv f_last

No normalisation, as published.  With one encoder of one size for all, what differs between rivals is their decoder.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from anchorbench.fields.grid import Grid
from anchorbench.models.slabs import Conv
from anchorbench.models.sr_options import EncoderOptions

ENCODER_FACTS = {"padding": "circular on periodic axes, else replicate"}


class Encoder(nn.Module):
    """(B, C_in, *grid.shape) -> (B, width, *grid.shape)."""

    def __init__(self, in_channels: int, ndim: int, options: EncoderOptions) -> None:
        super().__init__()
        self.head = Conv(in_channels, options.width, 3, ndim)
        self.blocks = nn.ModuleList(
            nn.ModuleList(Conv(options.width, options.width, 3, ndim) for _ in range(2)) for _ in range(options.blocks)
        )
        self.tail = Conv(options.width, options.width, 3, ndim)

    def forward(self, inputs: Tensor, grid: Grid) -> Tensor:
        start: Tensor = self.head(inputs, grid)
        f = start
        for block in self.blocks:
            assert isinstance(block, nn.ModuleList)
            first, last = block
            f = f + last(F.relu(first(f, grid)), grid)
        out: Tensor = start + self.tail(f, grid)
        return out


def layers_of(channels_in: int, hidden: int, layers: int, channels_out: int, *, ndim: int) -> nn.ModuleList:
    """A perceptron that acts on each query alone: `layers` hidden layers, as convolutions of one point."""
    widths = [channels_in, *[hidden] * layers, channels_out]
    return nn.ModuleList(Conv(a, b, 1, ndim) for a, b in pairwise(widths))


def through(layers: nn.ModuleList, x: Tensor, grid: Grid) -> Tensor:
    """ReLU between the layers, nothing after the last."""
    for layer in layers[:-1]:
        x = F.relu(layer(x, grid))
    out: Tensor = layers[-1](x, grid)
    return out
