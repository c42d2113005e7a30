"""turbulence2d, sample: one plane of a direct numerical simulation of isotropic turbulence, 256 x 256 (Lille).

One NetCDF member: velocity_x, velocity_y, velocity_z (1, 256, 256) float32, pseudo-spectral, periodic, one instant; no
coordinates, so the box is taken as [0, 2π)².  The velocities end at k = 85, two thirds of the Nyquist wave, which is
checked here: a file that was smoothed or resampled on the way would not.  A plane of a 3-D flow is not free of
divergence within itself, and its mean is not 0.

One plane is one sample, and no honest split makes three of it: its patches share their largest eddies, and so do its
components, turned or mirrored.  So the plane is the test split, whole.  Training and validation are fields drawn at
random phases with the energy that the plane has in each ring, by part: vortical and divergent in the plane, and normal
to it, which in isotropic turbulence are uncorrelated.  Three things follow, and `attrs` say them.  The energies of the
coarse rings, which training sees, are the test plane's own: nothing finer than the train rung is.  A field at random
phases says nothing of its fine scales beyond their energy, so what a model adds there was not learnt.  One sample gives
scores, but no interval over samples.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import netCDF4
import numpy as np
from pydantic import Field, field_validator

from anchorbench.config import Frozen
from anchorbench.data.catalog import Artefact, Member, SampleFile
from anchorbench.data.sources import Ask, Loaded, SplitFields, carried_by
from anchorbench.data.splits import Split
from anchorbench.errors import DownloadError

COMPONENTS = ("velocity_x", "velocity_y", "velocity_z")
POINTS = 256
#: The last wave that the simulation advanced: ⌊256/3⌋.
LAST_WAVE = 85
SEED_OF_SPLIT: dict[Split, int] = {"train": 0, "validation": 1}
#: The file, for a generator that starts from its spectrum; the catalogue's `sample` names the same.
PLANE = SampleFile(
    package="vortexfitting",
    version="0.9",
    artefact=Artefact(
        name="vortexfitting-0.9.tar.gz",
        size=16417219,
        sha256="e71c57ac539e7ba23643f7b3d80f7b84640ca9b98d2b7cecc688b119e86682cd",
    ),
    member=Member(
        path="vortexfitting-0.9/data/example_dataHIT.nc",
        size=786824,
        sha256="c059c41643bbe30f410c8b6ba08bacae65e1f37f3bd3f701efd227e0c9ee10f2",
    ),
)


class Options(Frozen):
    """How many fields are drawn beside the plane; all of it is in the ladder's digest."""

    most: dict[Split, Annotated[int, Field(ge=1)]] = Field(
        {"train": 64, "validation": 8, "test": 1}, description="fields at random phases; the test is the plane"
    )
    seed: int = Field(0, ge=0)

    @field_validator("most")
    @classmethod
    def _one_plane(cls, most: dict[Split, int]) -> dict[Split, int]:
        if set(most) != {"train", "validation", "test"} or most["test"] != 1:
            raise ValueError(f"names train, validation and test, and of the test there is 1: {most}")
        return most


def load(ask: Ask) -> Loaded:
    """Download the plane, unless it is in the cache, and draw the fields beside it.

    Returns velocities in units of the simulation, (sample, 1, 256, 256).
    Raises DownloadError where the file cannot be had or is not what the catalogue promises.
    """
    (file,) = ask.source.files
    plane = read_plane(ask.sample(file))
    options = ask.options
    splits: dict[str, SplitFields] = {"test": _as_split(plane[None])}
    for split, number in SEED_OF_SPLIT.items():
        draws = [np.random.default_rng([options.seed, number, i]) for i in range(options.most[split])]
        splits[split] = _as_split(np.stack([random_plane(plane, rng) for rng in draws]))
    attrs = {
        "train_and_validation": "random phases with the energy of the plane by ring, vortical, divergent and normal",
        "test": "the plane itself: one sample, so no interval over samples",
        "selection": options.model_dump_json(),
    }
    return Loaded(splits, attrs=carried_by(file) | attrs)


