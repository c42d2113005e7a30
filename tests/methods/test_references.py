"""The curves beside the models': scored, they are what their names say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anchorbench.analysis import score
from anchorbench.data.samples import Normaliser
from anchorbench.errors import MethodError
from anchorbench.fields import prolong
from anchorbench.methods.references import available, build_reference
from anchorbench.methods.registry import REFERENCES
from anchorbench.solvers import Flow, integrate

UNIT = Normaliser((0.0,), (1.0,))


def reference(name, ladder, windows, *, band, lead=1):
    made = windows(ladder, band, home=band)
    return build_reference(name, ladder, task="forecast", band=made.grid, normaliser=made.normaliser, lead=lead)


def sums(predict, ladder, windows, rung, *, band):
    found = windows(ladder, rung, home=band)
    batch = found.batch(range(len(found)))
    return score(
        predict(batch),
        batch.targets,
        grid=batch.grid,
        band=ladder.grid(band),
        how=ladder.restriction,
        weights=batch.mask,
        clusters=batch.clusters,
        n_clusters=found.n_clusters,
    )


# -- persistence -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames_in", [1, 2])
def test_persistence_is_the_newest_input_frame(waves, windows, frames_in):
    batch = windows(waves, 16, home=16, frames_in=frames_in).batch([0, 1])
    predicted = reference("persistence", waves, windows, band=16)(batch)
    assert torch.equal(predicted, batch.inputs[:, -1:])
    # window 1 of one frame in predicts frame 2 of trajectory 0 by frame 1; of two, frame 3 by frame 2
    physical = windows(waves, 16, home=16).normaliser.undo(predicted)[1, 0]
    np.testing.assert_allclose(physical, waves.array("test", 16, "vorticity")[0, frames_in], atol=1e-5)


# -- oracle ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rung", [16, 32])
def test_the_low_passed_truth_has_no_resolved_error_and_no_skill_beyond(waves, windows, rung):
    found = sums(reference("oracle_lowpass", waves, windows, band=16), waves, windows, rung, band=16)
    truth = found["truth_resolved"].sum()
    assert found["resolved"].sum() / truth < 1e-26  # E_res² / ‖Py‖²
    if rung > 16:
        assert found["unseen_truth"].sum() / truth > 1e-4
        skill = 1 - found["unseen"].sum() / found["unseen_truth"].sum()
        assert skill == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("rung", [8, 16])
def test_under_a_mask_the_low_passed_truth_is_as_good(rain, windows, rung):
    found = sums(reference("oracle_lowpass", rain, windows, band=4), rain, windows, rung, band=4)
    assert found["resolved"].sum() / found["truth_resolved"].sum() < 1e-12  # weights are float32 shares
    assert 1 - found["unseen"].sum() / found["unseen_truth"].sum() == pytest.approx(0, abs=1e-6)


def test_on_a_rung_coarser_than_the_band_the_oracle_is_the_truth(waves, windows):
    batch = windows(waves, 8, home=16).batch([0])
    predicted = reference("oracle_lowpass", waves, windows, band=16)(batch)
    torch.testing.assert_close(predicted.float(), batch.targets)


def test_the_oracle_is_the_truth_of_the_train_rung_prolonged(waves, windows):
    fine, home = (windows(waves, rung, home=16).batch([0, 5]) for rung in (32, 16))
    predicted = reference("oracle_lowpass", waves, windows, band=16)(fine)
    torch.testing.assert_close(predicted.float(), prolong(home.targets, fine.grid), atol=1e-5, rtol=0)


# -- solver ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rung", "lead"), [(8, 1), (16, 1), (16, 2)])
def test_the_solver_integrates_the_restricted_state_with_every_mode_of_its_rung(waves, windows, rung, lead):
    made = windows(waves, rung, home=16, lead=lead)
    batch = made.batch([0, 1])
    predicted = made.normaliser.undo(reference("solver", waves, windows, band=16, lead=lead)(batch))
    start = torch.from_numpy(np.array(waves.array("test", rung, "vorticity")[0, [0, 1]]))  # frames 0 and 1
    flow = Flow(viscosity=1e-2, drag=0.1, forcing_wavenumber=2)
    expected = integrate(start, flow, duration=0.125 * lead, dealias="padded")
    torch.testing.assert_close(predicted[:, 0], expected, atol=1e-4, rtol=1e-4)


def test_the_solver_gets_better_with_the_rung_where_persistence_does_not(waves, windows):
    errors = {}
    for name in ("solver", "persistence"):
        predict = reference(name, waves, windows, band=8)
        for rung in (8, 32):
            found = sums(predict, waves, windows, rung, band=8)
            errors[name, rung] = found["resolved"].sum() / found["weight"].sum()
    assert errors["solver", 32] < 0.1 * errors["solver", 8]
    assert errors["solver", 8] < errors["persistence", 8]
    assert errors["persistence", 32] == pytest.approx(errors["persistence", 8], rel=1e-4)


def test_the_solver_leaves_the_batch_as_it_was(waves, windows):
    batch = windows(waves, 16, home=16).batch([0])
    before = batch.inputs.clone()
    reference("solver", waves, windows, band=16)(batch)
    assert torch.equal(batch.inputs, before)


# -- which there are ---------------------------------------------------------------------------------------------------


def test_radar_has_no_equation_and_so_no_solver(rain):
    assert available(rain, "forecast") == ("persistence", "oracle_lowpass")
    with pytest.raises(MethodError, match="sevir: there is no reference 'solver'"):
        build_reference(
            "solver", rain, task="forecast", band=rain.grid(4), normaliser=Normaliser((0.0,), (1.0,)), lead=1
        )


def test_turbulence_has_all_of_them(waves):
    assert available(waves, "forecast") == ("persistence", "oracle_lowpass", "solver")
    assert set(available(waves, "forecast")) < set(REFERENCES)


def test_an_unknown_reference_names_the_nearest(waves):
    with pytest.raises(MethodError, match=r"no reference 'persistance'.*'persistence'"):
        build_reference(
            "persistance", waves, task="forecast", band=waves.grid(8), normaliser=Normaliser((0.0,), (1.0,)), lead=1
        )
