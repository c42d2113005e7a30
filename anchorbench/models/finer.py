"""`finer`: sines whose frequency grows with what they are given (Liu et al., CVPR 2024).

    h_{i+1} = sin(ω (|z| + 1) z),   z = W h_i + b

The factor |z| + 1 has no gradient.  Weights as in `siren`.  The biases of the first map set the frequencies: about b
the sine runs at ω (|b| + 1).  Form `bias` draws them within ±k and chooses k; form `omega` draws them as 0 and chooses
the first map's ω.  All other biases are drawn within 1/√n, as torch draws them: ours.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from anchorbench.models.coordinate import Bound, Coordinate
from anchorbench.models.coordinate_options import FinerOptions


class Finer(Coordinate):
    """bias (k) or omega is the number that sets its frequencies, by the option `form`."""

    Options = FinerOptions

    def usual_knob(self) -> float:
        if self.options.form == "omega":
            return float(self.options.omega)
        return 1 / math.sqrt(self.dims) if self.options.bias is None else float(self.options.bias)

    def bounds(self, i: int, n_in: int) -> tuple[Bound, Bound]:
        if i > 0:
            return math.sqrt(6 / n_in) / self.options.hidden_omega, 1 / math.sqrt(n_in)
        return 1 / n_in, self.knob[:, None, None] if self.options.form == "bias" else 0.0

    def activate(self, z: Tensor, i: int, knob: Tensor) -> Tensor:
        return torch.sin(self._omega(i, knob) * (z.detach().abs() + 1) * z)

    def _omega(self, i: int, knob: Tensor) -> Bound:
        if i > 0:
            return float(self.options.hidden_omega)
        return knob if self.options.form == "omega" else float(self.options.omega)

    @torch.no_grad()
    def frequencies(self) -> Tensor:
        omega = self._omega(0, self.knob[:, None, None])
        waves: Tensor = omega * (self.biases[0].abs() + 1) * self.weights[0] / math.pi
        return waves.mT

    @property
    def embedding_words(self) -> str:
        return "sines of a learnt map of them, faster the farther from zero"
