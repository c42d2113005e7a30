"""`positional_encoding`: octaves, then ReLU (Mildenhall et al. 2020).

    γ(x) = [x, sin, cos](2ˡ π x),   l = 0 ... L − 1,   then ReLU of linear maps, drawn as torch draws them

Octaves from L on are 0, so that networks of different L are of one shape; the first map's weights are drawn for the
channels that are not.  That x itself is a channel is ours.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from anchorbench.models.coordinate import Bound, Coordinate
from anchorbench.models.coordinate_options import MAX_OCTAVES, PositionalEncodingOptions


class PositionalEncoding(Coordinate):
    """octaves, L, is the number that sets its frequencies."""

    Options = PositionalEncodingOptions

    @property
    def embedded(self) -> int:
        return self.dims * (1 + 2 * MAX_OCTAVES)

    def bounds(self, i: int, n_in: int) -> tuple[Bound, Bound]:
        if i > 0:
            return super().bounds(i, n_in)
        bound = (self.dims * (1 + 2 * self.knob[:, None, None])).rsqrt()
        return bound, bound

    def embed(self, x: Tensor, knob: Tensor, pick: Tensor | None) -> Tensor:
        octaves = torch.arange(MAX_OCTAVES, device=x.device, dtype=x.dtype)
        there = (octaves < knob).to(x.dtype)[:, :, None, :]  # (B, 1, 1, L)
        phase = math.pi * x[..., None] * 2**octaves
        waves = torch.stack([phase.sin() * there, phase.cos() * there], dim=-1)
        return torch.cat([x, waves.flatten(2)], dim=-1)

    @torch.no_grad()
    def frequencies(self) -> Tensor:
        octaves = 2.0 ** torch.arange(MAX_OCTAVES, device=self.knob.device)
        there = octaves * (torch.arange(MAX_OCTAVES, device=self.knob.device) < self.knob[:, None])
        return there[:, :, None].expand(-1, -1, self.dims)

    @property
    def embedding_words(self) -> str:
        return f"up to {MAX_OCTAVES} octaves of each, not learnt"
