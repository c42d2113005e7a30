"""The method hinote: its targets, its losses, and what the prior weighs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from anchorbench.data.samples import Batch
from anchorbench.errors import MethodError
from anchorbench.fields import Grid, restrict
from anchorbench.fields.resample_points import interpolate
from anchorbench.methods.base import mean_square
from anchorbench.methods.hinote import Hinote, on_target
from anchorbench.methods.patches import patch_of
from anchorbench.methods.registry import build_method
from anchorbench.methods.sr_losses import emphasis, focal_frequency, scrambled, static_prior, weighted_mean

F64 = torch.float64


class Nothing(nn.Module):
    """Says 0 on whatever grid it is asked for, and remembers which."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, ...]] = []
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, inputs, grid, out_grid):
        self.asked.append(out_grid.shape)
        return self.scale * torch.ones(len(inputs), 1, *out_grid.shape)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pair(coarse: Grid, fine: Grid, *, samples: int = 2, mask: torch.Tensor | None = None) -> Batch:
    torch.manual_seed(0)
    return Batch(
        torch.randn(samples, 1, *coarse.shape, dtype=F64), torch.randn(samples, 1, *fine.shape, dtype=F64), coarse,
        fine, torch.zeros(samples, dtype=torch.long), mask=mask,
    )  # fmt: skip


PAIR = (Grid((8, 8)), Grid((16, 16)))


def method(free_plan, rungs=(8, 16, 32), home=16, **options) -> Hinote:
    made = build_method("hinote", free_plan(rungs, home), options, task="super_resolve")
    assert isinstance(made, Hinote)
    return made


# -- targets -----------------------------------------------------------------------------------------------------------


def test_the_targets_are_evenly_spaced_rungs_up_to_the_train_rung_and_no_further(free_plan):
    made = method(free_plan, targets=5)
    assert made.target_rungs() == (8, 10, 12, 14, 16)
    assert made.mix() == dict.fromkeys((8, 10, 12, 14, 16), 0.2)
    assert made.rungs() == (16,)
    assert method(free_plan, targets=1).target_rungs() == (16,)
    assert method(free_plan, targets=3, finest_target=12).target_rungs() == (8, 10, 12)
    elsewhere = Hinote(replace(free_plan((4, 8, 16), 16), input_rung=8), {"targets": 3})
    assert elsewhere.target_rungs() == (8, 12, 16)


def test_every_factor_comes_up_equally_often_also_those_that_are_no_whole_number(free_plan):
    made, model = method(free_plan, targets=5, loss="l1"), Nothing()
    trained = made.wrap(model)
    for step in range(10):
        made.loss(trained, pair(*PAIR), step=step, rng=rng(step))
    assert sorted(shape[0] / 8 for shape in model.asked) == [1.0, 1.0, 1.25, 1.25, 1.5, 1.5, 1.75, 1.75, 2.0, 2.0]


def test_a_target_is_the_train_rung_s_truth_restricted():
    batch = pair(*PAIR)
    at = on_target(batch, 11, "spectral")
    assert torch.equal(at.targets, restrict(batch.targets, Grid((11, 11))))
    assert torch.equal(at.inputs, batch.inputs)
    assert on_target(batch, 16, "spectral") is batch


def test_where_blocks_do_not_nest_their_means_are_by_overlap_and_the_mask_goes_along():
    cells = Grid((4,), centring="cell", periodic=(False,))
    batch = replace(
        pair(cells.with_shape((2,)), cells, samples=1),
        targets=torch.tensor([[[0.0, 3.0, 6.0, 99.0]]]),
        mask=torch.tensor([[[1.0, 1.0, 1.0, 0.0]]]),
    )
    at = on_target(batch, 3, "block_mean")
    # Cells of 4/3: 0 and a third of 3; two thirds of 3 and of 6; a third of 6 and nothing.
    assert_close(at.targets.flatten(), torch.tensor([0.75, 4.5, 6.0]))
    assert_close(at.mask.flatten(), torch.tensor([1.0, 1.0, 0.25]))


