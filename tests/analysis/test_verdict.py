import json
import math

import numpy as np
import pytest

from anchorbench.analysis import Cells, Interval, explain, first_word, judge, second_word
from anchorbench.errors import AnchorbenchError

RUNGS = (16, 32, 64, 128)


def run(error, *, seeds=3, clusters=8, skill=0.0, jitter=0.01, seed=0, names=()):
    """A run with these E_res by rung, S on rungs above the first, and a little noise in every cell.

    The noise leaves the pooled sums as they are: each rung's energies are divided by their mean.
    """
    rng = np.random.default_rng(seed)
    rungs = tuple(error)
    noise = np.exp(jitter * rng.standard_normal((seeds, clusters, len(rungs))))
    q = np.array(list(error.values())) ** 2 * noise / noise.mean((0, 1))
    truth = np.ones_like(q) * np.array([0.0] + [0.25] * (len(rungs) - 1))
    missing = truth * (1 - skill) * noise / noise.mean((0, 1))
    return Cells(rungs, 1.0, q, missing, truth, q + missing, np.ones(1), names)


def power(p, start=0.2, rungs=RUNGS):
    return {r: start * (r / rungs[0]) ** p for r in rungs}


def natives(p, **given):
    return {r: run({r: e}, seed=r, **given) for r, e in power(p).items()}


# ---- the first word


@pytest.mark.parametrize(
    ("p", "word"), [(-1.5, "converging"), (-0.3, "converging"), (0.3, "diverging"), (0.0, "anchored")]
)
def test_a_power_law_gets_its_word_and_its_exponent(p, word):
    found = judge(run(power(p)), train_rung=16)
    assert found.word == word
    assert found.slope_estimate == pytest.approx(p)
    assert [s for *_, s in found.local_slopes] == pytest.approx([p] * 3)
    assert found.used == RUNGS


@pytest.mark.parametrize(
    ("low", "high", "local", "word"),
    [
        (-0.5, -0.101, [-0.3], "converging"),
        (-0.5, -0.099, [-0.3], "undecided"),
        (-0.5, -0.101, [-0.6, 0.11], "undecided"),
        (-0.5, -0.101, [-0.6, 0.09], "converging"),
        (0.101, 0.2, [0.15], "diverging"),
        (0.099, 0.2, [0.15], "undecided"),
        (-0.099, 0.099, [0.0], "anchored"),
        (-0.101, 0.05, [0.0], "undecided"),
        (-0.3, 0.3, [0.0], "undecided"),
    ],
)
def test_the_word_is_what_the_whole_interval_allows(low, high, local, word):
    assert first_word(Interval((low + high) / 2, low, high, 0.95, 9.0, False), local, delta=0.1)[0] == word


def test_undecided_says_the_smallest_slope_it_could_have_told():
    found = judge(run(power(0.0), jitter=2.0), train_rung=16)
    assert found.word == "undecided"
    assert found.smallest_slope == pytest.approx(0.1 + found.slope.half_width)
    assert not found.can_say_anchored
    assert f"{found.smallest_slope:.2f}" in found.notes[0]


def test_a_curve_without_any_spread_and_slope_is_anchored():
    found = judge(run(power(0.0), jitter=0.0), train_rung=16)
    assert found.word == "anchored"
    assert (found.slope.low, found.slope.high) == pytest.approx((0.0, 0.0), abs=1e-12)


def test_rungs_below_the_train_rung_say_nothing():
    found = judge(run({8: 5.0, **power(0.0)}), train_rung=16)
    assert found.used == RUNGS
    assert found.word == "anchored"


def test_rungs_that_training_saw_leave_the_fit_and_say_so():
    # 32 and 64 were trained on and are good; what was never seen is as bad as ρ₀
    found = judge(run({16: 0.2, 32: 0.05, 64: 0.05, 128: 0.2}), train_rung=16, seen={16, 32, 64})
    assert found.used == (16, 128)
    assert found.word == "anchored"
    assert found.left_out == {32: "seen in training", 64: "seen in training"}


