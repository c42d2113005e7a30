"""HiNOTE, a hierarchical neural operator transformer for arbitrary factors (Luo, Qian and Yoon, ICML 2024).

    M = decoder ∘ sampler ∘ encoder
    encoder   s times onto half the spacing: w (bilinear + Fourier), the Fourier branch from learned amplitude and phase
    sampler   `sampler.py`: 2^d neighbours, relative coordinates, areas, spacing; no parameters
    decoder   x₀ = lift, x_{l+1} = conv₂ Σ x_l;   y = B(x_last), then y ← conv [B(x_l), conv up Σ y];   project
              B Galerkin attention, Σ GELU between a refinement and a low-pass (`antialias.AliasFree`)

The skip of the interpolated input is the training's (`train.increment`, and method hinote's `skip`).

After the paper's released code, with these put right: the Fourier branch has gain 1 (there ¼), keeps the sign (there a
magnitude), splits the Nyquist wave as a whole (there also its phase is halved) and lies on the same points as the
bilinear one; the low-pass is centred and keeps constants; borders are periodic where the grid is.  Ours: the identity
after each stage of the encoder, whose fields have mean 0 (published: GELU, for fields in [0, 1]); a Fourier branch that
begins as band-limited interpolation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anchorbench.fields.grid import Grid
from anchorbench.fields.resample_points import interpolate
from anchorbench.models.antialias import AliasFree, Filter, scaled
from anchorbench.models.hinote_attention import GalerkinBlock
from anchorbench.models.sampler import query_rows, sampled, sampled_channels
from anchorbench.models.slabs import Conv, Slabs
from anchorbench.models.spectral_resize import from_spectrum, spectrum
from anchorbench.models.sr_options import HinoteOptions

#: Share of the largest amplitude below which a wave has no phase: it is rounding, and its gradient without bound.
NO_PHASE = 1e-6


class Fuser(nn.Module):
    """c₂ LeakyReLU c₁ on each wave alone; c₁ and c₂ mix channels.  Begins as the identity above −`floor`."""

    def __init__(self, channels: int, ndim: int, *, floor: float | None) -> None:
        super().__init__()
        self.first, self.last = (Conv(channels, channels, 1, ndim) for _ in range(2))
        if floor is not None:
            with torch.no_grad():
                for conv, shift in ((self.first, floor), (self.last, -floor)):
                    conv.weight.copy_(torch.eye(channels).reshape(conv.weight.shape))
                    assert conv.bias is not None
                    conv.bias.fill_(shift)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        out: Tensor = self.last(F.leaky_relu(self.first(x, grid), 0.1), grid)
        return out


class FourierBranch(nn.Module):
    """Onto finer points: û = A exp(iφ), A and φ each through its fuser, then the series padded with zeros."""

    def __init__(self, channels: int, ndim: int, *, exact: bool) -> None:
        super().__init__()
        self.amplitude = Fuser(channels, ndim, floor=0.0 if exact else None)
        self.phase = Fuser(channels, ndim, floor=math.pi if exact else None)

    def forward(self, x: Tensor, grid: Grid, to: Grid) -> Tensor:
        # A phase in bfloat16 has two digits, and there is no transform of one.
        with torch.autocast(x.device.type, enabled=False):
            z = spectrum(x.float() if x.dtype != torch.float64 else x, grid)
            amplitude = z.abs()
            waves = tuple(range(-grid.ndim, 0))
            faint = amplitude <= NO_PHASE * amplitude.detach().amax(waves, keepdim=True)
            phase = torch.where(faint, torch.ones_like(z), z).angle()
            z = torch.polar(torch.ones_like(amplitude), self.phase(phase, grid)) * self.amplitude(amplitude, grid)
            return from_spectrum(z, grid, to)


class Stage(nn.Module):
    """One doubling of the points: σ(w (bilinear + Fourier)), channels kept."""

    def __init__(self, channels: int, ndim: int, options: HinoteOptions) -> None:
        super().__init__()
        self.fourier = (
            None
            if options.branches == "bilinear"
            else FourierBranch(channels, ndim, exact=options.fourier_start == "exact")
        )
        self.bilinear, self.cat = options.branches != "fourier", options.combine == "cat" and options.branches == "both"
        self.gelu = options.encoder_activation == "gelu"
        self.weight = Conv(2 * channels if self.cat else channels, channels, 1, ndim, bias=False)

    def forward(self, x: Tensor, grid: Grid, to: Grid) -> Tensor:
        found = [interpolate(x, grid, to, "bilinear")] if self.bilinear else []
        if self.fourier is not None:
            found.append(self.fourier(x, grid, to))
        joined = torch.cat(found, dim=1) if self.cat else sum(found[1:], found[0])
        out: Tensor = self.weight(joined, to)
        return F.gelu(out) if self.gelu else out


class Step(nn.Module):
    """Between a level and the one below: down by a strided convolution, up between the points that it left."""

    def __init__(self, width: int, ndim: int, options: HinoteOptions) -> None:
        super().__init__()
        how: Filter = "fourier" if options.filter == "fourier" else "sinc"
        self.activation = AliasFree(F.gelu, how=how, antialias=options.filter != "none")
        self.down = Conv(width, width, 3, ndim, stride=2)
        self.up = Conv(width, width, 3, ndim)
        self.merge = Conv(2 * width, width, 3, ndim)

    def below(self, x: Slabs, lift: Lift | None) -> Slabs:
        """x_{l+1} on every second point.  lift: what made x, where x is too large to be held."""
        coarse = x.grid.with_shape(tuple((n + 1) // 2 for n in x.grid.shape))
        total: Tensor | None = None
        for channels in _groups(x, len(self.down.weight)):
            part = x.whole()[:, channels] if lift is None or x.height >= x.grid.shape[0] else lift.channels(channels)
            part = self.down.of_channels(self.activation(part, x.grid), x.grid, channels, into=True)
            total = part if total is None else total + part
        assert total is not None  # a level has channels
        assert self.down.bias is not None
        total = total + self.down.bias.to(total.dtype).view(-1, *[1] * x.grid.ndim)
        return Slabs.of(total, coarse, max(1, min(coarse.shape[0], x.height * 2 ** (x.grid.ndim - 1))))

    def joined(self, own: Slabs, below: Slabs) -> Slabs:
        """conv [own, conv up Σ below]."""
        y = below.whole()
        y = torch.cat([self.activation(y[:, c], below.grid) for c in _groups(below, y.shape[1])], dim=1)
        up = Slabs(lambda lo, hi: _between(y, own.grid, lo, hi), own.grid, own.height).convolved(self.up)
        both = Slabs(lambda lo, hi: torch.cat([own.rows(lo, hi), up.rows(lo, hi)], 1), own.grid, own.height)
        return both.convolved(self.merge)


class Lift:
    """The lift's field, by rows as all are, or by channels: what acts on each channel alone needs all rows of few."""

    def __init__(self, given: Slabs, conv: Conv) -> None:
        self.given, self.conv = given, conv
        self.rows = given.convolved(conv)

    def channels(self, which: slice) -> Tensor:
        return self.conv.of_channels(self.given.whole(), self.given.grid, which, into=False)


