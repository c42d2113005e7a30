"""A shallow layer of fluid on a rotating sphere, in spherical harmonics.

    ∂ζ/∂t = −∇·((ζ + f) v) − ν_l ζ
    ∂δ/∂t = k·∇×((ζ + f) v) − ∇²(g h + |v|²/2) − ν_l δ
    ∂D/∂t = −∇·(D v) − ν_l h,   D = h − b,   v = k × ∇∇⁻²ζ + ∇∇⁻²δ,   f = 2Ω sin φ

(Williamson et al. 1992, eq. 6 to 8.)  The state is every harmonic l < L, triangular; products are formed on 3L/2 of
Gauss' latitudes by 3L longitudes, where they are free of aliasing.  Time is stepped by ETDRK4 (Cox & Matthews 2002, eq.
26 to 29): gravity waves about the mean depth and the damping are exact, the rest is Runge-Kutta of fourth order, so
the step is that of the wind and of f, not of the waves.  The mean of D is kept to the last bit: nothing changes l = 0,
where ν_l = 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from anchorbench.errors import AnchorbenchError, ConfigError, GridError
from anchorbench.fields.harmonics import Mesh
from anchorbench.solvers.antipodes import Antipodes, antipodes
from anchorbench.solvers.stepping import require_above_0

#: Points of the circle over which the functions of ETDRK4 are averaged.
CONTOUR = 32


@dataclass(frozen=True)
class Layer:
    """The constants of the fluid and its sphere, in SI units; the Earth's by default (Williamson et al. 1992).

    mean_depth: H, the mean of D.  radius, rotation, gravity: a, Ω, g.  tilt: angle by which the axis of rotation leans
    away from the grid's, f = 2Ω (sin φ cos α − cos λ cos φ sin α).
    damping_time, damping_degree, damping_power: ν_l = [l(l + 1)/(l_d(l_d + 1))]^p / τ, that is −ν (−∇²)^p; a time of
    infinity, the default, is no damping.
    orography: b in m, coefficients (L', L') of `fields.sphere`; None is flat.

    Raises ConfigError where these make no layer.
    """

    mean_depth: float
    radius: float = 6.37122e6
    rotation: float = 7.292e-5
    gravity: float = 9.80616
    tilt: float = 0.0
    damping_time: float = math.inf
    damping_degree: int = 1
    damping_power: int = 4
    orography: Tensor | None = None

    def __post_init__(self) -> None:
        require_above_0(self, "mean_depth", "radius", "gravity", "damping_time", "damping_degree", "damping_power")

    def damping(self, degrees: int) -> Tensor:
        """ν_l, 1/s: (degrees,), float64."""
        degree = torch.arange(degrees, dtype=torch.float64)
        share = degree * (degree + 1) / (self.damping_degree * (self.damping_degree + 1))
        return share**self.damping_power / self.damping_time

    def terrain(self, degrees: int, like: Tensor) -> Tensor:
        """b of l < degrees: (degrees, degrees), zeros where the orography has no such degree."""
        out = like.new_zeros(degrees, degrees)
        if self.orography is not None:
            n = min(degrees, self.orography.shape[-1])
            out[:n, :n] = self.orography[:n, :n].to(out)
        return out


@dataclass(frozen=True)
class State:
    """ζ and δ in 1/s, and h, the height of the free surface, in m: coefficients (..., L, L) of `fields.sphere`."""

    vorticity: Tensor
    divergence: Tensor
    height: Tensor

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.vorticity, self.divergence, self.height

    @property
    def degrees(self) -> int:
        return self.vorticity.shape[-1]

    def with_degrees(self, degrees: int) -> State:
        """The same state with more degrees, zeros, or fewer, cut off."""
        return State(*(with_degrees(c, degrees) for c in self.parts))


def with_degrees(c: Tensor, degrees: int) -> Tensor:
    """Coefficients (..., L, L) padded with zeros, or cut, to (..., degrees, degrees)."""
    n = min(degrees, c.shape[-1])
    out = c.new_zeros(*c.shape[:-2], degrees, degrees)
    out[..., :n, :n] = c[..., :n, :n]
    return out


def solver_mesh(degrees: int) -> Mesh:
    """Gauss' latitudes and the longitudes on which every l < degrees of a product of two such fields is exact."""
    rows = (3 * degrees + 1) // 2
    return Mesh("gauss", rows, 2 * rows)


