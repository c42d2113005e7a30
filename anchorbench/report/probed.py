"""What the tests of `anchorbench evaluate --test` left, as documents: pooled over seeds, roots taken last."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from anchorbench.analysis import ROUNDING, SCORE_NAMES, Cells, Sums, curve, judge
from anchorbench.config import RunSpec, digest_of
from anchorbench.report.scored import SIGMA, Family, labels

#: A reference that every run's test holds beside its own scores, by its prefix.
BESIDE = ("persistence", "solver")


@dataclass(frozen=True)
class Named:
    """A family under the label that the figures show."""

    label: str
    family: Family

    def probes(self, test: str) -> list[xr.Dataset]:
        """One dataset a seed, those made with the settings of the first; empty where no seed was tested."""
        found = [run.probes[test] for run in self.family.runs if test in run.probes]
        return [data for data in found if _settings(data) == _settings(found[0])]


def probes(
    methods: Sequence[Family],
    references: Sequence[Family],
    natives: Sequence[Family],
    *,
    seen: Callable[[RunSpec], Sequence[int]],
    floor: Mapping[int, float],
    delta: float,
    sigma: float,
) -> dict[str, Any]:
    """Each test's curves by label, the matrix' rows, and the names of the runs that a test can be asked of.

    seen: the rungs that a run's training saw.  floor: the truth's own error by rung, after one step.
    """
    named = [Named(label, family) for label, family in zip(labels(methods), methods, strict=True)]
    # The oracle looks at the truth: it responds to nothing, and is right everywhere.
    beside = [Named(family.spec.method, family) for family in references if family.spec.method != "oracle_lowpass"]
    every = [*named, *beside]
    return {
        "runs": [run.run.path.name for family in methods for run in family.runs],
        "natives": [run.run.path.name for family in natives for run in family.runs],
        "resolution": _by_label(every, "resolution", lambda data: _scores(data, "rung")),
        "information": _by_label(every, "information", lambda data: _scores(data, "cut")),
        "response": _by_label(every, "response", _response),
        "rollout": _rollouts(every, seen=seen, floor=floor, delta=delta),
        "training": _trainings(named, seen=seen, floor=floor, delta=delta),
        "matrix": [row for one in (*named, *_natives(natives)) if (row := _row(one, sigma)) is not None],
    }


def _by_label(
    every: Sequence[Named], test: str, told: Callable[[list[xr.Dataset]], dict[str, Any]]
) -> dict[str, Any] | None:
    """Each family's curve, of those tested with the settings of the first; `others` names those with different ones."""
    found = {one.label: data for one in every if (data := one.probes(test))}
    if not found:
        return None
    settings = _settings(next(iter(found.values()))[0])
    alike = {label: data for label, data in found.items() if _settings(data[0]) == settings}
    first = next(iter(alike.values()))[0]
    about = {k: v.item() if hasattr(v, "item") else v for k, v in first.attrs.items() if k != "weights"}
    return {**about, "others": sorted(set(found) - set(alike)), "curves": {k: told(v) for k, v in alike.items()}}


def _settings(data: xr.Dataset) -> tuple[Any, ...]:
    """What makes two tests comparable: their options, and the rungs, cut-offs and waves that were asked."""
    options = [str(data.attrs.get(name)) for name in ("band", "grid_rung", "amplitude")]
    return (*options, *(data[name].values.tobytes() for name in ("rung", "cut", "waves", "lead") if name in data))


def _sums(data: xr.Dataset, dim: str, prefix: str = "") -> dict[int, Sums]:
    """Sums by rung or cut-off, of those that were reached."""
    out = {}
    for place in data[dim].values.tolist():
        at = data.sel({dim: place})
        if np.isfinite(at[f"{prefix}weight"].values).all():
            out[int(place)] = Sums({name: at[prefix + name].values for name in SCORE_NAMES})
    return out


def _cells(data: Sequence[xr.Dataset], dim: str, prefix: str = "") -> Cells | None:
    """Of all seeds, on the rungs that every one of them reached; None where there is none."""
    by_seed = [_sums(one, dim, prefix) for one in data]
    shared = set.intersection(*(set(one) for one in by_seed))
    if not shared:
        return None
    return Cells.from_sums([{place: one[place] for place in shared} for one in by_seed], sigma=SIGMA)


def _scores(data: list[xr.Dataset], dim: str) -> dict[str, Any]:
    """Total, resolved and unseen error, with the total's interval, by rung or cut-off."""
    cells = _cells(data, dim)
    if cells is None:
        return {"at": [], "seeds": len(data)}
    drawn = curve(cells)
    return {
        "at": list(drawn.rungs),
        "seeds": len(data),
        "total": _clean(drawn.total),
        "total_interval": [None if i is None else [i.low, i.high] for i in drawn.intervals["total"]],
        "resolved": _clean(drawn.error),
        "unseen": _clean(drawn.unseen),
    }


