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

The record is cut into periods, which go round-robin to the splits.  Where the split changes, a gap is left out, so
that no frame of one split is closer than the gap to a frame of another.  Each stretch between two gaps is a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import netCDF4
import numpy as np
from pydantic import Field, model_validator

from anchorbench.config import Frozen, validated
from anchorbench.data.catalog import DatasetEntry, SampleFile, SampleSource, SizeEntry
from anchorbench.data.package_index import sample_member
from anchorbench.data.sources import SplitFields
from anchorbench.errors import ConfigError, DownloadError

Split = Literal["train", "validation", "test"]

VARIABLE = "rainfall_amount"
MISSING = -9999
STEP_MM = 0.01


class Selection(Frozen):
    """Which sequences are taken from the record; all of it is in the ladder's digest."""

    frames: int = Field(24, ge=2, description="frames of one sequence")
    wet_share: float = Field(0.05, ge=0, le=1, description="least share of wet cells, mean over a sequence")
    wet_above: float = Field(0.0, ge=0, description="a cell is wet above this, mm in 5 minutes")
    period: float = Field(3.0, gt=0, description="hours that go to one split before the next split's turn")
    turns: tuple[Split, ...] = Field(("train", "train", "train", "test", "validation"), description="whose turn it is")
    gap: float = Field(1.0, ge=0, description="hours left out where the split changes")
    most: dict[Split, int] = Field(default_factory=dict, description="most sequences of a split, spread evenly")

    @model_validator(mode="after")
    def _all_splits_have_a_turn(self) -> Selection:
        if set(self.turns) != {"train", "validation", "test"}:
            raise ValueError(f"turns name train, validation and test, each at least once: {self.turns}")
        if any(n < 1 for n in self.most.values()):
            raise ValueError(f"most is at least 1 for each split: {self.most}")
        return self


@dataclass(frozen=True)
class RadarFrames:
    """A record of radar frames, cut to a square; kept packed, for unpacked it takes a gigabyte.

    codes: (time, y, x) int16, y northward, rain in steps of 0.01 mm in 5 minutes, -9999 where nothing was measured.
    times: (time,) datetime64[s], as the file says.
    """

    codes: np.ndarray
    times: np.ndarray
    attrs: Mapping[str, Any]

    def valid(self, index: Any = slice(None)) -> np.ndarray:
        """True where something was measured: (*index, y, x)."""
        return np.asarray(self.codes[index] != MISSING)

    def rain(self, index: Any = slice(None)) -> np.ndarray:
        """mm in 5 minutes, float32, 0 where not valid: (*index, y, x)."""
        codes = self.codes[index]
        return np.where(codes == MISSING, 0, codes).astype(np.float32) * np.float32(STEP_MM)

    def wet_share(self, above: float) -> np.ndarray:
        """Share of the valid cells with more than `above` mm: (time,)."""
        threshold = np.floor(above / STEP_MM + 1e-6)  # in codes; what is missing lies below it
        wet = (self.codes > threshold).sum(axis=(1, 2))
        return np.asarray(wet / np.maximum(self.valid().sum(axis=(1, 2)), 1))


def load(
    dataset: DatasetEntry,
    *,
    size: SizeEntry,
    cache: Path,
    offline: bool = False,
    force: bool = False,
    progress: Callable[[float], None] | None = None,
) -> dict[Split, SplitFields]:
    """Download the sample, unless it is in the cache, and pick the sequences of each split.

    Returns rain in mm per 5 minutes, (sample, time, size.crop, size.crop), with masks, times and clusters.
    Raises DownloadError where the file cannot be had or is not what the catalogue promises, ConfigError where the
    selection leaves a split empty.
    """
    source = dataset.sources.sample
    if source is None or size.crop is None:
        raise ConfigError(f"dataset '{dataset.name}' needs a sample and a crop in the catalogue to be read")
    file = source.files[0]

    def tell(done: int, total: int | None) -> None:
        if progress is not None and total:
            progress(min(1.0, done / total))

    path = sample_member(file, cache, offline=offline, force=force, progress=tell)
    frames = radolan_frames(path, crop=size.crop)
    fields = pick_sequences(frames, validated(Selection, size.selection, where=f"dataset '{dataset.name}' selection"))
    attrs = {**provenance(source, file), **frames.attrs}
    return {split: replace(f, attrs=attrs) for split, f in fields.items()}


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


