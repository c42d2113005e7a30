"""Every defect that was measured in a public package, planted, is found; what is sound passes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from anchorbench.diagnose.certify_metric import certify_metric
from anchorbench.diagnose.certify_model import certify_model
from anchorbench.diagnose.certify_resampler import certify_resampler
from anchorbench.diagnose.findings import function_on, named, wave
from anchorbench.errors import ConfigError
from anchorbench.fields import Grid, band_energies, prolong, radial_spectrum, restrict

TAU = 2 * torch.pi


def defects(found):
    return {one.check for one in found if one.level == "defect"}


def level(found, check):
    return next(one.level for one in found if one.check == check)


@pytest.mark.parametrize("shape", [(64,), (63, 63), (16, 16, 16)])
def test_the_function_of_the_doctor_is_the_sum_of_its_waves_and_of_rms_one(shape):
    u = function_on(Grid(shape), 2, 5, seed=1, waves=4)
    assert u.square().mean().sqrt().item() == pytest.approx(1.0, rel=1e-9)
    k = torch.fft.fftn(u, norm="forward").abs()
    assert (k > 1e-9).sum() == 2 * min(4, (k > 1e-9).sum().item() // 2)  # each wave with its mirror


# -- metrics ----------------------------------------------------------------------------------------------------------


def rmse(p, t):
    return (p - t).square().mean().sqrt()


def energies(p, t):
    edges = [0.0, *(TAU * k for k in (6, 12.5, 20.5)), float("inf")]
    return band_energies((p - t)[:, 0].double(), Grid(tuple(p.shape[-2:])), edges).mean(0)


def summed(p, t):
    return (p - t).square().sum((1, 2, 3)).mean()


def quadrant(p, t):
    """Bands of the quadrant kx, ky >= 0, the root of a mean over entries."""
    n = p.shape[-1]
    power = torch.fft.fft2(p - t, norm="forward").abs()[..., : n // 2, : n // 2] ** 2
    k = torch.arange(n // 2)
    r = (k[:, None] ** 2 + k**2).sqrt()
    return [power[..., (r >= a) & (r < b)].mean().sqrt() for a, b in ((0, 4), (4, 12), (12, 1e9))]


def in_grid_units(p, t):
    """Band edges at thirds of the grid's own range: the error moves from high to mid."""
    n = p.shape[-1]
    edges = [0.0, *(TAU * n / 2 * share for share in (0.1, 0.33)), float("inf")]
    return {"bands": band_energies((p - t)[:, 0].double(), Grid((n, n)), edges).mean(0)}


def growing_spectrum(p, t):
    """A spectrum that is multiplied by the number of points."""
    n = p.shape[-1]
    return radial_spectrum((p - t)[:, 0].double(), Grid((n, n))).energy.mean(0) * n**2


def test_a_sound_metric_passes_and_a_root_in_each_batch_is_noted():
    found = certify_metric(rmse)
    assert defects(found) == set()
    assert level(found, "batches") == "note"  # (0.1 + 0.3)/2 is not √((0.01 + 0.09)/2)
    assert level(certify_metric(lambda p, t: rmse(p, t) ** 2), "batches") == "sound"
    assert defects(certify_metric(energies)) == set()


@pytest.mark.parametrize(
    ("metric", "checks"),
    [
        (summed, {"same error function", "constants"}),
        (quadrant, {"same error function", "all quadrants", "Parseval"}),
        (in_grid_units, {"same error function"}),
        (growing_spectrum, {"same error function", "constants"}),
    ],
)
def test_a_metric_of_the_grid_is_found(metric, checks):
    assert checks <= defects(certify_metric(metric))


def test_a_sum_over_pixels_is_told_with_its_slope():
    # 64² x 0.01 = 41, 164, 655.
    what = next(one for one in certify_metric(summed) if one.check == "same error function").what
    assert "41, 164, 655" in what
    assert "slope +2.00" in what


