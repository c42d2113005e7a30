"""Predictions of six models whose verdict is known, and the truth, as NetCDF files: numpy and xarray alone.

The box is periodic, 0 <= x, y < 1, points left in and right out.  u is a random field; the truth is

    y = u + 0.3 u² + f        f a hill that never changes

known on every rung by its waves |k| < N/2.  Each model is an operator that one can write down, "trained" at 32 points:

    converging     u + 0.3 u² + f of the input it is given on each rung, products without aliasing
    bandwidth      the same of the waves below the train rung's Nyquist, on whatever rung: no others go in or come out
    aliasing       the same of every (N/32)-th point of its input: finer waves fold into the band
    embedding      its hill is a table of positions n/(N₀ − 1) read at n/N₀: displaced alike on every rung
    noise          the observations have an error, and no model can know better
    hallucinating  converging, and beyond the train rung's Nyquist waves of its own invention

Run it:  python make_cases.py FOLDER      then:  anchorbench diagnose FOLDER/CASE/pred_*.nc --truth ... --train-rung 32
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

Fields = np.ndarray[Any, np.dtype[np.float64]]
ByRung = dict[int, Fields]

RUNGS = (32, 64, 128)
FINE = 256  # where the truth is made
SAMPLES = 12


def carry(u: Fields, n: int) -> Fields:
    """The waves |k| < min(N, n)/2 of the fields u (..., N, N) on n x n points."""
    old = u.shape[-1]
    waves = np.fft.fftshift(np.fft.fft2(u, norm="forward"), axes=(-2, -1))
    keep = (min(old, n) - 1) // 2
    out = np.zeros((*u.shape[:-2], n, n), complex)
    a, b = slice(old // 2 - keep, old // 2 + keep + 1), slice(n // 2 - keep, n // 2 + keep + 1)
    out[..., b, b] = waves[..., a, a]
    carried: Fields = np.fft.ifft2(np.fft.ifftshift(out, axes=(-2, -1)), norm="forward").real
    return carried


def random_fields(rng: np.random.Generator, n: int, low: float, high: float, power: float) -> Fields:
    """Fields of mean square 1 with amplitudes |k|^-power on low <= |k| < high, (SAMPLES, n, n)."""
    k = np.hypot(np.fft.fftfreq(n, 1 / n)[:, None], np.fft.fftfreq(n, 1 / n))
    size = np.where((k >= low) & (k < high), np.maximum(k, 1.0) ** -power, 0.0)
    u: Fields = np.fft.ifft2(size * np.fft.fft2(rng.normal(size=(SAMPLES, n, n)))).real
    u /= u.std()
    return u


def hill(n: int, shift: float = 0.0) -> Fields:
    """f on n x n points; shift: the positions are read at x (1 - shift)."""
    x = np.arange(n) / n * (1 - shift)
    one = np.exp(-((x - 0.5) ** 2) / 0.01)
    two: Fields = 1.5 * one[:, None] * one
    return two


def product(u: Fields) -> Fields:
    """u + 0.3 u² with every wave of the square, those of u's own grid kept."""
    n = u.shape[-1]
    wide = carry(u, 2 * n)
    return u + 0.3 * carry(wide**2, n)


def cases(rungs: tuple[int, ...] = RUNGS) -> tuple[ByRung, dict[str, tuple[ByRung, ByRung]]]:
    """The truth by rung, and by name ({rung: prediction}, {rung: what a model trained there predicts})."""
    rng = np.random.default_rng(0)
    home, finest = rungs[0], rungs[-1]
    u = random_fields(rng, FINE, 1, 0.37 * FINE, 1.6)
    # Products of waves below 95 are below 190 and fold no further down than 256 - 190: no rung sees it.
    truth = {n: carry(u + 0.3 * u**2 + hill(FINE), n) for n in rungs}
    given = {n: carry(u, n) for n in rungs}
    solved = {n: product(given[n]) + hill(n) for n in rungs}
    error = 0.3 * random_fields(rng, finest, 1, home / 2, 0.0)
    blurred = {n: product(given[n] + carry(error, n)) + hill(n) for n in rungs}
    invented = random_fields(rng, finest, home / 2 * 1.5, finest / 2, 1.0)
    coarse = given[home]
    models = {
        "converging": (solved, solved),
        "bandwidth": ({n: carry(product(coarse) + hill(home), n) for n in rungs}, solved),
        "aliasing": (
            {n: carry(product(given[n][:, :: n // home, :: n // home]) + hill(home), n) for n in rungs},
            solved,
        ),
        "embedding": (
            {n: product(given[n]) + hill(n, 1 / home) for n in rungs},
            {n: product(given[n]) + hill(n, 1 / n) for n in rungs},
        ),
        "noise": (blurred, blurred),
        "hallucinating": ({n: solved[n] + 0.3 * (carry(invented, n) if n > home else 0) for n in rungs}, solved),
    }
    return truth, models


def dataset(values: Fields, n: int) -> xr.Dataset:
    x = np.arange(n) / n
    held = xr.DataArray(
        values.astype("float32"), dims=("sample", "y", "x"), coords={"y": x, "x": x}, attrs={"units": "1"}
    )
    return held.to_dataset(name="field")


def write(folder: Path | str, rungs: tuple[int, ...] = RUNGS) -> None:
    """CASE/pred_032.nc ..., CASE/native_064.nc ... and truth_032.nc ... in the folder."""
    folder = Path(folder)
    truth, models = cases(rungs)
    folder.mkdir(parents=True, exist_ok=True)
    for n in rungs:
        dataset(truth[n], n).to_netcdf(folder / f"truth_{n:03d}.nc", engine="netcdf4")
    for name, (predicted, native) in models.items():
        (folder / name).mkdir(exist_ok=True)
        for n in rungs:
            dataset(predicted[n], n).to_netcdf(folder / name / f"pred_{n:03d}.nc", engine="netcdf4")
        for n in rungs[1:]:
            dataset(native[n], n).to_netcdf(folder / name / f"native_{n:03d}.nc", engine="netcdf4")


if __name__ == "__main__":
    write(sys.argv[1] if len(sys.argv) > 1 else ".")
