"""Values at points: the shared ones (`stride`), or read between them (`bilinear`, `bicubic`).

None of these takes the fine waves out first: what the coarse grid cannot carry comes back as a wave that it can.
"""

from __future__ import annotations

from types import EllipsisType
from typing import Literal

import torch
from torch import Tensor

from anchorbench.errors import GridError
from anchorbench.fields.grid import Grid
from anchorbench.fields.separable import along_axes, constant, working_dtype

Kernel = Literal["bilinear", "bicubic"]


def shared_points(fine: Grid, coarse: Grid) -> tuple[EllipsisType | slice, ...]:
    """The points that two grids of one box share, as an index into fields on the fine one.

    Point centring: every s-th from the first, between two ends also the last.  Cells: their centres meet only where s
    is odd, from (s − 1)/2.  Raises GridError where s is no whole number, or even on cells.
    """
    index: list[EllipsisType | slice] = [...]
    for n, m, steps, wanted in zip(fine.shape, coarse.shape, fine.intervals, coarse.intervals, strict=True):
        step, rest = divmod(steps, wanted)
        if rest or (m == 1 < n and steps < n):  # one point between two ends is neither
            raise GridError(f"'stride' needs a whole step: {m} points do not divide {n}")
        if fine.centring == "cell" and step % 2 == 0:
            raise GridError(
                f"cells of {n} and {m} an axis share no centres: the step {step} is even",
                do="take how='block_mean', or an odd step",
            )
        index.append(slice(step // 2 if fine.centring == "cell" else 0, None, step))
    return tuple(index)


def keep_shared(u: Tensor, fine: Grid, coarse: Grid) -> Tensor:
    """P u: u at the shared points, 0 elsewhere."""
    mask = torch.zeros(fine.shape, dtype=torch.bool, device=u.device)
    mask[shared_points(fine, coarse)] = True
    return torch.where(mask, u, 0.0)


def hold(u: Tensor, source: Grid, to: Grid) -> Tensor:
    """Each value up to the next shared point, around it on cells: (..., *source.shape) to (..., *to.shape)."""
    for axis, steps, wanted in zip(range(-to.ndim, 0), to.intervals, source.intervals, strict=True):
        if steps != wanted:
            before = torch.arange(to.shape[axis], device=u.device) // (steps // wanted)
            u = u.index_select(axis, before)
    return u


def interpolation(n_to: int, n_from: int, kernel: Kernel, cell: bool, periodic: bool) -> Tensor:
    """W[p, :] reads a field of n_from points at point p of n_to: (n_to, n_from), float64, each row with sum 1.

    bilinear: 1 − |t|.  bicubic: the convolution kernel with a = −½, the only one of its family that is exact for
    quadratics (Keys 1981, eq. 15).  Beyond the ends: around on a periodic axis, else the end point's value.
    """
    half = int(cell)
    # Points with both ends among them are as many as the spacings between them, and one.
    ends = int(not cell and not periodic and n_to > 1)
    steps_to, steps_from = n_to - ends, n_from - ends
    # Position in source points, (p + ½) n_from / n_to − ½ on cells: whole part and rest without rounding.
    numerator = (2 * torch.arange(n_to) + half) * steps_from - half * steps_to
    base = torch.div(numerator, 2 * steps_to, rounding_mode="floor")
    t = (numerator - 2 * steps_to * base).double() / (2 * steps_to)
    if kernel == "bilinear":
        taps = {0: 1 - t, 1: t}
    else:
        taps = {
            -1: -0.5 * t + t**2 - 0.5 * t**3,
            0: 1 - 2.5 * t**2 + 1.5 * t**3,
            1: 0.5 * t + 2 * t**2 - 1.5 * t**3,
            2: -0.5 * t**2 + 0.5 * t**3,
        }
    matrix = torch.zeros(n_to, n_from, dtype=torch.float64)
    for shift, weight in taps.items():
        index = (base + shift) % n_from if periodic else (base + shift).clamp(0, n_from - 1)
        matrix.scatter_add_(1, index[:, None], weight[:, None])
    return matrix


def interpolate(u: Tensor, source: Grid, to: Grid, kernel: Kernel) -> Tensor:
    """u read at the points of `to`, axis by axis, up or down: (..., *source.shape) to (..., *to.shape)."""
    dtype, cell = working_dtype(u), to.centring == "cell"
    matrices = [
        None if m == n else constant(interpolation, m, n, kernel, cell, periodic, dtype=dtype, device=u.device)
        for m, n, periodic in zip(to.shape, source.shape, to.periodic, strict=True)
    ]
    return along_axes(u.to(dtype), matrices).to(u.dtype)
