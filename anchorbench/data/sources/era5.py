"""weather, samples: ERA5 on latitudes and longitudes, from NetCDF files that published packages carry.

Two files are known, by the variables that are asked for: wind and potential vorticity at 340 K (1°, ten times of June
1959) and mean sea level pressure (2.5°, December 2025: a smooth control).  Their traps, each with a test:

- rows rise in one file and fall in the other; columns begin at −180 in one and at 0 in the other;
- the attributes of the first promise −90 to 90, but the rows at the poles are missing: its box ends at 88.5° S and
  87.5° N, sixteen times eleven whole rows, so that four rungs nest; nothing is made up at the poles;
- the first names no units: its values are those of PVU and m/s, and are checked to be possible;
- the second holds both poles, as half cells; its rungs' cells take them by overlap;
- a value at a point is taken for the mean of its cell.

The record is cut once: train, a gap, validation, a gap, test.  Each sequence is a cluster; neighbours in time are not
quite independent, and an interval from so few is narrower than it should be.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import netCDF4
import numpy as np
from pydantic import Field, field_validator

from anchorbench.config import Frozen
from anchorbench.data.geographic import geography, is_own, onto_box, variance
from anchorbench.data.sources import Ask, Loaded, SplitFields, carried_by
from anchorbench.data.splits import SPLITS, Split
from anchorbench.errors import ConfigError, DownloadError, unknown
from anchorbench.fields import Grid


@dataclass(frozen=True)
class Described:
    """A variable in the files: its name there, the units that it may name, and the values that are possible."""

    name: str
    units: tuple[str, ...]
    least: float
    most: float


KNOWN = {
    "potential_vorticity": Described("PV", ("PVU",), -100, 100),
    "eastward_wind": Described("U", ("m/s", "m s-1", "m s**-1"), -200, 200),
    "northward_wind": Described("V", ("m/s", "m s-1", "m s**-1"), -200, 200),
    "mean_sea_level_pressure": Described("msl", ("Pa",), 80_000, 115_000),
}
#: Names of the axes in these files.
TIMES, LATITUDES, LONGITUDES = ("valid_time", "time"), ("latitude", "lat"), ("longitude", "lon")


class Options(Frozen):
    """How the record is cut; all of it is in the ladder's digest."""

    sequences: dict[Split, tuple[int, int]] = Field(description="of each split, how many and of how many frames")
    gap: int = Field(1, ge=1, description="frames left out where the split changes")

    @field_validator("sequences")
    @classmethod
    def _are_of_all_splits(cls, sequences: dict[Split, tuple[int, int]]) -> dict[Split, tuple[int, int]]:
        if set(sequences) != set(SPLITS) or min(min(pair) for pair in sequences.values()) < 1:
            raise ValueError("are of train, validation and test, each one of one frame at least")
        return sequences

    @property
    def frames(self) -> int:
        """Of a sequence on the mean, for the size on disk."""
        return round(sum(n * frames for n, frames in self.sequences.values()) / sum(self.trajectories.values()))

    @property
    def trajectories(self) -> dict[Split, int]:
        return {split: count for split, (count, _) in self.sequences.items()}

    def starts(self, n: int) -> dict[Split, list[int]]:
        """The first frames of all sequences in a record of n.  Raises ConfigError where it is too short."""
        first, starts = 0, {}
        for split in SPLITS:
            count, frames = self.sequences[split]
            starts[split] = [first + i * frames for i in range(count)]
            first += count * frames + self.gap
        if (wanted := first - self.gap) > n:
            raise ConfigError(
                f"the record has {n} frames, and {wanted} are asked for with their gaps",
                do="--set sequences.train=2,4 for two sequences of four frames",
            )
        return starts


def load(ask: Ask) -> Loaded:
    """Download the sample, unless it is in the cache, and cut it.

    Raises DownloadError where a file cannot be had or is not laid out as it was, ConfigError where the record is too
    short for what is asked.
    """
    (file,) = ask.source.files
    path = ask.sample(file)
    step = ask.entry.time.step if ask.entry.time is not None else 0.0
    names = [variable.name for variable in ask.entry.variables]
    values, times, attrs = era5_fields(path, names, finest=ask.finest, hours=step)
    splits = {}
    cluster = 0
    for split, starts in ask.options.starts(len(times)).items():
        index = np.array(starts)[:, None] + np.arange(ask.options.sequences[split][1])
        splits[split] = SplitFields(
            values={name: u[index] for name, u in values.items()},
            valid=None,
            times=times[index],
            clusters=cluster + np.arange(len(starts)),
        )
        cluster += len(starts)
    return Loaded(splits, attrs=carried_by(file) | attrs)


