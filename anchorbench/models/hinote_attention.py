"""Galerkin attention (Cao, NeurIPS 2021) as HiNOTE and SRNO have it: linear in the number of points.

    M = (1/n) Σ_x w(x) LN(k(x)) LN(v(x))ᵀ      o(x) = q(x)ᵀ M      by head, q, k, v linear in h(x)
    u = o + h,   h' = σ( W₂ GELU(W₁ u) + h ),   σ GELU in HiNOTE, nothing in SRNO

M is a mean over the points, w their areas with mean 1: the order of the points does not matter, and a finer grid
approaches the same integral.  LN(x) = g (x − mean)/(std + 1e-5) + b over a head's channels, std with c − 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anchorbench.fields.grid import Grid
from anchorbench.fields.separable import constant
from anchorbench.models.slabs import Conv, Slabs

EPSILON = 1e-5


class HeadNorm(nn.Module):
    """LN over the channels of each head: (B, heads, c, ...) -> the same."""

    def __init__(self, heads: int, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(heads, channels, 1))
        self.shift = nn.Parameter(torch.zeros(heads, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        spread, mean = torch.std_mean(x, dim=2, keepdim=True)
        return self.gain * (x - mean) / (spread + EPSILON) + self.shift


class GalerkinBlock(nn.Module):
    """One block, fields to fields on the same points; h: (B, width, *grid)."""

    def __init__(self, width: int, heads: int, ndim: int, *, closing: bool) -> None:
        super().__init__()
        self.heads, self.closing = heads, closing
        self.q = Conv(width, width, 1, ndim, bias=False)
        self.kv = Conv(width, 2 * width, 1, ndim, bias=False)
        self.norm_k, self.norm_v = (HeadNorm(heads, width // heads) for _ in range(2))
        self.mix, self.out = (Conv(width, width, 1, ndim, bias=False) for _ in range(2))

    def forward(self, h: Slabs) -> Slabs:
        moment = self.moment(h)
        return h.then(lambda rows: self.attended(rows, moment, h.grid))

    def moment(self, h: Slabs) -> Tensor:
        """M: (B, heads, c, c), float32 or more, added up slab by slab."""
        total: Tensor | float = 0.0
        for lo, hi in h:
            k, v = self.kv(h.rows(lo, hi), h.grid).unflatten(1, (2, self.heads, -1)).flatten(4).unbind(1)
            k, v = self.norm_k(k), self.norm_v(v)
            if not h.grid.is_uniform:
                areas = constant(Grid.area_weights, h.grid, dtype=v.dtype, device=v.device)
                v = v * areas[lo:hi].flatten()
            # A sum over all points has no use for bfloat16.
            dtype = torch.promote_types(k.dtype, torch.float32)
            with torch.autocast(k.device.type, enabled=False):
                total = total + k.to(dtype) @ v.to(dtype).mT
        assert isinstance(total, Tensor)  # a grid has points
        return total / h.grid.n_points

    def attended(self, h: Tensor, moment: Tensor, grid: Grid) -> Tensor:
        q = self.q(h, grid).unflatten(1, (self.heads, -1)).flatten(3)
        o = (moment.mT.to(q.dtype) @ q).reshape(h.shape)
        after: Tensor = self.out(F.gelu(self.mix(o + h, grid)), grid) + h
        return F.gelu(after) if self.closing else after