def test_frames_of_input_that_count_are_found():
    def counting(p, t):
        return ((p - t) ** 2).mean()

    def predicted(p, t):
        return ((p - t)[:, 4:] ** 2).mean()

    for metric, wanted in ((counting, "defect"), (predicted, "sound")):
        found = certify_metric(metric, layout="b t y x c", arrays="numpy", frames_in=4)
        assert level(found, "input frames") == wanted


def test_a_metric_that_does_not_fit_says_how_it_is_called():
    with pytest.raises(ConfigError, match=r"shape \(1, 1, 64, 64\)"):
        certify_metric(lambda p: p)
    with pytest.raises(ConfigError, match="axes b, y and x"):
        certify_metric(rmse, layout="b q")
    with pytest.raises(ConfigError, match="no number"):
        certify_metric(lambda p, t: "good")


# -- resamplers -------------------------------------------------------------------------------------------------------


def spectral(u, shape):
    up = Grid(tuple(map(max, shape, u.shape[2:])))
    return restrict(prolong(u, up), Grid(tuple(shape)))


def corners(u, shape):
    return F.interpolate(u, size=shape, mode={4: "bicubic", 5: "trilinear"}[u.ndim], align_corners=True)


def by_channels(u, shape):
    """The factor divides by the channels instead of the length."""
    return spectral(u, shape) * (1 if u.shape[1] == 1 else u.shape[-1] / u.shape[1])


def wrong_shift(u, shape):
    """fftshift where ifftshift undoes it: displaced by a bin on odd grids."""
    out = spectral(u, shape)
    axes = tuple(range(2, u.ndim))
    n = shape[0]
    if n % 2 == 0:
        return out
    shifted = torch.fft.fftshift(torch.fft.fftshift(torch.fft.fftn(out, dim=axes), dim=axes), dim=axes)
    return torch.fft.ifftn(shifted, dim=axes).real


def one_sided(u, shape):
    """A mask without mirrors: waves of negative first wavenumber are lost."""
    waves = torch.fft.fft2(spectral(u, shape))
    k = torch.fft.fftfreq(shape[0])
    return torch.fft.ifft2(waves * (k >= 0)[:, None] if u.ndim == 4 else waves).real


def with_spike(u, shape):
    out = spectral(u, shape)
    if shape[0] > u.shape[2]:
        n = torch.arange(shape[-1])
        out = out + 0.3 * torch.cos(TAU * n * u.shape[2] / 2 / shape[-1])
    return out


def resized(u, shape):
    """Bicubic with antialias, corners not aligned: 128 to 16 keeps 0.63 of the wave k = 7."""
    if u.ndim == 5:
        return F.interpolate(u, size=shape, mode="trilinear")
    return F.interpolate(u, size=shape, mode="bicubic", antialias=True)


