"""comephore, sample-inca: one analysis of MeteoSwiss INCA/CombiPrecip, radar and gauges, 1 km, 28 June 2021 07:00 UTC.

One NetCDF member: `RR(time, chy, chx)`, float32 mm/h, -999 missing, rows from south to north.  The traps of this file,
each with a test:

- only the first time is an analysis.  The 36 behind it are nowcasts, which somebody made by moving and smoothing it: as
  truth they would reward whoever forecasts likewise.  They are never read;
- times count from an epoch of the file's own, and the first must be that epoch: else the file begins with a nowcast;
- -999 becomes the mask, and any other negative rain is refused.

There is one field, so the task is super_resolve and the three splits are regions of it: bands of rows with a gap
between them, each tiled with squares.  All squares are of one morning's rain and make one cluster: no interval over
events can be had from this sample.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import netCDF4
import numpy as np
from pydantic import Field, model_validator

from anchorbench.config import Frozen
from anchorbench.data.sources import Ask, Loaded, SplitFields, carried_by
from anchorbench.data.splits import Split
from anchorbench.errors import ConfigError, DownloadError

VARIABLE = "rainfall_rate"
MISSING = -999.0
SPACING = 1000.0  # metres


class Options(Frozen):
    """Which squares are taken of the field."""

    bands: dict[Split, tuple[int, int]] = Field(
        {"train": (96, 288), "test": (320, 448), "validation": (480, 608)},
        description="rows, from the south, that a split may see: first, last + 1",
    )
    gap: int = Field(32, ge=0, description="rows that lie at least between two bands")
    wet_share: float = Field(0.05, ge=0, le=1, description="least share of wet cells of a square")
    frames: int = Field(1, ge=1, le=1, description="the analysis alone")

    @model_validator(mode="after")
    def _bands_are_apart(self) -> Self:
        if set(self.bands) != {"train", "validation", "test"}:
            raise ValueError("bands are of train, validation and test")
        spans = sorted(self.bands.values())
        if any(first < 0 or last <= first for first, last in spans):
            raise ValueError(f"a band goes from a row to a later one: {self.bands}")
        if any(following[0] - before[1] < self.gap for before, following in pairwise(spans)):
            raise ValueError(f"bands are less than {self.gap} rows apart: {self.bands}")
        return self


def load(ask: Ask) -> Loaded:
    """Download the file, unless it is in the cache, and tile each split's band with squares of `crop` cells.

    Returns the rate of rain in mm/h, (sample, 1, crop, crop), one cluster.  Raises DownloadError where the file cannot
    be had or is not what was promised, ConfigError where a split is left without a square.
    """
    if ask.size.crop is None:
        raise ConfigError(f"dataset '{ask.entry.name}' needs a crop in the catalogue to be read")
    (file,) = ask.source.files
    rate, time, attrs = analysis(ask.sample(file))
    return Loaded(tiles(rate, time, ask.options, crop=ask.size.crop), attrs={**carried_by(file), **attrs})


def analysis(path: Path) -> tuple[np.ndarray, np.datetime64, dict[str, str]]:
    """The field at t = 0: mm/h (y, x) float32 with NaN where missing, y northward, its time, and what the file says.

    Raises DownloadError where the file is not laid out as INCA's was.
    """
    try:
        with netCDF4.Dataset(path) as nc:
            nc.set_auto_maskandscale(False)
            return _read(nc, name=path.name)
    except (OSError, RuntimeError, IndexError, KeyError, AttributeError) as error:
        raise DownloadError(f"{path} cannot be read as an INCA analysis: {error}") from None


def _read(nc: netCDF4.Dataset, *, name: str) -> tuple[np.ndarray, np.datetime64, dict[str, str]]:
    rain, time = nc["RR"], nc["time"]
    packing = (rain.dtype.str[1:], rain.dimensions, rain.units, float(rain._FillValue))
    promised = ("f4", ("time", "chy", "chx"), "mm/h", MISSING)
    if packing != promised or {"scale_factor", "add_offset"} & set(rain.ncattrs()):
        raise DownloadError(f"{name} is packed as {packing}, not as {promised}: its values would be misread")
    for axis in ("chy", "chx"):
        if not np.allclose(np.diff(nc[axis][:]), SPACING):
            raise DownloadError(f"{name}: {axis} does not rise by {SPACING:g} m a cell")
    first = float(time[0])
    if first != 0 or not time.units.startswith("seconds since "):
        raise DownloadError(f"{name} begins {first:g} after '{time.units}', with a nowcast instead of the analysis")
    rate = np.asarray(rain[0])  # the rest are nowcasts
    rate = np.where(rate == np.float32(MISSING), np.float32(np.nan), rate)
    if (rate < 0).any():
        raise DownloadError(f"{name} holds negative rain that is not the missing code {MISSING:g}")
    attrs = {
        "analysis_time": time.units.removeprefix("seconds since "),
        "nowcasts_left_out": str(len(time) - 1),
        "source_in_file": str(getattr(nc, "source", "")),
        "projection": str(nc["grid_mapping"].grid_mapping_name),
    }
    return rate, np.datetime64(attrs["analysis_time"].replace(" ", "T"), "s"), attrs


def tiles(rate: np.ndarray, time: np.datetime64, options: Options, *, crop: int) -> dict[str, SplitFields]:
    """Squares side by side from a band's first row and the western edge on; those that are too dry are left out.

    rate: (y, x), NaN where missing.  Raises ConfigError where a split is left without a square.
    """
    splits: dict[str, SplitFields] = {}
    masked = bool(np.isnan(rate).any())
    for split, (first, last) in options.bands.items():
        corners = [
            (row, column)
            for row in range(first, min(last, rate.shape[0]) - crop + 1, crop)
            for column in range(0, rate.shape[1] - crop + 1, crop)
        ]
        found = [rate[row : row + crop, column : column + crop] for row, column in corners]
        kept = np.array([square for square in found if _wet_share(square) >= options.wet_share], np.float32)
        if not len(kept):
            raise ConfigError(
                f"no square of {crop} cells in the {split} split has {options.wet_share:.0%} of its cells wet",
                do="lower selection.wet_share or the crop, or widen the band",
            )
        valid = ~np.isnan(kept)[:, None]
        splits[split] = SplitFields(
            values={VARIABLE: np.where(valid, kept[:, None], np.float32(0))},
            valid=valid if masked else None,
            times=np.full((len(kept), 1), time),
            clusters=np.zeros(len(kept), dtype=np.int64),
        )
    return splits


def _wet_share(square: np.ndarray) -> Any:
    measured = int((~np.isnan(square)).sum())
    return (square > 0).sum() / max(measured, 1)
