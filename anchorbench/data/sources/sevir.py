"""sevir, public: the storm event imagery itself, vertically integrated liquid (VIL), single events from the bucket.

    s3://sevir/CATALOG.csv                                         a row per event and sensor
    s3://sevir/data/vil/2019/SEVIR_VIL_STORMEVENTS_2019_....h5     `id` (N,), `vil` (N, 384, 384, 49) uint8

An event is 384 km x 384 km at 1 km in Lambert's azimuthal equal-area projection, 49 frames in 4 hours.  In kg/m², with
the code X in 0 ... 254,

    v = 0, X ≤ 5;   (X − 2) / 90.66, X ≤ 18;   exp((X − 83.9) / 38.9) above.

The traps, each with a test: time is the last axis; 255 is missing, not 81 kg/m²; the row `file_index` may hold another
event than the catalogue says, or the file be shorter; some ids stand twice in the catalogue, and are left out, as its
makers do; frames may be missing, as all 255 or by a short list of offsets; the catalogue's time is the middle one.
Rows run from south to north already, as the catalogue's corners do.

Splits are those of Earthformer (Gao et al. 2022): training before 2019, validation January to May 2019, test from June
2019; ours is the gap, events of the last hours before a split's end left out.  Events of one UTC day are one cluster.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np
import pandas as pd
from pydantic import Field

from anchorbench.config import Frozen
from anchorbench.data.download import note, part_of, refuse_offline
from anchorbench.data.remote import url_folder
from anchorbench.data.sources import Ask, Loaded, SplitFields
from anchorbench.data.sources.sevir_bucket import Bucket, RemoteHdf5
from anchorbench.data.splits import SPLITS, Split
from anchorbench.errors import ConfigError, DownloadError

VARIABLE, MISSING = "vil", 255
SIDE, FRAMES, MINUTES = 384, 49, 5
COLUMNS = (
    "id", "file_name", "file_index", "img_type", "time_utc", "minute_offsets", "event_type", "llcrnrlat", "llcrnrlon",
    "proj", "size_x", "size_y", "data_min", "data_max", "pct_missing",
)  # fmt: skip


class Options(Frozen):
    """Which events are taken; all of it is in the ladder's digest."""

    year: int | None = Field(None, description="only events of this year")
    years: tuple[int, ...] = Field((), description="only events of these years")
    events: Literal["all", "storm", "random"] = Field("all", description="of the storm database, or drawn at random")
    event_types: tuple[str, ...] = Field((), description="only these of the storm database: Hail, Tornado, ...")
    validation_from: str = Field("2019-01-01", pattern=r"^\d{4}-\d\d-\d\d$", description="first day of the split")
    test_from: str = Field("2019-06-01", pattern=r"^\d{4}-\d\d-\d\d$", description="first day of the split")
    gap: float = Field(24.0, ge=0, description="hours left out before the next split begins")
    frames: int = Field(25, ge=2, le=FRAMES, description="frames of one event, about its middle")
    missing: float = Field(0.0, ge=0, le=100, description="most missing values, per cent, by the catalogue")
    wet_share: float = Field(0.05, ge=0, le=1, description="least share of wet cells, mean over the frames")
    wet_above: float = Field(0.15, ge=0, description="a cell is wet above this, kg/m² (code 16 and higher)")
    most: dict[Split, Annotated[int, Field(ge=1)]] = Field(
        {"train": 64, "validation": 16, "test": 32}, description="most events of a split, spread evenly over its time"
    )
    limit: int | None = Field(None, ge=1, description="most events of a split that are looked at (7 MB each)")


@dataclass
class Picked:
    """The events of one split, and why others were left out."""

    codes: list[np.ndarray] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def load(ask: Ask) -> Loaded:
    """The catalogue, then event after event until each split has enough; what has come stays in the cache.

    Returns VIL in kg/m², (sample, frame, crop, crop), with masks, times and clusters.
    Raises DownloadError where the bucket cannot be read, ConfigError where the selection leaves a split empty.
    """
    options, crop = cast(Options, ask.options), ask.size.crop or SIDE
    if crop > SIDE:
        raise ConfigError(f"an event has {SIDE} cells on an axis, fewer than the crop of {crop}", do="--set crop=384")
    source = _Events(ask)
    table = catalogue(source.catalogue_file(), options)
    splits: dict[str, SplitFields] = {}
    about: dict[str, str] = {}
    with source:
        for split, rows in split_rows(table, options).items():
            picked = _pick(
                source, rows, options, most=options.most.get(split, len(rows)), tell=ask.tell(f"{split} events")
            )
            if not picked.rows:
                reasons = ", ".join(f"{n} {why}" for why, n in picked.left_out.items()) or "none is in the catalogue"
                raise ConfigError(
                    f"no event is left for the {split} split: {reasons}", do="widen years, events, missing or wet_share"
                )
            splits[split] = _fields(picked, options, crop)
            about[f"events_{split}"] = ", ".join(str(row.id) for row in picked.rows)
            about[f"left_out_{split}"] = ", ".join(f"{n} {why}" for why, n in sorted(picked.left_out.items()))
    about |= {
        "projection": str(table.proj.iloc[0]),
        "split_rule": f"train before {options.validation_from}, test from {options.test_from}, gap {options.gap:g} h",
        "crop": f"the {crop} x {crop} cells in the middle",
    }
    return Loaded(splits, attrs=about)


