"""Means over cells: each value stands for [n Δ, (n + 1) Δ), and what a cell holds is shared out by overlap.

Block means are the case in which the coarse cells are whole numbers of fine ones.  On a point-centred grid a cell
begins at its point, so a mean over s cells lies (s − 1)/2 fine spacings off its point: cells want `cell` centring.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from anchorbench.errors import GridError
from anchorbench.fields.grid import Grid
from anchorbench.fields.separable import along_axes, constant, working_dtype


def overlap(n_to: int, n_from: int) -> Tensor:
    """W[p, q] = |cell p ∩ cell q| / |cell p|: (n_to, n_from), float64, each row with sum 1."""
    p, q = torch.arange(n_to)[:, None], torch.arange(n_from)
    # In units of 1/(n_to n_from) of the box every edge is a whole number.
    right = torch.minimum((p + 1) * n_from, (q + 1) * n_to)
    left = torch.maximum(p * n_from, q * n_to)
    return (right - left).clamp_min(0).double() / n_from


def cell_fit(n_to: int, n_from: int, weighted_by: Grid | None) -> Tensor:
    """argmin over c of ‖B c − u‖² in the mean square along one axis, B = overlap(n_from, n_to): (n_to, n_from).

    On the latitudes of `weighted_by` the mean square is weighted by their areas.  Then B times this matrix is the
    orthogonal projection onto fields that are constant on the coarse cells; constants are among them: it keeps mass.
    """
    root = torch.ones(n_from, 1, dtype=torch.float64)
    if weighted_by is not None:
        root = weighted_by.area_weights()[:, :1].sqrt()
    basis, triangle = torch.linalg.qr(root * overlap(n_from, n_to))
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


def overlap_mean(u: Tensor, to: Grid) -> Tensor:
    """ū_J = Σᵢ |J ∩ i| uᵢ / |J|, any size to any size."""
    dtype = working_dtype(u)
    sizes = zip(to.shape, u.shape[u.ndim - to.ndim :], strict=True)
    matrices = [None if m == n else constant(overlap, m, n, dtype=dtype, device=u.device) for m, n in sizes]
    return along_axes(u.to(dtype), matrices).to(u.dtype)


def cell_mean(u: Tensor, to: Grid) -> Tensor:
    """Mean over the cells of `to`, whether or not they are whole numbers of u's."""
    return block_mean(u, to) if nested(to, u) else overlap_mean(u, to)


def weighted_cell_mean(u: Tensor, weights: Tensor, to: Grid) -> Tensor:
    """ū_J = Σ w u / Σ w over the overlaps, 0 where Σ w = 0; u may hold anything where w is 0, also NaN."""
    weights = weights.to(u.dtype)
    u = torch.where(weights > 0, u, 0.0)
    below = cell_mean(weights, to)
    return torch.where(below > 0, cell_mean(weights * u, to) / torch.where(below > 0, below, 1.0), 0.0)


def project_cells(u: Tensor, source: Grid, onto: Grid, weights: Tensor | None) -> Tensor:
    """The orthogonal projection onto fields constant on the cells of `onto`, in the (weighted) mean square.

    Raises GridError for weights on cells that do not nest: there the projection is no product over the axes.
    """
    if nested(onto, u):
        areas = cell_weights(u, source, weights)
        return repeat_cells(block_mean(u, onto) if areas is None else weighted_cell_mean(u, areas, onto), source)
    if weights is not None:
        raise GridError(
            f"cells of {onto.shape} are not whole numbers of cells of {source.shape}: no projection with a mask",
            do="take grids that divide, or no mask",
        )
    dtype = working_dtype(u)
    down: list[Tensor | None] = []
    for axis, (m, n) in enumerate(zip(onto.shape, source.shape, strict=True)):
        latitudes = source if source.kind == "latlon" and axis == 0 else None
        down.append(None if m == n else constant(cell_fit, m, n, latitudes, dtype=dtype, device=u.device))
    return overlap_mean(along_axes(u.to(dtype), down), source).to(u.dtype)


def cell_weights(u: Tensor, source: Grid, weights: Tensor | None) -> Tensor | None:
    """Quadrature times mask, None where both are 1."""
    if source.kind == "planar":
        return weights
    areas = constant(Grid.area_weights, source, dtype=u.dtype, device=u.device)
    return areas if weights is None else areas * weights


def nested(to: Grid, u: Tensor) -> bool:
    """True where u's cells, on every axis, divide into the cells of `to`."""
    return all(n % m == 0 for m, n in zip(to.shape, u.shape[u.ndim - to.ndim :], strict=True))
