"""solids, generated: what share of a cell is inside a random solid, in three dimensions.

    o(x) = 1 inside, 0 outside;   solid = E₁ ∪ B₁ \\ E₂ ∪ B₂ ...,   E ellipsoids, B boxes, turned at random

Parts are added, and every third one is carved out of what is there, so that there are edges, corners and hollows.  The
field has a jump at every surface: its spectrum falls slowly and has no end.  Inside is asked at `oversample` points a
cell and axis, and the finest rung takes means, as the coarser ones do.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field

from anchorbench.config import Frozen
from anchorbench.data.sources import Ask, Loaded, SplitFields
from anchorbench.data.splits import NUMBER_OF_SPLIT, OfEverySplit, Split
from anchorbench.errors import ConfigError
from anchorbench.fields import Grid, restrict


class Options(Frozen):
    """Parameters of the solids; all are in the ladder's digest."""

    parts: int = Field(9, ge=1, description="ellipsoids and boxes in turn; every third part is carved out")
    least: float = Field(0.08, gt=0, lt=1, description="smallest half axis of a part, in sides of the box")
    greatest: float = Field(0.28, gt=0, lt=1, description="largest half axis of a part, in sides of the box")
    oversample: int = Field(2, ge=1, le=4, description="points asked for each cell of the finest rung, per axis")
    solids: OfEverySplit
    seed: int = Field(0, ge=0)

    @property
    def most(self) -> dict[Split, int]:
        """Samples by split, for the size on disk."""
        return self.solids


def check(options: Options, *, finest: Grid) -> None:
    """Raises ConfigError where the box is no cube of cells."""
    if finest.ndim != 3 or len(set(finest.shape)) != 1 or finest.centring != "cell":
        raise ConfigError(f"solids are drawn on cubes of cells, not on {finest.centring}s {finest.shape}")


def load(ask: Ask) -> Loaded:
    """Occupancy from 0 to 1, (solid, 1, z, y, x); each solid is a cluster of its own."""
    options, splits = ask.options, {}
    for split, n in options.solids.items():
        drawn = [occupancy(ask.finest, options, seed=(options.seed, NUMBER_OF_SPLIT[split], i)) for i in range(n)]
        splits[split] = SplitFields.independent({"occupancy": np.stack(drawn)[:, None]})
    return Loaded(splits, attrs={"generator": options.model_dump_json(), "split_by": "solid, each of its own seed"})


def occupancy(finest: Grid, options: Options, *, seed: tuple[int, ...]) -> np.ndarray:
    """One solid as shares of the cells of the finest rung: finest.shape, float32."""
    rng, n = np.random.default_rng(seed), finest.rung * options.oversample
    at = (np.arange(n) + 0.5) / n
    x = np.stack(np.meshgrid(at, at, at, indexing="ij"), axis=-1).reshape(-1, 3)
    solid = np.zeros(len(x), bool)
    for part in range(options.parts):
        centre = rng.uniform(0.3, 0.7, 3)
        half = rng.uniform(options.least, options.greatest, 3)
        turned = np.abs((x - centre) @ turn(rng)) / half
        inside = (turned**2).sum(1) < 1 if part % 2 == 0 else turned.max(1) < 1
        solid = solid & ~inside if part % 3 == 2 else solid | inside
    u = torch.from_numpy(solid.astype(np.float32).reshape(1, n, n, n))
    return np.asarray(restrict(u, finest, how="block_mean")[0].numpy())


def turn(rng: np.random.Generator) -> np.ndarray:
    """A rotation drawn evenly from all: (3, 3)."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else q[:, ::-1]
