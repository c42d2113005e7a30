"""Does the first word hang on the choice of δ?

δ is a choice, the interval is not.  As δ grows the word can change only where ±δ passes an end of the slope's interval,
of the native's, or the largest local slope; between two such places it is one and the same, so a range of δ is covered
exactly, by a look between each two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from anchorbench.analysis.intervals import Interval
from anchorbench.analysis.verdict import Verdict, Word, first_word, headroom_word, with_headroom
from anchorbench.errors import AnchorbenchError


@dataclass(frozen=True, slots=True)
class Span:
    """From one δ to another (where the word changes) it is `word`."""

    low: float
    high: float
    word: Word


@dataclass(frozen=True, slots=True)
class Stability:
    """The word for every δ of a range.  word: at the verdict's own δ.  holds: the span around it."""

    delta: float
    word: Word
    spans: tuple[Span, ...]
    holds: tuple[float, float]

    @property
    def stable(self) -> bool:
        """One word over the whole range."""
        return len(self.spans) == 1

    @property
    def text(self) -> str:
        """The same word from δ = 0.05 to 0.2; or what it is elsewhere."""
        low, high = self.spans[0].low, self.spans[-1].high
        if self.stable:
            return f"{self.word} for every δ from {low:.2g} to {high:.2g}"
        others = (f"{s.word} from {s.low:.2g} to {s.high:.2g}" for s in self.spans if (s.low, s.high) != self.holds)
        return f"{self.word} for δ from {self.holds[0]:.2g} to {self.holds[1]:.2g}; {', '.join(others)}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "delta": self.delta,
            "word": self.word,
            "stable": self.stable,
            "holds": list(self.holds),
            "spans": [{"from": s.low, "to": s.high, "word": s.word} for s in self.spans],
            "text": self.text,
        }


def stability(verdict: Verdict, *, low: float | None = None, high: float | None = None) -> Stability | None:
    """The first word from δ/2 to 2δ, or over the range given; None where no interval bears a word.

    The points in the fit, the interval and its level are the verdict's.  Raises AnchorbenchError where the range does
    not hold the verdict's own δ.
    """
    delta = verdict.delta
    low, high = delta / 2 if low is None else low, 2 * delta if high is None else high
    if not 0 < low <= delta <= high or low == high:
        raise AnchorbenchError(f"the range of δ holds {delta:g} and lies above 0, unlike {low:g} to {high:g}")
    if verdict.slope is None or verdict.word is None:
        return None
    slope, native = verdict.slope, verdict.headroom.slope
    steepest = [s for *_, s in verdict.local_slopes]

    def word(at: float) -> Word:
        return with_headroom(first_word(slope, steepest, delta=at)[0], headroom_word(native, delta=at))

    places = sorted({low, high, *(e for e in _edges(slope, native, steepest) if low < e < high)})
    spans: list[Span] = []
    for start, end in pairwise(places):
        found = word((start + end) / 2)
        if spans and spans[-1].word == found:
            start = spans.pop().low
        spans.append(Span(start, end, found))
    # On an edge itself the words are those of the verdict, whichever side they are of.
    own = next((s for s in spans if s.low <= delta <= s.high and s.word == verdict.word), None)
    return Stability(delta, verdict.word, tuple(spans), (delta, delta) if own is None else (own.low, own.high))


def _edges(slope: Interval, native: Interval | None, steepest: Iterable[float]) -> set[float]:
    """Where ±δ passes one of the numbers that the words look at."""
    ends = [slope.low, slope.high, *steepest, *(() if native is None else (native.low, native.high))]
    return {abs(end) for end in ends}
