"""The table of one mean for all factors: closed forms, and a dash where there is no gain to lose."""

from __future__ import annotations

import pytest

from anchorbench.report.precipitation_tables import markdown, transfers


def held(pair, told):
    """A group with the mean alone of one pair, put to the test `factors`."""
    row = {"label": "m", "role": "mean only", "trained": True, "over": {}}
    return {"precipitation": {"pair": list(pair), "events": "e", "rows": [row], "factors": {"m": told}, "samplers": {}}}


def told(pair, squared, nearest):
    return {"pair": list(pair), "squared": squared, "nearest": nearest}


def document(nearest):
    """Trained for (10, 1) and for (10, 3); the task (10, 3) has errors 1 of its own mean and 2 of the other's."""
    here, there = (10, 1), (10, 3)
    ones, twos = [1.0, 1.0], [2.0, 2.0]
    return {
        "groups": [
            held(here, [told(here, ones, [4.0, 4.0]), told(there, twos, nearest)]),
            held(there, [told(there, ones, nearest), told(here, ones, [4.0, 4.0])]),
        ]
    }


def test_half_of_the_gain_is_lost_where_the_other_mean_stands_half_way_to_the_coarse_frame():
    found = {(one["trained"], one["asked"]): one for one in transfers(document([3.0, 3.0]))}
    lost = found[(10.0, 1.0), (10.0, 3.0)]
    assert lost["value"] == pytest.approx(0.5)
    assert lost["over"] == pytest.approx(2**0.5)
    assert found[(10.0, 3.0), (10.0, 1.0)]["value"] == pytest.approx(0.0)
    assert "| (10, 1) | (10, 3) | 1.41 | 0.50 | [0.50, 0.50] |" in markdown(document([3.0, 3.0]))


def test_a_mean_without_gain_has_no_share_to_lose_but_its_error_is_told():
    found = {(one["trained"], one["asked"]): one for one in transfers(document([1.0, 1.0]))}
    assert found[(10.0, 1.0), (10.0, 3.0)]["value"] is None
    text = markdown(document([1.0, 1.0]))
    assert "| (10, 1) | (10, 3) | 1.41 | – | – |" in text
    assert "Median τ 0.00 over 1 pairs" in text
