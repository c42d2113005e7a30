"""Inner products and mean squares over a grid: quadrature times mask, in float64, as sums that merge.

A mean of roots is not the root of a mean: an RMSE averaged over batches hangs on the batch size.  Add the sums of
`weighted_sums`, over batches, ranks or machines, divide once, and take the root last.
"""

from __future__ import annotations

import torch
from torch import Tensor

from anchorbench.errors import GridError
from anchorbench.fields.grid import Grid
from anchorbench.fields.separable import constant


def inner(a: Tensor, b: Tensor, *, grid: Grid | None = None, weights: Tensor | None = None) -> Tensor:
    """⟨a, b⟩ = Σ w a b / Σ w over the grid's axes, w = area weights × `weights`; 0 where Σ w = 0.

    a, b: (..., *grid.shape), broadcast.  grid: None sums over every axis, with areas 1.  weights: valid-area shares,
    broadcast; where they are 0, a and b may hold anything, also NaN.  Returns (...) in float64, or a scalar.
    Raises GridError where a field is not on the grid.
    """
    total, weight = _sums(a, b, grid, weights)
    return torch.where(weight > 0, total / torch.where(weight > 0, weight, 1.0), 0.0)


def mean_square(e: Tensor, *, grid: Grid | None = None, weights: Tensor | None = None) -> Tensor:
    """‖e‖² = Σ w e² / Σ w, as `inner(e, e)`: (...) in float64, e's unit squared."""
    return inner(e, e, grid=grid, weights=weights)


def weighted_sums(e: Tensor, *, grid: Grid | None = None, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(Σ w e², Σ w) over the grid's axes: both (...) in float64.  Sums of either over parts are those of the whole."""
    return _sums(e, e, grid, weights)


def _sums(a: Tensor, b: Tensor, grid: Grid | None, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    if weights is not None:
        valid = weights > 0
        a, b = torch.where(valid, a, 0.0), torch.where(valid, b, 0.0)
    product = a.double() * b.double()
    weight = torch.ones((), dtype=torch.float64, device=a.device) if weights is None else weights.double()
    if grid is not None:
        if product.shape[max(product.ndim - grid.ndim, 0) :] != grid.shape:
            raise GridError(f"a field of shape {tuple(product.shape)} is not on a grid {grid.shape}")
        if not grid.is_uniform:
            weight = weight * constant(Grid.area_weights, grid, dtype=torch.float64, device=a.device)
    axes = tuple(range(-(product.ndim if grid is None else grid.ndim), 0))
    return (weight * product).sum(axes), weight.expand_as(product).sum(axes)
