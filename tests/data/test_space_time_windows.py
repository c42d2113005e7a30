"""Windows of super-resolution in space and time: means of T hours in, the newest hours out, nothing across a gap."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anchorbench.config import LadderSpec
from anchorbench.data.ladder import SPLITS, write_ladder
from anchorbench.data.samples import Normaliser
from anchorbench.data.sources import SplitFields
from anchorbench.data.space_time_windows import SpaceTimeWindows
from anchorbench.errors import LadderError
from anchorbench.fields import Grid

GRID = Grid((4, 4), extent=(4.0, 4.0), centring="cell", periodic=(False, False))
UNIT = Normaliser((0.0,), (1.0,))
EVENTS, FRAMES = 3, 9


def ladder_of(values: np.ndarray, folder, valid: np.ndarray | None = None):
    spec = LadderSpec(
        dataset="d", source="generated", size="tiny", restriction="block_mean", rungs=(2, 4), grid=GRID.to_dict(),
        variables=[{"name": "rain", "units": "mm"}], time_step=1.0, time_unit="h", origin={},
    )  # fmt: skip
    fields = SplitFields({"rain": values.astype(np.float32)}, valid, None, np.arange(EVENTS))
    return write_ladder(spec, dict.fromkeys(SPLITS, fields), folder, attrs={})


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    """A value says its event, hour and place: 1000 event + 10 hour + (0, 1, 2, 3 by column)."""
    event, hour, _, column = np.indices((EVENTS, FRAMES, 4, 4))
    return ladder_of(1000 * event + 10 * hour + column, tmp_path_factory.mktemp("coded"))


def windows(ladder, *, split="train", rung=4, frames_in=2, time_factor=3, in_rung=2) -> SpaceTimeWindows:
    return SpaceTimeWindows(
        ladder, split, rung, frames_in=frames_in, time_factor=time_factor, normaliser=UNIT, in_rung=in_rung
    )


def test_what_is_given_are_means_of_t_hours_on_the_coarse_rung_and_what_is_asked_for_the_newest_hours(coded):
    batch = windows(coded).batch([5])  # four starts an event: window 5 is event 1, hours 1 to 6
    assert (batch.grid.rung, batch.out_grid.rung, batch.frames_out) == (2, 4, 3)
    # Hours 1, 2, 3 have mean 20 and hours 4, 5, 6 mean 50; columns 0, 1 have mean 0.5 and 2, 3 mean 2.5.
    assert batch.inputs[0, :, 0].tolist() == [[1020.5, 1022.5], [1050.5, 1052.5]]
    assert batch.targets[0, :, 0].tolist() == [[1000 + 10 * h + c for c in range(4)] for h in (4, 5, 6)]


def test_the_newest_coarse_frame_is_the_mean_of_exactly_what_is_asked_for(coded):
    batch = windows(coded).batch(range(12))
    newest = batch.last_frame()[:, :1]
    asked = batch.targets.unflatten(2, (2, 2)).unflatten(4, (2, 2)).mean((1, 3, 5))[:, None]
    torch.testing.assert_close(newest, asked, rtol=1e-6, atol=0)


def test_no_window_crosses_from_one_event_to_the_next(coded):
    found = windows(coded)
    assert len(found) == EVENTS * (FRAMES - 6 + 1)
    batch = found.batch(range(len(found)))
    events = torch.cat([batch.inputs.flatten(1), batch.targets.flatten(1)], 1).div(1000, rounding_mode="floor")
    assert torch.equal(events, batch.clusters[:, None].expand_as(events).float())


def test_a_test_hour_is_asked_for_once(coded):
    found = windows(coded, split="test")
    hours = found.batch(range(len(found))).targets[:, :, 0, 0].flatten().tolist()
    # Six hours of context and target: hours 3, 4, 5 and, one T on, 6, 7, 8 of each event.
    assert hours == [1000 * event + 10 * hour for event in range(EVENTS) for hour in range(3, 9)]


def test_a_point_counts_where_all_its_hours_were_observed_and_a_mean_is_of_the_observed(tmp_path):
    values = np.ones((EVENTS, FRAMES, 4, 4)) * np.arange(FRAMES)[None, :, None, None]
    valid = np.ones(values.shape, bool)
    valid[:, 4, 0, 0] = False
    batch = windows(ladder_of(np.where(valid, values, 0), tmp_path, valid)).batch([0])
    assert batch.mask.shape == (1, 1, 4, 4)
    assert float(batch.mask[0, 0, 0, 0]) == 0
    assert float(batch.mask.sum()) == 15
    # Hours 3, 4, 5 of the first cell, the second with three of its four points: (3 · 4 + 4 · 3 + 5 · 4) / 11.
    assert float(batch.inputs[0, 1, 0, 0]) == pytest.approx(44 / 11, rel=1e-6)


def test_events_too_short_for_the_context_are_refused(coded):
    with pytest.raises(LadderError, match="too few"):
        windows(coded, frames_in=4)
