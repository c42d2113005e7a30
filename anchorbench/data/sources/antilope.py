"""comephore, sample: ANTILOPE J+1 of Météo-France, radar and gauges, hourly, 1 km: 33 hours of January 2012.

It is the nearest relative of COMEPHORE that a published package carries: same producer, step and coding.  How an hour
is coded, and its traps: see `rain_maps`.  The name of a file gives an hour, `antilope_j1_000100_201201010000_...`; it
is taken for the end of it, because the package that carries the files pairs each with the step that ends then.

A day and a half of one winter front is a small record: with the catalogue's blocks the test split has two clusters, so
intervals from it are wide, and it says little about rain in general.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from pydantic import Field

from anchorbench.data.rain_maps import pick_hours, stack_hours
from anchorbench.data.rain_tiles import TiledBlocks
from anchorbench.data.sources import Ask, Loaded, carried_by
from anchorbench.data.splits import Split
from anchorbench.errors import ConfigError, DownloadError

NAME = re.compile(r"antilope_j1_000100_(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})_\d{12}\.tif")


class Options(TiledBlocks):
    """Which sequences are taken from the record."""

    frames: int = Field(3, ge=2, description="frames of one sequence")
    period: float = Field(4.0, gt=0, description="hours that go to one split before the next split's turn")
    turns: tuple[Split, ...] = Field(("train", "train", "test", "validation"), description="whose turn it is")
    stride: int | None = Field(1, ge=1, description="hours between two starts; null: no overlap")
    corner: tuple[int, int] | None = Field(None, description="row and column of the south-western cell")


def load(ask: Ask) -> Loaded:
    """Download the hours, unless they are in the cache, and pick the sequences of each split.

    Returns rain in mm per hour, (sample, time, crop, crop), with times and clusters.  Raises DownloadError where a file
    cannot be had or is not what was promised, ConfigError where the selection leaves a split empty.
    """
    if ask.size.crop is None:
        raise ConfigError(f"dataset '{ask.entry.name}' needs a crop in the catalogue to be read")
    paths = [ask.sample(file) for file in ask.source.files]
    hours = stack_hours(
        ((hour_of(path), path) for path in paths), crop=ask.size.crop * ask.options.tiles, corner=ask.options.corner
    )
    return Loaded(pick_hours(hours, ask.options), attrs={**carried_by(*ask.source.files), **hours.attrs})


def hour_of(path: Path) -> np.datetime64:
    """The end of the hour, from the name.  Raises DownloadError for another name."""
    found = NAME.fullmatch(path.name)
    if found is None:
        raise DownloadError(f"{path.name} is not named as an hour of ANTILOPE is")
    year, month, day, hour, minute = found.groups()
    return np.datetime64(f"{year}-{month}-{day}T{hour}:{minute}:00", "s")
