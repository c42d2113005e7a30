"""Two small ladders: turbulence made of known waves, and rain with holes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anchorbench.config import LadderSpec
from anchorbench.data.ladder import SPLITS, TrainingView, write_ladder
from anchorbench.data.samples import Normaliser, Windows
from anchorbench.data.sources import SplitFields
from anchorbench.data.sources.turbulence import Options as Generator
from anchorbench.fields import Grid
from anchorbench.methods.base import Plan
from anchorbench.solvers import Flow, box, random_vorticity, trajectory

GENERATOR = Generator(
    truth_rung=64,
    viscosity=1e-2,
    drag=0.1,
    forcing_wavenumber=2,
    interval=0.125,
    frames=4,
    spin_up_rung=16,
    spin_up_time=0.0,
    trajectories={"train": 4, "validation": 2, "test": 2},
)


@pytest.fixture(scope="session")
def waves(tmp_path_factory):
    """turbulence2d on 8, 16 and 32 points, with its forcing as static field."""
    grid = box(32)
    start = random_vorticity(4, 64, generator=torch.Generator().manual_seed(5), peak_wavenumber=4.0, rms=4.0)
    frames = trajectory(start, Flow(viscosity=1e-2, forcing_wavenumber=2), interval=0.125, frames=4).transpose(0, 1)
    spec = LadderSpec(
        dataset="turbulence2d",
        source="generated",
        size="tiny",
        restriction="spectral",
        rungs=(8, 16, 32),
        grid=grid.to_dict(),
        variables=[{"name": "vorticity", "units": "1"}],
        time_step=0.125,
        time_unit="1",
        origin=GENERATOR.model_dump(mode="json"),
    )
    fields = SplitFields({"vorticity": frames.numpy()}, None, None, np.arange(4))
    static = {"forcing": GENERATOR.flow.forcing(grid).numpy()}
    return write_ladder(spec, dict.fromkeys(SPLITS, fields), tmp_path_factory.mktemp("waves"), attrs={}, static=static)


@pytest.fixture(scope="session")
def rain(tmp_path_factory):
    """Rain on 4, 8 and 16 cells; the same points are missing in all frames of a sample."""
    grid = Grid((16, 16), extent=(16.0, 16.0), centring="cell", periodic=(False, False), unit="km")
    rng = np.random.default_rng(2)
    valid = np.broadcast_to(rng.random((3, 1, 16, 16)) > 0.3, (3, 5, 16, 16)).copy()
    valid[..., :4, :4] = False
    values = np.where(valid, rng.gamma(0.5, 2.0, valid.shape), 0).astype(np.float32)
    spec = LadderSpec(
        dataset="sevir",
        source="sample",
        size="tiny",
        restriction="block_mean",
        rungs=(4, 8, 16),
        grid=grid.to_dict(),
        variables=[{"name": "rain", "units": "mm"}],
        time_step=5.0,
        time_unit="min",
        origin={},
    )
    fields = SplitFields({"rain": values}, valid, None, np.arange(3))
    return write_ladder(spec, dict.fromkeys(SPLITS, fields), tmp_path_factory.mktemp("rain"), attrs={})


@pytest.fixture(scope="session")
def windows():
    """windows(ladder, rung, home=...): the test split, normalised by the training split of the rung `home`."""

    def make(ladder, rung: int, *, frames_in: int = 1, lead: int = 1, home: int) -> Windows:
        normaliser = Normaliser.of(TrainingView(ladder, [home]), home)
        static = ladder.static(rung)
        return Windows(
            ladder,
            "test",
            rung,
            frames_in=frames_in,
            lead=lead,
            normaliser=normaliser,
            static=None if static is None else torch.from_numpy(static),
        )

    return make


@pytest.fixture(scope="session")
def plan():
    """plan(ladder, train_rung): what a method knows of it."""

    def make(ladder, train_rung: int, *, increment: bool = True) -> Plan:
        return Plan(ladder.rungs, ladder.grid(train_rung), ladder.restriction, increment)

    return make


@pytest.fixture(scope="session")
def free_plan():
    """free_plan(rungs, train_rung): a periodic square box of any rungs, of a ladder that is nowhere."""

    def make(rungs: tuple[int, ...], train_rung: int) -> Plan:
        spec = LadderSpec(
            dataset="turbulence2d",
            source="generated",
            size="tiny",
            restriction="spectral",
            rungs=rungs,
            grid=box(max(rungs)).to_dict(),
            variables=[{"name": "vorticity", "units": "1"}],
            time_step=0.125,
            time_unit="1",
            origin=GENERATOR.model_dump(mode="json"),
        )
        return Plan.of(spec, train_rung)

    return make