def decimated(u, shape):
    """Every n-th point, without a low-pass."""
    n, m = u.shape[-1], shape[-1]
    return u[..., :: n // m, :: n // m] if n > m and n % m == 0 and u.ndim == 4 else spectral(u, shape)


def by_shells(u, shape):
    """A low-pass whose even grids count positive waves one shell too high: k = N/2 - 1 has no partner at -k."""
    m = shape[-1]
    if m >= u.shape[-1] or m % 2 or u.ndim == 5:
        return spectral(u, shape)
    k = torch.fft.fftfreq(m, 1 / m)
    kept = (k <= m / 2 - 2).float()
    return torch.fft.ifft2(torch.fft.fft2(spectral(u, shape)) * kept[:, None] * kept).real


def odd_volumes(u, shape):
    """Right in a plane; in a volume of odd size the rows up to n // 2 are taken, and the highest wave is left."""
    n = u.shape[2]
    if u.ndim == 4 or n % 2 == 0:
        return spectral(u, shape)
    waves = torch.fft.fft(u, dim=2)
    waves[:, :, n // 2] = 0
    return spectral(torch.fft.ifft(waves, dim=2).real, shape)


def test_the_spectral_resampler_is_sound_on_every_count():
    assert defects(certify_resampler(spectral)) == set()


@pytest.mark.parametrize(
    ("resampler", "checks"),
    [
        (corners, {"its own curve", "amplitude and phase", "odd sizes", "aliasing"}),
        (by_channels, {"same size", "constants"}),
        (wrong_shift, {"same size", "odd sizes"}),
        (one_sided, {"same size", "amplitude and phase", "its own curve"}),
        (with_spike, {"Parseval"}),
        (resized, {"amplitude and phase", "its own curve", "Parseval"}),
        (decimated, {"aliasing"}),
        (by_shells, {"amplitude and phase"}),
        (odd_volumes, {"three dimensions"}),
    ],
)
def test_a_resampler_that_changes_the_function_is_found(resampler, checks):
    assert checks <= defects(certify_resampler(resampler))


def test_the_curve_that_aligned_corners_draw_is_told_with_its_slope():
    own = next(one for one in certify_resampler(corners) if one.check == "its own curve")
    assert "slope −1.0" in own.what.replace("-", "−")


# -- models -----------------------------------------------------------------------------------------------------------

MODELS = '''
import torch
from torch import nn
from torch.nn import functional as F


class Smooth(nn.Module):
    """A multiplier of waves, the same on every grid: sound."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(in_channels, out_channels))

    def waves(self, x):
        n = x.shape[-1]
        k = torch.fft.fftfreq(n, 1 / n)[:, None].abs().maximum(torch.arange(n // 2 + 1.0))
        return torch.where(k < 8, 1 / (1 + k), 0.0)

    def forward(self, x):
        y = torch.fft.irfft2(torch.fft.rfft2(x) * self.waves(x), s=x.shape[-2:])
        return torch.einsum("io,bixy->boxy", self.weight, y)


class Coordinates(Smooth):
    """Positions n/(N - 1), as channels."""

    def forward(self, x):
        line = torch.linspace(0, 1, x.shape[-1])
        return super().forward(x) + torch.sin(3 * line)[:, None] * line


class Padded(nn.Module):
    """3 x 3 points, zeros around."""

    def __init__(self, in_channels, out_channels, mode="zeros"):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, padding_mode=mode)

    def forward(self, x):
        return self.conv(x)


class Squared(Smooth):
    """A product on the points that are there: it aliases."""

    def forward(self, x):
        return super().forward(x**3)


class Shifted(Smooth):
    """fftshift in place of ifftshift: the waves of an odd grid are displaced."""

    def forward(self, x):
        y = torch.fft.fftshift(torch.fft.fft2(super().forward(x)), dim=(-2, -1))
        return torch.fft.ifft2(torch.fft.fftshift(y, dim=(-2, -1))).real


class Frozen(Smooth):
    """Keeps its weights from the first evaluation for ever."""

    kept = None

    def forward(self, x):
        weight = self.weight if self.kept is None else self.kept
        if not self.training and self.kept is None:
            self.kept = weight.detach().clone()
        y = torch.fft.irfft2(torch.fft.rfft2(x) * self.waves(x), s=x.shape[-2:])
        return torch.einsum("io,bixy->boxy", weight, y)


class Discarded(Smooth):
    """A block whose output is thrown away."""

    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels)
        self.block = nn.Conv2d(in_channels, 4, 1)

    def forward(self, x):
        self.block(x)
        return super().forward(x)


class Noisy(Smooth):
    def forward(self, x):
        return super().forward(F.dropout(x, 0.3, training=True))


class OverTheBatch(Smooth):
    def forward(self, x):
        return super().forward(x / x.std())


class OnlyHere(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, out_channels, 32, 32))

    def forward(self, x):
        return x * self.table


class Miscentred(Smooth):
    """An odd number of modes, centred by the grid's own half: another row of weights meets k = 0 on a finer grid."""

    def waves(self, x):
        n = x.shape[-1]
        row = (torch.fft.fftfreq(n, 1 / n) + 7 + (n > 32))[:, None]
        return torch.where((row >= 0) & (row < 15), 1 / (1 + (row - 7).abs()), 0.0) * super().waves(x)


class Appended(Smooth):
    """Eight points of zeros at the end of each axis, whatever the grid."""

    def forward(self, x):
        n = x.shape[-1]
        return super().forward(F.pad(x, (0, 8, 0, 8)))[..., :n, :n]


class BetweenGrids(Smooth):
    """Down to half the points and up again, with corners aligned: each point is displaced by its own amount."""

    def forward(self, x):
        n = x.shape[-1]
        half = F.interpolate(super().forward(x), size=n // 2, mode="bicubic", align_corners=True)
        return F.interpolate(half, size=n, mode="bilinear")


class InnerGrid(Smooth):
    """Carried by waves to 32 points and back: what is finer neither enters nor leaves."""

    def carried(self, x, n):
        waves, m = torch.fft.fft2(x, norm="forward"), x.shape[-1]
        out, k = torch.zeros(*x.shape[:-2], n, n, dtype=waves.dtype), (min(n, m) - 1) // 2
        for a in (slice(0, k + 1), slice(-k, None)):
            for b in (slice(0, k + 1), slice(-k, None)):
                out[..., a, b] = waves[..., a, b]
        return torch.fft.ifft2(out, norm="forward").real

    def forward(self, x):
        return self.carried(super().forward(self.carried(x, 32)), x.shape[-1])


class Stripes(Smooth):
    """The alternating pattern that an inverse transform of a spectrum without symmetry leaves."""

    def forward(self, x):
        return super().forward(x) + 0.01 * torch.cos(torch.pi * torch.arange(x.shape[-1]))
'''


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "planted.py"
    path.write_text(MODELS)
    return path


def certified(models, name, **options):
    return certify_model(f"{models}:{name}", rung=32, options=options)


def test_a_multiplier_of_waves_is_sound(models):
    found = certified(models, "Smooth")
    assert [one.check for one in found if one.level != "sound"] in ([], ["inner grid"])


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("Coordinates", "embedding"),
        ("Padded", "padding"),
        ("Padded", "kernel"),
        ("Squared", "aliasing"),
        ("Shifted", "odd grids"),
        ("Miscentred", "same function"),
        ("Appended", "embedding"),
        ("BetweenGrids", "same function"),
        ("Frozen", "train and eval"),
        ("Discarded", "parameters"),
        ("Noisy", "determinism"),
        ("OverTheBatch", "batches"),
        ("OnlyHere", "finer grids"),
        ("Stripes", "Nyquist"),
    ],
)
def test_a_model_of_the_grid_is_found(models, name, check):
    assert check in defects(certified(models, name))


