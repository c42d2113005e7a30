"""`judge`: from the sums of one run to the two words.

slope = Σ a_ρ log E_res(ρ), least squares on log N over ρ₀ and the finer rungs that training has not seen:

    converging    the whole interval below −δ, and no local slope between neighbours above +δ
    diverging     the whole interval above +δ
    anchored      the whole interval inside ±δ: equivalence, not absence of evidence
    no_headroom   anchored, and a model trained on the finer rungs does not fall beyond δ either
    undecided     anything else

and from S on those finer rungs: adds (its interval above 0), empty (holds 0), harms (below 0).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from anchorbench.analysis.cells import ROUNDING, Cells
from anchorbench.analysis.curve import mean_skill, notes_on, require_paired, slope_weights
from anchorbench.analysis.intervals import ONE_CLUSTER, Interval, interval
from anchorbench.errors import AnchorbenchError

Word = Literal["converging", "diverging", "anchored", "no_headroom", "undecided"]
SecondWord = Literal["adds", "empty", "harms"]
HeadroomWord = Literal["shown", "absent", "not shown"]

NEAR_FLOOR = 3.0
"""Points within this factor of the truth's own error leave the fit."""

SEEN = "seen in training"

FIXED_INPUT = "the input is fixed: a finer output holds no more information, so there is no slope to judge"

NO_SKILL = 1e-4
"""|S| below it is rounding: float32 noise of the resolved field, set against a band that holds far less energy."""


