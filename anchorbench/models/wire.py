"""`wire`: complex Gabor wavelets (Saragadam et al., CVPR 2023).

    h_{i+1} = exp(i ω z − |s z|²),   z = W h_i + b,   u = Re(W h_n + b)

W is complex but for the first; the width is that of a real network over √2, so that both have as many numbers.  Real
and imaginary parts are drawn within 1/√n each: ours.  The envelope ties how fast a wavelet turns to how wide it is, so
no one number steers its spectrum: the methods that choose one choose ω, on a grid of ours.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from anchorbench.models.coordinate import Coordinate, Draw
from anchorbench.models.coordinate_options import WireOptions


class Wire(Coordinate):
    """omega is the number that is chosen; weights from the second map on hold (real, imaginary) last."""

    Options = WireOptions

    @property
    def width(self) -> int:
        return max(1, int(self.options.width / math.sqrt(2)))

    def drawn(self, draw: Draw, i: int, n_in: int, n_out: int) -> Tensor:
        return draw.uniform(n_in, n_out) if i == 0 else draw.uniform(n_in, n_out, 2)

    def weight(self, i: int, pick: Tensor | None, time: Tensor | None) -> Tensor:
        w = super().weight(i, pick, time)
        return w if i == 0 else torch.view_as_complex(w)

    def bias(self, i: int, pick: Tensor | None) -> Tensor:
        b = super().bias(i, pick)
        return b if i == 0 else torch.view_as_complex(b)

    def activate(self, z: Tensor, i: int, knob: Tensor) -> Tensor:
        size = (self.options.scale * z.abs()).square()
        return torch.exp(1j * knob * z - size)

    @property
    def embedding_words(self) -> str:
        return "Gabor wavelets of a learnt map of them"
