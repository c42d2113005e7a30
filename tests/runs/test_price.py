"""What is priced where runs are scored: the solver's work on each rung; and the anomaly correlation of weather."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import xarray as xr
from torch.utils.flop_counter import FlopCounterMode

from anchorbench.analysis import ANOMALY_NAMES
from anchorbench.config import LadderSpec, RunSpec, Variable
from anchorbench.data.ladder import write_ladder
from anchorbench.data.sources import SplitFields
from anchorbench.fields import Grid
from anchorbench.runs.evaluate import climatology, evaluate
from anchorbench.runs.price import TRANSFORMS
from anchorbench.runs.session import Session


def counted(work) -> int:
    with FlopCounterMode(display=False, custom_mapping=TRANSFORMS) as counter:
        work()
    return counter.get_total_flops()


def test_a_real_transform_is_half_a_complex_one_and_counts_all_its_points():
    x = torch.randn(3, 8, 16)
    real = 0.5 * 5 * 3 * 128 * 7  # 5/2 N log₂ N, N = 128 = 2⁷, three fields
    waves, z = torch.fft.rfft2(x), x.to(torch.complex64)
    assert counted(lambda: torch.fft.rfft2(x)) == real
    assert counted(lambda: torch.fft.irfft2(waves, s=(8, 16))) == real
    assert counted(lambda: torch.fft.fft2(z)) == 2 * real
    assert counted(lambda: torch.fft.fft(z, dim=1)) == 5 * 3 * 128 * 3  # along 8 = 2³ points


def test_the_solver_says_what_it_spends_on_each_rung_and_the_others_say_nothing(bench, tmp_path):
    found = {}
    for name in ("solver", "persistence"):
        session = bench.session(bench.reference(name))
        run = bench.run(session.spec, tmp_path)
        evaluate(session, run, rungs=session.scored_rungs)
        with xr.open_dataset(run.path / "curve.nc", engine="netcdf4") as data:
            found[name] = dict(data.attrs)
    assert "solver_price" not in found["persistence"]
    price = json.loads(found["solver"]["solver_price"])
    lead = bench.reference("solver").lead
    assert price["solves"] == 3 * math.ceil(4 / lead)  # three trajectories of five frames
    assert all(price["seconds"][rung] > 0 for rung in ("8", "16", "32"))
    # Twice the points an axis are at least four times the transforms' points, and steps do not get longer.
    assert price["flops"]["16"] > 4 * price["flops"]["8"]
    assert price["flops"]["32"] > 4 * price["flops"]["16"]


GLOBE = Grid((8, 16), (180.0, 360.0), "cell", "latlon", (False, True), unit="degree", origin=(-90.0, 0.0))


@pytest.fixture(scope="module")
def globe(tmp_path_factory) -> Session:
    """Weather whose departure d from a usual that varies over the globe is twice as large a step later; in one test
    sample of four it turns round.  Its training days lie as far above the usual as below it."""
    rng = np.random.default_rng(0)
    usual = 5.0 + np.cos(GLOBE.coordinates(0).numpy() * math.pi / 90)[:, None] + np.zeros(GLOBE.shape)
    d = rng.normal(size=GLOBE.shape)

    def split(*turns: float) -> SplitFields:
        frames = np.stack(
            [np.stack([usual + sign * d, usual + 2.0 * turn * sign * d]) for sign in (1, -1) for turn in turns]
        )
        return SplitFields({"height": frames.astype(np.float32)}, None, None, np.arange(len(frames)))

    spec = LadderSpec(
        dataset="weather", source="sample", size="tiny", restriction="conservative", rungs=(4, 8), grid=GLOBE.to_dict(),
        variables=(Variable(name="height", units="m"),), time_step=12.0, time_unit="h", origin={},
    )  # fmt: skip
    splits = {"train": split(1.0), "validation": split(1.0), "test": split(1.0, -1.0, 1.0, 1.0)}
    attrs = {"display_name": "weather", "producer": "these tests", "terms": "none"}
    ladder = write_ladder(spec, splits, tmp_path_factory.mktemp("globe"), attrs=attrs)
    run = RunSpec(
        ladder=spec.digest, dataset="weather", source="sample", size="tiny", task="forecast", lead=1, model="none",
        method="persistence", kind="reference", train=None, train_rung=4, band_rung=4,
    )  # fmt: skip
    return Session(run, ladder, torch.device("cpu"))


def test_persistence_of_weather_is_scored_about_the_training_splits_mean(globe, bench, tmp_path):
    """Products 2|d|² and −2|d|², three to one, over √(Σ|d|² Σ4|d|²): (3 − 1) / 4, on every rung."""
    run = bench.run(globe.spec, tmp_path)
    evaluate(globe, run, rungs=globe.scored_rungs)
    with xr.open_dataset(run.path / "curve.nc", engine="netcdf4") as data:
        for rung in (4, 8):
            product, forecast, truth = (float(data[name].sel(rung=rung).sum()) for name in ANOMALY_NAMES)
            assert product / math.sqrt(forecast * truth) == pytest.approx(0.5, abs=1e-5)
            assert truth == pytest.approx(4 * forecast, rel=1e-5)


def test_the_climatology_is_the_mean_of_the_training_days_at_each_point_of_the_rung(globe):
    days = globe.ladder.array("train", 8, "height").astype(np.float64).mean((0, 1))
    told = globe.target_units.undo(climatology(globe, 8)[None])[0, 0]
    np.testing.assert_allclose(told.numpy(), days, rtol=1e-6)
    assert days.std() > 0.5
    assert climatology(globe, 4).shape == (1, 4, 8)


def test_what_is_no_weather_has_no_anomalies(bench, tmp_path):
    session = bench.session(bench.reference("oracle_lowpass"))
    run = bench.run(session.spec, tmp_path)
    evaluate(session, run, rungs=(8,))
    with xr.open_dataset(run.path / "curve.nc", engine="netcdf4") as data:
        assert not any("anomaly" in str(name) for name in data)
