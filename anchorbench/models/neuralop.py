"""neuraloperator's FNO, TFNO and UNO, as that package has them, on our grids.  Needs the extra `neuralop`.

    G(u) = F( u on the grid of the output ),   F the package's model

Nothing of F is mended here: it is a peer.  What it does to a wave depends on the release, so the card tries it: 2.0.0
moves waves along axes of odd length, and along scaled ones, where its resampling of skips is not exact either.

Ours: float32 also where the rest runs in bf16, which its transforms do not take.  (Li et al., ICLR 2021; Kossaifi et
al., TMLR 2024; Rahman et al., TMLR 2023.)
"""

from __future__ import annotations

import io
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from anchorbench.errors import ConfigError, ModelError
from anchorbench.fields.carry import on_grid
from anchorbench.fields.grid import Grid
from anchorbench.models.neuralop_options import (
    NeuralopFnoOptions,
    NeuralopTfnoOptions,
    NeuralopUnoOptions,
    PublishedOptions,
)

RESAMPLED = {1: "linear", 2: "bicubic", 3: "Fourier"}


class Published(nn.Module, ABC):
    """One of the package's models, in 1 to 3 dimensions.

    inputs: (B, C_in, *grid.shape) -> (B, C_out, *out_grid.shape).  Where `out_grid` is another, the inputs are carried
    to it first.  Raises ModelError where neuraloperator is not installed, ConfigError where `modes` does not fit the
    axes.
    """

    name: str
    cls: str
    Options: type[PublishedOptions]

    def __init__(
        self, in_channels: int, out_channels: int, grid: Grid, options: PublishedOptions | None = None
    ) -> None:
        super().__init__()
        self.options = options or self.Options()
        modes = self.options.modes
        self.modes = (modes,) * grid.ndim if isinstance(modes, int) else modes
        if len(self.modes) != grid.ndim:
            raise ConfigError(
                f"model {self.name}: modes {self.modes} does not fit the {grid.ndim} axes of shape {grid.shape}"
            )
        make = getattr(package("models"), self.cls)
        with redirect_stdout(io.StringIO()):  # UNO of 2.0.0 prints while it is built
            self.net: nn.Module = make(
                in_channels=in_channels,
                out_channels=out_channels,
                hidden_channels=self.options.width,
                positional_embedding=None if self.options.embedding == "none" else self.options.embedding,
                domain_padding=self.options.padding or None,
                **self.own(),
            )
        then: Callable[..., None] = self.register_state_dict_post_hook  # torch gives it no types
        then(_only_weights)

    @abstractmethod
    def own(self) -> Mapping[str, Any]:
        """What this model of the package is built with beyond what all are."""

    def forward(self, inputs: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
        x = on_grid(inputs, grid, out_grid)
        with torch.autocast(x.device.type, enabled=False):
            out: Tensor = self.net(x.float())
        return out.to(x.dtype)

    @property
    def facts(self) -> dict[str, str]:
        """What the card says beyond what it measures."""
        o, d = self.options, len(self.modes)
        kernel = f"spectral, modes {'x'.join(map(str, self.modes))}: |k| ≤ {max(self.modes) // 2} waves of the box"
        kernel += " and its padding" if o.padding else ""
        if d > 1 and moves_waves(d, points=9):
            kernel += "; moves waves along axes of odd length"
        return {
            "embedding": "none" if o.embedding == "none" else "x/L, not periodic",
            "padding": f"zeros, {o.padding:g} of the box on both ends of each axis" if o.padding else "none",
            "kernel": kernel,
        }


class NeuralopFNO(Published):
    name, cls, Options = "neuralop_fno", "FNO", NeuralopFnoOptions
    options: NeuralopFnoOptions

    def own(self) -> Mapping[str, Any]:
        return {"n_modes": self.modes, "n_layers": self.options.layers}


class NeuralopTFNO(NeuralopFNO):
    name, cls, Options = "neuralop_tfno", "TFNO", NeuralopTfnoOptions
    options: NeuralopTfnoOptions

    def own(self) -> Mapping[str, Any]:
        return {**super().own(), "factorization": self.options.factorization, "rank": self.options.rank}

    @property
    def facts(self) -> dict[str, str]:
        said = super().facts
        return {**said, "kernel": f"{said['kernel']}; {self.options.factorization} of rank {self.options.rank:g}"}


class NeuralopUNO(Published):
    name, cls, Options = "neuralop_uno", "UNO", NeuralopUnoOptions
    options: NeuralopUnoOptions

    def own(self) -> Mapping[str, Any]:
        o, d = self.options, len(self.modes)
        return {
            "n_layers": len(o.channels),
            "uno_out_channels": [o.width * share for share in o.channels],
            "uno_n_modes": [list(self.modes)] * len(o.channels),
            "uno_scalings": [[factor] * d for factor in o.scalings],
            "lifting_channels": o.hidden,
            "projection_channels": o.hidden,
            "channel_mlp_skip": "linear",  # a gate, the package's default, cannot change the number of channels
        }

    @property
    def facts(self) -> dict[str, str]:
        said, d = super().facts, len(self.modes)
        steps = ", ".join(f"{factor:g}" for factor in self.options.scalings)
        kernel = f"{said['kernel']}; grid scaled by {steps}, skips {RESAMPLED[d]}"
        if d > 1 and any(moves_waves(d, points=8, scaled=s) for s in set(self.options.scalings) - {1.0}):
            kernel += "; moves waves along scaled axes"
        return {**said, "kernel": kernel}


def package(room: str) -> Any:
    """A module of neuraloperator.  Raises ModelError where it cannot be imported."""
    try:
        with warnings.catch_warnings():  # it sets filters of its own for the whole process
            warnings.simplefilter("ignore")
            return import_module(f"neuralop.{room}")
    except ImportError as error:
        raise ModelError(
            f"this model is neuraloperator's, which cannot be imported: {error}".splitlines()[0],
            do="pip install 'anchorbench[neuralop]'",
        ) from error


@torch.no_grad()
def moves_waves(ndim: int, *, points: int, scaled: float = 1.0) -> bool:
    """Whether the package's spectral convolution with weights of 1 changes a wave that it keeps.

    The wave is cos 2π(x_d − x₁) on `points` an axis, and on `scaled` times as many behind the convolution.
    """
    conv = package("layers.spectral_convolution").SpectralConv
    with torch.random.fork_rng(devices=[]):
        one = conv(1, 1, (4,) * ndim, bias=False, resolution_scaling_factor=None if scaled == 1.0 else scaled)
    one.weight.tensor.fill_(1.0)

    def wave(n: int) -> Tensor:
        axes = torch.meshgrid(*[torch.arange(n) / n] * ndim, indexing="ij")
        return (2 * math.pi * (axes[-1] - axes[0])).cos()[None, None]

    out: Tensor = one(wave(points))
    return bool((out - wave(out.shape[-1])).abs().max() > 1e-3)


def _only_weights(module: nn.Module, state: dict[str, Any], prefix: str, local: Mapping[str, Any]) -> None:
    """The package puts a description of itself beside the weights, under a key without prefix: no tensor."""
    state.pop("_metadata", None)
