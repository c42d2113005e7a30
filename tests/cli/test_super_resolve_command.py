"""Super-resolution through the command line: each model at `tiny`, and what its report says by factor."""

from __future__ import annotations

import json

import pandas as pd
import pytest

MODELS = ("hinote", "liif", "lte", "srno", "edsr")
HEADS = {"subjects": {"train": 4, "validation": 2, "test": 2}, "slices": 2, "folds": 20}
RUNGS = "16,32,64"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("results")


@pytest.fixture
def resolved(cli, folders, monkeypatch):
    """`cli` on the catalogue that comes with the package, one cache and one folder of results for all tests here."""
    cache, results = folders
    monkeypatch.delenv("ANCHORBENCH_DATASETS")
    monkeypatch.setenv("ANCHORBENCH_CACHE", str(cache))
    monkeypatch.setenv("ANCHORBENCH_RESULTS", str(results))

    def train(model: str, *more: str):
        settings = [f"data.generator.{name}={json.dumps(value)}" for name, value in HEADS.items()]
        settings += [f"data.rungs={RUNGS}", "train.steps=2", "train.batch=2", "train.validate_every=2"]
        words = [word for setting in settings for word in ("--set", setting)]
        common = ("--dataset", "mri", "--source", "generated", "--size", "tiny", "--offline", "--train-rung", "32")
        once = ("--seeds", "1", "--workers", "1", "--threads", "1", "--task", "super_resolve")
        return cli("train", *common, *once, "--method", "hinote", "--model", model, *words, *more)

    return cli, train


@pytest.mark.parametrize("model", MODELS)
def test_a_model_of_super_resolution_trains_at_tiny_and_is_scored_on_both_factors(resolved, model):
    _, train = resolved
    said = train(model)
    assert said.code == 0, said.err


def test_the_report_has_each_factor_with_the_error_over_interpolation_and_the_images_scores(resolved, folders):
    cli, train = resolved
    for model in MODELS:
        train(model)  # what is finished is not run again
    said = cli("report", "--format", "png", "--plot", "error-vs-res", "--plot", "fields")
    assert said.code == 0, said.err
    frame = pd.read_parquet(next(folders[1].rglob("results.parquet")))
    methods = frame[frame["kind"] == "method"]
    assert sorted(methods["model"].unique()) == sorted(MODELS)
    assert sorted(methods["factor"].unique()) == [2.0, 4.0]
    assert (
        methods[["psnr", "ssim", "rfne", "largest_error", "consistency", "spectral_divergence"]].notna().all(axis=None)
    )
    own = frame[frame["method"] == "interpolate"]
    assert own["over_interpolation"].tolist() == [1.0, 1.0]
    # What is finer than the input alone leaves the input as it was; waves that are added are finer.
    assert (own["consistency"] < 1e-6).all()
    page = next(folders[1].rglob("report.md")).read_text()
    within, beyond = page.index("### Factors that were trained on"), page.index("### Factors out of the trained range")
    assert within < page.index("| interpolate | 2 | 32 |") < beyond < page.index("| interpolate | 4 | 64 |")


def test_a_degradation_and_noise_are_of_super_resolution_alone_and_change_the_runs_name(resolved):
    cli, train = resolved
    said = train("edsr", "--set", "task.degradation=bicubic", "--set", "task.input_noise=0.1")
    assert said.code == 0, said.err
    wrong = cli("train", "--dataset", "turbulence2d", "--size", "tiny", "--set", "task.input_noise=0.1")
    assert wrong.code == 2
    assert "belong to super_resolve" in wrong.err
    unknown = train("edsr", "--set", "task.degradation=blurred")
    assert unknown.code == 2
    assert "task: degradation" in unknown.err
