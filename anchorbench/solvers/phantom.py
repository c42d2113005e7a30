"""Ellipses and ellipsoids whose Fourier transform is known in closed form: the band-limited image is exact on any grid.

A phantom is f(x) = Σⱼ ρⱼ (1 + βⱼ cos(κⱼ·δⱼ + φⱼ)) [δⱼᵀ Mⱼ⁻¹ δⱼ ≤ 1], δⱼ = x − cⱼ, in d = 2 or 3 dimensions.  With
qⱼ = √(kᵀ Mⱼ k), and without the ripple β,

    d = 2:  F(k) = Σ ρ √|M| 2π J₁(q)/q · exp(−i k·c)                   (π a b at k = 0)
    d = 3:  F(k) = Σ ρ √|M| 4π (sin q − q cos q)/q³ · exp(−i k·c)      (4/3 π a b c at k = 0)

the first classical, the second after Koay, Sarlls & Özarslan, Magn. Reson. Med. 58 (2007) 430.  A ripple shifts the
transform by ±κ, a blur by a Gaussian multiplies it by exp(−s²|k|²/2): both stay exact.

A scanner measures F at k = 2π m / L and stops at some m, and so does a rung, |mᵢ| < N/2: what it shows is the truncated
Fourier series.  It rings at edges (Gibbs: 9 % of the jump) and falls below 0 beside them, as images of a scanner do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import j1

from anchorbench.errors import GridError
from anchorbench.fields import Grid
from anchorbench.fields.resample_fourier import band


@dataclass(frozen=True)
class Phantom:
    """J ellipsoids of d dimensions, added up; lengths in the unit of the grid they are drawn on.

    centre: (J, d).  shape: (J, d, d), M = R diag(a²) Rᵀ.  intensity ρ, ripple β, phase φ: (J,).  wave κ: (J, d).
    Raises GridError for other dimensions than 2 or 3, or a shape that is not positive definite.
    """

    centre: np.ndarray
    shape: np.ndarray
    intensity: np.ndarray
    ripple: np.ndarray
    wave: np.ndarray
    phase: np.ndarray

    def __post_init__(self) -> None:
        if self.ndim not in (2, 3):
            raise GridError(f"a phantom has 2 or 3 dimensions, not {self.ndim}")
        if len(self.shape) and np.linalg.eigvalsh(self.shape).min() <= 0:
            raise GridError("an ellipsoid's semi-axes are positive")

    @property
    def ndim(self) -> int:
        return int(self.centre.shape[1])

    def __len__(self) -> int:
        return len(self.centre)

    def section(self, axis: int, position: float) -> Phantom:
        """The plane x_axis = position through ellipsoids: ellipses, exactly; those that it misses are left out.

        With n the normal and p the plane, M₂ = s² (M_pp − M_pn M_np / M_nn), s² = 1 − δₙ²/M_nn, and the centre moves by
        δₙ M_pn / M_nn.
        """
        if self.ndim != 3:
            raise GridError("a section is taken of three dimensions")
        plane = np.array([i for i in range(3) if i != axis])
        normal = self.shape[:, axis, axis]
        offset = position - self.centre[:, axis]
        share = 1.0 - offset**2 / normal
        cut = np.flatnonzero(share > 0)
        lean = self.shape[cut][:, plane, axis] / normal[cut, None]
        moved = lean * offset[cut, None]
        inside = self.shape[np.ix_(cut, plane, plane)] - normal[cut, None, None] * lean[:, :, None] * lean[:, None, :]
        wave = self.wave[cut]
        turned = self.phase[cut] + wave[:, axis] * offset[cut] + (wave[:, plane] * moved).sum(1)
        return Phantom(
            centre=self.centre[np.ix_(cut, plane)] + moved,
            shape=share[cut, None, None] * inside,
            intensity=self.intensity[cut],
            ripple=self.ripple[cut],
            wave=wave[:, plane],
            phase=turned,
        )

    def values(self, points: np.ndarray) -> np.ndarray:
        """f at points (..., d), not band-limited: (...)."""
        total = np.zeros(points.shape[:-1])
        for c, m, rho, beta, kappa, phi in self._each():
            delta = points - c
            inside = np.einsum("...i,ij,...j->...", delta, np.linalg.inv(m), delta) <= 1
            total += rho * (1 + beta * np.cos(delta @ kappa + phi)) * inside
        return total

    def transform(self, *waves: np.ndarray, blur: float = 0.0) -> np.ndarray:
        """F(k) at wave numbers given per axis, which broadcast: complex, their common shape."""
        total = np.zeros(np.broadcast_shapes(*(k.shape for k in waves)), dtype=complex)
        for c, m, rho, beta, kappa, phi in self._each():
            own = _indicator(waves, m).astype(complex)
            if beta:
                ahead, behind = ([k + s * w for k, w in zip(waves, kappa, strict=True)] for s in (-1, 1))
                own += 0.5 * beta * np.exp(1j * phi) * _indicator(ahead, m)
                own += 0.5 * beta * np.exp(-1j * phi) * _indicator(behind, m)
            for k, x in zip(waves, c, strict=True):
                own *= np.exp(-1j * k * x)
            total += rho * own
        if blur:
            for k in waves:
                total *= np.exp(-0.5 * (blur * k) ** 2)
        return total

    def on(self, grid: Grid, *, blur: float = 0.0) -> np.ndarray:
        """u(x) = Σ F(k)/V exp(i k·x) over k = 2π m / L, |mᵢ| < Nᵢ/2: the exact band-limited image.

        blur: standard deviation of a Gaussian, in the grid's unit, before the band is cut.  Returns (*grid), float64.
        Raises GridError where the grid is not of the phantom's dimensions, or not periodic with point centring.
        """
        if grid.ndim != self.ndim or grid.centring != "point" or not all(grid.periodic) or grid.kind != "planar":
            raise GridError(f"a phantom of {self.ndim} dimensions is drawn on points of a periodic box of as many")
        numbers = [np.arange(0 if i == grid.ndim - 1 else -band(n), band(n) + 1) for i, n in enumerate(grid.shape)]
        waves = np.ix_(*(2 * math.pi * m / length for m, length in zip(numbers, grid.extent, strict=True)))
        half = np.zeros((*grid.shape[:-1], grid.shape[-1] // 2 + 1), dtype=complex)
        at = np.ix_(*(m % n for m, n in zip(numbers, grid.shape, strict=True)))
        half[at] = self.transform(*waves, blur=blur) / math.prod(grid.extent)
        return np.asarray(np.fft.irfftn(half, s=grid.shape, axes=tuple(range(grid.ndim)), norm="forward"))

    def _each(self) -> zip[tuple[np.ndarray, ...]]:
        return zip(self.centre, self.shape, self.intensity, self.ripple, self.wave, self.phase, strict=True)


def ellipsoids(
    centre: ArrayLike,
    semi_axes: ArrayLike,
    intensity: ArrayLike,
    *,
    rotation: ArrayLike | None = None,
    ripple: ArrayLike | None = None,
    wave: ArrayLike | None = None,
    phase: ArrayLike | None = None,
) -> Phantom:
    """A phantom from semi-axes (J, d) and, unless they lie along the grid's, rotations (J, d, d): M = R diag(a²) Rᵀ."""
    place, axes = np.asarray(centre, dtype=float), np.asarray(semi_axes, dtype=float)
    turn = np.tile(np.eye(place.shape[1]), (len(place), 1, 1)) if rotation is None else np.asarray(rotation)
    none = np.zeros(len(place))
    return Phantom(
        centre=place,
        shape=np.einsum("jab,jb,jcb->jac", turn, axes**2, turn),
        intensity=np.asarray(intensity, dtype=float),
        ripple=none if ripple is None else np.asarray(ripple, dtype=float),
        wave=np.zeros_like(place) if wave is None else np.asarray(wave, dtype=float),
        phase=none if phase is None else np.asarray(phase, dtype=float),
    )


