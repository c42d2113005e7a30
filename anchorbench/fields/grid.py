"""`Grid`: where the points of a field are.

A box [0, L₁) x ... x [0, L_d) with N_i points on axis i.  Centring `point` puts them at n L/N (left point in, right
point out, as on a periodic axis); `cell` at (n + 1/2) L/N.  Wavenumbers are angular and physical, k = 2π m / L, in
radians per unit of length: a wave keeps its number on every rung.
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


@dataclass(frozen=True, slots=True)
class Grid:
    """Points per axis, extent, centring, kind, periodicity, axis names and unit; 1, 2 or 3 dimensions.

    shape: points per axis, slowest axis first, as in a tensor `(..., *shape)`.
    extent: length of the box per axis, in `unit`; for `latlon` degrees (latitude, longitude).
    periodic: per axis.

    Raises GridError where these do not make a grid.
    """

    shape: tuple[int, ...]
    extent: tuple[float, ...] = ()
    centring: Centring = "point"
    kind: Kind = "planar"
    periodic: tuple[bool, ...] = ()
    axes: tuple[str, ...] = ()
    unit: str = "1"

    def __post_init__(self) -> None:
        d = len(self.shape)
        put = object.__setattr__
        put(self, "shape", tuple(int(n) for n in self.shape))
        put(self, "extent", tuple(float(x) for x in self.extent) or (1.0,) * d)
        put(self, "periodic", tuple(bool(p) for p in self.periodic) or (True,) * d)
        put(self, "axes", tuple(self.axes) or AXES[-d:] if 1 <= d <= 3 else tuple(self.axes))
        if not 1 <= d <= 3:
            raise GridError(f"a grid has 1, 2 or 3 axes, not {d}: shape {self.shape}")
        if min(self.shape) < 1:
            raise GridError(f"a grid has at least one point on each axis: shape {self.shape}")
        for what in ("extent", "periodic", "axes"):
            if len(getattr(self, what)) != d:
                raise GridError(f"{what} {getattr(self, what)} does not fit the {d} axes of shape {self.shape}")
        if min(self.extent) <= 0:
            raise GridError(f"the extent of a grid is positive: {self.extent}")
        if self.centring not in ("point", "cell"):
            raise GridError(f"centring is 'point' or 'cell', not '{self.centring}'")
        if self.kind not in ("planar", "latlon"):
            raise GridError(f"kind is 'planar' or 'latlon', not '{self.kind}'")
        if self.kind == "latlon" and d != 2:
            raise GridError(f"a latlon grid has the axes latitude and longitude, not {d}")

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
    def spacing(self) -> tuple[float, ...]:
        return tuple(length / n for length, n in zip(self.extent, self.shape, strict=True))

    @property
    def k_nyquist(self) -> float:
        """π / Δ of the coarsest axis, radians per unit: waves with |k| below it are resolved on every axis."""
        return math.pi / max(self.spacing)

    def with_shape(self, shape: tuple[int, ...]) -> Grid:
        """The same box with other points."""
        return replace(self, shape=tuple(shape))

    def with_rung(self, rung: int) -> Grid:
        """The same box with `rung` points on the shortest axis, the others in proportion.

        Raises GridError where the proportion is no whole number.
        """
        shape = tuple(n * rung for n in self.shape)
        if any(n % self.rung for n in shape):
            raise GridError(f"rung {rung} does not divide the shape {self.shape} into whole points")
        return self.with_shape(tuple(n // self.rung for n in shape))

    def coarsened(self, factor: int) -> Grid:
        """The same box with `factor` times fewer points per axis.  Raises GridError if it does not divide."""
        if any(n % factor for n in self.shape):
            raise GridError(f"{self.shape} does not divide by {factor}")
        return self.with_shape(tuple(n // factor for n in self.shape))

    def same_box(self, other: Grid) -> bool:
        """True where both grids cover the same box, whatever their points."""
        return replace(self, shape=other.shape) == other

    def coordinates(self, axis: int, *, dtype: torch.dtype = torch.float64) -> Tensor:
        """Positions of the points along one axis, in `unit`: (shape[axis],)."""
        offset = 0.5 if self.centring == "cell" else 0.0
        n = torch.arange(self.shape[axis], dtype=torch.float64)
        return ((n + offset) * self.spacing[axis]).to(dtype)

    def mesh(self, *, dtype: torch.dtype = torch.float64) -> Tensor:
        """Positions of all points: (ndim, *shape)."""
        axes = [self.coordinates(i, dtype=dtype) for i in range(self.ndim)]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"))

    def area_weights(self, *, dtype: torch.dtype = torch.float64) -> Tensor:
        """Quadrature weights with mean 1: (*shape).  Ones on a plane; cos(latitude) on the sphere."""
        if self.kind == "planar":
            return torch.ones(self.shape, dtype=dtype)
        latitude = (self.coordinates(0) / self.extent[0] - 0.5) * math.pi
        weights = torch.cos(latitude).clamp_min(0.0)
        return (weights / weights.mean())[:, None].expand(self.shape).to(dtype)

    def to_dict(self) -> dict[str, Any]:
        return {name: list(v) if isinstance(v := getattr(self, name), tuple) else v for name in self.__slots__}

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Grid:
        fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in d.items()}
        return cls(**fields)


def rung_name(rung: int) -> str:
    """`r032`."""
    return f"r{rung:03d}"
