"""sevir, sample: radar composites of the DWD (RADOLAN-YW), eleven days of May 2018, 1 km and 5 min.

One NetCDF member: `rainfall_amount(time, y, x)`, int16 in steps of 0.01 mm of rain in 5 minutes, -9999 where nothing
was measured.  The traps of this file, each with a test:

- the unit attribute says `kg`; per m² and 5 minutes that is 1 mm, so the values are taken as mm;
- -9999 must go before the scale factor comes: scaled, it is -99.99 mm of rain;
- a rim of 2.5 % is never measured, and one frame has a hole inside the rim;
- times are float hours since an epoch and are rounded to seconds;
- the stored latitudes and longitudes (57 to 58° N, 1 to 4° E) are displaced: their own spacing, 0.0085° and 0.0127°
  a cell, fits the composite's projection only at 48 to 50° N.  They are passed on as what the file says, nothing more;
- a kilometre is one of the projection's, true at 60° N: 0.94 km on the ground.

Splits are blocks of time with gaps between them: see `time_blocks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np

from anchorbench.data.packed_rain import PackedRain
from anchorbench.data.sources import Ask, Loaded, SplitFields, carried_by
from anchorbench.data.time_blocks import TimeBlocks, sequences
from anchorbench.errors import ConfigError, DownloadError

VARIABLE = "rainfall_amount"
MISSING = -9999
STEP_MM = 0.01


class Options(TimeBlocks):
    """Which sequences are taken from the record."""


@dataclass(frozen=True)
class RadarFrames(PackedRain):
    """Frames of 5 minutes, cut to a square: codes are int16, hundredths of a millimetre; times as the file says."""

    missing = MISSING
    step = STEP_MM

    attrs: Mapping[str, Any]


def load(ask: Ask) -> Loaded:
    """Download the sample, unless it is in the cache, and pick the sequences of each split.

    Returns rain in mm per 5 minutes, (sample, time, crop, crop), with masks, times and clusters.
    Raises DownloadError where the file cannot be had or is not what the catalogue promises, ConfigError where the
    selection leaves a split empty.
    """
    if ask.size.crop is None:
        raise ConfigError(f"dataset '{ask.entry.name}' needs a crop in the catalogue to be read")
    (file,) = ask.source.files
    path = ask.sample(file)
    frames = radolan_frames(path, crop=ask.size.crop)
    return Loaded(
        pick_sequences(frames, ask.options),
        attrs=carried_by(file) | {name: str(v) for name, v in frames.attrs.items()},
    )


def radolan_frames(path: Path, *, crop: int) -> RadarFrames:
    """The record, cut to the `crop` x `crop` cells at its centre.

    Raises DownloadError where the file is not laid out as RADOLAN-YW was, or where the crop reaches the rim that is
    never measured.
    """
    try:
        with netCDF4.Dataset(path) as nc:
            nc.set_auto_maskandscale(False)
            return _read(nc, crop=crop, name=path.name)
    except (OSError, RuntimeError, IndexError, KeyError, AttributeError) as error:
        raise DownloadError(f"{path} cannot be read as a RADOLAN record: {error}") from None


def _read(nc: netCDF4.Dataset, *, crop: int, name: str) -> RadarFrames:
    rain, time = nc[VARIABLE], nc["time"]
    offset = getattr(rain, "add_offset", 0.0)
    packing = (rain.dtype.str[1:], rain.dimensions, float(rain.scale_factor), offset, int(rain._FillValue))
    promised = ("i2", ("time", "y", "x"), STEP_MM, 0.0, MISSING)
    if packing != promised:
        raise DownloadError(f"{name} is packed as {packing}, not as {promised}: its values would be misread")
    y, x = (centre_slice(n, crop, name=name) for n in rain.shape[1:])
    codes = np.asarray(rain[:, y, x])
    valid = codes != MISSING
    if (valid & (codes < 0)).any():
        raise DownloadError(f"{name} holds negative rain that is not the missing code {MISSING}")
    if not valid.any(axis=0).all():
        raise DownloadError(f"the {crop} x {crop} cells at the centre of {name} reach cells that are never measured")
    dates = netCDF4.num2date(
        time[:], time.units, time.calendar, only_use_cftime_datetimes=False, only_use_python_datetimes=True
    )
    times = (np.asarray(dates, dtype="datetime64[us]") + np.timedelta64(500, "ms")).astype("datetime64[s]")
    if len(times) < 2 or (np.diff(times) <= np.timedelta64(0)).any():
        raise DownloadError(f"{name} has fewer than two frames, or times that do not rise")
    attrs: dict[str, Any] = {
        "crop_y": f"{y.start}:{y.stop}",
        "crop_x": f"{x.start}:{x.stop}",
        "record_start": str(times[0]),
        "record_end": str(times[-1]),
        "missing_share": float(1.0 - valid.mean()),
        "kilometre": "of the composite's projection, true at 60 N",
    }
    for place in ("latitudes", "longitudes"):
        degrees = np.asarray(nc[place][y, x]) * float(nc[place].scale_factor)
        attrs[f"centre_{place.removesuffix('s')}_in_file"] = round(float(degrees.mean()), 2)
    attrs["place"] = "the file's coordinates are displaced; their spacing fits 48 to 50 N"
    return RadarFrames(codes, times, attrs)


def centre_slice(n: int, crop: int, *, name: str) -> slice:
    """The `crop` cells in the middle of `n`.  Raises DownloadError where there are not so many."""
    if crop > n:
        raise DownloadError(f"{name} has {n} cells on an axis, fewer than the crop of {crop}")
    start = (n - crop) // 2
    return slice(start, start + crop)


def pick_sequences(frames: RadarFrames, blocks: TimeBlocks) -> dict[str, SplitFields]:
    """The sequences of each split that have enough rain, see `time_blocks`.

    wet share = mean over valid cells of [rain > wet_above].  Raises ConfigError where a split is left without one.
    """
    return {
        split: SplitFields(
            values={VARIABLE: frames.rain(index)},
            valid=frames.valid(index),
            times=frames.times[index],
            clusters=clusters,
        )
        for split, (index, clusters) in sequences(frames.times, frames.wet_share(blocks.wet_above), blocks).items()
    }
