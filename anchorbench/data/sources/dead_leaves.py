"""photographs, generated: dead leaves, disks that cover each other (Lee, Mumford and Huang, Int. J. Comput. Vision 41
(2001) 35).

    p(r) ∝ r^-3,  r_least ≤ r ≤ r_most,   centres and colours uniform,   what falls first lies on top

With this law the picture looks alike at every scale between the two radii, with edges of every length: the part of a
photograph's statistics that comes from things in front of each other.  It is drawn on `oversample` points a cell and
the finest rung takes means, as the coarser ones do.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field

from anchorbench.config import Frozen
from anchorbench.data.sources import Ask, Loaded, SplitFields
from anchorbench.data.sources.photographs import COLOURS
from anchorbench.data.splits import NUMBER_OF_SPLIT, OfEverySplit, Split
from anchorbench.errors import ConfigError
from anchorbench.fields import Grid, restrict

#: Disks are drawn until this share is covered; one colour lies behind them all.
COVERED = 0.99


class Options(Frozen):
    """Parameters of the pictures; all are in the ladder's digest."""

    least: float = Field(0.02, gt=0, lt=1, description="smallest radius, in sides of the box")
    greatest: float = Field(0.4, gt=0, le=1, description="largest radius, in sides of the box")
    oversample: int = Field(2, ge=1, le=8, description="points drawn for each cell of the finest rung, per axis")
    pictures: OfEverySplit
    seed: int = Field(0, ge=0)

    @property
    def most(self) -> dict[Split, int]:
        """Samples by split, for the size on disk."""
        return self.pictures


def check(options: Options, *, finest: Grid) -> None:
    """Raises ConfigError where the box is no square of cells, or the radii do not rise."""
    if finest.ndim != 2 or len(set(finest.shape)) != 1 or finest.centring != "cell":
        raise ConfigError(f"dead leaves are drawn on squares of cells, not on {finest.centring}s {finest.shape}")
    if options.least >= options.greatest:
        raise ConfigError(f"radii from {options.least:g} to {options.greatest:g}: the first is the smaller")


def load(ask: Ask) -> Loaded:
    """Colours from 0 to 1, (picture, 1, y, x); each picture is a cluster of its own."""
    options, splits = ask.options, {}
    for split, n in options.pictures.items():
        drawn = np.stack(
            [leaves(ask.finest, options, seed=(options.seed, NUMBER_OF_SPLIT[split], i)) for i in range(n)]
        )
        splits[split] = SplitFields.independent({name: drawn[:, i : i + 1] for i, name in enumerate(COLOURS)})
    return Loaded(splits, attrs={"generator": options.model_dump_json(), "split_by": "picture, each of its own seed"})


def leaves(finest: Grid, options: Options, *, seed: tuple[int, ...]) -> np.ndarray:
    """One picture as means over the cells of the finest rung: (3, *finest.shape) float32."""
    rng, n = np.random.default_rng(seed), finest.rung * options.oversample
    out, free = np.empty((3, n, n), np.float32), np.ones((n, n), bool)
    out[:] = rng.random((3, 1, 1))
    at, left = (np.arange(n) + 0.5) / n, n * n
    while left > (1 - COVERED) * n * n:
        share, y, x, *colour = rng.random(6)
        r = radius(share, options.least, options.greatest)
        # Also those whose centre is outside, so that the border is like the middle.
        y, x = (c * (1 + 2 * options.greatest) - options.greatest for c in (y, x))
        rows = slice(*np.searchsorted(at, (y - r, y + r)))
        columns = slice(*np.searchsorted(at, (x - r, x + r)))
        new = free[rows, columns] & ((at[rows, None] - y) ** 2 + (at[columns] - x) ** 2 < r * r)
        out[:, rows, columns][:, new] = np.array(colour, np.float32)[:, None]
        free[rows, columns] &= ~new
        left -= int(new.sum())
    return np.asarray(restrict(torch.from_numpy(out), finest, how="block_mean").numpy())


def radius(share: float, least: float, greatest: float) -> float:
    """The radius below which `share` of all lie: 1 − F ∝ r^-2 between the ends."""
    return float((least**-2 - share * (least**-2 - greatest**-2)) ** -0.5)
