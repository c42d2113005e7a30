"""Patches of a super-resolution's batch: a box of the input's cells, and the points of the target that lie in it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor

from anchorbench.data.samples import Batch
from anchorbench.fields import Grid


def patch_of(batch: Batch, points: int, rng: torch.Generator) -> Batch:
    """A random box of `points` input spacings an axis, one for the whole batch; the batch itself where it is no larger.

    The box is the least of that size whose edges are edges of the target's cells too (around points: points of both),
    so each target point of the patch is one of the field's.  Around points the box has both its ends.  Its sides are
    not periodic, as the patch does not know what is beyond.
    """
    factors = _factors(batch.grid, batch.out_grid)
    most = _spans(batch.grid, factors, points)
    spans = [_placed(span, factor.denominator, rng) for span, factor in zip(most, factors, strict=True)]
    if all(span is None for span in spans):
        return batch
    own = [Fraction(1)] * len(factors)
    inner, outer = _cut(batch.grid, spans, own), _cut(batch.out_grid, spans, factors)
    given, asked = _indices(batch.grid, inner, spans, own), _indices(batch.out_grid, outer, spans, factors)
    return replace(
        batch,
        inputs=_taken(batch.inputs, given),
        targets=_taken(batch.targets, asked),
        grid=inner,
        out_grid=outer,
        mask=None if batch.mask is None else _taken(batch.mask, asked),
        input_mask=None if batch.input_mask is None else _taken(batch.input_mask, given),
        static=None if batch.static is None else _taken(batch.static, given),
    )


def patch_grid(coarse: Grid, fine: Grid, points: int) -> Grid:
    """The targets' grid of a patch, wherever it lies: of the inputs' grid `coarse` and the targets' own, `fine`."""
    factors = _factors(coarse, fine)
    firsts = [None if span is None else (0, span[1]) for span in _spans(coarse, factors, points)]
    return _cut(fine, firsts, factors)


Span = tuple[int, int] | None
"""First input spacing of the box and how many; None: the whole axis."""


def _factors(coarse: Grid, fine: Grid) -> list[Fraction]:
    return [Fraction(n, m) for n, m in zip(fine.intervals, coarse.intervals, strict=True)]


def _spans(grid: Grid, factors: list[Fraction], points: int) -> list[Span]:
    """Per axis the last first spacing that the box may have and its length; None where it is no smaller than the axis.

    A box of whole target cells is a multiple of so many input cells as the factor's denominator, and so is its place.
    """
    found: list[Span] = []
    for steps, factor in zip(grid.intervals, factors, strict=True):
        unit = factor.denominator
        length = -(-points // unit) * unit
        found.append(None if length >= steps else ((steps - length) // unit * unit, length))
    return found


def _placed(span: Span, unit: int, rng: torch.Generator) -> Span:
    return None if span is None else (unit * int(torch.randint(span[0] // unit + 1, (1,), generator=rng)), span[1])


def _cut(grid: Grid, spans: list[Span], factors: list[Fraction]) -> Grid:
    shape, extent, origin, periodic = (list(v) for v in (grid.shape, grid.extent, grid.origin, grid.periodic))
    for axis, (span, factor) in enumerate(zip(spans, factors, strict=True)):
        if span is not None:
            first, length = (int(n * factor) for n in span)
            shape[axis] = length + (grid.centring == "point")
            extent[axis], origin[axis] = length * grid.spacing[axis], grid.origin[axis] + first * grid.spacing[axis]
            periodic[axis] = False
    return replace(
        grid,
        shape=tuple(int(n) for n in shape),
        extent=tuple(float(x) for x in extent),
        origin=tuple(float(x) for x in origin),
        periodic=tuple(bool(p) for p in periodic),
    )


def _indices(grid: Grid, cut: Grid, spans: list[Span], factors: list[Fraction]) -> list[Tensor]:
    """Per axis the points of the patch; the end of a box that reaches a periodic edge is the first point."""
    found = []
    for axis, (span, factor) in enumerate(zip(spans, factors, strict=True)):
        first = 0 if span is None else int(span[0] * factor)
        found.append((torch.arange(cut.shape[axis]) + first) % grid.shape[axis])
    return found


def _taken(u: Tensor, indices: list[Tensor]) -> Tensor:
    for axis, index in enumerate(indices, start=2):
        u = u.index_select(axis, index.to(u.device))
    return u