@pytest.mark.parametrize(
    ("options", "said"),
    [({"finest_target": 32}, "finer than the train rung 16"), ({"coarsest_target": 20}, "coarsest target, rung 20")],
)
def test_targets_that_zero_shot_training_may_not_see_are_refused(free_plan, options, said):
    with pytest.raises(MethodError, match=said):
        method(free_plan, **options)


# -- patches -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("centring", ["point", "cell"])
def test_a_patch_holds_points_of_the_field_at_their_own_places(centring):
    coarse = Grid((8, 8), centring=centring, extent=(2.0, 2.0))
    fine = coarse.with_shape((12, 12))  # 3/2: target cells end on every second input cell
    batch = replace(pair(coarse, fine, samples=1), inputs=coarse.mesh()[None, :1], targets=fine.mesh()[None, :1])
    for seed in range(8):
        cut = patch_of(batch, 3, rng(seed))  # 3 is no whole number of pairs: 4
        assert cut.grid.intervals == (4, 4)
        assert cut.out_grid.intervals == (6, 6)
        assert not any(cut.grid.periodic)
        assert cut.grid.same_box(cut.out_grid)
        for u, grid in ((cut.inputs, cut.grid), (cut.targets, cut.out_grid)):
            apart = (u[0, 0] - grid.mesh()[0]) % 2.0  # around the edge it is the same point
            assert_close(apart.round(decimals=9) % 2.0, torch.zeros_like(apart))


def test_a_patch_as_large_as_the_field_is_the_field():
    batch = pair(*PAIR)
    assert patch_of(batch, 8, rng()) is batch


def test_training_on_patches_asks_for_no_more_than_the_patch(free_plan):
    made, model = method(free_plan, targets=1, patch=2, loss="mse"), Nothing()
    made.loss(made.wrap(model), pair(*PAIR), step=0, rng=rng())
    assert model.asked == [(5, 5)]  # 2 spacings of the input are 4 of the target, with both ends
    assert made.mix() == {5: 1.0}


# -- losses ------------------------------------------------------------------------------------------------------------


def test_the_mean_square_is_the_baseline_s_also_with_a_mask_and_on_the_sphere(free_plan):
    globe = Grid((6, 12), extent=(180.0, 360.0), kind="latlon", centring="cell")
    mask = torch.rand(2, 1, 6, 12, dtype=F64)
    for batch in (pair(*PAIR), pair(globe.with_shape((3, 6)), globe), pair(globe.with_shape((3, 6)), globe, mask=mask)):
        e = torch.randn_like(batch.targets)
        assert_close(weighted_mean(e.square(), batch), mean_square(e, batch))


def test_the_plain_losses_are_their_formulas(free_plan):
    batch = replace(pair(Grid((1,)), Grid((2,)), samples=1))
    e = torch.tensor([[[1.0, -3.0]]], dtype=F64)
    losses = {name: method(free_plan, loss=name).of_error(e, batch, rng()).item() for name in ("l1", "mse")}
    assert losses == {"l1": 2.0, "mse": 5.0}


def test_the_focal_loss_weighs_the_worst_wave_one_and_is_the_mean_square_without_focus():
    grid = Grid((8,))
    x = grid.coordinates(0)
    e = (2 * torch.cos(2 * math.pi * x) + torch.cos(6 * math.pi * x))[None, None]
    batch = replace(pair(Grid((4,)), grid, samples=1))
    # |ê|² of a cos is a² n/4 at ±k: 8 and 2, the focus |ê| is 1 and ½; mean over 8 waves of 2 (8 + 1)
    assert focal_frequency(e, batch, alpha=1.0).item() == pytest.approx(18 / 8)
    assert focal_frequency(e, batch, alpha=0.0).item() == pytest.approx(e.square().mean().item())


