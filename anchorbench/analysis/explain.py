"""The verdict in one plain sentence."""

from __future__ import annotations

from anchorbench.analysis.verdict import FIXED_INPUT, Verdict

SECOND = {
    "adds": "what it writes in the finer band is better than nothing",
    "empty": "it adds nothing in the finer band",
    "harms": "what it writes in the finer band is worse than nothing",
}


def explain(verdict: Verdict, *, name: str) -> str:
    """One sentence for both words, from the verdict's numbers; name: who is judged.

    "on grids 4x finer than it was trained on, frl's error in the band it knows stays within 3 % (anchored; a model
    trained there gets 41 % lower), and what it writes in the finer band is worse than nothing"

    A run that saw finer rungs is followed "on grids that training did not see, up to 4x the train rung".
    """
    rungs = [r for r in verdict.used if r > verdict.train_rung]
    shown = rungs or sorted(verdict.change)
    first = f"{_place(shown, verdict)}{name}'s error in the band it knows {_change(verdict, rungs)}"
    aside = "; ".join([_word(verdict), *_native(verdict, rungs), *_doubt(verdict)])
    second = SECOND.get(verdict.second_word or "")
    return f"{first} ({aside})" + (f", and {second}" if second else "")


def _place(shown: list[int], verdict: Verdict) -> str:
    if not shown:
        return ""
    times = _times(shown[-1], verdict)
    if any(rung > verdict.train_rung for rung in verdict.seen):
        return f"on grids that training did not see, up to {times} the train rung, "
    return f"on grids {times} finer than it was trained on, "


def _change(verdict: Verdict, rungs: list[int]) -> str:
    if FIXED_INPUT in verdict.notes:
        if not verdict.change:
            return "is known at the train rung only"
        return f"changes by {verdict.change[max(verdict.change)]:+.0%}".replace("%", " %")
    if verdict.word is None:
        return "is zero to rounding"
    if not rungs or verdict.train_rung not in verdict.used:
        return "cannot be followed"
    last = verdict.change[rungs[-1]]
    if verdict.word == "undecided":
        doubt = "but not steadily" if _uneven(verdict) else "which this data cannot call a trend or a standstill"
        return f"changes by {last:+.0%}, {doubt}".replace("%", " %")
    if verdict.word in ("anchored", "no_headroom"):
        return f"stays within {_percent(max(abs(verdict.change[r]) for r in rungs))}"
    return f"{'falls' if last < 0 else 'grows'} by {_percent(abs(last))}"


def _word(verdict: Verdict) -> str:
    if FIXED_INPUT in verdict.notes:
        return "no slope is judged where the input is fixed"
    none = f"no headroom: a model trained there does hardly better (within δ = {verdict.delta:g})"
    return {None: "no verdict", "no_headroom": none}.get(verdict.word, verdict.word or "")


def _uneven(verdict: Verdict) -> bool:
    """Undecided although the whole interval falls: it rises between two neighbours."""
    return verdict.slope is not None and verdict.slope.high < -verdict.delta


def _native(verdict: Verdict, rungs: list[int]) -> list[str]:
    there = [r for r in rungs if r in verdict.native_change]
    if not there or verdict.word in (None, "no_headroom"):
        return []
    change = verdict.native_change[there[-1]]
    where = "there" if there[-1] == rungs[-1] else f"at {_times(there[-1], verdict)}"
    if round(abs(change) * 100) == 0:
        return [f"a model trained {where} gets the same"]
    if change > 1:
        return [f"a model trained {where} gets {1 + change:.2g} times as much"]
    return [f"a model trained {where} gets {_percent(abs(change))} {'lower' if change < 0 else 'higher'}"]


def _doubt(verdict: Verdict) -> list[str]:
    said = []
    if verdict.word == "anchored" and verdict.headroom.word == "not shown":
        said.append("headroom not shown")
    if verdict.word == "undecided" and verdict.smallest_slope is not None and not _uneven(verdict):
        said.append(f"the smallest slope it could have told is {verdict.smallest_slope:.2f}")
    elif verdict.word == "undecided" and verdict.notes:
        said.append(verdict.notes[0])
    if verdict.slope is not None and verdict.slope.given_seeds:
        said.append("given these seeds")
    return said


def _times(rung: int, verdict: Verdict) -> str:
    return f"{rung / verdict.train_rung:.3g}x"


def _percent(x: float) -> str:
    return "1 %" if 0 < x < 0.005 else f"{x * 100:.0f} %"
