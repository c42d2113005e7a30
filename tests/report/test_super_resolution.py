"""The scores by factor, against closed forms; the tables in and out of the trained range; the figure and its inset."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from anchorbench.report.factor_figure import error_vs_factor, liveliest
from anchorbench.report.figures import error_vs_res
from anchorbench.report.super_resolution import (
    factor_scores,
    factor_tables,
    factor_text,
    over_interpolation,
    spectral_divergence,
)

GROUP = {"id": "g", "task": "super_resolve", "input_rung": 8, "train_rung": 32, "rungs": [16, 32, 64]}


def curve(label, kind, totals, seen=(), **more):
    n = len(totals)
    return {
        "group": "g", "label": label, "method": label, "kind": kind, "rungs": [16, 32, 64], "total": totals,
        "seen_rungs": list(seen), "skill": [None, None, 0.1], "psnr": [30.0] * n, "ssim": [0.5] * n,
        "consistency": [0.01] * n, **more,
    }  # fmt: skip


MODEL = curve("hinote", "method", [0.1, 0.3, 0.6], seen=(8, 16, 32))
WAVES = curve("interpolate", "reference", [0.2, 0.3, 0.4])


def test_ten_times_the_power_in_every_ring_is_ten_decibels():
    truth = np.array([5.0, 1.0, 0.1, 0.01])
    assert spectral_divergence(10 * truth, truth) == pytest.approx(10.0)
    # Half of the rings right, half wrong by 10 dB: √(100/2).
    assert spectral_divergence(np.array([0, 10, 0.1]), np.array([0, 1, 0.1])) == pytest.approx(np.sqrt(50))


def test_the_mean_and_rings_that_the_truth_lacks_do_not_count():
    assert spectral_divergence(np.array([99.0, 1.0, 7.0, np.nan]), np.array([1.0, 1.0, 0.0, np.nan])) == 0.0
    assert spectral_divergence(np.zeros(3), np.zeros(3)) is None


def test_scores_of_images_are_of_the_variable_whose_error_stands_beside_them():
    one = {"image_psnr": [60.0, 10.0], "image_samples": [2.0, 2.0], "image_rfne": [1.0, 9.0], "image_max": [4.0, 9.0],
           "image_ssim": [3.0, 0.0], "image_windows": [4.0, 4.0], "given_misfit": [8.0, 0.0],
           "given_weight": [2.0, 2.0]}  # fmt: skip
    data = xr.Dataset({name: (("rung", "cluster", "channel"), [[values]]) for name, values in one.items()})
    data = data.assign(
        spectrum_prediction=(("rung", "k"), np.ones((1, 3))),
        spectrum_truth=(("rung", "k"), np.ones((1, 3))),
        rung=[16],
    )
    found = factor_scores(SimpleNamespace(runs=[SimpleNamespace(data=data)]), [16])
    assert found["psnr"] == [30.0]
    assert (found["rfne"], found["largest_error"], found["ssim"]) == ([0.5], [2.0], [0.75])
    assert found["consistency"] == [2.0]


def test_an_error_over_interpolations_is_the_ratio_on_the_same_rung():
    assert [over_interpolation(MODEL, [MODEL, WAVES], r) for r in (16, 32, 64)] == pytest.approx([0.5, 1.0, 1.5])
    assert over_interpolation(MODEL, [MODEL], 16) is None


def test_factors_trained_on_and_factors_beyond_stand_apart_and_the_winner_is_named():
    (_, within), (_, beyond) = factor_tables(GROUP, [MODEL, WAVES])
    assert [(row["label"], row["factor"]) for row in within] == [
        ("hinote", "2"), ("interpolate", "2"), ("hinote", "4"), ("interpolate", "4"),
    ]  # fmt: skip
    assert [(row["label"], row["factor"], row["over"]) for row in beyond] == [
        ("hinote", "8", "1.50 (interpolation wins)"), ("interpolate", "8", "1.00"),
    ]  # fmt: skip
    assert not any("wins" in row["over"] for row in within)


def test_other_tasks_have_no_such_tables():
    assert factor_tables({**GROUP, "input_rung": None}, [MODEL, WAVES]) == []


def test_a_factor_is_written_short():
    assert [factor_text(f) for f in (2.0, 37 / 8, 66 / 8, 126 / 8, 32.0)] == ["2", "4.6", "8.2", "15.8", "32"]


def test_the_figure_of_error_against_rung_is_by_factor_and_shades_what_was_trained():
    figure = error_vs_res({**GROUP, "display_name": "waves"}, [MODEL, WAVES])
    upper, middle, lower = figure.axes[:3]
    lines = {line.get_label(): line.get_ydata() for line in upper.get_lines()}
    np.testing.assert_allclose(lines["hinote"], [0.5, 1.0, 1.5])
    for ax in (upper, middle, lower):
        (span,) = (p for p in ax.patches if p.get_x() <= 8 < 31 < p.get_x() + p.get_width())
        assert span.get_x() + span.get_width() == 32
    assert error_vs_factor(GROUP, []).axes  # nothing scored draws an empty figure, not an error


def test_the_inset_shows_the_box_in_which_the_truth_varies_most():
    truth = np.zeros((16, 16))
    truth[8:12, 4:8] = np.tile([1.0, -1.0], (4, 2))
    assert liveliest(truth) == (0.5, 0.25)
