"""`wire`: complex Gabor wavelets (Saragadam et al., CVPR 2023).

    h_{i+1} = exp(i ω z − |s z|²),   z = W h_i + b,   u = Re(W h_n + b)

W is complex but for the first; the width is that of a real network over √2, so that both have as many numbers.  Real
and imaginary parts are drawn within 1/√n each: ours.  The envelope ties how fast a wavelet turns to how wide it is, so
no one number steers its spectrum: the methods that choose one choose ω, on a grid of ours.  Products are of real
matrices twice the size: on a CPU torch's complex ones take longer.
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
        """As real numbers, (Re, Im) of a channel one after another: [Re; −Im] for the values, both columns before."""
        w = super().weight(i, pick, time)
        if i == 0:
            return w
        real, imaginary = w.unbind(-1)
        to_real = torch.cat([real, -imaginary], dim=-2)
        if i == len(self.weights) - 1:
            return to_real
        return torch.cat([to_real, torch.cat([imaginary, real], dim=-2)], dim=-1)

    def bias(self, i: int, pick: Tensor | None) -> Tensor:
        b = super().bias(i, pick)
        if i == 0:
            return b
        real, imaginary = b.unbind(-1)
        return real if i == len(self.biases) - 1 else torch.cat([real, imaginary], dim=-1)

    def activate(self, z: Tensor, i: int, knob: Tensor) -> Tensor:
        real, imaginary = (z, None) if i == 0 else z.chunk(2, dim=-1)
        # |e^(iωz)| = e^(−ω Im z)
        exponent = -(self.options.scale**2) * real.square()
        if imaginary is not None:
            exponent = exponent - (self.options.scale * imaginary).square() - knob * imaginary
        size, phase = exponent.exp(), knob * real
        return torch.cat([size * phase.cos(), size * phase.sin()], dim=-1)

    @property
    def embedding_words(self) -> str:
        return "Gabor wavelets of a learnt map of them"
