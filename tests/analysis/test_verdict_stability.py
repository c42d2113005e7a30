"""The first word over a range of δ."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorbench.analysis import Cells, Headroom, Interval, Verdict, judge, stability
from anchorbench.errors import AnchorbenchError

RUNGS = (16, 32, 64)


def between(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high, 0.95, 5.0, False)


def verdict(low, high, *, word, delta=0.1, local=(-0.2, -0.2), native=None) -> Verdict:
    slopes = tuple(zip(RUNGS[:-1], RUNGS[1:], local, strict=True))
    headroom = Headroom("not shown", native and between(*native))
    return Verdict(
        word, None, 16, delta, slope=between(low, high), slope_estimate=0.0, local_slopes=slopes, headroom=headroom
    )


def test_the_word_changes_where_delta_passes_an_end_of_the_interval():
    """[−0.3, −0.15]: below −δ up to 0.15, inside ±δ from 0.3 on, and in between it crosses −δ."""
    found = stability(verdict(-0.3, -0.15, word="converging"), low=0.05, high=0.4)
    assert [(s.low, s.high, s.word) for s in found.spans] == [
        (0.05, 0.15, "converging"), (0.15, 0.3, "undecided"), (0.3, 0.4, "anchored"),
    ]  # fmt: skip
    assert found.holds == (0.05, 0.15)
    assert not found.stable
    assert found.text == "converging for δ from 0.05 to 0.15; undecided from 0.15 to 0.3, anchored from 0.3 to 0.4"


def test_without_a_range_it_is_looked_at_from_half_to_twice_delta():
    found = stability(verdict(-0.5, -0.4, word="converging"))
    assert found.stable
    assert found.text == "converging for every δ from 0.05 to 0.2"
    assert found.to_dict()["spans"] == [{"from": 0.05, "to": 0.2, "word": "converging"}]


def test_headroom_and_local_slopes_are_asked_at_each_delta_too():
    """native in [−0.3, −0.12] falls beyond δ up to 0.12 and not at all from 0.3 on."""
    found = stability(verdict(-0.05, 0.04, word="anchored", native=(-0.3, -0.12)), high=0.5)
    assert [(s.word, s.low) for s in found.spans] == [("anchored", 0.05), ("no_headroom", 0.3)]
    rising = stability(verdict(-0.5, -0.4, word="undecided", local=(-1.0, 0.15)))
    assert [(s.word, s.high) for s in rising.spans] == [("undecided", 0.15), ("converging", 0.2)]


def test_where_no_interval_bears_a_word_there_is_nothing_to_be_stable():
    assert stability(Verdict(None, None, 16, 0.1)) is None
    assert stability(Verdict("undecided", None, 16, 0.1)) is None
    with pytest.raises(AnchorbenchError, match=r"holds 0\.1"):
        stability(verdict(-0.5, -0.4, word="converging"), low=0.2, high=0.3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(-0.4, 0.4), st.floats(-0.6, 0.1), st.floats(0.03, 0.3))
def test_the_word_at_any_delta_is_the_one_that_judge_gives_there(seed, slope, native_slope, at):
    rng = np.random.default_rng(seed)

    def cells(tilt: float) -> Cells:
        q = np.exp(0.2 * rng.standard_normal((3, 8, 3))) * (np.array(RUNGS) / 16) ** (2 * tilt)
        return Cells(RUNGS, 1.0, q, q, q, q, np.ones(1))

    run, there = cells(slope), cells(native_slope)
    words = {"train_rung": 16, "native": dict.fromkeys(RUNGS, there)}
    found = stability(judge(run, **words), low=0.02, high=0.4)
    assert found is not None
    span = next(s for s in found.spans if s.low <= at <= s.high)
    assert span.word == judge(run, delta=at, **words).word
