"""Means over cells: each value stands for its cell, and what a cell holds is shared out by overlap.

    ū_J = Σᵢ |J ∩ i| uᵢ / |J|,   |·| the length on a plane, sin φ₊ − sin φ₋ on latitudes

so that the integral over the box is kept to rounding, from any size to any size.  Cells reach halfway to the next point
(`Grid.edges`), with half cells at poles and other ends.  One exception: on the periodic point axes of a plane a cell
begins at its point, so that coarse cells are whole numbers of fine ones, and a mean over s of them lies (s − 1)/2
spacings off its point: cells want `cell` centring.
"""

from __future__ import annotations

from functools import reduce
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from anchorbench.errors import GridError
from anchorbench.fields.grid import Grid
from anchorbench.fields.separable import along_axes, constant, working_dtype

# An overlap narrower than this share of the box is two edges that are one, but for rounding.
SLIVER = 1e-10


class Cells(NamedTuple):
    """The cells of one axis; whatever gives the same overlaps is the same value, so that matrices are shared.

    placing: `edges`, the first cell begins at the box's edge; `centred`, it is centred there, around a periodic axis;
    `ends`, half cells at both.  length, origin: of the box, 1 and 0 on a plane, where only proportions count.
    latitude: measured by sin φ.
    """

    n: int
    placing: Literal["edges", "centred", "ends"]
    length: float = 1.0
    origin: float = 0.0
    periodic: bool = False
    latitude: bool = False

    @property
    def intervals(self) -> int:
        return self.n - 1 if self.placing == "ends" else self.n

    def edges(self) -> Tensor:
        """(n + 1,), float64, rising."""
        i = torch.arange(self.n + 1, dtype=torch.float64)
        if self.placing != "edges":
            i = i - 0.5
        if self.placing == "ends":
            i = i.clamp(0, self.n - 1)
        return self.origin + self.length * (i / self.intervals)

    def measured(self, left: Tensor, right: Tensor) -> Tensor:
        """|[left, right)|."""
        if not self.latitude:
            return right - left
        middle, half = torch.deg2rad((left + right) / 2), torch.deg2rad((right - left) / 2)
        return 2 * torch.cos(middle) * torch.sin(half)

    def hold(self, other: Cells) -> bool:
        """True where these cells are whole numbers of the other's."""
        if self.n == 1 or self.n == other.n:
            return True
        step, rest = divmod(other.intervals, self.intervals)
        # Cells around points: the edge of a wide one, step/2 spacings out, is one of a narrow one where step is odd.
        return rest == 0 and (other.placing == "edges" or step % 2 == 1)


def cells(grid: Grid, axis: int) -> Cells:
    """The cells of one axis of a grid."""
    n, periodic = grid.shape[axis], grid.periodic[axis]
    if grid.kind == "planar":
        ends = grid.centring == "point" and not periodic and n > 1
        return Cells(n, "ends" if ends else "edges", periodic=periodic)
    placing: Literal["edges", "centred", "ends"] = "edges"
    if grid.centring == "point" and (periodic or n > 1):
        placing = "centred" if periodic else "ends"
    return Cells(n, placing, grid.extent[axis], grid.origin[axis], periodic, latitude=axis == 0)


def overlap(to: Cells, source: Cells) -> Tensor:
    """W[p, q] = |cell p ∩ cell q| / |cell p|: (to.n, source.n), float64, each row with sum 1."""
    p, q = to.edges()[:, None], source.edges()
    shared = torch.zeros(to.n, source.n, dtype=torch.float64)
    for turn in (-1, 0, 1) if source.periodic else (0,):
        shift = turn * source.length
        left, right = torch.maximum(p[:-1], q[:-1] + shift), torch.minimum(p[1:], q[1:] + shift)
        shared += torch.where(right - left > SLIVER * source.length, source.measured(left, right), 0.0)
    return shared / shared.sum(1, keepdim=True)


def cell_fit(to: Cells, source: Cells) -> Tensor:
    """argmin over c of ‖B c − u‖² along one axis, B = overlap(source, to), cells counted by size: (to.n, source.n).

    Then B times this matrix is the orthogonal projection onto fields that are constant on the coarse cells, averaged
    over the fine ones; constants are among them: it keeps mass.
    """
    edges = source.edges()
    root = source.measured(edges[:-1], edges[1:]).sqrt()[:, None]
    basis, triangle = torch.linalg.qr(root * overlap(source, to))
    fit: Tensor = torch.linalg.solve_triangular(triangle, (root * basis).T, upper=True)
    return fit


