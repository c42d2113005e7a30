"""Numerical solvers: they make the data, and they are the yardstick."""

from anchorbench.solvers.flow import Flow, box
from anchorbench.solvers.navier_stokes import (
    Dealias,
    energy,
    enstrophy,
    integrate,
    random_vorticity,
    rhs,
    rhs_plain,
    trajectory,
    velocity,
)
from anchorbench.solvers.turbulence import TurbulenceSpec, solve_truth, truth_floor

__all__ = [
    "Dealias",
    "Flow",
    "TurbulenceSpec",
    "box",
    "energy",
    "enstrophy",
    "integrate",
    "random_vorticity",
    "rhs",
    "rhs_plain",
    "solve_truth",
    "trajectory",
    "truth_floor",
    "velocity",
]
