"""Hourly maps of rain as Météo-France codes them: one GeoTIFF an hour, uint16, tenths of a millimetre, 65535 missing.

Traps, each with a test:

- 65535 is the missing code whether or not the file declares it, and must go before the factor of 0.1 comes;
- rows run from north to south and are turned round;
- projection, corner and size are read from each file, and all hours must have the same;
- a file whose values are packed otherwise (another type, a scale, an offset) is refused before it is misread.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from anchorbench.data.packed_rain import PackedRain
from anchorbench.data.rain_tiles import TiledBlocks, cells_of, tiled_sequences
from anchorbench.data.sources import SplitFields, require
from anchorbench.errors import DownloadError

VARIABLE = "rainfall_amount"
MISSING = 65535
STEP_MM = 0.1
#: Metres of a cell in the projection, and how far a file may be from them.
CELL, TOLERANCE = 1000.0, 1.0
#: Rain of a year on the mean over the land, mm, that a month or so may be taken for; a wrong unit is tenfold away.
PLAUSIBLE, ENOUGH_HOURS, HOURS_A_YEAR = (150.0, 5000.0), 240, 8766.0


@dataclass(frozen=True)
class MapGrid:
    """Where the cells of a file are: its projection (WKT), the south-western corner (x, y) in metres, rows, columns."""

    crs: str
    corner: tuple[float, float]
    shape: tuple[int, int]


@dataclass(frozen=True)
class RainHours(PackedRain):
    """Hours of rain, cut to a square: codes are uint16, tenths of a millimetre; times the end of each hour, UTC."""

    missing = MISSING
    step = STEP_MM

    attrs: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def mm_a_year(self) -> float:
        """The mean rain, as if it went on for a year."""
        measured = self.codes != MISSING
        total = float(self.codes.sum(where=measured, dtype=np.float64)) * STEP_MM
        return total / max(int(measured.sum()), 1) * HOURS_A_YEAR


def read_map(path: Path) -> tuple[np.ndarray, MapGrid]:
    """One file: codes (y, x) uint16 with y northward, and where they are.

    Raises DownloadError where it is no GeoTIFF, or is not coded as hourly rain of Météo-France is.
    """
    rasterio = require("rasterio", extra="comephore")
    name = path.name
    try:
        with rasterio.open(path) as tif:
            packing = (tif.count, tif.dtypes[0], tif.scales[0], tif.offsets[0])
            if packing != (1, "uint16", 1.0, 0.0):
                raise DownloadError(
                    f"{name} is packed as {packing}, not as one band of uint16 without a scale: it would be misread"
                )
            place, crs = tif.transform, tif.crs
            codes = tif.read(1)
    except rasterio.errors.RasterioError as error:
        raise DownloadError(f"{name} cannot be read as a GeoTIFF: {error}") from None
    if crs is None or not crs.is_projected:
        raise DownloadError(f"{name} does not say in which projection its cells are")
    if place.b or place.d or max(abs(abs(place.a) - CELL), abs(abs(place.e) - CELL)) > TOLERANCE or place.a < 0:
        raise DownloadError(f"{name} has cells of {place.a:g} x {place.e:g} m, not of 1 km with rows along x")
    south = place.f + min(0.0, place.e * codes.shape[0])
    if place.e < 0:
        codes = codes[::-1]
    return np.ascontiguousarray(codes), MapGrid(crs.to_wkt(), (float(place.c), float(south)), codes.shape)


def stack_hours(
    maps: Iterable[tuple[np.datetime64, Path]], *, crop: int, corner: tuple[int, int] | None = None
) -> RainHours:
    """Read the hours, sort them, and cut them to a square of `crop` cells.

    corner: row and column of the square's south-western cell; without it `best_corner` of the first hour.
    Raises DownloadError where the files are not of one grid, two are of one hour, or the square is never measured;
    warns where the rain of ten days or more is that of no climate, as with a unit misread.
    """
    codes: list[np.ndarray] = []
    times: list[np.datetime64] = []
    grid: MapGrid | None = None
    for hour, path in sorted(maps):
        found, its_grid = read_map(path)
        if grid is None:
            grid = its_grid
            row, column = best_corner(found != MISSING, crop, name=path.name) if corner is None else corner
            if min(row, column) < 0 or row + crop > grid.shape[0] or column + crop > grid.shape[1]:
                raise DownloadError(
                    f"a square of {crop} cells from row {row}, column {column} is not within the {grid.shape[0]} x "
                    f"{grid.shape[1]} cells of {path.name}",
                    do="choose another selection.corner, or a smaller crop",
                )
        elif its_grid != grid:
            raise DownloadError(f"{path.name} is on another grid than the hours before it: projection, corner or size")
        if times and times[-1] == hour:
            raise DownloadError(f"{path.name} is of an hour that another file has: {hour}")
        codes.append(found[row : row + crop, column : column + crop].copy())
        times.append(hour)
    if grid is None or len(times) < 2:
        raise DownloadError(f"{len(times)} hours of rain are too few to be a record", do="ask for more hours")
    stack = np.stack(codes)
    if not (stack != MISSING).any(axis=0).all():
        raise DownloadError(
            f"the square of {crop} cells from row {row}, column {column} reaches cells that are never measured",
            do="choose another selection.corner, or a smaller crop",
        )
    west, south = grid.corner[0] + CELL * column, grid.corner[1] + CELL * row
    hours = RainHours(stack, np.array(times, dtype="datetime64[s]"))
    if len(times) >= ENOUGH_HOURS and not PLAUSIBLE[0] <= hours.mm_a_year <= PLAUSIBLE[1]:
        warnings.warn(
            f"{len(times)} hours of rain make {hours.mm_a_year:.0f} mm a year on the mean, which is implausible: "
            "are they in tenths of a millimetre?",
            stacklevel=2,
        )
    attrs = {
        "projection": grid.crs,
        "south_western_corner_in_m": f"{west:.0f}, {south:.0f}",
        "crop_y": f"{row}:{row + crop}, from the south",
        "crop_x": f"{column}:{column + crop}",
        "record_start": str(hours.times[0]),
        "record_end": str(hours.times[-1]),
        "hours": str(len(times)),
        "hours_missing_between": str(int((hours.times[-1] - hours.times[0]) / np.timedelta64(1, "h")) + 1 - len(times)),
        "missing_share": f"{float((stack == MISSING).mean()):.6f}",
        "mean_as_mm_a_year": f"{hours.mm_a_year:.0f}",
        "time_of_a_frame": "end of the hour, UTC",
    }
    return RainHours(stack, hours.times, attrs)


def best_corner(valid: np.ndarray, crop: int, *, name: str = "the map") -> tuple[int, int]:
    """Row and column of the square of `crop` cells with most valid ones; of several, the nearest to the centre.

    valid: (y, x) bool.  Raises DownloadError where the map is smaller than the square.
    """
    if crop > min(valid.shape):
        raise DownloadError(f"{name} has {valid.shape[0]} x {valid.shape[1]} cells, too few for a crop of {crop}")
    sums = np.zeros((valid.shape[0] + 1, valid.shape[1] + 1), np.int64)
    sums[1:, 1:] = valid.cumsum(0, dtype=np.int64).cumsum(1)
    inside = sums[crop:, crop:] - sums[:-crop, crop:] - sums[crop:, :-crop] + sums[:-crop, :-crop]
    rows, columns = np.nonzero(inside == inside.max())
    off_centre = (2 * rows + crop - valid.shape[0]) ** 2 + (2 * columns + crop - valid.shape[1]) ** 2
    nearest = int(off_centre.argmin())
    return int(rows[nearest]), int(columns[nearest])


def pick_hours(hours: RainHours, options: TiledBlocks) -> dict[str, SplitFields]:
    """The sequences of each split that have enough rain, see `rain_tiles`; no mask where nothing is missing.

    Raises ConfigError where a split is left without a sequence.
    """
    crop = hours.codes.shape[-1] // options.tiles
    masked = bool((hours.codes == MISSING).any())
    picked: dict[str, SplitFields] = {}
    for split, found in tiled_sequences(hours, options, crop=crop).items():
        tiles = [(hours.within(*cells_of(tile, crop)), at) for tile, at, _ in found]
        picked[split] = SplitFields(
            values={VARIABLE: np.stack([tile.rain(at) for tile, at in tiles])},
            valid=np.stack([tile.valid(at) for tile, at in tiles]) if masked else None,
            times=np.stack([hours.times[at] for _, at in tiles]),
            clusters=np.array([cluster for *_, cluster in found]),
            attrs={} if options.tiles == 1 else {"tiles": " ".join(sorted({f"{y},{x}" for (y, x), *_ in found}))},
        )
    return picked
