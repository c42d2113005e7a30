"""Fields on the latitudes and longitudes of a file, carried onto the box of a ladder.

Files have rows that fall or rise, columns from 0 or from −180, points at the poles or cells that end there.  Here rows
rise, columns begin at the box's western edge, and a value stands for its cell: halfway to the next point, half cells at
the poles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from anchorbench.errors import DownloadError, GridError
from anchorbench.fields import Grid
from anchorbench.fields.resample_cells import overlap_mean, weighted_cell_mean

#: Degrees, as float32 coordinates have them, by which two edges may differ and be the same.
SAME = 1e-3


@dataclass(frozen=True)
class Geography:
    """The rows and columns of a file, put in order.

    grid: their cells.  rows, columns: the file's index of each row from the south and each column from the west.
    """

    grid: Grid
    rows: np.ndarray
    columns: np.ndarray

    def ordered(self, values: np.ndarray) -> np.ndarray:
        """(..., latitude, longitude) as in the file to south-north, west-east."""
        return np.asarray(values[..., self.rows, :][..., self.columns])


def geography(latitude: np.ndarray, longitude: np.ndarray, *, box: Grid, name: str) -> Geography:
    """What a file's coordinates mean, its columns begun at the western edge of `box` where one begins there.

    Rows at both poles are points, with half cells there; any others are the middles of their cells.  Rows beyond the
    box are left out where the box ends between two of them.
    Raises DownloadError for coordinates that are not evenly spaced, or do not go round.
    """
    latitude, longitude = (np.asarray(x, dtype=np.float64) for x in (latitude, longitude))
    rows = np.argsort(latitude)
    latitude = latitude[rows]
    height = _step(latitude, "latitudes", name=name)
    width = 360 / len(longitude)
    west = box.origin[1] + width / 2
    east = np.mod(longitude - west + SAME, 360) - SAME
    columns = np.argsort(east)
    if len(longitude) < 2 or np.abs(np.diff(east[columns]) - width).max() > SAME:
        raise DownloadError(f"the longitudes of {name} are not {len(longitude)} equal steps around the globe")
    poled = abs(latitude[0] + 90) < SAME and abs(latitude[-1] - 90) < SAME
    first = west + east[columns[0]]
    if poled:
        shape = (len(rows), len(columns))
        return Geography(Grid(shape, (180, 360), "point", "latlon", unit="degree", origin=(-90, first)), rows, columns)
    inside = _inside(latitude, height, box)
    rows, latitude = rows[inside], latitude[inside]
    # Float32 rows miss the pole by 1e-6: the edges are the box's own where they are meant to be.
    south = _meant(latitude[0] - height / 2, box.origin[0])
    north = _meant(latitude[-1] + height / 2, box.origin[0] + box.extent[0])
    grid = Grid(
        (len(rows), len(columns)),
        (north - south, 360),
        "cell",
        "latlon",
        unit="degree",
        origin=(south, _meant(first - width / 2, box.origin[1])),
    )
    return Geography(grid, rows, columns)


def _step(x: np.ndarray, what: str, *, name: str) -> float:
    steps = np.diff(x)
    if len(x) < 2 or steps.min() <= 0 or np.ptp(steps) > SAME:
        raise DownloadError(f"the {what} of {name} are not evenly spaced")
    return float((x[-1] - x[0]) / (len(x) - 1))


def _inside(latitude: np.ndarray, height: float, box: Grid) -> np.ndarray:
    south, north = box.origin[0], box.origin[0] + box.extent[0]
    return np.flatnonzero((latitude - height / 2 > south - SAME) & (latitude + height / 2 < north + SAME))


def _meant(found: float, wanted: float) -> float:
    return wanted if abs(found - wanted) < SAME else float(found)


def onto_box(values: np.ndarray, place: Geography, finest: Grid, *, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The fields on cells of the ladder's box: the file's own where they fill it, else the finest rung's, by overlap.

    values: (..., latitude, longitude) as in the file, NaN where missing.  Returns (..., *cells) float32, 0 where not
    valid, and the valid cells, or None where nothing is missing; of a cell that is shared out, valid is half or more.
    Raises DownloadError where the file does not reach over the box, or is coarser than the finest rung.
    """
    u = torch.from_numpy(np.ascontiguousarray(place.ordered(values), dtype=np.float32))
    if any(n < m for n, m in zip(place.grid.shape, finest.shape, strict=True)):
        raise DownloadError(
            f"{name} has {place.grid.shape} points in the box, fewer than the finest rung {finest.shape}",
            do="leave out the finest rungs: --set rungs=...",
        )
    own = is_own(place, finest)
    missing = torch.isnan(u)
    if not own and not covers(place.grid, finest):
        raise DownloadError(f"{name} does not reach over the box of the ladder")
    if not missing.any():
        return (u if own else overlap_mean(u, place.grid, finest)).numpy(), None
    if own:
        return torch.where(missing, 0.0, u).numpy(), (~missing).numpy()
    share = overlap_mean((~missing).float(), place.grid, finest)
    valid = share >= 0.5
    means = _valid_mean(u, ~missing, place.grid, finest)
    return torch.where(valid, means, 0.0).numpy(), valid.numpy()


def _valid_mean(u: Any, valid: Any, source: Grid, to: Grid) -> Any:
    return weighted_cell_mean(u, valid.float(), source, to)


def is_own(place: Geography, finest: Grid) -> bool:
    """True where the file's cells fill the ladder's box, so that no value is shared out before the first rung."""
    try:
        return place.grid.centring == "cell" and place.grid.same_box(finest.with_shape(place.grid.shape))
    except GridError:
        return False


def covers(grid: Grid, box: Grid) -> bool:
    """True where both reach over the same latitudes, all round."""
    return abs(grid.origin[0] - box.origin[0]) < SAME and abs(grid.extent[0] - box.extent[0]) < SAME


def variance(u: np.ndarray, grid: Grid, valid: np.ndarray | None = None) -> float:
    """Area-weighted variance over all fields, missing points left out."""
    weights = np.broadcast_to(grid.area_weights().numpy(), u.shape)
    weights = weights if valid is None else weights * valid
    total = max(float(weights.sum()), 1e-300)
    u = np.where(weights > 0, u, 0.0).astype(np.float64)
    mean = float((weights * u).sum()) / total
    return float((weights * (u - mean) ** 2).sum()) / total
