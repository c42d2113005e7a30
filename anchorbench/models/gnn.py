"""Message passing on the grid as a graph, or a kernel integral; encode, process, decode (Sanchez-Gonzalez et al. 2020).

    m(x) = Σ_y w(x, y) σ(A v(x) + B v(y) + C e(x, y) + a),   v ← v + D σ(E v + F m + b) + d

y are the points within a radius of x, and x itself; e = ((y − x)/r, |y − x|/r) is the displacement in physical units, r
the radius on the train rung.  On an uneven grid lengths count in the train rung's spacing of each axis.

`quadrature`: w ∝ (1 − |y − x|²/r²) · area of y's cell, with Σ_y w = 1.  With a radius in physical units the sum is the
graph kernel operator of Li et al. (2020, eq. 5) and converges in the grid's spacing at order 2, as its window ends
without a jump.  `mean`: w = 1/number of neighbours.  Nobody is behind a wall: the
weights of those on this side sum to 1.

The matrix after σ that a message usually has is F's: it goes through a sum.  So no edge holds a matrix product, and
the graph needs no list of edges: a neighbour is a shift of the whole field.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from anchorbench.fields.carry import on_grid
from anchorbench.fields.grid import Grid
from anchorbench.models.fno import ACTIVATIONS
from anchorbench.models.local import pad
from anchorbench.models.options import GnnOptions

#: Neighbours whose messages are kept for the backward pass at a time; where there are more they are worked out again.
KEPT = 16


class Neighbours(NamedTuple):
    """The neighbours of every point.

    offsets: in points, K of them.  edges: (K, d + 1).  windows: K weights, each times the neighbour's area.
    reaches: how far the offsets go on each axis.  areas: (*grid + 2 reaches, 1), 0 where nobody is, or None where all
    are alike.  total: what the weights of a point sum to, (*grid, 1) or (1,).
    """

    offsets: tuple[tuple[int, ...], ...]
    edges: Tensor
    windows: tuple[float, ...]
    reaches: tuple[int, ...]
    areas: Tensor | None
    total: Tensor


@lru_cache(maxsize=32)
@torch.inference_mode(False)
@torch.no_grad()
def neighbours(
    grid: Grid, spacing: tuple[float, ...], options: GnnOptions, dtype: torch.dtype, device: torch.device
) -> Neighbours:
    """All within the radius that `options` says.  spacing: of the train rung."""
    ratios = tuple(h / h0 for h, h0 in zip(grid.spacing, spacing, strict=True))
    steps = ratios if options.units == "physical" else (1.0,) * grid.ndim
    quadrature = options.aggregate == "quadrature"
    offsets, edges, windows = [], [], []
    for offset in product(*(range(-r, r + 1) for r in (math.floor(options.radius / step + 1e-9) for step in steps))):
        window = 1 - sum((j * step) ** 2 for j, step in zip(offset, steps, strict=True)) / options.radius**2
        if window > (1e-9 if quadrature else -1e-9):
            lengths = [j * ratio / options.radius for j, ratio in zip(offset, ratios, strict=True)]
            offsets.append(offset)
            edges.append([*lengths, math.hypot(*lengths)])
            windows.append(window if quadrature else 1.0)
    reaches = tuple(max(offset[axis] for offset in offsets) for axis in range(grid.ndim))
    areas, total = None, torch.tensor([sum(windows)], dtype=torch.float64)
    if not all(grid.periodic) or (quadrature and not grid.is_uniform):
        areas = grid.area_weights() if quadrature else torch.ones(grid.shape, dtype=torch.float64)
        for axis, (n, reach, periodic) in enumerate(zip(grid.shape, reaches, grid.periodic, strict=True)):
            areas = pad(areas, reach, axis=axis, periodic=periodic)
            if not periodic:  # nobody is behind a wall
                areas.narrow(axis, 0, reach).zero_()
                areas.narrow(axis, reach + n, reach).zero_()
        areas = areas[..., None]
        total = torch.zeros(*grid.shape, 1, dtype=torch.float64)
        for offset, window in zip(offsets, windows, strict=True):
            total += window * shifted(areas, offset, reaches, grid.shape)
        areas = areas.to(device, dtype)
    return Neighbours(
        tuple(offsets),
        torch.tensor(edges, dtype=torch.float64).to(device, dtype),
        tuple(windows),
        reaches,
        areas,
        total.to(device, dtype),
    )


def shifted(padded: Tensor, offset: Sequence[int], reaches: Sequence[int], shape: Sequence[int]) -> Tensor:
    """u(x + offset) of a field padded by `reaches`, whose first axes are the grid's."""
    at = tuple(slice(r + j, r + j + n) for j, r, n in zip(offset, reaches, shape, strict=True))
    return padded[at]