def random_head(
    rng: np.random.Generator, *, folds: int = 500, details: int = 60, texture: float = 0.1, size: float = 1.0
) -> Phantom:
    """A head of ellipsoids about the origin, in mm; axes left-right, inferior-superior, posterior-anterior.

    In the manner of Shepp and Logan, with the order of brightness of a T1-weighted image and some 5 % of variation
    between subjects: scalp 0.85, skull 0.15, fluid 0.25, grey matter 0.55, two white hemispheres 0.85, two dark
    ventricles; `folds` flat dark ellipsoids, 1 to 2 mm thick, that stand on the brain's surface; and `details` ones of
    any shape, semi-axes 1 to 15 mm with a density that falls as 1/a, ±0.25.
    texture: largest ripple β inside the brain, wave lengths 4 to 40 mm.  size: of the head, 1 for 150 x 220 x 190 mm.
    """
    head = np.array([75.0, 110.0, 95.0]) * rng.uniform(0.92, 1.04, 3)
    inner, brain = head - rng.uniform(5, 8), head - rng.uniform(12, 16)
    grey = brain - rng.uniform(2, 4)
    tilt = rng.uniform(-0.1, 0.1, 2)
    white = grey * np.array([0.42, 0.8, 0.82]) * rng.uniform(0.95, 1.03, 3)
    hollow = grey * np.array([0.09, 0.22, 0.36]) * rng.uniform(0.7, 1.3, 3)
    at, aside, above = np.zeros(3), np.array([0.46, 0.0, 0.0]) * grey, np.array([0.2, 0.1, 0.0]) * grey
    mirror = np.array([-1.0, 1.0, 1.0])
    centres = [at, at, at, at, aside, mirror * aside, above, mirror * above]
    axes = [
        head,
        inner,
        brain,
        grey,
        white,
        white * rng.uniform(0.98, 1.02, 3),
        hollow,
        hollow * rng.uniform(0.9, 1.1, 3),
    ]
    vary = rng.uniform(0.95, 1.05, 6)
    brightness = np.array([0.85, -0.70, 0.10, 0.30, 0.30, 0.30, -0.45, -0.45]) * np.append(vary, vary[4:])
    turns = [_about_the_last(angle) for angle in (0, 0, 0, 0, tilt[0], -tilt[0], tilt[1], -tilt[1])]

    outward = _directions(rng, folds)
    folded = np.exp(rng.uniform(np.log([0.5, 6, 6]), np.log([1.2, 14, 25]), (folds, 3)))  # thick, deep, long
    # Columns of a rotation: across the fold, outward, along it.
    across = np.cross(outward, _directions(rng, folds))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    upright = np.stack([across, outward, np.cross(across, outward)], axis=2)

    places = _directions(rng, details) * 0.88 * rng.uniform(0, 1, (details, 1)) ** (1 / 3)
    small = np.exp(rng.uniform(math.log(1.0), math.log(15.0), (details, 1)))
    small = small * np.exp(rng.uniform(math.log(0.5), math.log(2.0), (details, 3)))
    anyhow = np.linalg.qr(rng.normal(size=(details, 3, 3)))[0]

    n, plain = len(centres) + folds + details, np.r_[:3, len(centres) : len(centres) + folds]
    ripple = texture * rng.uniform(0.3, 1.0, n)
    ripple[plain] = 0.0  # scalp, skull and fluid
    return ellipsoids(
        centre=size * np.concatenate([centres, outward * grey * rng.uniform(0.8, 1.0, (folds, 1)), places * grey]),
        semi_axes=size * np.concatenate([axes, folded, small]),
        intensity=np.concatenate([brightness, rng.uniform(-0.3, -0.2, folds), rng.uniform(-0.25, 0.25, details)]),
        rotation=np.concatenate([turns, upright, anyhow]),
        ripple=ripple,
        wave=_directions(rng, n) * (2 * math.pi / (size * rng.uniform(4, 40, (n, 1)))),
        phase=rng.uniform(0, 2 * math.pi, n),
    )


