"""Fields that are worked out by slabs of their first axis, when these are asked for: memory for a slab, not for all.

Convolutions ask the field below for a few rows more; sums over all points are made slab by slab.  What is then made
twice is the rows between slabs.  A field whose slab is all of it is made once and kept, as in any network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from anchorbench.fields.grid import Grid
from anchorbench.models.local import CONVOLUTIONS, pad


class Slabs:
    """A field (B, C, *grid.shape) by rows of its first axis.

    make(lo, hi): rows lo ... hi − 1, 0 <= lo < hi <= n.  height: rows of a slab.
    """

    def __init__(self, make: Callable[[int, int], Tensor], grid: Grid, height: int) -> None:
        self._make, self.grid, self.height = make, grid, height
        self._whole: Tensor | None = None

    @classmethod
    def of(cls, u: Tensor, grid: Grid, height: int) -> Slabs:
        """A field that is there already."""
        held = cls(lambda lo, hi: u[:, :, lo:hi], grid, height)
        held._whole = u
        return held

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The slabs: first row, and the one after the last."""
        n = self.grid.shape[0]
        for lo in range(0, n, self.height):
            yield lo, min(lo + self.height, n)

    def whole(self) -> Tensor:
        """All rows, kept."""
        if self._whole is None:
            self._whole = torch.cat([self._make(lo, hi) for lo, hi in self], dim=2)
        return self._whole

    def rows(self, lo: int, hi: int) -> Tensor:
        """Rows lo ... hi − 1; those beyond the ends are the other end's on a periodic axis, else the last one again."""
        n, periodic = self.grid.shape[0], self.grid.periodic[0]
        if self._whole is None and (self.height >= n or hi - lo >= n):
            self.whole()
        if self._whole is not None:
            reach = max(-lo, hi - n, 0)
            u = pad(self._whole, reach, axis=2, periodic=periodic) if reach else self._whole
            return u[:, :, lo + reach : hi + reach]
        if lo >= 0 and hi <= n:
            return self._make(lo, hi)
        if periodic:
            pieces = ((lo + n, n), (0, hi)) if lo < 0 else ((lo, n), (0, hi - n))
            return torch.cat([self._make(a, b) for a, b in pieces], dim=2)
        u = self._make(max(lo, 0), min(hi, n))
        before, after = (u[:, :, i : i + 1 or None] for i in (0, -1))
        return torch.cat([before] * max(-lo, 0) + [u] + [after] * max(hi - n, 0), dim=2)

    def then(self, change: Callable[[Tensor], Tensor]) -> Slabs:
        """A change that needs no neighbours."""
        return Slabs(lambda lo, hi: change(self.rows(lo, hi)), self.grid, self.height)

    def convolved(self, conv: Conv) -> Slabs:
        """A convolution of stride 1, on the same points."""
        return Slabs(
            lambda lo, hi: conv.inside(self.rows(lo - conv.reach, hi + conv.reach), self.grid), self.grid, self.height
        )


class Conv(nn.Module):
    """A convolution over grid points, circular on periodic axes, else replicate: (B, C, *grid) -> (B, C', *out)."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, ndim: int, *, bias: bool = True, stride: int = 1
    ) -> None:
        super().__init__()
        made = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[ndim - 1](channels_in, channels_out, kernel, bias=bias)
        self.weight, self.bias = made.weight, made.bias
        self.reach, self.stride, self.ndim = kernel // 2, stride, ndim

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        return self.inside(pad(x, self.reach, axis=2, periodic=grid.periodic[0]) if self.reach else x, grid)

    def inside(self, x: Tensor, grid: Grid) -> Tensor:
        """Of rows that have their neighbours beside them already."""
        out: Tensor = CONVOLUTIONS[self.ndim](self._sides(x, grid), self.weight, self.bias, self.stride)
        return out

    def of_channels(self, x: Tensor, grid: Grid, channels: slice, *, into: bool) -> Tensor:
        """The part of some output channels or, with `into`, that from some input channels, without the bias."""
        if self.reach:
            x = self._sides(pad(x, self.reach, axis=2, periodic=grid.periodic[0]), grid)
        weight = self.weight[:, channels] if into else self.weight[channels]
        bias = None if into or self.bias is None else self.bias[channels]
        out: Tensor = CONVOLUTIONS[self.ndim](x, weight, bias, self.stride)
        return out

    def _sides(self, x: Tensor, grid: Grid) -> Tensor:
        if self.reach:
            for axis in range(1, self.ndim):
                x = pad(x, self.reach, axis=axis + 2, periodic=grid.periodic[axis])
        return x
