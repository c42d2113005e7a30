"""The frequency response, on operators whose response is known exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from anchorbench.data.samples import Batch
from anchorbench.errors import GridError, RunError
from anchorbench.fields import Grid
from anchorbench.fields.spectra import wavenumbers as lengths
from anchorbench.methods.base import Forecaster
from anchorbench.models.fno import FNO
from anchorbench.models.options import FnoOptions
from anchorbench.runs.response import chosen_waves, fits, response, transfer, wavenumbers

TAU = 2 * math.pi


def state(grid: Grid, *, frames: int = 1) -> Batch:
    """Noise, a state like any other."""
    u = torch.randn(1, frames, *grid.shape, generator=torch.Generator().manual_seed(0))
    return Batch(u, u[:, -1:].clone(), grid, grid, torch.zeros(1, dtype=torch.long))


def identity(batch: Batch) -> torch.Tensor:
    return batch.inputs[:, -1:]


GRIDS = (Grid((16,), (TAU,)), Grid((12, 15), (TAU, 2.0)), Grid((6, 8, 7), (1.0, 2.0, 3.0), centring="cell"))
WAVES = (torch.tensor([[1], [3], [7]]), torch.tensor([[1, 0], [-2, 3], [5, 7]]), torch.tensor([[1, 0, -1], [2, 3, 3]]))


@pytest.mark.parametrize(("grid", "waves"), list(zip(GRIDS, WAVES, strict=True)))
def test_the_identity_has_gain_1_phase_0_and_leaks_nothing(grid, waves):
    found = transfer(identity, state(grid), waves, channel=0)
    torch.testing.assert_close(found.h, torch.ones(len(waves), dtype=torch.complex128), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.energy, torch.ones(len(waves), dtype=torch.float64), atol=2e-4, rtol=0)


@pytest.mark.parametrize(("grid", "waves"), list(zip(GRIDS, WAVES, strict=True)))
def test_a_shift_by_one_point_turns_the_phase_by_minus_k_dx(grid, waves):
    """M u(x) = u(x − dx) along the last axis: exp(i k x) becomes exp(−i k dx) exp(i k x)."""
    found = transfer(lambda b: b.inputs.roll(1, dims=-1), state(grid), waves, channel=0)
    angle = -wavenumbers(grid, waves)[:, -1] * grid.spacing[-1]
    torch.testing.assert_close(found.h, torch.polar(torch.ones_like(angle), angle), atol=1e-4, rtol=0)


def test_a_shift_by_one_length_has_one_phase_on_every_grid_and_by_one_point_has_not():
    waves, k = torch.tensor([[1], [2], [3]]), torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    for n in (8, 16, 32):
        grid = Grid((n,), (TAU,))
        length = transfer(lambda b, n=n: b.inputs.roll(n // 8, dims=-1), state(grid), waves, channel=0)
        torch.testing.assert_close(length.h.angle(), -k * TAU / 8, atol=1e-4, rtol=0)
        point = transfer(lambda b: b.inputs.roll(1, dims=-1), state(grid), waves, channel=0)
        torch.testing.assert_close(point.h.angle(), -k * TAU / n, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("grid", "waves"), list(zip(GRIDS, WAVES, strict=True)))
def test_a_gaussian_filter_has_the_gain_of_its_transform(grid, waves):
    """û'(k) = exp(−k² s²/2) û(k)."""
    s, axes = 0.2, tuple(range(-grid.ndim, 0))

    def smooth(batch: Batch) -> torch.Tensor:
        gain = torch.exp(-(lengths(grid, half=False) ** 2) * s**2 / 2)
        return torch.fft.ifftn(torch.fft.fftn(batch.inputs, dim=axes) * gain, dim=axes).real

    k = wavenumbers(grid, waves).norm(dim=1)
    found = transfer(smooth, state(grid), waves, channel=0)
    torch.testing.assert_close(found.h.real, torch.exp(-(k**2) * s**2 / 2), atol=1e-4, rtol=0)
    assert found.h.imag.abs().max() < 1e-4


