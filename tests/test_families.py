"""Every family of data, end to end through the command line: fetched at `tiny`, and trained on a few steps."""

from __future__ import annotations

import json
import sys

import pytest
import xarray as xr

from anchorbench.cli import main
from anchorbench.data.catalog_file import load_catalog

FEW = {"train": 4, "validation": 2, "test": 2}
#: dataset: what makes its generated ladder smaller still, and its default task
FAMILIES = {
    "turbulence2d": ({"trajectories": FEW, "spin_up_time": 0.5, "floor_windows": 1}, "forecast"),
    "turbulence3d": ({"trajectories": FEW, "spin_up_time": 0.25, "floor_windows": 0}, "forecast"),
    "burgers": ({"trajectories": FEW, "floor_windows": 4}, "forecast"),
    "darcy": ({"trajectories": FEW, "floor_samples": 2}, "operator"),
    "weather": (
        {"trajectories": FEW, "spin_up_hours": 3, "settle_hours": 1, "frames": 2, "floor_windows": 0},
        "forecast",
    ),
    "sevir": ({"trajectories": FEW}, "forecast"),
    "mri": ({"subjects": FEW, "slices": 2, "folds": 20}, "super_resolve"),
    "comephore": ({"trajectories": FEW}, "forecast"),
    "topography": ({"landscapes": FEW}, "super_resolve"),
    "photographs": ({"pictures": FEW}, "super_resolve"),
    "solids": ({"solids": FEW}, "super_resolve"),
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
    settings = [f"generator.{name}={json.dumps(value)}" for name, value in smaller.items()]
    fewer = [word for setting in settings for word in ("--set", setting)]
    assert run(monkeypatch, "fetch", dataset, *common, *fewer, "--json") == 0, capfd.readouterr().err
    (ladder,) = json.loads(capfd.readouterr().out)["ladders"]
    seen = load_catalog().dataset(dataset).seen_from("generated")
    assert ladder["rungs"] == list(seen.size("tiny").rungs)
    quick = [*(f"data.{setting}" for setting in settings), "train.steps=3", "train.batch=4", "train.validate_every=3"]
    chosen = [word for setting in quick for word in ("--set", setting)]
    methods = [word for method in METHODS for word in ("--method", method)]
    words = ("--dataset", dataset, *common, "--seeds", "1", "--workers", "1", "--threads", "1", *methods, *chosen)
    assert run(monkeypatch, "train", *words, "--json") == 0, capfd.readouterr().err
    names = json.loads(capfd.readouterr().out)["runs"]
    for method in METHODS:
        (name,) = [n for n in names if n.startswith(f"{dataset}-{method}-")]
        with xr.open_dataset(tmp_path / "results" / name / "curve.nc", engine="netcdf4") as curve:
            scored = [rung for rung in ladder["rungs"] if task != "super_resolve" or rung > ladder["rungs"][0]]
            assert curve["rung"].values.tolist() == scored
            assert (curve["weight"].sum(("cluster", "channel")) > 0).all()
    assert run(monkeypatch, "report", "--results", "results", "--format", "png") == 0, capfd.readouterr().err
    said = capfd.readouterr().out
    assert seen.sources["generated"].display_name in said
    assert task in (tmp_path / "results" / "report" / "report.md").read_text()


@pytest.mark.parametrize("dataset", ["turbulence2d", "burgers", "darcy", "weather"])
def test_a_solved_ladder_trains_on_the_solver_s_own_fields_and_is_tested_on_the_truth(
    dataset, tmp_path, monkeypatch, capfd
):
    smaller, _ = FAMILIES[dataset]
    monkeypatch.setenv("ANCHORBENCH_CACHE", str(tmp_path / "cache"))
    opened = {}
    for kind in ("restricted", "solved"):
        settings = [f"generator.{name}={json.dumps(value)}" for name, value in {**smaller, "ladder": kind}.items()]
        chosen = [word for setting in settings for word in ("--set", setting)]
        words = ("fetch", dataset, "--size", "tiny", "--source", "generated", "--offline", *chosen, "--json")
        assert run(monkeypatch, *words) == 0, capfd.readouterr().err
        (ladder,) = json.loads(capfd.readouterr().out)["ladders"]
        opened[kind] = ladder["folder"]
        assert run(monkeypatch, "fetch", dataset, "--size", "tiny", "--source", "generated", *chosen, "--verify") == 0
        capfd.readouterr()

    def field(kind: str, split: str) -> xr.DataArray:
        with xr.open_datatree(f"{opened[kind]}/{split}.nc", engine="netcdf4") as tree:
            finest = tree[f"r{ladder['rungs'][0]:03d}"].to_dataset().load()
        return finest[load_catalog().dataset(dataset).headline][:, -1]

    xr.testing.assert_equal(field("solved", "test"), field("restricted", "test"))
    apart = float(abs(field("solved", "train") - field("restricted", "train")).max())
    assert apart > 1e-4 * float(field("restricted", "train").std())
