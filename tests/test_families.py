"""Every family of data, end to end through the command line: fetched at `tiny`, and trained on a few steps."""

from __future__ import annotations

import json
import sys

import pytest
import xarray as xr

from anchorbench.cli import main
from anchorbench.data.catalog_file import load_catalog

#: dataset: what makes its generated ladder smaller still, and its default task
FAMILIES = {
    "turbulence2d": ("generator.trajectories={train: 8, validation: 2, test: 2}", "forecast"),
    "turbulence3d": ("generator.trajectories={train: 4, validation: 1, test: 1}", "forecast"),
    "burgers": ("generator.trajectories={train: 16, validation: 4, test: 4}", "forecast"),
    "darcy": ("generator.trajectories={train: 16, validation: 4, test: 4}", "operator"),
    "weather": ("generator.trajectories={train: 4, validation: 2, test: 2}", "forecast"),
    "sevir": ("generator.trajectories={train: 4, validation: 2, test: 2}", "forecast"),
    "mri": ("generator.folds=20", "super_resolve"),
    "comephore": ("generator.trajectories={train: 4, validation: 2, test: 2}", "forecast"),
    "topography": ("generator.landscapes={train: 8, validation: 2, test: 2}", "super_resolve"),
}
METHODS = ("baseline", "multires", "frl")


def run(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["anchorbench", *words])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_every_family_of_the_catalogue_is_here():
    assert set(FAMILIES) == set(load_catalog().names)


@pytest.mark.parametrize("dataset", FAMILIES)
def test_a_family_is_fetched_and_three_methods_train_on_it(dataset, tmp_path, monkeypatch, capfd):
    smaller, task = FAMILIES[dataset]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANCHORBENCH_CACHE", str(tmp_path / "cache"))
    common = ("--size", "tiny", "--source", "generated", "--offline")
    assert run(monkeypatch, "fetch", dataset, *common, "--set", smaller, "--json") == 0, capfd.readouterr().err
    (ladder,) = json.loads(capfd.readouterr().out)["ladders"]
    seen = load_catalog().dataset(dataset).seen_from("generated")
    assert ladder["rungs"] == list(seen.size("tiny").rungs)
    quick = [f"data.{smaller}", "train.steps=3", "train.batch=4", "train.validate_every=3"]
    settings = [word for setting in quick for word in ("--set", setting)]
    methods = [word for method in METHODS for word in ("--method", method)]
    words = ("--dataset", dataset, *common, "--seeds", "1", "--workers", "1", "--threads", "1", *methods, *settings)
    assert run(monkeypatch, "train", *words, "--json") == 0, capfd.readouterr().err
    names = json.loads(capfd.readouterr().out)["runs"]
    for method in METHODS:
        (name,) = [n for n in names if n.startswith(f"{dataset}-{method}-")]
        with xr.open_dataset(tmp_path / "results" / name / "curve.nc", engine="netcdf4") as curve:
            scored = [rung for rung in ladder["rungs"] if task != "super_resolve" or rung > ladder["rungs"][0]]
            assert curve["rung"].values.tolist() == scored
            assert (curve["weight"].sum(("cluster", "channel")) > 0).all()
    assert run(monkeypatch, "report", "--results", "results") == 0, capfd.readouterr().err
    said = capfd.readouterr().out
    assert seen.sources["generated"].display_name in said
    assert task in (tmp_path / "results" / "report" / "report.md").read_text()
