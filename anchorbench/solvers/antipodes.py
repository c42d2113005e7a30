"""Harmonics to Gauss' rows and back by pairs of antipodes: a quarter of the work of all rows by all degrees.

At the antipode, φ → −φ and λ → λ + π, a harmonic is itself or its opposite, Y_lm → (−1)^l Y_lm.  So are its turn
i m P̄/cos φ and, the other way round, its slope dP̄/dφ.  The northern rows alone give both:

    north = A + B,   antipodes = A − B

A of the values and turns of even degrees and the slopes of odd ones, B of the rest.  Orders are taken a few at a time,
by the degrees l ≥ m that they have.

Rows stand from the equator to the north pole, then their antipodes, on longitudes that are turned by half a circle:
what is done at each point by itself need not know.  An equator among the rows is its own antipode and stands once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from anchorbench.fields.harmonics import Mesh, hemisphere
from anchorbench.fields.legendre import Part, latitudes

#: Orders that are taken together: this share of all of them, and no fewer than so many.
SHARE, FEWEST = 8, 32

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Block:
    """Some orders: where their even and odd degrees are, and matrices (order, northern row, degree) of either.

    matrices: P̄, m P̄/cos φ and dP̄/dφ.
    """

    orders: slice
    degrees: tuple[slice, slice]
    matrices: tuple[Pair, Pair, Pair]


@lru_cache(maxsize=8)
def antipodes(mesh: Mesh, degrees: int, *, dtype: torch.dtype, device: torch.device) -> Antipodes:
    """The transform, made once: a solver asks for it at every interval."""
    with torch.inference_mode(False), torch.device("cpu"):
        return Antipodes(mesh, degrees, dtype=dtype, device=device)


class Antipodes:
    """Between coefficients (order, degree, c), l < degrees, and rows (order, row, c); c: real and imaginary parts."""

    def __init__(self, mesh: Mesh, degrees: int, *, dtype: torch.dtype, device: torch.device) -> None:
        n = mesh.n_rows
        self.degrees, self.n_rows, self.north, self.equator = degrees, n, n - n // 2, n % 2
        #: Which row of the mesh, counted from the south, stands where.
        self.rows = torch.cat((torch.arange(n // 2, n), torch.arange(n // 2).flip(0)))
        latitude, weights = latitudes(mesh.rows, n)
        #: φ in radians and the weights of quadrature, Σ w = 1, of the rows as they stand: (n_rows,), float64.
        self.latitude, self.weights = latitude[self.rows], weights[self.rows]

        parts: tuple[Part, ...] = ("value", "turn", "slope")
        whole = {part: hemisphere(mesh.rows, n, degrees, part) for part in parts}

        def matrices(part: Part, first: int, last: int) -> Pair:
            both = (whole[part][i, first:last, :, first // 2 : (degrees + 1 - i) // 2] for i in (0, 1))
            even, odd = (each.to(device, dtype).contiguous() for each in both)
            return even, odd

        width = max(FEWEST, -(-degrees // SHARE))
        width += width % 2
        self.blocks = [
            Block(
                slice(first, last),
                (slice(first, None, 2), slice(first + 1, None, 2)),
                (matrices("value", first, last), matrices("turn", first, last), matrices("slope", first, last)),
            )
            for first in range(0, degrees, width)
            for last in [min(first + width, degrees)]
        ]

    def to_rows(self, values: Tensor, turned: Tensor, sloped: Tensor) -> Tensor:
        """Σ_l P̄ values, and beside it Σ_l (m P̄/cos φ turned + dP̄/dφ sloped): (m, rows, c + c')."""
        c = values.shape[2]
        out = values.new_empty(self.degrees, self.n_rows, c + turned.shape[2])
        for block in self.blocks:
            m, (even, odd), (plain, turn, slope) = block.orders, block.degrees, block.matrices
            a, b = torch.bmm(plain[0], values[m, even]), torch.bmm(plain[1], values[m, odd])
            self._put(a, b, out[m, :, :c])
            a = torch.bmm(turn[0], turned[m, even]).baddbmm_(slope[1], sloped[m, odd])
            b = torch.bmm(turn[1], turned[m, odd]).baddbmm_(slope[0], sloped[m, even])
            self._put(a, b, out[m, :, c:])
        return out

    def _put(self, a: Tensor, b: Tensor, out: Tensor) -> None:
        torch.add(a, b, out=out[:, : self.north])
        torch.sub(a[:, self.equator :], b[:, self.equator :], out=out[:, self.north :])

    def to_degrees(self, rows: Tensor, *, values: slice, turns: slice, slopes: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Σ_rows P̄, Σ_rows m P̄/cos φ and Σ_rows dP̄/dφ of the columns that each names: (m, l, c), 0 where l < m."""
        parts = (values, turns, slopes)
        outs = [rows.new_zeros(self.degrees, self.degrees, part.stop - part.start) for part in parts]
        for block in self.blocks:
            a, b = self._sum_and_difference(rows[block.orders])
            seen = ((a, b), (a, b), (b, a))  # by even and odd degrees
            for out, part, matrices, by_parity in zip(outs, parts, block.matrices, seen, strict=True):
                for degrees, matrix, sums in zip(block.degrees, matrices, by_parity, strict=True):
                    out[block.orders, degrees] = torch.bmm(matrix.mT, sums[..., part])
        return outs[0], outs[1], outs[2]

    def _sum_and_difference(self, rows: Tensor) -> Pair:
        """What even and odd degrees see of the rows and their antipodes."""
        north, antipodes = rows[:, : self.north], rows[:, self.north :]
        if not self.equator:
            return north + antipodes, north - antipodes
        a, b = north.clone(), north.clone()
        a[:, 1:] += antipodes
        b[:, 1:] -= antipodes
        return a, b
