"""weather, public: ERA5 as WeatherBench 2 has it (Rasp et al. 2024), six-hourly Zarr stores, read chunk by chunk.

A variable is called as in the store, one level of it NAME_LEVEL: `2m_temperature`, `geopotential_500`.  The traps of
these stores, each with a test:

- 1440x721 is (time, [level,] latitude, longitude), from 90 to −90; the coarse ones, regridded by area, are (time,
  [level,] longitude, latitude), from south to north: axes are taken by their names, rows are sorted;
- 1440x721 and 240x121 have rows at both poles, half cells; 64x32 has none, its rows are middles of cells;
- columns are centred on 0° E, so the box of the ladder begins half a column of 5.625° to the west: then its rung 32 is
  64x32 itself;
- some fields are NaN where they mean nothing (sea surface temperature): they become the mask;
- times may be missing, and a store may run past what has been filled in: sequences that would need such a time are
  left out, and counted.

Splits are years, with a year or more between them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import netCDF4
import numpy as np
from pydantic import Field, field_validator

from anchorbench.config import Frozen
from anchorbench.data.geographic import Geography, geography, is_own, onto_box, variance
from anchorbench.data.sources import Ask, Loaded, SplitFields
from anchorbench.data.splits import SPLITS, Split
from anchorbench.data.zarr_parts import ZarrParts
from anchorbench.errors import ConfigError, DownloadError, unknown
from anchorbench.fields import Grid

Store = Literal["64x32", "240x121", "1440x721"]

GRAVITY = 9.80665  # m/s², as ECMWF divides geopotential by
#: Fields that do not change: what they are called here, in the store, and the factor to our unit.
STATIC = {"orography": ("geopotential_at_surface", 1 / GRAVITY), "land_sea_mask": ("land_sea_mask", 1.0)}
#: Times of one variable that are held at once before they are carried to the ladder's cells.
TIMES_AT_ONCE = 16


class Options(Frozen):
    """What is taken of a store; all of it is in the ladder's digest."""

    store: Store = Field("64x32", description="which of the stores, columns x rows")
    years: dict[Split, tuple[int, int]] = Field(
        {"train": (1990, 2016), "validation": (2018, 2018), "test": (2020, 2020)},
        description="first and last year of each split; a year or more lies between two splits",
    )
    frames: int = Field(4, ge=1, description="times of one sequence")
    interval: float = Field(6.0, gt=0, description="hours between two times of a sequence")
    most: dict[Split, int] = Field(
        {"train": 100, "validation": 12, "test": 24}, description="sequences of a split, spread evenly over its years"
    )
    block: float = Field(10.0, gt=0, description="days: sequences that begin in one block are one cluster")
    static: bool = Field(True, description="orography and land-sea mask, where the store has them")

    @field_validator("years")
    @classmethod
    def _lie_apart(cls, years: dict[Split, tuple[int, int]]) -> dict[Split, tuple[int, int]]:
        if set(years) != set(SPLITS):
            raise ValueError("are given for train, validation and test")
        if any(first > last for first, last in years.values()):
            raise ValueError("run from the first to the last")
        if any(later[0] - earlier[1] < 2 for earlier, later in pairwise(sorted(years.values()))):
            raise ValueError("of two splits have a year or more between them")
        return years

    @field_validator("most")
    @classmethod
    def _are_positive(cls, most: dict[Split, int]) -> dict[Split, int]:
        if set(most) != set(SPLITS) or min(most.values()) < 1:
            raise ValueError("is given for train, validation and test, each 1 or more")
        return most


def check(options: Options, *, finest: Grid) -> None:
    """Raises ConfigError where the store is coarser than the finest rung."""
    columns, rows = map(int, options.store.split("x"))
    if finest.shape[0] > rows or finest.shape[1] > columns:
        raise ConfigError(
            f"rung {finest.name} ({finest.shape[0]} x {finest.shape[1]} cells) is finer than the store {options.store}",
            do="take a finer store (--set store=240x121 or 1440x721), or coarser rungs",
        )


