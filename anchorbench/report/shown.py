"""What figures need beside the curves: spectra, and one window's fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anchorbench.config import Variable
from anchorbench.fields import Grid
from anchorbench.report.scored import Family, labels


def spectra(methods: Sequence[Family], grid: Grid, rungs: Sequence[int], *, band_rung: int) -> dict[str, Any] | None:
    """Mean power spectra over seeds: of the truth, each method's prediction and its error, by rung."""
    if not methods:
        return None
    first = methods[0].runs[0]
    out: dict[str, Any] = {
        "unit": f"rad/{grid.unit}" if grid.unit != "1" else "rad",
        "k_train_nyquist": grid.with_rung(band_rung).k_nyquist,
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
    """One window of the test split on three rungs, from each method's first seed."""
    if not methods or grid.ndim != 2:
        return None
    finer = [rung for rung in rungs if rung > band_rung]
    picked = sorted({band_rung, *finer[(len(finer) - 1) // 2 :][:1], *finer[-1:]})
    shown = {
        label: {rung: family.runs[0].fields(rung) for rung in picked}
        for label, family in zip(labels(methods), methods, strict=True)
    }
    one = next(iter(shown.values()))
    return {
        "rungs": picked,
        "truth": {rung: one[rung]["truth"] for rung in picked},
        "predictions": {
            label: {rung: by_rung[rung]["prediction"] for rung in picked} for label, by_rung in shown.items()
        },
        "extent": [0.0, grid.extent[1], 0.0, grid.extent[0]],
        "unit": grid.unit,
        "cmap": "rain" if "rain" in variable.name else "diverging",
    }
