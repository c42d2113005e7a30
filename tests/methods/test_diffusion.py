"""`diffusion`: the ensemble of a Gaussian known in closed form, noise across rungs, what each stage trains."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from anchorbench.data.samples import Batch
from anchorbench.errors import ConfigError
from anchorbench.fields import Grid, project, restrict
from anchorbench.methods.base import Plan
from anchorbench.methods.denoiser import redrawn
from anchorbench.methods.diffusion import Diffusion
from anchorbench.methods.noise_fields import NoiseFields
from anchorbench.models.registry import build

GRID = Grid((8, 8))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plan_of(grid: Grid = GRID, *, increment: bool = False) -> Plan:
    return Plan((grid.rung,), grid, "spectral", increment)


def batch_of(n: int, grid: Grid = GRID, *, seed: int = 0) -> Batch:
    """Inputs of noise, and Y = 0.8 u + noise of deviation 0.3."""
    u, e = (torch.randn(n, 1, *grid.shape, generator=rng(seed + i)) for i in (0, 1))
    return Batch(u, 0.8 * u + 0.3 * e, grid, grid, torch.arange(n))


def network(method: Diffusion, model: str = "unet", **options) -> nn.Module:
    torch.manual_seed(0)
    options = options or {"width": 8, "depth": 1}
    built = build(
        model, in_channels=1 + method.extra_channels(), out_channels=1, grid=method.plan.train_grid, options=options
    )
    return method.wrap(built)


class Exact(nn.Module):
    """Y | u ~ N(0.8 u, s²), s 0.5 on the left half of the box and 2 on the right: μ, and the v of Y − μ."""

    def __init__(self, kept: Tensor) -> None:
        super().__init__()
        self.kept, self.noise_seed = kept, torch.tensor(3)
        self.spread = torch.where(torch.arange(8) < 4, 0.5, 2.0)

    def forward(self, batch: Batch) -> Tensor:
        return 0.8 * batch.inputs

    def conditions(self, batch: Batch) -> Tensor:
        return batch.inputs

    def denoise(self, given: Tensor, mean: Tensor, noisy: Tensor, levels: Tensor, grid: Grid) -> Tensor:
        a = float(self.kept[levels[0]])
        clean = math.sqrt(a) * self.spread**2 / (a * self.spread**2 + 1 - a) * noisy
        return (math.sqrt(a) * noisy - clean) / math.sqrt(1 - a)

    def unscaled(self, clean: Tensor) -> Tensor:
        return clean


@pytest.mark.parametrize(
    ("sampler", "members", "samples"), [("fast", 60, 10), ("ancestral", 2, 300)], ids=["fast", "ancestral"]
)
def test_an_exact_denoiser_gives_the_posteriors_mean_and_variance(sampler, members, samples):
    # 600 draws x 32 points a half: the mean of 19 200 values is known to s/139, their deviation to 0.5 %.
    method = Diffusion(plan_of(), {"sampler": sampler})
    batch = batch_of(samples)
    made = method.predict(Exact(method.kept), batch, members=members, rng=rng())
    left, right = ((made - 0.8 * batch.inputs)[..., half] for half in (slice(0, 4), slice(4, 8)))
    for part, spread in ((left, 0.5), (right, 2.0)):
        assert float(part.mean()) == pytest.approx(0.0, abs=4 * spread / 139)
        assert float(part.std()) == pytest.approx(spread, rel=0.03 + 0.015)


def test_members_follow_from_the_generator_and_more_of_them_keep_the_first():
    method = Diffusion(plan_of(), {"sampling_steps": 3})
    trained, batch = network(method).eval(), batch_of(2)
    with torch.no_grad():
        few, many = (method.predict(trained, batch, members=m, rng=rng(4)) for m in (2, 3))
        other = method.predict(trained, batch, members=2, rng=rng(5))
    assert few.shape == (2, 2, 1, 8, 8)
    torch.testing.assert_close(few, many[:2], rtol=0, atol=0)
    assert not torch.equal(few, other)
    assert not torch.equal(few[0], few[1])


@pytest.mark.parametrize("sampler", ["fast", "ancestral"])
def test_without_a_generator_a_sample_is_the_same_in_any_batch(sampler):
    method = Diffusion(plan_of(), {"sampling_steps": 3, "members": 2, "sampler": sampler})
    trained = network(method, "fno", width=4, layers=1, modes=4).eval()
    whole = batch_of(5)
    with torch.no_grad():
        together = method.predict(trained, whole, members=1, rng=None)
        part = replace(whole, inputs=whole.inputs[3:], targets=whole.targets[3:], clusters=whole.clusters[3:])
        alone = method.predict(trained, part, members=1, rng=None)
    assert len(together) == 2, "the method's own number, as none is too few to be an ensemble"
    torch.testing.assert_close(together[:, 3:], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("how", ["spectral", "block_mean"])
def test_noise_of_the_band_is_one_field_on_every_rung(how):
    home, periodic = Grid((16, 16)), how == "spectral"
    if not periodic:
        home = Grid((16, 16), centring="cell", periodic=(False, False))

    def noise(rung: int) -> Tensor:
        grid = home.with_rung(rung)
        batch = batch_of(3, grid)
        return NoiseFields.fixed(batch, seed=1, member=0, home=home, how=how, kind="band")().double()

    for rung in (8, 16, 32):
        grid = home.with_rung(rung)
        torch.testing.assert_close(restrict(noise(64), grid, how=how), noise(rung), rtol=1e-5, atol=1e-5)
    fine = noise(64)
    torch.testing.assert_close(fine, project(fine, home, how=how), rtol=1e-5, atol=1e-5)


def test_white_noise_has_variance_one_at_each_point_of_any_rung():
    for rung in (16, 64):
        grid = Grid((rung, rung))
        noise = NoiseFields.free(batch_of(40, grid), rng(), home=Grid((16, 16)), how="spectral", kind="white")()
        assert float(noise.var()) == pytest.approx(1.0, abs=5 * math.sqrt(2 / noise.numel()))


def test_samples_of_one_cluster_share_their_draw_and_others_do_not():
    batch = replace(batch_of(3), clusters=torch.tensor([7, 2, 7]))
    noise = NoiseFields.fixed(batch, seed=0, member=0, home=GRID, how="spectral", kind="white")()
    assert torch.equal(noise[0], noise[2])
    assert abs(float((noise[0] * noise[1]).mean())) < 4 / 8


@pytest.mark.parametrize("model", ["unet", "fno"])
def test_training_lowers_the_denoisers_loss(model):
    options = {"unet": {"width": 8, "depth": 1}, "fno": {"width": 8, "layers": 2, "modes": 8}}[model]
    method = Diffusion(plan_of(), {"mean_steps": 1000})
    trained, batch = network(method, model, **options), batch_of(8)
    optimiser = torch.optim.Adam(trained.parameters(), lr=1e-2)

    def loss(step: int) -> Tensor:
        return method.loss(trained, batch, step=step, rng=rng(step))

    def mean_loss() -> float:
        with torch.no_grad():
            return sum(float(loss(2000 + i)) for i in range(10)) / 10

    before = mean_loss()
    for step in range(60):
        optimiser.zero_grad()
        loss(step).backward()
        optimiser.step()
    assert mean_loss() < 0.8 * before


@pytest.mark.parametrize(
    ("training", "step", "trains"),
    [("joint", 0, "both"), ("joint", 9, "both"), ("two_stage", 0, "mean"), ("two_stage", 9, "denoiser")],
)
def test_each_stage_trains_its_own_network(training, step, trains):
    method = Diffusion(plan_of(), {"training": training, "mean_steps": 5})
    trained = network(method)
    method.loss(trained, batch_of(4), step=step, rng=rng()).backward()
    reached = {
        name: any(p.grad is not None for p in getattr(trained.model, name).parameters())
        for name in ("mean", "denoiser")
    }
    assert reached == {"mean": trains != "denoiser", "denoiser": trains != "mean"}


def test_the_residuals_spread_is_measured_in_training_and_only_there():
    method = Diffusion(plan_of(increment=True), {})
    trained, batch = network(method), batch_of(64)
    nn.init.zeros_(trained.model.mean.head.weight)
    nn.init.zeros_(trained.model.mean.head.bias)  # μ = u, so the residual is −0.2 u + 0.3 e
    method.loss(trained.eval(), batch, step=0, rng=rng())
    assert float(trained.scale) == 1
    method.loss(trained.train(), batch, step=0, rng=rng())
    assert float(trained.scale) == pytest.approx(math.sqrt(0.2**2 + 0.3**2), rel=0.05)
    published = Diffusion(plan_of(), {"residual_scale": "none"})
    plain = network(published)
    published.loss(plain.train(), batch, step=0, rng=rng())
    assert float(plain.scale) == 1


def test_what_was_not_observed_does_not_reach_the_loss():
    method = Diffusion(plan_of(), {})
    trained, batch = network(method), batch_of(2)
    mask = (torch.rand(2, 1, 8, 8, generator=rng(9)) > 0.5).float()
    masked = replace(batch, mask=mask)
    other = replace(masked, targets=torch.where(mask > 0, batch.targets, 100.0))
    losses = [method.loss(trained, b, step=0, rng=rng()) for b in (masked, other)]
    torch.testing.assert_close(*losses)


def test_a_unet_hears_the_level_though_its_norms_take_constants_away():
    # Width 8 has groups of one channel: what is constant over a periodic grid is lost in the first of them.
    method = Diffusion(plan_of(), {})
    trained, batch = network(method).eval(), batch_of(1)
    given, mean = trained.conditions(batch), trained(batch)

    @torch.no_grad()
    def said(level: int) -> Tensor:
        return trained.denoise(given, mean, batch.targets, torch.tensor([level]), GRID)

    torch.testing.assert_close(said(10), said(900), rtol=1e-4, atol=1e-5)
    for module in trained.modules():
        if hasattr(module, "told"):
            nn.init.normal_(module.told.weight, std=0.1)
    assert float((said(10) - said(900)).abs().max()) > 1e-2


def test_the_denoiser_begins_with_another_draw_of_the_same_law():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.GroupNorm(1, 5), nn.Linear(4, 4))
    nn.init.zeros_(model[2].weight)
    other = redrawn(model)
    torch.testing.assert_close(other[0].weight.flatten().sort().values, model[0].weight.flatten().sort().values)
    assert not torch.equal(other[0].weight, model[0].weight)
    assert not other[2].weight.any(), "what began at 0 still does"


def test_super_resolution_gives_members_on_the_finer_grid():
    coarse, fine = Grid((4, 4)), Grid((8, 8))
    batch = replace(batch_of(2), inputs=torch.randn(2, 1, 4, 4, generator=rng()), grid=coarse, out_grid=fine)
    method = Diffusion(plan_of(increment=True), {"sampling_steps": 2})
    with torch.no_grad():
        out = method.predict(network(method).eval(), batch, members=2, rng=rng())
    assert out.shape == (2, 2, 1, 8, 8)


def test_an_unknown_sampler_is_refused_by_name():
    with pytest.raises(ConfigError, match="sampler"):
        Diffusion(plan_of(), {"sampler": "euler"})