class Round(nn.Module):
    """One round of messages: (B, *grid, C) -> the same."""

    def __init__(self, options: GnnOptions, ndim: int) -> None:
        super().__init__()
        width = options.width
        self.receive, self.send = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.edge = nn.Linear(ndim + 1, width, bias=False)
        self.own, self.heard = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.update = nn.Linear(width, width)
        self.activation = ACTIVATIONS[options.activation]

    def forward(self, v: Tensor, grid: Grid, near: Neighbours) -> Tensor:
        out: Tensor = v + self.update(self.activation(self.own(v) + self.heard(self.messages(v, grid, near))))
        return out

    def messages(self, v: Tensor, grid: Grid, near: Neighbours) -> Tensor:
        """m of every point."""
        own, padded, edges = self.receive(v), self.send(v), self.edge(near.edges)
        for axis, (reach, periodic) in enumerate(zip(near.reaches, grid.periodic, strict=True)):
            padded = pad(padded, reach, axis=axis + 1, periodic=periodic)
        padded = padded.movedim(0, -2)  # the grid's axes first

        def some(own: Tensor, padded: Tensor, edges: Tensor, first: int) -> Tensor:
            m = torch.zeros_like(own)
            for i in range(first, min(first + KEPT, len(near.offsets))):
                offset, weight = near.offsets[i], near.windows[i]
                sent = shifted(padded, offset, near.reaches, grid.shape).movedim(-2, 0)
                message = self.activation(own + sent + edges[i])
                if near.areas is not None:
                    message = message * shifted(near.areas, offset, near.reaches, grid.shape)
                m = m.add(message, alpha=weight)
            return m

        again = len(near.offsets) > KEPT and torch.is_grad_enabled()
        m = torch.zeros_like(own)
        for first in range(0, len(near.offsets), KEPT):
            m = m + (
                checkpoint(some, own, padded, edges, first, use_reentrant=False, preserve_rng_state=False)
                if again
                else some(own, padded, edges, first)
            )
        return m / near.total


class GNN(nn.Module):
    """Fields to fields on any grid of the box, 1 to 3 dimensions.

    grid: of the train rung, whose spacing measures the radius.
    inputs: (B, C_in, *grid.shape) -> (B, C_out, *out_grid.shape).  Where `out_grid` is another, the inputs are carried
    to it first.  On a grid α times finer a `physical` radius holds α^d times as many neighbours.
    """

    def __init__(self, in_channels: int, out_channels: int, grid: Grid, options: GnnOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or GnnOptions()
        self.spacing = grid.spacing
        width = options.width
        self.encode_in, self.encode_out = nn.Linear(in_channels, width), nn.Linear(width, width)
        self.rounds = nn.ModuleList(Round(options, grid.ndim) for _ in range(options.layers))
        self.decode_in, self.decode_out = nn.Linear(width, width), nn.Linear(width, out_channels)
        self.activation = ACTIVATIONS[options.activation]

    def forward(self, inputs: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
        v = on_grid(inputs, grid, out_grid).movedim(1, -1)
        v = self.encode_out(self.activation(self.encode_in(v)))
        near = neighbours(out_grid, self.spacing, self.options, v.dtype, v.device)
        for talk in self.rounds:
            v = talk(v, out_grid, near)
        out: Tensor = self.decode_out(self.activation(self.decode_in(v)))
        return out.movedim(-1, 1)

    @property
    def facts(self) -> dict[str, str]:
        """What the card says beyond what it measures."""
        o = self.options
        where = "physical units: spacings of the train rung" if o.units == "physical" else "grid points: it shrinks"
        return {
            "embedding": "displacement of each neighbour, in physical units",
            "padding": "periodic axes wrap; a wall has no neighbours behind it",
            "kernel": f"{o.layers} rounds of messages within a radius of {o.radius:g}, in {where}; {o.aggregate}",
        }