def _directions(rng: np.random.Generator, n: int) -> np.ndarray:
    """Unit vectors, uniform on the sphere: (n, 3)."""
    v = rng.normal(size=(n, 3))
    return np.asarray(v / np.linalg.norm(v, axis=1, keepdims=True))


def _about_the_last(angle: float) -> np.ndarray:
    """A turn about the last axis."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _indicator(waves: tuple[np.ndarray, ...] | list[np.ndarray], shape: np.ndarray) -> np.ndarray:
    """The transform of [δᵀ M⁻¹ δ ≤ 1]: real, for it is even."""
    d = len(waves)
    square: np.ndarray | float = 0.0
    for i in range(d):
        for j in range(d):
            square = square + shape[i, j] * waves[i] * waves[j]
    q = np.sqrt(np.maximum(square, 0.0))
    volume = math.sqrt(np.linalg.det(shape))
    return np.asarray(2 * math.pi * volume * _disk(q) if d == 2 else 4 * math.pi * volume * _ball(q))


def _disk(q: np.ndarray) -> np.ndarray:
    """J₁(q)/q."""
    return np.asarray(np.divide(j1(q), q, out=np.full_like(q, 0.5), where=q > 0))


def _ball(q: np.ndarray) -> np.ndarray:
    """(sin q − q cos q)/q³; below 1/2, where that cancels, its series Σ (−1)ⁿ 2(n+1)/(2n+3)! q²ⁿ."""
    small = q < 0.5
    far = np.where(small, 1.0, q)
    near = np.where(small, q, 0.0) ** 2
    series = sum((-1) ** n * 2 * (n + 1) / math.factorial(2 * n + 3) * near**n for n in range(7))
    return np.asarray(np.where(small, series, (np.sin(far) - far * np.cos(far)) / far**3))
