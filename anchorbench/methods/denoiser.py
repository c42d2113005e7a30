"""Two networks out of one built model: a conditional mean, and a denoiser of what the mean leaves.

    μ = M(u)                      the mean network
    R₀ = (Y − μ) / s              the residual in units of its own spread
    D(u, μ, R_n, n) -> v or ε     the denoiser, a second copy of the model

Both have the same inputs' width: the mean network gets zeros where the denoiser gets μ, R_n and the level of noise.
The level is given as two constant channels, √ᾱ and √(1−ᾱ); a group normalisation takes away what is constant over the
grid, so after each one the level is written again, as a gain and a shift of each channel (FiLM, Perez et al. 2018).
"""

from __future__ import annotations

import copy
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anchorbench.data.samples import Batch
from anchorbench.fields import Grid
from anchorbench.fields.carry import on_grid
from anchorbench.methods.base import Forecaster, mean_square
from anchorbench.methods.noise import Prediction, asked, half_log_snr, noised
from anchorbench.models.registry import call

LEVEL_CHANNELS = 2
HIDDEN = 32
#: Of the waves that code λ: one turn over the whole of a schedule, to a turn over a few levels.
LEVEL_FREQUENCIES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
#: The spread of the residual is the mean over all batches so far, then over about a hundred of the newest.
SLOWEST_RATE = 0.01


def denoiser_channels(targets: int) -> int:
    """Input channels beyond the data's: μ, R_n and the level."""
    return 2 * targets + LEVEL_CHANNELS


class Denoising(Protocol):
    """What sampling asks of a trained module."""

    noise_seed: Tensor

    def __call__(self, batch: Batch) -> Tensor: ...

    def conditions(self, batch: Batch) -> Tensor: ...

    def denoise(self, given: Tensor, mean: Tensor, noisy: Tensor, levels: Tensor, grid: Grid) -> Tensor: ...

    def unscaled(self, clean: Tensor) -> Tensor: ...


