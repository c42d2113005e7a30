"""Numerical solvers: they make the data, and they are the yardstick."""

from anchorbench.solvers.burgers import BurgersFlow
from anchorbench.solvers.burgers import integrate as integrate_burgers
from anchorbench.solvers.darcy import solve as solve_darcy
from anchorbench.solvers.flow import Flow, box
from anchorbench.solvers.fractal import fractal_relief
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
from anchorbench.solvers.navier_stokes_3d import cube
from anchorbench.solvers.navier_stokes_3d import integrate as integrate_3d
from anchorbench.solvers.phantom import Phantom, ellipsoids, random_head
from anchorbench.solvers.rain import RainSpec, orographic_factor, rain_fields
from anchorbench.solvers.shallow_water import Layer
from anchorbench.solvers.shallow_water import integrate as integrate_sphere
from anchorbench.solvers.sphere_truth import SphereSpec, solve_sphere
from anchorbench.solvers.stepper_3d import Flow3d
from anchorbench.solvers.turbulence import TurbulenceSpec, solve_rungs, solve_truth, truth_floor
from anchorbench.solvers.turbulence_3d import TurbulenceSpec3d, solve_rungs_3d, solve_truth_3d, truth_floor_3d

__all__ = [
    "BurgersFlow",
    "Dealias",
    "Flow",
    "Flow3d",
    "Layer",
    "Phantom",
    "RainSpec",
    "SphereSpec",
    "TurbulenceSpec",
    "TurbulenceSpec3d",
    "box",
    "cube",
    "ellipsoids",
    "energy",
    "enstrophy",
    "fractal_relief",
    "integrate",
    "integrate_3d",
    "integrate_burgers",
    "integrate_sphere",
    "orographic_factor",
    "rain_fields",
    "random_head",
    "random_vorticity",
    "rhs",
    "rhs_plain",
    "solve_darcy",
    "solve_rungs",
    "solve_rungs_3d",
    "solve_sphere",
    "solve_truth",
    "solve_truth_3d",
    "trajectory",
    "truth_floor",
    "truth_floor_3d",
    "velocity",
]