class HiNOTE(nn.Module):
    """Fields on one grid to fields on any other of the box, finer or not; 1 to 3 dimensions.

    inputs: (B, C_in, *grid.shape) -> (B, C_out, *out_grid.shape).  Outside training `query_points` bounds the memory:
    the hidden fields of the finest level are made by slabs, the moments of its attention summed over them.
    """

    def __init__(self, in_channels: int, out_channels: int, grid: Grid, options: HinoteOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or HinoteOptions()
        d, width = grid.ndim, options.width
        self.stages = nn.ModuleList(Stage(in_channels, d, options) for _ in range(options.stages))
        self.lift = Conv(sampled_channels(in_channels, d), width, 5, d, bias=False)
        self.blocks = nn.ModuleList(
            GalerkinBlock(width, options.n_heads, d, closing=True) for _ in range(options.levels)
        )
        self.steps = nn.ModuleList(Step(width, d, options) for _ in range(options.levels - 1))
        self.project = Conv(width, out_channels, 3, d)

    def forward(self, inputs: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
        features, at = inputs, grid
        for stage in self.stages:
            finer = scaled(at, double=True)
            features, at = stage(features, at, finer), finer
        height = query_rows(out_grid, len(inputs), None if self.training else self.options.query_points)

        def queries(lo: int, hi: int) -> Tensor:
            return sampled(features, at, out_grid, torch.arange(lo, hi, device=features.device))

        lift = Lift(Slabs(queries, out_grid, height), self.lift)
        return self._level(0, lift.rows, lift).convolved(self.project).whole()

    def _level(self, level: int, x: Slabs, lift: Lift | None) -> Slabs:
        own: Slabs = self.blocks[level](x)
        if level == len(self.steps):
            return own
        step = self.steps[level]
        assert isinstance(step, Step)
        return step.joined(own, self._level(level + 1, step.below(x, lift), None))

    @property
    def facts(self) -> dict[str, str]:
        """What the card says beyond what it measures."""
        return {
            "embedding": "each output point's place between the features' points about it, and the two spacings",
            "padding": "circular on periodic axes, else replicate (mirrored in the Fourier branch)",
            "kernel": f"global attention on {self.options.levels} levels; 5 and 3 points an axis, in the output's grid "
            "points: their support shrinks on a finer grid",
        }


def _groups(x: Slabs, channels: int) -> Iterator[slice]:
    """Groups of channels that hold, on the refined points of an activation, as much as a slab of all of them."""
    share = x.height / (x.grid.shape[0] * 2**x.grid.ndim)
    size = channels if x.height >= x.grid.shape[0] else max(1, int(channels * share))
    for first in range(0, channels, size):
        yield slice(first, min(first + size, channels))


def _between(y: Tensor, grid: Grid, lo: int, hi: int) -> Tensor:
    """Rows of the finer grid of which y has every second point: the others are the means of their two neighbours.

    Past the last point the first follows on a periodic axis, and nothing on another.
    """
    for axis, (n, periodic) in enumerate(zip(grid.shape, grid.periodic, strict=True)):
        at = torch.arange(lo, hi, device=y.device) if axis == 0 else torch.arange(n, device=y.device)
        last = y.shape[axis + 2]
        after = (at + 1) // 2
        after = after % last if periodic else after.clamp(max=last - 1)
        y = (y.index_select(axis + 2, at // 2) + y.index_select(axis + 2, after)) / 2
    return y