@dataclass(frozen=True)
class Headroom:
    """Does a model trained on the finer rungs do better there?  slope: of log E_native on log N, from ρ₀ up.

    `shown`: the whole interval below −δ.  `absent`: none of it.  `not shown`: in between, or nobody tried.
    """

    word: HeadroomWord
    slope: Interval | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        shown = {"shown": True, "absent": False}.get(self.word)
        return {
            "shown": shown,
            "slope": self.slope and self.slope.to_dict(),
            "interval_kind": self.slope and _kind(self.slope),
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Verdict:
    """Both words and what they rest on.

    word: None where the error is zero to rounding.  slope: estimate and interval; None where there is none.
    smallest_slope: δ + half the interval's width: a slope nearer to zero could not have been told from ±δ.
    can_say_anchored: half the width is below δ, so that `anchored` was within reach.
    local_slopes: (ρ, ρ', slope) between neighbours of the fit.  used: rungs in the fit; left_out: the others, and why.
    seen: rungs that training saw.
    change: E_res(ρ)/E_res(ρ₀) − 1; native_change: E_native(ρ)/E_res(ρ) − 1; by rung.
    anchoring_index: A(ρ) by rung above ρ₀; None with its reason in anchoring_reasons.
    """

    word: Word | None
    second_word: SecondWord | None
    train_rung: int
    delta: float
    slope: Interval | None = None
    slope_estimate: float | None = None
    smallest_slope: float | None = None
    can_say_anchored: bool = False
    local_slopes: tuple[tuple[int, int, float], ...] = ()
    used: tuple[int, ...] = ()
    left_out: Mapping[int, str] = field(default_factory=dict)
    seen: tuple[int, ...] = ()
    headroom: Headroom = field(default_factory=lambda: Headroom("not shown"))
    skill: float | None = None
    skill_interval: Interval | None = None
    change: Mapping[int, float] = field(default_factory=dict)
    native_change: Mapping[int, float] = field(default_factory=dict)
    anchoring_index: Mapping[int, float | None] = field(default_factory=dict)
    anchoring_reasons: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON's types only; rungs as keys are strings."""
        return {
            "verdict": self.word,
            "second_word": self.second_word,
            "train_rung": self.train_rung,
            "delta": self.delta,
            "slope": self.slope_estimate,
            "interval": [self.slope.low, self.slope.high] if self.slope else None,
            "level": self.slope.level if self.slope else None,
            "df": self.slope.df if self.slope else None,
            "interval_kind": self.slope and _kind(self.slope),
            "smallest_slope": self.smallest_slope,
            "can_say_anchored": self.can_say_anchored,
            "local_slopes": [{"from": a, "to": b, "slope": s} for a, b, s in self.local_slopes],
            "used": list(self.used),
            "left_out": {str(r): why for r, why in self.left_out.items()},
            "seen": list(self.seen),
            "headroom": self.headroom.to_dict(),
            "skill": self.skill,
            "skill_interval": [self.skill_interval.low, self.skill_interval.high] if self.skill_interval else None,
            "change": {str(r): v for r, v in self.change.items()},
            "native_change": {str(r): v for r, v in self.native_change.items()},
            "anchoring_index": {str(r): v for r, v in self.anchoring_index.items()},
            "anchoring_reasons": {str(r): why for r, why in self.anchoring_reasons.items()},
            "notes": list(self.notes),
        }


def judge(
    cells: Cells,
    *,
    train_rung: int,
    seen: Collection[int] = (),
    native: Mapping[int, Cells | None] | None = None,
    floor: Mapping[int, float] | None = None,
    fixed_input: bool = False,
    delta: float = 0.1,
    level: float = 0.95,
) -> Verdict:
    """The two words for one run; see the module's equations, and docs/protocol.md for why.

    fixed_input: only the output's grid gets finer, as in super-resolution.  A finer output then holds no more
    information, so nothing is said of a slope: the first word is None.

    seen: rungs that training saw.  native: rung -> the cells of the model trained there (at ρ₀: the baseline), scored
    on the same trajectories.  floor: rung -> the truth's own error, in units of σ like E_res.
    Raises AnchorbenchError where ρ₀ is not scored, δ or level make no sense, or native's trajectories are others.
    """
    if not (delta > 0 and 0 < level < 1):
        raise AnchorbenchError(f"delta is positive and level between 0 and 1, not {delta} and {level}")
    trained_there = {r: c for r, c in (native or {}).items() if c is not None}
    require_paired(cells, *trained_there.values())
    error = {r: cells.rms("resolved", r) for r in cells.rungs[cells.index(train_rung) :]}
    start = error[train_rung]
    finer = [r for r in error if r > train_rung]
    unseen = tuple(r for r in finer if r not in seen)
    used, left_out = points_of_fit(error, train_rung, seen, floor or {})
    skill, skill_interval, second, notes = _second(cells, unseen, level)
    native_error = {r: c.rms("resolved", r) for r, c in trained_there.items() if r in error}
    index, reasons = _anchoring(cells, train_rung, finer, trained_there, level)
    common: dict[str, Any] = {
        "train_rung": train_rung,
        "delta": delta,
        "second_word": second,
        "skill": skill,
        "skill_interval": skill_interval,
        "used": used,
        "left_out": left_out,
        "seen": tuple(sorted(seen)),
        "change": {r: error[r] / start - 1 for r in unseen} if start > 0 else {},
        "native_change": {r: e / error[r] - 1 for r, e in native_error.items() if r in unseen and error[r] > 0},
        "anchoring_index": index,
        "anchoring_reasons": reasons,
        "headroom": _headroom(trained_there, used, train_rung, delta, level),
    }
    if fixed_input:
        return Verdict(word=None, notes=(FIXED_INPUT, *notes), **common)
    # Before the floor is asked: an oracle's zero lies below any floor, and is no lack of rungs.
    if min(error.values()) <= ROUNDING:
        zero = "the resolved error is zero to rounding: there is no slope to judge"
        return Verdict(word=None, notes=(zero, *notes), **common)
    if (lacking := _no_slope(train_rung, finer, used, left_out)) is not None:
        return Verdict(word="undecided", notes=(lacking, *notes), **common)
    a = slope_weights(used)
    estimate = sum(a[r] * math.log(error[r]) for r in used)
    slope = interval(estimate, [cells.part([("resolved", r, a[r] / 2) for r in used])], level=level)
    local = tuple((lo, hi, math.log(error[hi] / error[lo]) / math.log(hi / lo)) for lo, hi in pairwise(used))
    common |= {"slope_estimate": estimate, "local_slopes": local}
    if slope is None:
        return Verdict(word="undecided", notes=tuple(dict.fromkeys((ONE_CLUSTER, *notes))), **common)
    word, why = first_word(slope, [s for *_, s in local], delta=delta)
    word = with_headroom(word, common["headroom"].word)
    if word == "anchored" and common["headroom"].word == "not shown":
        why = "headroom not shown"
    return Verdict(
        word=word,
        slope=slope,
        smallest_slope=delta + slope.half_width,
        can_say_anchored=slope.half_width < delta,
        notes=tuple(dict.fromkeys(n for n in (why, *notes_on(slope), *notes) if n)),
        **common,
    )


def first_word(slope: Interval, local_slopes: Collection[float], *, delta: float) -> tuple[Word, str | None]:
    """The word that the slope's interval allows, headroom aside, and why where it is `undecided`."""
    if slope.high < -delta:
        if max(local_slopes) > delta:
            return "undecided", f"it falls overall, but between two neighbours it rises: {max(local_slopes):+.2f}"
        return "converging", None
    if slope.low > delta:
        return "diverging", None
    if -delta < slope.low and slope.high < delta:
        return "anchored", None
    return "undecided", (
        f"the interval [{slope.low:.2f}, {slope.high:.2f}] crosses a bound of ±{delta:g}; "
        f"the smallest slope that this data could have told is {delta + slope.half_width:.2f}"
    )


def with_headroom(word: Word, headroom: HeadroomWord) -> Word:
    """`anchored` says nothing of a model where nothing could be gained: then it is `no_headroom`."""
    return "no_headroom" if word == "anchored" and headroom == "absent" else word


def headroom_word(native: Interval | None, *, delta: float) -> HeadroomWord:
    """Of the slope of the models trained on the finer rungs; None where nobody tried."""
    if native is None:
        return "not shown"
    if native.high < -delta:
        return "shown"
    return "absent" if native.low >= -delta else "not shown"


def second_word(skill: Interval) -> SecondWord:
    """adds: the interval above 0; harms: below 0; empty: it holds 0.  Rounding does not count as skill."""
    if skill.low > NO_SKILL:
        return "adds"
    return "harms" if skill.high < -NO_SKILL else "empty"


def points_of_fit(
    error: Mapping[int, float], train_rung: int, seen: Collection[int], floor: Mapping[int, float]
) -> tuple[tuple[int, ...], dict[int, str]]:
    """Rungs of the slope, of those from ρ₀ up with their E_res, and why the others are not in it."""
    used, left_out = [], {}
    for rung, e in error.items():
        if rung > train_rung and rung in seen:
            left_out[rung] = SEEN
        elif e < NEAR_FLOOR * floor.get(rung, 0.0):
            left_out[rung] = f"within {NEAR_FLOOR:g}x of the truth's own error {floor[rung]:.2g}"
        else:
            used.append(rung)
    return tuple(used), left_out


def _no_slope(
    train_rung: int, finer: Collection[int], used: Collection[int], left_out: Mapping[int, str]
) -> str | None:
    """Why there is no slope over ρ₀ and the finer rungs; None where there is one."""
    if train_rung in left_out:
        return f"the train rung left the fit ({left_out[train_rung]}), and the slope starts there"
    if len(used) > 1:
        return None
    if not finer:
        return f"no rung finer than r{train_rung:03d} is scored"
    if all(left_out[rung] == SEEN for rung in finer):
        return "training saw every finer rung"
    return f"a slope takes two rungs; {len(used)} of those from r{train_rung:03d} up can be used"


def _kind(found: Interval) -> str:
    return "given these seeds" if found.given_seeds else "seeds and trajectories"


def _second(
    cells: Cells, rungs: tuple[int, ...], level: float
) -> tuple[float | None, Interval | None, SecondWord | None, tuple[str, ...]]:
    rungs = tuple(r for r in rungs if cells.skill(r) is not None)
    if not rungs:
        return None, None, None, ("no second word: no finer, unseen rung where the truth has energy of its own",)
    skill, found = mean_skill(cells, rungs, level=level)
    return skill, found, None if found is None else second_word(found), notes_on(found)


def _headroom(
    native: Mapping[int, Cells], used: tuple[int, ...], train_rung: int, delta: float, level: float
) -> Headroom:
    # Native points near the truth's floor stay: the floor can only hide a fall, and leaving them out would hide more.
    rungs = tuple(r for r in sorted(native) if r == train_rung or r in used)
    if len(rungs) < 2 or rungs[0] != train_rung:
        return Headroom("not shown", reason="it takes the baseline at ρ₀ and a native model on a finer rung of the fit")
    error = {r: native[r].rms("resolved", r) for r in rungs}
    if min(error.values()) <= ROUNDING:
        return Headroom("not shown", reason="a native model's resolved error is zero to rounding")
    a = slope_weights(rungs)
    estimate = sum(a[r] * math.log(e) for r, e in error.items())
    found = interval(estimate, [native[r].part([("resolved", r, a[r] / 2)]) for r in rungs if a[r]], level=level)
    if found is None:
        return Headroom("not shown", reason=ONE_CLUSTER)
    word = headroom_word(found, delta=delta)
    if word == "not shown":
        return Headroom(word, found, f"native's interval [{found.low:.2f}, {found.high:.2f}] holds −{delta:g}")
    return Headroom(word, found)


def _anchoring(
    cells: Cells, train_rung: int, finer: list[int], native: Mapping[int, Cells], level: float
) -> tuple[dict[int, float | None], dict[int, str]]:
    """A(ρ) = (E_res − E_native) / (E_cu − E_native), E_cu = E_res(ρ₀), where E_cu > E_native beyond doubt."""
    index: dict[int, float | None] = dict.fromkeys(finer)
    reasons: dict[int, str] = {}
    coarse = cells.rms("resolved", train_rung)
    for rung in finer:
        if rung not in native:
            reasons[rung] = "no model trained on this rung"
            continue
        there = native[rung].rms("resolved", rung)
        if min(coarse, there) <= ROUNDING:
            reasons[rung] = "an error is zero to rounding"
            continue
        parts = [cells.part([("resolved", train_rung, 0.5)]), native[rung].part([("resolved", rung, -0.5)])]
        # E_cu − E_native and log E_cu − log E_native have one sign; the log's interval is the better covered.
        gain = interval(math.log(coarse / there), parts, level=level)
        if gain is None:
            reasons[rung] = ONE_CLUSTER
        elif gain.low > 0:
            index[rung] = (cells.rms("resolved", rung) - there) / (coarse - there)
        elif gain.high < 0:
            reasons[rung] = "a model trained there is worse than the coarse prediction: the index would read backwards"
        else:
            reasons[rung] = "a model trained there cannot be told from the coarse prediction"
    return index, reasons
