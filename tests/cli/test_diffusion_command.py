"""`train --method diffusion` as a person types it, on the tests' tiny ladder."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr


@pytest.mark.parametrize("training", ["joint", "two_stage"])
def test_a_diffusion_forecaster_is_trained_and_scored_on_every_rung(cli, training):
    few = {"training": training, "mean_steps": 6, "members": 2, "sampling_steps": 3, "noise": "band"}
    sets = [word for name, value in few.items() for word in ("--set", f"method.{name}={value}")]
    small = ("--set", "model.width=4", "--set", "model.depth=1")
    said = cli.train(
        "--dataset", "turbulence2d", "--method", "diffusion", "--model", "unet", *sets, *small, "--json"
    )  # fmt: skip
    assert said.code == 0, said.err
    (name,) = [run for run in said.json["runs"] if "-diffusion-unet-" in run]
    with xr.open_dataset(f"results/{name}/curve.nc", engine="netcdf4") as curve:
        assert curve["rung"].values.tolist() == [8, 16, 32]
        assert np.isfinite(curve["resolved"]).all()
        assert (curve["resolved"].sum(("cluster", "channel")) > 0).all()