def test_an_fno_without_nonlinearity_responds_as_its_weights_say():
    """Each wave by matrices: H(k) = P₂ P₁ Π (Rᵢ(k)ᵀ + Wᵢ) L₂ L₁, R only below its modes, and 1 for the increment."""
    grid = Grid((32,), (TAU,))
    options = FnoOptions(
        width=3, layers=2, modes=8, mlp_ratio=0, local_kernel=0, activation="identity", embedding="none"
    )
    torch.manual_seed(0)
    model = FNO(1, 1, grid, options)
    module = Forecaster(model, increment=True)
    waves = torch.arange(1, 16)[:, None]
    with torch.no_grad():
        found = transfer(module, state(grid), waves, channel=0)
        for k, h in zip(range(1, 16), found.h, strict=True):
            v = (model.lift_out.weight @ model.lift_in.weight).to(torch.complex64)
            for block in model.blocks:
                matrix = block.skip.weight.to(torch.complex64)
                # Modes 8 hold |k| ≤ 4, of which the last axis of a real field keeps 0 ... 4.
                if k <= 4:
                    matrix = matrix + torch.view_as_complex(block.spectral.weight[k].contiguous()).T
                v = matrix @ v
            v = (model.project_out.weight @ model.project_in.weight).to(torch.complex64) @ v
            assert complex(h) == pytest.approx(1 + complex(v), abs=2e-3)


def test_a_product_leaks_into_the_waves_that_it_makes():
    """M u = u² around 2 + a cos 3x: the response to exp(ikx) is 4 exp(ikx) + a (exp(i(k+3)x) + exp(i(k−3)x))."""
    grid, a = Grid((32,), (TAU,)), 0.5
    x = grid.coordinates(0).float()
    u = (2 + a * torch.cos(3 * x))[None, None]
    batch = Batch(u, u, grid, grid, torch.zeros(1, dtype=torch.long))
    found = transfer(lambda b: b.inputs**2, batch, torch.tensor([[5], [8]]), channel=0)
    for h, energy in zip(found.h, found.energy, strict=True):
        assert abs(h) == pytest.approx(4, abs=1e-3)
        assert 1 - float(abs(h) ** 2 / energy) == pytest.approx(2 * a**2 / (16 + 2 * a**2), abs=1e-4)


def test_only_the_newest_frame_of_the_named_channel_is_perturbed():
    grid = Grid((8,), (TAU,))
    waves = torch.tensor([[1]])
    oldest = transfer(lambda b: b.inputs[:, :1], state(grid, frames=2), waves, channel=1)
    newest = transfer(lambda b: b.inputs[:, 1:], state(grid, frames=2), waves, channel=1)
    assert abs(complex(oldest.h[0])) == 0.0
    assert complex(newest.h[0]) == pytest.approx(1.0, abs=1e-4)


def test_the_size_of_a_batch_changes_no_response(monkeypatch):
    from anchorbench.runs import response as module

    grid, waves = GRIDS[1], WAVES[1]
    before = transfer(lambda b: b.inputs.sin(), state(grid), waves, channel=0)
    monkeypatch.setattr(module, "POINTS_PER_BATCH", 1)
    torch.testing.assert_close(transfer(lambda b: b.inputs.sin(), state(grid), waves, channel=0).h, before.h)


def test_a_wave_at_nyquist_has_no_phase_and_is_refused():
    with pytest.raises(GridError, match="carries whole waves below Nyquist"):
        transfer(identity, state(Grid((8,), (TAU,))), torch.tensor([[4]]), channel=0)