def decode(codes: np.ndarray) -> np.ndarray:
    """Codes to kg/m², float32; 0 where missing.  Any shape."""
    x = np.arange(256, dtype=np.float64)
    table = np.where(x <= 5, 0.0, np.where(x <= 18, (x - 2) / 90.66, np.exp((x - 83.9) / 38.9)))
    table[MISSING] = 0.0
    return np.asarray(table.astype(np.float32)[codes])


def catalogue(path: Path, options: Options) -> pd.DataFrame:
    """The VIL rows of the catalogue that the options want, by time.  Raises DownloadError for another layout."""
    try:
        table = pd.read_csv(path, low_memory=False)
        if "time_utc" in table:
            table["time_utc"] = pd.to_datetime(table["time_utc"], format="ISO8601")
    except (ValueError, OSError) as error:
        raise DownloadError(f"{path} cannot be read as SEVIR's catalogue: {error}") from None
    if lacking := [name for name in COLUMNS if name not in table]:
        raise DownloadError(f"{path} is not SEVIR's catalogue: it lacks the columns {', '.join(lacking)}")
    table = table[table.img_type == VARIABLE]
    table = table[~table.id.duplicated(keep=False)]
    keep = (table.size_x == SIDE) & (table.size_y == SIDE) & (table.pct_missing.fillna(0) <= options.missing)
    if wanted := {*options.years, *([] if options.year is None else [options.year])}:
        keep &= table.time_utc.dt.year.isin(wanted)
    if options.events != "all":
        keep &= table.id.str.startswith(options.events[0].upper())
    if options.event_types:
        keep &= table.event_type.isin(options.event_types)
    return table[keep].sort_values(["time_utc", "id"], kind="stable")


def split_rows(table: pd.DataFrame, options: Options) -> dict[Split, list[Any]]:
    """Rows of each split by date, `gap` hours before the next one left out."""
    validation, test = pd.Timestamp(options.validation_from), pd.Timestamp(options.test_from)
    if test <= validation:
        raise ConfigError(f"the test split begins {options.test_from}, before validation, {options.validation_from}")
    gap, time = pd.Timedelta(hours=options.gap), table.time_utc
    parts = {
        "train": table[time < validation - gap],
        "validation": table[(time >= validation) & (time < test - gap)],
        "test": table[time >= test],
    }
    return {split: list(parts[split].itertuples(index=False)) for split in SPLITS}


def frame_times(row: Any) -> np.ndarray | None:
    """Times of an event's frames, datetime64[s]; None where they are not 49, five minutes apart."""
    try:
        offsets = np.array([int(float(word)) for word in str(row.minute_offsets).split(":")])
    except ValueError:
        return None
    if len(offsets) != FRAMES or (np.diff(offsets) != MINUTES).any():
        return None
    start: np.datetime64 = row.time_utc.to_datetime64().astype("datetime64[s]")
    return np.asarray(start + offsets * np.timedelta64(60, "s"))


def spread(n: int) -> Iterator[int]:
    """0 ... n − 1 in an order of which any beginning is spread evenly: van der Corput's."""
    bits = max(1, (n - 1).bit_length())
    for i in range(1 << bits):
        at = int(f"{i:0{bits}b}"[::-1], 2)
        if at < n:
            yield at


