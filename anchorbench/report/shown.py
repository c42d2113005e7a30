"""What figures need beside the curves: spectra, and one window's fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anchorbench.config import Variable
from anchorbench.fields import Grid
from anchorbench.fields.sphere import covers_sphere
from anchorbench.report.scored import Family, labels


def spectra(methods: Sequence[Family], grid: Grid, rungs: Sequence[int], *, band_rung: int) -> dict[str, Any] | None:
    """Mean power spectra over seeds: of the truth, each method's prediction and its error, by rung."""
    if not methods:
        return None
    first, sphere = methods[0].runs[0], covers_sphere(grid)
    out: dict[str, Any] = {
        "unit": "" if sphere else f"rad/{grid.unit}" if grid.unit != "1" else "rad",
        "axis": "total wavenumber l" if sphere else "wavenumber k",
        # On the sphere the degrees that a grid of N rows holds end at N/2.
        "k_train_nyquist": band_rung / 2 if sphere else grid.with_rung(band_rung).k_nyquist,
        **{name: {} for name in ("k", "truth", "predictions", "error")},
    }
    for rung in rungs:
        k = first.data["k"].values
        kept = np.isfinite(first.data["spectrum_truth"].sel(rung=rung).values)
        out["k"][rung] = k[kept].tolist()
        out["truth"][rung] = (first.data["spectrum_truth"].sel(rung=rung).values[kept]).tolist()
    for label, family in zip(labels(methods), methods, strict=True):
        for what, name in (("predictions", "prediction"), ("error", "error")):
            out[what][label] = {}
            for rung in rungs:
                rows = [run.data[f"spectrum_{name}"].sel(rung=rung).values for run in family.runs]
                mean = np.mean(rows, axis=0)
                out[what][label][rung] = mean[np.isfinite(mean)].tolist()
    return out


def fields(
    methods: Sequence[Family], grid: Grid, rungs: Sequence[int], variable: Variable, *, band_rung: int
) -> dict[str, Any] | None:
    """One window of the test split on three rungs, from each method's first seed; of a volume its middle plane."""
    if not methods:
        return None
    finer = [rung for rung in rungs if rung > band_rung]
    picked = sorted({band_rung, *finer[(len(finer) - 1) // 2 :][:1], *finer[-1:]})
    shown = {
        label: {rung: _plane(family.runs[0].fields(rung)) for rung in picked}
        for label, family in zip(labels(methods), methods, strict=True)
    }
    one = next(iter(shown.values()))
    box = list(zip(grid.origin or (0.0,) * grid.ndim, grid.extent, strict=True))[-2:]
    return {
        "rungs": picked,
        "truth": {rung: one[rung]["truth"] for rung in picked},
        "predictions": {
            label: {rung: by_rung[rung]["prediction"] for rung in picked} for label, by_rung in shown.items()
        },
        "extent": [end for axis in reversed(box) for end in (axis[0], axis[0] + axis[1])],
        "kind": "lines" if grid.ndim == 1 else "images",
        "x": {rung: grid.with_rung(rung).coordinates(grid.ndim - 1).tolist() for rung in picked},
        "chosen_blind": True,
        "unit": grid.unit,
        "cmap": "rain" if "rain" in variable.name else "diverging",
    }


def _plane(fields: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: u[len(u) // 2] if u.ndim == 3 else u for name, u in fields.items()}
