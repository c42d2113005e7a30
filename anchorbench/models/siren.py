"""`siren`: sines of linear maps (Sitzmann et al. 2020).

    h₁ = sin(W₁ ω₀ x + b₁),   h_{i+1} = sin(W ω h_i + b),   u = W ω h_n + b

W₁ ~ U(±1/d), the other weights U(±√(6/n)/ω), n channels in.  ω multiplies what a map is given, so it leaves the bias as
it is.  The biases are drawn within 1/√n, as torch draws them: ours, no source says otherwise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from anchorbench.models.coordinate import Bound, Coordinate
from anchorbench.models.coordinate_options import SirenOptions


class Siren(Coordinate):
    """omega, ω₀, is the number that sets its frequencies."""

    Options = SirenOptions

    def bounds(self, i: int, n_in: int) -> tuple[Bound, Bound]:
        weight = 1 / n_in if i == 0 else math.sqrt(6 / n_in) / self.options.hidden_omega
        return weight, 1 / math.sqrt(n_in)

    def embed(self, x: Tensor, knob: Tensor, pick: Tensor | None) -> Tensor:
        return knob * x

    def before(self, h: Tensor, i: int) -> Tensor:
        return h if i == 0 else self.options.hidden_omega * h

    def activate(self, z: Tensor, i: int, knob: Tensor) -> Tensor:
        return torch.sin(z)

    @property
    def embedding_words(self) -> str:
        return "sines of a learnt map of them"
