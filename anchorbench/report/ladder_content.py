"""What the figure of a ladder shows: a lively frame on a few rungs, and the spectrum of each rung."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from anchorbench.data.ladder import Ladder, Split
from anchorbench.fields import radial_spectrum
from anchorbench.fields.sphere import analyse, covers_sphere, degree_energies

MOST_FIELDS = 24  # whose spectra are averaged
MOST_POINTS = 2**23  # of one rung read for them


def three_of(rungs: Sequence[int]) -> tuple[int, ...]:
    """The coarsest, the one nearest the middle of a log axis, the finest."""
    if len(rungs) <= 3:
        return tuple(rungs)
    middle = math.sqrt(rungs[0] * rungs[-1])
    return rungs[0], min(rungs[1:-1], key=lambda rung: abs(math.log(rung / middle))), rungs[-1]


def liveliest(ladder: Ladder, split: Split, variable: str) -> tuple[int, int]:
    """(sample, frame) with the largest variance on the coarsest rung, of the frames observed about as well as any."""
    coarsest = ladder.rungs[0]
    values = np.asarray(ladder.array(split, coarsest, variable), dtype=np.float64)
    weights = ladder.valid_area(split, coarsest)
    axes = tuple(range(2, values.ndim))
    if weights is None:
        variance = values.var(axis=axes)
    else:
        w = np.asarray(weights, dtype=np.float64)
        total = np.maximum(w.sum(axis=axes), 1e-300)
        mean = (w * values).sum(axis=axes) / total
        variance = (w * (values - np.expand_dims(mean, axes)) ** 2).sum(axis=axes) / total
        variance[total < 0.9 * total.max()] = -1
    sample, frame = np.unravel_index(int(np.argmax(variance)), variance.shape)
    return int(sample), int(frame)


def rung_spectrum(ladder: Ladder, split: Split, rung: int, variable: str) -> tuple[NDArray[Any], NDArray[Any], float]:
    """(k, energy a ring, Nyquist) of one rung, the mean over up to MOST_FIELDS fields of the split.

    In physical wavenumbers; over a whole sphere by degree l, whose Nyquist is half the rows.  Axes with ends are
    tapered (Hann); what is missing stands at the mean.
    """
    grid = ladder.grid(rung)
    values = ladder.array(split, rung, variable)
    frames = values.shape[0] * values.shape[1]
    most = max(1, min(MOST_FIELDS, MOST_POINTS // grid.n_points, frames))
    chosen = np.unique(np.linspace(0, frames - 1, most).round().astype(int))
    sample, frame = chosen // values.shape[1], chosen % values.shape[1]
    u = torch.from_numpy(np.stack([np.asarray(values[s, f], np.float32) for s, f in zip(sample, frame, strict=True)]))
    weights = ladder.valid_area(split, rung)
    if weights is not None:
        w = torch.from_numpy(np.stack([np.asarray(weights[s, f]) for s, f in zip(sample, frame, strict=True)]))
        mean = (w * u).sum() / w.sum().clamp_min(1e-30)
        u = torch.where(w > 0, u, mean)
    if covers_sphere(grid):
        c = analyse(u.double(), grid)
        energy = degree_energies(c, c).mean(0).numpy()
        return np.arange(len(energy), dtype=float), energy, grid.shape[0] / 2
    spectrum = radial_spectrum(u, grid, taper=None if all(grid.periodic) else "hann").pooled()
    return spectrum.k.numpy().astype(float), spectrum.energy.numpy().astype(float), grid.k_nyquist


def field_of(ladder: Ladder, split: Split, rung: int, variable: str, sample: int, frame: int) -> NDArray[np.float64]:
    """A line, or an image with rows upwards; of three dimensions the plane in the middle.  NaN where not observed."""
    index: tuple[Any, ...] = (sample, frame)
    if ladder.finest.ndim == 3:
        index = (*index, ladder.grid(rung).shape[0] // 2)
    values = np.array(ladder.array(split, rung, variable)[index], dtype=float)
    weights = ladder.valid_area(split, rung)
    return values if weights is None else np.where(np.asarray(weights[index]) > 0, values, np.nan)
