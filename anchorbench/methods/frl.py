"""`frl`: Frequency Representation Learning (Wang and Zhang, "Breaking Scale Anchoring", ICLR 2026).  Track: zero-shot.

Three steps around any model, each with its own switch:

    1  coarse levels   ρ_j = ρ₀ / 2ʲ, drawn evenly, restricted from the train rung (never a finer grid)
    2  encoding        position coded against the grid's Nyquist (`encodings.py`: arms A, B, C, D and controls)
    3  spectral loss   L = MSE + λ/n_b Σ_b mean_{k∈b} |F̂ − û|² / (mean_{k∈b} |û|² + ε), bands even in ξ = k/k_Nyq

The paper's body leaves J, the waves, the bands and λ open; what we chose is ours (docs/protocol.md).  Without the
normalisation by band the third step is (1+λ) MSE by Parseval, and does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from anchorbench.config import Frozen
from anchorbench.data.samples import Batch
from anchorbench.errors import MethodError
from anchorbench.fields import Grid, restrict, restrict_weights
from anchorbench.methods.base import Forecaster, Method, Plan, masked_mean_square
from anchorbench.methods.encodings import Arm, encode, encoding_channels


class FRLOptions(Frozen):
    levels: int = Field(1, ge=0, description="J: coarser levels below the train rung; 0 switches step 1 off")
    encoding: Arm = Field("B", description="arm of step 2; 'none' switches it off")
    waves: int = Field(4, ge=1, description="M: waves per axis of the encoding")
    spectral_weight: float = Field(0.1, ge=0, description="λ of step 3; 0 switches it off")
    spectral_bands: int = Field(8, ge=1)
    band_normalised: bool = Field(True, description="false: the plain form, which is (1+λ) MSE")
    cross_scale: float = Field(0.0, ge=0, description="weight of |T F(u) − F(T u)|², T the restriction to the next level")


class FRL(Method):
    """The three steps, with options; everything else as the baseline."""

    name = "frl"
    Options = FRLOptions

    def __init__(self, plan: Plan, options: Mapping[str, Any]) -> None:
        super().__init__(plan, options)
        coarsest = plan.train_rung // 2**self.options.levels
        if plan.train_rung % 2**self.options.levels or coarsest < 4:
            raise MethodError(
                f"frl: {self.options.levels} levels below rung {plan.train_rung} do not end at a whole rung of 4 or more",
                do="--set method.levels=1",
            )
        if self.options.cross_scale and not self.options.levels:
            raise MethodError("frl: cross_scale compares two levels, but levels is 0", do="--set method.levels=1")

    def mix(self) -> dict[int, float]:
        levels = self.options.levels
        return {self.plan.train_rung // 2**j: 1 / (levels + 1) for j in range(levels, -1, -1)}

    def extra_channels(self) -> int:
        return encoding_channels(self.options.encoding, ndim=self.plan.train_grid.ndim, waves=self.options.waves)

    def wrap(self, model: nn.Module) -> nn.Module:
        if self.options.encoding == "C":
            SpectralGain.fit_into(model)
        return EncodedForecaster(model, self.plan, self.options)

    def loss(self, trained: nn.Module, batch: Batch, *, step: int, rng: torch.Generator) -> Tensor:
        level = int(torch.randint(self.options.levels + 1, (1,), generator=rng))
        at_level = coarsened(batch, 2**level, self.plan)
        out = trained(at_level)
        loss = masked_mean_square(out - at_level.targets, at_level.mask)
        if self.options.spectral_weight:
            loss = loss + self.options.spectral_weight * spectral_loss(
                out, at_level, bands=self.options.spectral_bands, normalised=self.options.band_normalised
            )
        if self.options.cross_scale:
            fine, coarse = trained(batch), coarsened(batch, 2, self.plan)
            there = restrict(fine, coarse.grid, how=self.plan.restriction, weights=batch.mask)
            loss = loss + self.options.cross_scale * masked_mean_square(there - trained(coarse), coarse.mask)
        return loss


class EncodedForecaster(Forecaster):
    def __init__(self, model: nn.Module, plan: Plan, options: FRLOptions) -> None:
        super().__init__(model, increment=plan.increment)
        self._code = lru_cache(maxsize=16)(
            lambda grid: encode(options.encoding, grid, train_grid=plan.train_grid, waves=options.waves)
        )

    def encoding(self, grid: Grid, like: Tensor) -> Tensor | None:
        code = self._code(grid)
        return None if code is None else code.to(like)


class SpectralGain(nn.Module):
    """Arm C: a filter learned over ξ in [0, 1], so that it is defined at every mode of every grid.

    g(ξ) = 1 + MLP(ξ), one gain a channel, starting at 1.
    """

    def __init__(self, channels: int, *, hidden: int = 16) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(1, hidden), nn.GELU(), nn.Linear(hidden, channels))
        nn.init.zeros_(self.mlp[-1].weight)
        nn.init.zeros_(self.mlp[-1].bias)

    def forward(self, xi: Tensor) -> Tensor:
        """xi (...) -> gains (..., channels)."""
        out: Tensor = 1 + self.mlp(xi[..., None])
        return out

    @classmethod
    def fit_into(cls, model: nn.Module) -> None:
        """Give every spectral filter of the model a gain.  Raises MethodError where it has none."""
        filters = [module for module in model.modules() if hasattr(module, "gain")]
        if not filters:
            raise MethodError(
                f"arm C of frl scales spectral filters, and {type(model).__name__} has none",
                do="use --model fno, or another arm:  --set method.encoding=B",
            )
        for module in filters:
            module.gain = cls(int(module.channels))


def coarsened(batch: Batch, factor: int, plan: Plan) -> Batch:
    """The batch restricted to a grid `factor` times coarser, by the ladder's own restriction."""
    if factor == 1:
        return batch
    grid, how = batch.grid.coarsened(factor), plan.restriction
    inputs = restrict(batch.inputs, grid, how=how, weights=batch.input_mask)
    targets = restrict(batch.targets, grid, how=how, weights=batch.mask)
    return Batch(
        inputs=inputs,
        targets=targets,
        grid=grid,
        out_grid=grid,
        clusters=batch.clusters,
        mask=None if batch.mask is None else restrict_weights(batch.mask, grid, how=how),
        input_mask=None if batch.input_mask is None else restrict_weights(batch.input_mask, grid, how=how),
        static=None if batch.static is None else restrict(batch.static, grid, how=how),
    )