def block_mean(u: Tensor, to: Grid) -> Tensor:
    """Plain mean over blocks of whole cells, (..., *fine) to (..., *to.shape)."""
    d, count = to.ndim, 1
    dtype, v = u.dtype, u.to(working_dtype(u))
    for axis, n in zip(range(-d, 0), to.shape, strict=True):
        s = v.shape[axis] // n
        count *= s
        if s == 1:
            continue
        blocks = v.reshape(*v.shape[:axis], n, s, *v.shape[v.ndim + axis + 1 :])
        # torch sums slowly over a short last axis: adding its strided slices takes half the time.
        v = reduce(torch.add, blocks.unbind(-1)) if axis == -1 else blocks.sum(axis)
    return (v / count).to(dtype)


def repeat_cells(u: Tensor, to: Grid) -> Tensor:
    """Each value on all fine cells of its block, (..., *coarse) to (..., *to.shape)."""
    for axis, n in zip(range(-to.ndim, 0), to.shape, strict=True):
        if n != u.shape[axis]:
            u = u.repeat_interleave(n // u.shape[axis], dim=axis)
    return u


def overlap_mean(u: Tensor, source: Grid, to: Grid) -> Tensor:
    """ū_J = Σᵢ |J ∩ i| uᵢ / |J|, any cells to any cells of one box, also of other centring."""
    dtype = working_dtype(u)
    pairs = [(cells(to, axis), cells(source, axis)) for axis in range(to.ndim)]
    matrices = [None if p == q else constant(overlap, p, q, dtype=dtype, device=u.device) for p, q in pairs]
    return along_axes(u.to(dtype), matrices).to(u.dtype)


def cell_mean(u: Tensor, source: Grid, to: Grid) -> Tensor:
    """Mean over the cells of `to`, whether or not they are whole numbers of u's."""
    return block_mean(u, to) if in_blocks(to, source) else overlap_mean(u, source, to)


def spread_cells(u: Tensor, source: Grid, to: Grid) -> Tensor:
    """Each value on all fine cells of its own, (..., *source.shape) to (..., *to.shape)."""
    return repeat_cells(u, to) if in_blocks(source, to) else overlap_mean(u, source, to)


def weighted_cell_mean(u: Tensor, weights: Tensor, source: Grid, to: Grid) -> Tensor:
    """ū_J = Σ |J ∩ i| wᵢ uᵢ / Σ |J ∩ i| wᵢ, 0 where nothing is valid; u may hold anything where w is 0, also NaN."""
    weights = weights.to(u.dtype)
    u = torch.where(weights > 0, u, 0.0)
    below = cell_mean(weights, source, to)
    return torch.where(below > 0, cell_mean(weights * u, source, to) / torch.where(below > 0, below, 1.0), 0.0)


def project_cells(u: Tensor, source: Grid, onto: Grid, weights: Tensor | None) -> Tensor:
    """The orthogonal projection onto fields constant on the cells of `onto`, in the (weighted) mean square.

    Raises GridError for weights on cells that do not nest: there the projection is no product over the axes.
    """
    if nested(onto, source):
        means = cell_mean(u, source, onto) if weights is None else weighted_cell_mean(u, weights, source, onto)
        return spread_cells(means, onto, source)
    if weights is not None:
        raise GridError(
            f"cells of {onto.shape} are not whole numbers of cells of {source.shape}: no projection with a mask",
            do="take grids that divide, or no mask",
        )
    dtype = working_dtype(u)
    pairs = [(cells(onto, axis), cells(source, axis)) for axis in range(onto.ndim)]
    down = [None if p == q else constant(cell_fit, p, q, dtype=dtype, device=u.device) for p, q in pairs]
    return overlap_mean(along_axes(u.to(dtype), down), onto, source).to(u.dtype)


def nested(to: Grid, source: Grid) -> bool:
    """True where, on every axis, the cells of `to` are whole numbers of source's."""
    return all(cells(to, axis).hold(cells(source, axis)) for axis in range(to.ndim))


def in_blocks(to: Grid, source: Grid) -> bool:
    """True where they are blocks of equal cells, on every axis of a plane."""
    if source.kind != "planar" or any(n % m for m, n in zip(to.shape, source.shape, strict=True)):
        return False
    return all(cells(source, axis).placing == "edges" for axis in range(source.ndim))