def load(ask: Ask) -> Loaded:
    """Read the sequences of each split, chunk by chunk; what an interrupted call fetched is not fetched again.

    Raises DownloadError where the store cannot be had, or lacks a variable, level or all times of a split.
    """
    o: Options = ask.options
    if o.store not in ask.source.urls:
        raise ConfigError(unknown("store", o.store, ask.source.urls), do="add its address to the catalogue")
    parts = ZarrParts(
        ask.source.urls[o.store],
        ask.cache,
        what=f"WeatherBench 2 store {o.store}",
        offline=ask.offline,
        force=ask.force,
    )
    times, before = times_of(parts)
    starts = {split: starts_of(times, o, split, what=parts.what) for split in SPLITS}
    place = geography(parts.read("latitude"), parts.read("longitude"), box=ask.finest, name=parts.what)
    wanted = np.unique(np.concatenate([index.ravel() for index in starts.values()]))
    names = [variable.name for variable in ask.entry.variables]
    tell = ask.tell("downloading")
    fields: dict[str, _OnCells] = {}
    for i, name in enumerate(names):

        def share(done: float, names_done: int = i) -> None:
            tell((names_done + done) / len(names))

        fields[name] = _on_cells(parts, name, before + wanted, place, ask.finest, tell=share)
    valid = _valid([field.valid for field in fields.values()])
    present = np.all([field.present for field in fields.values()], axis=0)
    splits: dict[str, SplitFields] = {}
    dropped = 0
    for split, index in starts.items():
        at = np.searchsorted(wanted, index)
        whole = present[at].all(axis=1)
        dropped += int((~whole).sum())
        if not whole.any():
            raise DownloadError(
                f"{parts.what} has no values at the times of the {split} split, {_span(o.years[split])}",
                do="take other years: --set years.train=1990,2016",
            )
        at, index = at[whole], index[whole]
        blocks = (times[index[:, 0]] - np.datetime64("1900-01-01")) / np.timedelta64(1, "h") // (24 * o.block)
        splits[split] = SplitFields(
            values={name: field.values[at] for name, field in fields.items()},
            valid=None if valid is None else valid[at],
            times=times[index],
            clusters=blocks.astype(np.int64),
        )
    attrs = {
        "store": o.store,
        "record_start": str(times[0]),
        "record_end": str(times[-1]),
        "metadata_sha256": parts.digest,
        "rows": f"{len(place.rows)} from {place.grid.origin[0]:g} degrees north, {place.grid.centring}s",
        "sequences_left_out": f"{dropped}, for times that the store does not hold",
        **{f"{split}_years": _span(years) for split, years in o.years.items()},
    }
    if not is_own(place, ask.finest):
        attrs["energy_removed_by_the_first_cells"] = f"{np.mean([field.removed for field in fields.values()]):.4f}"
    static = _static(parts, place, ask.finest) if o.static else {}
    return Loaded(splits, static=static, attrs=attrs)


def _span(years: tuple[int, int]) -> str:
    return f"{years[0]} to {years[1]}"


def times_of(parts: ZarrParts) -> tuple[np.ndarray, int]:
    """(time,) datetime64[s], rising, as far as the store says that it is filled in; and how many it has before these.

    Raises DownloadError where times do not rise, or have no date.
    """
    info = parts.info("time")
    raw = parts.read("time")
    try:
        dates = netCDF4.num2date(
            raw,
            info.attrs["units"],
            info.attrs.get("calendar", "standard"),
            only_use_cftime_datetimes=False,
            only_use_python_datetimes=True,
        )
    except (KeyError, ValueError, OverflowError):
        raise DownloadError(f"the times of {parts.what} have no date") from None
    times = np.asarray(dates, dtype="datetime64[s]")
    if len(times) < 1 or (np.diff(times) <= np.timedelta64(0)).any():
        raise DownloadError(f"the times of {parts.what} do not rise")
    begin, until = (str(parts.attrs.get(f"valid_time_{word}", "")).replace(" ", "T") for word in ("start", "stop"))
    filled = np.ones(len(times), bool)
    try:
        if begin:
            filled &= times >= np.datetime64(begin, "s")
        if until:  # the last day is in, an hour is the hour itself
            filled &= times <= np.datetime64(until, "s") + np.timedelta64(0 if "T" in until else 86399, "s")
    except ValueError:
        raise DownloadError(f"{parts.what} is valid from '{begin}' to '{until}', which are no times") from None
    return times[filled], int(filled.argmax())


def starts_of(times: np.ndarray, options: Options, split: Split, *, what: str) -> np.ndarray:
    """The times of a split's sequences as indices into `times`: (sequence, frame).

    A sequence lies within the years of its split and on times that there are; no two share one.
    Raises DownloadError where there is none.
    """
    first, last = options.years[split]
    begin, end = np.datetime64(str(first), "s"), np.datetime64(str(last + 1), "s")
    offsets = np.arange(options.frames) * np.timedelta64(round(3600 * options.interval), "s")
    inside = np.flatnonzero((times >= begin) & (times < end))
    wanted = times[inside][:, None] + offsets
    index = np.searchsorted(times, wanted).clip(max=len(times) - 1)
    whole = (times[index] == wanted).all(axis=1) & (wanted[:, -1] < end)
    index = index[whole]
    apart: list[np.ndarray] = []
    for row in index:
        if not apart or times[row[0]] > times[apart[-1][-1]]:
            apart.append(row)
    if not apart:
        raise DownloadError(
            f"{what} has no {options.frames} times {options.interval:g} hours apart in {_span(options.years[split])}",
            do="take other years, or another interval: --set interval=6",
        )
    most = min(options.most[split], len(apart))
    kept = np.linspace(0, len(apart) - 1, most).round().astype(int)
    return np.stack([apart[i] for i in kept])


