"""FRL's three steps, each alone: coarse levels that are the ladder's own, codes, and a loss that is no second MSE."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from anchorbench.data.samples import Batch
from anchorbench.errors import ConfigError, MethodError
from anchorbench.fields import Grid, restrict
from anchorbench.methods.base import Plan, Track
from anchorbench.methods.encodings import encode
from anchorbench.methods.frl import (
    FRL,
    LEAST_ENERGY,
    FRLOptions,
    SpectralGain,
    band_means,
    coarsened,
    hann,
    spectral_loss,
)

TAU = 2 * math.pi
BOX = Grid((16, 16), extent=(TAU, TAU))
PLAIN = {"levels": 0, "encoding": "none", "spectral_weight": 0.0}


class Linear(nn.Module):
    """One weight a channel, points apart: it commutes with every linear restriction."""

    def __init__(self, channels: int, weight: float = 0.3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), weight))
        self.grids: list[tuple[int, ...]] = []

    def forward(self, x):
        self.grids.append(tuple(x.shape[2:]))
        return torch.einsum("bcyx,c->byx", x, self.weight)[:, None]


class Squaring(Linear):
    """It does not: the square of a restricted field is not the restricted square."""

    def forward(self, x):
        return super().forward(x**2)


def batch_of(inputs, targets, grid=BOX, **masks) -> Batch:
    return Batch(inputs, targets, grid, grid, torch.zeros(len(inputs)), **masks)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- step 1: coarse levels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("train", "coarse"), [(16, 8), (32, 16), (32, 8)])
def test_a_coarse_level_of_turbulence_is_the_ladders_own_batch_on_that_rung(waves, windows, plan, train, coarse):
    numbers = [0, 3, 7]
    fine, own = (windows(waves, rung, home=train).batch(numbers) for rung in (train, coarse))
    made = coarsened(fine, train // coarse, plan(waves, train))
    assert made.grid == own.grid == made.out_grid
    for part in ("inputs", "targets", "static"):
        torch.testing.assert_close(getattr(made, part), getattr(own, part), atol=1e-5, rtol=0)
    assert made.mask is None


@pytest.mark.parametrize("frames_in", [1, 3])
def test_a_coarse_level_of_masked_rain_is_the_ladders_own_batch_too(rain, windows, plan, frames_in):
    fine, own = (windows(rain, rung, home=16, frames_in=frames_in).batch([0, 1, 2]) for rung in (16, 4))
    made = coarsened(fine, 4, plan(rain, 16))
    assert (own.mask == 0).any()
    for part in ("inputs", "targets", "mask", "input_mask"):
        torch.testing.assert_close(getattr(made, part), getattr(own, part), atol=1e-5, rtol=1e-5)


def test_the_train_rung_itself_is_left_as_it_is(waves, windows, plan):
    batch = windows(waves, 16, home=16).batch([0])
    assert coarsened(batch, 1, plan(waves, 16)) is batch


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_training_sees_the_train_rung_and_its_halves_and_never_a_finer_grid(waves, windows, plan, levels):
    method = FRL(plan(waves, 32), {**PLAIN, "levels": levels, "cross_scale": 0.1 if levels else 0.0})
    assert method.rungs() == (32,)
    assert method.track is Track.ZERO_SHOT
    batch, model = windows(waves, 32, home=32).batch([0, 1]), Linear(2)
    trained = method.wrap(model)
    for step in range(30):
        method.loss(trained, batch, step=step, rng=rng(step))
    assert {shape[0] for shape in model.grids} == {32 // 2**j for j in range(levels + 1)}
    assert method.mix() == pytest.approx({32 // 2**j: 1 / (levels + 1) for j in range(levels + 1)})


def test_levels_are_drawn_evenly(waves, windows, plan):
    method, model = FRL(plan(waves, 16), {**PLAIN, "levels": 2}), Linear(2)
    batch, trained, n = windows(waves, 16, home=16).batch([0]), method.wrap(model), 900
    for step in range(n):
        method.loss(trained, batch, step=step, rng=rng(step))
    for points in (16, 8, 4):
        # a third each, within four standard deviations of a binomial
        assert abs(model.grids.count((points, points)) - n / 3) < 4 * math.sqrt(n * 2 / 9)


def test_a_level_is_a_function_of_the_steps_generator_alone(waves, windows, plan):
    method, batch = FRL(plan(waves, 16), {**PLAIN, "levels": 2}), windows(waves, 16, home=16).batch([0])
    trained = method.wrap(Linear(2))
    losses = [[method.loss(trained, batch, step=s, rng=rng(s)).item() for s in order] for order in (range(9), [4, 0])]
    assert [losses[0][4], losses[0][0]] == losses[1]


@pytest.mark.parametrize(("rung", "levels"), [(16, 3), (12, 2), (46, 2), (6, 1)])
def test_levels_end_at_a_whole_rung_above_3(free_plan, rung, levels):
    with pytest.raises(MethodError, match=f"{levels} levels below rung {rung} do not end at a whole rung"):
        FRL(free_plan((4, rung), rung), {"levels": levels})


@pytest.mark.parametrize(
    ("rung", "levels", "most"),
    [(23, 1, 0), (46, 2, 1), (16, 3, 2), (12, 2, 1), (6, 1, 0), (96, 9, 4)],  # 96 -> 48, 24, 12, 6
)
def test_the_advice_is_the_most_levels_that_fit(free_plan, rung, levels, most):
    with pytest.raises(MethodError) as caught:
        FRL(free_plan((rung,), rung), {"levels": levels})
    assert caught.value.do == f"--set method.frl.levels={most}"
    assert len(FRL(free_plan((rung,), rung), {"levels": most}).mix()) == most + 1


def test_every_axis_halves_with_the_rung():
    plan = Plan((4, 8), Grid((8, 12)), "spectral")
    FRL(plan, {"levels": 1})
    with pytest.raises(MethodError, match="whole rung"):
        FRL(Plan((8,), Grid((8, 9)), "spectral"), {"levels": 1})


# -- all steps off -----------------------------------------------------------------------------------------------------


def test_with_all_three_steps_off_frl_is_the_baseline(waves, windows, plan):
    batch = windows(waves, 16, home=16).batch([0, 1])
    model = Linear(2)
    method = FRL(plan(waves, 16), PLAIN)
    trained = method.wrap(model)
    expected = (trained(batch) - batch.targets).square().mean()
    assert method.loss(trained, batch, step=0, rng=rng()).item() == expected.item()
    assert method.extra_channels() == 0


# -- step 2: the code reaches the model --------------------------------------------------------------------------------


@pytest.mark.parametrize("arm", ["A", "B", "D", "raw-physical", "raw-index", "scalar"])
@pytest.mark.parametrize("rung", [8, 16, 32])
def test_the_code_of_the_batchs_own_grid_is_laid_behind_its_channels(waves, windows, plan, arm, rung):
    method = FRL(plan(waves, 16), {"encoding": arm, "waves": 3})
    batch = windows(waves, rung, home=16).batch([0, 1])
    seen = []

    class Watching(nn.Module):
        def forward(self, x):
            seen.append(x)
            return x[:, :1]

    method.wrap(Watching())(batch)
    expected = encode(arm, batch.grid, train_grid=BOX, waves=3)
    assert method.extra_channels() == len(expected)
    assert seen[0].shape[1] == 2 + method.extra_channels()  # vorticity and forcing
    torch.testing.assert_close(seen[0][1, 2:], expected)


def test_the_code_carries_no_weights_and_leaves_the_state_as_the_models(waves, plan):
    trained = FRL(plan(waves, 16), {"encoding": "B"}).wrap(Linear(10))
    assert list(trained.state_dict()) == ["model.weight"]


# -- arm C -------------------------------------------------------------------------------------------------------------


class Filter(nn.Module):
    """A spectral filter with room for a gain."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.gain: nn.Module | None = None


