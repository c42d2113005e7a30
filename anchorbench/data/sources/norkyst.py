"""turbulence2d, sample-ocean: currents at the surface of the coastal ocean, NorKyst-800, 67 hours of November 2015.

One NetCDF member: u and v (time, depth, Y, X) int16 in steps of 1 mm/s, hourly, cells of 800 m, off the west coast of
Norway: eddies, fronts and filaments; a third is land.  The traps of this file, each with a test:

- land is -32767, and must go before the scale factor comes: scaled, it is a current of -33 m/s;
- the land of u is not the land of v (they were moved from a staggered grid): a cell counts where both are there;
- u and v point along the axes X and Y of a polar stereographic plane seen along 70° E, not east and north: at this
  coast X runs to the north, roughly;
- a kilometre is one of the projection's, true at 60° N.

The crop is the square with the fewest land cells, the first of these in rows from the file's origin; up to 125 cells
there is one without any.  Time is cut into periods that go to the splits in turn.  Where the split changes, a gap is
left out; each stretch between two gaps is a cluster.  Eddies outlive any gap that 67 hours can hold (patterns two days
apart still correlate by 0.6), so test scores here are of the same eddies later, not of other eddies.
"""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
from pydantic import Field, model_validator

from anchorbench.config import Frozen
from anchorbench.data.sources import Ask, Loaded, SplitFields, carried_by
from anchorbench.data.splits import Split
from anchorbench.errors import ConfigError, DownloadError

#: Our names of the currents, and the file's.
COMPONENTS = {"velocity_x": "u", "velocity_y": "v"}
MISSING = -32767
STEP = 1e-3
HOUR = np.timedelta64(3600, "s")


class Options(Frozen):
    """Which sequences are taken from the record; all of it is in the ladder's digest."""

    frames: int = Field(4, ge=2, description="frames of one sequence, an hour apart")
    period: int = Field(6, ge=2, description="hours that go to one split before the next split's turn")
    turns: tuple[Split, ...] = Field(("train", "train", "test", "train", "validation"), description="whose turn it is")
    gap: int = Field(2, ge=0, description="hours left out where the split changes")
    most: dict[Split, int] = Field(default_factory=dict, description="most sequences of a split, spread evenly")

    @model_validator(mode="after")
    def _all_splits_have_a_turn(self) -> Options:
        if set(self.turns) != {"train", "validation", "test"}:
            raise ValueError(f"turns name train, validation and test, each at least once: {self.turns}")
        if any(n < 1 for n in self.most.values()):
            raise ValueError(f"most is at least 1 for each split: {self.most}")
        return self


def load(ask: Ask) -> Loaded:
    """Download the record, unless it is in the cache, and pick the sequences of each split.

    Returns currents in m/s along the axes of the projection, (sample, time, crop, crop), with a mask where the crop
    holds land, and times.
    Raises DownloadError where the file cannot be had or is not what the catalogue promises, ConfigError where the crop
    or the selection leaves nothing.
    """
    if ask.size.crop is None:
        raise ConfigError(f"dataset '{ask.entry.name}' needs a crop in the catalogue to be read")
    (file,) = ask.source.files
    codes, times, x, y = read_currents(ask.sample(file))
    rows, columns = wettest_square((codes != MISSING).all(axis=(0, 1)), ask.size.crop)
    codes = codes[:, :, rows, columns]
    valid = (codes != MISSING).all(axis=0)
    currents = np.where(valid, codes, 0).astype(np.float32) * np.float32(STEP)
    splits: dict[str, SplitFields] = {}
    for split, found in sequences(times, ask.options).items():
        index = np.array([start for start, _ in found])[:, None] + np.arange(ask.options.frames)
        splits[split] = SplitFields(
            values={name: part[index] for name, part in zip(COMPONENTS, currents, strict=True)},
            valid=None if valid.all() else valid[index],
            times=times[index],
            clusters=np.array([cluster for _, cluster in found]),
        )
    attrs = {
        "crop_y": f"{rows.start}:{rows.stop}",
        "crop_x": f"{columns.start}:{columns.stop}",
        "centre_in_projection_km": f"x {x[columns].mean() / 1e3:.0f}, y {y[rows].mean() / 1e3:.0f}",
        "land_share": f"{1 - valid.mean():.4f}",
        "record_start": str(times[0]),
        "record_end": str(times[-1]),
        "axes": "of the polar stereographic projection seen along 70 E, true at 60 N; not east and north",
        "selection": ask.options.model_dump_json(),
    }
    return Loaded(splits, attrs=carried_by(file) | attrs)


