"""turbulence3d, public: cut-outs of the Johns Hopkins Turbulence Databases, tile by tile.

A query names a box of grid points by 1-based inclusive indices and a stored time, and answers with JSON: one data
variable, nested lists (z, y, x, component).  A testing token gets 4096 points a query at most, so a box is asked for in
tiles and joined; each tile stays in the cache, and an interrupted fetch goes on with the tiles that are missing.  The
traps of this service, each with a test:

- indices begin with 1 and the last one is inside;
- the components come last, and axes are z, y, x already;
- -999.9 is a value that is missing: it becomes the mask;
- the token comes from the environment variable ANCHORBENCH_JHTDB_TOKEN alone; it is in the address, so no address is
  shown, stored or hashed with it;
- a refusal may come as a page of words with status 200.

The box is a part of a periodic one, so it is not periodic, and rungs are block means.  Splits are blocks of time with a
gap between them, for all boxes alike: boxes at one time are parts of one flow.  A cluster is one stretch of time.

Source: Y. Li et al., J. Turbulence 9 (2008) N31; isotropic1024coarse: DOI 10.7281/T1KK98XB.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from pydantic import Field, model_validator

from anchorbench.config import Frozen
from anchorbench.data.download import is_offline
from anchorbench.data.remote import get_file, url_folder
from anchorbench.data.sources import Ask, Loaded, SplitFields
from anchorbench.data.splits import Split
from anchorbench.errors import ConfigError, DownloadError
from anchorbench.fields import Grid

Corner = tuple[int, int, int]

COMPONENTS = ("velocity_x", "velocity_y", "velocity_z")
TOKEN = "ANCHORBENCH_JHTDB_TOKEN"
MISSING = -999.9
ASK_FOR_ONE = "a token is free: write to turbulence@pha.jhu.edu, then  export " + TOKEN + "=..."


class Options(Frozen):
    """Which cut-outs are fetched; all of it is in the ladder's digest."""

    dataset: str = Field("isotropic1024coarse", pattern="^[A-Za-z0-9_]+$", description="set of the service")
    points: int = Field(1024, ge=1, description="grid points along an axis of the set")
    corners: tuple[Corner, ...] = Field(
        ((1, 1, 1),), min_length=1, description="first point of each box: x, y, z from 1"
    )
    frames: int = Field(2, ge=1, description="frames of one sequence")
    stride: int = Field(10, ge=1, description="stored times between two frames")
    train: tuple[int, int] = Field((1, 3200), description="first and last stored time of the split")
    validation: tuple[int, int] = Field((3500, 4000), description="first and last stored time of the split")
    test: tuple[int, int] = Field((4300, 5028), description="first and last stored time of the split")
    gap: int = Field(250, ge=1, description="least stored times between two splits")
    stretch: int = Field(250, ge=1, description="stored times of one cluster")
    most: dict[Split, int] = Field(
        {"train": 32, "validation": 6, "test": 12},
        description="sequences of a split, spread evenly over its times",
    )
    query_points: int = Field(4096, ge=64, description="most points that the token may ask for at once")

    @model_validator(mode="after")
    def _apart(self) -> Options:
        if set(self.most) != {"train", "validation", "test"} or min(self.most.values()) < 1:
            raise ValueError(f"most is at least 1 for each of train, validation, test: {self.most}")
        span = (self.frames - 1) * self.stride
        ranges = {split: self.times_of(split) for split in self.most}
        for split, (first, last) in ranges.items():
            if first < 1 or last - span < first:
                raise ValueError(f"{split}: from {first} to {last} no sequence fits that spans {span + 1} stored times")
        (_, before), *rest = sorted(ranges.values())
        for first, last in rest:
            if first - before <= self.gap:
                raise ValueError(f"the splits {sorted(ranges.values())} are not {self.gap} stored times apart")
            before = last
        return self

    def times_of(self, split: Split) -> tuple[int, int]:
        first, last = getattr(self, split)
        return int(first), int(last)

    def sequences(self, split: Split) -> list[tuple[int, Corner]]:
        """(first stored time, corner of the box) of each sequence, boxes taking turns."""
        first, last = self.times_of(split)
        starts = np.linspace(first, last - (self.frames - 1) * self.stride, self.most[split]).round().astype(int)
        return [(int(t), self.corners[i % len(self.corners)]) for i, t in enumerate(starts)]


def check(options: Options, *, finest: Grid) -> None:
    """Raises ConfigError where a box reaches past the last point of the set."""
    check_boxes(options, finest.rung)


def check_boxes(options: Options, n: int) -> None:
    """Raises ConfigError where n points from a corner on do not all lie in the set."""
    for corner in options.corners:
        if min(corner) < 1 or max(corner) + n - 1 > options.points:
            raise ConfigError(f"a box of {n} points at {corner} reaches past the points 1 to {options.points}")


