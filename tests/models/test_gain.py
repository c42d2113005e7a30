"""A gain on the spectral filters: what it multiplies, and at which share of Nyquist."""

import torch

from anchorbench.fields.grid import Grid
from anchorbench.models.fno import FNO, SpectralConv, share_of_nyquist
from anchorbench.models.options import FnoOptions


def test_the_share_of_nyquist_is_one_at_nyquist_and_halves_on_a_grid_twice_finer():
    cpu = torch.device("cpu")
    coarse = share_of_nyquist((8, 8), (8, 8), cpu)
    fine = share_of_nyquist((16, 16), (8, 8), cpu)
    assert coarse.shape == (8 * 5,)
    assert coarse.max() == 1.0
    torch.testing.assert_close(fine, coarse / 2)


def test_a_gain_multiplies_each_wave_by_its_own_factor():
    class Xi(torch.nn.Module):
        def forward(self, xi):
            return xi[:, None].expand(-1, 1)

    conv = SpectralConv(1, 1, (8, 8))
    x = torch.arange(16) / 16 * 2 * torch.pi
    wave = torch.cos(3 * x)[:, None].expand(16, 16)[None, :, :, None]
    plain = conv(wave)
    conv.gain = Xi()
    torch.testing.assert_close(conv(wave), plain * 3 / 8)  # k = 3 of 16 points: ξ = 3/8


def test_arm_c_of_frl_finds_the_filters_of_an_fno_and_starts_as_the_identity():
    from anchorbench.methods.frl import SpectralGain

    grid = Grid((8, 8))
    torch.manual_seed(0)
    model = FNO(2, 1, grid, FnoOptions(width=4, layers=2, modes=8))
    x = torch.randn(2, 2, 8, 8)
    before = model(x, grid, grid)
    SpectralGain.fit_into(model)
    assert sum(isinstance(m, SpectralGain) for m in model.modules()) == 2
    torch.testing.assert_close(model(x, grid, grid), before)