def era5_fields(
    path: Path, names: list[str], *, finest: Grid, hours: float
) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, str]]:
    """The record on cells of the ladder's box: values (time, *cells) by variable, times (time,), provenance.

    hours: the step that the catalogue promises.
    Raises DownloadError where the file is not laid out so, or misses a value.
    """
    try:
        with netCDF4.Dataset(path) as nc:
            return _read(nc, names, finest=finest, hours=hours, file=path.name)
    except (OSError, RuntimeError, IndexError, KeyError, AttributeError, ValueError) as error:
        raise DownloadError(f"{path} cannot be read as an ERA5 record: {error}") from None


def _read(
    nc: netCDF4.Dataset, names: list[str], *, finest: Grid, hours: float, file: str
) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, str]]:
    time, latitude, longitude = (_one_of(nc, known, file=file) for known in (TIMES, LATITUDES, LONGITUDES))
    dates = netCDF4.num2date(
        nc[time][:],
        nc[time].units,
        getattr(nc[time], "calendar", "standard"),
        only_use_cftime_datetimes=False,
        only_use_python_datetimes=True,
    )
    times = np.asarray(dates, dtype="datetime64[s]")
    steps = np.diff(times) / np.timedelta64(1, "h")
    if len(times) > 1 and not np.allclose(steps, hours, rtol=0, atol=1e-3):
        raise DownloadError(f"the times of {file} are not {hours:g} hours apart")
    place = geography(nc[latitude][:], nc[longitude][:], box=finest, name=file)
    values, removed = {}, []
    for name in names:
        u = _values(nc, name, (time, latitude, longitude), file=file)
        values[name], _ = onto_box(u, place, finest, name=file)
        after = variance(values[name], finest.with_shape(values[name].shape[-2:]))
        removed.append(1 - after / variance(place.ordered(u), place.grid))
    south, height = place.grid.origin[0], place.grid.extent[0]
    attrs = {
        "record_start": str(times[0]),
        "record_end": str(times[-1]),
        "rows": f"{len(place.rows)} of {nc[latitude].size} from {south:g} to {south + height:g} degrees north",
        "values": "at points, taken for the means of their cells",
        "clusters": "sequences that follow one another in one record, not quite independent",
    }
    if not is_own(place, finest):
        attrs["energy_removed_by_the_first_cells"] = f"{np.mean(removed):.4f}"
    if "lev" in nc.variables:
        attrs["level"] = f"{float(nc['lev'][...]):g} {getattr(nc['lev'], 'units', '')}".strip()
    return values, times, attrs


def _values(nc: netCDF4.Dataset, name: str, dims: tuple[str, ...], *, file: str) -> np.ndarray:
    """One variable as in the file, (time, latitude, longitude)."""
    if name not in KNOWN:
        raise DownloadError(unknown("variable", name, KNOWN))
    known = KNOWN[name]
    stored = nc[known.name]
    if stored.dimensions != dims:
        raise DownloadError(f"{known.name} of {file} lies along {', '.join(stored.dimensions)}, not {', '.join(dims)}")
    units = getattr(stored, "units", known.units[0])
    if units not in known.units:
        raise DownloadError(f"{known.name} of {file} is in {units}, not in {known.units[0]}")
    u = np.asarray(np.ma.filled(np.ma.asarray(stored[:]).astype(np.float64), np.nan))
    if not ((u >= known.least) & (u <= known.most)).all():
        raise DownloadError(f"{known.name} of {file} misses values, or holds some that no {known.units[0]} can be")
    return u


def _one_of(nc: netCDF4.Dataset, known: tuple[str, ...], *, file: str) -> str:
    for name in known:
        if name in nc.dimensions:
            return name
    raise DownloadError(f"{file} has no axis {' or '.join(known)}")