def test_points_within_three_times_the_truths_own_error_leave_the_fit():
    floor = {16: 0.001, 32: 0.001, 64: 0.001, 128: 0.011}
    found = judge(run({16: 0.2, 32: 0.1, 64: 0.05, 128: 0.03}), train_rung=16, floor=floor)
    assert found.used == (16, 32, 64)  # 0.03 < 3 × 0.011
    assert "0.011" in found.left_out[128]
    assert found.slope_estimate == pytest.approx(-1.0)


def test_one_usable_rung_is_undecided_with_the_reason():
    found = judge(run({16: 0.2, 32: 0.1}), train_rung=16, seen=[32])
    assert found.word == "undecided"
    assert found.slope is None
    assert found.notes[0] == "training saw every finer rung"


def test_one_trajectory_is_undecided_with_the_reason():
    found = judge(run(power(-2.0), clusters=1), train_rung=16)
    assert found.word == "undecided"
    assert "two trajectories" in found.notes[0]
    assert found.slope_estimate == pytest.approx(-2.0)


def test_an_error_of_zero_gets_no_word():
    found = judge(run(dict.fromkeys(RUNGS, 1e-9)), train_rung=16)
    assert found.word is None
    assert "zero to rounding" in found.notes[0]


def test_two_seeds_are_given_seeds_and_said_so():
    found = judge(run(power(-1.0), seeds=2), train_rung=16)
    assert found.slope.given_seeds
    assert any("given these seeds" in note for note in found.notes)


# ---- headroom


def test_anchored_with_native_falling_has_headroom():
    found = judge(run(power(0.0)), train_rung=16, native=natives(-1.0))
    assert (found.word, found.headroom.word) == ("anchored", "shown")


def test_anchored_where_native_is_anchored_too_is_no_headroom():
    found = judge(run(power(0.0)), train_rung=16, native=natives(0.0))
    assert (found.word, found.headroom.word) == ("no_headroom", "absent")


@pytest.mark.parametrize("native", [None, {}, {32: None}, {32: run({32: 0.05})}, {16: run({16: 0.2})}])
def test_anchored_where_nobody_showed_headroom_says_so(native):
    found = judge(run(power(0.0)), train_rung=16, native=native)
    assert (found.word, found.headroom.word) == ("anchored", "not shown")
    assert "headroom not shown" in found.notes


def test_headroom_that_cannot_be_told_is_not_shown():
    found = judge(run(power(0.0)), train_rung=16, native=natives(-0.1, jitter=0.5))
    assert found.headroom.word == "not shown"
    assert "holds" in found.headroom.reason


def test_a_native_of_one_seed_is_enough_given_its_seed():
    found = judge(run(power(0.0)), train_rung=16, native=natives(-1.0, seeds=1))
    assert found.headroom.word == "shown"
    assert found.headroom.slope.given_seeds


@pytest.mark.parametrize("p", [-1.0, 1.0])
def test_headroom_changes_no_other_word(p):
    alone, beside = judge(run(power(p)), train_rung=16), judge(run(power(p)), train_rung=16, native=natives(0.0))
    assert alone.word == beside.word


# ---- the second word


@pytest.mark.parametrize(("skill", "word"), [(0.4, "adds"), (-2.0, "harms"), (0.0, "empty"), (1.0, "adds")])
def test_the_second_word_follows_the_skill(skill, word):
    assert judge(run(power(0.0), skill=skill), train_rung=16).second_word == word


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.1, 0.2, "adds"), (-0.2, -0.1, "harms"), (-0.1, 0.1, "empty"), (0.0, 0.0, "empty"), (1e-6, 3e-6, "empty")],
)
def test_skill_within_rounding_is_empty(low, high, word):
    assert second_word(Interval((low + high) / 2, low, high, 0.95, 9.0, False)) == word


def test_skill_on_rungs_seen_in_training_earns_no_word():
    found = judge(run(power(0.0), skill=0.9), train_rung=16, seen=RUNGS)
    assert found.second_word is None
    assert any("no second word" in note for note in found.notes)


