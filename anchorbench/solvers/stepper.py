"""Integrating-factor RK4 for the vorticity equation, in preallocated buffers.

    dω̂/dt = −L ω̂ + f̂ + N(ω̂),   L = ν|k|² + μ,   N = kx ky F(v² − u²) + (kx² − ky²) F(u v)

Basdevant's form takes four real transforms where the advective one takes five.  Samples ride two by two, ω₁ + iω₂ in
one complex field: every operator here is real in x-space, so it acts on both at once, and torch's `irfft2`, which
costs 1.4-3.9 `rfft2` on a CPU, is never called.  A lone sample takes `rfft2`, with the same four transforms.

The linear part, forcing included, is integrated exactly: S_t(ω̂) = e^{−Lt} ω̂ + (1 − e^{−Lt})/L f̂ is the flow of
dω̂/dt = −L ω̂ + f̂, and RK4 is applied to S_{−t}(ω̂).  A laminar state stays steady to rounding, and viscosity limits
no step.

Sources: C. Basdevant, J. Comput. Phys. 50 (1983) 209-214; integrating factor: Canuto, Hussaini, Quarteroni, Zang,
Spectral Methods, Evolution to Complex Geometries (2007), appendix D; RK4 with the stages summed as
(−ω + a + 2b + c)/3 + h N(c)/6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from anchorbench.solvers.flow import Flow
from anchorbench.solvers.stepping import blew_up

# About six complex fields of a block shall fit a second-level cache of this size: a larger block is up to 1.7 x slower.
CACHE_BYTES = 2 * 2**20
FIELDS_IN_CACHE = 6
# Steps between two measurements of the speed.
STEPS_PER_SEGMENT = 8


def wavenumbers(n: int, *, half: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Integer wavenumbers of an n-point transform, float64: ky (n, 1) and kx (1, n), or (1, n//2 + 1) for `half`."""
    both = torch.fft.fftfreq(n, 1.0 / n, dtype=torch.float64, device=device).round()
    return both[:, None], both[None, : n // 2 + 1].abs() if half else both[None, :]


def doubled(x: Tensor, dtype: torch.dtype) -> Tensor:
    """A real multiplier (...) as (..., 2), to act on the real and imaginary slots of a complex field."""
    return x.to(dtype)[..., None].expand(*x.shape, 2).contiguous()


class Spectral:
    """A buffer of complex coefficients (b, ...), and the views of it that every step uses."""

    def __init__(self, modes: Tensor, forced: slice | None) -> None:
        self.modes = modes
        self.slots = torch.view_as_real(modes)
        self.forced = None if forced is None else modes[:, forced, 0]


@dataclass
class Block:
    """A few samples that are stepped together, in buffers that the blocks share."""

    state: Spectral
    base: Spectral
    stage: Spectral
    total: Spectral
    force: Tensor
    velocity: Tensor
    products: Tensor
    speed: Tensor

    def add_force(self, to: Spectral, scale: float) -> None:
        if to.forced is not None:
            to.forced.add_(self.force, alpha=scale)


class Stepper:
    """A batch of vorticity fields (B, n, n), of which the modes |kx|, |ky| ≤ k_max are advanced.

    Products are free of aliasing in the band where n ≥ 3 k_max + 1.
    """

    def __init__(self, vorticity: Tensor, flow: Flow, *, k_max: int) -> None:
        self.flow = flow
        self.batch, self.n = vorticity.shape[0], vorticity.shape[-1]
        self.k_max = k_max
        self.real, self.device = vorticity.dtype, vorticity.device
        self.complex = torch.complex64 if self.real == torch.float32 else torch.complex128
        self.packed = self.batch > 1
        self._multipliers()
        self.state = self._pack(vorticity)
        self.step_size = math.nan
        self._allocate()
        for block in self.blocks:
            block.speed = largest(self._velocity(block, block.state))
        self.speed = self._top_speed()

    def fields(self) -> Tensor:
        """The vorticity now: (B, n, n)."""
        if not self.packed:
            out: Tensor = torch.fft.irfft2(self.state, s=(self.n, self.n), norm="forward")
            return out
        pairs = torch.fft.ifft2(self.state, norm="forward")
        return torch.stack((pairs.real, pairs.imag), dim=1).reshape(-1, self.n, self.n)[: self.batch]

    def advance(self, duration: float, *, courant: float, step: float | None) -> None:
        """Go on by `duration`, landing on it exactly.

        Equal steps of at most `step`; without it of courant/(k_max U), U the largest velocity component of the
        batch, measured every few steps.
        """
        fixed = None if step is None else duration / max(1, math.ceil(duration / step - 1e-9))
        left = duration
        while left > 1e-12 * duration:
            h = fixed or left / max(1, math.ceil(left / self._longest_step(courant)))
            n_left = round(left / h)
            n_now = min(n_left, STEPS_PER_SEGMENT)
            self._set_step(h)
            for block in self.blocks:
                for i in range(n_now):
                    self._step(block, measure=i == n_now - 1)
            self.speed = self._top_speed()
            left = (n_left - n_now) * h
            if not (math.isfinite(self.speed) and (left or math.isfinite(float(torch.view_as_real(self.state).sum())))):
                raise blew_up(self.n, h)

    def tendency(self) -> Tensor:
        """∂ω/∂t of the state, within the band: (B, n, n)."""
        start = self.state.clone()
        for block in self.blocks:
            p, q = self._products(block, self._velocity(block, block.state))
            block.state.slots.mul_(-doubled(self.decay, self.real)).addcmul_(p, self.a).addcmul_(q, self.b)
            block.add_force(block.state, 1.0)
        out = self.fields()
        self.state.copy_(start)
        return out

    # -- set-up ------------------------------------------------------------------------------------------------------

    def _multipliers(self) -> None:
        ky, kx = wavenumbers(self.n, half=not self.packed, device=self.device)
        self.mask = (ky.abs() <= self.k_max) & (kx.abs() <= self.k_max)
        k2 = ky**2 + kx**2
        inverse = torch.where(self.mask & (k2 > 0), 1.0 / k2.clamp_min(1.0), 0.0)
        # (u, v) = (∂ψ/∂y, −∂ψ/∂x), ψ̂ = ω̂/k²
        self.to_velocity = torch.stack((1j * ky * inverse, -1j * kx * inverse))[:, None].to(self.complex)
        # The 1/n² of the forward transform is folded in: fields go back and forth with no scaling.
        a, b = ky * kx * self.mask / self.n**2, (kx**2 - ky**2) * self.mask / self.n**2
        self.a, self.b = doubled(a, self.real), doubled(b, self.real)
        self.decay = self.flow.viscosity * k2 + self.flow.drag

    def _pack(self, vorticity: Tensor) -> Tensor:
        if not self.packed:
            alone: Tensor = torch.fft.rfft2(vorticity, norm="forward") * self.mask
            return alone
        if self.batch % 2:
            vorticity = torch.cat((vorticity, torch.zeros_like(vorticity[:1])))
        pairs = vorticity.reshape(-1, 2, self.n, self.n)
        packed: Tensor = torch.fft.fft2(torch.complex(pairs[:, 0], pairs[:, 1]), norm="forward") * self.mask
        return packed

    def _allocate(self) -> None:
        n_fields, one = self.state.shape[0], self.state[0]
        per_block = n_fields
        if self.device.type == "cpu":
            per_block = max(1, CACHE_BYTES // (FIELDS_IN_CACHE * one.numel() * one.element_size()))
        size = min(per_block, n_fields)
        shape = (2, size, self.n, self.n)
        velocity = torch.empty((2, size, *one.shape), dtype=self.complex, device=self.device)
        products = velocity if self.packed else torch.empty(shape, dtype=self.real, device=self.device)
        work = [torch.empty_like(self.state[:size]) for _ in range(3)]

        force = torch.full((n_fields, 1), 1 + 1j if self.packed else 1, dtype=self.complex, device=self.device)
        if self.packed and self.batch % 2:
            force[-1] = 1  # the empty half of the last pair stays at rest
        # −χ k_f cos(k_f y) = −χ k_f/2 at (ky, kx) = (± k_f, 0), rows k_f and n − k_f
        k_f, amplitude = self.flow.forcing_wavenumber, self.flow.forcing_amplitude
        force *= -0.5 * amplitude * k_f
        forced = slice(k_f, None, self.n - 2 * k_f) if amplitude and k_f <= self.k_max else None
        self.force_decay = self.flow.viscosity * k_f**2 + self.flow.drag

        self.blocks = []
        for start in range(0, n_fields, size):
            state, b = self.state[start : start + size], min(size, n_fields - start)
            base, stage, total = (Spectral(buffer[:b], forced) for buffer in work)
            self.blocks.append(
                Block(
                    Spectral(state, forced),
                    base,
                    stage,
                    total,
                    force=force[start : start + b],
                    velocity=velocity[:, :b],
                    products=torch.view_as_real(products[:, :b]) if self.packed else products[:, :b],
                    speed=torch.zeros((), dtype=self.real, device=self.device),
                )
            )

    # -- time steps --------------------------------------------------------------------------------------------------

    def _top_speed(self) -> float:
        """The largest velocity component of the batch when last measured."""
        return float(torch.stack([block.speed for block in self.blocks]).max())

    def _longest_step(self, courant: float) -> float:
        """h with k_max (U + m χ h) h = courant: forcing speeds a flow up by at most χ a unit of time, and it is m steps
        until the speed is measured again."""
        reach = courant / self.k_max
        gain = STEPS_PER_SEGMENT * abs(self.flow.forcing_amplitude)
        bottom = self.speed + math.sqrt(self.speed**2 + 4 * gain * reach)
        return 2 * reach / bottom if bottom > 0 else math.inf

    def _set_step(self, h: float) -> None:
        if h == self.step_size:
            return
        self.step_size = h
        factor = doubled(torch.exp(-0.5 * h * self.decay), self.real)
        self.factor, self.third_factor = factor, factor / 3
        self.factor_a, self.factor_b = factor * self.a, factor * self.b
        rate = self.force_decay
        self.phi = -math.expm1(-0.5 * h * rate) / rate if rate else 0.5 * h

    def _step(self, block: Block, *, measure: bool) -> None:
        """One step, in place.  With E = e^{−Lh/2}, φ = (1 − E)/L, S(ω̂) = E ω̂ + φ f̂ and g = S(ω̂):

            a = g + h/2 E N(ω̂),   b = g + h/2 N(a),   c = S(g) + h E N(b)
            ω̂(t + h) = (E (a + 2b − g) + c + 2 φ f̂)/3 + h/6 N(c)

        c is held as c/3, so that N(c) = 9 N(c/3).
        """
        h, phi = self.step_size, self.phi
        state, g, y, s = (x.slots for x in (block.state, block.base, block.stage, block.total))

        torch.mul(state, self.factor, out=g)
        block.add_force(block.base, phi)
        velocity = self._velocity(block, block.state)
        if measure:
            block.speed = largest(velocity)
        p, q = self._products(block, velocity)
        torch.addcmul(g, p, self.factor_a, value=h / 2, out=y).addcmul_(q, self.factor_b, value=h / 2)
        torch.sub(y, g, out=s)

        p, q = self._products(block, self._velocity(block, block.stage))
        torch.addcmul(g, p, self.a, value=h / 2, out=y).addcmul_(q, self.b, value=h / 2)
        s.add_(y, alpha=2)

        p, q = self._products(block, self._velocity(block, block.stage))
        torch.mul(g, self.third_factor, out=y)
        block.add_force(block.stage, phi / 3)
        y.addcmul_(p, self.factor_a, value=h / 3).addcmul_(q, self.factor_b, value=h / 3)

        p, q = self._products(block, self._velocity(block, block.stage))
        torch.addcmul(y, s, self.third_factor, out=state)
        block.add_force(block.state, 2 * phi / 3)
        state.addcmul_(p, self.a, value=1.5 * h).addcmul_(q, self.b, value=1.5 * h)

    # -- the right-hand side -------------------------------------------------------------------------------------------

    def _velocity(self, block: Block, vorticity: Spectral) -> Tensor:
        """u and v on the points, real: (2, b, n, n, 2) of both samples of a pair, or (2, 1, n, n) of the one."""
        torch.mul(vorticity.modes, self.to_velocity, out=block.velocity)
        if self.packed:
            return torch.view_as_real(torch.fft.ifft2(block.velocity, norm="forward"))
        out: Tensor = torch.fft.irfft2(block.velocity, s=(self.n, self.n), norm="forward")
        return out

    def _products(self, block: Block, velocity: Tensor) -> tuple[Tensor, Tensor]:
        """The slots of F(v² − u²) and F(u v), unscaled: (b, n, n or n//2 + 1, 2) each."""
        u, v = velocity
        difference, product = block.products
        torch.mul(u, v, out=product)
        torch.mul(v, v, out=difference).addcmul_(u, u, value=-1)
        if self.packed:
            spectral = torch.fft.fft2(torch.view_as_complex(block.products))
        else:
            spectral = torch.fft.rfft2(block.products)
        p, q = torch.view_as_real(spectral)
        return p, q


def largest(x: Tensor) -> Tensor:
    """max |x|, with no copy of x."""
    return torch.stack(torch.aminmax(x)).abs().max()
