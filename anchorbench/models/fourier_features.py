"""`fourier_features`: random waves, then ReLU (Tancik et al. 2020).

    γ(x) = [cos, sin](2π σ B x),   B ~ N(0, 1),   then ReLU of linear maps, drawn as torch draws them

B is not learnt: σ alone says which frequencies there are.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from anchorbench.models.coordinate import Coordinate, Draw, picked
from anchorbench.models.coordinate_options import FourierFeaturesOptions


class FourierFeatures(Coordinate):
    """sigma, in waves per half box, is the number that sets its frequencies."""

    Options = FourierFeaturesOptions
    waves: Tensor

    @property
    def embedded(self) -> int:
        return 2 * int(self.options.features)

    def draw_more(self, draw: Draw, sizes: list[int]) -> None:
        self.register_buffer("waves", draw.normal(self.dims, int(self.options.features)))

    def embed(self, x: Tensor, knob: Tensor, pick: Tensor | None) -> Tensor:
        phase = 2 * math.pi * knob * torch.bmm(x, picked(self.waves, pick))
        return torch.cat([phase.cos(), phase.sin()], dim=-1)

    @torch.no_grad()
    def frequencies(self) -> Tensor:
        return (2 * self.knob[:, None, None] * self.waves).mT

    @property
    def embedding_words(self) -> str:
        return f"{self.options.features} random waves of them, not learnt"
