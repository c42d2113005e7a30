"""A user's own fields: a NetCDF file or a Zarr store that `anchorbench.data.own` has described.

Samples (trajectories, members, subjects) go round-robin to the splits.  One long series is cut into periods that go
round-robin; where the split changes, a gap is left out; windows do not overlap, nor bridge a time that is missing.
Each sample, and each stretch between two gaps, is a cluster.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, field_validator

from anchorbench.config import Frozen
from anchorbench.data.cf import Clock, Line, Role, clock_of, line_of, open_set, values_of
from anchorbench.data.sources import Ask, Loaded, SplitFields
from anchorbench.data.splits import SPLITS, Split
from anchorbench.errors import ConfigError, DownloadError, LadderError

if TYPE_CHECKING:
    import xarray as xr


#: With three samples each split has one; of five or more, three fifths are for training.
USUAL_TURNS: tuple[Split, ...] = ("train", "test", "validation", "train", "train")


class FileVariable(Frozen):
    """A variable of the file, or one level of it, numbered from 0."""

    name: str
    level: int | None = None


class Options(Frozen):
    """What is taken from the file; all but its place is in the ladder's digest."""

    path: str = Field(exclude=True, description="where the file is, absolute, or the address of a store")
    size: int = Field(exclude=True, description="bytes when it was described; 0 at an address")
    mtime: float = Field(exclude=True, description="when it was last changed; 0 at an address")
    content: str = Field(description="SHA-256 of the file; of the metadata for a store at an address")
    variables: dict[str, FileVariable] = Field(min_length=1, description="the ladder's name of each")
    dims: dict[Role, str] = Field(description="dimensions of the file, by what they are")
    leave_out_last: tuple[Role, ...] = Field((), description="axes whose last point repeats the first")
    crop: tuple[int, ...] = Field((), description="points per axis, cut from the centre")
    frames: int = Field(1, ge=1, description="frames of one sample")
    gap: int = Field(0, ge=0, description="of a series: frames left out where the split changes")
    periods: int = Field(20, ge=3, description="of a series: parts that go to the splits in turn")
    turns: tuple[Split, ...] = Field(USUAL_TURNS, description="whose turn a sample or period is")
    most: dict[Split, int] = Field(default_factory=dict, description="most samples of a split, spread evenly")

    @field_validator("turns")
    @classmethod
    def _all_splits_have_a_turn(cls, turns: tuple[Split, ...]) -> tuple[Split, ...]:
        if set(turns) != set(SPLITS):
            raise ValueError(f"name train, validation and test, each at least once: {turns}")
        return turns


def load(ask: Ask) -> Loaded:
    """The fields as they were described: (sample, time, *grid) float32, axes rising, 0 and masked where missing.

    Raises LadderError where the file has changed since, DownloadError where it cannot be read, ConfigError where a
    split is left without a sample.
    """
    options: Options = ask.options
    if ask.offline and "://" in options.path:
        raise DownloadError("the store is at an address, and this is offline", do="leave --offline out")
    if (changed := what_changed(options)) is not None:
        raise LadderError(
            changed,
            do=f"describe it again: anchorbench fetch --from {options.path} --name {ask.entry.name} ...",
        )
    tell = ask.tell("reading")
    with open_set(options.path) as dataset:
        lines = lines_of(dataset, options)
        clock = None
        if "time" in options.dims:
            found = clock_of(dataset, options.dims["time"])
            if isinstance(found, str):
                raise LadderError(f"{options.path}: {found}")
            clock = found
        n_samples = dataset.sizes[options.dims["sample"]] if "sample" in options.dims else None
        picked = pick(options, clock, n_samples)
        reader = _reader(dataset, options, lines)
        total, done = sum(map(len, picked.values())) * len(options.variables), 0
        splits: dict[str, SplitFields] = {}
        for split, windows in picked.items():
            values: dict[str, np.ndarray] = {}
            valid: np.ndarray | None = None
            for name in options.variables:
                parts = []
                for sample, start, _ in windows:
                    parts.append(reader(name, sample, start))
                    done += 1
                    tell(done / total)
                values[name] = np.stack(parts)
                there = np.isfinite(values[name])
                valid = there if valid is None else valid & there
            assert valid is not None
            times = None
            if clock is not None and clock.dates is not None:
                index = np.array([start for _, start, _ in windows])[:, None] + np.arange(options.frames)
                times = clock.dates[index]
            splits[split] = SplitFields(
                {name: np.where(valid, u, np.float32(0)) for name, u in values.items()},
                valid=None if valid.all() else valid,
                times=times,
                clusters=np.array([cluster for _, _, cluster in windows]),
            )
    attrs = {"content_sha256": options.content, "file": Path(options.path).name, "split_by": _split_in_words(options)}
    if "sample" not in options.dims and clock is not None:
        # One record: clusters that follow one another in it are not quite independent.
        along = clock.steps if clock.dates is None else clock.dates
        attrs |= {"record_start": str(along[0]), "record_end": str(along[-1])}
    return Loaded(splits, attrs=attrs)


