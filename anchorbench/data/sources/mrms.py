"""sevir, sample: one instant of NOAA's MRMS composite reflectivity over the continental United States, 0.01 degrees.

One GRIB2 message, (3500, 7000), cut into square blocks that don't overlap.  The traps of this file, each with a test:

- rows run from north to south, and are turned over;
- -999 is no coverage, a mask; -99 is no echo, a measurement; neither is a reflectivity of so many dBZ, and a packing
  may have rounded them;
- the parameter is of a local table, so ecCodes calls it unknown: discipline, category and number say what it is.

Reflectivity is logarithmic, so no echo has no decibels.  Ours: v = max(dBZ, 0), no echo = 0; a block mean of v is then
the geometric mean of Z, cut off below at 1 mm⁶ m⁻³.  Cells are taken as a plane in degrees, though they are narrower in
the north: across a block of 3.84° by 3 to 8 %.

It is one instant: there are no independent events.  Splits are regions of longitude with a gap between them, and each
region is one cluster, so that no interval over clusters can be given.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Self, cast

import numpy as np
from pydantic import Field, model_validator

from anchorbench.config import Frozen
from anchorbench.data.sources import Ask, Loaded, SplitFields, carried_by, require
from anchorbench.data.splits import SPLITS, Split
from anchorbench.errors import ConfigError, DownloadError

VARIABLE = "reflectivity"
#: What lies below the first has no coverage (-999), below the second no echo (-99): a packing may round the codes.
COVERED, ECHO = -500.0, -98.0
#: Discipline, category and number of MergedReflectivityQCComposite in MRMS's own table.
PARAMETER = (209, 10, 0)


class Options(Frozen):
    """Which blocks are taken; all of it is in the ladder's digest."""

    regions: dict[Split, tuple[float, float]] = Field(
        {"train": (231.0, 262.0), "validation": (263.0, 271.0), "test": (272.0, 296.0)},
        description="degrees east, from west to east",
    )
    gap: float = Field(1.0, ge=0, description="least degrees of longitude between two regions")
    echo_share: float = Field(0.05, ge=0, le=1, description="least share of covered cells with an echo")
    covered: float = Field(0.98, gt=0, le=1, description="least share of covered cells")
    most: dict[Split, Annotated[int, Field(ge=1)]] = Field({}, description="most blocks of a split, spread evenly")

    @model_validator(mode="after")
    def _regions_stay_apart(self) -> Self:
        if lacking := set(SPLITS) - self.regions.keys():
            raise ValueError(f"regions lack the split {', '.join(sorted(lacking))}")
        bounds = sorted(self.regions.values())
        for (west, east), (following, _) in zip(bounds, [*bounds[1:], (np.inf, np.inf)], strict=True):
            if east <= west or following - east < self.gap:
                raise ValueError(f"regions are not empty and lie {self.gap:g} degrees apart: {self.regions}")
        return self


@dataclass(frozen=True)
class Frame:
    """A field on a latitude-longitude grid: values (y, x) as stored, rows northward, columns eastward.

    south, west: of the first row and column, degrees.  step: between columns.  time: as the message says, UTC.
    """

    values: np.ndarray
    south: float
    west: float
    step: float
    time: str

    def columns(self, west: float, east: float) -> slice:
        """The columns that lie between two longitudes."""
        first = int(np.ceil((west - self.west) / self.step - 1e-6))
        last = int(np.floor((east - self.west) / self.step + 1e-6))
        return slice(max(0, first), min(self.values.shape[1], last + 1))


def load(ask: Ask) -> Loaded:
    """Download the frame, unless it is in the cache, and cut the blocks of each region.

    Returns max(dBZ, 0), (block, 1, crop, crop), masked where there is no coverage.
    Raises DownloadError where the file cannot be had or read, ConfigError where a region is left without a block.
    """
    options, crop = cast(Options, ask.options), ask.size.crop
    if crop is None:
        raise ConfigError(f"dataset '{ask.entry.name}' needs a crop in the catalogue to be read")
    (file,) = ask.source.files
    frame = read_frame(ask.sample(file))
    splits: dict[str, SplitFields] = {}
    for cluster, split in enumerate(SPLITS):
        splits[split] = region_fields(frame, options, split=split, crop=crop, cluster=cluster)
    about = {"time": frame.time, "no_echo": "0 dBZ", "splits": "regions of one instant; each is one cluster"}
    return Loaded(splits, attrs=carried_by(file) | about)