def test_the_static_prior_is_zero_where_spectral_resizing_makes_no_error():
    coarse, fine = PAIR
    wave = torch.cos(2 * math.pi * 3 * fine.mesh()[1])
    batch = replace(pair(coarse, fine, samples=1), inputs=wave[None, None, ::2, ::2], targets=wave[None, None])
    assert static_prior(batch).max().item() < 1e-12
    spiked = wave.clone()
    spiked[3, 5] += 2.0
    found = static_prior(replace(batch, targets=spiked[None, None]))
    assert found[0, 0, 3, 5].item() == pytest.approx(2.0)
    assert found.sum().item() == pytest.approx(2.0)


def test_the_weights_run_from_gamma_to_e_gamma_and_have_no_gradient():
    batch = pair(Grid((1,)), Grid((3,)), samples=1)
    p = torch.tensor([[[1.0, 2.0, 3.0]]], dtype=F64, requires_grad=True)
    w = emphasis(p, batch, alpha=1.0, gamma=0.5)
    assert_close(w.flatten(), 0.5 * torch.tensor([1.0, math.exp(0.5), math.e], dtype=F64))
    assert not w.requires_grad
    assert torch.equal(emphasis(torch.ones_like(p), batch, alpha=1.0, gamma=0.5), torch.full_like(p, 0.5))


def test_the_extremes_of_the_weights_are_those_of_valid_points():
    batch = pair(Grid((1,)), Grid((3,)), samples=1, mask=torch.tensor([[[1.0, 1.0, 0.0]]]))
    w = emphasis(torch.tensor([[[1.0, 2.0, 99.0]]]), batch, alpha=1.0, gamma=1.0)
    assert_close(w[0, 0, :2], torch.tensor([1.0, math.e]))


def test_the_prior_is_both_weights_on_the_absolute_error(free_plan):
    # y = (0, 2), R u = 0: static weights ½ and e/2.  e = (1, 3): learned weights 1 and e.
    batch = replace(
        pair(Grid((1,)), Grid((2,)), samples=1),
        inputs=torch.zeros(1, 1, 1, dtype=F64),
        targets=torch.tensor([[[0.0, 2.0]]], dtype=F64),
    )
    e = torch.tensor([[[1.0, -3.0]]], dtype=F64)

    def loss(**options) -> float:
        return method(free_plan, **options).of_error(e, batch, rng()).item()

    assert loss() == pytest.approx((0.5 * 1 + math.e / 2 * math.e * 3) / 2)
    assert loss(static_alpha=0, static_gamma=1) == pytest.approx((1 + math.e * 3) / 2)
    assert loss(learned_alpha=0, static_gamma=1) == pytest.approx((1 + math.e * 3) / 2)
    assert loss(static_alpha=0, static_gamma=1, learned_alpha=0) == pytest.approx(loss(loss="l1"))


def test_shuffled_weights_are_the_same_weights_elsewhere():
    w = torch.rand(3, 1, 4, 5)
    moved = scrambled(w, "points", noise=0.0, rng=rng())
    assert torch.equal(moved.flatten(1).sort().values, w.flatten(1).sort().values)
    assert not torch.equal(moved, w)
    assert torch.equal(scrambled(w, "samples", noise=0.0, rng=rng()), w[[2, 0, 1]])
    assert torch.equal(scrambled(w, "none", noise=0.0, rng=rng()), w)
    noisy = scrambled(torch.ones(1, 1, 100, 100), "none", noise=0.3, rng=rng()).log()
    assert abs(noisy.std().item() - 0.3) < 0.01


# -- the skip ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skip", ["carried", "bilinear"])
def test_a_model_that_says_nothing_leaves_the_interpolated_input(free_plan, skip):
    batch, made = pair(*PAIR), method(free_plan, skip=skip)
    out = made.predict(made.wrap(Nothing()), batch, members=1, rng=None)[0]
    wanted = batch.start() if skip == "carried" else interpolate(batch.inputs, *PAIR, "bilinear")
    assert_close(out, wanted)
    assert not torch.equal(batch.start(), interpolate(batch.inputs, *PAIR, "bilinear"))
