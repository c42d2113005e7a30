"""Rain refined by the command line: trained, asked for other factors, reported with its tables and moving pictures."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
from PIL import Image

FEW = {"train.steps": 4, "train.batch": 2, "train.validate_every": 4, "model.width": 2, "model.heads": 1,
       "method.members": 2, "method.sampling_steps": 2, "method.mean_steps": 2, "method.noise_steps": 20,
       "data.trajectories": "{train: 4, validation: 2, test: 3}", "data.frames": 6, "data.substeps": 1,
       "task.frames": 2}  # fmt: skip


@pytest.fixture
def rain(cli, tmp_path, monkeypatch):
    """The catalogue's own comephore, its tile small."""
    tree = yaml.safe_load((Path(__file__).parents[2] / "datasets.yaml").read_text())
    path = tmp_path / "datasets.yaml"
    path.write_text(yaml.safe_dump(tree, allow_unicode=True, sort_keys=False))
    monkeypatch.setenv("ANCHORBENCH_DATASETS", str(path))
    monkeypatch.setenv("ANCHORBENCH_CACHE", str(tmp_path / "cache"))

    def train(*words: str):
        sets = [word for name, value in FEW.items() for word in ("--set", f"{name}={value}")]
        return cli(
            "train", "--dataset", "comephore", "--size", "tiny", "--seeds", "1", "--workers", "1", "--threads", "1",
            "--json", *sets, *words,
        )  # fmt: skip

    return train


def test_rain_is_refined_in_space_and_time_and_keeps_its_mass(rain, cli, tmp_path):
    pair = ("--method", "diffusion", "--factor", "10", "--time-factor", "3")
    said = rain(*pair)
    assert said.code == 0, said.err
    (name,) = [run for run in said.json["runs"] if "-diffusion-" in run]
    with xr.open_dataset(f"results/{name}/curve.nc", engine="netcdf4") as curve:
        at = curve.sel(rung=20)
        made, truth = (at[f"ensemble_{of}_mass"].values[:, 0] for of in ("members", "truth"))
        assert (truth > 0).any()
        np.testing.assert_allclose(made, truth, rtol=1e-5, atol=1e-3)
        # Three events of 6 hours with two coarse frames of three: hours 4, 5 and 6 of each, 400 km² an hour.
        assert float(at["ensemble_weight"].sum()) == pytest.approx(3 * 3 * 400)
    again = cli("evaluate", name, "--test", "factors", "--threads", "1", "--json")
    assert again.code == 0, again.err
    with xr.open_datatree(f"results/{name}/probes.nc", engine="netcdf4") as tree:
        asked = tree["factors"].to_dataset()
        pairs = list(zip(asked["space"].values.tolist(), asked["time"].values.tolist(), strict=True))
        own = asked.isel(pair=pairs.index((10, 3)))
        assert {(1, 3), (5, 1), (5, 6), (10, 1), (10, 6)} <= set(pairs)
        np.testing.assert_allclose(own["ensemble_absolute_error"].sum(), at["ensemble_absolute_error"].sum(), rtol=1e-5)
    plots = ("error-vs-res", "rain-frames", "rain-spectra", "rain-ranks", "rain-reliability")
    told = cli("report", "--axis", "space", "--format", "png", *(word for name in plots for word in ("--plot", name)))
    assert told.code == 0, told.err
    report = tmp_path / "results" / "report"
    with (report / "precipitation.csv").open() as file:
        rows = {row["label"]: row for row in csv.DictReader(file)}
    assert {"diffusion", "nearest", "bicubic", "climatology"} <= set(rows)
    assert rows["diffusion"]["pair"] == "(10, 3)"
    assert abs(float(rows["diffusion"]["mass_error"])) < 1e-5
    (moving,) = (report / "figures").glob("event-*.gif")
    with Image.open(moving) as picture:
        assert picture.n_frames == 3
    assert {path.name.rpartition("-rain-")[2] for path in (report / "figures").glob("*-amount-rain-*.png")} == {
        "frames.png", "spectra.png", "ranks.png", "reliability.png",
    }  # fmt: skip


def test_a_factor_that_a_named_ladder_lacks_is_said_in_one_line(rain):
    said = rain("--method", "diffusion", "--factor", "10", "--set", "data.rungs=16,32")
    assert said.code == 2
    assert "no rung 10 times coarser than 16" in said.err
