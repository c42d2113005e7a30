"""burgers, generated: shocks, reproducible, its splits apart, restricted or solved on each rung."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
import pytest
import torch
import xarray as xr

from anchorbench.data.catalog import Catalog
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import Request, fetch, request
from anchorbench.data.slices import Slices
from anchorbench.data.sources import Loaded, burgers
from anchorbench.data.sources.burgers import Options, advance, estimate_seconds
from anchorbench.errors import AnchorbenchError, ConfigError
from anchorbench.fields import Grid, restrict

FEW = {"trajectories": {"train": 5, "validation": 2, "test": 3}, "floor_windows": 2}


@cache
def catalogue() -> Catalog:
    return load_catalog()


def wanted(**options) -> Request:
    return request(catalogue(), "burgers", size="tiny", settings={"generator": {**FEW, **options}})


def load(asked: Request, scratch=None) -> Loaded:
    return burgers.load(asked.ask(scratch, scratch=scratch))


@pytest.fixture(scope="module")
def made() -> Loaded:
    return load(wanted())


def velocity(loaded: Loaded, split: str) -> np.ndarray:
    return loaded.splits[split].values["velocity"]


def test_each_split_has_its_trajectories_on_the_finest_rung(made):
    shapes = {
        split: (fields.values["velocity"].shape, fields.clusters.tolist()) for split, fields in made.splits.items()
    }
    assert shapes == {
        "train": ((5, 3, 128), [0, 1, 2, 3, 4]),
        "validation": ((2, 3, 128), [0, 1]),
        "test": ((3, 3, 128), [0, 1, 2]),
    }
    assert all(velocity(made, split).dtype == np.float32 for split in made.splits)


def test_the_same_options_give_the_same_numbers_to_the_last_bit(made):
    again = load(wanted())
    for split in made.splits:
        np.testing.assert_array_equal(velocity(again, split), velocity(made, split))
    assert again.floor == made.floor


def test_a_trajectory_is_the_same_whatever_is_solved_beside_it(made):
    fewer = load(wanted(trajectories={"train": 2, "validation": 1, "test": 1}))
    np.testing.assert_allclose(velocity(fewer, "train"), velocity(made, "train")[:2], atol=1e-6)


def test_no_two_trajectories_of_any_split_and_seed_are_alike(made):
    other = load(wanted(seed=1))
    starts = [u[0] for loaded in (made, other) for split in loaded.splits for u in velocity(loaded, split)]
    assert len(starts) == 20
    for a, b in combinations(starts, 2):
        assert np.linalg.norm(a - b) > np.linalg.norm(a) / 3


def test_shocks_hold_what_the_train_rung_cannot_carry_and_persistence_is_far_from_right(made):
    u = torch.from_numpy(velocity(made, "test"))
    coarse = restrict(u, Grid((32,)))
    unseen = (u.square().mean() - coarse.square().mean()) / u.square().mean()
    assert unseen > 0.002  # 5 % of the amplitude
    # A shock falls in a few cells: the steepest fall is far steeper than the steepest rise.
    slopes = u.diff(dim=-1)
    assert (-slopes.amin(-1) / slopes.amax(-1)).median() > 3
    step = (coarse[:, 1:] - coarse[:, :-1]).square().mean().sqrt() / coarse.std()
    assert step > 0.4


def test_the_floor_lies_far_below_the_flow(made):
    assert list(made.floor) == [32, 64, 128]
    assert all(0 < error < 1e-3 for error in made.floor.values())


def test_the_solver_comes_nearer_to_the_truth_on_finer_rungs(made):
    options, errors = wanted().options, []
    u = torch.from_numpy(velocity(made, "test"))
    for rung in (32, 64, 128):
        grid = Grid((rung,))
        later = advance(options, restrict(u[:, :1], grid), grid=grid, lead=1)
        assert later.shape == (3, 1, rung)
        errors.append(float((restrict(later, Grid((32,))) - restrict(u[:, 1:2], Grid((32,)))).square().mean().sqrt()))
    assert errors[0] > 10 * errors[1] > 100 * errors[2]


def test_a_solved_ladder_is_solved_on_each_rung_but_for_the_test(made):
    solved = load(wanted(ladder="solved"))
    np.testing.assert_array_equal(velocity(solved, "test"), velocity(made, "test"))
    assert solved.splits["test"].by_rung is None
    assert solved.floor == made.floor
    for split in ("train", "validation"):
        truth = torch.from_numpy(velocity(made, split)).double()
        by_rung = solved.splits[split].by_rung
        assert list(by_rung) == [32, 64, 128]
        errors = []
        for rung, fields in by_rung.items():
            u = torch.from_numpy(fields["velocity"]).double()
            assert u.shape == (*truth.shape[:2], rung)
            errors.append(float((u - restrict(truth, Grid((rung,)))).norm() / truth.norm() * (128 / rung) ** 0.5))
        # A cheap coarse simulation is no restricted truth, and a fine one nearly is.
        assert errors[0] > 0.02
        assert errors[0] > 3 * errors[1] > 9 * errors[2]


def test_a_stopped_call_goes_on_from_its_slices_to_the_same_bits(made, tmp_path, monkeypatch):
    monkeypatch.setattr(burgers, "SLICE", 2)
    once, solve, slices = load(wanted(), tmp_path / "once"), burgers._solve, []

    def stopping(ask, split, members):
        if len(slices) == 3:
            raise KeyboardInterrupt
        slices.append((split, members))
        return solve(ask, split, members)

    monkeypatch.setattr(burgers, "_solve", stopping)
    with pytest.raises(KeyboardInterrupt):
        load(wanted(), tmp_path / "twice")
    slices[:] = []
    monkeypatch.setattr(burgers, "_solve", lambda *args: slices.append(args[1:]) or solve(*args))
    twice = load(wanted(), tmp_path / "twice")
    assert slices == [("validation", range(2)), ("test", range(2)), ("test", range(2, 3))]
    for split in made.splits:
        np.testing.assert_array_equal(velocity(twice, split), velocity(once, split))
    assert twice.floor == once.floor


def test_slices_of_other_options_are_not_taken(tmp_path):
    load(wanted(), tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    load(wanted(viscosity=4.0e-3), tmp_path)
    assert len({path.name for path in tmp_path.iterdir()} - before) == 3
    assert Slices(tmp_path, "0" * 64).load("train-000000-5") is None


def test_the_ladder_is_written_with_its_equation_and_its_floor(tmp_path):
    ladder = fetch(wanted(), tmp_path)
    assert ladder.rungs == (32, 64, 128)
    assert list(ladder.floor) == [32, 64, 128]
    assert ladder.spec.time_step == 0.1
    with xr.open_dataset(ladder.folder / "test.nc", group="r032", engine="netcdf4") as rung:
        assert rung["velocity"].dims == ("sample", "time", "x")
        assert rung["velocity"].shape == (3, 3, 32)
    with xr.open_dataset(ladder.folder / "test.nc", engine="netcdf4") as top:
        assert top.attrs["equation"] == "∂u/∂t + ∂(u²/2)/∂x = ν ∂²u/∂x²"
        assert top.attrs["restriction"] == "spectral"
        assert top.attrs["ladder"] == "restricted"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"viscosity": 0.0}, "viscosity"),
        ({"frames": 1}, "frames"),
        ({"ladder": "spectral"}, "ladder"),
        ({"trajectories": {"train": 0, "validation": 1, "test": 1}}, "trajectories.train"),
        ({"truth_rung": 192}, "192 is not twice finer than the finest rung 128"),
        ({"waves": 86}, "256 points does not advance 86 waves"),
        ({"viscocity": 1e-3}, "Did you mean 'viscosity'"),
        ({"interval": 0.03}, "no whole number of intervals"),
    ],
)
def test_an_option_that_cannot_be_is_found_before_anything_is_solved(change, named):
    with pytest.raises(ConfigError, match=named):
        wanted(**change)


def test_a_set_that_lacks_a_split_is_refused():
    with pytest.raises(ValueError, match="lack the split test"):
        Options.model_validate({**wanted().options.model_dump(), "trajectories": {"train": 1, "validation": 1}})


def test_a_start_too_fast_for_the_fixed_steps_is_refused(monkeypatch):
    monkeypatch.setattr(burgers, "TOP_SPEED", 0.5)
    with pytest.raises(AnchorbenchError, match="too fast for the time steps"):
        load(wanted())


def test_the_estimate_grows_with_what_is_asked_for():
    few, many = (wanted(trajectories={"train": n, "validation": 1, "test": 1}, floor_windows=0) for n in (64, 6400))
    assert 0 < 10 * estimate_seconds(few.options) < estimate_seconds(many.options)


@pytest.mark.slow
def test_small_has_a_truth_that_is_true_and_a_solver_that_converges():
    asked = request(catalogue(), "burgers", size="small", settings={"limit": 12})
    made = load(asked)
    assert max(made.floor.values()) < 1e-4
    u = torch.from_numpy(velocity(made, "test"))
    errors = []
    for rung in asked.spec.rungs:
        later = advance(asked.options, restrict(u[:, :1], Grid((rung,))), grid=Grid((rung,)), lead=1)
        errors.append(float((restrict(later, Grid((64,))) - restrict(u[:, 1:2], Grid((64,)))).square().mean().sqrt()))
    assert errors[0] > 5 * errors[1] > 25 * errors[2]