# ---- the anchoring index


def test_the_index_is_one_at_the_coarse_prediction_and_zero_at_native():
    error = {16: 0.2, 32: 0.2, 64: 0.1, 128: 0.25}
    native = {r: run({r: 0.1}, seed=r) for r in (32, 64, 128)}
    found = judge(run(error), train_rung=16, native=native)
    # E_cu = 0.2, E_native = 0.1: (0.2 − 0.1)/0.1, (0.1 − 0.1)/0.1, (0.25 − 0.1)/0.1
    assert found.anchoring_index == pytest.approx({32: 1.0, 64: 0.0, 128: 1.5})
    assert found.native_change == pytest.approx({32: -0.5, 64: 0.0, 128: -0.6})


def test_the_index_is_null_with_its_reason():
    native = {32: run({32: 0.2}, jitter=0.3), 64: run({64: 0.4})}
    found = judge(run(power(0.0)), train_rung=16, native=native)
    assert found.anchoring_index == {32: None, 64: None, 128: None}
    assert "cannot be told" in found.anchoring_reasons[32]
    assert "backwards" in found.anchoring_reasons[64]
    assert "no model trained" in found.anchoring_reasons[128]


# ---- what a person may meet


def test_native_on_other_trajectories_is_refused():
    with pytest.raises(AnchorbenchError, match="same trajectories"):
        judge(run(power(0.0)), train_rung=16, native={32: run({32: 0.1}, names="abcdefgh")})


def test_a_train_rung_that_was_not_scored_is_refused():
    with pytest.raises(AnchorbenchError, match="rung 24 is not scored"):
        judge(run(power(0.0)), train_rung=24)


@pytest.mark.parametrize("wrong", [{"delta": 0.0}, {"level": 1.0}])
def test_a_bound_or_level_without_sense_is_refused(wrong):
    with pytest.raises(AnchorbenchError, match="delta is positive"):
        judge(run(power(0.0)), train_rung=16, **wrong)


def test_a_verdict_is_json():
    found = judge(run(power(0.0), skill=1.0), train_rung=16, seen=[128], native=natives(-1.0, seeds=1))
    d = json.loads(json.dumps(found.to_dict()))
    assert d["verdict"] == "anchored"
    assert d["headroom"]["shown"] is True
    assert d["left_out"] == {"128": "seen in training"}
    assert d["interval"][0] < d["slope"] < d["interval"][1]
    assert math.isfinite(d["df"])


# ---- where there is no slope


def test_a_train_rung_that_left_the_fit_leaves_no_word_to_say():
    # r016 has 0.2 < 3 · 0.1; the finer three still fall, but the slope starts at r016.
    found = judge(run(power(-0.3)), train_rung=16, floor={16: 0.1})
    assert found.word == "undecided"
    assert found.slope is None
    assert found.used == (32, 64, 128)
    assert "the train rung left the fit (within 3x of the truth's own error 0.1)" in found.notes[0]


def test_a_mix_of_every_rung_is_undecided_because_training_saw_them():
    found = judge(run(power(-0.3)), train_rung=16, seen=(16, 32, 64, 128))
    assert (found.word, found.seen) == ("undecided", (16, 32, 64, 128))
    assert explain(found, name="multires").endswith("cannot be followed (undecided; training saw every finer rung)")


def test_headroom_from_one_seed_says_that_it_is_given_these_seeds():
    # The baseline at 16 has three seeds, native at 32 one: the fewest count.
    native = {16: run({16: 0.2}), 32: run({32: 0.05}, seeds=1, seed=32)}
    found = judge(run(power(0.0)), train_rung=16, native=native).headroom
    assert (found.word, found.to_dict()["interval_kind"]) == ("shown", "given these seeds")
    three = judge(run(power(0.0)), train_rung=16, native=natives(-1.0)).headroom
    assert three.to_dict()["interval_kind"] == "seeds and trajectories"
