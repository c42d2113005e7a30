"""Why the curve is as it is, as far as files can tell.

In ρ₀'s band, on ρ₀'s points, with R the restriction to them:

    h = R e_ρ₀                 the error at home
    r = R e_ρ,  d = r − h      the error on the finest rung of the fit, and what the finer grid changed of it
    fixed    = ‖mean_s r‖² / mean ‖r_s‖²        the share that is one and the same field in every sample, debiased
    changed  = ‖d‖² / ‖r‖²
    folded   = coherence γ² of d with the waves beyond ρ₀ seen through ρ₀'s points, weighted by d's energy: aliasing
    common   = cos²(r, r_native)                what a model trained there gets wrong in the same way
    written  = ‖(I−P) M‖² / ‖(I−P) y‖²,  matched = cos((I−P) M, (I−P) y)      in the unseen band

A file holds no answer of the model to a filtered input, so the grid and the information cannot be told apart: that
takes the model, whose budget (analysis.budget) says it.  The thresholds are ours (docs/diagnose.md), and tests/diagnose
holds them to operators whose cause is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from anchorbench.analysis import ROUNDING, Verdict
from anchorbench.analysis.budget import PARTS
from anchorbench.diagnose.rungs import Fields
from anchorbench.diagnose.scored import Scale
from anchorbench.errors import GridError
from anchorbench.fields import Grid, cross_spectrum, project, restrict

CauseWord = Literal["information", "bandwidth", "aliasing", "embedding", "noise", "model", "grid", "not told"]
Parts = Mapping[str, float]

#: A share of the error's energy that makes a cause the dominant one, and one that is next to nothing.
MOST, LITTLE = 0.5, 0.1
#: Energy in the unseen band, as a share of the truth's, that counts as none.
NOTHING = 0.01


@dataclass(frozen=True)
class Evidence:
    """The numbers above; None where they cannot be had."""

    rung: int
    fixed: float | None
    changed: float | None
    folded: float | None
    common: float | None
    written: float | None
    matched: float | None


@dataclass(frozen=True)
class Cause:
    """The dominant cause, in one word and in one sentence, and what it rests on."""

    word: CauseWord
    sentence: str
    evidence: Evidence | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "cause": self.word,
            "sentence": self.sentence,
            "evidence": None if self.evidence is None else asdict(self.evidence),
        }


def cause_of(
    fields: Fields,
    verdict: Verdict,
    *,
    scale: Scale,
    native: Fields | None = None,
    budget: Mapping[int, Parts | None] | None = None,
) -> Cause:
    """The dominant cause of the first word, and what was found in the unseen band.

    budget: by rung the signed shares of E_res² of model, grid and information, where the model could be asked.
    """
    finer = [rung for rung in verdict.used if rung > verdict.train_rung]
    if verdict.word is None or not finer or verdict.train_rung not in verdict.used:
        return Cause("not told", "no cause is told where there is no slope", None)
    found = evidence(fields, train_rung=verdict.train_rung, rung=max(finer), scale=scale, native=native)
    word, why = _dominant(verdict, found)
    parts = (budget or {}).get(found.rung)
    if parts is not None and found.changed is not None:
        if word == "not told":
            word, why = _largest(verdict, found, parts)
        why = f"{why}; {_budget(found, parts)}"
    return Cause(word, "; ".join(part for part in (why, _unseen(verdict, found)) if part), found)


def evidence(fields: Fields, *, train_rung: int, rung: int, scale: Scale, native: Fields | None = None) -> Evidence:
    """What the fields on ρ₀ and one finer rung tell; the first seed's."""
    home, there, how = fields.rungs[train_rung], fields.rungs[rung], fields.restriction
    unit = scale.sigma.reshape(-1, *[1] * home.grid.ndim)
    h = _error_at(fields, train_rung, home.grid, unit)
    r = _error_at(fields, rung, home.grid, unit)
    size, d = float(r.square().mean()), r - h
    if size <= ROUNDING**2:
        return Evidence(rung, None, None, None, None, None, None)
    by_cluster = torch.stack([r[there.clusters == c].mean(0) for c in sorted(set(there.clusters.tolist()))])
    n = len(by_cluster)
    share = float(by_cluster.mean(0).square().mean() / by_cluster.square().mean())
    truth = (there.truth / unit) if there.weights is None else (there.weights > 0) * there.truth / unit
    guess = there.prediction[0] / unit if there.weights is None else (there.weights > 0) * there.prediction[0] / unit
    unseen_truth = truth - project(truth, home.grid, how=how, weights=there.weights)
    unseen_guess = guess - project(guess, home.grid, how=how, weights=there.weights)
    energy = float(unseen_truth.square().mean())
    common = None
    if native is not None and rung in native.rungs:
        common = _cosine(r, _error_at(native, rung, home.grid, unit)) ** 2
    return Evidence(
        rung,
        fixed=max(0.0, (n * share - 1) / (n - 1)) if n > 1 else None,
        changed=float(d.square().mean()) / size,
        folded=_folded(d, unseen_truth, home.grid),
        common=common,
        written=float(unseen_guess.square().mean()) / energy if energy > ROUNDING**2 else None,
        matched=_cosine(unseen_guess, unseen_truth) if energy > ROUNDING**2 else None,
    )


