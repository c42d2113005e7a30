"""`Grid`: where the points of a field are, and the cells that they stand for.

A box [o₁, o₁ + L₁) x ... x [o_d, o_d + L_d) with N_i points on axis i.  Centring `cell` puts them at o + (n + ½) L/N.
Centring `point` puts them at o + n L/N on a periodic axis (left point in, right point out), and at o + n L/(N − 1) on
an axis with ends, both of them in: the 721 latitudes of a quarter degree run from pole to pole.  Wavenumbers are
angular and physical, k = 2π m / L, in radians per unit of length: a wave keeps its number on every rung.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from anchorbench.errors import GridError

Centring = Literal["point", "cell"]
Kind = Literal["planar", "latlon"]

AXES = ("z", "y", "x")
# Degrees by which a box may miss a pole, or the full circle, and still reach it: sums of decimal fractions.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Grid:
    """Points per axis, extent, centring, kind, periodicity, axis names, unit and origin; 1, 2 or 3 dimensions.

    shape: points per axis, slowest axis first, as in a tensor `(..., *shape)`.
    extent: length of the box per axis, in `unit`; for `latlon` degrees (latitude, longitude).
    periodic: per axis; on a plane all by default, for `latlon` the longitudes of a full circle.
    origin: where the box begins; by default zeros, for `latlon` from pole to pole (−90, 0).  Latitudes rise from it.

    Raises GridError where these do not make a grid.
    """

    shape: tuple[int, ...]
    extent: tuple[float, ...] = ()
    centring: Centring = "point"
    kind: Kind = "planar"
    periodic: tuple[bool, ...] = ()
    axes: tuple[str, ...] = ()
    unit: str = "1"
    origin: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        d = len(self.shape)
        put = object.__setattr__
        put(self, "shape", tuple(int(n) for n in self.shape))
        put(self, "extent", tuple(float(x) for x in self.extent) or (1.0,) * d)
        put(self, "axes", tuple(self.axes) or AXES[-d:] if 1 <= d <= 3 else tuple(self.axes))
        if not 1 <= d <= 3:
            raise GridError(f"a grid has 1, 2 or 3 axes, not {d}: shape {self.shape}")
        if min(self.shape) < 1:
            raise GridError(f"a grid has at least one point on each axis: shape {self.shape}")
        if self.centring not in ("point", "cell"):
            raise GridError(f"centring is 'point' or 'cell', not '{self.centring}'")
        if self.kind not in ("planar", "latlon"):
            raise GridError(f"kind is 'planar' or 'latlon', not '{self.kind}'")
        if self.kind == "latlon" and d != 2:
            raise GridError(f"a latlon grid has the axes latitude and longitude, not {d}")
        put(self, "periodic", tuple(bool(p) for p in self.periodic) or self._usual_periodic())
        put(self, "origin", tuple(float(x) for x in self.origin) or self._usual_origin())
        for what in ("extent", "periodic", "axes", "origin"):
            if len(getattr(self, what)) != d:
                raise GridError(f"{what} {getattr(self, what)} does not fit the {d} axes of shape {self.shape}")
        if not all(0 < length < math.inf for length in self.extent):
            raise GridError(f"the extent of a grid is positive and finite: {self.extent}")
        if not all(map(math.isfinite, self.origin)):
            raise GridError(f"the origin of a grid is finite: {self.origin}")
        if self.kind == "latlon":
            self._check_latlon()

    def _check_latlon(self) -> None:
        """Raises GridError for a box that is not on the sphere."""
        (south, _), (height, width) = self.origin, self.extent
        if south < -90 - ROUNDING or south + height > 90 + ROUNDING:
            raise GridError(
                f"the latitudes of a latlon grid are between -90 and 90, not {south:g} to {south + height:g}"
            )
        if width > 360 + ROUNDING:
            raise GridError(f"the longitudes of a latlon grid are 360 degrees at most, not {width:g}")
        if self.periodic[0] or self.periodic[1] != self._is_full_circle():
            wanted = (False, self._is_full_circle())
            raise GridError(
                f"a latlon grid of {height:g} x {width:g} degrees has periodic={wanted}, not {self.periodic}"
            )

    def _usual_periodic(self) -> tuple[bool, ...]:
        return (True,) * len(self.shape) if self.kind == "planar" else (False, self._is_full_circle())

    def _usual_origin(self) -> tuple[float, ...]:
        """Raises GridError for a part of the sphere: nobody can tell which."""
        if self.kind == "planar":
            return (0.0,) * len(self.shape)
        if abs(self.extent[0] - 180) > ROUNDING:
            raise GridError(
                f"a latlon grid of {self.extent[0]:g} degrees of latitude does not say where it lies",
                do="give its origin: the southern and the western edge",
            )
        return (-90.0, 0.0)

    def _is_full_circle(self) -> bool:
        return abs(self.extent[-1] - 360) <= ROUNDING

    def _has_both_ends(self, axis: int) -> bool:
        """True where the first and the last point are the ends of the box."""
        return self.centring == "point" and not self.periodic[axis] and self.shape[axis] > 1

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def n_points(self) -> int:
        return math.prod(self.shape)

    @property
    def rung(self) -> int:
        """Points along the shortest axis: the rung's number."""
        return min(self.shape)

    @property
    def name(self) -> str:
        return rung_name(self.rung)

    @property
    def intervals(self) -> tuple[int, ...]:
        """Spacings along each axis: one fewer than points where both ends are points.  They scale from rung to rung."""
        return tuple(n - self._has_both_ends(axis) for axis, n in enumerate(self.shape))

    @property
    def spacing(self) -> tuple[float, ...]:
        return tuple(length / n for length, n in zip(self.extent, self.intervals, strict=True))

    @property
    def k_nyquist(self) -> float:
        """π / Δ of the coarsest axis, radians per unit: waves with |k| below it are resolved on every axis."""
        return math.pi / max(self.spacing)

    @property
    def is_uniform(self) -> bool:
        """True where all cells are of one size: on a plane, but for the half cells at ends that are points."""
        return self.kind == "planar" and self.intervals == self.shape

    def with_shape(self, shape: tuple[int, ...]) -> Grid:
        """The same box with other points."""
        return replace(self, shape=tuple(shape))

    def with_rung(self, rung: int) -> Grid:
        """The same box with `rung` points on the shortest axis, the spacings of the others in proportion.

        (721, 1440) from pole to pole has the rung (121, 240): 720 and 1440 intervals, 120 and 240.
        Raises GridError where the proportion is no whole number.
        """
        shortest = self.shape.index(self.rung)
        steps, wanted = self.intervals[shortest], rung - self._has_both_ends(shortest)
        if wanted < 1 or any(n * wanted % steps for n in self.intervals):
            raise GridError(f"rung {rung} does not divide the shape {self.shape} into whole points")
        return self._with_intervals(tuple(n * wanted // steps for n in self.intervals))

    def coarsened(self, factor: int) -> Grid:
        """The same box with `factor` times wider spacings on each axis.  Raises GridError if it does not divide."""
        if any(n % factor for n in self.intervals):
            raise GridError(f"{self.shape} does not divide by {factor}")
        return self._with_intervals(tuple(n // factor for n in self.intervals))

    def _with_intervals(self, intervals: tuple[int, ...]) -> Grid:
        return self.with_shape(tuple(n + self._has_both_ends(axis) for axis, n in enumerate(intervals)))

    def same_box(self, other: Grid) -> bool:
        """True where both grids cover the same box, whatever their points."""
        return replace(self, shape=other.shape) == other

    def coordinates(self, axis: int, *, dtype: torch.dtype = torch.float64) -> Tensor:
        """Positions of the points along one axis, in `unit`, from the origin up: (shape[axis],)."""
        offset = 0.5 if self.centring == "cell" else 0.0
        n = torch.arange(self.shape[axis], dtype=torch.float64)
        return (self.origin[axis] + (n + offset) * self.spacing[axis]).to(dtype)

    def edges(self, axis: int) -> Tensor:
        """Edges of the cells along one axis, in `unit`: (shape[axis] + 1,), float64, rising.

        Midway between the points, so that a cell is centred on its point; at the ends of the box the ends themselves,
        so that the cells of points at the ends are half ones.  A point alone between two ends stands for all of it.
        """
        n = torch.arange(self.shape[axis] + 1, dtype=torch.float64)
        if self.centring == "point" and (self.periodic[axis] or self._has_both_ends(axis)):
            n = n - 0.5
        if self._has_both_ends(axis):
            n = n.clamp(0, self.shape[axis] - 1)
        return self.origin[axis] + n * self.spacing[axis]

    def mesh(self, *, dtype: torch.dtype = torch.float64) -> Tensor:
        """Positions of all points: (ndim, *shape)."""
        axes = [self.coordinates(i, dtype=dtype) for i in range(self.ndim)]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"))

    def measure(self, axis: int) -> Tensor:
        """∫ of each cell along one axis: (shape[axis],), float64.

        The width of the cell; on latitudes sin φ₊ − sin φ₋, the area of the band over 2π R².
        """
        edges = self.edges(axis)
        if self.kind == "latlon" and axis == 0:
            # sin a − sin b = 2 cos((a + b)/2) sin((a − b)/2): no digits lost where the bands are thin.
            middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
            return 2 * torch.cos(torch.deg2rad(middle)) * torch.sin(torch.deg2rad(half))
        return edges.diff()

    def area_weights(self, *, dtype: torch.dtype = torch.float64) -> Tensor:
        """Areas of the cells as quadrature weights with mean 1: (*shape).

        Ones on a plane, but for the half cells at ends that are points (the trapezoidal rule); on the sphere exact,
        (sin φ₊ − sin φ₋) Δλ.
        """
        weights = torch.ones((), dtype=torch.float64)
        if self.is_uniform:
            return torch.ones(self.shape, dtype=dtype)
        for axis in range(self.ndim):
            share = self.measure(axis)
            weights = weights[..., None] * (share / share.mean())
        return weights.to(dtype)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and words; no usual origin, so that ladders from before there was one keep their digest."""
        names = [name for name in self.__slots__ if name != "origin" or not self._is_usually_placed()]
        return {name: list(v) if isinstance(v := getattr(self, name), tuple) else v for name in names}

    def _is_usually_placed(self) -> bool:
        whole = self.kind == "planar" or abs(self.extent[0] - 180) <= ROUNDING
        return whole and self.origin == self._usual_origin()

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Grid:
        fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in d.items()}
        return cls(**fields)


def rung_name(rung: int) -> str:
    """`r032`."""
    return f"r{rung:03d}"
