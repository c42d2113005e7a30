"""The convolutional neural operator: what its activations alias, shifts between points, and its fixed inner grid."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from anchorbench.errors import ConfigError
from anchorbench.fields.grid import Grid
from anchorbench.fields.resample import project
from anchorbench.models.antialias import AliasFree, resample, scaled
from anchorbench.models.card import card
from anchorbench.models.cno import CNO
from anchorbench.models.options import CnoOptions
from anchorbench.models.registry import call, validate_options

SQUARE = Grid((16, 16))


def cno(grid: Grid, channels: tuple[int, int] = (1, 1), *, seed: int = 0, **options) -> CNO:
    torch.manual_seed(seed)
    return CNO(*channels, grid, CnoOptions(**{"width": 8, "depth": 2, **options}))


def wave(n: int, k: int, phase: float = 0.0) -> Tensor:
    """cos(2π k x + phase) on n points: (1, 1, n) float64."""
    return (2 * math.pi * k * torch.arange(n, dtype=torch.float64) / n + phase).cos()[None, None]


def amplitude(u: Tensor, k: int) -> float:
    return 2 * float(torch.fft.rfft(u, norm="forward")[0, 0, k].abs())


# cos of k = 3n/8 waves: even powers make 2k = 3n/4, which n points show as n/4.


@pytest.mark.parametrize("n", [16, 32, 128])
def test_the_square_of_a_high_wave_aliases_with_half_its_amplitude_or_not_at_all(n):
    # cos² = ½ + ½ cos 2k x, and twice the points hold 2k.
    u, grid = wave(n, 3 * n // 8), Grid((n,))
    assert amplitude(AliasFree(torch.square, antialias=False)(u, grid), n // 4) == pytest.approx(0.5, abs=1e-12)
    out = AliasFree(torch.square)(u, grid)
    assert amplitude(out, n // 4) < 1e-12
    assert_close(out, torch.full_like(out, 0.5), rtol=0, atol=1e-12)


@pytest.mark.parametrize("activation", [torch.abs, torch.relu])
@pytest.mark.parametrize("n", [16, 64])
def test_a_kink_leaves_a_seventy_third_of_the_alias_energy(activation, n):
    # |cos| on the points is 1, √½, 0, √½, ... : ½ cos(n/4) in all.  On twice the points it is |cos 3πj/8|, and
    # ¼ Σ_j |cos 3πj/8| cos(πj/4), j = 0..7, is (1 − 2 sin(π/8))/4.  (2/(1 − 2 sin(π/8)))² = 72.7.  relu is half of it.
    half = 1.0 if activation is torch.abs else 0.5
    u, grid = wave(n, 3 * n // 8), Grid((n,))
    plain = amplitude(AliasFree(activation, antialias=False)(u, grid), n // 4)
    ours = amplitude(AliasFree(activation)(u, grid), n // 4)
    assert plain == pytest.approx(half / 2, abs=1e-12)
    assert ours == pytest.approx(half * (1 - 2 * math.sin(math.pi / 8)) / 4, abs=1e-12)
    assert (plain / ours) ** 2 > 72


def test_a_windowed_sinc_takes_most_of_the_alias_energy_away_and_more_with_more_taps():
    u, grid = wave(32, 12), Grid((32,))
    left = [amplitude(AliasFree(torch.square, how="sinc", taps=taps)(u, grid), 8) for taps in (6, 12, 24)]
    assert left[0] > left[1] > left[2]
    assert (0.5 / left[1]) ** 2 > 1000


def test_gelu_of_a_high_wave_aliases_a_hundred_thousand_times_less():
    u, grid = wave(32, 12), Grid((32,))
    plain, ours = (
        amplitude(AliasFree(torch.nn.functional.gelu, antialias=on)(u, grid), 8) ** 2 for on in (False, True)
    )
    assert ours < 1e-5 * plain


def shifted(u: Tensor, points: tuple[float, float]) -> Tensor:
    """The field moved by any share of a point: û(k) exp(−2πi k·s/n)."""
    spectrum = torch.fft.fft2(u)
    for axis, s in zip((-2, -1), points, strict=True):
        n = u.shape[axis]
        turn = torch.exp(-2j * math.pi * torch.fft.fftfreq(n, dtype=torch.float64) * s)
        spectrum = spectrum * (turn[:, None] if axis == -2 else turn)
    return torch.fft.ifft2(spectrum).real


@pytest.fixture
def smooth() -> Tensor:
    torch.manual_seed(3)
    return project(torch.randn(2, 1, 16, 16, dtype=torch.float64), Grid((8, 8)))


def test_the_square_moves_with_its_field_by_any_share_of_a_point():
    torch.manual_seed(0)
    u = project(torch.randn(1, 1, 15, 16, dtype=torch.float64), Grid((15, 16)))
    grid, square = Grid((15, 16)), AliasFree(torch.square)
    assert_close(square(shifted(u, (0.3, 1.7)), grid), shifted(square(u, grid), (0.3, 1.7)), rtol=0, atol=1e-12)


def test_the_whole_model_moves_with_its_field_to_two_percent_where_a_plain_one_is_off_by_forty(smooth):
    def errors(antialias: bool) -> list[float]:
        found = []
        for seed in range(3):
            model = cno(SQUARE, seed=seed, depth=3, antialias=antialias).double()
            moved = shifted(call(model, smooth, SQUARE, SQUARE), (0.37, -1.61))
            there = call(model, shifted(smooth, (0.37, -1.61)), SQUARE, SQUARE)
            found.append(float((there - moved).norm() / (moved - moved.mean()).norm()))
        return found

    with torch.no_grad():
        assert max(errors(True)) < 0.02
        assert min(errors(False)) > 0.4


def test_a_shift_by_the_coarsest_cell_shifts_the_plain_model_too(smooth):
    model = cno(SQUARE, depth=3, antialias=False).double()
    rolled = call(model, smooth.roll((4, -8), (2, 3)), SQUARE, SQUARE)
    assert_close(rolled, call(model, smooth, SQUARE, SQUARE).roll((4, -8), (2, 3)), rtol=0, atol=1e-12)


@settings(max_examples=25)
@given(st.integers(1, 40), st.sampled_from([1, 10]), st.booleans(), st.sampled_from(["fourier", "sinc"]))
def test_a_resample_to_the_same_size_is_the_identity_for_one_channel_and_ten(n, channels, periodic, how):
    u, grid = torch.randn(2, channels, n), Grid((n,), periodic=(periodic,))
    assert torch.equal(resample(u, grid, grid, how=how), u)


@settings(max_examples=25)
@given(
    st.integers(6, 40),
    st.integers(6, 40),
    st.integers(0, 2),
    st.floats(0, 6.28),
    st.sampled_from([1, 10]),
    st.sampled_from(["point", "cell"]),
)
def test_a_resampled_wave_keeps_its_amplitude_and_its_place_whatever_the_sizes_and_channels(
    n, m, k, phase, channels, centring
):
    source, to = Grid((n,), centring=centring), Grid((m,), centring=centring)
    on = [(2 * math.pi * k * g.coordinates(0) + phase).cos().expand(1, channels, -1) for g in (source, to)]
    assert_close(resample(on[0], source, to), on[1], rtol=0, atol=1e-12)


def test_the_sinc_passes_half_of_the_band_and_stops_at_one_and_a_half():
    fine, coarse = Grid((64,)), Grid((32,))  # Nyquist 16
    assert_close(resample(wave(32, 8), coarse, fine, how="sinc"), wave(64, 8), rtol=0, atol=2e-3)
    assert_close(resample(wave(64, 8), fine, coarse, how="sinc"), wave(32, 8), rtol=0, atol=2e-3)
    assert resample(wave(64, 24), fine, coarse, how="sinc").abs().max() < 1e-3


@pytest.mark.parametrize("how", ["fourier", "sinc"])
@pytest.mark.parametrize("centring", ["point", "cell"])
@pytest.mark.parametrize("periodic", [True, False])
def test_a_constant_stays_one_through_filters_and_model_on_every_grid(how, centring, periodic):
    home = Grid((8, 12), centring=centring, periodic=(periodic, True))
    model = cno(home, norm="none", filter=how, depth=3).double()
    outs = []
    for shape in ((8, 12), (13, 24), (5, 7), (16, 9)):
        grid, u = home.with_shape(shape), torch.full((1, 1, *shape), 0.7, dtype=torch.float64)
        assert_close(AliasFree(torch.tanh, how=how)(u, grid), u.tanh(), rtol=0, atol=1e-12)
        outs.append(call(model, u, grid, grid))
    for out in outs:
        assert_close(out, outs[0][..., :1, :1].expand_as(out), rtol=0, atol=1e-12)


def test_waves_beyond_the_inner_grid_are_neither_heard_nor_written(smooth):
    model, fine = cno(SQUARE).double(), Grid((40, 40))
    u = resample(smooth, SQUARE, fine)
    high = torch.randn_like(u)
    high = high - project(high, SQUARE)
    out = call(model, u, fine, fine)
    assert_close(call(model, u + high, fine, fine), out, rtol=0, atol=1e-11)
    assert_close(project(out, SQUARE), out, rtol=0, atol=1e-12)


def test_a_finer_grid_gives_the_same_function_as_the_inner_one(smooth):
    model, fine = cno(SQUARE).double(), Grid((40, 24))
    there = call(model, resample(smooth, SQUARE, fine), fine, fine)
    home = call(model, smooth, SQUARE, SQUARE)
    assert_close(there, resample(home, SQUARE, fine), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("inner", "rule"), [("fixed", "fixed inner grid"), ("grid", "any grid")])
def test_the_card_says_on_which_grid_it_runs(inner, rule):
    made = card(cno(SQUARE, inner=inner), "cno", grid=SQUARE, in_channels=1, rungs=(8, 16, 32))
    assert made.grid_rule == rule
    assert ("fixed inner grid of 16x16" in made.kernel) is (inner == "fixed")
    assert (made.flops[32] > 2 * made.flops[16]) is (inner == "grid")


def test_between_walls_a_finer_wave_is_stopped_away_from_them_and_the_card_says_that_it_is_no_exact_filter():
    # Kaiser's window with β = 5 stops to 50 dB, a factor of 3e-3; at a wall the outermost value goes on, which is no
    # wave: there half of the weights see a constant of 1, and about half of it comes through.
    fine, coarse = (Grid((n,), periodic=(False,)) for n in (129, 65))
    wave = (2 * math.pi * 48 * fine.coordinates(0)).cos()  # Nyquist of the coarse one: 32
    out = resample(wave, fine, coarse)
    assert out[7:-7].abs().max() < 3e-3  # taps/2 spacings, and one
    assert out[0] == pytest.approx(0.5, abs=0.1)
    walled = cno(Grid((16, 16), centring="cell", periodic=(True, False)))
    assert "alias-free (fourier, sinc between walls)" in walled.facts["kernel"]
    assert "alias-free (fourier)" in cno(SQUARE).facts["kernel"]


def test_a_filter_first_needed_while_evaluating_serves_in_training_and_keeps_float32_under_autocast():
    grid, fine = Grid((11, 13)), Grid((19, 23))
    model, u = cno(grid), torch.randn(1, 1, 19, 23)
    with torch.inference_mode():
        call(model.eval(), u, fine, fine)
    call(model.train(), u, fine, fine).square().mean().backward()
    assert all(w.grad is not None and w.grad.any() for w in model.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = resample(u, fine, grid)
    assert torch.equal(inside, resample(u, fine, grid))


def test_odd_and_even_finer_grids_give_one_function_to_the_last_digit(smooth):
    model = cno(SQUARE).double()
    outs = []
    for n in (31, 32, 33):
        grid = Grid((n, n))
        outs.append(resample(call(model, resample(smooth, SQUARE, grid), grid, grid), grid, SQUARE))
    for out in outs[1:]:
        assert_close(out, outs[0], rtol=0, atol=1e-12)


def test_plain_steps_take_every_other_point_and_repeat_it():
    grid, plain = Grid((8,)), AliasFree(torch.neg, antialias=False)
    u = torch.arange(8.0)[None, None]
    half = scaled(grid, double=False)
    assert torch.equal(plain(u, grid, half), -u[..., ::2])
    assert torch.equal(plain(u[..., ::2], half, grid), -u[..., ::2].repeat_interleave(2, -1))


@pytest.mark.parametrize(("shape", "half"), [((9, 12), (5, 6)), ((1, 7), (1, 4))])
def test_an_odd_axis_is_halved_upwards_and_ends_stay_ends(shape, half):
    assert scaled(Grid(shape), double=False).shape == half
    assert scaled(Grid((9,), periodic=(False,)), double=False).shape == (5,)  # 8 intervals, then 4
    assert scaled(Grid((5,), periodic=(False,)), double=True).shape == (9,)


@pytest.mark.parametrize("shape", [(20,), (9, 12), (6, 5, 8)])
@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("inner", ["fixed", "grid"])
def test_it_runs_in_one_two_and_three_dimensions_and_on_another_grid_for_its_output(shape, periodic, inner):
    grid = Grid(shape, periodic=(periodic,) * len(shape))
    model, u = cno(grid, (3, 2), width=4, depth=3, inner=inner), torch.randn(2, 3, *shape)
    for out_grid in (grid, grid.with_shape(tuple(n + 3 for n in shape)), grid.with_shape(tuple(n - 2 for n in shape))):
        out = call(model, u, grid, out_grid)
        assert out.shape == (2, 2, *out_grid.shape)
        assert out.isfinite().all()


def test_an_even_kernel_is_refused():
    with pytest.raises(ConfigError, match="an odd number of points"):
        validate_options("cno", {"kernel": 4})
