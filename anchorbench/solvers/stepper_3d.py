"""Integrating-factor RK4 for 3-D incompressible flow, on the modes that are advanced and no others.

    dû/dt = −ν|k|² û + P(N̂ + f̂),   N_i = −∂_j (u_i u_j),   P = 1 − k k·/|k|²,   f̂ = ε û/(2 E_f) in 0 < |k| ≤ k_f

Three velocities go to the points and five products come back: of the six u_i u_j one is spared, for pressure takes up
any multiple of the unit tensor, so that w² is taken off the diagonal.  (The rotational form takes nine transforms, and
six of them are inverse, the slow ones on a CPU.)

The state holds |k_i| ≤ k_max only, (2 k_max + 1)² (k_max + 1) coefficients, so the points of the transforms are free to
be the rung's (two thirds of its modes) or 3/2 of them (all its modes): products are exact where n ≥ 3 k_max + 1.

Sources: the eighth transform: C. Basdevant, J. Comput. Phys. 50 (1983) 209-214.  Projection and integrating factor:
Canuto, Hussaini, Quarteroni, Zang, Spectral Methods, Evolution to Complex Geometries (2007), section 3.3, appendix D.
Constant power in the lowest shells: S. Ghosal, T. Lund, P. Moin, K. Akselvoll, J. Fluid Mech. 286 (1995) 229-255.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import EllipsisType

import torch
from torch import Tensor

from anchorbench.errors import ConfigError
from anchorbench.solvers.stepper import STEPS_PER_SEGMENT, largest
from anchorbench.solvers.stepping import blew_up

AXES = (-3, -2, -1)
Index = tuple[EllipsisType, slice, slice, slice]


@dataclass(frozen=True)
class Flow3d:
    """∂u/∂t + u·∇u = −∇p + ν∇²u + f,  ∇·u = 0  on [0, 2π)³,  f̂ = ε û/(2 E_f) for 0 < |k| ≤ k_f.

    The forcing does the work ⟨f·u⟩ = ε at every moment: E_f is the energy of the waves that it acts on.

    viscosity: ν.  injection: ε; 0 lets the flow decay.  forcing_wavenumber: k_f.
    Raises ConfigError where these make no flow.
    """

    viscosity: float
    injection: float = 0.0
    forcing_wavenumber: float = 2.0

    def __post_init__(self) -> None:
        for name in ("viscosity", "injection"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)}", do=f"give a finite {name} >= 0")
        if not 1 <= self.forcing_wavenumber < math.inf:
            raise ConfigError(
                f"forcing_wavenumber is {self.forcing_wavenumber}; the longest wave of the box has 1",
                do="give a number of 1 or more",
            )


class Modes:
    """The waves |k_i| ≤ m = k_max of real fields on the box [0, 2π)³, without the mirror of what has kx > 0.

    Coefficients are (..., 2m + 1, 2m + 1, m + 1), kz and ky in the order 0 ... m, −m ... −1.
    """

    def __init__(self, k_max: int, *, device: torch.device, dtype: torch.dtype) -> None:
        self.k_max, self.device, self.real = k_max, device, dtype
        self.complex = torch.complex64 if dtype == torch.float32 else torch.complex128
        both = torch.cat((torch.arange(k_max + 1), torch.arange(-k_max, 0))).to(device, dtype)
        self.kx, self.ky, self.kz = both[: k_max + 1], both[:, None], both[:, None, None]
        self.k2 = self.kz**2 + self.ky**2 + self.kx**2
        self.inverse_k2 = 1.0 / self.k2.clamp_min(1.0)
        # As real arrays for the real and imaginary slots of a row: real times complex would be carried out as complex.
        self.kx2 = self.kx.repeat_interleave(2)
        self.inverse_k2_twice = self.inverse_k2.repeat_interleave(2, dim=-1)
        # The half spectrum leaves out the mirror of every wave with kx > 0.
        self.weight = torch.where(self.kx > 0, 2.0, 1.0).to(dtype)

    def of(self, fields: Tensor) -> Tensor:
        """The coefficients of fields (..., n, n, n), with û = FFT(u)/n³; those that n points lack are 0."""
        n = fields.shape[-1]
        spectrum = torch.fft.rfftn(fields, dim=AXES, norm="forward")
        out: Tensor = spectrum.new_zeros((*fields.shape[:-3], *self.k2.shape))
        for here, there in self._corners(n):
            out[here] = spectrum[there]
        return out

    def on_points(self, modes: Tensor, n: int) -> Tensor:
        """The fields of coefficients, on n points a side: (..., n, n, n); waves that n points lack are dropped."""
        spectrum = modes.new_zeros((*modes.shape[:-3], n, n, n // 2 + 1))
        for here, there in self._corners(n):
            spectrum[there] = modes[here]
        out: Tensor = torch.fft.irfftn(spectrum, s=(n, n, n), dim=AXES, norm="forward")
        return out

    def _corners(self, n: int) -> list[tuple[Index, Index]]:
        """Where the band's four corners lie here, and in the half spectrum of n points."""
        m, rows = min(self.k_max, (n - 1) // 2), 2 * self.k_max + 1
        x, low = slice(0, m + 1), slice(0, m + 1)
        halves = ((low, low), (slice(rows - m, rows), slice(n - m, n)))
        return [((..., z[0], y[0], x), (..., z[1], y[1], x)) for z in halves for y in halves]

    def solenoidal(self, modes: Tensor) -> Tensor:
        """P û, the part without divergence: (..., 3, *band), components along x, y, z."""
        slots = _slots(modes)
        x, y, z = slots.unbind(-4)
        share = (x * self.kx2).addcmul_(y, self.ky).addcmul_(z, self.kz).mul_(self.inverse_k2_twice)
        out = torch.stack((share * self.kx2, share * self.ky, share * self.kz), dim=-4)
        return _complex(torch.sub(slots, out, out=out))

    def curl(self, modes: Tensor) -> Tensor:
        """i k × û: (..., 3, *band)."""
        x, y, z = modes.unbind(-4)
        kx, ky, kz = self.kx, self.ky, self.kz
        out: Tensor = 1j * torch.stack((ky * z - kz * y, kz * x - kx * z, kx * y - ky * x), dim=-4)
        return out

    def divergence(self, modes: Tensor) -> Tensor:
        """i k·û: (..., *band)."""
        x, y, z = modes.unbind(-4)
        out: Tensor = 1j * (self.kx * x + self.ky * y + self.kz * z)
        return out

    def mirrored(self, modes: Tensor) -> Tensor:
        """The same with û(−k) = û(k)* on the plane kx = 0, which holds both: rounding does not keep it so."""
        plane = modes[..., 0]
        flipped = torch.roll(plane.flip((-2, -1)), (1, 1), (-2, -1))
        out = modes.clone()
        out[..., 0] = 0.5 * (plane + flipped.conj())
        return out


def _slots(modes: Tensor) -> Tensor:
    """(..., n) complex as (..., 2n) real, sharing memory."""
    return torch.view_as_real(modes).flatten(-2)


def _complex(slots: Tensor) -> Tensor:
    return torch.view_as_complex(slots.reshape(*slots.shape[:-1], -1, 2))


class Stepper3d:
    """A batch of velocity fields (B, 3, n, n, n), of which the modes |k_i| ≤ k_max are advanced on `points` a side."""

    def __init__(self, velocity: Tensor, flow: Flow3d, *, k_max: int, points: int) -> None:
        self.flow, self.points = flow, points
        self.modes = Modes(k_max, device=velocity.device, dtype=velocity.dtype)
        self.state = self.modes.solenoidal(self.modes.of(velocity))
        self.decay = flow.viscosity * self.modes.k2
        self._forced_modes()
        self.step_size = math.nan
        self.speed = float(largest(self.modes.on_points(self.state, points)))

    def fields(self, n: int) -> Tensor:
        """The velocity now, on n points a side: (B, 3, n, n, n)."""
        return self.modes.on_points(self.state, n)

    def advance(self, duration: float, *, courant: float, step: float | None) -> None:
        """Go on by `duration`, landing on it exactly.

        Equal steps of at most `step`; without it of courant/(k_max U), U the largest velocity component of the batch,
        measured every few steps.
        """
        fixed = None if step is None else duration / max(1, math.ceil(duration / step - 1e-9))
        left = duration
        while left > 0:
            self.state = self.modes.mirrored(self.state)
            h = self._longest_step(courant) if fixed is None else fixed
            steps = max(1, math.ceil(left / h - 1e-9))
            self._set_step(left / steps if fixed is None else fixed)
            now = min(steps, STEPS_PER_SEGMENT)
            for _ in range(now):
                self._step()
            left = 0.0 if now == steps else left - now * self.step_size
            self.speed = float(largest(self.modes.on_points(self.state, self.points)))
            if not math.isfinite(self.speed):
                raise blew_up(self.points, self.step_size)

    def tendency(self) -> Tensor:
        """dû/dt: (B, 3, *band)."""
        return self._nonlinear(self.state) - self.decay * self.state

    def _longest_step(self, courant: float) -> float:
        """h with k_max (U + m √ε k_f h) h = courant: forcing adds to the speed in the m steps until it is measured."""
        reach = courant / max(1, self.modes.k_max)
        gain = STEPS_PER_SEGMENT * math.sqrt(self.flow.injection) * self.flow.forcing_wavenumber
        bottom = self.speed + math.sqrt(self.speed**2 + 4 * gain * reach)
        return 2 * reach / bottom if bottom > 0 else math.inf

    def _set_step(self, h: float) -> None:
        if h != self.step_size:
            self.step_size = h
            self.half = torch.exp(-0.5 * h * self.decay).repeat_interleave(2, dim=-1)
            self.full = self.half.square()

    def _step(self) -> None:
        """With E = e^{−ν|k|²h/2}:   a = N(û),   b = N(E (û + h/2 a)),   c = N(E û + h/2 b),   d = N(E² û + h E c)

        û(t + h) = E² û + h/6 (E² a + 2 E (b + c) + d)
        """
        h, half, full, state = self.step_size, self.half, self.full, self.state
        base = half * _slots(state)
        a = _slots(self._nonlinear(state))
        b = _slots(self._nonlinear(_complex(torch.addcmul(base, half, a, value=h / 2))))
        c = _slots(self._nonlinear(_complex(torch.add(base, b, alpha=h / 2))))
        base.mul_(half)
        d = _slots(self._nonlinear(_complex(torch.addcmul(base, half, c, value=h))))
        b.add_(c).mul_(half)
        base.addcmul_(full, a, value=h / 6).add_(b, alpha=h / 3).add_(d, alpha=h / 6)
        self.state = _complex(base)

    def _nonlinear(self, state: Tensor) -> Tensor:
        """P F(−∂_j u_i u_j) + f̂: (B, 3, *band)."""
        u, v, w = self.modes.on_points(state, self.points).unbind(1)
        products = torch.empty((len(u), 5, *u.shape[1:]), dtype=u.dtype, device=u.device)
        xx, yy, xy, xz, yz = products.unbind(1)
        torch.mul(u, v, out=xy)
        torch.mul(u, w, out=xz)
        torch.mul(v, w, out=yz)
        w.square_()
        torch.sub(u.square_(), w, out=xx)
        torch.sub(v.square_(), w, out=yy)
        xx, yy, xy, xz, yz = _slots(self.modes.of(products)).unbind(1)
        kx, ky, kz = self.modes.kx2, self.modes.ky, self.modes.kz
        flux = torch.stack((kx * xx, kx * xy, kx * xz), dim=1)
        flux[:, 0].addcmul_(ky, xy).addcmul_(kz, xz)
        flux[:, 1].addcmul_(ky, yy).addcmul_(kz, yz)
        flux[:, 2].addcmul_(ky, yz)
        out = self.modes.solenoidal(_complex(flux)).mul_(-1j)
        return self._add_force(out, state)

    def _forced_modes(self) -> None:
        k2 = self.modes.k2
        inside = (k2 > 0) & (k2 <= self.flow.forcing_wavenumber**2 * (1 + 1e-9))
        self.forced = inside.flatten().nonzero().flatten()
        self.forced_weight = self.modes.weight.expand_as(k2).flatten()[self.forced]

    def _add_force(self, to: Tensor, state: Tensor) -> Tensor:
        """Add ε û/(2 E_f), E_f = ½ Σ |û|² over the forced waves of each sample; a fluid at rest there stays at rest."""
        if self.flow.injection and len(self.forced):
            low = state.flatten(-3)[..., self.forced]
            twice_energy = (torch.view_as_real(low).square().sum(-1) * self.forced_weight).sum((-2, -1))
            floor = torch.finfo(twice_energy.dtype).tiny
            gain = torch.where(twice_energy > floor, self.flow.injection / twice_energy.clamp_min(floor), 0.0)
            to.flatten(-3).index_add_(-1, self.forced, gain[:, None, None] * low)
        return to
