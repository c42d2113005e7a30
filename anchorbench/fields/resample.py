"""Carry fields between the grids of one box: `restrict` to a coarser one, `prolong` to a finer one, and P of both.

| how | keeps exactly | P = projection onto |
|---|---|---|
| spectral | every wave that the coarse grid can carry | waves, kᵢ < Nᵢ/2; on the sphere harmonics, l < N/2 |
| block_mean | the mean of each coarse cell; masks, areas | fields constant on the coarse cells |
| conservative | the integral, any size to any size | the same, by least squares where cells do not nest |
| stride | the values at shared points; aliases | those values |
| bilinear, bicubic | constants; aliases | none: they are no projections |
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from anchorbench.errors import GridError, unknown
from anchorbench.fields.grid import Grid
from anchorbench.fields.resample_cells import (
    cell_mean,
    nested,
    overlap_mean,
    project_cells,
    spread_cells,
    weighted_cell_mean,
)
from anchorbench.fields.resample_fourier import check_periodic, project_spectral, resample_spectral
from anchorbench.fields.resample_points import hold, interpolate, keep_shared, shared_points
from anchorbench.fields.separable import own_grid, working_dtype

Restriction = Literal["spectral", "block_mean", "conservative", "stride", "bilinear", "bicubic"]


def restrict(u: Tensor, to: Grid, *, how: Restriction = "spectral", weights: Tensor | None = None) -> Tensor:
    """Carry fields to a coarser grid of the same box.

    `spectral` keeps every wave that the coarse grid can carry and drops the rest: û'(k) = û(k), |kᵢ| < Nᵢ/2, so also
    the Nyquist wave of an even grid, which has no phase (at equal sizes too).  `block_mean` is exact in mass:
    ū = Σ w u / Σ w over whole cells, 0 where Σ w = 0.  `conservative` is the same by overlap areas, any size to any
    size.  `stride` takes the shared points and aliases: it is here to be measured.  `bilinear` and `bicubic` read
    between the points, without a low-pass, and alias too.  On latlon grids cells count by their area;
    around points, as at the poles, they are whole cells of each other where the ratio of the spacings is odd; waves are
    spherical harmonics, and `spectral` keeps the degrees l < N/2, N the rows of the coarser grid.

    u: (..., *grid), any floating dtype; its last axes are the points of the fine grid.  weights: valid-area share
    (..., *grid), broadcast against u; where it is 0, u may be anything.  Returns (..., *to.shape), same dtype and unit.
    Raises GridError if `to` is finer than u on an axis; for `block_mean` and `stride`, does not divide it; for
    `spectral`, is neither periodic nor the whole sphere; for weights with a restriction that has no cells.
    """
    source = own_grid(u, to)
    _check(u, source, to, how, verb="restrict")
    mask = None if weights is None else _on_grid(weights, source, how)
    if how == "spectral":
        return resample_spectral(u, source, to)
    if how == "stride":
        at = shared_points(source, to)
        return u[at] if mask is None else torch.where(mask[at] > 0, u[at], 0.0)
    if how == "bilinear" or how == "bicubic":
        return interpolate(u, source, to, how)
    return cell_mean(u, source, to) if mask is None else weighted_cell_mean(u, mask, source, to)


def restrict_weights(weights: Tensor, to: Grid, *, how: Restriction) -> Tensor:
    """The valid-area share of the coarse cells: W_J = Σ a w / Σ a, a the areas of the overlaps; `stride`: w there.

    With these, masked means compose: restricting in two steps is restricting in one.

    weights: (..., *grid), shares in [0, 1], or bool.  Returns (..., *to.shape), floating point.
    Raises GridError as `restrict`, and for a restriction that has no cells.
    """
    weights = weights if weights.is_floating_point() else weights.to(torch.get_default_dtype())
    source = own_grid(weights, to)
    _check(weights, source, to, how, verb="restrict")
    weights = _on_grid(weights, source, how)
    if how == "stride":
        return weights[shared_points(source, to)]
    return cell_mean(weights, source, to)


def prolong(u: Tensor, to: Grid, *, how: Restriction = "spectral") -> Tensor:
    """Carry fields to a finer grid of the same box, adding nothing that `restrict` would not take away.

    `spectral` pads with zeros: û'(k) = û(k), |kᵢ| < Nᵢ/2, the coarse Nyquist wave dropped, so that
    (I − P) prolong = 0.  `block_mean` repeats; `conservative` averages the piecewise constant field over the fine
    cells; `bilinear` and `bicubic` read between the points, around the ends of a periodic axis.  `stride` repeats each
    value up to the next shared point (around it, on cells): restrict of it is u, but (I − P) of it is not 0.

    u: (..., *grid).  Returns (..., *to.shape), same dtype and unit.
    Raises GridError if `to` is coarser than u on an axis; for `block_mean` and `stride`, is no multiple of it; for
    `spectral`, is neither periodic nor the whole sphere.
    """
    source = own_grid(u, to)
    _check(u, to, source, how, verb="prolong")
    if how == "spectral":
        return resample_spectral(u, source, to)
    if how == "stride":
        return hold(u, source, to)
    if how == "block_mean":
        return spread_cells(u, source, to)
    if how == "bilinear" or how == "bicubic":
        return interpolate(u, source, to, how)
    return overlap_mean(u, source, to)


def project(u: Tensor, onto: Grid, *, how: Restriction = "spectral", weights: Tensor | None = None) -> Tensor:
    """P u on u's own grid: the part of u that the grid `onto` can hold; P² = P and ⟨P u, (I − P) v⟩ = 0.

    The inner product is the mean of w u v, w the areas times `weights`.  `spectral`: the waves |kᵢ| < Nᵢ/2; on the
    sphere the degrees l < N/2, and w are `quadrature_weights`, not areas.
    `block_mean`: the weighted means of the cells of `onto`, repeated.  `conservative`: the least-squares fit by fields
    constant on the cells of `onto`, which keeps mass; where cells nest it is `block_mean`.  `stride`: u at the shared
    points, 0 elsewhere.  An axis on which `onto` is finer than u stays as it is; where they are equal, `spectral`
    drops the Nyquist wave and the others change nothing.

    u: (..., *grid).  weights: (..., *grid), broadcast.  Returns u's shape, dtype and unit.
    Raises GridError for `bilinear` and `bicubic`, which are no projections, and as `restrict`.
    """
    source = own_grid(u, onto)
    coarse = onto.with_shape(tuple(map(min, onto.shape, source.shape)))
    _check(u, source, coarse, how, verb="restrict")
    mask = None if weights is None else _on_grid(weights, source, how)
    if how == "bilinear" or how == "bicubic":
        raise GridError(
            f"'{how}' is no projection: what it restricts, it does not get back",
            do="take how='spectral' on a periodic box, else how='conservative'",
        )
    if how == "spectral":
        return project_spectral(u, source, onto)
    if coarse.shape == source.shape:
        return u
    if how == "stride":
        return keep_shared(u, source, coarse)
    return project_cells(u, source, coarse, mask)


def _check(u: Tensor, fine: Grid, coarse: Grid, how: Restriction, *, verb: str) -> None:
    """Raises GridError where u, the two grids and the restriction do not go together."""
    working_dtype(u)
    if how not in get_args(Restriction):
        raise GridError(unknown("restriction", how, get_args(Restriction)))
    pairs = list(zip(coarse.shape, fine.shape, strict=True))
    if any(m > n for m, n in pairs):
        raise GridError(
            f"cannot {verb}: of {coarse.shape} and {fine.shape}, the first is meant to be the coarser on every axis",
            do="restrict goes to a coarser grid, prolong to a finer one; axes that differ both ways take one of each",
        )
    if how == "block_mean" and not nested(coarse, fine):
        raise GridError(
            f"'block_mean' needs whole blocks: {coarse.shape} does not divide {fine.shape}",
            do="take how='conservative': it shares cells out by overlap",
        )
    if how == "stride":
        shared_points(fine, coarse)
    if how == "spectral":
        check_periodic(fine)


def _on_grid(weights: Tensor, grid: Grid, how: Restriction) -> Tensor:
    """The weights on every point of the grid.  Raises GridError where they do not fit, or mean nothing."""
    if how not in ("block_mean", "conservative", "stride"):
        raise GridError(
            f"'{how}' takes no weights: they belong to cells",
            do="take how='block_mean' or how='conservative' for fields with a mask",
        )
    points = weights.shape[max(weights.ndim - grid.ndim, 0) :]
    if any(n not in (1, m) for n, m in zip(reversed(points), reversed(grid.shape), strict=False)):
        raise GridError(f"weights of shape {tuple(weights.shape)} do not fit a grid {grid.shape}")
    leading = weights.shape[: max(weights.ndim - grid.ndim, 0)]
    return weights.expand(*leading, *grid.shape)