def load(ask: Ask) -> Loaded:
    """Fetch the tiles of every sequence and join them.

    Returns velocities in units of the set, (sample, time, n, n, n), with a mask where values are missing.
    Raises DownloadError where the token is missing or refused, or a tile cannot be had.
    """
    options, n = ask.options, ask.size.crop or ask.finest.rung
    check_boxes(options, n)
    service = _Service(ask)
    wanted = {split: options.sequences(split) for split in options.most}
    tell, total, done = ask.tell("downloading"), options.frames * sum(map(len, wanted.values())), 0
    splits: dict[str, SplitFields] = {}
    for split, sequences in wanted.items():
        values = np.empty((len(sequences), options.frames, n, n, n, 3), np.float32)
        for i, (first, corner) in enumerate(sequences):
            for frame in range(options.frames):
                values[i, frame] = service.box(first + frame * options.stride, corner, n)
                done += 1
                tell(done / total)
        valid = np.asarray((np.isfinite(values) & (np.abs(values - np.float32(MISSING)) > 1e-3)).all(-1))
        values[~valid] = 0
        splits[split] = SplitFields(
            values={name: np.ascontiguousarray(values[..., i]) for i, name in enumerate(COMPONENTS)},
            valid=None if valid.all() else valid,
            times=None,
            clusters=np.array([first // options.stretch for first, _ in sequences]),
        )
    attrs = {
        "selection": options.model_dump_json(),
        "splits": "blocks of time with a gap; boxes at one time are parts of one flow",
    }
    return Loaded(splits, attrs=attrs)


class _Service:
    """The cut-out service, and the cache of its tiles."""

    def __init__(self, ask: Ask) -> None:
        self.ask, self.options, self.address = ask, ask.options, ask.source.urls["cutout"]
        self.token = os.environ.get(TOKEN, "").strip()

    def box(self, time: int, corner: Corner, n: int) -> np.ndarray:
        """n x n x n points from a corner on: (z, y, x, 3)."""
        out = np.empty((n, n, n, 3), np.float32)
        most = self.options.query_points
        nx = min(n, most)
        ny = min(n, max(1, most // nx))
        nz = min(n, max(1, most // (nx * ny)))
        for z in range(0, n, nz):
            for y in range(0, n, ny):
                for x in range(0, n, nx):
                    shape = min(nz, n - z), min(ny, n - y), min(nx, n - x)
                    start = corner[0] + x, corner[1] + y, corner[2] + z
                    out[z : z + shape[0], y : y + shape[1], x : x + shape[2]] = self.tile(time, start, shape)
        return out

    def tile(self, time: int, start: Corner, shape: tuple[int, int, int]) -> np.ndarray:
        """One query: (nz, ny, nx, 3), from the cache or the service."""
        query: dict[str, Any] = {"function": "velocity", "dataset": self.options.dataset}
        for axis, first, points in zip("xyz", start, reversed(shape), strict=True):
            query |= {f"{axis}s": first, f"{axis}e": first + points - 1}
        query |= {"ts": time, "te": time, "stridet": 1, "stridex": 1, "stridey": 1, "stridez": 1, "filter_width": 1}
        what = f"a tile of {self.options.dataset} at time {time}"
        identity = f"{self.address}?{urlencode(query)}"
        there = url_folder(self.ask.cache, identity) / "tile.json"
        if not self.token and not is_offline(self.ask.offline) and (self.ask.force or not there.exists()):
            raise DownloadError(f"{what} needs a token, and {TOKEN} is not set", do=ASK_FOR_ONE)
        try:
            path = get_file(
                f"{self.address}?{urlencode({'token': self.token, **query})}",
                self.ask.cache,
                what=what,
                name="tile.json",
                identity=identity,
                offline=self.ask.offline,
                force=self.ask.force,
            )
        except DownloadError as error:
            if any(f"answered {status}" in error.what for status in (401, 403)):
                raise _refused(what) from None
            raise
        return _read_tile(path, shape, what)


def _read_tile(path: Path, shape: tuple[int, int, int], what: str) -> np.ndarray:
    """The numbers of an answer.  One that is none does not stay in the cache."""
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        (variable,) = json.loads(text)["data_vars"].values()
        values = np.asarray(variable["data"], dtype=np.float32)
        if values.shape != (*shape, 3):
            raise ValueError(f"shape {values.shape}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        path.unlink(missing_ok=True)
        if "token" in text.lower() or "authoriz" in text.lower():
            raise _refused(what) from None
        raise DownloadError(
            f"{what} came as something else than {shape[0]} x {shape[1]} x {shape[2]} velocities ({error})",
            do="the service may have trouble: give the same command again; what came before is kept",
        ) from None
    return values


def _refused(what: str) -> DownloadError:
    return DownloadError(f"{what}: the service refused the token in {TOKEN}", do=ASK_FOR_ONE)
