"""Carry fields to whatever grid an output is wanted on."""

from __future__ import annotations

from torch import Tensor

from anchorbench.fields.grid import Grid
from anchorbench.fields.resample import prolong, restrict


def on_grid(u: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
    """Fields carried from their grid to the one the output is wanted on; untouched where it is the same.

    Waves on a periodic box; otherwise bilinear to a finer grid, conservative to a coarser one.
    """
    if grid == out_grid:
        return u
    waves = all(grid.periodic) and grid.kind == "planar"
    if out_grid.n_points > grid.n_points:
        return prolong(u, out_grid, how="spectral" if waves else "bilinear")
    return restrict(u, out_grid, how="spectral" if waves else "conservative")
