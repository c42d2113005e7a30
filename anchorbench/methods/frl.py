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
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from anchorbench.config import Frozen
from anchorbench.data.samples import Batch
from anchorbench.errors import MethodError
from anchorbench.fields import Grid, restrict, restrict_weights
from anchorbench.fields.separable import constant
from anchorbench.methods.base import Forecaster, Method, Plan, mean_square
from anchorbench.methods.encodings import Arm, encode, encoding_channels
from anchorbench.methods.own_rules import restrict_inputs

#: ε of the spectral loss, in units of the bands' mean energy.
LEAST_ENERGY = 1e-4


class FRLOptions(Frozen):
    levels: int = Field(default=1, ge=0, description="J: coarser levels below the train rung; 0 switches step 1 off")
    encoding: Arm = Field(default="B", description="arm of step 2; 'none' switches it off")
    waves: int = Field(default=4, ge=1, description="M: waves per axis of the encoding")
    spectral_weight: float = Field(default=0.1, ge=0, description="λ of step 3; 0 switches it off")
    spectral_bands: int = Field(default=8, ge=1)
    band_normalised: bool = Field(default=True, description="false: the plain form, which is (1+λ) MSE")
    # Left out of dumps at its default: runs from before there was a choice keep their names.
    spectral_form: Literal["complex", "amplitude", "log"] = Field(
        default="complex",
        description="what is compared in a band: F̂ − û, |F̂| − |û|, or the logarithms of both powers",
        exclude_if=lambda form: form == "complex",
    )
    cross_scale: float = Field(
        default=0.0, ge=0, description="weight of |T F(u) − F(T u)|², T the restriction to the next level"
    )


class FRL(Method):
    """The three steps, with options; everything else as the baseline."""

    name = "frl"
    Options = FRLOptions

    def __init__(self, plan: Plan, options: Mapping[str, Any]) -> None:
        super().__init__(plan, options)
        most = most_levels(plan.train_grid)
        if self.options.levels > most:
            raise MethodError(
                f"frl: {self.options.levels} levels below rung {plan.train_rung} do not end at a whole rung above 3",
                do=f"--set method.frl.levels={most}",
            )
        if self.options.cross_scale and not self.options.levels:
            mend = "levels=1" if most else "cross_scale=0"
            raise MethodError("frl: cross_scale compares two levels, but levels is 0", do=f"--set method.frl.{mend}")

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
        loss = mean_square(out - at_level.targets, at_level)
        if self.options.spectral_weight:
            loss = loss + self.options.spectral_weight * spectral_loss(
                out,
                at_level,
                bands=self.options.spectral_bands,
                normalised=self.options.band_normalised,
                form=self.options.spectral_form,
            )
        if self.options.cross_scale:
            fine, coarse = trained(batch), coarsened(batch, 2, self.plan)
            there = restrict(fine, coarse.out_grid, how=self.plan.restriction, weights=batch.mask)
            loss = loss + self.options.cross_scale * mean_square(there - trained(coarse), coarse)
        return loss


def most_levels(grid: Grid) -> int:
    """The largest J for which every axis is halved J times into whole points, at least 4 of them."""
    levels = 0
    while all(n % 2 ** (levels + 1) == 0 and n >> (levels + 1) >= 4 for n in grid.shape):
        levels += 1
    return levels


class EncodedForecaster(Forecaster):
    def __init__(self, model: nn.Module, plan: Plan, options: FRLOptions) -> None:
        super().__init__(model, increment=plan.increment)
        self._options, self._train_grid = options, plan.train_grid

    def encoding(self, grid: Grid, like: Tensor) -> Tensor | None:
        arm, waves = self._options.encoding, self._options.waves
        if not encoding_channels(arm, ndim=grid.ndim, waves=waves):
            return None
        return constant(_code, arm, grid, self._train_grid, waves, dtype=like.dtype, device=like.device)


def _code(arm: Arm, grid: Grid, train_grid: Grid, waves: int) -> Tensor:
    code = encode(arm, grid, train_grid=train_grid, waves=waves)
    assert code is not None  # only arms with channels come here
    return code