def test_padding_by_points_that_a_global_kernel_spreads_is_told_beside_positions(models):
    """Its trace has no edge, so it cannot be told from coordinates: the advice names both."""
    found = next(one for one in certified(models, "Appended") if one.check == "embedding")
    assert "pad by a share of the box" in found.do


def test_a_fixed_inner_grid_is_noted_for_it_is_an_anchor(models):
    found = certified(models, "InnerGrid")
    assert defects(found) == set()
    assert level(found, "inner grid") == "note"


def test_periodic_padding_is_no_defect_where_three_points_of_kernel_are(models):
    found = defects(certified(models, "Padded", mode="circular"))
    assert "kernel" in found
    assert "padding" not in found


def test_a_target_that_is_not_there_is_named(models, tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'Smooth'"):
        named(f"{models}:Smoth", kind="metric")
    with pytest.raises(ConfigError, match="does not exist"):
        named(f"{tmp_path}/no.py:f", kind="metric")
    with pytest.raises(ConfigError, match="cannot be imported"):
        named("no_such_package:f", kind="resampler")
    assert named("anchorbench.fields:restrict", kind="resampler") is restrict


def test_a_wave_of_the_doctor_is_a_cosine():
    assert wave(Grid((4,)), (1,)).tolist() == pytest.approx([1, 0, -1, 0], abs=1e-12)
