"""Evaluation: sums that merge, exact splits and budgets, and curve.nc as it is written."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from anchorbench.analysis import SCORE_NAMES, Sums, shares
from anchorbench.config import LadderSpec, RunSpec, TrainOptions, Variable
from anchorbench.data.ladder import write_ladder
from anchorbench.data.samples import Batch
from anchorbench.data.sources import SplitFields
from anchorbench.errors import AnchorbenchError, RunError
from anchorbench.fields import Grid
from anchorbench.models.registry import validate_options
from anchorbench.runs import evaluate as evaluation
from anchorbench.runs.curve_file import COARSE
from anchorbench.runs.evaluate import evaluate
from anchorbench.runs.session import Session
from anchorbench.runs.store import RunFolder
from anchorbench.runs.train import train


def evaluated(session: Session, run: RunFolder, *, predict=None) -> xr.Dataset:
    """curve.nc of the trained run; predict: what stands for its predictions."""
    trained = None if session.spec.train is None else session.build_model().eval()
    with pytest.MonkeyPatch.context() as patch:
        if predict is not None:
            patch.setattr(evaluation, "method_predictor", lambda session, trained: predict)
        evaluate(session, run, trained=trained, rungs=session.scored_rungs)
    with xr.open_dataset(run.path / "curve.nc", engine="netcdf4") as data:
        return data.load()


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def session(bench) -> Session:
    return bench.session(bench.spec())


@pytest.fixture(scope="module")
def baseline(bench, session, results) -> xr.Dataset:
    """A model that has learnt something, scored on 8 (ρ₀), 16 and 32."""
    run = bench.run(session.spec, results)
    train(session, run)
    evaluate(session, run, trained=session.trained(run.load_weights()), rungs=session.scored_rungs)
    with xr.open_dataset(run.path / "curve.nc", engine="netcdf4") as data:
        return data.load()


def pooled(data: xr.Dataset, name: str, rung: int, *, weight: str = "weight") -> float:
    at = data.sel(rung=rung)
    return float(at[name].sum() / at[weight].sum())


@pytest.mark.parametrize("rung", [8, 16, 32])
def test_the_squared_error_is_the_sum_of_its_resolved_and_unseen_parts(baseline, rung):
    at = baseline.sel(rung=rung)
    np.testing.assert_allclose(at["total"], at["resolved"] + at["unseen"], rtol=1e-9)
    # Of the truth, ρ₀ = 8 itself holds nothing beyond its band |k| < 4; a prediction may, at k = 4.
    assert (float(at["unseen_truth"].sum()) > 1e-9 * float(at["truth_resolved"].sum())) == (rung > 8)


def test_the_coarse_prediction_prolonged_is_flat_over_the_rungs_and_empty_beyond_the_band(baseline):
    errors = [math.sqrt(pooled(baseline, f"{COARSE}_resolved", rung)) for rung in (8, 16, 32)]
    assert errors == pytest.approx([errors[0]] * 3, rel=1e-5)
    assert errors[0] == pytest.approx(math.sqrt(pooled(baseline, "resolved", 8)), rel=1e-6)
    for rung in (16, 32):  # e = −(I−P) y there, so S = 0
        assert pooled(baseline, f"{COARSE}_unseen", rung) == pytest.approx(
            pooled(baseline, f"{COARSE}_unseen_truth", rung), rel=1e-5
        )


def test_a_prediction_that_is_not_flat_stops_the_evaluation(session, bench, tmp_path):
    calls = []

    def drifting(batch: Batch) -> torch.Tensor:
        calls.append(batch.grid.rung)
        return batch.targets * (1 + 0.1 * len(calls))

    with pytest.raises(RunError, match="coarse_then_upsample should be flat"):
        evaluated(session, bench.run(session.spec, tmp_path), predict=drifting)


def test_a_model_that_is_the_truth_has_no_error_and_all_the_skill(session, bench, tmp_path):
    data = evaluated(session, bench.run(session.spec, tmp_path), predict=lambda batch: batch.targets)
    assert float(data["total"].sum()) == 0.0
    assert float(data["unseen"].sum()) == 0.0
    for rung in (16, 32):
        assert pooled(data, "unseen_truth", rung) > 0.0
        assert 1 - pooled(data, "unseen", rung) / pooled(data, "unseen_truth", rung) == 1.0


@pytest.mark.parametrize("rung", [16, 32])
def test_the_budget_adds_up_to_the_resolved_error_on_every_finer_rung(baseline, rung):
    at = baseline.sel(rung=rung)
    found = shares(Sums({str(n): at[n].values for n in at.data_vars if str(n).startswith("budget_")}), sigma=1.0)
    assert found is not None
    resolved = pooled(baseline, "resolved", rung)
    assert found.model + found.grid + found.information == pytest.approx(resolved, rel=1e-9)
    assert np.isnan(baseline["budget_model"].sel(rung=8)).all(), "at home there is nothing to divide"


def test_the_model_share_is_the_error_at_home_where_grid_and_information_add_nothing(session, bench, tmp_path):
    """0 everywhere is the same prediction on every rung: a = −Py, b = c = 0."""
    data = evaluated(session, bench.run(session.spec, tmp_path), predict=lambda b: torch.zeros_like(b.targets))
    for rung in (16, 32):
        assert pooled(data, "budget_model", rung, weight="budget_weight") == pytest.approx(
            pooled(data, "truth_resolved", rung), rel=1e-9
        )
        assert pooled(data, "budget_size_grid", rung, weight="budget_weight") == 0.0
        assert pooled(data, "budget_size_information", rung, weight="budget_weight") == 0.0


def test_what_a_finer_input_adds_within_the_band_is_the_size_of_the_information_share(session, bench, tmp_path):
    """u² folds fine waves into the band: c = P(u²) − P((Pu)²), by hand."""
    data = evaluated(session, bench.run(session.spec, tmp_path), predict=lambda batch: batch.inputs[:, :1] ** 2)
    u = np.asarray(bench.ladder.array("test", 32, "vorticity"), np.float64)[:, :-1]
    k = np.abs(np.fft.fftfreq(32, 1 / 32))
    kept = (k[:, None] < 4) & (k[None, :] < 4)

    def low(field: np.ndarray) -> np.ndarray:
        return np.fft.ifft2(np.fft.fft2(field) * kept).real

    mean, sigma = (float(np.atleast_1d(data.attrs[name])[0]) for name in ("mean", "sigma"))
    u = (u - mean) / sigma
    by_hand = np.mean((low(u**2) - low(low(u) ** 2)) ** 2)
    assert by_hand > 0.01
    assert pooled(data, "budget_size_information", 32, weight="budget_weight") == pytest.approx(by_hand, rel=1e-4)


def test_persistence_scores_what_a_hand_computation_gives(bench, tmp_path):
    """numpy alone: e = ω(t) − ω(t+1), its modes |k| < 4 on both axes, in deviations of the training split at ρ₀ = 8."""
    session = bench.session(bench.reference("persistence"))
    data = evaluated(session, bench.run(session.spec, tmp_path))
    sigma = np.asarray(bench.ladder.array("train", 8, "vorticity"), np.float64).std()
    for rung in (8, 16, 32):
        u = np.asarray(bench.ladder.array("test", rung, "vorticity"), np.float64)
        e = u[:, :-1] - u[:, 1:]
        k = np.abs(np.fft.fftfreq(rung, 1 / rung))
        kept = (k[:, None] < 4) & (k[None, :] < 4)
        resolved = np.fft.ifft2(np.fft.fft2(e) * kept).real if rung > 8 else e
        by_hand = math.sqrt(np.mean(resolved**2)) / sigma
        assert math.sqrt(pooled(data, "resolved", rung)) == pytest.approx(by_hand, rel=1e-5)
        assert math.sqrt(pooled(data, "total", rung)) == pytest.approx(math.sqrt(np.mean(e**2)) / sigma, rel=1e-5)
    assert not [name for name in data.data_vars if str(name).startswith((COARSE, "budget"))]


def test_the_low_passed_truth_has_no_error_in_the_band_and_no_skill_beyond_it(bench, tmp_path):
    session = bench.session(bench.reference("oracle_lowpass"))
    data = evaluated(session, bench.run(session.spec, tmp_path))
    for rung in (16, 32):
        assert pooled(data, "resolved", rung) < 1e-10
        assert pooled(data, "unseen", rung) == pytest.approx(pooled(data, "unseen_truth", rung), rel=1e-5)


def test_the_size_of_an_evaluated_batch_changes_no_sum(baseline, session, bench, results, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "POINTS_PER_BATCH", 5 * 16**2)  # 20, 5 and 1 windows of the 12
    trained = session.trained(bench.run(session.spec, results).load_weights())
    run = bench.run(session.spec, tmp_path)
    evaluate(session, run, trained=trained, rungs=session.scored_rungs)
    with xr.open_dataset(run.path / "curve.nc", engine="netcdf4") as data:
        assert set(data.data_vars) == set(baseline.data_vars)
        for name in data.data_vars:
            np.testing.assert_allclose(data[name], baseline[name], rtol=2e-4, atol=1e-7, err_msg=str(name))


def test_a_native_run_is_scored_on_its_own_rung_alone_in_units_of_the_train_rung(bench, baseline, tmp_path):
    specs = bench.specs("baseline", with_references=True)
    native = next(spec for spec in specs if spec.kind == "native" and spec.train_rung == 16)
    asked = []

    def zero(batch: Batch) -> torch.Tensor:
        asked.append(batch.grid.rung)
        return torch.zeros_like(batch.targets)

    data = evaluated(bench.session(native), bench.run(native, tmp_path), predict=zero)
    assert data["rung"].values.tolist() == [16]
    assert set(asked) == {16}
    assert data.attrs["sigma"] == pytest.approx(baseline.attrs["sigma"])
    # What is beyond the band is the same truth in the same unit as the baseline's.
    assert pooled(data, "unseen_truth", 16) == pytest.approx(pooled(baseline, "unseen_truth", 16), rel=1e-6)
    spectrum = [d["spectrum_truth"].sel(rung=16).dropna("k").values for d in (data, baseline)]
    np.testing.assert_allclose(*spectrum, rtol=1e-4, atol=1e-9)


def test_curve_nc_is_read_by_xarray_with_its_groups_of_fields(session, bench, results, baseline):
    path = RunFolder.at(session.spec, results).path / "curve.nc"
    assert baseline["resolved"].dims == ("rung", "cluster", "channel")
    assert baseline["resolved"].shape == (3, 3, 1)
    assert set(SCORE_NAMES) <= set(map(str, baseline.data_vars))
    assert baseline.attrs["spec"] == session.spec.digest
    assert baseline.attrs["band_rung"] == 8
    with xr.open_datatree(path, engine="netcdf4") as tree:
        assert set(tree["fields"].children) == {"r008", "r016", "r032"}
        truth = tree["fields/r032/truth"].values
    stored = np.asarray(bench.ladder.array("test", 32, "vorticity"))[0, 1]
    np.testing.assert_allclose(truth, stored, rtol=1e-4, atol=1e-4)


def test_the_spectrum_of_the_truth_holds_its_energy(baseline, bench):
    """Σ over rings is the mean square of a low-passed field: at most all of it, and the most of it."""
    whole = np.mean(np.asarray(bench.ladder.array("test", 32, "vorticity"), np.float64)[:, 1:] ** 2)
    found = float(baseline["spectrum_truth"].sel(rung=32).sum()) * float(np.atleast_1d(baseline.attrs["sigma"])[0]) ** 2
    assert 0.99 * whole < found <= whole * (1 + 1e-5)


@pytest.mark.parametrize("rung", [8, 16])
def test_a_prediction_that_is_not_finite_names_its_rung_and_leaves_no_curve(session, bench, tmp_path, rung):
    run = bench.run(session.spec, tmp_path)
    with pytest.raises(AnchorbenchError, match=f"prediction on rung r{rung:03d} has .* NaN or infinite"):
        evaluated(session, run, predict=lambda b: b.targets * (math.nan if b.grid.rung == rung else 1.0))
    assert not (run.path / "curve.nc").exists()


# -- where something is missing ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gappy(tmp_path_factory) -> Session:
    """A block-mean ladder of cells with holes; all but one window nearly still."""
    rng = np.random.default_rng(0)
    grid = Grid((32, 32), (32.0, 32.0), centring="cell", periodic=(False, False), unit="km")

    def split(n: int) -> SplitFields:
        values = rng.gamma(0.5, 1.0, (n, 4, 32, 32)).astype(np.float32)
        valid = rng.random(values.shape) > 0.2
        valid[:, :, 3:14, 20:] = False  # whole cells of the coarsest rung
        values[: n - 1] *= 0.1
        return SplitFields({"rain": values * valid}, valid, None, np.arange(n) // 2)

    spec = LadderSpec(
        dataset="sevir",
        source="sample",
        size="tiny",
        restriction="block_mean",
        rungs=(8, 16, 32),
        grid=grid.to_dict(),
        variables=(Variable(name="rain", units="mm"),),
        time_step=5.0,
        time_unit="min",
        origin={},
    )
    attrs = {"display_name": "holes", "producer": "these tests", "terms": "none"}
    ladder = write_ladder(
        spec, {s: split(n) for s, n in (("train", 4), ("validation", 2), ("test", 6))}, tmp_path_factory.mktemp("gaps"),
        attrs=attrs,
    )  # fmt: skip
    run = RunSpec(
        ladder=spec.digest, dataset="sevir", source="sample", size="tiny", task="forecast", frames_in=2, lead=1,
        model="unet", model_options=validate_options("unet", {"width": 4, "depth": 2}), method="baseline",
        train=TrainOptions(steps=3, batch=2), train_rung=16, band_rung=16,
    )  # fmt: skip
    return Session(run, ladder, torch.device("cpu"))


def test_holes_change_neither_flatness_nor_the_split_nor_the_budget(gappy, bench, tmp_path):
    run = bench.run(gappy.spec, tmp_path)
    trained = train(gappy, run)
    evaluate(gappy, run, trained=trained, rungs=gappy.scored_rungs)
    with xr.open_dataset(run.path / "curve.nc", engine="netcdf4") as data:
        for rung in (8, 16, 32):
            at = data.sel(rung=rung)
            np.testing.assert_allclose(at["total"], at["resolved"] + at["unseen"], rtol=1e-6)
        home, fine = (pooled(data, f"{COARSE}_resolved", rung) for rung in (16, 32))
        assert fine == pytest.approx(home, rel=4e-6)  # of a square: twice the tolerance of its root
        parts = ("budget_model", "budget_grid", "budget_information")
        budget = sum(pooled(data, part, 32, weight="budget_weight") for part in parts)
        assert budget == pytest.approx(pooled(data, "resolved", 32), rel=1e-6)


def test_the_coarse_input_is_the_mean_of_what_was_observed_and_0_where_nothing_was(gappy):
    """One cell of rung 16 by hand, four points of rung 32: 1 and 3 observed, one missing, one missing in a frame only.

    The mean over what both frames observed is 2 in the first frame and 6 in the second, whose fourth point it has seen.
    """
    inputs, mask = torch.zeros(1, 2, 32, 32), torch.zeros(1, 1, 32, 32)
    inputs[0, :, :2, :2] = torch.tensor([[[1.0, 3.0], [0.0, 0.0]], [[5.0, 7.0], [0.0, 9.0]]])
    mask[0, 0, :2, :2] = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    grid = gappy.ladder.grid(32)
    batch = Batch(inputs, inputs[:, :1], grid, grid, torch.zeros(1, dtype=torch.long), mask=mask, input_mask=mask)
    home = replace(batch, grid=gappy.band, out_grid=gappy.band)
    held = evaluation.coarse_input(batch, home, gappy)
    assert held.inputs[0, 0, :2, :2].tolist() == [[2.0, 2.0], [0.0, 0.0]]
    assert held.inputs[0, 1, :2, :2].tolist() == [[6.0, 6.0], [0.0, 6.0]]
    assert torch.equal(held.input_mask, mask), "where it was observed is not what is held"


def test_a_prediction_that_drifts_by_a_hundred_thousandth_is_not_flat(session, bench, tmp_path):
    homes = []

    def drifting(batch: Batch) -> torch.Tensor:
        homes.append(batch.grid.rung)
        return batch.targets * (1.5 + 1e-5 * homes.count(8))

    with pytest.raises(RunError, match="coarse_then_upsample should be flat"):
        evaluated(session, bench.run(session.spec, tmp_path), predict=drifting)


def test_persistence_among_holes_counts_only_what_was_observed(gappy, bench, tmp_path):
    """By hand on the finest rung, where a cell is seen or not: a missing input is 0 after normalisation, the mean."""
    spec = gappy.spec.model_copy(
        update={"kind": "reference", "model": "none", "model_options": {}, "method": "persistence", "train": None}
    )
    session = Session(spec, gappy.ladder, gappy.device)
    data = evaluated(session, bench.run(spec, tmp_path))
    mean, sigma = (float(np.atleast_1d(data.attrs[name])[0]) for name in ("mean", "sigma"))
    u = np.asarray(gappy.ladder.array("test", 32, "rain"), np.float64)
    w = np.asarray(gappy.ladder.valid_area("test", 32), np.float64)
    u = np.where(w > 0, (u - mean) / sigma, 0.0)
    e, seen = u[:, 1:3] - u[:, 2:4], w[:, 2:4]
    assert pooled(data, "total", 32) == pytest.approx(float((seen * e**2).sum() / seen.sum()), rel=1e-5)


@pytest.mark.parametrize("points", [16**2, 1 << 19])
def test_the_window_that_is_shown_is_one_and_the_same_on_every_rung(gappy, bench, tmp_path, monkeypatch, points):
    """The liveliest is in the last sample, whatever the size of a batch on a rung."""
    monkeypatch.setattr(evaluation, "POINTS_PER_BATCH", points)
    run = bench.run(gappy.spec, tmp_path)
    evaluate(gappy, run, trained=gappy.build_model().eval(), rungs=gappy.scored_rungs)
    variances = []
    for rung in (8, 16, 32):
        with xr.open_dataset(run.path / "curve.nc", engine="netcdf4", group=f"fields/r{rung:03d}") as fields:
            truth, stored = fields["truth"].values, np.asarray(gappy.ladder.array("test", rung, "rain"))[5]
        kept = np.isfinite(truth)
        matches = [np.allclose(frame[kept], truth[kept], atol=1e-4) for frame in stored[2:]]
        assert any(matches), "it is a window of the last sample"
        variances.append(matches.index(True))
    assert len(set(variances)) == 1
