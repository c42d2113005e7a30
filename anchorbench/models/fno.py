"""A lean Fourier neural operator in 1, 2 or 3 dimensions (Li et al., ICLR 2021, with neuraloperator's block).

    v ← σ( F⁻¹[R(k) · F v] + W v + b [+ local(v)] )
    v ← σ( MLP(v) + g ⊙ v₀ )              v₀: the block's input; no σ in the last block

Channels-last: 1x1 convolutions are `nn.Linear`, spectra are matrix products (`dft`), weights are stored real so that
fused optimisers take them.  Given neuraloperator's weights the output is neuraloperator's, on even grids; on odd ones,
or where the grid is coarser than odd modes, that package (2.0.0) shifts modes and we do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anchorbench.errors import ConfigError, ModelError
from anchorbench.fields.carry import on_grid
from anchorbench.fields.grid import Grid
from anchorbench.models.dft import analyse, kept, synthesise
from anchorbench.models.local import LocalConv
from anchorbench.models.options import FnoOptions


def identity(x: Tensor) -> Tensor:
    return x


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "silu": F.silu,
    "identity": identity,
}


class SpectralConv(nn.Module):
    """û'(k) = R(k)ᵀ û(k) on the kept modes, 0 elsewhere; fields are channels-last.

    modes: per axis, both signs counted, as in `dft.kept`.  weight: (m₁, ..., m_d//2 + 1, C, C', 2), the last axis
    real and imaginary part; row i of axis j multiplies k = i - m_j//2 on every grid.

    x: (B, n₁, ..., n_d, C) -> (B, n₁, ..., n_d, C').  onto: (B n₁ ··· n_{d-1}, n_d, C') that the result is added to,
    in place where its dtype allows.
    """

    def __init__(self, channels_in: int, channels_out: int, modes: tuple[int, ...]) -> None:
        super().__init__()
        self.modes = modes
        self.channels = channels_out
        # Where set: (waves,) shares of Nyquist -> (waves, C') factors of the output channels; see methods/frl.py.
        self.gain: nn.Module | None = None
        # A complex weight of variance 2 / (C + C'), as neuraloperator begins.
        std = (1 / (channels_in + channels_out)) ** 0.5
        shape = (*modes[:-1], modes[-1] // 2 + 1, channels_in, channels_out, 2)
        self.weight = nn.Parameter(std * torch.randn(shape))

    def forward(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        shape = tuple(x.shape[1:-1])
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        # Sums over thousands of points keep float32 even where the rest of the network runs in bf16.
        with torch.autocast(x.device.type, enabled=False):
            y = analyse(x.to(dtype), self.modes)
            batch, _, waves, channels = y.shape
            y = y.permute(2, 0, 1, 3).reshape(waves, batch, 2 * channels)
            y = torch.bmm(y, self._matrix(shape, dtype))
            y = y.view(waves, batch, 2, -1).permute(1, 2, 0, 3)
            if onto is None or onto.dtype == dtype:
                return synthesise(y, shape, self.modes, onto=onto).to(x.dtype)
            out = synthesise(y, shape, self.modes).to(x.dtype)
            return out + onto.view_as(out)

    def _matrix(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """R as a real matrix [[re, im], [-im, re]] on the modes this grid has: (waves, 2C, 2C')."""
        last = len(shape) - 1
        weight: Tensor = self.weight
        for axis, (n, m) in enumerate(zip(shape, self.modes, strict=True)):
            k = kept(m, n, half=axis == last)
            start = k.start + (0 if axis == last else m // 2)
            weight = weight.narrow(axis, start, len(k))
        weight = weight.to(dtype).flatten(0, last)
        if self.gain is not None:
            weight = weight * self.gain(share_of_nyquist(shape, self.modes, weight.device))[:, None, :, None].to(dtype)
        re, im = weight.unbind(-1)
        return torch.cat((torch.cat((re, im), 2), torch.cat((-im, re), 2)), 1)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def share_of_nyquist(shape: tuple[int, ...], modes: tuple[int, ...], device: torch.device) -> Tensor:
    """ξ = max_i |k_i| / (n_i/2) of each kept mode, in [0, 1]: (waves,) float32, in the order of `SpectralConv`."""
    last = len(shape) - 1
    axes = [
        torch.tensor([abs(k) * 2 / n for k in kept(m, n, half=axis == last)])
        for axis, (n, m) in enumerate(zip(shape, modes, strict=True))
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).amax(0).flatten().to(device)


class Pointwise(nn.Linear):
    """A 1x1 convolution of channels-last fields."""

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda:
            return super().forward(x)
        # On a CPU the fused form first copies the bias to every point: one pass over memory more.
        return F.linear(x, self.weight).add_(self.bias)


class Block(nn.Module):
    """One Fourier block.  The bias of the spectral convolution lives in `skip`."""

    def __init__(self, options: FnoOptions, modes: tuple[int, ...], spacing: tuple[float, ...], *, last: bool) -> None:
        super().__init__()
        width = options.width
        self.spectral = SpectralConv(width, width, modes)
        self.skip = Pointwise(width, width)
        nn.init.normal_(self.skip.bias, std=width**-0.5)
        self.local = None
        if options.local_kernel:
            physical = options.local_units == "physical"
            self.local = LocalConv(width, width, options.local_kernel, spacing=spacing, physical=physical)
        self.mlp_in = self.mlp_out = self.gate = None
        if hidden := round(width * options.mlp_ratio):
            self.mlp_in, self.mlp_out = Pointwise(width, hidden), Pointwise(hidden, width)
            self.gate = nn.Parameter(torch.ones(width))
        self.inner = ACTIVATIONS[options.activation]
        self.outer = identity if last else self.inner

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        # The skip's own buffer takes the spectral branch: two passes over memory fewer than a sum of both.
        y = self.spectral(x, onto=self.skip(x.reshape(-1, *x.shape[-2:])))
        if self.local is not None:
            y = y + self.local(x, grid)
        if self.mlp_in is None or self.mlp_out is None or self.gate is None:
            return self.outer(y)
        y = self.mlp_out(self.inner(self.mlp_in(self.outer(y))))
        return self.outer(y.addcmul_(x, self.gate.to(x.dtype)))


class FNO(nn.Module):
    """Fourier neural operator from fields to fields on any grid of the same box.

    grid: of the train rung; only its axes are used, and its spacing by a `physical` local kernel.

    inputs: (B, C_in, *grid.shape) -> (B, C_out, *out_grid.shape).  Where `out_grid` is another, the inputs are carried
    to it first.  Raises ConfigError where `modes` does not fit the axes.
    """

    def __init__(self, in_channels: int, out_channels: int, grid: Grid, options: FnoOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or FnoOptions()
        modes = (options.modes,) * grid.ndim if isinstance(options.modes, int) else options.modes
        if len(modes) != grid.ndim:
            raise ConfigError(f"model fno: modes {modes} does not fit the {grid.ndim} axes of shape {grid.shape}")
        self.modes = modes
        embedded = {"none": 0, "grid": grid.ndim, "periodic": 2 * grid.ndim}[options.embedding]
        lifted, projected = int(options.lifting_ratio * options.width), int(options.projection_ratio * options.width)
        self.lift_in, self.lift_out = Pointwise(in_channels + embedded, lifted), Pointwise(lifted, options.width)
        self.blocks = nn.ModuleList(
            Block(options, modes, grid.spacing, last=i == options.layers - 1) for i in range(options.layers)
        )
        self.project_in = Pointwise(options.width, projected)
        self.project_out = Pointwise(projected, out_channels)
        self.activation = ACTIVATIONS[options.activation]

    def forward(self, inputs: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
        x = on_grid(inputs, grid, out_grid).movedim(1, -1)
        if self.options.embedding != "none":
            code = coordinate_channels(out_grid, self.options.embedding == "periodic", x.dtype, x.device)
            x = torch.cat((x, code.expand(x.shape[0], *code.shape)), -1)
        x = self.lift_out(self.activation(self.lift_in(x)))
        for block in self.blocks:
            x = block(x, out_grid)
        out: Tensor = self.project_out(self.activation(self.project_in(x)))
        return out.movedim(-1, 1)

    @property
    def facts(self) -> dict[str, str]:
        """What the card says beyond what it measures."""
        o = self.options
        kernel = f"spectral, modes {'x'.join(map(str, self.modes))}: |k| ≤ {max(self.modes) // 2} waves of the box"
        if o.local_kernel:
            kernel += f"; local {o.local_kernel} points a side, in "
            kernel += "physical units" if o.local_units == "physical" else "grid points: its support shrinks"
        embedding = {"none": "none", "grid": "x/L, not periodic", "periodic": "sin, cos of the box"}[o.embedding]
        padding = "none" if not o.local_kernel else "circular on periodic axes, else replicate"
        return {"embedding": embedding, "padding": padding, "kernel": kernel}


@lru_cache(maxsize=64)
@torch.inference_mode(False)
@torch.no_grad()
def coordinate_channels(grid: Grid, periodic: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Where each point is, in units of the box: (*shape, E), E = d or, where `periodic`, 2 d."""
    channels = []
    for axis, x in enumerate(grid.mesh()):
        share = (x - grid.origin[axis]) / grid.extent[axis]
        if periodic:
            angle = (2 if grid.periodic[axis] else 1) * math.pi * share
            channels += [angle.sin(), angle.cos()]
        else:
            channels.append(share)
    return torch.stack(channels, -1).to(device, dtype)


def load_neuralop_weights(model: FNO, state: Mapping[str, Any]) -> None:
    """Take the weights of a neuraloperator 2.0.0 `FNO` with its default block; its `state_dict()` is `state`.

    Raises ModelError where a weight is missing or does not fit.
    """

    def take(name: str) -> Tensor:
        if name not in state:
            raise ModelError(f"neuraloperator's weights lack '{name}'")
        return torch.as_tensor(state[name])

    def linear(ours: str, theirs: str) -> dict[str, Tensor]:
        return {f"{ours}.weight": take(f"{theirs}.weight").squeeze(-1), f"{ours}.bias": take(f"{theirs}.bias")}

    new: dict[str, Tensor] = {}
    for ours, theirs in (("lift", "lifting"), ("project", "projection")):
        new |= linear(f"{ours}_in", f"{theirs}.fcs.0") | linear(f"{ours}_out", f"{theirs}.fcs.1")
    for i in range(len(model.blocks)):
        conv, mlp = f"fno_blocks.convs.{i}", f"fno_blocks.channel_mlp.{i}"
        weight = torch.view_as_real(take(f"{conv}.weight.tensor").movedim((0, 1), (-2, -1)).contiguous())
        new |= {
            f"blocks.{i}.spectral.weight": weight,
            f"blocks.{i}.skip.weight": take(f"fno_blocks.fno_skips.{i}.conv.weight").squeeze(-1),
            f"blocks.{i}.skip.bias": take(f"{conv}.bias").flatten(),
            f"blocks.{i}.gate": take(f"fno_blocks.channel_mlp_skips.{i}.weight").flatten(),
        }
        new |= linear(f"blocks.{i}.mlp_in", f"{mlp}.fcs.0") | linear(f"blocks.{i}.mlp_out", f"{mlp}.fcs.1")
    try:
        model.load_state_dict(new)
    except RuntimeError as error:
        raise ModelError(f"neuraloperator's weights do not fit this fno: {error}") from error