def _error_at(fields: Fields, rung: int, band: Grid, unit: Tensor) -> Tensor:
    there = fields.rungs[rung]
    error = there.prediction[0] - there.truth
    if there.weights is not None:
        error = torch.where(there.weights > 0, error, 0.0)
    return restrict(error, band, how=fields.restriction, weights=there.weights) / unit


def _cosine(a: Tensor, b: Tensor) -> float:
    size = float((a.square().sum() * b.square().sum()).sqrt())
    return float((a * b).sum()) / size if size > 0 else 0.0


def _folded(d: Tensor, unseen: Tensor, band: Grid) -> float | None:
    """Σ_r γ²_r E_d,r / Σ_r E_d,r with the unseen waves at ρ₀'s own points; None where the points are not shared."""
    try:
        alias = restrict(unseen, band, how="stride")
    except GridError:
        return None
    if float(d.square().mean()) <= ROUNDING**2:
        return 0.0
    if band.kind == "latlon" or not all(band.periodic):
        return _cosine(d, alias) ** 2
    pair = cross_spectrum(d, alias, band).pooled()
    total = float(pair.a.energy.sum())
    return float((pair.coherence * pair.a.energy).sum()) / total if total > 0 else 0.0


def _dominant(verdict: Verdict, found: Evidence) -> tuple[CauseWord, str]:
    if found.changed is None:
        return "not told", "the error is zero to rounding"
    place = f"at {found.rung}"
    if verdict.word == "converging":
        return "information", "what the finer input holds lowers the error in the band the model knows"
    if found.fixed is not None and found.fixed > MOST:
        return "embedding", (
            f"{_percent(found.fixed)} of the error's energy {place} is one field, the same in every sample: it is tied "
            "to the position, as an embedding, a padding or a forcing known on the train rung's points only leaves it"
        )
    if found.changed > LITTLE and found.folded is not None and found.folded > MOST:
        return "aliasing", (
            f"{_percent(min(found.changed, 1.0))} of the error's energy {place} came with the finer grid, and "
            f"{_percent(found.folded)} of that is coherent with the finer waves folded onto the train rung's points: "
            "they are sampled without a low-pass"
        )
    if verdict.word == "no_headroom":
        if found.common is not None and found.common > MOST:
            return "noise", (
                f"a model trained there makes {_percent(found.common)} of the same error {place}: it is in what both "
                "are given, so a finer grid cannot lower it"
            )
        return "model", "a model trained there does no better: the error is the model's own on every rung"
    if found.changed <= LITTLE and found.written is not None and found.written < NOTHING:
        return "bandwidth", (
            f"its answer in the band is the same on every rung ({_percent(found.changed)} of the error's energy "
            f"{place} came with the finer grid) and nothing finer comes out: it keeps the train rung's waves only"
        )
    if found.changed <= LITTLE:
        return "model", (
            f"{_percent(1 - found.changed)} of the error's energy {place} is the error it has at home: the model's own"
        )
    return "not told", (
        f"the finer grid changed its answer in the band ({_percent(min(found.changed, 1.0))} of the error's energy "
        f"{place}); whether the grid or the information did takes the model: anchorbench diagnose --model, or doctor"
    )


def _largest(verdict: Verdict, found: Evidence, parts: Parts) -> tuple[CauseWord, str]:
    """Of a rise, what came with the finer grid: the model itself is the same on both."""
    told: dict[CauseWord, str] = {
        "model": "most of the error is the model's own, as it is at home",
        "grid": "the finer grid changes its answer to one and the same function: anchorbench doctor tells by what",
        "information": "what the finer input holds is answered wrongly in the band the model knows",
    }
    candidates = [word for word in told if verdict.word != "diverging" or word != "model"]
    largest = max(candidates, key=lambda word: parts[word])
    return largest, told[largest]


def _budget(found: Evidence, parts: Parts) -> str:
    total = sum(parts.values())
    shares = ", ".join(f"the {part} {_percent(parts[part] / total)}" for part in PARTS)
    return f"of the error's energy at {found.rung} {shares}".replace("-", "−")


def _unseen(verdict: Verdict, found: Evidence) -> str:
    if found.written is None or found.matched is None:
        return ""
    if found.written < NOTHING:
        return "in the finer band it writes nothing"
    return (
        f"in the finer band it writes {found.written:.3g} times the truth's energy, correlated with it by "
        f"{found.matched:.2f}"
    ).replace("-", "−")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