class SpectralGain(nn.Module):
    """Arm C: a filter learned over ξ in [0, 1], so that it is defined at every mode of every grid.

    g(ξ) = 1 + MLP(ξ), one gain a channel, starting at 1.
    """

    def __init__(self, channels: int, *, hidden: int = 16) -> None:
        super().__init__()
        last = nn.Linear(hidden, channels)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(nn.Linear(1, hidden), nn.GELU(), last)

    def forward(self, xi: Tensor) -> Tensor:
        """xi (...) -> gains (..., channels)."""
        out: Tensor = 1 + self.mlp(xi[..., None])
        return out

    @classmethod
    def fit_into(cls, model: nn.Module) -> None:
        """Give every spectral filter of the model a gain.  Raises MethodError where it has none."""
        filters: list[Any] = [m for m in model.modules() if hasattr(m, "gain") and hasattr(m, "channels")]
        if not filters:
            raise MethodError(
                f"arm C of frl scales spectral filters, and {type(model).__name__} has none",
                do="use --model fno, or another arm:  --set method.encoding=B",
            )
        for module in filters:
            module.gain = cls(int(module.channels))


def coarsened(batch: Batch, factor: int, plan: Plan) -> Batch:
    """The batch restricted to a grid `factor` times coarser, by the ladder's own restriction and its variables' own.

    It is the ladder's own batch on that rung; but where the mask changes between input frames, an input cell is the
    mean over what all of them observed.
    """
    if factor == 1:
        return batch
    grid, how = batch.out_grid.coarsened(factor), plan.restriction
    coarse = replace(
        batch,
        targets=restrict(batch.targets, grid, how=how, weights=batch.mask),
        out_grid=grid,
        mask=None if batch.mask is None else restrict_weights(batch.mask, grid, how=how),
    )
    if batch.grid != batch.out_grid:  # super-resolution: only the grid that is asked for gets coarser
        return coarse
    return replace(
        coarse,
        inputs=restrict_inputs(batch, grid, plan),
        grid=grid,
        input_mask=None if batch.input_mask is None else restrict_weights(batch.input_mask, grid, how=how),
        static=None if batch.static is None else restrict(batch.static, grid, how=how),
    )


def spectral_loss(
    out: Tensor,
    batch: Batch,
    *,
    bands: int,
    normalised: bool = True,
    form: Literal["complex", "amplitude", "log"] = "complex",
) -> Tensor:
    """Step 3 on one level; out (B, C, *grid).

    form: `complex` compares F̂ and û, as the equation says; `amplitude` |F̂| and |û|, blind to phase; `log` is
    mean_b (log E_b(F̂) − log E_b(û))², the energies of each sample's bands.

    Bands even in ξ = max_i |k_i| / k_Nyq,i; those count that hold a wave, 0 < ξ < 1.  The mean and the Nyquist waves
    are in none: a vorticity has no mean, a restricted field no Nyquist wave, and a share of nothing would outweigh all
    else.  A side that is not periodic is tapered by a Hann window; missing points are 0.
    """
    grid, dtype, device = batch.out_grid, batch.targets.dtype, batch.targets.device
    taper = constant(hann, grid, dtype=dtype, device=device)
    if batch.mask is not None:
        taper = taper * batch.mask
    axes = tuple(range(-grid.ndim, 0))

    def amplitudes(u: Tensor) -> Tensor:
        waves: Tensor = torch.fft.fftn(u * taper, dim=axes, norm="ortho").abs()
        return waves

    means = constant(band_means, grid, bands, dtype=dtype, device=device)

    def by_band(power: Tensor) -> Tensor:
        # No matrix product: autocast would round it to bfloat16.
        return (power.flatten(-grid.ndim)[..., None] * means).sum(-2)

    if form == "log":
        made, true = (by_band(amplitudes(u).square()) for u in (out, batch.targets))
        least = LEAST_ENERGY * true.mean() + 1e-12
        return (torch.log(made + least) - torch.log(true + least)).square().mean()
    if form == "amplitude":
        error = (amplitudes(out) - amplitudes(batch.targets)).square().mean((0, 1))
    else:
        error = amplitudes(out - batch.targets).square().mean((0, 1))
    if not normalised:
        return error.mean()
    in_error, in_truth = by_band(error), by_band(amplitudes(batch.targets).square().mean((0, 1)))
    return (in_error / (in_truth + LEAST_ENERGY * in_truth.mean() + 1e-12)).mean()


def band_means(grid: Grid, bands: int) -> Tensor:
    """The matrix from the modes of `fftn`, flattened, to their means over the bands that hold any: (points, bands)."""
    xi = torch.zeros(grid.shape, dtype=torch.float64)
    for axis, n in enumerate(grid.shape):
        view = [1] * grid.ndim
        view[axis] = n
        xi = torch.maximum(xi, (torch.fft.fftfreq(n, dtype=torch.float64).abs() * 2).view(view))
    xi = xi.flatten()
    member = (xi * bands).floor()[:, None] == torch.arange(bands)
    member &= ((xi > 0) & (xi < 1))[:, None]
    member = member[:, member.any(0)].double()
    return member / member.sum(0)


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