class _Events:
    """Events by the catalogue's rows, from the cache or the bucket."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._address = ask.source.urls.get("bucket", "s3://sevir")
        self._open: dict[str, tuple[RemoteHdf5, list[str] | None]] = {}
        self._bucket: Bucket | None = None
        self._stack = ExitStack()

    def __enter__(self) -> _Events:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def catalogue_file(self) -> Path:
        target = self._folder("CATALOG.csv") / "CATALOG.csv"
        if self._ask.force or not target.is_file():
            refuse_offline("SEVIR's catalogue", target, self._ask.offline)
            self.bucket.copy("CATALOG.csv", target)
        return note(target)

    @property
    def bucket(self) -> Bucket:
        if self._bucket is None:
            self._bucket = Bucket(self._address, endpoint=self._ask.source.urls.get("endpoint"), what="SEVIR")
        return self._bucket

    def codes(self, row: Any) -> np.ndarray | None:
        """One event, (frame, y, x) uint8; None where its file holds another one in its place, or none."""
        key = f"data/{row.file_name}"
        kept = note(self._folder(key) / f"{row.id}.npz")
        if not self._ask.force and (known := _kept(kept)) is not None:
            return known
        refuse_offline(f"event {row.id} of SEVIR", kept, self._ask.offline)
        codes = self._read(key, row)
        if codes is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            part = part_of(kept)
            with part.open("wb") as out:
                np.savez_compressed(out, codes=codes)
            part.replace(kept)
        return codes

    def _read(self, key: str, row: Any) -> np.ndarray | None:
        file, ids = self._file(key)
        index = int(row.file_index)
        if ids is not None and not (0 <= index < len(ids) and ids[index] == row.id):
            index = ids.index(row.id) if row.id in ids else -1
        shape = file.shape(VARIABLE)
        if shape is None or len(shape) != 4 or shape[1:] != (SIDE, SIDE, FRAMES):
            raise DownloadError(f"{key} of SEVIR holds no '{VARIABLE}' (N, {SIDE}, {SIDE}, {FRAMES}): {shape}")
        if not 0 <= index < shape[0]:
            return None
        return np.ascontiguousarray(np.moveaxis(file.read(VARIABLE, index), -1, 0))  # time is the last axis

    def _file(self, key: str) -> tuple[RemoteHdf5, list[str] | None]:
        """The file, opened once, and the ids that it holds; None where it names none."""
        if key not in self._open:
            file = self._stack.enter_context(self.bucket.hdf5(key))
            words = None if file.shape("id") is None else file.read("id").ravel()
            ids = None if words is None else [w.decode() if isinstance(w, bytes) else str(w) for w in words]
            self._open[key] = file, ids
        return self._open[key]

    def _folder(self, key: str) -> Path:
        return url_folder(self._ask.cache, f"{self._address}/{key}")


def _kept(path: Path) -> np.ndarray | None:
    """An event of the cache; None where it is not there, or damaged: then it is read again."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as made:
            return np.asarray(made["codes"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _pick(source: _Events, rows: list[Any], options: Options, *, most: int, tell: Any) -> Picked:
    """Events in an order that is spread over the split's time, until there are enough; back in the order of time."""
    picked, looked = Picked(), 0
    first = (FRAMES - options.frames) // 2
    for at in spread(len(rows)):
        if len(picked.rows) == most or looked == options.limit:
            break
        row, looked = rows[at], looked + 1
        why = _why_not(codes := source.codes(row), row, options)
        picked.left_out[why] += 1
        if not why:
            picked.rows.append(row)
            picked.codes.append(cast(np.ndarray, codes)[first : first + options.frames])
        tell(len(picked.rows) / most)
    del picked.left_out[""]
    order = sorted(range(len(picked.rows)), key=lambda i: (picked.rows[i].time_utc, picked.rows[i].id))
    return Picked([picked.codes[i] for i in order], [picked.rows[i] for i in order], picked.left_out)


def _why_not(codes: np.ndarray | None, row: Any, options: Options) -> str:
    """Why an event is left out; empty where it is not."""
    if codes is None:
        return "not in their file"
    if frame_times(row) is None:
        return "with missing frames"
    valid = codes != MISSING
    if not valid.any(axis=(1, 2)).all():
        return "with missing frames"
    if not _like_the_catalogue(codes[valid], row):
        return "unlike the catalogue's least and largest value"
    first = (FRAMES - options.frames) // 2
    inside = slice(first, first + options.frames)
    wet = (decode(codes[inside]) > options.wet_above).sum() / max(1, valid[inside].sum())
    return "too dry" if wet < options.wet_share else ""


def _like_the_catalogue(valid: np.ndarray, row: Any) -> bool:
    """Whether least and largest value are the catalogue's, which may count in codes, with or without 255, or kg/m²."""
    stated = np.array([row.data_min, row.data_max], dtype=np.float64)
    if not np.isfinite(stated).all():
        return True
    found = np.array([valid.min(), valid.max()])
    in_codes = abs(found - stated) <= 1
    in_units = abs(decode(found) - stated) <= 0.02 * np.maximum(1.0, stated)
    return bool((in_codes | (stated == MISSING)).all() or in_units.all())


def _fields(picked: Picked, options: Options, crop: int) -> SplitFields:
    first, cut = (FRAMES - options.frames) // 2, slice((SIDE - crop) // 2, (SIDE - crop) // 2 + crop)
    codes = np.stack([event[:, cut, cut] for event in picked.codes])
    valid = codes != MISSING
    times = np.stack([cast(np.ndarray, frame_times(row))[first : first + options.frames] for row in picked.rows])
    days = np.array([row.time_utc.to_datetime64().astype("datetime64[D]") for row in picked.rows])
    return SplitFields(
        values={VARIABLE: decode(codes)},
        valid=None if valid.all() else valid,
        times=times,
        clusters=np.unique(days, return_inverse=True)[1],
    )
