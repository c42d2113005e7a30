"""The Fourier neural operator as a whole: rungs, shifts, gradients, saving."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from anchorbench.errors import ConfigError
from anchorbench.fields.grid import Grid
from anchorbench.models.fno import FNO, coordinate_channels
from anchorbench.models.options import FnoOptions
from anchorbench.models.registry import call


def fno(grid: Grid, channels: tuple[int, int] = (1, 1), **options) -> FNO:
    torch.manual_seed(0)
    return FNO(*channels, grid, FnoOptions(**{"width": 6, "layers": 2, "modes": 8, **options}))


def band_limited(shape: tuple[int, ...], k_max: int = 3) -> Tensor:
    """One and the same function of the box on any grid: (1, 1, *shape), float64, waves up to k_max per axis."""
    rng = torch.Generator().manual_seed(1)
    y, x = (2 * torch.pi * torch.arange(n, dtype=torch.float64) / n for n in shape)
    u = torch.zeros(shape, dtype=torch.float64)
    for ky in range(-k_max, k_max + 1):
        for kx in range(k_max + 1):
            amplitude, phase = torch.randn(2, generator=rng, dtype=torch.float64)
            u += amplitude * torch.cos(ky * y[:, None] + kx * x[None] + phase)
    return u[None, None]


def low_coefficients(u: Tensor, k_max: int = 3) -> Tensor:
    spectrum = torch.fft.fft2(u, norm="forward")
    rows = [k % u.shape[-2] for k in range(-k_max, k_max + 1)]
    return spectrum[..., rows, : k_max + 1]


@pytest.mark.parametrize("shape", [(17, 17), (31, 33), (32, 32), (64, 15)])
@pytest.mark.parametrize("modes", [8, 9, (4, 6)])
def test_a_linear_operator_gives_one_function_on_every_grid(shape, modes):
    train, other = Grid((16, 16)), Grid(shape)
    model = fno(train, activation="identity", modes=modes).double()
    want, got = (call(model, band_limited(g.shape), g, g) for g in (train, other))
    assert_close(low_coefficients(got), low_coefficients(want), rtol=0, atol=1e-10)
    assert_close(got.square().mean(), want.square().mean(), rtol=1e-10, atol=0)  # and nothing beyond


@pytest.mark.parametrize("local", [0, 3])
@pytest.mark.parametrize("shift", [(1, 0), (5, 7)])
def test_a_shift_of_the_input_shifts_the_output_on_a_periodic_box(local, shift):
    grid = Grid((12, 15))
    model, x = fno(grid, local_kernel=local).double(), torch.randn(2, 1, *grid.shape, dtype=torch.float64)
    rolled = call(model, x.roll(shift, (2, 3)), grid, grid)
    assert_close(rolled, call(model, x, grid, grid).roll(shift, (2, 3)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(20,), (9, 12), (6, 5, 8)])
@pytest.mark.parametrize("embedding", ["none", "grid", "periodic"])
def test_it_runs_in_one_two_and_three_dimensions(shape, embedding):
    grid = Grid(shape)
    model = fno(grid, (3, 2), modes=4, embedding=embedding, local_kernel=3)
    assert call(model, torch.randn(2, 3, *shape), grid, grid).shape == (2, 2, *shape)


def test_an_output_on_a_finer_grid_is_the_model_there_on_the_carried_input():
    coarse, fine = Grid((16, 16)), Grid((32, 24))
    model = fno(coarse).double()
    got = call(model, band_limited(coarse.shape), coarse, fine)
    assert_close(got, call(model, band_limited(fine.shape), fine, fine), rtol=0, atol=1e-10)


def test_every_parameter_has_a_finite_gradient_and_moves_before_and_after_an_evaluation():
    grid = Grid((16, 16))
    model = fno(grid, local_kernel=3, embedding="periodic")
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    x, y = torch.randn(2, 4, 1, 16, 16)
    losses = []
    for _ in range(2):
        for _ in range(10):
            before = copy.deepcopy(model.state_dict())
            optimiser.zero_grad()
            loss = (call(model, x, grid, grid) - y).square().mean()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert (parameter != before[name]).any(), name
        model.eval()
        with torch.inference_mode():
            call(model, x, grid, grid)
        model.train()
    assert losses[-1] < losses[9] < losses[0]


def test_evaluation_mode_changes_no_number():
    grid = Grid((16, 16))
    model, x = fno(grid, local_kernel=3), torch.randn(1, 1, 16, 16)
    assert torch.equal(call(model.train(), x, grid, grid), call(model.eval(), x, grid, grid))


def test_a_saved_model_gives_the_same_output():
    grid = Grid((16, 16))
    model, other = fno(grid, local_kernel=3), FNO(1, 1, grid, FnoOptions(width=6, layers=2, modes=8, local_kernel=3))
    x = torch.randn(1, 1, 16, 16)
    assert not torch.equal(call(other, x, grid, grid), call(model, x, grid, grid))
    other.load_state_dict(model.state_dict())
    assert torch.equal(call(other, x, grid, grid), call(model, x, grid, grid))


def test_all_weights_are_real():
    assert not any(parameter.is_complex() for parameter in fno(Grid((16, 16))).parameters())


def test_without_a_channel_mlp_a_block_is_its_spectral_branch_and_its_skip():
    grid = Grid((8, 8))
    model = fno(grid, layers=1, modes=4, mlp_ratio=0.0)
    block, x = model.blocks[0], torch.randn(1, 8, 8, 6)
    assert_close(block(x, grid), block.spectral(x) + block.skip(x))


def test_bf16_stays_within_its_rounding():
    grid = Grid((16, 16))
    model, x = fno(grid, local_kernel=3), torch.randn(2, 1, 16, 16)
    want = call(model, x, grid, grid)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = call(model, x, grid, grid)
        got.float().sum().backward()
    assert (got - want).norm() < 0.03 * want.norm()  # bf16 keeps 8 bits: 0.4 % a product


def test_the_periodic_embedding_meets_itself_at_the_border_and_the_grid_embedding_is_the_share_of_the_box():
    grid = Grid((4,), extent=(2.0,))
    periodic = coordinate_channels(grid, True, torch.float64, torch.device("cpu"))
    assert_close(periodic, torch.tensor([[0, 1], [1, 0], [0, -1], [-1, 0]], dtype=torch.float64))
    share = coordinate_channels(grid, False, torch.float64, torch.device("cpu"))
    assert_close(share[:, 0], torch.tensor([0, 0.25, 0.5, 0.75], dtype=torch.float64))
    walls = coordinate_channels(Grid((2,), periodic=(False,)), True, torch.float64, torch.device("cpu"))
    assert_close(walls, torch.tensor([[0, 1], [0, -1]], dtype=torch.float64))  # half a wave from end to end


def test_modes_that_do_not_fit_the_axes_are_named():
    with pytest.raises(ConfigError, match=r"modes \(8, 8, 8\) does not fit the 2 axes"):
        fno(Grid((16, 16)), modes=(8, 8, 8))
