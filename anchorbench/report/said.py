"""A curve's scores and its verdict as a report document holds them: for our own runs, and for fields that were given.

Everything here is JSON's types, with None for what is not scored, not judged or not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from anchorbench.analysis import ROUNDING, Curve, Interval, Verdict, stability
from anchorbench.analysis.intervals import GIVEN_SEEDS

#: What each has by rung, with an interval.
SCORES = ("error", "unseen", "skill", "total")
#: What a curve of a document has under the name that it has in a verdict.
JUDGED = (
    "slope", "interval", "interval_kind", "level", "delta", "smallest_slope", "local_slopes", "verdict", "second_word",
    "used", "left_out",
)  # fmt: skip
NO_HEADROOM_KNOWN: Mapping[str, Any] = {
    "shown": None,
    "slope": None,
    "interval": None,
    "interval_kind": None,
    "text": "",
}


def scores_said(drawn: Curve) -> dict[str, list[Any]]:
    """Each of `SCORES` and `<name>_interval` by rung; float32's rounding is zero: an oracle's error is 0, not 1e-7."""
    out: dict[str, list[Any]] = {}
    for name in SCORES:
        values = getattr(drawn, name)
        out[name] = [0.0 if v is not None and abs(v) <= ROUNDING else v for v in values]
        out[f"{name}_interval"] = [
            None if i is None or i.high <= ROUNDING else [i.low, i.high] for i in drawn.intervals[name]
        ]
    return out


def verdict_said(verdict: Verdict, rungs: Sequence[int], *, has_seeds: bool = True) -> dict[str, Any]:
    """`JUDGED`, headroom, anchoring index by rung and stability under δ, as a curve of a document has them.

    has_seeds: False of what was not trained, whose interval is over trajectories alone.
    """
    verdict = verdict if has_seeds else without_seeds(verdict)
    said, headroom, held = verdict.to_dict(), verdict.headroom, stability(verdict)
    out = {name: said[name] for name in JUDGED}
    if not has_seeds and said["interval"]:
        out["interval_kind"] = "trajectories"
    return out | {
        "anchoring_index": [verdict.anchoring_index.get(rung) for rung in rungs],
        "anchoring_reason": [verdict.anchoring_reasons.get(rung) for rung in rungs],
        "headroom": {
            "shown": said["headroom"]["shown"],
            "slope": None if headroom.slope is None else headroom.slope.estimate,
            "interval": None if headroom.slope is None else [headroom.slope.low, headroom.slope.high],
            "interval_kind": said["headroom"]["interval_kind"],
            "text": headroom.reason or headroom.word,
        },
        "stability": None if held is None else held.to_dict(),
    }


def without_seeds(verdict: Verdict) -> Verdict:
    """The same without "given these seeds": a reference without training has none to be given."""

    def plain(found: Interval | None) -> Interval | None:
        return None if found is None else replace(found, given_seeds=False)

    return replace(
        verdict,
        slope=plain(verdict.slope),
        skill_interval=plain(verdict.skill_interval),
        notes=tuple(note for note in verdict.notes if note != GIVEN_SEEDS),
    )


def not_judged(n_rungs: int) -> dict[str, Any]:
    """What `verdict_said` gives, of a curve that has no verdict of its own."""
    empty = [None] * n_rungs
    return {
        **dict.fromkeys(JUDGED),
        "local_slopes": [],
        "anchoring_index": empty,
        "anchoring_reason": empty,
        "headroom": dict(NO_HEADROOM_KNOWN),
        "stability": None,
    }
