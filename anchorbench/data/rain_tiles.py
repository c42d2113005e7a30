"""Tiles of one map of rain, and which split sees which: hold-out in space, in time, or both.

tiles    n x n squares of `crop` cells that lie side by side, about where most is measured
time     every split sees every tile, each in blocks of hours of its own (`time_blocks`)
tiles    every split sees every hour; a column or a diagonal of tiles is kept from training, for validation and test
         in turn.  As published (Defez et al. 2026: 4 x 4 tiles of 100 cells); one front is then on both sides
both     kept tiles in kept hours: neither the place nor the weather was seen in training
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from anchorbench.data.packed_rain import PackedRain
from anchorbench.data.splits import SPLITS, Split
from anchorbench.data.time_blocks import TimeBlocks, candidates, spread, stretches

#: Row and column of a tile, from the south-west.
Tile = tuple[int, int]


class TiledBlocks(TimeBlocks):
    """How a record of maps is cut into sequences of tiles; all of it is in the ladder's digest."""

    # Left out of dumps at their defaults: what was picked before there were tiles keeps its digest.
    tiles: int = Field(
        default=1, ge=1, description="tiles an axis, of crop cells an axis each", exclude_if=lambda n: n == 1
    )
    split_by: Literal["time", "tiles", "both"] = Field(
        default="time", description="what the splits do not share", exclude_if=lambda how: how == "time"
    )
    held_out: Literal["column", "diagonal"] = Field(
        default="column", description="which tiles training does not see", exclude_if=lambda how: how == "column"
    )
    fold: int | None = Field(
        default=None,
        ge=0,
        description="which column from the west, or diagonal; null: the last",
        exclude_if=lambda n: n is None,
    )

    @model_validator(mode="after")
    def _something_is_left_to_learn_from(self) -> TiledBlocks:
        if self.split_by != "time" and self.tiles < 2:
            raise ValueError(f"split_by {self.split_by} takes 2 tiles an axis or more: set tiles")
        if self.fold is not None and self.fold >= self.tiles:
            raise ValueError(f"fold is 0 to {self.tiles - 1} of {self.tiles} tiles an axis, not {self.fold}")
        return self


def tiles_of(split: Split, options: TiledBlocks) -> list[Tile]:
    """The tiles that a split sees, by rows from the south."""
    n = options.tiles
    everywhere = [(row, column) for row in range(n) for column in range(n)]
    if options.split_by == "time":
        return everywhere
    fold = n - 1 if options.fold is None else options.fold
    kept = [(row, fold if options.held_out == "column" else (row + fold) % n) for row in range(n)]
    if split == "train":
        return [tile for tile in everywhere if tile not in kept]
    if options.split_by == "both":  # validation and test have hours of their own
        return kept
    return kept[split == "validation" :: 2]


def tiled_sequences(
    record: PackedRain, options: TiledBlocks, *, crop: int
) -> dict[Split, list[tuple[Tile, np.ndarray, int]]]:
    """The sequences of each split in order of time: tile, frames (frame,) in the record, and cluster.

    record: of tiles · crop cells an axis.  A cluster is a stretch of hours, whatever the tile: weather moves from one
    to the next.  Where splits share their hours a stretch is a period.
    Raises ConfigError where a split is left without a sequence.
    """
    parts = stretches(record.times, options) if options.split_by != "tiles" else _periods(record.times, options)
    found: dict[Split, list[tuple[int, Tile, int]]] = {}
    for split in SPLITS:
        own = [(split, begin, end) for _, begin, end in parts] if options.split_by == "tiles" else parts
        starts = []
        for tile in tiles_of(split, options):
            wet = record.within(*cells_of(tile, crop)).wet_share(options.wet_above)
            starts += [(start, tile, cluster) for start, cluster in candidates(own, wet, options).get(split, [])]
        found[split] = sorted(starts)
    return {
        split: [
            (tile, start + np.arange(options.frames), cluster) for start, tile, cluster in spread(of, split, options)
        ]
        for split, of in found.items()
    }


def cells_of(tile: Tile, crop: int) -> tuple[slice, slice]:
    """Rows and columns of a tile in the record."""
    row, column = tile
    return slice(row * crop, (row + 1) * crop), slice(column * crop, (column + 1) * crop)


def _periods(times: np.ndarray, options: TiledBlocks) -> Sequence[tuple[Split, int, int]]:
    """Stretches that end with each period, since the next one has another turn; whose turn it is says nothing here."""
    return stretches(times, options.model_copy(update={"turns": SPLITS, "gap": 0.0}))