def integrate(state: State, layer: Layer, *, duration: float, dt: float) -> State:
    """The state after `duration` seconds, in equal steps of at most dt.

    Exact for linear gravity waves, of fourth order in time, spectral in space.  dt about a/(L |v|) is safe.
    Raises AnchorbenchError where the state is no longer finite.
    """
    if duration < 0 or not dt > 0:
        raise ConfigError(f"a duration of {duration} in steps of {dt}", do="give dt > 0 and a duration of 0 or more")
    if duration == 0:
        return state
    steps = math.ceil(duration / dt * (1 - 1e-12))
    stepper = Stepper(layer, state, step=duration / steps)
    x = stepper.pack(state)
    for _ in range(steps):
        x = stepper.advance(x)
    if not torch.isfinite(x).all():
        raise AnchorbenchError(
            f"the layer's flow blew up within {duration:g} s in steps of {duration / steps:g} s",
            do="take shorter steps, more damping, or slower winds",
        )
    return stepper.unpack(x, state.vorticity.shape)


def tendency(state: State, layer: Layer) -> State:
    """∂/∂t of ζ, δ and h: the equations above, linear terms and damping among them."""
    stepper = Stepper(layer, state, step=None)
    rate = stepper.tendency(stepper.pack(state))
    rate[:, :, 2] /= layer.gravity
    return stepper.state(rate, state.vorticity.shape)


