"""Checkpoints on the way: which are kept, that they change nothing, and what `--test training` makes of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from anchorbench.config import TrainOptions
from anchorbench.errors import RunError
from anchorbench.runs.evaluate import evaluate
from anchorbench.runs.examine import Examination, examine
from anchorbench.runs.probes import read_probes
from anchorbench.runs.train import checkpoint_steps, train
from anchorbench.runs.training import training


def test_checkpoints_stand_in_equal_ratios_from_a_fiftieth_to_the_end():
    # 1000 · 0.02^(1/2) = 141.4
    assert checkpoint_steps(TrainOptions(steps=1000, keep_checkpoints=3)) == (20, 141, 1000)
    assert checkpoint_steps(TrainOptions(steps=1000, keep_checkpoints=1)) == (1000,)
    assert checkpoint_steps(TrainOptions(steps=3, keep_checkpoints=8)) == (1, 2, 3), "no more than there are steps"
    assert checkpoint_steps(TrainOptions(steps=1000)) == ()


def test_a_run_that_keeps_none_has_the_name_it_always_had(bench):
    usual, kept = bench.spec(), bench.spec(keep_checkpoints=3)
    assert "keep_checkpoints" not in usual.model_dump_json()
    assert bench.spec(keep_checkpoints=0).digest == usual.digest != kept.digest


@pytest.fixture(scope="module")
def kept(bench, tmp_path_factory):
    """A finished run of 12 steps with three checkpoints, and its twin without."""
    results = tmp_path_factory.mktemp("kept")
    runs = []
    for spec in (bench.spec(steps=12, validate_every=12, keep_checkpoints=3), bench.spec(steps=12, validate_every=12)):
        run, session = bench.run(spec, results), bench.session(spec)
        module = train(session, run)
        evaluate(session, run, rungs=session.scored_rungs, trained=module)
        run.finish()
        runs.append((session, run, module))
    return runs


def test_keeping_checkpoints_changes_no_weight(kept):
    (_, run, _), (_, plain, _) = kept
    a, b = run.load_weights(), plain.load_weights()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert run.checkpoints == (1, 2, 12)
    assert plain.checkpoints == ()


def test_the_last_checkpoint_scores_what_the_run_does_where_its_last_weights_are_its_best(kept):
    """One look at the validation split, after the last step: the best weights are those of the last checkpoint."""
    (session, run, module), _ = kept
    examine(session, run, Examination(("training",)), trained=module, known={})
    data = read_probes(run)["training"]
    assert data["step"].values.tolist() == [1, 2, 12]
    assert data["resolved"].dims == ("rung", "step", "cluster", "channel")
    with xr.open_dataset(run.path / "curve.nc", engine="netcdf4") as curve:
        for name in ("resolved", "unseen", "weight"):
            np.testing.assert_allclose(data[name].sel(step=12), curve[name].sel(rung=data["rung"]), rtol=1e-6)
    first, last = (float(data["resolved"].sel(step=step).sum()) for step in (1, 12))
    assert first != pytest.approx(last, rel=1e-3)


def test_force_forgets_the_checkpoints_too(bench, tmp_path):
    spec = bench.spec(steps=2, validate_every=2, keep_checkpoints=2)
    run = bench.run(spec, tmp_path)
    train(bench.session(spec), run)
    assert run.checkpoints == (1, 2)
    run.prepare(force=True)
    assert run.checkpoints == ()


def test_a_run_without_checkpoints_is_told_how_to_keep_some(kept):
    _, (session, run, module) = kept
    with pytest.raises(RunError, match="kept no checkpoint") as refused:
        examine(session, run, Examination(("training",)), trained=module, known={})
    assert "--set train.keep_checkpoints=6" in str(refused.value)


def test_every_checkpoint_is_scored_with_its_own_weights_on_every_rung(subject_of, ladder_of):
    """At step t the prediction is t times the truth: E = |t − 1| rms(y) / σ, on each rung alike."""
    x = np.arange(16) * 2 * np.pi / 16
    wave = np.stack([np.stack([np.cos(x - phase)] * 3) for phase in (0.0, 0.5)])
    ladder = ladder_of({"u": wave}, (8, 16))
    plain = subject_of(ladder, lambda batch: batch.targets)
    made: list[int] = []

    def at(step: int):
        def make():
            made.append(step)
            return lambda batch: step * batch.targets

        return make

    data = training(replace(plain, checkpoints={3: at(3), 1: at(1)}))
    assert made == [1, 3], "each is loaded once, when its turn comes"
    rms = np.sqrt((data["resolved"].sum(("cluster", "channel")) / data["weight"].sum(("cluster", "channel"))).values)
    np.testing.assert_allclose(rms, [[0.0, 2.0], [0.0, 2.0]], atol=1e-5)  # (rung, step), the wave's σ is its rms
