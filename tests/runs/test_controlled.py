"""The two controlled tests and the matrix: one low-pass on every grid, one grid under every low-pass."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from anchorbench.config import Variable
from anchorbench.data.samples import Batch
from anchorbench.errors import RunError, TrainingError
from anchorbench.fields import Grid, project, restrict
from anchorbench.runs.controlled import carried, information, matrix, resolution
from anchorbench.runs.evaluate import evaluate
from anchorbench.runs.examine import TESTS, Examination, examine
from anchorbench.runs.probes import Subject, read_probes
from anchorbench.runs.train import step_generator, train, validation_error

RUNGS = (8, 12, 16, 24)


def truth(batch: Batch) -> torch.Tensor:
    return batch.targets


def zero(batch: Batch) -> torch.Tensor:
    return torch.zeros_like(batch.targets)


def rms(data: xr.Dataset, name: str, **at: int) -> float:
    here = data.sel(at)
    return math.sqrt(float(here[name].sum() / here["weight"].sum()))


@pytest.fixture(scope="module")
def noise(ladder_of):
    """Noise on 24 x 24, three samples of three frames, and a static field: every rung loses waves that the next has."""
    rng = np.random.default_rng(0)
    return ladder_of({"u": rng.standard_normal((3, 3, 24, 24))}, RUNGS, static={"forcing": rng.random((24, 24))})


def low_passed(u: np.ndarray, cut: int) -> np.ndarray:
    """|kᵢ| < cut/2 on both axes, by numpy alone."""
    k = np.abs(np.fft.fftfreq(u.shape[-1], 1 / u.shape[-1]))
    kept = (k[:, None] < cut / 2) & (k[None, :] < cut / 2)
    return np.fft.ifft2(np.fft.fft2(u) * kept).real


# -- what is fed -------------------------------------------------------------------------------------------------------


def fed_by(test, subject, **options) -> list[Batch]:
    """Every batch that the subject was asked to predict."""
    seen: list[Batch] = []

    def spy(batch: Batch) -> torch.Tensor:
        seen.append(batch)
        return batch.targets

    test(replace(subject, predict=spy), **options)
    return seen


def test_with_information_held_every_grid_carries_one_and_the_same_function(noise, subject_of):
    """The low-pass of the finest rung by numpy, and the same values at the points that two grids share."""
    batches = {b.grid.rung: b for b in fed_by(resolution, subject_of(noise, truth, train_rung=12))}
    assert list(batches) == [8, 12, 16, 24]
    finest = np.asarray(noise.array("test", 24, "u"), np.float64)
    units = batches[24].in_units
    held = (low_passed(finest, 8) - units.mean[0]) / units.std[0]
    np.testing.assert_allclose(batches[24].inputs[:, 0], held[:, :2].reshape(6, 24, 24), atol=1e-5)
    np.testing.assert_allclose(batches[24].targets[:, 0], held[:, 1:].reshape(6, 24, 24), atol=1e-5)
    for fine, coarse, step in ((24, 12, 2), (24, 8, 3), (16, 8, 2)):
        for name in ("inputs", "targets", "static"):
            u, v = getattr(batches[fine], name), getattr(batches[coarse], name)
            torch.testing.assert_close(u[..., ::step, ::step], v, atol=1e-5, rtol=0)


def test_with_the_grid_held_the_input_has_the_waves_below_the_cut_off_and_no_other(noise, subject_of):
    batches = fed_by(information, subject_of(noise, truth))
    finest = np.asarray(noise.array("test", 24, "u"), np.float64)
    assert [b.grid.rung for b in batches] == [24] * 4
    for cut, batch in zip(RUNGS, batches, strict=True):
        held = (low_passed(finest, cut) - batch.in_units.mean[0]) / batch.in_units.std[0]
        np.testing.assert_allclose(batch.inputs[:, 0], held[:, :2].reshape(6, 24, 24), atol=1e-5)


@pytest.mark.parametrize("test", [resolution, matrix])
def test_four_grids_are_four_shapes_and_four_different_fields(noise, subject_of, test):
    batches = fed_by(test, subject_of(noise, truth))
    assert [tuple(b.inputs.shape[2:]) for b in batches] == [(n, n) for n in RUNGS]
    assert len({hashlib.sha256(b.inputs.numpy().tobytes()).hexdigest() for b in batches}) == 4


def test_a_tensor_that_is_not_on_the_grid_that_is_reported_is_refused(noise, subject_of):
    subject = subject_of(noise, truth)
    batch = subject.session.test_windows(16).batch([0])
    mislabelled = replace(batch, grid=noise.grid(24), out_grid=noise.grid(24))
    with pytest.raises(RunError, match=r"\(16, 16\).*were fed under the name of"):
        subject.scored(batch.targets, mislabelled, band=noise.grid(8), n_clusters=3)


def test_a_variable_with_a_restriction_of_its_own_is_repeated_and_masks_go_with_their_cells():
    coarse, fine = Grid((2,), (4.0,), centring="cell"), Grid((4,), (4.0,), centring="cell")
    batch = Batch(
        inputs=torch.tensor([[[1.0, 5.0], [2.0, 0.0]]]),
        targets=torch.tensor([[[3.0, 7.0]]]),
        grid=coarse,
        out_grid=coarse,
        clusters=torch.zeros(1, dtype=torch.long),
        mask=torch.tensor([[[1.0, 0.25]]]),
        input_mask=torch.tensor([[[1.0, 0.5]]]),
    )
    variables = (
        Variable(name="a", units="1", role="input", restriction="geometric_mean"),
        Variable(name="b", units="1", role="input"),
        Variable(name="y", units="1", role="target"),
    )
    out = carried(batch, fine, how="block_mean", variables=variables, frames_in=1)
    assert out.inputs.tolist() == [[[1.0, 1.0, 5.0, 5.0], [2.0, 2.0, 0.0, 0.0]]]
    assert out.targets.tolist() == [[[3.0, 3.0, 7.0, 7.0]]]
    assert out.mask.tolist() == [[[1.0, 1.0, 0.25, 0.25]]]
    assert out.input_mask.tolist() == [[[1.0, 1.0, 0.5, 0.5]]]


@pytest.mark.parametrize("n", [15, 16])
def test_what_is_carried_loses_nothing_and_gains_nothing(n):
    coarse, fine = Grid((n, n)), Grid((33, 33))
    u = project(torch.randn(2, 1, n, n, generator=torch.Generator().manual_seed(0)).double(), coarse)
    batch = Batch(u, u, coarse, coarse, torch.zeros(2, dtype=torch.long))
    out = carried(batch, fine, how="spectral", variables=(Variable(name="u", units="1"),), frames_in=1)
    torch.testing.assert_close(restrict(out.inputs, coarse), u)
    torch.testing.assert_close(project(out.inputs, coarse), out.inputs)


# -- what is scored ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("test", "dim"), [(resolution, "rung"), (information, "cut"), (matrix, "rung")])
def test_a_model_that_is_the_truth_has_no_error_in_any_test(noise, subject_of, test, dim):
    data = test(subject_of(noise, truth))
    assert data[dim].values.tolist() == list(RUNGS)
    assert float(data["total"].sum()) == 0.0


def test_persistence_does_not_know_the_grid_so_its_error_is_one_number_with_information_held(noise, subject_of):
    data = resolution(subject_of(noise, lambda batch: batch.start()))
    u = low_passed(np.asarray(noise.array("test", 24, "u"), np.float64), 8)
    sigma = np.asarray(noise.array("train", 8, "u"), np.float64).std()
    by_hand = math.sqrt(np.mean((u[:, 1:] - u[:, :-1]) ** 2)) / sigma
    for rung in RUNGS:
        assert rms(data, "total", rung=rung) == pytest.approx(by_hand, rel=1e-5)
        assert rms(data, "unseen", rung=rung) < 1e-5


def test_writing_nothing_errs_by_the_truth_below_each_cut_off(noise, subject_of):
    data = information(subject_of(noise, zero, train_rung=12))
    y = np.asarray(noise.array("test", 24, "u"), np.float64)[:, 1:]
    train = np.asarray(noise.array("train", 12, "u"), np.float64)
    for cut in RUNGS:
        seen = (low_passed(y, cut) - train.mean()) / train.std()
        assert rms(data, "total", cut=cut) == pytest.approx(math.sqrt(np.mean(seen**2)), rel=1e-5)
        within = (low_passed(y, min(cut, 12)) - train.mean()) / train.std()
        assert rms(data, "resolved", cut=cut) == pytest.approx(math.sqrt(np.mean(within**2)), rel=1e-5)


def test_what_a_model_writes_beyond_the_band_is_unseen_error(noise, subject_of):
    """0.3 cos 5x beyond the band |k| < 4 of rung 8: 0 of it within, √(0.09/2) beyond, on grids that carry k = 5."""

    def hallucinating(batch: Batch) -> torch.Tensor:
        x = batch.out_grid.mesh()[1].float()
        return batch.targets + 0.3 * torch.cos(5 * x)

    data = resolution(subject_of(noise, hallucinating))
    for rung in (12, 16, 24):
        assert rms(data, "resolved", rung=rung) < 1e-6
        assert rms(data, "unseen", rung=rung) == pytest.approx(0.3 / math.sqrt(2), rel=1e-5)


def test_a_row_of_the_matrix_is_scored_in_the_band_of_its_own_train_rung_and_one_unit(noise, subject_of):
    """A native run at 16 in the figure of a baseline at 8: cos 5x is within its band, in σ of rung 8."""

    def off(batch: Batch) -> torch.Tensor:
        return batch.targets + torch.cos(5 * batch.out_grid.mesh()[1].float())

    native = subject_of(noise, off, train_rung=16, band_rung=8, kind="native")
    data = matrix(native)
    assert data["rung"].values.tolist() == list(RUNGS)
    sigma = {n: np.asarray(noise.array("train", n, "u"), np.float64).std() for n in (8, 16)}
    one = math.sqrt(0.5) * sigma[16] / sigma[8]  # one deviation of its own normalisation, told in the baseline's
    for rung in (16, 24):
        assert rms(data, "resolved", rung=rung) == pytest.approx(one, rel=1e-5)
        assert rms(data, "unseen", rung=rung) < 1e-6


def test_holes_weigh_alike_on_every_grid_and_a_model_that_is_the_truth_has_no_error(ladder_of, subject_of):
    rng = np.random.default_rng(1)
    valid = rng.random((2, 3, 16)) > 0.3
    ladder = ladder_of(
        {"u": rng.random((2, 3, 16)) * valid}, (4, 8, 16), restriction="block_mean", valid=valid, centring="cell",
        periodic=(False,),
    )  # fmt: skip
    data = resolution(subject_of(ladder, truth, train_rung=8))
    assert float(data["total"].sum()) == 0.0
    # The weight of a rung counts its points: twice as many, twice the weight, of the same observed share.
    weight = data["weight"].sum(("cluster", "channel")).values
    np.testing.assert_allclose(weight, weight[0] * np.array([1, 2, 4]), rtol=1e-6)


def test_rungs_that_the_restriction_cannot_reach_are_left_out_by_name(ladder_of, subject_of):
    rng = np.random.default_rng(1)
    ladder = ladder_of({"u": rng.random((2, 3, 24))}, (8, 12, 24), restriction="block_mean", centring="cell")
    data = information(subject_of(ladder, truth), rung=24)
    assert data["cut"].values.tolist() == [8, 12, 24]
    data = resolution(subject_of(ladder, truth), band=8)
    assert data["rung"].values.tolist() == [8, 24]
    assert "8 on 12" in data.attrs["left_out"]


@pytest.mark.parametrize(
    ("test", "options", "says"),
    [
        (resolution, {"band": 10}, "--band 10: this run is scored on 8, 12, 16, 24"),
        (resolution, {"band": 24}, "two rungs or more from its band 24 up"),
        (information, {"rung": 32}, "--rung 32: this run is scored on 8, 12, 16, 24"),
        (information, {"rung": 8}, "two cut-offs or more up to rung 8"),
    ],
)
def test_a_band_or_grid_that_leaves_nothing_to_compare_is_refused(noise, subject_of, test, options, says):
    with pytest.raises(RunError, match=says):
        test(subject_of(noise, truth), **options)


# -- what lies on disk -------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(bench, tmp_path):
    """A trained run with its session and module."""
    session = bench.session(bench.spec())
    run = bench.run(session.spec, tmp_path)
    trained = train(session, run)
    run.finish()
    return session, run, trained


def test_a_test_made_again_replaces_its_own_group_and_leaves_the_others(finished):
    session, run, trained = finished
    assert read_probes(run) == {}
    examine(session, run, Examination(("resolution", "information")), trained=trained, known={})
    before = read_probes(run)
    examine(session, run, Examination(("information",), rung=16), trained=trained, known={})
    after = read_probes(run)
    assert set(before) == set(after) == {"resolution", "information"}
    assert int(before["information"].attrs["grid_rung"]) == 32
    assert int(after["information"].attrs["grid_rung"]) == 16
    xr.testing.assert_identical(after["resolution"], before["resolution"])
    assert not (run.path / "curve.nc").exists(), "its curve is not made by a test"


def test_with_the_information_of_one_cut_off_both_tests_meet_on_the_finest_grid(finished):
    session, run, trained = finished
    examine(session, run, Examination(("resolution", "information")), trained=trained, known={})
    data = read_probes(run)
    by_grid, by_cut = data["resolution"].sel(rung=32), data["information"].sel(cut=8)
    np.testing.assert_allclose(by_grid["total"], by_cut["total"], rtol=1e-12)


def test_weights_that_were_trained_again_have_no_tests_yet(finished):
    session, run, trained = finished
    examine(session, run, Examination(("resolution",)), trained=trained, known={})
    run.save_weights({name: w + 1 for name, w in trained.state_dict().items()})
    assert read_probes(run) == {}


def test_a_full_disk_leaves_the_tests_that_were_there(finished, monkeypatch):
    session, run, trained = finished
    examine(session, run, Examination(("resolution",)), trained=trained, known={})
    before = (run.path / "probes.nc").read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full)
    with pytest.raises(TrainingError, match="No space left"):
        examine(session, run, Examination(("information",)), trained=trained, known={})
    assert (run.path / "probes.nc").read_bytes() == before
    assert not list(run.path.glob(".probes*"))


def test_a_damaged_file_says_so(finished):
    _, run, _ = finished
    (run.path / "probes.nc").write_bytes(b"nothing of the kind")
    with pytest.raises(RunError, match=r"probes\.nc cannot be read"):
        read_probes(run)


def test_a_test_or_an_option_that_does_not_go_with_it_is_refused():
    with pytest.raises(RunError, match="Did you mean 'resolution'"):
        Examination(("resolutoin",))
    with pytest.raises(RunError, match="--band belongs to the test `resolution`"):
        Examination(("information",), band=8)
    assert set(TESTS) == {
        "resolution", "information", "matrix", "response", "rollout", "training", "factors", "samplers",
    }  # fmt: skip


# -- evaluation leaves training alone ----------------------------------------------------------------------------------


class Normed(nn.Module):
    """A model with statistics of its own."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(in_channels, 4, 3, padding=1, padding_mode="circular"),
            nn.BatchNorm2d(4),
            nn.GELU(),
            nn.Conv2d(4, out_channels, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


@pytest.fixture
def normed(bench):
    session = bench.session(bench.spec())
    module = Normed(session.in_channels(), 1)
    return session, session.method.wrap(module)


def one_step(session, module, step: int) -> None:
    windows = session.training_windows("train", session.spec.train_rung)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    rng = step_generator(0, step)
    optimiser.zero_grad()
    session.method.loss(module, windows.batch([step, step + 1]), step=step, rng=rng).backward()
    assert all(w.grad is not None for w in module.parameters()), "a look froze some weight"
    optimiser.step()


def looks(session, module, run) -> None:
    """Everything that looks at a model while or after it trains."""
    validation_error(session, module, session.training_windows("validation", session.spec.train_rung))
    examine(session, run, Examination(("resolution", "matrix")), trained=module, known={})


def test_a_look_between_two_steps_changes_no_mode_no_statistic_and_no_later_step(normed, bench, tmp_path):
    session, module = normed
    start = {name: w.clone() for name, w in module.state_dict().items()}
    run = bench.run(session.spec, tmp_path)

    def trained(look: bool) -> dict[str, torch.Tensor]:
        module.load_state_dict(start)
        module.train()
        one_step(session, module, 0)
        before = {name: b.clone() for name, b in module.named_buffers()}
        if look:
            looks(session, module, run)
            assert all(part.training for part in module.modules())
            for name, buffer in module.named_buffers():
                assert torch.equal(buffer, before[name]), f"{name} moved while nobody trained"
        one_step(session, module, 1)
        assert any(not torch.equal(b, before[name]) for name, b in module.named_buffers()), "it trains on"
        return {name: w.clone() for name, w in module.state_dict().items()}

    plain, looked = trained(look=False), trained(look=True)
    for name, w in plain.items():
        assert torch.equal(w, looked[name]), name
        assert w.dtype == torch.long or not torch.equal(w, start[name]), f"{name} is frozen"


def test_the_evaluation_of_a_finished_model_leaves_its_statistics(normed, bench, tmp_path):
    session, module = normed
    module.eval()
    before = {name: w.clone() for name, w in module.state_dict().items()}
    evaluate(session, bench.run(session.spec, tmp_path), trained=module, rungs=session.scored_rungs)
    assert not any(part.training for part in module.modules())
    for name, w in module.state_dict().items():
        assert torch.equal(w, before[name])


def test_a_reference_is_put_to_the_tests_too(bench):
    session = bench.session(bench.reference("persistence"))
    data = resolution(Subject.of(session, None, {}))
    errors = [rms(data, "total", rung=rung) for rung in (8, 16, 32)]
    assert errors == pytest.approx([errors[0]] * 3, rel=1e-5)
