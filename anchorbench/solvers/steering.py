"""The flow that carries rain: a uniform drift, and on top of it, if wanted, a smooth eddying that has no divergence."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

#: The waves of the eddying, in numbers a box (y, x).
EDDIES = ((0, 1), (1, 0), (1, 1), (1, -1))


@dataclass(frozen=True)
class Steering:
    """u(x) = V + (∂ψ/∂x, −∂ψ/∂y) in (y, x), ψ = Σ_m a_m cos(k_m·x + φ_m): steady, smooth, ∇·u = 0.

    velocity: V (y, x), km/h.  extent: km (y, x) of the torus.  eddies: per wave (k_y, k_x, a, φ), radians per km and
    km²/h; none where the flow is uniform.
    """

    velocity: tuple[float, float]
    extent: tuple[float, float]
    eddies: tuple[tuple[float, float, float, float], ...] = ()

    @classmethod
    def drawn(
        cls,
        extent: tuple[float, float],
        *,
        speed: float,
        spread: float,
        swirl: float,
        velocity: tuple[float, float] | None,
        rng: torch.Generator,
    ) -> Steering:
        """|V| = speed · exp(spread n − spread²/2), n normal, in a uniform direction; Σ a²k²/2 = (swirl |V|)².

        velocity: V itself, in place of a drawn one.
        """
        n = float(torch.randn((), generator=rng, dtype=torch.float64))
        angle, *phases = (2 * math.pi * torch.rand(1 + len(EDDIES), generator=rng, dtype=torch.float64)).tolist()
        if velocity is None:
            drawn = speed * math.exp(spread * n - spread**2 / 2)
            velocity = drawn * math.sin(angle), drawn * math.cos(angle)
        rms = swirl * math.hypot(*velocity)
        if not rms:
            return cls(velocity, extent)
        eddies = []
        for (m_y, m_x), phase in zip(EDDIES, phases, strict=True):
            k_y, k_x = 2 * math.pi * m_y / extent[0], 2 * math.pi * m_x / extent[1]
            eddies.append((k_y, k_x, rms * math.sqrt(2 / len(EDDIES)) / math.hypot(k_y, k_x), phase))
        return cls(velocity, extent, tuple(eddies))

    @property
    def is_uniform(self) -> bool:
        return not self.eddies

    def drift(self, hours: float) -> tuple[float, float]:
        """V t, km (y, x)."""
        return self.velocity[0] * hours, self.velocity[1] * hours

    def at(self, positions: Tensor) -> Tensor:
        """u at positions (2, *shape), km: (2, *shape), km/h."""
        u = positions.new_tensor(self.velocity).view(2, 1, 1).expand_as(positions).clone()
        for k_y, k_x, a, phase in self.eddies:
            wave = a * torch.sin(k_y * positions[0] + k_x * positions[1] + phase)
            u[0] -= k_x * wave
            u[1] += k_y * wave
        return u

    def start(self, shape: tuple[int, int]) -> Tensor:
        """The cells' own positions, km: (2, *shape), float64."""
        axes = [torch.arange(n, dtype=torch.float64) * (x / n) for n, x in zip(shape, self.extent, strict=True)]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"))

    def back(self, positions: Tensor, hours: float) -> Tensor:
        """Where what is at `positions` was `hours` ago: one Runge-Kutta step of dX/ds = −u(X).  (2, *shape)."""
        k1 = self.at(positions)
        k2 = self.at(positions - hours / 2 * k1)
        k3 = self.at(positions - hours / 2 * k2)
        k4 = self.at(positions - hours * k3)
        return positions - hours / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def shifted(
    spectrum: Tensor, shape: tuple[int, int], extent: tuple[float, float], *, by: tuple[float, float]
) -> Tensor:
    """Z(x − d): û(k) exp(−i k·d), exact for any d, for the Nyquist waves of an even grid have no energy.

    spectrum: rfft2 of a field (*shape), complex.  by: d (y, x) in the unit of extent.  Returns (*shape).
    """
    turn = torch.ones((), dtype=torch.complex128)
    for axis, (n, length, d) in enumerate(zip(shape, extent, by, strict=True)):
        frequencies = torch.fft.rfftfreq(n) if axis else torch.fft.fftfreq(n)
        phase = -2 * math.pi * (d / length) * n * frequencies.double()
        turn = turn * torch.polar(torch.ones_like(phase), phase).view(*((-1, 1) if axis == 0 else (1, -1)))
    field: Tensor = torch.fft.irfft2(spectrum * turn.to(spectrum.dtype), s=shape)
    return field


def carried(spectrum: Tensor, shape: tuple[int, int], extent: tuple[float, float], positions: Tensor) -> Tensor:
    """Z(X) at any positions X: the field on a grid twice finer, exact, then read between its points by cubics.

    spectrum: rfft2 of a field (*shape), without energy at the Nyquist waves.  positions: (2, *out), in the unit of
    extent; they wrap.  Returns (*out).  The cubics change no wave by more than 3 % (RMS).
    """
    fine = tuple(2 * n for n in shape)
    padded = spectrum.new_zeros(fine[0], fine[1] // 2 + 1)
    low, high, columns = (shape[0] + 1) // 2, shape[0] // 2, shape[1] // 2 + 1
    padded[:low, :columns] = spectrum[:low]
    padded[fine[0] - high :, :columns] = spectrum[shape[0] - high :]
    field = F.pad(4 * torch.fft.irfft2(padded, s=fine)[None, None], (2, 2, 2, 2), mode="circular")[0, 0]
    where = []
    for axis in (1, 0):  # grid_sample wants x first
        n = fine[axis]
        index = (positions[axis] / extent[axis]).remainder(1.0) * n + 2.0
        where.append((2 * index / (n + 3) - 1).to(field.dtype))
    points = torch.stack(where, dim=-1)[None]
    return F.grid_sample(field[None, None], points, mode="bicubic", padding_mode="border", align_corners=True)[0, 0]