def spectral_loss(out: Tensor, batch: Batch, *, bands: int, normalised: bool = True) -> Tensor:
    """Step 3 on one level; out (B, C, *grid).

    Bands even in ξ = max_i |k_i| / k_Nyq,i.  A side that is not periodic is tapered by a Hann window; missing points are 0.
    """
    grid = batch.out_grid
    taper = hann(grid).to(out)
    if batch.mask is not None:
        taper = taper * batch.mask
    axes = tuple(range(-grid.ndim, 0))
    error = torch.fft.fftn((out - batch.targets) * taper, dim=axes, norm="ortho").abs().square()
    if not normalised:
        return error.mean()
    truth = torch.fft.fftn(batch.targets * taper, dim=axes, norm="ortho").abs().square()
    band = band_index(grid, bands).to(out.device).flatten()
    count = torch.bincount(band, minlength=bands).clamp_min(1).to(out)
    sums = [torch.zeros(bands, dtype=out.dtype, device=out.device).index_add(0, band, p.mean((0, 1)).flatten()) / count
            for p in (error, truth)]  # fmt: skip
    floor = 1e-6 * sums[1].mean() + 1e-12
    return (sums[0] / (sums[1] + floor)).mean()


@lru_cache(maxsize=32)
def band_index(grid: Grid, bands: int) -> Tensor:
    """Which band each mode of `fftn` lies in: (*grid.shape) int64."""
    xi = torch.zeros(grid.shape, dtype=torch.float64)
    for axis, n in enumerate(grid.shape):
        view = [1] * grid.ndim
        view[axis] = n
        xi = torch.maximum(xi, (torch.fft.fftfreq(n, dtype=torch.float64).abs() * 2).view(view))
    return (xi * bands).long().clamp_max(bands - 1)


@lru_cache(maxsize=32)
def hann(grid: Grid) -> Tensor:
    """Product of Hann windows with mean square 1 along the axes that are not periodic: (*grid.shape)."""
    taper = torch.ones(grid.shape)
    for axis, n in enumerate(grid.shape):
        if not grid.periodic[axis]:
            view = [1] * grid.ndim
            view[axis] = n
            window = torch.hann_window(n + 2, periodic=False)[1:-1]
            taper = taper * (window / window.square().mean().sqrt()).view(view)
    return taper
