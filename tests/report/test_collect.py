"""Collecting runs: what is pooled, what a curve is called, and what is said to be missing."""

import json

import netCDF4
import numpy as np
import pytest
import xarray as xr

from anchorbench.config import LadderSpec, RunSpec, Variable, save_yaml
from anchorbench.errors import RunError
from anchorbench.fields import Grid
from anchorbench.report.collect import collect

LADDER = LadderSpec(
    dataset="turbulence2d",
    source="generated",
    size="tiny",
    restriction="spectral",
    rungs=(8, 16, 32),
    grid=Grid((32, 32)).to_dict(),
    variables=(Variable(name="vorticity", units="1"),),
    time_step=0.25,
    time_unit="1",
    origin={},
)
CLUSTERS = 6


def spec(method, *, seed=0, **changes):
    base = {
        "ladder": LADDER.digest,
        "dataset": "turbulence2d",
        "source": "generated",
        "size": "tiny",
        "task": "forecast",
        "model": "fno",
        "method": method,
        "train_rung": 8,
        "band_rung": 8,
        "seed": seed,
    }
    return RunSpec(**(base | changes))


def write_run(results, run_spec, errors, *, finished=True, floor=None, unseen=(1, 1, 1)):
    """A finished run whose E_res on each rung is `errors[rung]`, the same for every cluster but for a small jitter."""
    folder = results / run_spec.folder
    folder.mkdir(parents=True)
    save_yaml(run_spec, folder / "spec.yaml")
    (folder / "environment.json").write_text(json.dumps({"train_seconds": 10.0, "device": "cpu"}))
    rungs = sorted(errors)
    jitter = 1 + 0.01 * np.cos(np.arange(CLUSTERS) + run_spec.seed)
    squares = np.array([[errors[rung] ** 2 * j for j in jitter] for rung in rungs])[..., None]
    sums = {
        "weight": np.ones_like(squares),
        "resolved": squares,
        "unseen": np.full_like(squares, 0.02),
        "unseen_truth": np.full_like(squares, 0.04),
        "truth_resolved": np.ones_like(squares),
        "total": squares + 0.02 * np.asarray(unseen[: len(rungs)])[:, None, None],
    }
    data = xr.Dataset(coords={"rung": rungs, "k": np.arange(16.0)})
    for name, values in sums.items():
        data[name] = (("rung", "cluster", "channel"), values)
        data[f"coarse_then_upsample_{name}"] = (("rung", "cluster", "channel"), values)
    for name in ("prediction", "truth", "error"):
        rows = [np.where(np.arange(16) < rung // 2, 1.0, np.nan) for rung in rungs]
        data[f"spectrum_{name}"] = (("rung", "k"), np.stack(rows))
    data.attrs = {
        "sigma": [2.0],
        "ladder": LADDER.model_dump_json(),
        "provenance": json.dumps({"display_name": "turbulence2d", "terms": "none", "producer": "us"}),
        "floor": json.dumps(floor or {}),
        "energy_removed": json.dumps({"r008": 0.5, "r016": 0.1, "r032": 0.0}),
    }
    data.to_netcdf(folder / "curve.nc", engine="netcdf4")
    for rung in rungs:
        shown = xr.Dataset({name: (("y", "x"), np.zeros((rung, rung))) for name in ("truth", "prediction")})
        shown.to_netcdf(folder / "curve.nc", engine="netcdf4", mode="a", group=f"fields/r{rung:03d}")
    if finished:
        (folder / "DONE").write_text("")


def by_label(document):
    return {curve["label"]: curve for curve in document["curves"]}


FLAT = {8: 0.2, 16: 0.2, 32: 0.2}
FALLING = {8: 0.2, 16: 0.1, 32: 0.05}


def test_seeds_are_pooled_as_mean_squares_and_the_root_is_taken_last(tmp_path):
    for seed, error in enumerate((0.1, 0.2, 0.3)):
        write_run(tmp_path, spec("baseline", seed=seed), {8: error, 16: error, 32: error})
    curve = by_label(collect(tmp_path))["baseline"]
    # mean of 0.01, 0.04, 0.09; the clusters' jitter moves it by less than half a percent
    assert curve["error"][0] == pytest.approx(np.sqrt(0.14 / 3), rel=5e-3)
    assert curve["seeds"] == [0, 1, 2]


def test_a_halving_error_converges_with_slope_minus_one(tmp_path):
    for seed in range(3):
        write_run(tmp_path, spec("baseline", seed=seed), FALLING)
    curve = by_label(collect(tmp_path))["baseline"]
    assert curve["verdict"] == "converging"
    assert curve["slope"] == pytest.approx(-1.0)
    assert curve["second_word"] == "adds"  # unseen 0.02 of 0.04
    assert curve["skill"][1] == pytest.approx(0.5)


def test_rungs_that_training_saw_leave_the_fit(tmp_path):
    for seed in range(3):
        write_run(tmp_path, spec("multires", seed=seed, method_options={"shares": None, "hold_out": True}), FALLING)
    curve = by_label(collect(tmp_path))["multires"]
    assert curve["seen_rungs"] == [8, 16]
    assert curve["used"] == [8, 32]
    assert curve["track"] == "assisted"


def test_headroom_comes_from_the_native_runs_of_the_same_model(tmp_path):
    for seed in range(3):
        write_run(tmp_path, spec("baseline", seed=seed), FLAT)
    write_run(tmp_path, spec("baseline", kind="native", train_rung=32), {32: 0.05})
    document = collect(tmp_path)
    curve = by_label(document)["baseline"]
    assert curve["verdict"] == "anchored"
    assert curve["headroom"]["shown"] is True
    assert curve["anchoring_index"][2] == pytest.approx(1.0, abs=0.01)
    native = by_label(document)["native"]
    assert native["rungs"] == [8, 32]
    assert native["error"] == pytest.approx([0.2, 0.05], rel=0.01)
    assert "too few looks" in native["notes"][0]


def test_native_runs_of_another_model_show_no_headroom(tmp_path):
    for seed in range(3):
        write_run(tmp_path, spec("baseline", seed=seed), FLAT)
    write_run(tmp_path, spec("baseline", kind="native", train_rung=32, model="unet"), {32: 0.05})
    assert by_label(collect(tmp_path))["baseline"]["headroom"]["shown"] is None


def test_two_configurations_of_one_method_are_told_apart_by_the_option_that_differs(tmp_path):
    for encoding in ("A", "B"):
        write_run(tmp_path, spec("frl", method_options={"encoding": encoding, "levels": 1}), FLAT)
    found = by_label(collect(tmp_path))
    assert {label for label, curve in found.items() if curve["kind"] == "method"} == {
        "frl (encoding=A)",
        "frl (encoding=B)",
    }


def test_the_floor_is_one_number_in_units_of_sigma(tmp_path):
    write_run(tmp_path, spec("baseline"), FLAT, floor={"8": 0.02, "32": 0.5})
    group = collect(tmp_path)["groups"][0]
    assert group["floor"] == {8: 0.01, 16: 0.01, 32: 0.01}  # 0.02 in ρ₀'s band over σ = 2


def test_references_have_no_seeds_and_no_sentence_about_training(tmp_path):
    for method, errors in (("persistence", FLAT), ("solver", FALLING), ("oracle_lowpass", dict.fromkeys(FLAT, 1e-9))):
        write_run(tmp_path, spec(method, kind="reference", model="none", train=None), errors)
    found = by_label(collect(tmp_path))
    assert found["solver"]["seeds"] == []
    assert found["solver"]["interval_kind"] == "trajectories"
    assert "trained" not in found["solver"]["words"]
    assert found["oracle_lowpass"]["error"] == [0.0, 0.0, 0.0]
    assert found["oracle_lowpass"]["verdict"] is None


def test_an_error_of_rounding_is_a_ratio_of_zero_and_not_a_point_at_the_foot_of_a_log_axis(tmp_path):
    write_run(tmp_path, spec("baseline"), FLAT)
    oracle = {8: 1e-9, 16: 1e-9, 32: 1e-9}
    write_run(tmp_path, spec("oracle_lowpass", kind="reference", model="none", train=None), oracle, unseen=(0, 1, 1))
    ratio = by_label(collect(tmp_path))["oracle_lowpass"]["ratio"]["baseline"]
    # at ρ₀ nothing is unseen; finer, 0.02 of unseen energy over the baseline's 0.2² + 0.02
    assert ratio[0] == 0.0
    assert ratio[1] == pytest.approx(np.sqrt(0.02 / 0.06), rel=5e-3)


def test_what_is_missing_is_named_with_the_command_that_makes_it(tmp_path):
    write_run(tmp_path, spec("frl", method_options={"levels": 1}), FLAT)
    write_run(tmp_path, spec("frl", seed=1, method_options={"levels": 1}), FLAT, finished=False)
    missing = collect(tmp_path)["missing"]
    assert any("not finished" in m["what"] for m in missing)
    assert any("no baseline and native" in m["what"] and "--with-references" in m["command"] for m in missing)
    assert any("1 of the 3 seeds" in m["what"] for m in missing)


def test_a_mix_of_every_rung_is_also_wanted_with_its_finest_held_out(tmp_path):
    shares = {"shares": {1: 0.5, 4: 0.5}}
    write_run(tmp_path, spec("multires", method_options=shares | {"hold_out": False}), FLAT)
    held = [m for m in collect(tmp_path)["missing"] if "held out" in m["what"]]
    assert len(held) == 1
    assert "method.hold_out=true" in held[0]["command"]
    write_run(tmp_path, spec("multires", method_options=shares | {"hold_out": True}), FLAT)
    assert not any("held out" in m["what"] for m in collect(tmp_path)["missing"])


def test_references_that_are_absent_are_named_with_a_plain_train(tmp_path):
    write_run(tmp_path, spec("baseline"), FLAT)
    write_run(tmp_path, spec("persistence", kind="reference", model="none", train=None), FLAT)
    found = next(m for m in collect(tmp_path)["missing"] if "oracle_lowpass, solver" in m["what"])
    assert "persistence" not in found["what"]
    assert "--with-references" not in found["command"]


def test_a_model_of_other_options_has_no_baseline_though_it_bears_the_same_name(tmp_path):
    write_run(tmp_path, spec("baseline"), FLAT)
    write_run(tmp_path, spec("frl", model_options={"width": 64}), FLAT)
    lacking = [m for m in collect(tmp_path)["missing"] if "no baseline and native" in m["what"]]
    assert len(lacking) == 1
    assert "model.width=64" in lacking[0]["command"]


def test_a_folder_without_a_finished_run_is_one_clear_line(tmp_path):
    with pytest.raises(RunError, match="no finished run"):
        collect(tmp_path)
    write_run(tmp_path, spec("baseline"), FLAT, finished=False)
    with pytest.raises(RunError, match="1 unfinished"):
        collect(tmp_path)


def test_a_damaged_curve_names_the_command_that_makes_it_again(tmp_path):
    write_run(tmp_path, spec("baseline"), FLAT)
    path = next(tmp_path.glob("*/curve.nc"))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(RunError, match="anchorbench evaluate"):
        collect(tmp_path)


def test_native_trained_otherwise_is_used_only_where_there_is_no_other_and_is_named(tmp_path):
    for seed in range(3):
        write_run(tmp_path, spec("baseline", seed=seed, train={"steps": 500}), FLAT)
    for rung, steps in ((16, 500), (16, 12), (32, 12)):
        # two seeds of the short ones: more seeds do not outweigh another training
        for seed in range(1 if steps == 500 else 2):
            native = spec("baseline", kind="native", train_rung=rung, seed=seed, train={"steps": steps})
            write_run(tmp_path, native, {rung: 0.05 if steps == 500 else 0.1})
    found = by_label(collect(tmp_path))
    said = "native r032 had 12 steps, the baseline 500"
    assert said in found["baseline"]["notes"]
    assert said in found["native"]["notes"]
    assert not any("r016 had" in note for note in found["native"]["notes"])
    assert found["native"]["error"] == pytest.approx([0.2, 0.05, 0.1], rel=0.01)


def test_a_warm_start_is_no_other_training_but_is_said(tmp_path):
    write_run(tmp_path, spec("baseline"), FLAT)
    write_run(
        tmp_path, spec("baseline", kind="native", train_rung=32, train={"warm_start": "turbulence2d-x"}), {32: 0.05}
    )
    native = by_label(collect(tmp_path))["native"]
    assert native["words"].endswith("(seeds 0); each warm-started from the coarser rung")
    assert not any("baseline" in note for note in native["notes"])


def test_the_ratio_over_the_baseline_is_over_the_same_models_or_null(tmp_path):
    write_run(tmp_path, spec("baseline"), FLAT)
    write_run(tmp_path, spec("frl", model="unet"), FLAT)
    found = by_label(collect(tmp_path))
    assert found["baseline · fno"]["ratio"]["baseline"] == pytest.approx([1.0, 1.0, 1.0])
    assert found["frl · unet"]["ratio"]["baseline"] == [None, None, None]
    assert found["frl · unet"]["ratio"]["own"] == pytest.approx([1.0, 1.0, 1.0])
    assert any("no baseline of this model" in note for note in found["frl · unet"]["notes"])


def test_a_reference_says_which_of_several_baselines_its_ratio_is_over(tmp_path):
    write_run(tmp_path, spec("baseline"), FLAT)
    write_run(tmp_path, spec("persistence", kind="reference", model="none", train=None), FLAT)
    assert not any("baselines" in note for note in by_label(collect(tmp_path))["persistence"]["notes"])
    write_run(tmp_path, spec("baseline", model="unet"), FLAT)
    found = by_label(collect(tmp_path))["persistence"]
    assert found["ratio"]["baseline"] == pytest.approx([1.0, 1.0, 1.0])
    assert "of 2 baselines the ratio is over baseline · fno's error" in found["notes"]


def test_headroom_from_a_native_of_one_seed_is_given_that_seed(tmp_path):
    for seed in range(3):
        write_run(tmp_path, spec("baseline", seed=seed), FLAT)
    write_run(tmp_path, spec("baseline", kind="native", train_rung=32), {32: 0.05})
    document = collect(tmp_path)
    assert document["groups"][0]["notes"] == ["native has one seed: headroom and A are given that seed"]
    assert by_label(document)["baseline"]["headroom"]["interval_kind"] == "given these seeds"
    assert by_label(document)["baseline"]["interval_kind"] == "seeds and trajectories"


def test_each_method_has_its_own_coarse_prediction(tmp_path):
    write_run(tmp_path, spec("baseline"), FLAT)
    write_run(tmp_path, spec("frl", method_options={"levels": 1}), FALLING)
    coarse = [c for c in collect(tmp_path)["curves"] if c["method"] == "coarse_then_upsample"]
    assert [c["of"] for c in coarse] == ["baseline", "frl"]


def test_two_files_of_one_name_get_labels_that_differ(tmp_path):
    for place, digest in (("a", "1" * 64), ("b", "2" * 64)):
        write_run(tmp_path, spec("baseline", model=f"{place}/net.py:Net", model_digest=digest), FLAT)
    labels = [c["label"] for c in collect(tmp_path)["curves"]]
    assert len(labels) == len(set(labels)) == 4
    assert all(label.startswith(("baseline · net.py:Net #", "coarse_then_upsample (baseline")) for label in labels)


def test_a_floor_of_one_step_is_not_taken_for_a_longer_lead_and_that_is_said(tmp_path):
    write_run(tmp_path, spec("baseline", lead=2), FLAT, floor={"8": 0.02})
    group = collect(tmp_path)["groups"][0]
    assert group["floor"] is None
    assert any("known for one step only" in note for note in group["notes"])


def test_each_distinct_environment_is_listed_with_its_runs(tmp_path):
    for seed, device in enumerate(("cpu", "cuda", "cpu")):
        write_run(tmp_path, spec("baseline", seed=seed), FLAT)
        path = tmp_path / spec("baseline", seed=seed).folder / "environment.json"
        path.write_text(json.dumps({"device": device, "packages": {"torch": "2.13.0"}, "made": f"day {seed}"}))
    found = collect(tmp_path)["groups"][0]["environments"]
    assert sorted((e["device"], e["runs"], e["torch"]) for e in found) == [("cpu", 2, "2.13.0"), ("cuda", 1, "2.13.0")]


def test_native_s_convergence_is_read_from_whole_rows_of_the_log_only(tmp_path):
    write_run(tmp_path, spec("baseline"), FLAT)
    native = spec("baseline", kind="native", train_rung=32)
    write_run(tmp_path, native, {32: 0.05})
    # 0.5 at 3/4 of the steps, 0.4 at the end: it fell by a fifth; the last row was cut short
    rows = [
        "step,loss,learning_rate,validation,seconds",
        "30,1,0.1,0.5,1",
        "35,1,0.1,,1",
        "40,1,0.1,0.4,1",
        "45,1,0.1,0.",
    ]
    (tmp_path / native.folder / "log.csv").write_text("\n".join(rows))
    notes = by_label(collect(tmp_path))["native"]["notes"]
    assert "native r032: validation error fell 20% over the last quarter of the steps" in notes[0]


def test_a_study_gives_its_label_its_footing_and_the_rows_that_it_did_not_run(tmp_path):
    plain, step = spec("frl", method_options={"levels": 1}), spec("frl", method_options={"levels": 0})
    for one in (spec("baseline"), plain, step):
        write_run(tmp_path, one, FLAT)
    place = {"dataset": "turbulence2d", "source": "auto", "task": None, "train_rung": None, "footing": "cost"}
    cells = [
        place | {"model": "fno", "method": "frl", "label": None, "runs": [plain.folder]},
        place | {"model": "fno", "method": "frl", "label": "step 1", "runs": [step.folder, spec("baseline").folder]},
    ]
    refused = place | {"model": "gnn", "method": "frl", "label": None, "seeds": [0], "why": "too many points"}
    other = refused | {"ladder": "f" * 64, "why": "another ladder"}
    record = {"schema": 1, "name": "mine", "cells": cells, "not_run": [refused, other], "failed": []}
    (tmp_path / "sweep-mine.json").write_text(json.dumps(record))
    document = collect(tmp_path)
    found = by_label(document)
    assert found["frl (step 1)"]["footing"] == found["frl"]["footing"] == "equal cost"
    assert found["baseline"]["footing"] == "as set"
    group = document["groups"][0]["id"]
    assert [(r["label"], r["why"], r["group"]) for r in document["not_run"]] == [
        ("frl · gnn", "too many points", group), ("frl · gnn", "another ladder", None),
    ]  # fmt: skip


def test_the_price_of_a_run_is_its_samples_by_rung_its_flops_and_the_solves_of_what_it_read(tmp_path):
    shares = {"shares": {1: 0.75, 4: 0.25}, "hold_out": False}
    write_run(tmp_path, spec("baseline", train={"steps": 10, "batch": 4}), FLAT)
    write_run(tmp_path, spec("multires", train={"steps": 10, "batch": 4}, method_options=shares), FLAT)
    solver = spec("solver", kind="reference", model="none", train=None)
    write_run(tmp_path, solver, FLAT)
    cost = by_label(collect(tmp_path))["multires"]["cost"]
    assert cost["data"] is None, "a solver that was scored before it was priced"
    price = {"seconds": {"8": 0.5, "16": 2.0, "32": 9.5}, "flops": {"8": 1e6, "16": 8e6, "32": None}, "solves": 6}
    with netCDF4.Dataset(tmp_path / solver.folder / "curve.nc", "a") as data:
        data.solver_price = json.dumps(price)
    found = by_label(collect(tmp_path))
    cost, plain = found["multires"]["cost"], found["baseline"]["cost"]
    # Forty samples, a quarter of them on 32² points: 30 · 64 + 10 · 1024.
    assert cost["by_rung"] == {
        8: {"share": 0.75, "samples": 30, "points": 1920}, 32: {"share": 0.25, "samples": 10, "points": 10240},
    }  # fmt: skip
    assert cost["train_points"] == 12160
    assert (cost["data"]["seconds"], cost["data"]["flops"]) == (6 * 10.0, None)
    assert plain["data"] == {"rungs": [8], "solves": 6, "seconds": 3.0, "flops": 6e6}
    assert cost["flops"] > plain["flops"] > 0


def test_groups_of_one_heading_are_told_apart_by_what_differs(tmp_path):
    write_run(tmp_path, spec("baseline"), FLAT)
    write_run(tmp_path, spec("baseline", train_rung=16, band_rung=16), FLAT)
    write_run(tmp_path, spec("baseline", lead=2), FLAT)  # another heading: the lead stands in it
    assert {g["apart"] for g in collect(tmp_path)["groups"]} == {"", "train rung 8", "train rung 16"}
