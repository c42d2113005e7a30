"""darcy, generated: media that stay positive on every rung, their pressure, restricted or solved there."""

from __future__ import annotations

import math
from functools import cache
from itertools import combinations

import numpy as np
import pytest
import torch
import xarray as xr

from anchorbench.data.catalog import Catalog
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import Request, fetch, request
from anchorbench.data.sources import Loaded, darcy
from anchorbench.data.sources.darcy import advance, estimate_seconds, homogenised
from anchorbench.errors import CatalogError, ConfigError
from anchorbench.fields import restrict
from anchorbench.solvers.darcy import solve, square

FEW = {"trajectories": {"train": 5, "validation": 2, "test": 3}, "floor_samples": 2}


@cache
def catalogue() -> Catalog:
    return load_catalog()


def wanted(catalog: Catalog | None = None, **options) -> Request:
    return request(catalog or catalogue(), "darcy", size="tiny", settings={"generator": {**FEW, **options}})


def ruled(rule: str | None) -> Catalog:
    """The catalogue with another restriction of the coefficient."""
    tree = catalogue().model_dump(exclude_unset=True)
    for variable in tree["datasets"]["darcy"]["variables"]:
        if variable["name"] == "coefficient":
            variable["restriction"] = rule
    return Catalog.model_validate(tree)


def load(asked: Request, scratch=None) -> Loaded:
    return darcy.load(asked.ask(scratch, scratch=scratch))


@pytest.fixture(scope="module")
def made() -> Loaded:
    return load(wanted())


def values(loaded: Loaded, split: str, name: str) -> np.ndarray:
    return loaded.splits[split].values[name]


def test_each_split_has_both_fields_of_its_samples_in_one_frame(made):
    for split, n in FEW["trajectories"].items():
        fields = made.splits[split]
        assert {name: u.shape for name, u in fields.values.items()} == dict.fromkeys(
            ("coefficient", "pressure"), (n, 1, 32, 32)
        )
        assert all(u.dtype == np.float32 for u in fields.values.values())
        assert (fields.n_frames, fields.times, fields.clusters.tolist()) == (1, None, list(range(n)))


def test_the_same_options_give_the_same_numbers_to_the_last_bit(made):
    again = load(wanted())
    for split, fields in made.splits.items():
        for name in fields.values:
            np.testing.assert_array_equal(values(again, split, name), values(made, split, name))
    assert again.floor == made.floor


def test_no_two_media_of_any_split_and_seed_are_alike(made):
    other = load(wanted(seed=1))
    media = [a for loaded in (made, other) for split in loaded.splits for a in values(loaded, split, "coefficient")]
    assert len(media) == 20
    for a, b in combinations(media, 2):
        assert np.abs(np.log(a) - np.log(b)).mean() > 0.1


def test_the_coefficient_is_the_geometric_mean_of_its_two_phases(made):
    # A cell of four truth cells, k of them of a = 0.1: 10^(−k/4).
    logs = -4 * np.log10(np.concatenate([values(made, split, "coefficient") for split in made.splits]))
    np.testing.assert_allclose(logs, logs.round(), atol=1e-5)
    assert set(logs.round().astype(int).ravel()) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("rule", "expected"), [("geometric_mean", 2.0), ("block_mean", 2.5), ("harmonic_mean", 1.6), (None, 2.5)]
)
def test_a_catalogue_may_take_another_mean_and_the_file_names_it(rule, expected, tmp_path):
    # 1, 1, 4, 4: geometric 2, arithmetic 5/2, harmonic 8/5.
    cell = torch.tensor([[1.0, 4.0], [4.0, 1.0]], dtype=torch.float64)
    name = rule or "block_mean"
    assert float(homogenised(cell, square(1), rule=name)) == pytest.approx(expected)
    ladder = fetch(wanted(ruled(rule)), tmp_path)
    assert ladder.about["attrs"]["restriction_of_coefficient"] == name
    finest, coarse = (torch.from_numpy(np.array(ladder.array("test", rung, "coefficient"))) for rung in (32, 8))
    assert coarse.min() > 0
    torch.testing.assert_close(coarse, homogenised(finest, square(8), rule=name), rtol=1e-5, atol=0)


@pytest.mark.parametrize("medium", ["two_phases", "log_normal"])
def test_a_coefficient_stays_positive_and_between_its_bounds_on_every_rung(medium, tmp_path):
    ladder = fetch(wanted(medium=medium, deviation=3.0), tmp_path)
    bounds = [ladder.array("train", 32, "coefficient").min(), ladder.array("train", 32, "coefficient").max()]
    assert bounds[0] > 0
    for rung in ladder.rungs:
        a = ladder.array("train", rung, "coefficient")
        assert bounds[0] * (1 - 1e-5) <= a.min()
        assert a.max() <= bounds[1] * (1 + 1e-5)


def test_pressure_keeps_its_mean_on_every_rung_and_nothing_has_a_time(tmp_path):
    ladder = fetch(wanted(), tmp_path)
    assert ladder.spec.time_step == 0.0
    assert [v.name for v in ladder.spec.variables] == ["pressure", "coefficient"]
    means = [ladder.array("test", rung, "pressure").mean(dtype=np.float64) for rung in ladder.rungs]
    assert means == pytest.approx([means[0]] * 3, rel=1e-6)
    with xr.open_dataset(ladder.folder / "test.nc", group="r008", engine="netcdf4") as rung:
        assert rung["pressure"].shape == (3, 1, 8, 8)
        np.testing.assert_allclose(rung["x"], (np.arange(8) + 0.5) / 8)


