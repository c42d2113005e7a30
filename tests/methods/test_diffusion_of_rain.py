"""`diffusion` of rain: settings by the factors, one of them frozen, the mean alone; and the floor under an ensemble."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from anchorbench.config import LadderSpec
from anchorbench.data.ladder import SPLITS, write_ladder
from anchorbench.data.samples import Batch, Normaliser
from anchorbench.data.sources import SplitFields
from anchorbench.data.space_time_windows import each_frame
from anchorbench.errors import ConfigError
from anchorbench.fields import Grid
from anchorbench.methods.base import Plan
from anchorbench.methods.climatology import Climatology
from anchorbench.methods.diffusion import Diffusion
from anchorbench.methods.noise import schedule
from anchorbench.models.registry import build

FINE = Grid((50, 50), extent=(50.0, 50.0), centring="cell", periodic=(False, False))


def plan(space: int, time: int) -> Plan:
    return Plan((50 // space, 50), FINE, "block_mean", True, input_rung=50 // space, time_factor=time)


def finish_of(method: Diffusion) -> nn.Module:
    channels = 1 + method.extra_channels()
    model = build("unet", in_channels=channels, out_channels=3, grid=FINE, options={"width": 4, "depth": 1})
    return method.wrap(model).finish


@pytest.mark.parametrize(("pair", "beta_max"), [((10, 1), 0.010), ((1, 3), 0.015), ((10, 3), 0.020), ((25, 6), 0.035)])
def test_the_noise_ends_where_the_published_table_says(pair, beta_max):
    method = Diffusion(plan(*pair), {"scale": "published"})
    assert torch.equal(method.kept, schedule("linear", steps=1000, beta_max=beta_max))


def test_what_is_frozen_keeps_what_was_set_and_the_rest_follows_the_factors():
    noise = Diffusion(plan(25, 6), {"scale": "published", "frozen": "beta_max", "beta_max": 0.02})
    assert torch.equal(noise.kept, schedule("linear", steps=1000, beta_max=0.02))
    words = {"scale": "published", "relu": True, "conserve": "tile", "taper": "identity"}
    by_table, kept = (finish_of(Diffusion(plan(10, 3), words | more)) for more in ({}, {"frozen": ["f"]}))
    z = torch.tensor([0.01, 0.05])
    # Published for (10, 3): z − 0.02 above it, else 0.
    torch.testing.assert_close(by_table._f(z), torch.tensor([0.0, 0.03]))
    torch.testing.assert_close(kept._f(z), z)
    with pytest.raises(ConfigError, match="frozen"):
        Diffusion(plan(10, 3), {"frozen": "L"})


def rain(n: int, *, dry: bool = False) -> tuple[Batch, Normaliser]:
    units, coarse = Normaliser((0.2,), (1.0,)), FINE.with_rung(5)
    amounts = torch.rand(n, 1, 5, 5, generator=torch.Generator().manual_seed(0)) * (0.0 if dry else 4.0)
    batch = Batch(
        units.apply(amounts), torch.zeros(n, 3, 50, 50), coarse, FINE, torch.arange(n),
        in_units=units, out_units=each_frame(units, 3), frames_out=3,
    )  # fmt: skip
    return batch, each_frame(units, 3)


@pytest.mark.parametrize("dry", [False, True])
def test_every_member_has_the_mass_of_the_coarse_frame_and_of_none_nothing_falls(dry):
    method = Diffusion(
        plan(10, 3), {"scale": "published", "relu": True, "conserve": "tile", "sampling_steps": 2, "noise_steps": 10}
    )
    model = build("unet", in_channels=1 + method.extra_channels(), out_channels=3, grid=FINE,
                  options={"width": 4, "depth": 1})  # fmt: skip
    trained = method.wrap(model).eval()
    batch, units = rain(2, dry=dry)
    trained.finish.see(batch)
    with torch.no_grad():
        members = method.predict(trained, batch, members=3, rng=None)
    made = units.undo(members.flatten(0, 1)).unflatten(0, members.shape[:2]).double()
    given = batch.in_units.undo(batch.inputs).double()
    wanted = (300 * given.sum((1, 2, 3))).expand(len(made), -1)  # 100 points and 3 hours of each cell
    torch.testing.assert_close(made.sum((2, 3, 4)), wanted, rtol=1e-5, atol=2e-3)
    assert float(made.min()) > -1e-6
    assert not dry or float(made.abs().max()) < 1e-6
    assert dry or not torch.equal(made[0], made[1])


@pytest.mark.parametrize("dry", [False, True])
def test_a_mean_held_to_the_mass_in_training_learns_through_the_root_and_its_gradient_is_finite(dry):
    words = {"scale": "published", "relu": True, "conserve": "tile", "denoiser": "none"}
    batch, _ = rain(2, dry=dry)
    losses = {}
    for finished in (False, True):
        torch.manual_seed(0)
        method = Diffusion(plan(10, 1), words | {"mean_finished": finished})
        trained = method.wrap(build("unet", in_channels=1, out_channels=3, grid=FINE, options={"width": 4, "depth": 1}))
        trained.finish.see(batch)
        rng = torch.Generator().manual_seed(0)
        losses[finished] = method.loss(trained.train(), batch, step=0, rng=rng)
        losses[finished].backward()
        assert all(torch.isfinite(p.grad).all() for p in trained.parameters())
        given_out = method.predict(trained.eval(), batch, members=1, rng=None)[0]
        own = trained(batch)
        torch.testing.assert_close(given_out, trained.finish(own, batch))
        wanted = given_out if finished else own
        torch.testing.assert_close(method.loss(trained, batch, step=0, rng=rng), wanted.square().mean())
    assert dry or not torch.allclose(losses[False], losses[True])


def test_the_denoiser_sees_the_mean_that_it_is_added_to():
    words = {"scale": "published", "relu": True, "conserve": "tile", "mean_finished": True, "sampling_steps": 2}
    method = Diffusion(plan(10, 3), words | {"noise_steps": 10})
    trained = method.wrap(
        build("unet", in_channels=1 + method.extra_channels(), out_channels=3, grid=FINE,
              options={"width": 4, "depth": 1})
    ).eval()  # fmt: skip
    batch, units = rain(2)
    trained.finish.see(batch)
    seen = []
    denoise = trained.denoise
    trained.denoise = lambda given, mean, *rest: (seen.append(mean), denoise(given, mean, *rest))[1]
    with torch.no_grad():
        method.predict(trained, batch, members=1, rng=None)
    mass = units.undo(seen[0]).double().sum((1, 2, 3))
    torch.testing.assert_close(mass, 300 * batch.in_units.undo(batch.inputs).double().sum((1, 2, 3)), rtol=1e-5, atol=0)


def test_without_its_denoiser_it_is_the_mean_one_member_and_no_channels_more():
    method = Diffusion(plan(10, 3), {"denoiser": "none", "members": 5})
    assert method.extra_channels() == 0
    trained = method.wrap(build("unet", in_channels=1, out_channels=3, grid=FINE, options={"width": 4, "depth": 1}))
    batch, _ = rain(2)
    with torch.no_grad():
        assert torch.equal(method.predict(trained.eval(), batch, members=3, rng=None), trained(batch)[None])


def test_climatology_draws_events_of_the_training_split_alike_on_every_rung_whatever_the_input(tmp_path):
    grid = Grid((4, 4), extent=(4.0, 4.0), centring="cell", periodic=(False, False))
    spec = LadderSpec(
        dataset="d", source="generated", size="tiny", restriction="block_mean", rungs=(2, 4), grid=grid.to_dict(),
        variables=[{"name": "rain", "units": "mm"}], time_step=1.0, time_unit="h", origin={},
    )  # fmt: skip
    event, hour = np.indices((5, 6))
    codes = np.broadcast_to((10 * event + hour)[..., None, None], (5, 6, 4, 4)).astype(np.float32)
    fields = {split: SplitFields({"rain": codes + 1000 * (split != "train")}, None, None, np.arange(5))
              for split in SPLITS}  # fmt: skip
    ladder, units = write_ladder(spec, fields, tmp_path, attrs={}), Normaliser((3.0,), (2.0,))
    draw = Climatology(ladder, units, members=6)

    def drawn(rung: int, clusters: list[int], seed: int) -> torch.Tensor:
        at = grid.with_rung(rung)
        inputs = torch.randn(len(clusters), 1, 2, 2, generator=torch.Generator().manual_seed(seed))
        batch = Batch(inputs, torch.zeros(len(clusters), 3, *at.shape), grid.with_rung(2), at,
                      torch.tensor(clusters), frames_out=3)  # fmt: skip
        return units.undo(draw.members(batch).flatten(0, 1)).unflatten(0, (6, len(clusters)))

    made = drawn(4, [7, 2, 7], seed=0)
    assert made.shape == (6, 3, 3, 4, 4)
    torch.testing.assert_close(made, made[..., :1, :1].expand_as(made))
    torch.testing.assert_close(made[:, :, 1:, 0, 0] - made[:, :, :-1, 0, 0], torch.ones(6, 3, 2))
    assert float(made.max()) < 1000, "of the training split"
    torch.testing.assert_close(made[:, 0], made[:, 2])
    assert not torch.equal(made[:, 0], made[:, 1])
    torch.testing.assert_close(drawn(2, [7], seed=1)[:, 0, :, 0, 0], made[:, 0, :, 0, 0])
