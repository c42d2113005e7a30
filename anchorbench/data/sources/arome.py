"""weather, sample: wind at 10 m of MET Norway's AROME-MetCoOp, 2.5 km, hourly, two forecasts.

Of all small samples of weather this one has the most fine scale.  Two NetCDF members, two runs of the model, each one
event: 2 February 2016 over the Norwegian Sea off Lofoten, 16 November 2015 off the west coast.  The first trains, and
validates with its last hours after a gap; the second, which nothing else has seen, tests.  Traps, each with a test:

- one file is packed in 16 bits, the other is not;
- wind is along the axes of the Lambert grid, not east and north: it is passed on so;
- the areas differ: both are cut to squares of one size, as many as fit, which share no cell;
- the fields are forecasts, hour after hour of one run, no analyses;
- squares of one hour belong to one cluster, and two events are two: an interval over the test event's hours says
  nothing of other weather.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import netCDF4
import numpy as np
from pydantic import Field

from anchorbench.config import Frozen
from anchorbench.data.sources import Ask, Loaded, SplitFields, carried_by
from anchorbench.data.splits import Split
from anchorbench.errors import ConfigError, DownloadError

SPACING = 2500.0  # m
#: m/s that no wind of an hour's mean over 2.5 km has reached.
FASTEST = 100.0


class Options(Frozen):
    """How the two forecasts are cut; all of it is in the ladder's digest."""

    frames: int = Field(6, ge=1, description="hours of one sequence")
    validation: int = Field(12, ge=1, description="last hours of the first event, which validate")
    gap: int = Field(3, ge=1, description="hours left out before validation, and between its and the test's sequences")
    most: dict[Split, int] = Field(default_factory=dict, description="most sequences of a split, spread evenly")


@dataclass(frozen=True)
class Forecast:
    """One run of the model, cut to squares: wind (square, time, y, x) by name, y northward, and its hours (time,)."""

    wind: dict[str, np.ndarray]
    times: np.ndarray
    corners: list[tuple[int, int]]


def load(ask: Ask) -> Loaded:
    """Download both forecasts, unless they are in the cache, and cut them.

    Raises DownloadError where a file cannot be had or is not laid out as it was, ConfigError where a split is left
    without a sequence.
    """
    if ask.size.crop is None:
        raise ConfigError(f"dataset '{ask.entry.name}' needs a crop in the catalogue to be read")
    names = [variable.name for variable in ask.entry.variables]
    paths = [ask.sample(file) for file in ask.source.files]
    learnt, unseen = (forecast(path, names, crop=ask.size.crop) for path in paths)
    o: Options = ask.options
    begin = len(learnt.times) - o.validation
    splits: dict[str, SplitFields] = {
        "train": _sequences(learnt, 0, begin - o.gap, "train", o, first_cluster=0),
        "validation": _sequences(learnt, begin, len(learnt.times), "validation", o, first_cluster=1000),
        "test": _sequences(unseen, 0, len(unseen.times), "test", o, first_cluster=2000),
    }
    attrs = {"values": "forecasts, hour after hour of one run each; wind along the axes of the Lambert grid"}
    for word, event in (("train", learnt), ("test", unseen)):
        attrs[f"{word}_event"] = f"{event.times[0]} to {event.times[-1]}"
        attrs[f"{word}_squares"] = " ".join(f"y{y}x{x}" for y, x in event.corners)
    attrs["clusters"] = "sequences of one event, not independent of each other: two events are two"
    return Loaded(splits, attrs=carried_by(*ask.source.files) | attrs)


def forecast(path: Path, names: list[str], *, crop: int) -> Forecast:
    """One run, cut to all squares of `crop` cells that fit side by side, around its centre.

    Raises DownloadError where the file is not laid out as AROME was, or misses a value.
    """
    try:
        with netCDF4.Dataset(path) as nc:
            return _read(nc, names, crop=crop, file=path.name)
    except (OSError, RuntimeError, IndexError, KeyError, AttributeError, ValueError) as error:
        raise DownloadError(f"{path} cannot be read as an AROME forecast: {error}") from None


def _read(nc: netCDF4.Dataset, names: list[str], *, crop: int, file: str) -> Forecast:
    if (mapping := nc["projection_lambert"].grid_mapping_name) != "lambert_conformal_conic":
        raise DownloadError(f"{file} is on a grid '{mapping}', not on AROME's Lambert grid")
    for axis in ("y", "x"):
        # Float32 metres are good to a sixteenth.
        if not np.allclose(np.abs(np.diff(np.asarray(nc[axis][:], np.float64))), SPACING, rtol=0, atol=1.0):
            raise DownloadError(f"the cells of {file} are not {SPACING:g} m along {axis}")
    dates = netCDF4.num2date(
        nc["time"][:], nc["time"].units, only_use_cftime_datetimes=False, only_use_python_datetimes=True
    )
    times = np.asarray(dates, dtype="datetime64[s]")
    if len(times) < 2 or (np.diff(times) != np.timedelta64(3600, "s")).any():
        raise DownloadError(f"the times of {file} are not an hour apart")
    shape = (len(nc["y"]), len(nc["x"]))
    corners = squares(shape, crop)
    if not corners:
        raise DownloadError(f"{file} has {shape} cells, fewer than a square of {crop}")
    turned = [slice(None, None, -1 if np.diff(nc[axis][:2])[0] < 0 else 1) for axis in ("y", "x")]
    wind = {}
    for name in names:
        stored = nc[name]
        if stored.dimensions != ("time", "y", "x") or getattr(stored, "units", "") not in ("m/s", "m s-1"):
            raise DownloadError(f"{name} of {file} is not (time, y, x) in m/s")
        u = np.ma.filled(np.ma.asarray(stored[:]).astype(np.float32), np.float32(np.nan))[:, turned[0], turned[1]]
        if not (np.abs(u) <= FASTEST).all():
            raise DownloadError(f"{name} of {file} misses values, or holds some that no wind can be")
        wind[name] = np.stack([u[:, y : y + crop, x : x + crop] for y, x in corners])
    return Forecast(wind, times, corners)


def squares(shape: tuple[int, ...], crop: int) -> list[tuple[int, int]]:
    """The corners of all squares of `crop` cells that fit side by side, around the centre."""
    firsts = []
    for n in shape:
        count = n // crop
        begin = (n - count * crop) // 2
        firsts.append([begin + i * crop for i in range(count)])
    return [(y, x) for y in firsts[0] for x in firsts[1]]


def _sequences(event: Forecast, begin: int, end: int, split: Split, o: Options, *, first_cluster: int) -> SplitFields:
    """The hours begin ... end − 1 tiled with sequences: side by side in training, a gap apart where scores are made."""
    apart = o.frames + (0 if split == "train" else o.gap)
    starts = list(range(begin, end - o.frames + 1, apart))
    if not starts:
        raise ConfigError(
            f"no sequence of {o.frames} hours fits in the {max(end - begin, 0)} hours of the {split} split",
            do="lower selection.frames",
        )
    index = [(square, i) for i in range(len(starts)) for square in range(len(event.corners))]
    most = min(o.most.get(split, len(index)), len(index))
    kept = [index[i] for i in np.linspace(0, len(index) - 1, most).round().astype(int)]
    square = np.array([s for s, _ in kept])
    hours = np.array([starts[i] for _, i in kept])[:, None] + np.arange(o.frames)
    return SplitFields(
        values={name: u[square[:, None], hours] for name, u in event.wind.items()},
        valid=None,
        times=event.times[hours],
        clusters=np.array([first_cluster + i for _, i in kept]),
    )