def _split_in_words(options: Options) -> str:
    if "sample" in options.dims:
        return f"{options.dims['sample']}, in turn"
    return f"{options.periods} periods of time in turn, {options.gap} frames left out where the split changes"


def lines_of(dataset: xr.Dataset, options: Options) -> list[Line]:
    """The axes of space, slowest first.  Raises LadderError where they are not what they were."""
    lines = []
    for role in ("z", "y", "x", "lat", "lon"):
        if role in options.dims:
            line = line_of(dataset, options.dims[role], role)
            if isinstance(line, str):
                raise LadderError(f"{options.path}: {line}")
            lines.append(line)
    return lines


def _reader(dataset: xr.Dataset, options: Options, lines: list[Line]) -> Callable[[str, int | None, int], np.ndarray]:
    """read(variable, sample, first frame): (frames, *grid) float32, NaN where missing, axes rising."""
    space = [line.dim for line in lines]

    def read(name: str, sample: int | None, start: int) -> np.ndarray:
        wanted = options.variables[name]
        held = dataset[wanted.name]
        chosen: dict[str, int | slice] = {}
        if sample is not None:
            chosen[options.dims["sample"]] = sample
        if "time" in options.dims:
            chosen[options.dims["time"]] = slice(start, start + options.frames)
        if wanted.level is not None:
            chosen[options.dims["level"]] = wanted.level
        taken = held.isel(chosen)
        order = ([options.dims["time"]] if "time" in options.dims else []) + space
        # What is left besides has one point.
        taken = taken.squeeze([dim for dim in taken.dims if dim not in order], drop=True).transpose(*order)
        values = values_of(taken, options.path)
        if "time" not in options.dims:
            values = values[None]
        values = within(values, held.attrs)
        for axis, line in enumerate(lines, start=1):
            if line.falls:
                values = np.flip(values, axis)
            if line.role in options.leave_out_last:
                values = values[(slice(None),) * axis + (slice(None, -1),)]
        for axis, points in enumerate(options.crop, start=1):
            first = (values.shape[axis] - points) // 2
            values = values[(slice(None),) * axis + (slice(first, first + points),)]
        return np.ascontiguousarray(values)

    return read


def within(values: np.ndarray, attrs: Mapping[str, object]) -> np.ndarray:
    """NaN where a value lies outside what the file calls valid: `valid_range`, `valid_min`, `valid_max`."""
    low, high = np.asarray(attrs.get("valid_range", (-np.inf, np.inf)), dtype=float)
    low = max(low, float(np.asarray(attrs.get("valid_min", -np.inf), dtype=float)))
    high = min(high, float(np.asarray(attrs.get("valid_max", np.inf), dtype=float)))
    return np.where((values >= low) & (values <= high), values, np.float32(np.nan))


#: (sample or None, first frame, cluster).
Window = tuple[int | None, int, int]


def pick(options: Options, clock: Clock | None, n_samples: int | None) -> dict[Split, list[Window]]:
    """The samples of each split.  Raises ConfigError where one is left without."""
    if n_samples is not None:
        found = by_sample(n_samples, options.turns)
    else:
        steps = np.zeros(1, np.int64) if clock is None else clock.steps
        found = by_time(steps, frames=options.frames, gap=options.gap, periods=options.periods, turns=options.turns)
    for split, windows in found.items():
        if not windows:
            raise ConfigError(
                f"the {split} split is left without a sample",
                do="shorter windows (--set frames=...), a narrower gap (--set gap=...), or more data",
            )
    picked = {}
    for split, windows in found.items():
        most = min(options.most.get(split, len(windows)), len(windows))
        picked[split] = [windows[i] for i in np.linspace(0, len(windows) - 1, most).round().astype(int)]
    return picked


