"""Synthetic rain: a log-normal cascade that drifts while its cells grow and decay, the small ones fastest.

A Gaussian field Z with a power-law spectrum is carried by a flow.  Each octave of wavelengths forgets itself at its own
rate.  Where Z is high it rains, log-normally.  Octaves with a memory of their own are those of S-PROG (Seed 2003,
J. Appl. Meteorol. 42, 381) and STEPS (Bowler et al. 2006, Q. J. R. Meteorol. Soc. 132, 2127); the memory here is of
first order and continuous in time, so that the law of the fields does not depend on the interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anchorbench.errors import ConfigError
from anchorbench.solvers.steering import Steering, carried, shifted

#: `lifetime` is that of octave 5, the waves of 32 to 64 km.
LIFETIME_OCTAVE = 5
MINUTES = 60.0


@dataclass(frozen=True)
class RainSpec:
    """What defines rain events on a torus, all but the seed.

    shape: cells (y, x) of the torus.  spacing: km.  interval: minutes between two frames.  frames: how many.
    substeps: instants whose mean is one frame; more than one smears what moves, as an accumulation does.
    wet_share, median, log_std: of an instant: on the wet share, rain is exp(N(ln median, log_std²)) mm an interval.
    slope: E(k) ∝ k^−slope, E the energy of a ring, for wavelengths below outer_scale (km); flat in power above.
    lifetime: minutes of the waves of 32 to 64 km; an octave up lives 2^lifetime_exponent times as long.  inf: frozen.
    mean_share: share of the variance of Z that is one number for the whole field, with its own mean_lifetime: events
    that grow and decay as a whole.
    speed: km/h, mean over events; speed_spread: of its logarithm; the direction is uniform.  velocity: (y, x) in km/h,
    in place of both.  swirl: rms speed of a smooth eddying on top, as a share of the event's speed.

    Raises ConfigError where these make no rain.
    """

    shape: tuple[int, int]
    spacing: float
    interval: float
    frames: int
    substeps: int = 1
    wet_share: float = 0.2
    median: float = 0.08
    log_std: float = 1.3
    slope: float = 2.0
    outer_scale: float = 128.0
    lifetime: float = 60.0
    lifetime_exponent: float = 1.0
    mean_share: float = 0.1
    mean_lifetime: float = 240.0
    speed: float = 30.0
    speed_spread: float = 0.3
    velocity: tuple[float, float] | None = None
    swirl: float = 0.0

    def __post_init__(self) -> None:
        for name in ("frames", "substeps", "spacing", "interval", "median", "outer_scale", "lifetime", "mean_lifetime"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}", do=f"give a {name} above 0")
        for name in ("log_std", "speed", "speed_spread", "swirl"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}", do=f"give a {name} of 0 or more")
        if not 0 < self.wet_share <= 1 or not 0 <= self.mean_share < 1:
            raise ConfigError(
                f"wet_share {self.wet_share} is not in (0, 1], or mean_share {self.mean_share} not in [0, 1)",
                do="give shares between 0 and 1",
            )
        if min(self.shape) < 4:
            raise ConfigError(
                f"a torus of {self.shape[0]} x {self.shape[1]} cells carries no rain", do="take 4 or more"
            )

    @property
    def extent(self) -> tuple[float, float]:
        """km (y, x) of the torus."""
        return self.shape[0] * self.spacing, self.shape[1] * self.spacing

    @property
    def step(self) -> float:
        """Minutes between two instants."""
        return self.interval / self.substeps


def rain_fields(
    spec: RainSpec,
    *,
    n_trajectories: int,
    seed: int,
    first: int = 0,
    cells: tuple[int, int] | None = None,
    factor: Tensor | None = None,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """R(x, t) = f(x) · mean over a frame's instants of r(Z(x, t)), Z(x, t) = Z_air(X(x, −t), t), r of `rain_of`.

    X(x, −t): where the air that is at x was at the start.  Z_air: see `air`.  Trajectory i is drawn from (seed, i)
    alone: it is the same to the last bit whatever n and `first` are.

    cells: the corner (y, x) of the torus that is kept; all of it, periodic on both axes, without.  factor: f (*cells),
    as from `orographic_factor`; 1 without.  progress: called with the share done, rising to 1.
    Returns (n_trajectories, frames, *cells), float32, mm an interval.
    Raises ConfigError where more cells are asked for than the torus has.
    """
    rows, columns = cells or spec.shape
    if rows > spec.shape[0] or columns > spec.shape[1]:
        raise ConfigError(
            f"{rows} x {columns} cells cannot be cut from a torus of {spec.shape[0]} x {spec.shape[1]}",
            do="take a larger torus",
        )
    out = torch.zeros((n_trajectories, spec.frames, rows, columns))
    for i in range(n_trajectories):
        rng = generator_of(seed, first + i)
        flow = Steering.drawn(
            spec.extent, speed=spec.speed, spread=spec.speed_spread, swirl=spec.swirl, velocity=spec.velocity, rng=rng
        )
        positions = flow.start(spec.shape)[:, :rows, :columns]
        for n, (spectrum, mean) in enumerate(air(spec, rng)):
            if flow.is_uniform:
                z = shifted(spectrum, spec.shape, spec.extent, by=flow.drift(n * spec.step / MINUTES))[:rows, :columns]
            else:
                z = carried(spectrum, spec.shape, spec.extent, positions)
                positions = flow.back(positions, spec.step / MINUTES)
            out[i, n // spec.substeps] += rain_of(z + mean, spec) / spec.substeps
            if progress is not None:
                progress((i + (n + 1) / (spec.frames * spec.substeps)) / n_trajectories)
    return out if factor is None else out * factor.to(out.dtype)


def rain_of(z: Tensor, spec: RainSpec) -> Tensor:
    """r(z) = exp(ln median + log_std · Φ⁻¹(1 − q)), q = Φ(−z) / wet_share; 0 where q ≥ 1.

    Of a standard normal z the share wet_share is wet, and rain there is log-normal exactly: its mean over all cells is
    wet_share · median · exp(log_std² / 2).  r is continuous and rises with z.
    """
    # Φ(−z) = erfc(z/√2)/2 keeps its digits in the tail; torch's ndtr is 0 there from z = 5.4 on, and rain infinite.
    q = torch.special.erfc(z / math.sqrt(2)) / (2 * spec.wet_share)
    wet = q < 1
    g = -torch.special.ndtri(torch.where(wet, q, 0.5))
    return torch.where(wet, torch.exp(math.log(spec.median) + spec.log_std * g), 0.0)


def air(spec: RainSpec, rng: torch.Generator) -> Iterator[tuple[Tensor, float]]:
    """The Gaussian field in the air, at each instant: its rfft2 (y, x/2 + 1), complex64, and its mean.

    Ẑ(t + dt) = φ Ẑ(t) + √(1 − φ²) a W, φ = exp(−dt/τ), W the rfft2 of white noise, a of `amplitudes` and τ of
    `lifetimes`: stationary, ⟨Ẑ(t + s) Ẑ*(t)⟩ = a² n exp(−s/τ).  The mean goes the same way.  ⟨Z²⟩ = 1 with both.
    """
    a = amplitudes(spec.shape, spec.spacing, slope=spec.slope, outer_scale=spec.outer_scale)
    a = (a * math.sqrt(1 - spec.mean_share)).float()
    phi = torch.exp(-spec.step / lifetimes(spec))
    keep, renew = phi.float(), torch.sqrt(1 - phi**2).float()
    keep_mean = math.exp(-spec.step / spec.mean_lifetime)
    renew_mean = math.sqrt((1 - keep_mean**2) * spec.mean_share)

    def noise() -> tuple[Tensor, float]:
        white = torch.randn(spec.shape, generator=rng)
        return a * torch.fft.rfft2(white), float(torch.randn((), generator=rng))

    spectrum, mean = noise()
    mean *= math.sqrt(spec.mean_share)
    yield spectrum, mean
    for _ in range(spec.frames * spec.substeps - 1):
        fresh, m = noise()
        spectrum, mean = keep * spectrum + renew * fresh, keep_mean * mean + renew_mean * m
        yield spectrum, mean


def amplitudes(shape: tuple[int, int], spacing: float, *, slope: float, outer_scale: float) -> Tensor:
    """a(k) ∝ (k² + k₀²)^(−(slope + 1)/4), k₀ = 1/outer_scale: the filter that gives white noise E(k) ∝ k^−slope.

    Normalised to ⟨Z²⟩ = 1; 0 for the mean, and for the Nyquist waves of an even axis, which cannot be carried.
    Returns (y, x/2 + 1), float64, for rfft2.
    """
    k = wavenumbers(shape, spacing)
    a = (k**2 + outer_scale**-2) ** (-(slope + 1) / 4)
    a[0, 0] = 0.0
    if shape[0] % 2 == 0:
        a[shape[0] // 2] = 0.0
    if shape[1] % 2 == 0:
        a[:, -1] = 0.0
    twice = torch.full_like(a, 2.0)  # the half spectrum leaves the mirrors out
    twice[:, 0] = 1.0
    if shape[1] % 2 == 0:
        twice[:, -1] = 1.0
    return a / torch.sqrt((twice * a**2).sum() / (shape[0] * shape[1]))


def lifetimes(spec: RainSpec) -> Tensor:
    """τ = lifetime · 2^(lifetime_exponent · (j − 5)) minutes for waves of 2^j to 2^(j+1) km: (y, x/2 + 1), float64."""
    j = octaves(spec.shape, spec.spacing) - LIFETIME_OCTAVE
    return spec.lifetime * 2.0 ** (spec.lifetime_exponent * j)


def octaves(shape: tuple[int, int], spacing: float) -> Tensor:
    """j = ⌊log₂ λ⌋ of each wave, λ in km: (y, x/2 + 1), float64.  The mean counts as the longest wave."""
    k = wavenumbers(shape, spacing)
    k[0, 0] = k[k > 0].min()
    return torch.floor(-torch.log2(k) + 1e-9)  # a wave of 2^j km to rounding counts as one


def wavenumbers(shape: tuple[int, int], spacing: float) -> Tensor:
    """|k| = 1/λ, cycles per km: (y, x/2 + 1), float64."""
    k_y = torch.fft.fftfreq(shape[0], d=spacing, dtype=torch.float64)
    k_x = torch.fft.rfftfreq(shape[1], d=spacing, dtype=torch.float64)
    return torch.hypot(k_y[:, None], k_x[None, :])


def orographic_factor(relief: Tensor, *, strength: float) -> Tensor:
    """f = exp(s h) / ⟨exp(s h)⟩, h the relief brought to mean 0 and variance 1: ⟨f⟩ = 1, and f = 1 for s = 0.

    relief: (y, x), any unit.  It multiplies rain where it falls and so changes no wet share.
    """
    h = relief.double()
    h = (h - h.mean()) / h.std(unbiased=False).clamp_min(1e-300)
    f = torch.exp(strength * h)
    return (f / f.mean()).float()


def generator_of(seed: int, i: int) -> torch.Generator:
    """The random numbers of trajectory i, whatever else is drawn."""
    state = int(np.random.SeedSequence([seed, i]).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.Generator().manual_seed(state)
