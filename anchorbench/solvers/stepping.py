"""How the spectral solvers step: their common options, the checks of them, and the band that a rung advances."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal, TypedDict

import torch
from torch import Tensor

from anchorbench.errors import AnchorbenchError, ConfigError, unknown
from anchorbench.fields.grid import Grid

Dealias = Literal["two_thirds", "padded"]


def band(n: int, dealias: Dealias) -> tuple[int, int]:
    """Points of the transforms, and the largest wavenumber advanced, on an n-point rung.

    `two_thirds`: (n, ⌈n/3⌉ − 1), Orszag's rule.  `padded`: every mode |k| < n/2, products on an even 3/2 n points.
    """
    if dealias == "two_thirds":
        return n, (n - 1) // 3
    if dealias == "padded":
        return 2 * math.ceil(0.75 * n), (n - 1) // 2
    raise AnchorbenchError(unknown("dealiasing", dealias, ("two_thirds", "padded")))


class Stepping(TypedDict, total=False):
    """Options of every spectral solver.

    grid: the points of the fields, checked if given.  courant: steps of courant/(k_max U) [0.75], U the largest speed
    of the batch, measured again as the flow goes.  dt: the longest step instead, the same whatever else is in the
    batch.  dealias: `two_thirds` [default] advances |k| < N/3, `padded` every |k| < N/2.  dtype: float32 or float64
    [that of the fields].
    """

    grid: Grid | None
    courant: float
    dt: float | None
    dealias: Dealias
    dtype: torch.dtype | None


class SpectralRun(ABC):
    """A state that is being stepped, with the options of its steps, checked; the grid checks whoever knows the box."""

    def __init__(
        self,
        fields: Tensor,
        *,
        grid: Grid | None = None,
        courant: float = 0.75,
        dt: float | None = None,
        dealias: Dealias = "two_thirds",
        dtype: torch.dtype | None = None,
    ) -> None:
        for name, value in (("courant", courant), ("dt", dt)):
            if value is not None and not value > 0:
                raise AnchorbenchError(f"{name} is {value}", do=f"give a {name} above 0")
        self.shape, self.grid, self.courant, self.dt, self.dealias = fields.shape, grid, courant, dt, dealias
        self.dtype = dtype or (fields.dtype if fields.dtype == torch.float64 else torch.float32)
        if self.dtype not in (torch.float32, torch.float64):
            raise AnchorbenchError(f"the solver does not compute in {self.dtype}", do="use float32 or float64")

    def advance(self, duration: float) -> None:
        """Go on by `duration`.  Raises AnchorbenchError where that is no time, or the solution blows up."""
        if not 0 <= duration < math.inf:
            raise AnchorbenchError(f"the duration is {duration}", do="give a time of 0 or more")
        self.steps(duration)

    @abstractmethod
    def steps(self, duration: float) -> None:
        """Advance by a duration that is one."""

    @abstractmethod
    def fields(self) -> Tensor:
        """The fields now, of the shape and on the points that they came in."""


def require_finite(speed: float, *, of: str) -> None:
    """Raises AnchorbenchError where a start holds NaN or infinity; speed: the largest of it."""
    if not math.isfinite(speed):
        raise AnchorbenchError(f"the {of} to start from is not finite", do="start from finite fields")


def blew_up(points: int, step: float) -> AnchorbenchError:
    return AnchorbenchError(
        f"the solution blew up on {points} points with time steps of {step:.3g}",
        do="take a smaller dt or courant, a larger viscosity, or a finer grid",
    )


def require_above_0(values: object, *names: str) -> None:
    """Raises ConfigError at the first of these attributes that is not above 0."""
    for name in names:
        if not getattr(values, name) > 0:
            raise ConfigError(f"{name} is {getattr(values, name)}", do=f"give a {name} above 0")