class MeanAndDenoiser(Forecaster):
    """forward(batch) is μ, (B, C', *out_grid).

    kept: ᾱ of the schedule.  measured: s is measured in training, one a channel (`scale`); else it stays 1.
    """

    scale: Tensor
    batches_seen: Tensor
    noise_seed: Tensor
    kept: Tensor

    def __init__(
        self, model: nn.Module, *, targets: int, kept: Tensor, increment: bool, predict: Prediction, measured: bool
    ) -> None:
        networks = TwoNetworks(model)
        super().__init__(networks, increment=increment)
        self.level = LevelCode.fitted(networks.denoiser)
        self._unused, self._predict, self._measured = denoiser_channels(targets), predict, measured
        self.register_buffer("kept", kept, persistent=False)
        self.register_buffer("scale", torch.ones(targets))
        self.register_buffer("batches_seen", torch.zeros(()))
        # Of the run's seed, and saved with the weights: what it draws when nobody brings a generator.
        self.register_buffer("noise_seed", torch.randint(2**31, ()))

    def encoding(self, grid: Grid, like: Tensor) -> Tensor:
        """What only the denoiser is given is 0 to the mean network."""
        return like.new_zeros(self._unused, *grid.shape)

    def said_and_asked(self, batch: Batch, mean: Tensor, noise: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        """What the denoiser says of the noised residual and what it should say, (B, C', *out_grid) each.

        mean: μ of the batch.  noise: ε, as the targets.  levels: n of each sample, (B,).
        """
        residual = batch.targets - mean
        if batch.mask is not None:  # targets are 0 where nothing was observed: that is no residual
            residual = residual.where(batch.mask > 0, 0.0)
        if self.training and self._measured:
            self._measure(residual.detach(), batch)
        clean = residual / self._column(residual)
        kept = self._kept_at(levels, clean)
        said = self.denoise(self.conditions(batch), mean, noised(clean, noise, kept), levels, batch.out_grid)
        return said, asked(clean, noise, kept, predict=self._predict)

    def conditions(self, batch: Batch) -> Tensor:
        """What the denoiser is given of the data, on the grid of the output: (B, C, *out_grid)."""
        parts = (batch.inputs, batch.static, batch.input_mask)
        return on_grid(torch.cat([p for p in parts if p is not None], dim=1), batch.grid, batch.out_grid)

    def denoise(self, given: Tensor, mean: Tensor, noisy: Tensor, levels: Tensor, grid: Grid) -> Tensor:
        """v or ε of noisy residuals (B, C', *grid) at levels (B,); given: of `conditions`."""
        kept = self._kept_at(levels, noisy)
        shares = torch.cat([kept.sqrt(), (1 - kept).sqrt()], dim=1).to(noisy)
        told = shares.expand(-1, -1, *grid.shape)
        if self.level is not None:
            self.level.hear(kept.flatten().to(noisy.device))
        out: Tensor = self.model(torch.cat([given, mean, noisy, told], dim=1), grid, grid, denoising=True)
        return out

    def unscaled(self, clean: Tensor) -> Tensor:
        """The residual in the targets' units: s R₀."""
        return clean * self._column(clean)

    @torch.no_grad()
    def _measure(self, residual: Tensor, batch: Batch) -> None:
        channels = [mean_square(residual[:, i : i + 1], batch) for i in range(residual.shape[1])]
        self.batches_seen += 1
        rate = (1 / self.batches_seen).clamp_min(SLOWEST_RATE)
        before = self.scale.square() * (self.batches_seen > 1)
        self.scale.copy_(torch.lerp(before, torch.stack(channels).to(before), rate).clamp_min(1e-12).sqrt())

    def _column(self, like: Tensor) -> Tensor:
        # A copy: the next batch's measure must not reach into this one's graph.
        return self.scale.clone().to(like.dtype).view(-1, *[1] * (like.ndim - 2))

    def _kept_at(self, levels: Tensor, like: Tensor) -> Tensor:
        """ᾱ at each sample's level: (B, 1, ...), float64."""
        return self.kept[levels.to(self.kept.device)].view(-1, *[1] * (like.ndim - 1))


class TwoNetworks(nn.Module):
    """The built model and its second copy, called alike: forward(inputs, grid, out_grid), of the mean unless told.

    A model that has a denoiser of its own (`as_denoiser()`) gives that in place of the copy.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        own = getattr(model, "as_denoiser", None)
        self.mean, self.denoiser = model, redrawn(model) if own is None else own()

    def forward(self, inputs: Tensor, grid: Grid, out_grid: Grid, denoising: bool = False) -> Tensor:
        return call(self.denoiser if denoising else self.mean, inputs, grid, out_grid)

    @property
    def facts(self) -> Any:
        """What the model says of itself."""
        return getattr(self.mean, "facts", None)


class LevelCode(nn.Module):
    """The level of noise as HIDDEN numbers: a network of sin and cos of fλ, λ = ½ log ᾱ/(1−ᾱ).

    Of λ, not of n: so a level means the same whatever the schedule.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2 * len(LEVEL_FREQUENCIES), HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN))
        # Not a submodule of the layers that read it: its weights would be saved once for each.
        self._heard = Heard()

    def hear(self, kept: Tensor) -> None:
        """kept: ᾱ of each sample (B,), float64.  What `fitted` placed follows it from now on."""
        phase = half_log_snr(kept)[:, None] * kept.new_tensor(LEVEL_FREQUENCIES)
        waves = torch.cat([phase.sin(), phase.cos()], dim=1)
        self._heard.code = F.silu(self.mlp(waves.to(next(self.mlp.parameters()).dtype)))

    @classmethod
    def fitted(cls, model: nn.Module) -> LevelCode | None:
        """Put a gain and a shift after every group normalisation of the model; None where there is none."""
        code, norms = (
            cls(),
            [
                (parent, name, child)
                for parent in model.modules()
                for name, child in parent.named_children()
                if isinstance(child, nn.GroupNorm)
            ],
        )
        for parent, name, child in norms:
            setattr(parent, name, Modulated(child, code._heard))
        return code if norms else None


class Heard:
    """Where the newest code lies, (B, HIDDEN)."""

    code: Tensor


class Modulated(nn.Module):
    """(1 + γ) GN(x) + β, γ and β of the level and 0 at first: (B, C, ...) -> the same."""

    def __init__(self, norm: nn.GroupNorm, heard: Heard) -> None:
        super().__init__()
        self.norm, self._heard = norm, heard
        self.told = nn.Linear(HIDDEN, 2 * norm.num_channels)
        nn.init.zeros_(self.told.weight)
        nn.init.zeros_(self.told.bias)

    def forward(self, x: Tensor) -> Tensor:
        code = self.told(self._heard.code)
        code = code.repeat_interleave(len(x) // len(code), dim=0)  # frames that a model folds into its batch
        gain, shift = code.view(*code.shape, *[1] * (x.ndim - 2)).chunk(2, dim=1)
        out: Tensor = (1 + gain) * self.norm(x) + shift
        return out


@torch.no_grad()
def redrawn(model: nn.Module) -> nn.Module:
    """A copy whose linear and convolutional weights are shuffled, each within itself, by torch's random state.

    Weights that were drawn alike, shuffled, are another draw of the same law, whatever it was; no constructor is asked
    again.  Other parameters stay as the model began with them.
    """
    other = copy.deepcopy(model)
    for module in other.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            weight = module.weight
            weight.copy_(weight.flatten()[torch.randperm(weight.numel(), device=weight.device)].view_as(weight))
    return other