def by_sample(n: int, turns: tuple[Split, ...]) -> dict[Split, list[Window]]:
    """Sample i goes to turns[i mod len(turns)], from its first frame on."""
    return {split: [(i, 0, i) for i in range(n) if turns[i % len(turns)] == split] for split in SPLITS}


def by_time(
    steps: np.ndarray, *, frames: int, gap: int, periods: int, turns: tuple[Split, ...]
) -> dict[Split, list[Window]]:
    """Windows of one series: of `frames` frames that follow one another, none in two splits, a gap between splits.

    Period k, of `periods` equally long ones, goes to turns[k mod len(turns)]; where the next is another split's, its
    last `gap` steps are left out.  steps: (time,) int, of each frame; a jump is a gap in the record.
    """
    length = (int(steps[-1]) + 1) / periods
    period = np.minimum((steps / length).astype(int), periods - 1)
    owners = np.array([turns[k % len(turns)] for k in range(periods)])
    leaves_off = np.full(periods, np.inf)
    for k in range(periods - 2, -1, -1):
        leaves_off[k] = leaves_off[k + 1] if owners[k] == owners[k + 1] else (k + 1) * length
    usable = np.flatnonzero(steps < leaves_off[period] - gap)
    found: dict[Split, list[Window]] = {split: [] for split in SPLITS}
    if not len(usable):
        return found
    owner = owners[period]
    breaks = (np.diff(steps[usable]) > 1) | (owner[usable][1:] != owner[usable][:-1])
    cluster, former = -1, None
    for part in np.split(usable, np.flatnonzero(breaks) + 1):
        # A time that is missing breaks windows, not what belongs together.
        begins = (owner[part[0]], leaves_off[period[part[0]]])
        cluster, former = cluster + (begins != former), begins
        split = next(s for s in SPLITS if s == owner[part[0]])
        found[split] += [(None, int(part[i]), cluster) for i in range(0, len(part) - frames + 1, frames)]
    return found


def what_changed(options: Options) -> str | None:
    """One sentence where the file is not what was described, None where it is.

    It is hashed only where size or date differ.  Raises DownloadError where it is gone.
    """
    size, mtime = size_and_date(options.path)
    if (size, mtime) == (options.size, options.mtime) and "://" not in options.path:
        return None
    if digest_of_content(options.path) == options.content:
        return None
    return f"{_named(options.path)} has changed since it was described"


def size_and_date(path: str) -> tuple[int, float]:
    """Bytes and last change of a file, or of all files of a folder; zeros at an address.  Raises DownloadError."""
    if "://" in path:
        return 0, 0.0
    try:
        stats = [file.stat() for file in _files(Path(path))]
    except OSError as error:
        raise DownloadError(f"{path} cannot be read: {error.strerror}") from None
    return sum(s.st_size for s in stats), max((s.st_mtime for s in stats), default=0.0)


def digest_of_content(path: str) -> str:
    """SHA-256 of a file; of a folder, of the names and digests of its files; of a store at an address, of its metadata.

    Raises DownloadError where it cannot be read.
    """
    if "://" in path:
        return _digest_of_metadata(path)
    try:
        files = _files(Path(path))
        if files == [Path(path)]:
            with Path(path).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        whole = hashlib.sha256()
        for one in files:
            with one.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            whole.update(f"{one.relative_to(path).as_posix()} {digest}\n".encode())
        return whole.hexdigest()
    except OSError as error:
        raise DownloadError(f"{path} cannot be read: {error.strerror}") from None


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        path.stat()
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file())


def _digest_of_metadata(address: str) -> str:
    """What xarray sees of a remote store: names, shapes, types and attributes, not the values."""
    with open_set(address) as dataset:
        return hashlib.sha256(repr(sorted_content(dataset)).encode()).hexdigest()


def sorted_content(dataset: xr.Dataset) -> list[tuple[str, ...]]:
    """One row a variable and one for the set, the same whatever the order in the store."""
    rows = [
        (str(name), str(held.dims), str(held.shape), str(held.dtype), str(sorted(map(str, held.attrs.items()))))
        for name, held in dataset.variables.items()
    ]
    return [*sorted(rows), ("", str(sorted(map(str, dataset.attrs.items()))))]


def _named(path: str) -> str:
    return "the store" if "://" in path else path