def _clean(values: Sequence[float | None]) -> list[float | None]:
    return [0.0 if v is not None and v <= ROUNDING else v for v in values]


def _response(data: list[xr.Dataset]) -> dict[str, Any]:
    """Gain, phase and leakage by rung over rings, and the solver's, where there is one.

    A ring holds the waves of one radius in all directions; gain = √(Σ|H|² / n) over its waves, states and seeds,
    phase = arg ΣH, leakage = 1 − Σ|H|² / Σ⟨|R|²⟩; phase_error = arg ΣH H_s* against the solver's H_s of the same wave
    and state, so that waves which a flow carries to all sides do not cancel.  A ring of which a rung lacks a wave is
    left out there.
    """
    first = data[0]
    rings = np.unique(first["ring"].values)
    k = (rings * float(first.attrs["dk"])).tolist()
    solved = "solver_re" in first
    out: dict[str, Any] = {"k": k, "rings": rings.tolist(), "seeds": len(data), "rungs": {}}
    for rung in first["rung"].values.tolist():
        at = [one.sel(rung=rung) for one in data]
        told = _rings(at, rings, "")
        if solved:
            told |= {f"solver_{name}": values for name, values in _rings(at[:1], rings, "solver_").items()}
            told["phase_error"] = _phase_errors(at, rings)
        out["rungs"][int(rung)] = told
    if solved:
        below = [g is not None for g in out["rungs"][int(first.attrs["train_rung"])]["gain"]]
        out["gain_difference"] = {rung: gain_difference(told, below) for rung, told in out["rungs"].items()}
    return out


def _rings(data: Sequence[xr.Dataset], rings: np.ndarray, prefix: str) -> dict[str, list[float | None]]:
    out: dict[str, list[float | None]] = {"gain": [], "phase": [], "leakage": []}
    h, energy = _transfers(data, prefix), np.stack([one[f"{prefix}energy"].values for one in data])
    for r in rings:
        own = data[0]["ring"].values == r
        inside, spent = h[:, own], float(energy[:, own].sum())
        if not np.isfinite(inside).all():
            for values in out.values():
                values.append(None)
            continue
        kept = float((np.abs(inside) ** 2).sum())
        out["gain"].append(math.sqrt(kept / inside.size))
        out["phase"].append(_angle(inside))
        out["leakage"].append(max(0.0, 1 - kept / spent) if spent > 0 else None)
    return out


def _phase_errors(data: Sequence[xr.Dataset], rings: np.ndarray) -> list[float | None]:
    product = _transfers(data, "") * _transfers(data, "solver_").conj()
    parts = [product[:, data[0]["ring"].values == r] for r in rings]
    return [_angle(part) if np.isfinite(part).all() else None for part in parts]


def _transfers(data: Sequence[xr.Dataset], prefix: str) -> np.ndarray:
    """H by (seed, wave, state), complex."""
    return np.stack([one[f"{prefix}re"].values + 1j * one[f"{prefix}im"].values for one in data])


def _angle(h: np.ndarray) -> float | None:
    """arg ΣH; None where nothing came back, whose angle is rounding."""
    whole = complex(h.sum())
    return None if abs(whole) <= 1e-6 * h.size else float(np.angle(whole))


def gain_difference(told: Mapping[str, Any], below: Sequence[bool]) -> dict[str, float | None]:
    """Mean |gain − the solver's gain| over the rings below ρ₀'s Nyquist, and over those above; None where none is.

    told: gain and solver_gain of one rung, null where it lacks the ring.  below: whether ρ₀ carries each ring.
    """
    pairs = zip(told["gain"], told["solver_gain"], below, strict=True)
    found = [(abs(g - s), low) for g, s, low in pairs if g is not None and s is not None]
    parts = {name: [d for d, low in found if low is wanted] for name, wanted in (("below", True), ("above", False))}
    return {name: float(np.mean(part)) if part else None for name, part in parts.items()}


def _rollouts(
    every: Sequence[Named], *, seen: Callable[[RunSpec], Sequence[int]], floor: Mapping[int, float], delta: float
) -> dict[str, Any] | None:
    """E_res, E_uns and S by rung and lead, the slope at each lead, and where a rung blew up; references once."""
    tested = {one.label: (one, data) for one in every if (data := one.probes("rollout"))}
    if not tested:
        return None
    first = next(iter(tested.values()))[1][0]
    words: dict[str, Any] = {"seen": (), "floor": floor, "delta": delta}
    curves = {}
    for label, (one, data) in tested.items():
        if _settings(data[0]) == _settings(first):
            own = words | ({"seen": seen(one.family.spec)} if one.family.spec.kind == "method" else {})
            curves[label] = _rollout(data, "", train_rung=one.family.spec.band_rung, **own)
    train_rung = next(iter(tested.values()))[0].family.spec.band_rung
    for name in BESIDE:
        if name not in curves and f"{name}_weight" in first:
            curves[name] = _rollout([first], f"{name}_", train_rung=train_rung, **words)
    return {
        "lead": first["lead"].values.tolist(),
        "lead_unit": str(first.attrs["lead_unit"]),
        "rungs": [int(r) for r in first["rung"].values],
        "delta": delta,
        "others": sorted(set(tested) - set(curves)),
        "curves": curves,
    }


