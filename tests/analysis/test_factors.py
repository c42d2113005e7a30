"""Ratios of scores on the same events, and the share of a mean's gain that another factor's mean loses."""

from __future__ import annotations

import numpy as np
import pytest

from anchorbench.analysis.factors import crps_by_cluster, ratio, squared_by_cluster, transfer
from anchorbench.analysis.score import Sums
from anchorbench.errors import AnchorbenchError


def test_a_ratio_that_holds_in_every_event_has_no_width():
    b = np.array([1.0, 5.0, 2.0])
    found = ratio(0.8 * b, b)
    assert found.value == pytest.approx(0.8)
    assert found.interval == pytest.approx((0.8, 0.8))


def test_the_interval_of_a_ratio_holds_the_truth_in_about_95_of_100_cases():
    # a = b x, E x = 0.9: over 2000 tables of 20 events the share that is covered has a deviation of 0.5 %.
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        b = rng.gamma(4.0, size=20)
        low, high = ratio(b * rng.gamma(9.0, 0.1, size=20), b).interval
        inside += low < 0.9 < high
    assert 0.92 < inside / 2000 < 0.98


def test_a_mean_that_serves_another_factor_as_its_own_does_loses_nothing_and_the_input_as_it_is_all():
    own, given = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 5.0])
    assert transfer(own, own, given).value == 0.0
    assert transfer(given, own, given).value == 1.0
    # Half way in every event: (1.5 + 3 + 4 − 6) / (11 − 6) = 1/2.
    assert transfer((own + given) / 2, own, given).value == pytest.approx(0.5)


def test_events_of_another_number_and_a_mean_without_gain_are_refused():
    with pytest.raises(AnchorbenchError, match="same events"):
        ratio(np.ones(3), np.ones(2))
    with pytest.raises(AnchorbenchError, match="nothing to divide"):
        transfer(np.ones(2), np.ones(2), np.ones(2))


def test_one_event_has_a_value_and_no_interval():
    assert ratio(np.array([1.0]), np.array([4.0])).interval is None


def test_scores_by_cluster_are_fair_crps_and_the_corrected_square():
    sums = Sums({"ensemble_absolute_error": np.array([[3.0]]), "ensemble_difference": np.array([[2.0]]),
                 "ensemble_mean_error": np.array([[9.0]]), "ensemble_variance_of_mean": np.array([[0.5]])})  # fmt: skip
    assert crps_by_cluster(sums).tolist() == [2.0]
    assert squared_by_cluster(sums).tolist() == [8.5]
