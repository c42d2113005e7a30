"""Differences of two methods on the same trajectories, and Holm's adjustment, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorbench.analysis import Cells, compare, holm, paired
from anchorbench.errors import AnchorbenchError

RUNGS = (16, 32, 64)


def cells(error, **words) -> Cells:
    """error: E_res by (seed, cluster, rung), weight 1."""
    q = np.asarray(error, float) ** 2
    return Cells(RUNGS, 1.0, q, q, q, q, np.ones(1), **words)


def run(factor=1.0, *, seeds=3, clusters=8, slope=0.0, wobble=0.0) -> Cells:
    """E = factor · t_c · (ρ/16)^slope · (1 ± wobble), t_c what makes a trajectory hard, alike for every method."""
    hard = np.linspace(0.5, 2.0, clusters)[None, :, None]
    noise = 1 + wobble * np.sin(np.arange(seeds * clusters * 3, dtype=float)).reshape(seeds, clusters, 3)
    return cells(factor * hard * (np.array(RUNGS) / 16) ** slope * noise)


def test_what_makes_a_trajectory_hard_for_both_leaves_the_difference():
    """Half the error on each trajectory alike: d = log ½ with no width, though trajectories differ by a factor 4."""
    told = paired(run(0.5), run(1.0), [("resolved", 64, 0.5)])
    assert told is not None
    found, p = told
    assert found.estimate == pytest.approx(math.log(0.5))
    assert found.half_width < 1e-12
    assert p < 1e-12


def test_a_run_does_not_differ_from_itself():
    same = run(wobble=0.1)
    told = paired(same, same, [("resolved", 64, 0.5)], shared_seeds=True)
    assert told is not None
    assert (told[0].estimate, told[1]) == (0.0, 1.0)


def test_which_of_the_two_comes_first_turns_the_sign_and_nothing_else():
    a, b = run(0.9, wobble=0.2), run(wobble=0.1, slope=-0.1)
    terms = [("resolved", 16, -0.3), ("resolved", 64, 0.3)]
    (there, p), (back, q) = paired(a, b, terms), paired(b, a, terms)
    assert (there.low, there.high, p) == pytest.approx((-back.high, -back.low, q))


def test_the_slopes_differ_by_what_they_were_given():
    slope, home, finest = compare({"a": run(slope=-0.5, wobble=0.01), "b": run(slope=0.2, wobble=0.0)}, train_rung=16)
    assert (slope.what, slope.rungs) == ("slope", RUNGS)
    assert slope.difference.estimate == pytest.approx(-0.7, abs=0.01)
    assert (slope.word, slope.change) == ("lower", None)
    assert home.change == pytest.approx(0.0, abs=0.01)
    assert finest.change == pytest.approx(4**-0.7 - 1, abs=0.01)  # (64/16)^(−0.5 − 0.2)


def test_the_slope_of_a_pair_is_over_the_rungs_that_neither_saw():
    named = {"a": run(slope=-0.5), "b": run(wobble=0.1)}
    assert compare(named, train_rung=16, seen={"b": [16, 32]})[0].rungs == (16, 64)
    assert [d.what for d in compare(named, train_rung=16, seen={"a": [32, 64]})] == ["error", "error"]
    assert [d.what for d in compare(named, train_rung=16, fixed_input=True)] == ["error", "error"]


def test_below_three_seeds_a_difference_is_of_these_seeds():
    finest = compare({"a": run(0.5, seeds=2, wobble=0.01), "b": run(seeds=2)}, train_rung=16)[-1]
    assert finest.word == "lower, of these seeds"
    assert finest.to_dict()["difference"]["given_seeds"] is True


def test_what_is_zero_to_rounding_and_what_has_one_trajectory_is_left_out():
    assert compare({"oracle": run(0.0), "a": run()}, train_rung=16) == ()
    assert compare({"a": run(clusters=1), "b": run(clusters=1)}, train_rung=16) == ()


def test_other_trajectories_and_seeds_that_cannot_be_shared_are_refused():
    other = cells(np.ones((3, 8, 3)), clusters=tuple("abcdefgh"))
    with pytest.raises(AnchorbenchError, match="same trajectories"):
        compare({"a": run(), "b": other}, train_rung=16)
    with pytest.raises(AnchorbenchError, match="3 and 5 seeds"):
        paired(run(), run(seeds=5), [("resolved", 16, 0.5)], shared_seeds=True)


def test_holm_by_hand():
    # 3 · 0.01; then 2 · 0.03; then 1 · 0.04, but no smaller than the one before
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.6, 0.5]) == (1.0, 1.0)
    assert holm([]) == ()
    with pytest.raises(AnchorbenchError, match="between 0 and 1"):
        holm([0.2, math.nan])


@settings(max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.randoms())
def test_holm_lies_between_p_and_bonferroni_keeps_the_order_and_knows_no_places(p, random):
    adjusted = holm(p)
    for value, after in zip(p, adjusted, strict=True):
        assert value <= after <= min(1.0, len(p) * value) or after == max(adjusted)
    assert sorted(adjusted) == [after for _, after in sorted(zip(p, adjusted, strict=True))]
    places = list(range(len(p)))
    random.shuffle(places)
    assert holm([p[i] for i in places]) == tuple(adjusted[i] for i in places)
