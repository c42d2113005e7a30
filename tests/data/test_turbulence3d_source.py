"""turbulence3d, generated: components on three axes, odd rungs, splits apart, solved rungs, a floor, resumable."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
import pytest
import torch

from anchorbench.config import validated
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import fetch, request
from anchorbench.data.sources import turbulence3d
from anchorbench.data.sources.turbulence3d import COMPONENTS, Options, advance, check, estimate_seconds, generate
from anchorbench.errors import ConfigError
from anchorbench.fields import restrict
from anchorbench.solvers import cube, solve_truth_3d
from anchorbench.solvers.navier_stokes_3d import divergence, energy

#: Read once for all tests here.
catalogue = cache(load_catalog)

TINY = {
    "truth_rung": 18,
    "viscosity": 0.03,
    "interval": 0.1,
    "frames": 2,
    "spin_up_rung": 8,
    "spin_up_time": 0.2,
    "settle_time": 0.05,
    "trajectories": {"train": 3, "validation": 1, "test": 2},
    "floor_windows": 1,
}
FINEST, RUNGS = cube(9), (6, 9)
ONE_EACH = {"train": 1, "validation": 1, "test": 1}


@pytest.fixture(scope="module")
def made():
    return generate(Options(**TINY), FINEST, RUNGS)


def velocity(fields):
    """(sample, time, 3, z, y, x)."""
    return torch.stack([torch.from_numpy(fields.values[name]) for name in COMPONENTS], dim=2).double()


def test_each_split_has_its_trajectories_on_an_odd_finest_rung(made):
    splits, _ = made
    for split, n in TINY["trajectories"].items():
        assert list(splits[split].values) == ["velocity_x", "velocity_y", "velocity_z"]
        assert all(u.shape == (n, 2, 9, 9, 9) and u.dtype == np.float32 for u in splits[split].values.values())
        assert splits[split].clusters.tolist() == list(range(n))
        assert splits[split].valid is None
        assert splits[split].by_rung is None


def test_the_fields_are_the_restricted_truth_component_by_component(made):
    truth = solve_truth_3d(Options(**TINY).truth, n_trajectories=1, seed=2_000_000)
    for i, name in enumerate(COMPONENTS):
        expected = restrict(truth[:, :, i], FINEST)
        np.testing.assert_allclose(made[0]["test"].values[name][:1], expected, atol=1e-5)


def test_the_components_belong_together(made):
    # restricted by waves, they are still free of divergence; swapped, they are not
    u = velocity(made[0]["train"])
    gradient = 4 * u.std()
    assert divergence(u).abs().max() < 1e-4 * gradient
    assert divergence(u[:, :, [1, 0, 2]]).abs().max() > 0.1 * gradient


def test_no_two_trajectories_of_any_split_are_alike(made):
    starts = [u[0] for fields in made[0].values() for u in fields.values["velocity_x"]]
    assert len(starts) == 6
    for a, b in combinations(starts, 2):
        assert np.linalg.norm(a - b) > np.linalg.norm(a) / 4


def test_another_seed_is_another_set(made):
    other = generate(Options(**{**TINY, "trajectories": ONE_EACH, "seed": 1, "floor_windows": 0}), FINEST, RUNGS)[0]
    here, there = made[0]["train"].values["velocity_x"][0, 0], other["train"].values["velocity_x"][0, 0]
    assert np.linalg.norm(there - here) > np.linalg.norm(here) / 4


def test_the_floor_is_given_for_each_rung_and_far_below_the_flow(made):
    _, floor = made
    assert sorted(floor) == [6, 9]
    assert 0 < floor[6] <= floor[9] < 0.02


def test_without_floor_windows_there_is_no_floor():
    assert generate(Options(**{**TINY, "floor_windows": 0, "trajectories": ONE_EACH}), FINEST, RUNGS)[1] == {}


def test_a_stopped_call_goes_on_with_the_slices_that_it_had_made_to_the_same_bits(made, tmp_path, monkeypatch):
    solve, asked = turbulence3d.solve_truth_3d, []

    def stops(*args, **words):
        asked.append(words["seed"])
        if len(asked) == 3:
            raise KeyboardInterrupt
        return solve(*args, **words)

    monkeypatch.setattr(turbulence3d, "solve_truth_3d", stops)
    with pytest.raises(KeyboardInterrupt):
        generate(Options(**TINY), FINEST, RUNGS, scratch=tmp_path)
    again, floor = generate(Options(**TINY), FINEST, RUNGS, scratch=tmp_path)
    assert asked == [0, 1_000_000, 2_000_000, 2_000_000, 2_000_000]  # test, and its first window for the floor
    for split, fields in made[0].items():
        for name in COMPONENTS:
            np.testing.assert_array_equal(again[split].values[name], fields.values[name])
    assert floor == made[1]
    asked.clear()
    assert generate(Options(**TINY), FINEST, RUNGS, scratch=tmp_path)[1] == floor
    assert asked == []


def test_progress_rises_to_one():
    shares: list[float] = []
    generate(Options(**{**TINY, "floor_windows": 0}), FINEST, RUNGS, tell=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


def test_a_solved_ladder_has_each_rungs_own_solution_but_for_the_test(made):
    solved, _ = generate(Options(**{**TINY, "ladder": "solved", "floor_windows": 0}), FINEST, RUNGS)
    for split, n in (("train", 3), ("validation", 1)):
        by_rung = solved[split].by_rung
        assert {rung: u["velocity_z"].shape for rung, u in by_rung.items()} == {
            6: (n, 2, 6, 6, 6),
            9: (n, 2, 9, 9, 9),
        }
        np.testing.assert_array_equal(solved[split].values["velocity_x"], by_rung[9]["velocity_x"])
    assert solved["test"].by_rung is None
    np.testing.assert_array_equal(solved["test"].values["velocity_x"], made[0]["test"].values["velocity_x"])
    truth = made[0]["train"].values["velocity_x"]
    error = np.linalg.norm(solved["train"].by_rung[9]["velocity_x"] - truth) / np.linalg.norm(truth)
    assert 1e-4 < error < 0.5  # its own simulation, of the same start


def test_a_taylor_green_flow_decays_and_each_trajectory_lies_elsewhere():
    spec = Options(**{**TINY, "flow": "taylor_green", "floor_windows": 0, "settle_time": 0.0, "spin_up_time": 0.0})
    u = velocity(generate(spec, FINEST, RUNGS)[0]["train"])
    kinetic = energy(u)
    assert (kinetic[:, 1] < kinetic[:, 0]).all()
    torch.testing.assert_close(kinetic[:, 0], torch.full((3,), 0.125, dtype=torch.float64), atol=0.03, rtol=0)
    assert (u[0] - u[1]).norm() > u[0].norm() / 4
    # nobody pushes: of energy 1/8, a tenth of a time unit takes 2 ν k² E t = 6 ν E t, k² = 3
    assert ((kinetic[:, 0] - kinetic[:, 1]) / kinetic[:, 0]).mean().item() == pytest.approx(6 * 0.03 * 0.1, rel=0.2)


def test_the_equation_advances_a_state_on_any_rung_to_the_next_frame(made):
    u = velocity(made[0]["test"])
    errors = []
    for rung in RUNGS:
        start, end = (restrict(u[:, t], cube(rung)) for t in (0, 1))
        later = advance(Options(**TINY), start, grid=cube(rung), lead=1)
        errors.append(float((restrict(later - end, cube(6))).norm() / restrict(end - start, cube(6)).norm()))
    assert errors[0] < 0.7
    assert errors[1] < errors[0] / 2


def test_the_estimate_grows_with_what_is_asked_for():
    few, many = Options(**TINY), Options(**{**TINY, "trajectories": {"train": 300, "validation": 1, "test": 2}})
    assert 0 < 5 * estimate_seconds(few) < estimate_seconds(many)


@pytest.mark.parametrize(("truth_rung", "finest", "fits"), [(18, 9, True), (17, 9, False), (96, 48, True)])
def test_the_truth_is_at_least_twice_finer_than_the_finest_rung(truth_rung, finest, fits):
    options = Options(**{**TINY, "truth_rung": truth_rung})
    if fits:
        check(options, finest=cube(finest))
        return
    with pytest.raises(ConfigError, match=f"{truth_rung} is not twice finer than the finest rung {finest}"):
        check(options, finest=cube(finest))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"viscocity": 1e-3}, r"no option 'viscocity'.*Did you mean 'viscosity'"),
        ({"viscosity": -1.0}, "viscosity"),
        ({"injection": -1.0}, "injection"),
        ({"flow": "channel"}, "flow"),
        ({"frames": 1}, "frames"),
        ({"spin_up_rung": 64}, "spin_up_rung 64 is not between 4 and truth_rung 18"),
        ({"trajectories": {"train": 1, "validation": 1}}, "trajectories lack the split test"),
    ],
)
def test_a_parameter_that_cannot_be_is_found_before_anything_is_solved(change, named):
    with pytest.raises(ConfigError, match=named):
        validated(Options, {**TINY, **change}, where="turbulence3d generator")


def test_the_catalogues_ladder_has_three_axes_and_the_headline_first(tmp_path):
    settings = {"rungs": [6, 9], "generator": {**TINY, "interval": 0.125}}
    ladder = fetch(request(catalogue(), "turbulence3d", size="tiny", settings=settings), tmp_path)
    assert ladder.spec.variables[0].name == "velocity_x"
    assert ladder.array("test", 6, "velocity_z").shape == (2, 2, 6, 6, 6)
    assert ladder.finest.axes == ("z", "y", "x")
    assert sorted(ladder.floor) == [6, 9]


def test_all_sizes_of_the_catalogue_can_be_asked_for():
    rungs = {size: request(catalogue(), "turbulence3d", size=size).spec.rungs for size in ("tiny", "small", "full")}
    assert rungs == {"tiny": (8, 12, 16), "small": (16, 24, 32, 48), "full": (32, 43, 64, 129)}
