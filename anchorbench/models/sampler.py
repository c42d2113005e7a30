"""The sampler without parameters: what a query sees of the 2^d feature points about it (Luo et al. 2024, section 3.4).

    q in the cell of points p_t, t = 1 ... 2^d:   rel_t = 2 (q − p_t) / h,   w_t = Π_i (1 − |q − p_t|_i / h_i)

w_t is the area of the rectangle between q and the corner opposite to p_t, over the cell's: Σ w_t = 1, and at a point
all of it is that point's.  Beyond an outermost point without a neighbour both corners are that point, a half each.
Queries are the points of a grid: row by row (`rows`) the result is the same, in whatever order they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from anchorbench.fields.grid import Grid
from anchorbench.fields.separable import constant

#: Share of a spacing below which two places are one.
ON_A_POINT = 1e-9


class Corner(NamedTuple):
    """values (B, C, R, ...), rel (d, R, ...) and weight (R, ...) at R rows of the queries."""

    values: Tensor
    rel: Tensor
    weight: Tensor


def corners(features: Tensor, source: Grid, to: Grid, rows: Tensor) -> Iterator[Corner]:
    """The corners about the queries, each axis's lower one first, the last axis's fastest.

    features: (B, C, *source.shape).  to: whose points are the queries.  rows: (R,), which of its first axis.
    """
    tables = [
        constant(neighbours, to, source, axis, dtype=features.dtype, device=features.device) for axis in range(to.ndim)
    ]
    tables[0] = tables[0][:, rows]
    for sides in product(range(2), repeat=to.ndim):
        values, rel, weight = features, [], features.new_ones(())
        shape = [table.shape[1] for table in tables]
        for axis, (side, table) in enumerate(zip(sides, tables, strict=True)):
            index, offset, share = table[:, :, side]
            values = values.index_select(axis + 2, index.long())
            view = [-1 if i == axis else 1 for i in range(to.ndim)]
            rel.append(offset.view(view).expand(shape))
            weight = weight * share.view(view)
        yield Corner(values, torch.stack(rel), weight)


def sampled(features: Tensor, source: Grid, to: Grid, rows: Tensor) -> Tensor:
    """What the decoder is given: rel_t of all corners, then w_t f_t (not summed), then the queries' spacing 2 h'/h.

    features: (B, C, *source.shape).  Returns (B, d 2^d + 2^d C + d, R, ...): 14 channels on a plane with C = 1.
    """
    found = list(corners(features, source, to, rows))
    batch, shape = len(features), found[0].values.shape[2:]
    rel = torch.cat([corner.rel for corner in found])
    cell = cell_size(source, to, like=features).view(-1, *[1] * to.ndim)
    return torch.cat(
        [
            rel.expand(batch, *rel.shape),
            *(corner.weight * corner.values for corner in found),
            cell.expand(batch, -1, *shape),
        ],
        dim=1,
    )


def sampled_channels(channels: int, ndim: int) -> int:
    """How many `sampled` gives for features of so many channels."""
    return (1 << ndim) * (channels + ndim) + ndim


def cell_size(source: Grid, to: Grid, *, like: Tensor) -> Tensor:
    """The queries' spacing in units of half the features' one: (d,)."""
    pairs = zip(to.spacing, source.spacing, strict=True)
    return torch.tensor([2 * fine / h for fine, h in pairs], dtype=like.dtype, device=like.device)


def neighbours(to: Grid, source: Grid, axis: int) -> Tensor:
    """Index, rel and weight of the two neighbours along one axis: (3, to.shape[axis], 2), float64."""
    n, start = source.shape[axis], float(source.coordinates(axis)[0])
    at = (to.coordinates(axis) - start) / source.spacing[axis]
    # A query on a point is on it, whatever the coordinates were rounded to.
    at = torch.where((at - at.round()).abs() < ON_A_POINT, at.round(), at)
    index = torch.stack([at.floor(), at.floor() + 1], dim=1)
    weight = 1 - (at[:, None] - index).abs()
    if source.periodic[axis]:
        return torch.stack([index % n, 2 * (at[:, None] - index), weight])
    index = index.clamp(0, n - 1)
    alone = (index[:, :1] == index[:, 1:]).expand_as(weight)
    return torch.stack([index, 2 * (at[:, None] - index), weight.masked_fill(alone, 0.5)])


def query_rows(to: Grid, batch: int, query_points: int | None) -> int:
    """How many rows of the queries are worked on at once."""
    rows, points = to.shape[0], batch * to.n_points
    if query_points is None or points <= query_points:
        return rows
    return max(1, rows * query_points // points)
