"""topography, generated: fractal relief, each landscape drawn from a seed of its own.

The landscape is drawn on a grid `oversample` times finer than the finest rung, from waves that this grid carries, and
the finest rung takes the means of its cells, as the coarser rungs do: on every rung a value is the mean of its cell.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field

from anchorbench.config import Frozen, digest_of
from anchorbench.data.slices import Slices, joined, slice_by_slice
from anchorbench.data.sources import Ask, Loaded, SplitFields
from anchorbench.data.splits import NUMBER_OF_SPLIT, OfEverySplit, Split
from anchorbench.errors import ConfigError
from anchorbench.fields import Grid, restrict
from anchorbench.solvers.fractal import fractal_relief

#: Landscapes between two visits to the disk, where a stopped call goes on.
SLICE = 32


class Options(Frozen):
    """Parameters of the landscapes; all are in the ladder's digest."""

    exponent: float = Field(2.5, gt=1, lt=5, description="β: the energy of a ring of waves goes as k^−β")
    longest: float = Field(0.5, gt=0, le=2, description="the longest wave, in sides of the box")
    ridges: float = Field(0.5, ge=0, le=1, description="share of the variance in sharp crests over rounded valleys")
    mean: float = Field(1000.0, description="mean elevation, m")
    deviation: float = Field(400.0, gt=0, description="standard deviation of the elevation, m")
    oversample: int = Field(2, ge=1, le=8, description="points drawn for each cell of the finest rung, per axis")
    landscapes: OfEverySplit
    seed: int = Field(0, ge=0)

    @property
    def most(self) -> dict[Split, int]:
        """Samples by split, for the size on disk."""
        return self.landscapes


def check(options: Options, *, finest: Grid) -> None:
    """Raises ConfigError where the box is no square of cells, or holds no wave."""
    if finest.ndim != 2 or len(set(finest.shape)) != 1 or finest.centring != "cell":
        raise ConfigError(f"fractal relief is drawn on squares of cells, not on {finest.centring}s {finest.shape}")
    if options.longest * finest.rung * options.oversample < 4:
        raise ConfigError(
            f"the longest wave, {options.longest:g} of the box, is no wave on {finest.rung} cells",
            do="--set generator.longest=0.5",
        )


def load(ask: Ask) -> Loaded:
    """Elevation in m, (landscape, 1, y, x); each landscape is a cluster of its own."""
    options, finest = ask.options, ask.finest
    parts = slice_by_slice(
        options.landscapes,
        lambda split, members, _: {"fields": np.stack([_landscape(options, finest, split, i) for i in members])},
        size=SLICE,
        kept=Slices(ask.scratch, digest_of([options.digest, finest.to_dict()])),
        tell=ask.tell("drawing"),
    )
    splits: dict[str, SplitFields] = {
        split: SplitFields.independent({"elevation": joined(made, "fields")[:, None]}) for split, made in parts.items()
    }
    return Loaded(splits, attrs={"generator": options.model_dump_json(), "split_by": "landscape, each of its own seed"})


def _landscape(options: Options, finest: Grid, split: Split, number: int) -> np.ndarray:
    """One landscape as means over the cells of the finest rung: (y, x) float32, m."""
    drawn = fractal_relief(
        finest.rung * options.oversample,
        exponent=options.exponent,
        longest=options.longest,
        ridges=options.ridges,
        seed=(options.seed, NUMBER_OF_SPLIT[split], number),
    )
    cells = restrict(torch.from_numpy(drawn), finest, how="block_mean").numpy()
    return np.asarray(options.mean + options.deviation * cells, dtype=np.float32)
