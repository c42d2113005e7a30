"""The anomaly correlation: closed forms on two cells, areas on the globe, and sums that merge."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from anchorbench.analysis import ANOMALY_NAMES, Sums, anomalies, correlation
from anchorbench.errors import AnchorbenchError, GridError
from anchorbench.fields import Grid

LINE = Grid((2,), (1.0,))


def summed(forecast: Tensor, truth: Tensor, usual: Tensor, *, grid: Grid = LINE, **words: Any) -> Sums:
    """Samples and channels first, as everywhere; each sample a cluster of its own."""
    given: dict[str, Any] = {"clusters": torch.arange(len(truth)), "n_clusters": len(truth)} | words
    return anomalies(forecast, truth, usual, grid=grid, **given)


def row(*values: float) -> Tensor:
    return torch.tensor([[list(values)]])


USUAL = torch.tensor([[10.0, 20.0]])


@pytest.mark.parametrize(
    ("forecast", "acc"),
    [
        ((13.0, 16.0), 1.0),  # the truth's departure (3, −4) itself
        ((16.0, 12.0), 1.0),  # twice it: ACC is blind to the amplitude
        ((7.0, 24.0), -1.0),  # its opposite
        ((14.0, 23.0), 0.0),  # (4, 3) is at right angles to it
        ((15.0, 20.0), 3.0 / 5.0),  # (5, 0): 15 / (5 · 5)
    ],
)
def test_acc_is_the_cosine_between_the_departures_from_the_usual(forecast, acc):
    assert correlation([summed(row(*forecast), row(13.0, 16.0), USUAL)]) == pytest.approx(acc, abs=1e-12)


def test_a_forecast_of_the_climatology_has_no_acc():
    assert correlation([summed(USUAL[None], row(13.0, 16.0), USUAL)]) is None


def test_a_cell_counts_by_its_area():
    """Two rows of a globe with edges at −90, 0 and 90 degrees are alike; of four the inner ones are larger by
    sin 45° / (1 − sin 45°): departures f = (1, 1, 1, 1) and y = (1, 0, 0, 0) a column, ACC = √ of the first's share."""
    globe = Grid((4, 8), (180.0, 360.0), "cell", "latlon", (False, True), unit="degree", origin=(-90.0, 0.0))
    truth = torch.zeros(1, 1, 4, 8)
    truth[:, :, 0] = 1.0
    share = (1.0 - math.sin(math.pi / 4)) / 2.0
    found = correlation([summed(torch.ones(1, 1, 4, 8), truth, torch.zeros(1, 4, 8), grid=globe)])
    assert found == pytest.approx(math.sqrt(share), rel=1e-12)


def test_sums_of_batches_and_seeds_merge_into_the_sums_of_all():
    rng = torch.Generator().manual_seed(0)
    forecast, truth = torch.randn(2, 6, 2, 2, generator=rng, dtype=torch.float64)
    clusters, usual = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([[0.1, 0.2], [0.3, 0.4]])
    whole = summed(forecast, truth, usual, clusters=clusters, n_clusters=3)
    parts = [
        summed(forecast[i], truth[i], usual, clusters=clusters[i], n_clusters=3) for i in (slice(0, 3), slice(3, 6))
    ]
    for name in ANOMALY_NAMES:
        torch.testing.assert_close(torch.tensor((parts[0] + parts[1])[name]), torch.tensor(whole[name]))
    assert correlation(parts) == pytest.approx(correlation([whole]))
    # As one quotient: maps with no departure from the usual do not water it down, as a mean over maps would.
    calm = summed(usual[None], usual[None], usual, clusters=torch.tensor([0]), n_clusters=3)
    assert correlation([whole, calm]) == pytest.approx(correlation([whole]))


def test_what_is_not_observed_does_not_count_and_a_scale_changes_nothing():
    forecast, truth = row(13.0, 99.0), row(13.0, math.nan)
    seen = torch.tensor([[[1.0, 0.0]]])
    assert correlation([summed(forecast, truth, USUAL, weights=seen)]) == pytest.approx(1.0)
    plain = correlation([summed(row(15.0, 20.0), row(13.0, 16.0), USUAL)])
    scaled = summed(row(15.0, 20.0), row(13.0, 16.0), USUAL, channel_scale=torch.tensor([7.0]))
    assert correlation([scaled]) == pytest.approx(plain)
    assert scaled["anomaly_truth"].sum() == pytest.approx(25.0 / 49.0)


def test_a_climatology_of_another_rung_and_a_forecast_that_is_nan_are_refused():
    with pytest.raises(GridError, match="climatology"):
        summed(row(1.0, 2.0), row(1.0, 2.0), torch.zeros(1, 4))
    with pytest.raises(AnchorbenchError, match="NaN"):
        summed(row(math.nan, 2.0), row(1.0, 2.0), USUAL)