class Norm(nn.Module):
    """Has a `gain` too, but filters no spectrum."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(3))


def test_arm_c_gives_every_spectral_filter_a_gain_of_its_own(waves, plan):
    model = nn.Sequential(Filter(3), Norm(), nn.Sequential(Filter(5)))
    FRL(plan(waves, 16), {"encoding": "C"}).wrap(model)
    xi = torch.linspace(0, 1, 7)
    assert model[0].gain(xi).shape == (7, 3)
    assert model[2][0].gain(xi).shape == (7, 5)
    assert isinstance(model[1].gain, nn.Parameter)
    assert model[0].gain is not model[2][0].gain
    assert any(name.startswith("0.gain") for name in model.state_dict())


def test_a_gain_begins_at_1_everywhere_and_can_learn():
    gain = SpectralGain(4)
    xi = torch.rand(3, 5, generator=rng())
    assert torch.equal(gain(xi), torch.ones(3, 5, 4))
    (gain(xi) * torch.linspace(-1, 1, 4)).sum().backward()
    assert max(p.grad.abs().max().item() for p in gain.parameters()) > 0


def test_arm_c_adds_no_channel(waves, plan):
    assert FRL(plan(waves, 16), {"encoding": "C"}).extra_channels() == 0


def test_arm_c_refuses_a_model_without_spectral_filters(waves, plan):
    with pytest.raises(MethodError, match="Linear has none") as caught:
        FRL(plan(waves, 16), {"encoding": "C"}).wrap(Linear(2))
    assert "method.encoding=B" in caught.value.do


# -- step 3: the spectral loss -----------------------------------------------------------------------------------------


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.1, 1.0, 10.0]), st.sampled_from([(16, 16), (15, 12), (9, 9)]))
def test_without_bands_the_loss_is_a_second_mse_and_its_gradient_1_plus_lambda_times(seed, weight, shape):
    """Facts, test i: Parseval.  This is why the bands are normalised."""
    grid = Grid(shape)
    targets = noise(2, 1, *shape, seed=seed).double()
    out = noise(2, 1, *shape, seed=seed + 1).double().requires_grad_()
    batch = batch_of(targets, targets, grid)
    mse = (out - targets).square().mean()
    both = mse + weight * spectral_loss(out, batch, bands=8, normalised=False)
    (of_mse,), (of_both,) = torch.autograd.grad(mse, out, retain_graph=True), torch.autograd.grad(both, out)
    torch.testing.assert_close(both, (1 + weight) * mse)
    torch.testing.assert_close(of_both, (1 + weight) * of_mse)


def test_the_option_switches_the_bands_off(waves, windows, plan):
    batch, model = windows(waves, 16, home=16).batch([0, 1]), Linear(2)
    method = FRL(plan(waves, 16), {**PLAIN, "spectral_weight": 3.0, "band_normalised": False})
    trained = method.wrap(model)
    mse = (trained(batch) - batch.targets).square().mean()
    torch.testing.assert_close(method.loss(trained, batch, step=0, rng=rng()), 4 * mse)


def test_with_bands_the_gradient_is_no_multiple_of_the_mses():
    targets = restrict(noise(2, 1, 32, 32), BOX)
    out = (targets + 0.1 * noise(2, 1, 16, 16, seed=3)).requires_grad_()
    batch = batch_of(targets, targets)
    (of_mse,) = torch.autograd.grad((out - targets).square().mean(), out)
    (of_bands,) = torch.autograd.grad(spectral_loss(out, batch, bands=8), out)
    cosine = torch.cosine_similarity(of_mse.flatten(), of_bands.flatten(), dim=0)
    assert cosine < 0.999


def two_bands(low: float, high: float) -> torch.Tensor:
    """low cos 2x + high cos 6x on 16 points: ξ = 1/4 and 3/4."""
    x = BOX.mesh()[1].float()
    return (low * torch.cos(2 * x) + high * torch.cos(6 * x))[None, None]


def test_a_band_counts_by_its_relative_error_whatever_its_energy():
    """Two bands, one a hundred times weaker; each has waves of relative error ½ in turn."""
    truth = two_bands(1.0, 0.1)
    batch = batch_of(truth, truth)
    low = spectral_loss(truth + two_bands(0.5, 0.0), batch, bands=2).item()
    high = spectral_loss(truth + two_bands(0.0, 0.05), batch, bands=2).item()
    # error² / truth² of the band is 1/4, and the mean over two bands 1/8; ε in units of the bands' mean energy
    assert low == pytest.approx(1 / 8, rel=2 * LEAST_ENERGY)
    assert high == pytest.approx(1 / 8, rel=0.03)
    # the MSE calls the second a hundred times smaller
    squares = [two_bands(*error).square().mean().item() for error in ((0.5, 0.0), (0.0, 0.05))]
    assert squares[0] == pytest.approx(100 * squares[1], rel=1e-4)


def test_the_loss_of_nothing_is_1_and_of_the_truth_0():
    truth = restrict(noise(3, 1, 32, 32), BOX)
    batch = batch_of(truth, truth)
    assert spectral_loss(torch.zeros_like(truth), batch, bands=8).item() == pytest.approx(1.0, rel=1e-2)
    assert spectral_loss(truth, batch, bands=8).item() == 0.0


@pytest.mark.parametrize("form", ["amplitude", "log"])
def test_two_forms_are_blind_to_where_a_wave_stands_and_see_how_high_it_is(form):
    """A shift by half the box turns cos 2x and cos 6x into themselves, by a quarter of 2π/2 into −cos 2x, −cos 6x."""
    truth = two_bands(1.0, 0.5)
    batch = batch_of(truth, truth)
    assert spectral_loss(truth.roll(4, dims=-1), batch, bands=2, form=form).item() == pytest.approx(0.0, abs=1e-6)
    assert spectral_loss(truth.roll(4, dims=-1), batch, bands=2).item() > 1, "the complex form sees the phase"
    twice = spectral_loss(2 * truth, batch, bands=2, form=form).item()
    # (2 − 1)² of the amplitude in each band; (log 4)² of the energy
    assert twice == pytest.approx({"amplitude": 1.0, "log": math.log(4) ** 2}[form], rel=2e-3)


def test_the_form_is_left_out_of_a_dump_where_nobody_chose_it():
    """Digests of runs from before there was a choice stay what they were."""
    assert "spectral_form" not in FRLOptions().model_dump(mode="json")
    assert FRLOptions(spectral_form="log").model_dump(mode="json")["spectral_form"] == "log"


@pytest.mark.parametrize("n", [4, 8, 16, 15, 46])
def test_neither_the_mean_nor_the_nyquist_wave_is_in_a_band(n):
    """A vorticity has no mean and a restricted field no Nyquist wave: relative to that, any error is infinite."""
    grid = Grid((n, n))
    means = band_means(grid, 8).reshape(n, n, -1)
    assert (means[0, 0] == 0).all()
    if n % 2 == 0:
        assert (means[n // 2] == 0).all()
        assert (means[:, n // 2] == 0).all()
    inside = 2 * ((n - 1) // 2) + 1  # waves a side below Nyquist
    assert int((means.sum(-1) > 0).sum()) == inside**2 - 1
    torch.testing.assert_close(means.sum((0, 1)), torch.ones(means.shape[-1], dtype=torch.float64))


def test_an_error_in_the_mean_of_a_vorticity_does_not_outweigh_all_else():
    truth = restrict(noise(4, 1, 32, 32), Grid((8, 8)))
    truth = truth - truth.mean((-2, -1), keepdim=True)
    batch = batch_of(truth, truth, Grid((8, 8)))
    checkers = (-1.0) ** torch.arange(8)
    for error in (torch.full((8, 8), 0.01), 0.01 * checkers.expand(8, 8)):
        assert spectral_loss(truth + error, batch, bands=8).item() < 1e-6


def test_bands_that_a_coarse_level_has_no_wave_for_do_not_dilute_the_others():
    # 4 points carry one wave a side, ξ = 1/2: one band of 8
    assert band_means(Grid((4, 4)), 8).shape == (16, 1)
    # 16 points: ξ = 1/8 ... 7/8, seven of eight
    assert band_means(Grid((16, 16)), 8).shape == (256, 7)


def test_bands_are_even_in_the_share_of_nyquist_of_the_worst_axis():
    means = band_means(Grid((16, 16)), 4).reshape(16, 16, 4)
    # (ky, kx) -> ξ = max/8 -> band ⌊4 ξ⌋
    for ky, kx, band in ((0, 1, 0), (1, 1, 0), (2, 0, 1), (-2, 3, 1), (4, 1, 2), (5, -5, 2), (0, 6, 3), (-7, 7, 3)):
        assert means[ky, kx].argmax() == band


@pytest.mark.parametrize("shape", [(16,), (8, 12), (6, 4, 8)])
def test_the_loss_takes_one_two_and_three_dimensions(shape):
    truth = noise(2, 2, *shape)
    assert spectral_loss(truth + 0.1, batch_of(truth, truth, Grid(shape)), bands=4).isfinite()


def test_missing_points_and_what_a_model_writes_there_do_not_count():
    truth = restrict(noise(1, 1, 32, 32), BOX)
    mask = torch.ones(1, 1, 16, 16)
    mask[..., :5, :5] = 0
    batch = batch_of(truth, truth * mask, mask=mask)
    out = truth * mask + 0.1 * noise(1, 1, 16, 16, seed=5)
    wild = torch.where(mask > 0, out, 1e6)
    assert spectral_loss(wild, batch, bands=8).item() == spectral_loss(out, batch, bands=8).item()


def test_a_side_that_is_not_periodic_is_tapered_and_a_periodic_one_is_not():
    assert (hann(BOX) == 1).all()
    taper = hann(Grid((12, 16), periodic=(False, True)))
    assert torch.equal(taper, taper[:, :1].expand(12, 16))
    assert taper.square().mean().item() == pytest.approx(1.0, rel=1e-5)
    assert 0 < taper[0, 0] < taper[5, 0]
    torch.testing.assert_close(taper, taper.flip(0), atol=1e-6, rtol=0)


# -- the cross-scale term ----------------------------------------------------------------------------------------------


def cross_term(model, batch, plan) -> float:
    """The loss with a weight of 1 less that without, on one level."""
    losses = []
    for weight in (1.0, 0.0):
        method = FRL(plan, {**PLAIN, "levels": 1, "cross_scale": weight})
        losses.append(method.loss(method.wrap(model), batch, step=0, rng=rng()).item())
    return losses[0] - losses[1]


def test_the_cross_scale_term_is_nought_for_a_model_that_commutes_with_restriction(waves, windows, plan):
    batch = windows(waves, 16, home=16).batch([0, 1])
    assert cross_term(Linear(2), batch, plan(waves, 16)) == pytest.approx(0, abs=1e-9)


def test_the_cross_scale_term_is_the_square_of_what_does_not_commute(waves, windows, plan):
    batch = windows(waves, 16, home=16).batch([0, 1])
    model, coarse = Squaring(2), batch.grid.coarsened(2)
    u = torch.cat([batch.inputs, batch.static], 1)
    there = restrict(model(u), coarse) - model(restrict(u, coarse))
    assert cross_term(model, batch, plan(waves, 16)) == pytest.approx(there.square().mean().item(), rel=1e-4)


def test_the_cross_scale_term_of_a_masked_model_that_commutes_is_nought_too(rain, windows, plan):
    """Where input and target miss the same points."""
    batch = windows(rain, 16, home=16).batch([0, 1])
    model = Linear(2)
    model.weight.data = torch.tensor([0.3, 0.0])  # a gain on the rain, nothing on the mask
    assert cross_term(model, batch, plan(rain, 16)) == pytest.approx(0, abs=1e-9)


# -- mistakes ----------------------------------------------------------------------------------------------------------


def test_a_cross_scale_term_needs_a_coarser_level(free_plan):
    for rung, do in ((16, "--set method.frl.levels=1"), (23, "--set method.frl.cross_scale=0")):
        with pytest.raises(MethodError, match="cross_scale compares two levels") as caught:
            FRL(free_plan((rung,), rung), {"levels": 0, "cross_scale": 0.1})
        assert caught.value.do == do


@pytest.mark.parametrize(
    "options", [{"encoding": "B'"}, {"levels": -1}, {"waves": 0}, {"spectral_weight": -1.0}, {"spectral_bands": 0}]
)
def test_an_option_that_cannot_be_is_named(free_plan, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        FRL(free_plan((16,), 16), options)


def test_an_unknown_option_names_the_nearest(free_plan):
    with pytest.raises(ConfigError, match=r"no option 'level'.*'levels'"):
        FRL(free_plan((16,), 16), {"level": 1})


# -- a step of training ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_whole_loss_is_finite_and_reaches_the_weights_in_either_precision(waves, windows, plan, precision):
    method = FRL(plan(waves, 16), {"levels": 1, "waves": 2, "cross_scale": 0.1, "encoding": "B"})
    batch, trained = windows(waves, 16, home=16).batch([0, 1, 2]), method.wrap(nn.Conv2d(10, 1, 1))
    for step in range(4):
        with torch.autocast("cpu", precision, enabled=precision is torch.bfloat16):
            loss = method.loss(trained, batch, step=step, rng=rng(step))
        assert loss.dtype == torch.float32
        loss.backward()
        assert loss.isfinite()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in trained.parameters())


def test_masked_rain_trains_too(rain, windows, plan):
    method = FRL(plan(rain, 16), {"levels": 2, "waves": 2, "encoding": "B"})
    batch, trained = windows(rain, 16, home=16).batch([0, 1, 2]), method.wrap(nn.Conv2d(10, 1, 1))
    for step in range(4):
        loss = method.loss(trained, batch, step=step, rng=rng(step))
        loss.backward()
        assert loss.isfinite()
