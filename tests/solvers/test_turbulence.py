"""The ladder's truth: the same whatever is solved beside it, and its floor."""

from dataclasses import replace

import pytest
import torch

from anchorbench.errors import AnchorbenchError
from anchorbench.fields.resample import prolong
from anchorbench.solvers import Flow, TurbulenceSpec, box, solve_truth, trajectory, truth_floor

SPEC = TurbulenceSpec(
    truth_rung=32,
    spin_up_rung=16,
    spin_up_time=1.0,
    settle_time=0.25,
    flow=Flow(viscosity=1e-2),
    interval=0.125,
    frames=4,
    chunk=4,
)


@pytest.fixture(scope="module")
def truth():
    return solve_truth(SPEC, n_trajectories=5, seed=7)


def test_the_truth_has_its_shape_and_no_two_trajectories_are_alike(truth):
    assert truth.shape == (5, 4, 32, 32)
    assert truth.dtype == torch.float32
    flat = truth[:, 0].flatten(1)
    apart = torch.cdist(flat, flat) + torch.eye(5) * 1e9
    assert apart.min() > flat.norm(dim=1).mean() / 4


@pytest.mark.parametrize(("n", "first", "chunk"), [(1, 0, 1), (5, 0, 32), (3, 1, 4), (2, 3, 3), (1, 4, 2)])
def test_a_trajectory_is_the_same_to_the_last_bit_whatever_is_solved_beside_it(truth, n, first, chunk):
    part = solve_truth(replace(SPEC, chunk=chunk), n_trajectories=n, first=first, seed=7)
    assert torch.equal(part, truth[first : first + n])


def test_another_seed_is_another_truth(truth):
    other = solve_truth(SPEC, n_trajectories=1, seed=8)
    assert (other[0] - truth[0]).norm() > truth[0].norm() / 4


def test_frames_lie_one_interval_apart(truth):
    again = trajectory(truth[:2, 0], SPEC.flow, interval=SPEC.interval, frames=4, dt=SPEC.time_step(32)).transpose(0, 1)
    torch.testing.assert_close(again, truth[:2], rtol=0, atol=1e-4)


def test_progress_rises_to_one():
    shares = []
    solve_truth(SPEC, n_trajectories=3, seed=0, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_the_floor_is_lower_under_a_finer_truth(truth):
    finer = replace(SPEC, truth_rung=64)
    options = {"interval": 0.25, "onto": (8, 16, 32), "n_windows": 3}
    start = prolong(truth[:2, 0], box(64))
    finer_truth = trajectory(start, SPEC.flow, interval=0.125, frames=4, dt=finer.time_step(64)).transpose(0, 1)
    low, high = truth_floor(finer_truth, finer, **options), truth_floor(truth[:2], SPEC, **options)
    assert set(low) == {8, 16, 32}
    assert all(0 < low[rung] < high[rung] / 10 for rung in low)


def test_the_floor_of_a_truth_solved_on_few_points_grows_with_the_band(truth):
    floor = truth_floor(truth, SPEC, interval=0.125, onto=[8, 16, 32], n_windows=5)
    assert floor[8] < floor[16] < floor[32]


@pytest.mark.parametrize("interval", [0.1, 0.5, 0.0])
def test_a_lead_that_the_frames_do_not_hold_is_refused(truth, interval):
    with pytest.raises(AnchorbenchError, match="lead"):
        truth_floor(truth, SPEC, interval=interval, onto=[8])


def test_a_flow_that_outruns_its_time_step_is_refused():
    with pytest.raises(AnchorbenchError, match=r"speed of .*\n.*set top_speed"):
        solve_truth(replace(SPEC, top_speed=0.5), n_trajectories=1, seed=0)


@pytest.mark.parametrize(
    "option", [{"spin_up_rung": 64}, {"frames": 0}, {"interval": 0.0}, {"settle_time": -1.0}, {"courant": 0.0}]
)
def test_a_spec_that_makes_no_run_is_refused(option):
    with pytest.raises(AnchorbenchError):
        replace(SPEC, **option)


@pytest.mark.parametrize("options", [{"n_trajectories": 0}, {"n_trajectories": 1, "first": -1}])
def test_an_empty_set_of_trajectories_is_refused(options):
    with pytest.raises(AnchorbenchError, match="ask for one"):
        solve_truth(SPEC, seed=0, **options)
