"""weather, generated: reproducible, resumable, its splits apart, its fields the exact cell means of a finer truth."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import torch

from anchorbench.config import validated
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import fetch, request
from anchorbench.data.sources import shallow_water
from anchorbench.data.sources.shallow_water import Options, advance, check, estimate_seconds, generate
from anchorbench.errors import ConfigError
from anchorbench.fields import Grid, cell_means, restrict
from anchorbench.solvers import solve_sphere

TINY = {
    "truth_rung": 16,
    "spin_up_rung": 8,
    "spin_up_hours": 12,
    "settle_hours": 2,
    "interval": 3,
    "frames": 3,
    "trajectories": {"train": 5, "validation": 1, "test": 2},
    "floor_windows": 1,
}
FINEST = Grid((8, 16), (180.0, 360.0), "cell", "latlon", unit="degree")
ONE = {"train": 1, "validation": 1, "test": 1}


def options(**change):
    return validated(Options, {**TINY, **change}, where="dataset 'weather' generator")


@pytest.fixture(scope="module")
def made():
    return generate(options(), FINEST, (4, 8))


def test_each_split_has_its_trajectories_on_the_finest_rung(made):
    splits, static, _ = made
    for name in ("vorticity", "height"):
        assert {split: fields.values[name].shape for split, fields in splits.items()} == {
            "train": (5, 3, 8, 16),
            "validation": (1, 3, 8, 16),
            "test": (2, 3, 8, 16),
        }
        assert all(fields.values[name].dtype == np.float32 for fields in splits.values())
    assert splits["train"].clusters.tolist() == [0, 1, 2, 3, 4]
    assert splits["train"].valid is None
    assert splits["train"].by_rung is None
    assert static == {}


def test_vorticity_has_no_mean_and_height_the_mean_depth(made):
    areas = FINEST.area_weights().numpy()
    values = made[0]["train"].values
    mean = (values["vorticity"] * areas).mean((-2, -1))
    assert np.abs(mean).max() < 1e-6 * values["vorticity"].std()
    np.testing.assert_allclose((values["height"] * areas).mean((-2, -1)), 5000.0, rtol=1e-6)
    assert values["height"].std() > 50


def test_the_fields_are_exact_cell_means_of_the_truth(made):
    truth = []
    solve_sphere(options().truth, stream=2, group=0, on_frame=lambda i, state: truth.append(state))
    for i, state in enumerate(truth):
        for name in ("vorticity", "height"):
            exact = cell_means(getattr(state, name), FINEST)[:2].float()
            np.testing.assert_array_equal(made[0]["test"].values[name][:, i], exact.numpy())
    coarse = FINEST.with_rung(4)
    down = restrict(torch.from_numpy(made[0]["test"].values["vorticity"][:, 0]), coarse, how="conservative")
    exact = cell_means(truth[0].vorticity, coarse)[:2]
    np.testing.assert_allclose(down, exact, atol=1e-6 * float(exact.abs().max()))


def test_the_same_parameters_give_the_same_numbers_whatever_else_is_asked_for(made):
    more, _, floor = generate(options(trajectories={"train": 8, "validation": 3, "test": 2}), FINEST, (4, 8))
    for split, fields in made[0].items():
        n = fields.n_samples
        np.testing.assert_array_equal(more[split].values["vorticity"][:n], fields.values["vorticity"])
    assert floor == made[2]


def test_no_two_trajectories_of_any_split_are_alike(made):
    starts = [u[0] for fields in made[0].values() for u in fields.values["vorticity"]]
    assert len(starts) == 8
    for a, b in combinations(starts, 2):
        assert np.linalg.norm(a - b) > np.linalg.norm(a) / 2


def test_another_seed_is_another_set(made):
    other = generate(options(trajectories=ONE, seed=1, floor_windows=0), FINEST, (8,))[0]["train"]
    here = made[0]["train"].values["vorticity"][:1]
    assert np.linalg.norm(other.values["vorticity"][:, 0] - here[:, 0]) > np.linalg.norm(here[:, 0]) / 2


def test_a_stopped_call_goes_on_from_its_groups_to_the_same_bits(made, tmp_path, monkeypatch):
    solve, calls = shallow_water._solve_group, []

    def stops(*args, **kwargs):
        calls.append(kwargs["group"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return solve(*args, **kwargs)

    monkeypatch.setattr(shallow_water, "_solve_group", stops)
    with pytest.raises(KeyboardInterrupt):
        generate(options(), FINEST, (4, 8), scratch=tmp_path)
    again, _, floor = generate(options(), FINEST, (4, 8), scratch=tmp_path)
    assert len(calls) == 5  # two groups of train were kept; the one that stopped and the test split were solved
    for split, fields in made[0].items():
        for name, values in fields.values.items():
            np.testing.assert_array_equal(again[split].values[name], values)
    assert floor == made[2]


def test_the_floor_is_given_for_each_rung_and_far_below_the_flow(made):
    splits, _, floor = made
    assert sorted(floor) == [4, 8]
    assert 0 < floor[4] <= floor[8] < 0.1 * splits["test"].values["vorticity"].std()
    assert generate(options(trajectories=ONE, floor_windows=0), FINEST, (8,))[2] == {}


def test_a_solved_ladder_solves_training_on_each_rung_and_restricts_the_test(made):
    splits, _, _ = generate(options(ladder="solved"), FINEST, (4, 8))
    np.testing.assert_array_equal(splits["test"].values["height"], made[0]["test"].values["height"])
    assert splits["test"].by_rung is None
    train, truth = splits["train"].by_rung, made[0]["train"].values
    assert {rung: fields["height"].shape for rung, fields in train.items()} == {4: (5, 3, 4, 8), 8: (5, 3, 8, 16)}
    np.testing.assert_array_equal(splits["train"].values["vorticity"], train[8]["vorticity"])
    # It starts from the truth's first frame, cut to the rung's degrees, and then goes its own way.
    first, last = (np.linalg.norm(train[8]["vorticity"][:, t] - truth["vorticity"][:, t]) for t in (0, 2))
    scale = np.linalg.norm(truth["vorticity"][:, 0])
    assert first < 0.1 * scale
    assert first < last < 0.8 * scale


def test_orography_is_a_static_field_and_the_surface_stands_above_it():
    spec = options(trajectories=ONE, floor_windows=0, spin_up_hours=1)
    _, static, _ = generate(spec.model_copy(update={"orography": "mountain", "orography_height": 1500.0}), FINEST, (8,))
    assert static["orography"].dtype == np.float32
    row, column = np.unravel_index(static["orography"].argmax(), (8, 16))
    # 30° N, 90° W: the row from 22.5 to 45, either side of a column's edge at 270°
    assert (row, column) in ((5, 11), (5, 12))
    splits, random, _ = generate(spec.model_copy(update={"orography": "random"}), FINEST, (8,))
    assert random["orography"].std() > 200
    assert (splits["train"].values["height"] > random["orography"]).all()


def test_jets_are_drawn_in_both_hemispheres():
    spec = options(start="jet", truth_rung=32, spin_up_rung=32, spin_up_hours=1, settle_hours=0, interval=1, frames=2)
    flows = generate(spec.model_copy(update={"floor_windows": 0}), FINEST, (8,))[0]["train"].values["height"]
    # A westerly jet stands where the surface falls towards its pole.
    north = flows[:, 0, 4].mean(-1) - flows[:, 0, 7].mean(-1)
    south = flows[:, 0, 3].mean(-1) - flows[:, 0, 0].mean(-1)
    assert {bool(n > s) for n, s in zip(north, south, strict=True)} == {True, False}


def test_advance_goes_where_the_truth_goes_and_beats_persistence(made):
    fields = made[0]["test"].values
    state = torch.from_numpy(np.stack([fields["vorticity"], fields["height"]], axis=2))  # (2, 3, 2, 8, 16)
    later = advance(options(), state[:, 0], grid=FINEST, lead=2)
    assert later.shape == (2, 2, 8, 16)
    for channel in range(2):
        missed = (later[:, channel] - state[:, 2, channel]).norm()
        still = (state[:, 0, channel] - state[:, 2, channel]).norm()
        assert missed < 0.5 * still


@pytest.mark.parametrize(("truth_rung", "finest", "fits"), [(16, 8, True), (15, 8, False), (128, 64, True)])
def test_the_truth_is_at_least_twice_finer_than_the_finest_rung(truth_rung, finest, fits):
    spec = options(truth_rung=truth_rung)
    grid = FINEST.with_rung(finest)
    if fits:
        check(spec, finest=grid)
    else:
        with pytest.raises(ConfigError, match="15 is not twice finer than the finest rung 8") as caught:
            check(spec, finest=grid)
        assert caught.value.do == "--set generator.truth_rung=16"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"sped": 3}, r"no option 'sped'.*Did you mean 'speed'"),
        ({"speed": -1.0}, "speed"),
        ({"interval": 0}, "interval"),
        ({"frames": 1}, "frames"),
        ({"mean_depth": math.nan}, "mean_depth"),
        ({"orography": "alps"}, "orography"),
        ({"spin_up_rung": 32}, "spin_up_rung 32 is not between 4 and truth_rung 16"),
        ({"trajectories": {"train": 1, "validation": 1}}, "trajectories lack the split test"),
        ({"trajectories": {**ONE, "test": 0}}, "trajectories.test"),
        ({"floor_windows": 5}, "floor_windows"),
    ],
)
def test_a_parameter_that_cannot_be_is_found_before_anything_is_solved(change, named):
    with pytest.raises(ConfigError, match=named):
        options(**change)


def test_the_estimate_grows_with_the_trajectories():
    few, many = (estimate_seconds(options(trajectories={**ONE, "train": n})) for n in (4, 400))
    assert 0 < few < many


def test_progress_rises_to_one_and_the_random_state_of_torch_is_left_alone():
    torch.manual_seed(3)
    before, shares = torch.get_rng_state(), []
    generate(options(trajectories=ONE, floor_windows=0, spin_up_hours=1), FINEST, (8,), tell=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_catalogues_sizes_are_truths_twice_finer_than_their_finest_rung():
    catalog = load_catalog()
    for size in ("tiny", "small", "full"):
        wanted = request(catalog, "weather", size=size, source="generated")
        assert wanted.options.truth_rung >= 2 * max(wanted.spec.rungs)
        assert wanted.spec.time_step == wanted.options.interval
        assert [variable.name for variable in wanted.spec.variables] == ["vorticity", "height"]
        assert Grid.from_dict(wanted.spec.grid).shape == (max(wanted.spec.rungs), 2 * max(wanted.spec.rungs))


def test_a_ladder_is_made_with_its_share_of_energy_removed_and_its_floor(tmp_path):
    settings = {"rungs": [4, 8, 16], "generator": {**TINY, "truth_rung": 32, "spin_up_hours": 1, "trajectories": ONE}}
    wanted = request(load_catalog(), "weather", size="tiny", source="generated", settings=settings)
    ladder = fetch(wanted, tmp_path)
    assert sorted(ladder.rungs) == [4, 8, 16]
    assert sorted(ladder.floor) == [4, 8, 16]


@pytest.mark.slow
def test_each_step_of_the_tiny_ladder_removes_energy_and_persistence_is_no_forecast(tmp_path):
    wanted = request(load_catalog(), "weather", size="tiny", source="generated")
    splits, _, floor = generate(wanted.options, FINEST.with_rung(32), (8, 16, 32))
    vorticity = torch.from_numpy(splits["train"].values["vorticity"])
    above = None
    for rung in (32, 16, 8):
        grid = FINEST.with_rung(rung)
        areas, u = grid.area_weights(), restrict(vorticity, grid, how="conservative").double()
        variance = float((areas * u**2).mean())
        still = float((areas * (u[:, 1] - u[:, 0]) ** 2).mean())
        assert 0.3 < math.sqrt(still / variance) < 0.9
        assert floor[rung] < 0.02 * math.sqrt(variance)
        if above is not None:
            assert 0.01 < 1 - variance / above < 0.4
        above = variance