class Stepper:
    """One step of B states at once.

    Packed states are real, (m, l, 3, B, 2): ζ, δ and Φ = g (h − b), Φ less g H at l = 0, as real and imaginary parts.
    Points are (columns, rows, B), rows in the order of `Antipodes`.
    """

    def __init__(self, layer: Layer, state: State, *, step: float | None, mesh: Mesh | None = None) -> None:
        if len({part.shape for part in state.parts}) != 1 or state.vorticity.shape[-2:] != (state.degrees,) * 2:
            shapes = [tuple(part.shape) for part in state.parts]
            raise GridError(f"ζ, δ and h are coefficients of one shape (..., L, L), not {shapes}")
        like = state.vorticity
        self.layer, self.degrees, self.real, self.device = layer, state.degrees, like.real.dtype, like.device
        self.batch = like.shape[:-2].numel()
        self.mesh = mesh = solver_mesh(state.degrees) if mesh is None else mesh
        self.mean = layer.gravity * layer.mean_depth
        degree = torch.arange(self.degrees, dtype=torch.float64)
        eigenvalue = degree * (degree + 1)
        self.rate, self.eigenvalue = layer.damping(self.degrees), eigenvalue / layer.radius**2
        self.damping = self._put(self.rate)[:, None, None]
        self.laplacian = self._put(-self.eigenvalue)[:, None, None]
        # ζ to ψ/a, whose gradient on the unit sphere is the wind.
        to_potential = torch.where(degree > 0, -layer.radius / eigenvalue.clamp_min(1), 0.0)
        self.to_potential = self._put(to_potential)[:, None, None]
        terrain = layer.gravity * layer.terrain(self.degrees, like)
        self.terrain = torch.view_as_real(terrain.mT.contiguous())[:, :, None]
        self.harmonics = antipodes(mesh, self.degrees, dtype=self.real, device=self.device)
        self.weights = self._put(self.harmonics.weights)[:, None]
        self.coriolis = self._put(coriolis(layer, mesh, self.harmonics))
        if step is not None:
            self._make_exponentials(step)

    def _put(self, x: Tensor) -> Tensor:
        return x.to(self.real).to(self.device)

    def pack(self, state: State) -> Tensor:
        fields = torch.stack([part.reshape(-1, self.degrees, self.degrees) for part in state.parts])
        x = torch.view_as_real(fields.permute(3, 2, 0, 1)).contiguous()
        x[:, :, 2] = self.layer.gravity * x[:, :, 2] - self.terrain
        x[0, 0, 2, :, 0] -= self.mean
        return x

    def unpack(self, x: Tensor, shape: torch.Size) -> State:
        x = x.clone()
        x[0, 0, 2, :, 0] += self.mean
        x[:, :, 2] = (x[:, :, 2] + self.terrain) / self.layer.gravity
        return self.state(x, shape)

    def state(self, x: Tensor, shape: torch.Size) -> State:
        return State(*(part.reshape(shape) for part in torch.view_as_complex(x).permute(2, 3, 1, 0)))

    # -- time steps --------------------------------------------------------------------------------------------------

    def _make_exponentials(self, h: float) -> None:
        """The functions of ETDRK4 of h A, A = −ν + [[0, κ²], [−gH, 0]] on (δ, Φ), κ² = l(l + 1)/a².

        Its eigenvalues are −ν ± iω, ω² = gH κ², and F(A) = Re F(−ν + iω) + Im F(−ν + iω) (A + ν)/ω for a real F.
        """
        circle = 2 * torch.exp(2j * math.pi * (torch.arange(CONTOUR, dtype=torch.float64) + 0.5) / CONTOUR)
        frequency = torch.sqrt(self.mean * self.eigenvalue)
        slow, fast = (h * torch.complex(-self.rate, w) for w in (torch.zeros_like(frequency), frequency))

        def operator(f: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
            alone, pair = f(slow), f(fast)
            over = torch.where(frequency > 0, pair.imag / frequency.clamp_min(1e-300), 0.0)
            diagonal = self._put(torch.stack((alone.real, pair.real, pair.real), dim=1))
            cross = [self._put(x)[:, None, None] for x in (over * self.eigenvalue, -self.mean * over)]
            return diagonal[..., None, None], cross[0], cross[1]

        def smooth(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
            """f, and near 0 its mean over a circle around z, where no digits cancel (Kassam & Trefethen 2005, §2)."""
            return lambda z: torch.where(z.abs() > 1, f(z), f(z[:, None] + circle).mean(1))

        self.whole = operator(torch.exp)
        self.half = operator(lambda z: torch.exp(z / 2))
        self.push = operator(smooth(lambda z: h * torch.expm1(z / 2) / z))
        self.first = operator(smooth(lambda z: h * (-4 - z + torch.exp(z) * (4 - 3 * z + z**2)) / z**3))
        self.middle = operator(smooth(lambda z: h * 2 * (2 + z + torch.exp(z) * (z - 2)) / z**3))
        self.last = operator(smooth(lambda z: h * (-4 - 3 * z - z**2 + torch.exp(z) * (4 - z)) / z**3))

    @staticmethod
    def _apply(operator: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
        diagonal, to_divergence, to_depth = operator
        out = diagonal * x
        out[:, :, 1].addcmul_(to_divergence, x[:, :, 2])
        out[:, :, 2].addcmul_(to_depth, x[:, :, 1])
        return out

    def advance(self, x: Tensor) -> Tensor:
        """One step of ETDRK4."""
        start = self.nonlinear(x)
        there = self._apply(self.half, x)
        a = self._apply(self.push, start).add_(there)
        at_a = self.nonlinear(a)
        at_b = self.nonlinear(self._apply(self.push, at_a).add_(there))
        c = self._apply(self.push, torch.add(at_b, at_b).sub_(start)).add_(self._apply(self.half, a))
        at_c = self.nonlinear(c)
        out = self._apply(self.whole, x).add_(self._apply(self.first, start))
        return out.add_(self._apply(self.middle, at_a.add_(at_b))).add_(self._apply(self.last, at_c))

    # -- the right-hand side -------------------------------------------------------------------------------------------

    def on_points(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """ζ, Φ less its mean, u and v: (columns, rows, B) each."""
        psi, chi = (self.to_potential * x[:, :, i] for i in (0, 1))
        # u = ∂χ/∂λ/cos φ − ∂ψ/∂φ, v = ∂ψ/∂λ/cos φ + ∂χ/∂φ, ∂/∂λ = i m
        turned = torch.stack((times_i(chi), times_i(psi)), dim=2)
        sloped = torch.stack((-psi, chi), dim=2)
        joined = self.harmonics.to_rows(x[:, :, 0::2].flatten(2), turned.flatten(2), sloped.flatten(2))
        waves = torch.view_as_complex(joined.reshape(*joined.shape[:2], -1, 2))
        fields: Tensor = torch.fft.irfft(waves, n=self.mesh.n_columns, dim=0, norm="forward")
        vorticity, depth, u, v = fields.chunk(4, dim=2)
        return vorticity, depth, u, v

    def nonlinear(self, x: Tensor) -> Tensor:
        """∂/∂t of (ζ, δ, Φ) without κ² Φ in δ, −gH δ in Φ, and their damping: those are in the exponentials.

        Integrated by parts: ∇·F at (l, m) is −Σ w F·∇Y*_lm.
        """
        vorticity, depth, u, v = self.on_points(x)
        over = self.weights / self.layer.radius
        absolute, depth = (vorticity + self.coriolis) * over, depth * over
        columns, rows, b = u.shape
        products = u.new_empty(columns, rows, 5, b)
        # The first three are wanted with their slopes, the second to the fourth with their turns.
        for slot, (factor, component) in enumerate(((depth, v), (absolute, u), (absolute, v), (depth, u))):
            torch.mul(factor, component, out=products[:, :, slot])
        torch.mul(u, u, out=products[:, :, 4]).addcmul_(v, v).mul_(self.weights / 2)
        waves = torch.fft.rfft(products, dim=0, norm="forward")[: self.degrees]
        parts = torch.view_as_real(waves).flatten(2)  # (m, rows, 5 · B · 2)
        energies, with_turns, with_slopes = slice(8 * b, 10 * b), slice(2 * b, 8 * b), slice(0, 6 * b)
        modes = self.harmonics.to_degrees(parts, values=energies, turns=with_turns, slopes=with_slopes)
        energy, turn, slope = (each.reshape(*each.shape[:2], -1, b, 2) for each in modes)
        out = torch.empty_like(x)
        torch.sub(slope[:, :, 2], times_i(turn[:, :, 0]), out=out[:, :, 0])
        torch.add(slope[:, :, 1], times_i(turn[:, :, 1]), out=out[:, :, 1])
        torch.sub(slope[:, :, 0], times_i(turn[:, :, 2]), out=out[:, :, 2])
        out[:, :, 1].addcmul_(self.laplacian, energy[:, :, 0].add_(self.terrain), value=-1)
        if self.layer.orography is not None:
            # Damped is the surface, Φ + g b: a lake at rest over mountains stays at rest.
            out[:, :, 2].addcmul_(self.damping, self.terrain, value=-1)
        return out

    def tendency(self, x: Tensor) -> Tensor:
        """∂/∂t of (ζ, δ, Φ), all terms."""
        rate = self.nonlinear(x)
        rate[:, :, 1].addcmul_(self.laplacian, x[:, :, 2], value=-1)
        rate[:, :, 2].sub_(x[:, :, 1], alpha=self.mean)
        return rate.sub_(self.damping[..., None] * x)


def times_i(x: Tensor) -> Tensor:
    """i x, x real and imaginary parts on its last axis."""
    return torch.stack((-x[..., 1], x[..., 0]), dim=-1)


def coriolis(layer: Layer, mesh: Mesh, harmonics: Antipodes) -> Tensor:
    """f at the points: (columns or 1, rows, 1), float64."""
    latitude = harmonics.latitude
    f = torch.sin(latitude)[None] * math.cos(layer.tilt)
    if layer.tilt:
        longitude = torch.arange(mesh.n_columns, dtype=torch.float64)[:, None] * (2 * math.pi / mesh.n_columns)
        turned = math.pi * (torch.arange(mesh.n_rows) >= harmonics.north).double()
        f = f - torch.cos(latitude) * math.sin(layer.tilt) * torch.cos(longitude + turned)
    return 2 * layer.rotation * f[..., None]