def read_currents(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Codes (2, time, y, x) int16 in mm/s, -32767 on land; times (time,) datetime64[s]; x and y of the cells in metres.

    Raises DownloadError where the file is not laid out as the record was.
    """
    try:
        with netCDF4.Dataset(path) as nc:
            nc.set_auto_maskandscale(False)
            for name in COMPONENTS.values():
                _check_packing(nc[name], path.name)
            codes = np.stack([np.asarray(nc[name][:, 0]) for name in COMPONENTS.values()])
            seconds = np.asarray(nc["time"][:])
            epoch = str(nc["time"].units)
            x, y = (np.asarray(nc[axis][:], dtype=np.float64) for axis in ("X", "Y"))
    except (OSError, RuntimeError, IndexError, KeyError, AttributeError, ValueError) as error:
        raise DownloadError(f"{path} cannot be read as a record of currents: {error}") from None
    if epoch != "seconds since 1970-01-01 00:00:00":
        raise DownloadError(f"{path.name} counts time in '{epoch}', not in seconds since 1970")
    times = np.round(seconds).astype("int64").astype("datetime64[s]")
    if len(times) < 2 or (np.diff(times) != HOUR).any():
        raise DownloadError(f"{path.name} has times that are not an hour apart")
    if (np.diff(x) <= 0).any() or (np.diff(y) <= 0).any():
        raise DownloadError(f"{path.name} has X or Y that do not rise")
    return codes, times, x, y


def _check_packing(variable: netCDF4.Variable, name: str) -> None:
    offset = float(getattr(variable, "add_offset", 0.0))
    packing = (variable.dtype.str[1:], variable.dimensions, round(float(variable.scale_factor), 9), offset)
    promised = ("i2", ("time", "depth", "Y", "X"), STEP, 0.0)
    if packing != promised or int(variable._FillValue) != MISSING:
        raise DownloadError(f"{name} is packed as {packing}, not as {promised}: its values would be misread")


def wettest_square(sea: np.ndarray, n: int) -> tuple[slice, slice]:
    """The n x n cells of a map with the most sea, the first of these.  Raises ConfigError where the map is smaller."""
    if n > min(sea.shape):
        raise ConfigError(f"a crop of {n} cells does not fit the record's {sea.shape[0]} x {sea.shape[1]}")
    total = np.pad(sea.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = total[n:, n:] - total[:-n, n:] - total[n:, :-n] + total[:-n, :-n]
    y, x = np.unravel_index(int(inside.argmax()), inside.shape)
    return slice(int(y), int(y) + n), slice(int(x), int(x) + n)


def sequences(times: np.ndarray, options: Options) -> dict[Split, list[tuple[int, int]]]:
    """(first frame, cluster) of the sequences of each split: stretches without a gap, tiled without overlap.

    Hour h of the record belongs to turns[(h // period) mod len(turns)]; the last `gap` hours before another split are
    nobody's.  Raises ConfigError where a split is left without a sequence.
    """
    hours = ((times - times[0]) / HOUR).astype(int)
    owner = [options.turns[h // options.period % len(options.turns)] for h in hours]
    starts: dict[Split, list[tuple[int, int]]] = {"train": [], "validation": [], "test": []}
    begin = 0
    cluster = 0
    for i in range(1, len(owner) + 1):
        if i < len(owner) and owner[i] == owner[begin]:
            continue
        end = i if i == len(owner) else i - options.gap
        found = [(start, cluster) for start in range(begin, end - options.frames + 1, options.frames)]
        starts[owner[begin]] += found
        begin, cluster = i, cluster + 1
    for split, found in starts.items():
        if not found:
            raise ConfigError(
                f"no sequence of {options.frames} frames fits the {split} split",
                do="lower selection.frames or selection.gap, or raise selection.period",
            )
        most = min(options.most.get(split, len(found)), len(found))
        starts[split] = [found[i] for i in np.linspace(0, len(found) - 1, most).round().astype(int)]
    return starts