def read_frame(path: Path) -> Frame:
    """The first message of the file.  Raises DownloadError for what is no MRMS composite reflectivity."""
    eccodes = require("eccodes", extra="sevir")
    try:
        with path.open("rb") as file:
            message = eccodes.codes_grib_new_from_file(file)
        if message is None:
            raise DownloadError(f"{path.name} holds no GRIB message")
        try:
            return _decoded(eccodes, message, path.name)
        finally:
            eccodes.codes_release(message)
    except (eccodes.CodesInternalError, OSError) as error:
        raise DownloadError(f"{path.name} cannot be read as GRIB: {error}") from None


def _decoded(eccodes: ModuleType, message: int, name: str) -> Frame:
    get = eccodes.codes_get
    parameter = tuple(get(message, key) for key in ("discipline", "parameterCategory", "parameterNumber"))
    if (parameter, get(message, "gridType")) != (PARAMETER, "regular_ll"):
        raise DownloadError(f"{name} holds parameter {parameter} on {get(message, 'gridType')}, not {PARAMETER}")
    values = eccodes.codes_get_values(message)
    values = values.reshape(get(message, "Nj"), get(message, "Ni")).astype(np.float32)
    latitudes = [get(message, f"latitudeOf{end}GridPointInDegrees") for end in ("First", "Last")]
    longitudes = [get(message, f"longitudeOf{end}GridPointInDegrees") for end in ("First", "Last")]
    if latitudes[0] > latitudes[1]:
        values = values[::-1]
    if longitudes[0] > longitudes[1]:
        values = values[:, ::-1]
    date = str(get(message, "dataDate"))
    clock = ":".join(f"{get(message, unit):02d}" for unit in ("hour", "minute", "second"))
    return Frame(
        values=values,
        south=min(latitudes),
        west=min(longitudes),
        step=abs(longitudes[1] - longitudes[0]) / (values.shape[1] - 1),
        time=f"{date[:4]}-{date[4:6]}-{date[6:]}T{clock}",
    )


def region_fields(frame: Frame, options: Options, *, split: Split, crop: int, cluster: int) -> SplitFields:
    """Blocks of crop x crop cells that tile the region from its south-western corner, those with echo and coverage.

    Raises ConfigError where none is left.
    """
    region = frame.values[:, frame.columns(*options.regions[split])]
    down, across = (n // crop for n in region.shape)
    nested = region[: down * crop, : across * crop].reshape(down, crop, across, crop)
    tiles = nested.swapaxes(1, 2).reshape(-1, crop, crop)
    covered = tiles > COVERED
    shares = covered.mean(axis=(1, 2))
    echo = (tiles > ECHO).sum(axis=(1, 2)) / np.maximum(1, covered.sum(axis=(1, 2)))
    kept = np.flatnonzero((shares >= options.covered) & (echo >= options.echo_share))
    if not len(kept):
        raise ConfigError(
            f"no block of {crop} x {crop} cells in the {split} region has {options.echo_share:.0%} echo",
            do="lower echo_share or covered, or widen regions",
        )
    most = min(options.most.get(split, len(kept)), len(kept))
    kept = kept[np.linspace(0, len(kept) - 1, most).round().astype(int)]
    corners = [f"{frame.south + k // across * crop * frame.step:.2f}N" for k in kept]
    return SplitFields(
        values={VARIABLE: np.maximum(tiles[kept], 0)[:, None].astype(np.float32)},
        valid=None if covered[kept].all() else covered[kept][:, None],
        times=None,
        clusters=np.full(len(kept), cluster),
        attrs={f"blocks_{split}": f"{len(kept)} of {len(tiles)}, southern edges {', '.join(dict.fromkeys(corners))}"},
    )
