"""Super-resolution by factor ρ / input rung: what a curve scores beside its error, and the tables of it.

    over interpolation   ‖e‖ / ‖e of `interpolate`‖, total error on its own rung: below 1 the model is the better
    consistency          ‖R M(u) − u‖ / σ, R the degradation: whether the output still says what was given
    RFNE, IN, PSNR, SSIM of images (`analysis/image_scores.py`), means over samples
    spectral divergence    (mean over rings of (10 log₁₀ E_M(k) / E_y(k))²)^½, dB, E the power of prediction and truth

The input is one and the same on every rung, so there is no slope: factors that were trained on and factors beyond them
stand apart, and where interpolation has the smaller error the table says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anchorbench.report.document import (
    Curve,
    Group,
    finite,
    fixed,
    is_method,
    label_of,
    number,
    per_rung,
    rungs_of,
    value_at,
)
from anchorbench.report.scored import Family

#: name -> (sum, what it is divided by).
MEANS = {
    "rfne": ("image_rfne", "image_samples"),
    "largest_error": ("image_max", "image_samples"),
    "psnr": ("image_psnr", "image_samples"),
    "ssim": ("image_ssim", "image_windows"),
}
SCORES = (*MEANS, "consistency", "spectral_divergence")
#: The channel that is scored; evaluation puts it first.
HEADLINE = 0
#: A ring with less than this of the truth's strongest holds rounding, not waves.
EMPTY_RING = 1e-10
COLUMNS = {
    "label": "Curve", "factor": "Factor", "rung": "Rung", "total": "Error", "over": "Over interpolation",
    "skill": "Skill S", "consistency": "Consistency", "rfne": "RFNE", "largest_error": "IN", "psnr": "PSNR",
    "ssim": "SSIM", "spectral_divergence": "Spectra, dB",
}  # fmt: skip
CAPTION = (
    "Total error and consistency in σ; IN is the largest error, in σ; the range of PSNR and SSIM is that of the train "
    "rung's training split; spectra: root mean square over rings of the power's ratio to the truth's. A finer output "
    "holds no more than the input, so there is no slope."
)


def factor_scores(family: Family, rungs: Sequence[int]) -> dict[str, list[float | None]]:
    """Each of `SCORES` by rung, pooled over seeds; empty of a task that has none, None where a rung has none."""
    if all("image_samples" not in run.data for run in family.runs):
        return {}
    out = {name: [_ratio(family, rung, *sums) for rung in rungs] for name, sums in MEANS.items()}
    misfit = [_ratio(family, rung, "given_misfit", "given_weight") for rung in rungs]
    out["consistency"] = [None if v is None else v**0.5 for v in misfit]
    out["spectral_divergence"] = [_distance(family, rung) for rung in rungs]
    return out


def over_interpolation(curve: Curve, curves: Sequence[Curve], rung: float) -> float | None:
    """The total error over that of `interpolate` of the same group, on one rung; None where either is not known."""
    beside = next((c for c in curves if c.get("method") == "interpolate" and c.get("group") == curve.get("group")), {})
    own, other = finite(value_at(curve, rung, "total")), finite(value_at(beside, rung, "total"))
    return own / other if own is not None and other else None


def trained_range(curve: Curve) -> tuple[float, float] | None:
    """The coarsest and the finest rung that training asked for; None of what is not trained."""
    seen = [r for r in map(finite, curve.get("seen_rungs") or ()) if r is not None]
    return (min(seen), max(seen)) if seen else None


def factor_tables(group: Group, curves: Sequence[Curve]) -> list[tuple[str, list[dict[str, str]]]]:
    """Title and rows of two tables, of factors in the range that was trained on and of factors out of it.

    What is not trained stands in both wherever a model of the group does.
    """
    given = finite(group.get("input_rung"))
    shown = [c for c in curves if c.get("method") not in ("coarse_then_upsample", "oracle_lowpass", "native")]
    ranges = [r for c in shown if (r := trained_range(c)) is not None]
    if not given or not ranges or all(finite(v) is None for c in shown for v in per_rung(c, "psnr")):
        return []
    tables: dict[bool, list[dict[str, str]]] = {True: [], False: []}
    for rung in sorted({r for c in shown for r in rungs_of(c)}):
        there = {low <= rung <= high for low, high in ranges}
        for curve in shown:
            own = trained_range(curve)
            for inside in there if own is None else {own[0] <= rung <= own[1]}:
                if finite(value_at(curve, rung, "total")) is not None:
                    tables[inside].append(_row(curve, curves, rung, given))
    return [("Factors that were trained on", tables[True]), ("Factors out of the trained range", tables[False])]


def _row(curve: Curve, curves: Sequence[Curve], rung: float, given: float) -> dict[str, str]:
    over = over_interpolation(curve, curves, rung)
    wins = over is not None and over > 1 and is_method(curve)
    return {
        "label": label_of(curve) if is_method(curve) else label_of(curve).replace("_", " "),
        "factor": factor_text(rung / given),
        "rung": f"{rung:g}",
        "over": number(over) + (" (interpolation wins)" if wins else ""),
        "skill": fixed(value_at(curve, rung, "skill")),
        "psnr": fixed(value_at(curve, rung, "psnr"), places=1),
        "spectral_divergence": fixed(value_at(curve, rung, "spectral_divergence"), places=1),
        **{name: number(value_at(curve, rung, name)) for name in ("total", "consistency", "rfne", "largest_error")},
        "ssim": fixed(value_at(curve, rung, "ssim"), places=3),
    }


def factor_text(factor: float) -> str:
    """`4.6`, `32`: one decimal, none where it is whole."""
    return f"{factor:.1f}".removesuffix(".0")


def per_rung_columns(curve: Curve, curves: Sequence[Curve], groups: Mapping[Any, Group], rung: float) -> dict[str, Any]:
    """The columns of a frame: factor, error over interpolation, and `SCORES`."""
    given = finite((groups.get(curve.get("group")) or {}).get("input_rung"))
    return {
        "factor": rung / given if given else None,
        "over_interpolation": over_interpolation(curve, curves, rung) if given else None,
        **{name: finite(value_at(curve, rung, name)) for name in SCORES},
    }


def _ratio(family: Family, rung: int, above: str, below: str) -> float | None:
    """Of the headline variable, as the errors beside it."""
    total = [0.0, 0.0]
    for run in family.runs:
        if above not in run.data or rung not in run.data["rung"].values:
            continue
        at = run.data.sel(rung=rung)
        for i, name in enumerate((above, below)):
            total[i] += float(np.nansum(at[name].isel(channel=HEADLINE).values))
    return total[0] / total[1] if total[1] > 0 else None


def _distance(family: Family, rung: int) -> float | None:
    found = []
    for run in family.runs:
        if rung in run.data["rung"].values:
            at = run.data.sel(rung=rung)
            found.append(spectral_divergence(at["spectrum_prediction"].values, at["spectrum_truth"].values))
    known = [d for d in found if d is not None]
    return float(np.mean(known)) if known else None


def spectral_divergence(made: NDArray[np.float64], truth: NDArray[np.float64]) -> float | None:
    """(mean (10 log₁₀ E_M / E_y)²)^½ in dB over the rings in which the truth has power, the mean left out.

    A prediction without power in a ring counts as one with `EMPTY_RING` of the truth's strongest.  None where no ring
    is left.
    """
    least = EMPTY_RING * float(np.nanmax(truth[1:], initial=0.0))
    rings = np.isfinite(truth[1:]) & np.isfinite(made[1:]) & (truth[1:] > least)
    if least <= 0 or not rings.any():
        return None
    apart = 10 * np.log10(np.maximum(made[1:][rings], least) / truth[1:][rings])
    return float(np.sqrt(np.mean(apart**2)))