def _rollout(
    data: Sequence[xr.Dataset],
    prefix: str,
    *,
    train_rung: int,
    seen: Sequence[int],
    floor: Mapping[int, float],
    delta: float,
) -> dict[str, Any]:
    rungs = [int(r) for r in data[0]["rung"].values]
    # The truth's own error is known after one step only.
    near = {1: floor}
    out = _by_step(data, prefix, train_rung=train_rung, seen=seen, floor=lambda step: near.get(step, {}), delta=delta)
    # A seed that blew up takes the rung's curve with it: what is left would be the luckier seeds.
    blown = {rung: [int(one[f"{prefix}blown"].sel(rung=rung)) for one in data] for rung in rungs}
    lead = data[0]["lead"].values
    out["blown"] = {
        rung: float(lead[min(hit for hit in hits if hit) - 1]) if any(hits) else None for rung, hits in blown.items()
    }
    return out


def _trainings(
    named: Sequence[Named], *, seen: Callable[[RunSpec], Sequence[int]], floor: Mapping[int, float], delta: float
) -> dict[str, Any] | None:
    """E_res, E_uns and S by rung and kept checkpoint, and the slope at each; every method has steps of its own."""
    tested = {one.label: (one.family.spec, data) for one in named if (data := one.probes("training"))}
    if not tested:
        return None
    curves = {}
    for label, (spec, data) in tested.items():
        told = _by_step(
            data, "", train_rung=spec.band_rung, seen=seen(spec), floor=lambda step: floor, delta=delta
        )  # fmt: skip
        curves[label] = told | {"step": data[0]["step"].values.tolist()}
    rungs = sorted({int(r) for _, data in tested.values() for r in data[0]["rung"].values})
    return {"rungs": rungs, "delta": delta, "curves": curves}


def _by_step(
    data: Sequence[xr.Dataset],
    prefix: str,
    *,
    train_rung: int,
    seen: Sequence[int],
    floor: Callable[[int], Mapping[int, float]],
    delta: float,
) -> dict[str, Any]:
    """Scores by rung and the slope, at each step on its own; floor: the truth's own error after a step."""
    rungs = [int(r) for r in data[0]["rung"].values]
    steps = data[0]["step"].values.tolist()
    out: dict[str, Any] = {name: {rung: [None] * len(steps) for rung in rungs} for name in ("error", "unseen", "skill")}
    out |= {"slope": [None] * len(steps), "interval": [None] * len(steps), "seeds": len(data)}
    for place, step in enumerate(steps):
        cells = _cells([one.sel(step=step) for one in data], "rung", prefix)
        if cells is None:
            continue
        drawn = curve(cells)
        for name in ("error", "unseen", "skill"):
            for rung, value in zip(drawn.rungs, getattr(drawn, name), strict=True):
                out[name][rung][place] = value
        if train_rung in cells.rungs:
            verdict = judge(cells, train_rung=train_rung, seen=seen, floor=floor(step), delta=delta)
            if verdict.slope is not None:
                out["slope"][place] = verdict.slope.estimate
                out["interval"][place] = [verdict.slope.low, verdict.slope.high]
    return out


def _natives(natives: Sequence[Family]) -> list[Named]:
    return [Named("native", family) for family in natives]


def _row(one: Named, sigma: float) -> dict[str, Any] | None:
    """A row of the matrix: total error on every rung, and resolved by the run's own train rung, in σ of the group.

    A method's row is its curve; a native run's is its test `matrix`, and without it only its own rung.
    """
    spec, family = one.family.spec, one.family
    data = one.probes("matrix")
    cells = _cells(data, "rung") if data else family.cells()
    if cells is None:
        return None
    drawn = curve(cells)
    whole = bool(data) or spec.kind == "method"
    return {
        "label": one.label,
        "key": _same_row(spec),
        "name": spec.method,
        "model": spec.model,
        "train_rung": spec.train_rung,
        "steps": family.steps,
        "seeds": family.seeds,
        "sigma": sigma,
        "whole": whole,
        "rungs": list(drawn.rungs),
        "total": _clean(drawn.total),
        # On its own rung a native's error is all in its own band.
        "resolved": _clean(drawn.error if whole else drawn.total),
    }


def _same_row(spec: RunSpec) -> str:
    """What the rows of one matrix share: all but the train rung, the seed, and how long each trained."""
    parts = [spec.ladder, spec.task, spec.lead, spec.frames_in, spec.input_rung, spec.protocol]
    parts += [spec.model, spec.model_options, spec.model_digest, spec.method, spec.method_options]
    return digest_of(parts)[:12]