@pytest.mark.parametrize(
    ("grid", "highest"),
    [
        (Grid((32,)), (15,)),
        (Grid((16, 32), (1.0, 2.0)), (7, 14)),
        (Grid((12, 24), (1.0, 1.0)), (5, 5)),  # one radius in all directions: below the lower Nyquist
        (Grid((12, 12, 12)), (5, 5, 5)),
    ],
)
def test_the_chosen_waves_reach_to_nyquist_along_every_axis(grid, highest):
    modes = chosen_waves(grid, 8)
    waves = torch.tensor([wave for _, wave in modes])
    assert fits(grid, waves).all()
    assert len({tuple(w) for w in waves.tolist()}) == len(waves)
    assert not (waves == 0).all(dim=1).any()
    for axis, last in enumerate(highest):
        along = [abs(wave[axis]) for _, wave in modes if sum(map(bool, wave)) == 1 and wave[axis]]
        assert min(along) == 1
        assert max(along) == last
    for (
        ring,
        wave,
    ) in modes:  # within half a wave an axis of the radius that it stands for, in waves of the longest side
        radius = math.hypot(*(m * max(grid.extent) / length for m, length in zip(wave, grid.extent, strict=True)))
        assert abs(radius - ring) <= 0.5 * math.sqrt(grid.ndim) * max(grid.extent) / min(grid.extent)


# -- of a run ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def noise(ladder_of):
    rng = np.random.default_rng(0)
    return ladder_of({"u": rng.standard_normal((3, 3, 32))}, (8, 16, 32))


def test_every_rung_is_asked_the_same_physical_waves_and_none_that_it_lacks(noise, subject_of):
    data = response(subject_of(noise, identity))
    gain = np.hypot(data["re"], data["im"])
    for rung in (8, 16, 32):
        carried = np.abs(data["waves"].values[:, 0]) < rung / 2
        assert np.isfinite(gain.sel(rung=rung).values[carried]).all()
        assert np.isnan(gain.sel(rung=rung).values[~carried]).all()
        np.testing.assert_allclose(gain.sel(rung=rung).values[carried], 1.0, atol=1e-4)
    np.testing.assert_allclose(data["k"], np.abs(data["waves"].values[:, 0]))
    assert data["cluster"].values.tolist() == [0, 1, 2]
    assert data.attrs["k_train_nyquist"] == 4.0
    assert "solver_re" not in data, "nobody knows the equation of noise"


def test_the_solver_stands_beside_the_model_and_is_itself_where_the_solver_is_tested(bench):
    from anchorbench.runs.probes import Subject

    session = bench.session(bench.reference("solver"))
    known: dict = {}
    data = response(Subject.of(session, None, known))
    for name in ("re", "im", "energy"):
        np.testing.assert_array_equal(data[name], data[f"solver_{name}"])
    # Viscosity and drag take a little of the longest waves over one lead: most of it comes back.
    slow = np.hypot(data["re"], data["im"]).sel(rung=32).values[data["ring"].values == 1]
    assert (np.abs(slow - 1) < 0.25).all()
    assert set(next(iter(known.values()))) == {8, 16, 32}, "the next run of the command needs no solver"


def test_a_super_resolved_wave_is_asked_only_where_the_input_carries_it(noise, subject_of):
    def prolonged(batch: Batch) -> torch.Tensor:
        return batch.start()

    data = response(subject_of(noise, prolonged, train_rung=16, task="super_resolve", lead=0, input_rung=8))
    assert data["rung"].values.tolist() == [16, 32]
    for rung in (16, 32):
        gain = np.hypot(data["re"], data["im"]).sel(rung=rung).values
        carried = np.abs(data["waves"].values[:, 0]) < 4
        np.testing.assert_allclose(gain[carried], 1.0, atol=1e-4)
        assert np.isnan(gain[~carried]).all()


@pytest.mark.parametrize("change", [{"periodic": (False,)}, {"valid": True}])
def test_a_box_without_waves_of_its_own_is_refused(ladder_of, subject_of, change):
    rng = np.random.default_rng(0)
    u = rng.random((2, 3, 16))
    if change.pop("valid", False):
        change = {"valid": rng.random(u.shape) > 0.2}
    ladder = ladder_of({"u": u}, (8, 16), restriction="block_mean", centring="cell", **change)
    with pytest.raises(RunError, match="`response` asks for one wave after another"):
        response(subject_of(ladder, identity))


def test_a_prediction_that_is_not_finite_names_its_rung(noise, subject_of):
    with pytest.raises(RunError, match="on rung r016 is not finite"):
        response(subject_of(noise, lambda b: b.targets * (math.nan if b.grid.rung == 16 else 1.0)))
