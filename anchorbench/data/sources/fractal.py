"""topography, generated: fractal relief, each landscape drawn from a seed of its own.

The landscape is drawn on a grid `oversample` times finer than the finest rung, from waves that this grid carries, and
the finest rung takes the means of its cells, as the coarser rungs do: on every rung a value is the mean of its cell.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, field_validator

from anchorbench.config import Frozen, digest_of
from anchorbench.data.slices import Slices
from anchorbench.data.sources import Ask, Loaded, SplitFields
from anchorbench.errors import ConfigError
from anchorbench.fields import Grid, restrict
from anchorbench.solvers.fractal import fractal_relief

Split = Literal["train", "validation", "test"]

#: Splits draw from seeds that never meet.
NUMBER_OF_SPLIT: dict[Split, int] = {"train": 0, "validation": 1, "test": 2}
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
    landscapes: dict[Split, Annotated[int, Field(ge=1)]]
    seed: int = Field(0, ge=0)

    @field_validator("landscapes")
    @classmethod
    def _name_every_split(cls, landscapes: dict[Split, int]) -> dict[Split, int]:
        if lacking := NUMBER_OF_SPLIT.keys() - landscapes.keys():
            raise ValueError(f"lack the split {', '.join(sorted(lacking))}")
        return landscapes

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
    kept = None if ask.scratch is None else Slices(ask.scratch, digest_of([options.digest, finest.to_dict()]))
    tell, total, done = ask.tell("drawing"), sum(options.landscapes.values()), 0
    splits = {}
    for split, n in options.landscapes.items():
        parts = []
        for first in range(0, n, SLICE):
            numbers = range(first, min(first + SLICE, n))
            name = f"{split}-{first:06d}-{len(numbers)}"
            found = None if kept is None else kept.load(name)
            if found is None:
                found = {"fields": np.stack([_landscape(options, finest, split, i) for i in numbers])}
                if kept is not None:
                    kept.save(name, found)
            parts.append(found["fields"])
            done += len(numbers)
            tell(done / total)
        elevation = np.concatenate(parts)[:, None]
        splits[split] = SplitFields({"elevation": elevation}, valid=None, times=None, clusters=np.arange(n))
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
