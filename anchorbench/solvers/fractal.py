"""Fractal relief: random landscapes whose spectrum is a power law, cut out of a larger periodic one.

A Gaussian field g holds, in expectation, the energy E(m) ∝ m^−β in the ring of its m-th waves, so that it is
self-affine with the Hurst exponent H = (β − 1)/2 [1].  A field of crests, |g| turned over, has sharp ridges where g
changes sign and rounded valleys; it breaks the symmetry between up and down that a Gaussian landscape has.

[1] B. B. Mandelbrot, The Fractal Geometry of Nature (1982), ch. 28; D. L. Turcotte, Fractals and Chaos in Geology and
    Geophysics (1997), ch. 7.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import fft

from anchorbench.errors import ConfigError

#: The periodic field is so many times longer than what is cut out of it: opposite edges of the cut are no neighbours.
PERIODS = 2
#: Mean and deviation of |g| for a standard normal g.
MEAN_OF_CRESTS, DEVIATION_OF_CRESTS = math.sqrt(2 / math.pi), math.sqrt(1 - 2 / math.pi)


def fractal_relief(
    points: int, *, exponent: float, longest: float, ridges: float, seed: Sequence[int] | int
) -> np.ndarray:
    """h = √(1 − r) g₁ + √r (⟨|g|⟩ − |g₂|) / std|g|, g₁ and g₂ independent: mean 0 and variance 1 over many landscapes.

    points: along each side of the square that is cut out.  exponent: β of the ring spectrum.  longest: the longest
    wave, in sides of the square.  ridges: r, the share of the variance that crests hold; the third moment is
    −r^(3/2) √2 (4 − π)/(π − 2)^(3/2).  seed: one landscape a seed, whatever is drawn besides.

    Returns (points, points) float32, point values on a grid that carries every wave drawn.
    Raises ConfigError for numbers that make no landscape.
    """
    if not 0 <= ridges <= 1:
        raise ConfigError(f"ridges are a share of the variance, between 0 and 1, not {ridges:g}")
    rng = np.random.default_rng(seed)
    h = np.zeros((points, points), np.float32)
    if ridges < 1:
        h += math.sqrt(1 - ridges) * _cut(points, exponent=exponent, longest=longest, rng=rng)
    if ridges > 0:
        crests = MEAN_OF_CRESTS - np.abs(_cut(points, exponent=exponent, longest=longest, rng=rng))
        h += math.sqrt(ridges) / DEVIATION_OF_CRESTS * crests
    return h


def _cut(points: int, *, exponent: float, longest: float, rng: np.random.Generator) -> np.ndarray:
    return periodic_relief(PERIODS * points, exponent=exponent, first=PERIODS / longest, rng=rng)[:points, :points]


def periodic_relief(points: int, *, exponent: float, first: float, rng: np.random.Generator) -> np.ndarray:
    """A periodic Gaussian field g with ⟨|ĝ(m)|²⟩ ∝ |m|^−(β+1) for first ≤ |m| < N/2, else 0; ⟨g²⟩ = 1.

    A ring of radius |m| holds 2π|m| waves, so its energy goes as |m|^−β.  Returns (points, points) float32.
    Raises ConfigError where no wave lies between.
    """
    m = np.abs(fft.fftfreq(points, 1 / points))
    radius = np.hypot(m[:, None], m[None, : points // 2 + 1])
    inside = (radius >= first) & (radius < points / 2)
    if first <= 0 or not inside.any():
        raise ConfigError(
            f"no wave fits a relief of {points} points: the longest is {points / first if first else math.inf:.3g} "
            "points long, the shortest 2",
            do="give a longest wave above 0, or more points",
        )
    power = np.zeros_like(radius)
    power[inside] = radius[inside] ** -(exponent + 1)
    # Waves on the first and the last column of the half spectrum are whole pairs; the others stand for their mirror.
    pairs = np.full(power.shape[1], 2.0)
    pairs[0] = 1.0
    pairs[-1] = 1.0 if points % 2 == 0 else 2.0
    amplitude = np.sqrt(power / (power * pairs).sum()).astype(np.float32)
    noise = rng.standard_normal((points, points), dtype=np.float32)
    # White noise of variance 1 has ⟨|n̂|²⟩ = N² in this transform: each wave then holds its amplitude squared.
    field: np.ndarray = fft.irfft2(fft.rfft2(noise) * (amplitude * points), s=(points, points))
    return field