def read_plane(path: Path) -> np.ndarray:
    """The velocities u, v, w of the plane: (3, 256, 256) float64, axes (y, x).

    Raises DownloadError where the file is not laid out as the plane was, or has energy beyond k = 85.
    """
    try:
        with netCDF4.Dataset(path) as nc:
            nc.set_auto_maskandscale(False)
            plane = np.stack([np.asarray(nc[name][:], dtype=np.float64) for name in COMPONENTS])
    except (OSError, RuntimeError, IndexError, KeyError, ValueError) as error:
        raise DownloadError(f"{path} cannot be read as a plane of the simulation: {error}") from None
    if plane.shape != (3, 1, POINTS, POINTS):
        raise DownloadError(f"{path.name} holds velocities of shape {plane.shape[1:]}, not (1, {POINTS}, {POINTS})")
    plane = plane[:, 0]
    beyond = np.abs(np.fft.fftfreq(POINTS, 1 / POINTS)) > LAST_WAVE
    power = np.abs(np.fft.fft2(plane, norm="forward")) ** 2
    share = power[:, beyond[:, None] | beyond].sum() / power.sum() if np.isfinite(plane).all() else math.nan
    if not share < 1e-10:
        raise DownloadError(
            f"{path.name} has the share {share:.1e} of its energy beyond k = {LAST_WAVE}, where the simulation ended"
        )
    return np.asarray(plane)


def vortical_energy(plane: np.ndarray) -> tuple[float, ...]:
    """½ Σ |û|² of the part of (u, v) without divergence, by ring k − ½ ≤ |k| < k + ½, k = 0 ... 85.

    It is the part that has vorticity: times k², the spectrum of the plane's ω_z.
    """
    vortical, _, _ = _parts(plane)
    return tuple(0.5 * _by_ring(np.abs(vortical) ** 2)[: LAST_WAVE + 1])


def random_plane(plane: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian field with, in every ring, the vortical, the divergent and the normal energy of `plane`: (3, n, n).

    The mean flow within the plane keeps its speed and takes any direction.
    """
    n = plane.shape[-1]
    ring, drawn = _rings(n), []
    for part in _parts(plane):
        noise = np.fft.fft2(rng.standard_normal((n, n)), norm="forward")
        wanted, have = _by_ring(np.abs(part) ** 2), _by_ring(np.abs(noise) ** 2)
        drawn.append(noise * np.sqrt(wanted / have)[ring])
    psi, phi, normal = drawn
    ky, kx, k = _waves(n)
    spectra = np.stack([1j * (kx * phi - ky * psi) / k, 1j * (kx * psi + ky * phi) / k, normal])
    angle = rng.uniform(0, 2 * math.pi)
    speed = np.hypot(*plane[:2].mean((-2, -1)))
    spectra[:2, 0, 0] = speed * math.cos(angle), speed * math.sin(angle)
    return np.asarray(np.fft.ifft2(spectra, norm="forward").real)


def _parts(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients across k, along k and normal to the plane; of the mean flow within the plane there is none."""
    ky, kx, k = _waves(plane.shape[-1])
    u, v, w = np.fft.fft2(plane, norm="forward")
    return (kx * v - ky * u) / k, (kx * u + ky * v) / k, w


def _waves(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ky, kx, |k|, that of the mean set to 1; the Nyquist waves have no direction and count as waves without any."""
    axis = np.fft.fftfreq(n, 1 / n)
    if n % 2 == 0:
        axis[n // 2] = 0.0
    ky, kx = axis[:, None], axis[None, :]
    k = np.hypot(ky, kx)
    return ky, kx, np.where(k > 0, k, 1.0)


def _rings(n: int) -> np.ndarray:
    axis = np.fft.fftfreq(n, 1 / n)
    return np.asarray(np.floor(np.hypot(axis[:, None], axis) + 0.5).astype(int))


def _by_ring(power: np.ndarray) -> np.ndarray:
    return np.asarray(np.bincount(_rings(power.shape[-1]).ravel(), power.ravel()))


def _as_split(fields: np.ndarray) -> SplitFields:
    """(sample, component, y, x) as a split of one frame."""
    values = {name: fields[:, i, None].astype(np.float32) for i, name in enumerate(COMPONENTS)}
    return SplitFields(values=values, valid=None, times=None, clusters=np.arange(len(fields)))
