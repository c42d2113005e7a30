"""Initial states of the layer on the sphere: the standard ones of the literature, and random balanced flow.

All are balanced: δ = 0 and ∂δ/∂t = 0, so that the flow begins without a burst of gravity waves.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from anchorbench.fields.grid import Grid
from anchorbench.fields.sphere import analyse, degree_energies, vorticity_divergence
from anchorbench.solvers.shallow_water import Layer, State
from anchorbench.solvers.sphere_balance import balanced

Function = Callable[[Tensor, Tensor], Tensor]


def cells(rows: int) -> Grid:
    """The sphere in rows x 2 rows cells."""
    return Grid((rows, 2 * rows), (180.0, 360.0), "cell", "latlon", unit="degree")


def sampled(f: Function, degrees: int) -> Tensor:
    """The harmonics l < degrees of f(latitude, longitude), both in radians, by quadrature: (L, L)."""
    grid = cells(8 * degrees)
    latitude, longitude = torch.deg2rad(grid.mesh())
    return analyse(f(latitude, longitude), grid, degrees=degrees)


def solid_rotation(layer: Layer, degrees: int, *, speed: float) -> State:
    """The fluid rotates as a whole about the layer's own axis, ζ = (2u₀/a) f/2Ω: steady (Williamson 1992, test 2).

    Its height is g h = g h₀ − (a Ω u₀ + u₀²/2) (f/2Ω)².  speed: u₀ at the equator of that axis, m/s.
    """

    def vorticity(latitude: Tensor, longitude: Tensor) -> Tensor:
        lean = torch.cos(longitude) * torch.cos(latitude) * math.sin(layer.tilt)
        return 2 * speed / layer.radius * (torch.sin(latitude) * math.cos(layer.tilt) - lean)

    return balanced(sampled(vorticity, degrees), layer)


def rossby_haurwitz(layer: Layer, degrees: int, *, wave: int = 4, rate: float = 7.848e-6) -> State:
    """ψ = −a² ω sin φ + a² ω cos^R φ sin φ cos Rλ: a wave that travels east unchanged but for slow instability
    (Williamson et al. 1992, test 6).

    wave: R.  rate: ω = K, 1/s.
    """

    def vorticity(latitude: Tensor, longitude: Tensor) -> Tensor:
        shape = torch.sin(latitude) * torch.cos(latitude) ** wave * torch.cos(wave * longitude)
        return rate * (2 * torch.sin(latitude) - (wave**2 + 3 * wave + 2) * shape)

    return balanced(sampled(vorticity, degrees), layer)


def mountain(degrees: int, *, height: float = 2000.0) -> Tensor:
    """A cone, b = b₀ (1 − r/R), R = π/9, at 30° N, 90° W, in m: (L, L) (Williamson et al. 1992, test 5)."""

    def cone(latitude: Tensor, longitude: Tensor) -> Tensor:
        r = torch.hypot(longitude - 1.5 * math.pi, latitude - math.pi / 6)
        return height * (1 - r / (math.pi / 9)).clamp_min(0)

    return sampled(cone, degrees)


def jet(
    layer: Layer,
    degrees: int,
    *,
    speed: float = 80.0,
    latitude: float = 45.0,
    bump: float = 120.0,
    longitude: float = 0.0,
) -> State:
    """A barotropically unstable jet with a bump of the height upon it (Galewsky, Scott & Polvani 2004, eq. 2 and 4).

        u = u₀ exp(1/((φ − φ₀)(φ − φ₁)))/e_n between φ₀ and φ₁, e_n = exp(−4/(φ₁ − φ₀)²)
        h' = ĥ cos φ exp(−(3λ)²) exp(−(15(φ₂ − φ))²)

    speed: u₀, m/s.  latitude: φ₂ of the middle, degrees; the jet is π/7 ... π/2 − π/7 wide.  bump: ĥ, m, 0 for none.
    longitude: of the bump, degrees.  The height is balanced by the same equation as everywhere here.
    """
    half, middle = (math.pi / 2 - 2 * math.pi / 7) / 2, math.radians(latitude)
    grid = cells(8 * degrees)
    phi, lam = torch.deg2rad(grid.mesh())
    inside = (phi - middle).abs() < half
    distance = torch.where(inside, (phi - middle) ** 2 - half**2, -1.0)
    u = torch.where(inside, speed * torch.exp(1 / distance + 1 / half**2), 0.0)
    vorticity, _ = vorticity_divergence(u, torch.zeros_like(u), grid, radius=layer.radius, degrees=degrees)
    state = balanced(vorticity, layer)
    around = torch.remainder(lam - math.radians(longitude) + math.pi, 2 * math.pi) - math.pi
    bumps = bump * torch.cos(phi) * torch.exp(-((3 * around) ** 2) - (15 * (middle - phi)) ** 2)
    return State(state.vorticity, state.divergence, state.height + analyse(bumps, grid, degrees=degrees))


def random_field(degrees: int, *, spectrum: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian, isotropic on the sphere, mean E_l = spectrum: (degrees, degrees) complex128.

    spectrum: (degrees,).  E_l is shared evenly by its 2l + 1 harmonics.  Drawn degree by degree, so that a field with
    more degrees begins with the same ones.
    """
    c = torch.zeros(degrees, degrees, dtype=torch.complex128)
    for degree in range(degrees):
        # m = 0 is real with variance E/(2l + 1); others have it in the sum of both parts.
        draw = torch.randn(2, degree + 1, generator=generator, dtype=torch.float64)
        row = torch.complex(draw[0], draw[1]) / math.sqrt(2)
        row[0] = draw[0, 0]
        c[degree, : degree + 1] = row * torch.sqrt(spectrum[degree] / (2 * degree + 1))
    return c


def random_flow(layer: Layer, degrees: int, *, speed: float, peak_degree: float, generator: torch.Generator) -> State:
    """Balanced flow of random vorticity whose kinetic energy peaks at l₀: E_l ∝ (l/l₀)³ exp(−3 (l/l₀)²/2), l ≥ 2.

    speed: √⟨|v|²⟩, m/s, of each draw exactly.  peak_degree: l₀.
    """
    degree = torch.arange(degrees, dtype=torch.float64)
    kinetic = (degree / peak_degree) ** 3 * torch.exp(-1.5 * (degree / peak_degree) ** 2)
    kinetic[:2] = 0
    # |v|² of a degree is a² ζ²/(l(l + 1))
    eigenvalue = degree * (degree + 1) / layer.radius**2
    vorticity = random_field(degrees, spectrum=kinetic * eigenvalue, generator=generator)
    there = torch.where(eigenvalue > 0, degree_energies(vorticity, vorticity) / eigenvalue.clamp_min(1e-300), 0.0).sum()
    return balanced(vorticity * (speed / there.sqrt()), layer)


def random_orography(degrees: int, *, height: float, generator: torch.Generator) -> Tensor:
    """Random smooth mountains, E_l ∝ l⁻² exp(−(l/16)²), l ≥ 2, standard deviation `height`, in m: (L, L)."""
    degree = torch.arange(degrees, dtype=torch.float64)
    spectrum = degree.clamp_min(1) ** -2 * torch.exp(-((degree / 16) ** 2))
    spectrum[:2] = 0
    c = random_field(degrees, spectrum=spectrum, generator=generator)
    return c * (height / degree_energies(c, c).sum().sqrt())