def test_li_et_al_s_medium_is_an_option():
    a = values(load(wanted(low=3.0, high=12.0)), "train", "coefficient")
    assert (a.min(), a.max()) == (3.0, 12.0)


def test_the_floor_is_small_against_the_pressure_and_the_solver_converges_to_it(made):
    assert list(made.floor) == [8, 16, 32]
    u = torch.from_numpy(values(made, "test", "pressure"))
    sigma = float(u.std())
    assert all(0 < floor < 0.05 * sigma for floor in made.floor.values())
    options, errors = wanted().options, []
    a = torch.from_numpy(values(made, "test", "coefficient"))
    for rung in (8, 16, 32):
        grid = square(rung)
        solved = advance(options, homogenised(a, grid, rule="geometric_mean"), grid=grid, lead=0)
        assert solved.shape == (3, 1, rung, rung)
        eight = [restrict(field, square(8), how="block_mean") for field in (solved, u)]
        errors.append(float((eight[0] - eight[1]).square().mean().sqrt()))
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2]


def test_a_solved_ladder_is_solved_on_each_rung_from_its_own_coefficient_but_for_the_test(made):
    solved = load(wanted(ladder="solved"))
    for name in ("coefficient", "pressure"):
        np.testing.assert_array_equal(values(solved, "test", name), values(made, "test", name))
    assert solved.splits["test"].by_rung is None
    for split in ("train", "validation"):
        by_rung = solved.splits[split].by_rung
        assert list(by_rung) == [8, 16, 32]
        truth = torch.from_numpy(values(made, split, "coefficient"))
        for rung, fields in by_rung.items():
            a, u = (torch.from_numpy(fields[name]) for name in ("coefficient", "pressure"))
            torch.testing.assert_close(a, homogenised(truth, square(rung), rule="geometric_mean"), rtol=1e-5, atol=0)
            torch.testing.assert_close(u, solve(a), rtol=1e-4, atol=1e-6)


def test_a_stopped_call_goes_on_from_its_slices_to_the_same_bits(made, tmp_path, monkeypatch):
    monkeypatch.setattr(darcy, "SLICE", 2)
    solve_slice, slices = darcy._solve, []

    def stopping(*args):
        if len(slices) == 4:
            raise KeyboardInterrupt
        slices.append(args)
        return solve_slice(*args)

    monkeypatch.setattr(darcy, "_solve", stopping)
    with pytest.raises(KeyboardInterrupt):
        load(wanted(), tmp_path)
    slices[:] = []
    monkeypatch.setattr(darcy, "_solve", lambda *args: slices.append(args[1:3]) or solve_slice(*args))
    again = load(wanted(), tmp_path)
    assert slices == [("test", range(2)), ("test", range(2, 3))]
    for split, fields in made.splits.items():
        for name in fields.values:
            np.testing.assert_array_equal(values(again, split, name), values(made, split, name))
    assert again.floor == made.floor


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"low": 0.0}, "low"),
        ({"low": 2.0}, "low 2 is below high 1"),
        ({"forcing": 0.0}, "nothing flows"),
        ({"medium": "layers"}, "medium"),
        ({"truth_rung": 32}, "32 is not 2, 3, 4, ... times the finest rung 32"),
        ({"truth_rung": 80}, "80 is not 2, 3, 4, ... times the finest rung 32"),
        ({"waves": 64}, "64 cells does not carry 64 half waves"),
        ({"trajectories": {"train": 1, "validation": 1, "test": 0}}, "trajectories.test"),
        ({"forcign": 2.0}, "Did you mean 'forcing'"),
    ],
)
def test_an_option_that_cannot_be_is_found_before_anything_is_solved(change, named):
    with pytest.raises(ConfigError, match=named):
        wanted(**change)


def test_other_variables_than_these_are_refused():
    tree = catalogue().model_dump(exclude_unset=True)
    tree["datasets"]["darcy"]["variables"][1]["restriction"] = "geometric_mean"
    with pytest.raises(CatalogError, match="the latter restricted by block mean"):
        load(wanted(Catalog.model_validate(tree)))


def test_the_estimate_grows_with_what_is_asked_for():
    few, many = (wanted(trajectories={"train": n, "validation": 1, "test": 1}, floor_samples=0) for n in (50, 5000))
    assert 0 < 10 * estimate_seconds(few.options) < estimate_seconds(many.options)


@pytest.mark.slow
def test_small_has_headroom_between_its_rungs():
    asked = request(catalogue(), "darcy", size="small", settings={"limit": 8})
    made = load(asked)
    a, u = (torch.from_numpy(values(made, "test", name)) for name in ("coefficient", "pressure"))
    errors = []
    for rung in asked.spec.rungs:
        solved = advance(asked.options, homogenised(a, square(rung), rule="geometric_mean"), grid=square(rung), lead=0)
        sixteen = [restrict(field, square(16), how="block_mean") for field in (solved, u)]
        errors.append(float((sixteen[0] - sixteen[1]).square().mean().sqrt()))
    slope = math.log(errors[-1] / errors[0]) / math.log(128 / 16)
    assert slope < -0.5
    assert made.floor[16] < errors[-1]
