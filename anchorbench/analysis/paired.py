"""Paired differences between methods that were scored on the same trajectories, and what many comparisons cost.

    d = g_A − g_B,   g = Σ_ρ η_ρ log E_res(ρ):   η one at one rung, an error; η = a_ρ of least squares, the slope

Both saw the same clusters, so influences are subtracted cluster by cluster before they are squared: what makes a
trajectory hard for both leaves the interval.  Seeds of two trainings are taken as independent.  One seed draws the
same batches for both, so their errors may be alike: then p is too large, never too small.  `shared_seeds` subtracts
seed by seed, with half the degrees of freedom: near 5 % (5 to 8) in one comparison, but the far tail that an
adjustment looks at is not to be had from three seeds (any false difference in 3 to 20 % of tables, where independent
seeds leave 4 % at most), so a table does without.  p = 2 P(t_ν > |d| / √V).

Below three seeds p is about these weights, not about the methods: two trainings of one method then differ in 15 to
45 % of simulated cases, and the word says "of these seeds".

A table of m comparisons is read as a whole, so Holm's step-down adjusts its p: p̃_(i) = max_{j ≤ i} min(1, (m − j + 1)
p_(j)), which keeps the chance of any false difference at 5 % however the comparisons depend on each other.  The
intervals beside are each one's own, not adjusted.

Source: Holm, Scandinavian Journal of Statistics 6 (1979).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
from scipy.special import stdtr

from anchorbench.analysis.cells import ROUNDING, Cells
from anchorbench.analysis.curve import require_paired, slope_weights
from anchorbench.analysis.intervals import Interval, Part, interval, spread
from anchorbench.analysis.verdict import points_of_fit
from anchorbench.errors import AnchorbenchError

Word = Literal["lower", "higher", "lower, of these seeds", "higher, of these seeds", "not told apart"]
What = Literal["slope", "error"]
Terms = Sequence[tuple[str, int, float]]


@dataclass(frozen=True)
class Difference:
    """first − second, of slopes, or of log E_res on one rung.

    rungs: in the slope, or the one of the error.  difference: with its own interval.  p: of no difference at all;
    p_holm: adjusted for all comparisons of the table (p itself where it stands alone).
    """

    first: str
    second: str
    what: What
    rungs: tuple[int, ...]
    difference: Interval
    p: float
    p_holm: float

    @property
    def change(self) -> float | None:
        """E_first / E_second − 1; None of slopes."""
        return math.expm1(self.difference.estimate) if self.what == "error" else None

    @property
    def word(self) -> Word:
        """What can be said of the first after the adjustment; a lower slope falls faster."""
        if self.p_holm > 1 - self.difference.level:
            return "not told apart"
        if self.difference.given_seeds:
            return "lower, of these seeds" if self.difference.estimate < 0 else "higher, of these seeds"
        return "lower" if self.difference.estimate < 0 else "higher"

    def to_dict(self) -> dict[str, Any]:
        return {
            "first": self.first,
            "second": self.second,
            "what": self.what,
            "rungs": list(self.rungs),
            "difference": self.difference.to_dict(),
            "change": self.change,
            "p": self.p,
            "p_holm": self.p_holm,
            "word": self.word,
        }


def paired(
    first: Cells, second: Cells, terms: Terms, *, shared_seeds: bool = False, level: float = 0.95
) -> tuple[Interval, float] | None:
    """d = Σ η log(‖first‖ / ‖second‖) with its interval, and p; terms: (energy, rung, η), η of log energy.

    None where there are fewer than two clusters.  Raises AnchorbenchError where the trajectories differ, or
    `shared_seeds` is asked of runs with another number of seeds.
    """
    require_paired(first, second)
    if shared_seeds and first.n_seeds != second.n_seeds:
        raise AnchorbenchError(f"{first.n_seeds} and {second.n_seeds} seeds cannot be shared")
    estimate = sum(eta * (_log(first, name, rung) - _log(second, name, rung)) for name, rung, eta in terms)
    parts = [first.part(terms), second.part([(name, rung, -eta) for name, rung, eta in terms])]
    if shared_seeds:
        parts = [_joined(*parts)]
    found = interval(estimate, parts, level=level)
    if found is None:
        return None
    variance, df, _ = spread(parts)
    if not variance > 0:
        return found, float(estimate == 0)
    return found, 2 * float(stdtr(df, -abs(estimate) / np.sqrt(variance)))


def compare(
    named: Mapping[str, Cells],
    *,
    train_rung: int,
    seen: Mapping[str, Collection[int]] | None = None,
    floor: Mapping[int, float] | None = None,
    fixed_input: bool = False,
    level: float = 0.95,
) -> tuple[Difference, ...]:
    """Every pair of methods: slope, error on ρ₀, and error on the finest rung, adjusted over all of them.

    named: by the label shown, in the order of the table.  seen: the rungs that each one's training saw; a pair's slope
    is over the rungs that are in the fit of both.  floor and fixed_input: as in `judge`.  What is zero to rounding has
    no logarithm and is left out.
    Raises AnchorbenchError where ρ₀ is not scored or trajectories differ.
    """
    require_paired(*named.values())
    found = []
    for a, b in combinations(named, 2):
        first, second = named[a], named[b]
        both = [r for r in first.rungs if r in second.rungs and r >= train_rung]
        errors = {r: (first.rms("resolved", r), second.rms("resolved", r)) for r in both}
        fits = [
            points_of_fit({r: e[i] for r, e in errors.items()}, train_rung, (seen or {}).get(label, ()), floor or {})[0]
            for i, label in enumerate((a, b))
        ]
        shared = tuple(r for r in fits[0] if r in fits[1])
        asked: list[tuple[What, tuple[int, ...], dict[int, float]]] = []
        if len(shared) > 1 and shared[0] == train_rung and not fixed_input:
            asked.append(("slope", shared, slope_weights(shared)))
        asked += [("error", (r,), {r: 1.0}) for r in dict.fromkeys((train_rung, *both[-1:]))]
        for what, rungs, weights in asked:
            if min(min(errors[r]) for r in rungs) <= ROUNDING:
                continue
            told = paired(first, second, [("resolved", r, w / 2) for r, w in weights.items()], level=level)
            if told is not None:
                found.append(Difference(a, b, what, rungs, *told, told[1]))
    adjusted = holm([d.p for d in found])
    return tuple(replace(d, p_holm=p) for d, p in zip(found, adjusted, strict=True))


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """p̃_(i) = max_{j ≤ i} min(1, (m − j + 1) p_(j)), in the order given.  Raises AnchorbenchError outside [0, 1]."""
    if not all(0 <= value <= 1 for value in p):
        raise AnchorbenchError(f"p lies between 0 and 1: {list(p)}")
    out, highest = [0.0] * len(p), 0.0
    for place, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(p) - place) * p[i]))
        out[i] = highest
    return tuple(out)


def _log(cells: Cells, name: str, rung: int) -> float:
    return 2 * math.log(cells.rms(name, rung))


def _joined(a: Part, b: Part) -> Part:
    """One part of both: the seeds, like the clusters, are the same draws."""
    size = a.size + b.size
    share = a.size / size
    return Part(
        influence=a.influence + b.influence,
        seed_shares=share * a.seed_shares + (1 - share) * b.seed_shares,
        cluster_shares=share * a.cluster_shares + (1 - share) * b.cluster_shares,
        size=size,
        n_clusters=min(a.n_clusters, b.n_clusters),
    )
