"""Predictions of operators whose verdict is known, made with numpy and xarray alone: words, cause, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from anchorbench.analysis import Cells, judge, score
from anchorbench.diagnose import cases, diagnose
from anchorbench.diagnose.files import read_rungs
from anchorbench.diagnose.tutorial import RIGHT
from anchorbench.errors import AnchorbenchError, ConfigError
from anchorbench.fields import Grid

RUNGS = (16, 32, 64)


@pytest.fixture(scope="module")
def made():
    """Truth and models of the tutorial on three small rungs, as data sets."""
    truth, models = cases.cases(RUNGS)
    return _sets(truth), {name: tuple(map(_sets, both)) for name, both in models.items()}


def _sets(fields):
    return {n: cases.dataset(values, n) for n, values in fields.items()}


def _shown(made, name, **words):
    truth, models = made
    predicted, native = models[name]
    finer = {rung: held for rung, held in native.items() if rung > 16}
    return diagnose(predicted, truth, native=finer, train_rung=16, name=name, **words)


@pytest.mark.parametrize("name", RIGHT)
def test_each_analytic_operator_gets_its_right_words_and_its_right_cause(made, name):
    found, right = _shown(made, name), RIGHT[name]
    assert (found.verdict.word, found.verdict.second_word) == (right.word, right.second)
    assert found.cause.word == right.cause
    assert found.words.count(right.cause) >= 1


def test_the_numbers_are_those_of_score_and_judge_called_by_hand(made):
    truth, models = made
    found = _shown(made, "aliasing")
    band = Grid((16, 16))
    y = torch.from_numpy(truth[16]["field"].values.astype(float))
    sigma = float((y - y.mean()).square().mean().sqrt())
    sums = {
        n: score(
            torch.from_numpy(models["aliasing"][0][n]["field"].values)[:, None],
            torch.from_numpy(truth[n]["field"].values)[:, None],
            grid=Grid((n, n)), band=band, how="spectral", clusters=torch.arange(12), n_clusters=12,
        )
        for n in RUNGS
    }  # fmt: skip
    own = judge(Cells.from_sums([sums], sigma=sigma), train_rung=16)
    assert found.slope == pytest.approx(own.slope_estimate, rel=1e-6)
    assert found.interval.low == pytest.approx(own.slope.low, rel=1e-6)
    errors = [Cells.from_sums([sums], sigma=sigma).rms("resolved", n) for n in RUNGS]
    assert found.curve.error == pytest.approx(errors, rel=1e-6)


def test_without_native_an_anchored_curve_says_that_headroom_is_not_shown(made):
    truth, models = made
    found = diagnose(models["bandwidth"][0], truth, train_rung=16)
    assert found.verdict.headroom.word == "not shown"
    assert "headroom not shown" in found.words
    assert set(found.verdict.anchoring_index.values()) == {None}


def test_what_the_samples_could_have_told_and_whether_the_word_hangs_on_delta_stand_beside_the_verdict(made):
    truth, models = made
    found = diagnose(models["bandwidth"][0], truth, train_rung=16)
    told, shown = found.to_dict(), found.document()["curves"][0]
    # A slope of 0 to rounding: nothing but δ itself was in the way, and every δ gives the same word.
    assert told["smallest_slope"] == shown["smallest_slope"] == pytest.approx(0.1, abs=1e-3)
    assert told["stability"] == shown["stability"]
    assert told["stability"]["holds"] == [0.05, 0.2]
    assert told["stability"]["word"] == "anchored"


def test_one_model_has_no_seeds_that_its_interval_could_be_given(made):
    found = _shown(made, "converging")
    assert "given these seeds" not in found.words
    kinds = {found.to_dict()["interval_kind"], found.document()["curves"][0]["interval_kind"]}
    assert kinds == {"trajectories"}
    assert any("another training may differ" in note for note in found.notes)


def test_a_model_as_bad_as_its_coarse_prediction_has_an_anchoring_index_of_one(made):
    index = _shown(made, "bandwidth").verdict.anchoring_index
    assert index == pytest.approx({32: 1.0, 64: 1.0}, abs=1e-4)


def test_the_order_of_the_files_and_groups_in_one_file_change_nothing(made, tmp_path):
    truth, models = made
    tree = tmp_path / "truth.nc"
    for n in reversed(RUNGS):
        truth[n].to_netcdf(tree, engine="netcdf4", mode="a" if tree.exists() else "w", group=f"r{n:03d}")
        models["aliasing"][0][n].to_zarr(tmp_path / f"pred{n}.zarr", consolidated=False, zarr_format=2)
    predicted = read_rungs([tmp_path / f"pred{n}.zarr" for n in (64, 16, 32)], option="predictions")
    read = read_rungs([tree], option="--truth")
    assert list(predicted) == list(read) == list(RUNGS)
    found = diagnose(predicted, read, train_rung=16)
    assert found.slope == pytest.approx(_shown(made, "aliasing").slope, rel=1e-9)


# -- where the points are ---------------------------------------------------------------------------------------------


def _line(n, positions, values, **attrs):
    held = xr.DataArray(values, dims=("sample", "x"), coords={"x": ("x", positions, attrs)})
    return held.to_dataset(name="u")


def _lines(place):
    """The same smooth functions sampled as `place(n)` says; predictions off by one wave of 0.1."""
    truth, guess = {}, {}
    for n in (8, 16, 32):
        x = place(n)
        waves = np.stack([np.sin(2 * np.pi * (x + s / 7)) + 0.5 * np.cos(4 * np.pi * x + s) for s in range(4)])
        off = np.stack([0.1 * (1 + s / 10) * np.cos(2 * np.pi * x) for s in range(4)])
        truth[n], guess[n] = _line(n, x, waves), _line(n, x, waves + off)
    return guess, truth


@pytest.mark.parametrize(
    ("place", "restriction", "why"),
    [
        (lambda n: np.arange(n) / n, "spectral", "leave out the right end"),
        (lambda n: (np.arange(n) + 0.5) / n, "conservative", "centres of cells"),
        (lambda n: np.linspace(0, 1, n + 1), "conservative", "both ends"),
    ],
)
def test_the_restriction_follows_from_where_the_points_are(place, restriction, why):
    found = diagnose(*({len(place(n)): d for n, d in held.items()} for held in _lines(place)), train_rung=len(place(8)))
    assert found.fields.restriction == restriction
    assert why in found.restriction
    # One error on every rung: 0.1 (1 + s/10) cos, of mean square 0.01 x (1 + 1.21 + 1.44 + 1.69)/4 / 2, in units of σ.
    if restriction == "spectral":
        sigma = np.sqrt(0.5 + 0.125)
        assert found.curve.error == pytest.approx([0.1 * np.sqrt(1.335 / 2) / sigma] * 3, rel=1e-3)


def test_cells_of_the_sphere_are_weighted_by_their_areas():
    def on(n, wrong):
        lat, lon = -90 + (np.arange(n) + 0.5) * 180 / n, (np.arange(2 * n) + 0.5) * 180 / n
        north = np.sin(np.deg2rad(lat))[:, None] * np.ones(2 * n)
        fields = np.stack([north * (1 + s) for s in range(3)]) + wrong * (np.arange(3) + 1)[:, None, None]
        coords = {"lat": ("lat", lat, {"units": "degrees_north"}), "lon": ("lon", lon, {"units": "degrees_east"})}
        return xr.DataArray(fields, dims=("sample", "lat", "lon"), coords=coords).to_dataset(name="t")

    found = diagnose({n: on(n, 0.5) for n in (8, 16)}, {n: on(n, 0.0) for n in (8, 16)}, train_rung=8)
    assert found.fields.rungs[8].grid.kind == "latlon"
    assert found.curve.error[0] == pytest.approx(found.curve.error[1], rel=1e-12)  # an offset is one on every grid
    assert found.fields.rungs[16].grid.periodic == (False, True)


def test_what_a_mask_leaves_out_is_not_scored():
    guess, truth = _lines(lambda n: (np.arange(n) + 0.5) / n)
    for n in truth:
        left = xr.DataArray((np.arange(n) >= n // 4).astype(float), dims="x")
        truth[n]["ok"] = left
        guess[n]["u"] = guess[n]["u"] + 100 * (1 - left)
    masked = diagnose(guess, truth, train_rung=8, variable="u", mask="ok")
    assert max(masked.curve.total) < 1
    for n in truth:
        truth[n]["u"] = truth[n]["u"].where(truth[n]["ok"] > 0)
    missing = diagnose(guess, truth, train_rung=8, variable="u", mask="nan")
    assert missing.curve.error == pytest.approx(masked.curve.error, rel=1e-12)


def test_truths_that_are_not_one_field_are_told_with_the_number():
    guess, truth = _lines(lambda n: np.arange(n) / n)
    truth[32]["u"] = truth[32]["u"] + 0.3  # σ is √0.625: an offset of 0.38 σ
    found = diagnose(guess, truth, train_rung=8)
    assert any("0.38 σ" in note for note in found.notes)


def test_a_record_in_time_is_cut_into_blocks_and_seeds_make_an_interval_over_seeds():
    guess, truth = _lines(lambda n: np.arange(n) / n)
    rename = {"sample": "time"}
    record = diagnose(
        {n: d.rename(rename) for n, d in guess.items()}, {n: d.rename(rename) for n, d in truth.items()}, train_rung=8
    )
    assert len(record.fields.clusters) == 2
    assert any("blocks of time" in note for note in record.notes)
    seeded = {n: xr.concat([d + 0.01 * s for s in range(3)], "seed") for n, d in guess.items()}
    found = diagnose(seeded, truth, train_rung=8)
    assert found.fields.seeds == 3
    assert found.interval is None or not found.interval.given_seeds


# -- what cannot be diagnosed -----------------------------------------------------------------------------------------


def _dropped(d):
    return d.drop_vars("x")


def _shifted(d):
    return d.assign_coords(x=d.x + 0.3 / d.sizes["x"])


def _flipped(d):
    return d.isel(x=slice(None, None, -1))


def _holed(d):
    return d.where(d.x > 0)


def _twofold(d):
    return d.assign(v=d["u"])


def _uneven(d):
    return d.assign_coords(x=d.x**2)


def _shorter(d):
    return d.isel(sample=slice(2))


def _nameless(d):
    return d.rename(sample="dim_0")


@pytest.mark.parametrize(
    ("spoil", "both", "said"),
    [
        (_dropped, True, "no coordinate"),
        (_shifted, False, "different points along x"),
        (_flipped, True, "runs downwards"),
        (_holed, False, "NaN or infinite"),
        (_twofold, True, "several variables"),
        (_uneven, True, "not evenly spaced"),
        (_shorter, False, "points along sample"),
        (_nameless, True, "nothing tells"),
    ],
)
def test_bad_input_is_one_line_that_names_it(spoil, both, said):
    guess, truth = _lines(lambda n: np.arange(n) / n)
    guess = {n: spoil(d) for n, d in guess.items()}
    truth = {n: spoil(d) for n, d in truth.items()} if both else truth
    with pytest.raises(AnchorbenchError, match=said) as told:
        diagnose(guess, truth, train_rung=8)
    assert "\n" not in told.value.what


def test_rungs_that_are_missing_or_of_other_boxes_are_named():
    guess, truth = _lines(lambda n: np.arange(n) / n)
    with pytest.raises(ConfigError, match="no truth for the rung 32; there is 8, 16"):
        diagnose(guess, {n: truth[n] for n in (8, 16)}, train_rung=8)
    with pytest.raises(ConfigError, match="train rung 12 has no predictions"):
        diagnose(guess, truth, train_rung=12)
    with pytest.raises(ConfigError, match="no rung is finer"):
        diagnose(guess, truth, train_rung=32)
    wide = {n: d.assign_coords(x=d.x * (2 if n == 16 else 1)) for n, d in truth.items()}
    with pytest.raises(ConfigError, match="do not cover one box along x"):
        diagnose({n: wide[n] for n in wide}, wide, train_rung=8)
    with pytest.raises(ConfigError, match="waves know no mask"):
        diagnose(guess, truth, train_rung=8, mask="nan", restriction="spectral")
    with pytest.raises(ConfigError, match="Did you mean 'spectral'"):
        diagnose(guess, truth, train_rung=8, restriction="spektral")