@dataclass(frozen=True)
class _OnCells:
    """One variable at the wanted times: values (time, *cells), valid likewise or None, present (time,)."""

    values: np.ndarray
    valid: np.ndarray | None
    present: np.ndarray
    removed: float


def _on_cells(
    parts: ZarrParts,
    name: str,
    wanted: np.ndarray,
    place: Geography,
    finest: Grid,
    *,
    tell: Callable[[float], None],
) -> _OnCells:
    """Some times at once, in whole chunks, from the store to the ladder's cells."""
    stored, where = source_of(parts, name)
    per_chunk = parts.info(stored).chunks[parts.info(stored).axis("time")]
    pieces, masks, variances = [], [], []
    for group in _groups(wanted, per_chunk):
        raw = _transposed(parts, stored, {**where, "time": group})
        cells, valid = onto_box(raw, place, finest, name=parts.what)
        pieces.append(cells)
        masks.append(np.ones(cells.shape, bool) if valid is None else valid)
        ordered = place.ordered(raw)
        if (held := np.isfinite(ordered)).any():
            after = variance(cells, finest.with_shape(cells.shape[-2:]), masks[-1])
            variances.append((variance(np.nan_to_num(ordered), place.grid, held), after))
        tell(float(np.searchsorted(wanted, group[-1]) + 1) / len(wanted))
    valid_all = np.concatenate(masks)
    present = np.asarray(valid_all.any(axis=(1, 2)))
    before, after = np.sum(variances, axis=0) if variances else (0.0, 0.0)
    return _OnCells(
        np.concatenate(pieces),
        None if valid_all[present].all() else valid_all,
        present,
        1.0 - after / before if before > 0 else 0.0,
    )


def _groups(wanted: np.ndarray, per_chunk: int) -> list[np.ndarray]:
    """The times in parts of whole chunks, of about TIMES_AT_ONCE each: no chunk is decoded twice."""
    chunk = wanted // per_chunk
    at_once = np.unique(chunk)
    size = max(1, TIMES_AT_ONCE // per_chunk)
    return [wanted[np.isin(chunk, at_once[i : i + size])] for i in range(0, len(at_once), size)]


def source_of(parts: ZarrParts, name: str) -> tuple[str, Mapping[str, Any]]:
    """The array that holds a variable, and which of its levels.

    Raises DownloadError where the store lacks either, naming what it has.
    """
    if name in parts.names:
        if "level" in parts.info(name).dims:
            raise DownloadError(f"'{name}' of {parts.what} has levels: name one, as in {name}_500")
        if "time" not in parts.info(name).dims:
            raise DownloadError(f"'{name}' of {parts.what} has no times")
        return name, {}
    found = re.fullmatch(r"(.+)_(\d+)", name)
    if found is None or found[1] not in parts.names or "level" not in parts.info(found[1]).dims:
        raise DownloadError(f"{parts.what}: {unknown('variable', name, parts.names)}")
    levels = parts.read("level").astype(int).tolist()
    if int(found[2]) not in levels:
        raise DownloadError(f"{parts.what} has {found[1]} at the levels {levels}, not at {found[2]}")
    return found[1], {"level": [levels.index(int(found[2]))]}


def _transposed(parts: ZarrParts, stored: str, where: Mapping[str, Any]) -> np.ndarray:
    """(time, latitude, longitude), or without time, whatever the order in the store."""
    info = parts.info(stored)
    u = parts.read(stored, dict(where))
    order = [dim for dim in ("time", "level", "latitude", "longitude") if dim in info.dims]
    if sorted(order) != sorted(info.dims) or not {"latitude", "longitude"} <= set(order):
        raise DownloadError(f"'{stored}' of {parts.what} lies along {', '.join(info.dims)}")
    u = u.transpose([info.axis(dim) for dim in order])
    return u.squeeze(order.index("level")) if "level" in order else u


def _valid(masks: list[np.ndarray | None]) -> np.ndarray | None:
    """Where all variables are valid; None where all are everywhere."""
    some = [mask for mask in masks if mask is not None]
    return None if not some else np.logical_and.reduce(some)


def _static(parts: ZarrParts, place: Geography, finest: Grid) -> dict[str, np.ndarray]:
    """Orography in metres and the share of land, those of the two that the store has."""
    fields = {}
    for ours, (stored, factor) in STATIC.items():
        if stored in parts.names and set(parts.info(stored).dims) == {"latitude", "longitude"}:
            cells, _ = onto_box(_transposed(parts, stored, {}), place, finest, name=parts.what)
            fields[ours] = np.float32(factor) * cells
    return fields
