import json
import math

import numpy as np
import pytest

from anchorbench.analysis import Cells, curve, mean_skill, slope_weights
from anchorbench.errors import AnchorbenchError


def cells(error, *, seeds=3, clusters=4, skill=None, sigma=1.0, spread=0.0, **given):
    """Cells whose pooled E_res and S are these, by rung; every (seed, cluster) alike but for `spread`."""
    rungs = tuple(error)
    tilt = np.ones((seeds, clusters, 1))
    if spread:
        half = np.resize([1 + spread, 1 - spread], clusters)
        tilt = np.ones((seeds, 1, 1)) * half[None, :, None]
    flat = np.ones((seeds, clusters, len(rungs)))
    energy = flat * (np.array(list(error.values())) * sigma) ** 2
    truth = flat * np.array([0.0 if skill is None or skill[r] is None else 4.0 for r in rungs])
    missing = truth * np.array([0.0 if skill is None or skill[r] is None else 1 - skill[r] for r in rungs])
    resolved = energy * tilt
    return Cells(rungs, sigma, resolved, missing, truth, resolved + missing, np.ones(1), **given)


def test_the_root_is_taken_last():
    # energies 1 and 49 over weights 1 and 1: √(50/2) = 5, where the mean of the roots would be 4
    one = np.array([1.0, 49.0]).reshape(1, 2, 1)
    found = curve(Cells((16,), 1.0, one, 0 * one, 0 * one, one, np.ones(1)))
    assert found.error == pytest.approx((5.0,))


def test_a_trajectory_with_more_valid_area_weighs_more():
    energy = np.array([1.0, 12.0]).reshape(1, 2, 1)
    weight = np.array([1.0, 3.0]).reshape(1, 2, 1)  # mean squares 1 and 4, pooled 13/4
    found = curve(Cells((16,), 1.0, energy, 0 * energy, 0 * energy, energy, weight))
    assert found.error == pytest.approx((math.sqrt(13 / 4),))


def test_errors_are_in_units_of_sigma():
    assert curve(cells({16: 0.2, 32: 0.1}, sigma=7.0)).error == pytest.approx((0.2, 0.1))


def test_skill_is_null_where_the_truth_has_nothing_unseen():
    found = curve(cells({16: 0.2, 32: 0.2}, skill={16: None, 32: 0.75}))
    assert found.skill == (None, pytest.approx(0.75))
    assert found.intervals["skill"][0] is None


def test_the_truth_has_a_skill_of_one_without_doubt():
    skill, found = mean_skill(cells({16: 0.2, 32: 0.2}, skill={16: None, 32: 1.0}), (32,))
    assert (skill, found.low, found.high) == (1.0, 1.0, 1.0)


def test_each_finer_rung_counts_alike_in_the_mean_skill():
    skill, _ = mean_skill(cells({16: 1.0, 32: 1.0, 64: 1.0}, skill={16: None, 32: 0.5, 64: -1.5}), (32, 64))
    assert skill == pytest.approx(-0.5)


def test_the_papers_ratio_has_both_denominators_and_is_one_at_home():
    own, baseline = cells({16: 0.2, 32: 0.3}), cells({16: 0.1, 32: 0.4})
    found = curve(own, train_rung=16, baseline=baseline)
    assert found.ratio_own == pytest.approx((1.0, 1.5))
    assert found.ratio_baseline == pytest.approx((2.0, 3.0))


def test_without_a_denominator_there_is_no_ratio():
    found = curve(cells({16: 0.2, 32: 0.3}))
    assert found.ratio_own == found.ratio_baseline == (None, None)


def test_the_interval_of_an_error_lies_around_it_and_above_zero():
    found = curve(cells({16: 0.2}, spread=0.9)).intervals["error"][0]
    assert 0 < found.low < 0.2 < found.high


def test_an_error_of_zero_has_no_interval():
    found = curve(cells({16: 0.0}))
    assert (found.error, found.intervals["error"]) == ((0.0,), (None,))


def test_one_seed_says_given_these_seeds_and_one_trajectory_says_no_interval():
    assert "given these seeds" in curve(cells({16: 0.2}, seeds=1)).notes[0]
    alone = curve(cells({16: 0.2}, clusters=1))
    assert alone.intervals["error"] == (None,)
    assert "no interval" in alone.notes[0]


def test_a_baseline_on_other_trajectories_is_refused():
    with pytest.raises(AnchorbenchError, match="same trajectories"):
        curve(cells({16: 0.2}), train_rung=16, baseline=cells({16: 0.2}, clusters=5))


def test_a_curve_is_json():
    found = json.loads(json.dumps(curve(cells({16: 0.2, 32: 0.3}, skill={16: None, 32: 1.0}), train_rung=16).to_dict()))
    assert found["rungs"] == [16, 32]
    assert found["skill"] == [None, 1.0]
    assert found["ratio"]["own"][0] == 1.0


@pytest.mark.parametrize("p", [-2.0, 0.0, 0.4])
def test_a_power_law_has_its_own_exponent_as_slope(p):
    rungs = (16, 24, 64, 128)
    assert sum(a * math.log(r**p) for r, a in slope_weights(rungs).items()) == pytest.approx(p)