def stretches(times: np.ndarray, selection: Selection) -> list[tuple[Split, int, int]]:
    """Cut a record into stretches (split, first frame, last frame + 1) that no two splits share.

    Period k, hours [k, k+1) · period after the first frame, goes to turns[k mod len(turns)].  A stretch joins periods
    of one split; it ends `gap` hours early where another split follows, and wherever frames are missing.
    """
    second = np.timedelta64(1, "s")
    seconds = (times - times[0]) / second
    period, gap = 3600 * selection.period, 3600 * selection.gap
    turn = (seconds // period).astype(int)
    owners = [selection.turns[k % len(selection.turns)] for k in range(turn[-1] + 1)]
    leaves_off = np.full(len(owners), np.inf)  # per period, when the next period of another split begins
    for k in range(len(owners) - 2, -1, -1):
        leaves_off[k] = leaves_off[k + 1] if owners[k] == owners[k + 1] else (k + 1) * period
    usable = np.flatnonzero(seconds < leaves_off[turn] - gap)
    owner = np.array(owners)[turn]
    step = np.min(np.diff(seconds))
    breaks = (np.diff(usable) > 1) | (np.diff(seconds[usable]) > 1.5 * step) | (owner[usable][1:] != owner[usable][:-1])
    parts = np.split(usable, np.flatnonzero(breaks) + 1)
    return [(owners[turn[part[0]]], int(part[0]), int(part[-1]) + 1) for part in parts if len(part)]


def pick_sequences(frames: RadarFrames, selection: Selection) -> dict[Split, SplitFields]:
    """Tile each stretch with sequences that don't overlap and keep those with enough rain.

    wet share = mean over valid cells of [rain > wet_above].  A stretch is one cluster, numbered from 0 in time.
    Raises ConfigError where a split is left without a sequence.
    """
    n = selection.frames
    wet_share = frames.wet_share(selection.wet_above)
    starts: dict[Split, list[tuple[int, int]]] = {"train": [], "validation": [], "test": []}
    for cluster, (split, begin, end) in enumerate(stretches(frames.times, selection)):
        for start in range(begin, end - n + 1, n):
            if wet_share[start : start + n].mean() >= selection.wet_share:
                starts[split].append((start, cluster))
    picked: dict[Split, SplitFields] = {}
    for split, found in starts.items():
        if not found:
            raise ConfigError(
                f"no sequence of {n} frames in the {split} split has {selection.wet_share:.0%} of its cells wet",
                do="lower selection.wet_share or selection.frames",
            )
        most = min(selection.most.get(split, len(found)), len(found))
        kept = [found[i] for i in np.linspace(0, len(found) - 1, most).round().astype(int)]
        index = np.array([start for start, _ in kept])[:, None] + np.arange(n)
        picked[split] = SplitFields(
            values={VARIABLE: frames.rain(index)},
            valid=frames.valid(index),
            times=frames.times[index],
            clusters=np.array([cluster for _, cluster in kept]),
        )
    return picked


def provenance(source: SampleSource, file: SampleFile) -> dict[str, str]:
    """Who made the data, on what terms, and which bytes they are.  No address of an index."""
    return {
        "display_name": source.display_name,
        "producer": source.producer,
        "terms": source.terms,
        "source": "sample",
        "units": "mm",
        "package": file.package,
        "package_version": file.version,
        "artefact": file.artefact.name,
        "artefact_sha256": file.artefact.sha256,
        "member": file.member.path,
        "member_sha256": file.member.sha256,
    }
