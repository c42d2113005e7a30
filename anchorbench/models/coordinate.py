"""`Coordinate`: many small networks from coordinates to values, evaluated at once.

    h₀ = γ(x),   h_i = σ(W_i h_{i-1} + b_i),   u(x) = W_n h_{n-1} + b_n,   x in [−1, 1] along each axis of the box

Each network has weights of its own; their products are one batched product.  A network's loss is its own, so the
gradient of a sum of losses holds each one's: many trainings are one.

x is a place in the box, not the number of a point: a network that was fitted on one rung is defined on every other.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from anchorbench.fields.grid import Grid
from anchorbench.fields.separable import constant
from anchorbench.models.coordinate_options import CoordinateOptions, knob_of

Bound = Tensor | float
#: Values of one hidden layer: on a CPU as many as stay in its cache (200 networks of 64 channels on 64²: 0.4 s, and
#: 1.2 s all together), on a GPU as many as keep it busy.
HELD = {"cpu": 1 << 17, "cuda": 1 << 27}


class Coordinate(nn.Module):
    """What all coordinate networks share: draws, batched maps, time.  Each says its own γ, σ and bounds.

    inputs: (B, C, *grid.shape), of which only B counts -> (B, C_out, *out_grid.shape), item b by network b, or by the
    only one.  1 to 3 dimensions.
    """

    Options: ClassVar[type[CoordinateOptions]] = CoordinateOptions
    knob: Tensor

    def __init__(self, in_channels: int, out_channels: int, grid: Grid, options: Any = None) -> None:
        super().__init__()
        self.options: Any = options or self.Options()
        self.space, self.out_channels = grid.ndim, out_channels
        self.initialise()

    @property
    def networks(self) -> int:
        return len(self.knob)

    @property
    def dims(self) -> int:
        """Coordinates of a point: its place, and its time where there is one and the network hears it."""
        return self.space + int(self.frames > 1 and getattr(self.options, "time_input", True))

    @property
    def width(self) -> int:
        return int(self.options.width)

    def initialise(
        self,
        draws: int = 1,
        *,
        knobs: Tensor | None = None,
        frames: int = 1,
        generator: torch.Generator | None = None,
    ) -> Self:
        """Draw all weights anew, of draws × settings networks, numbered draw · settings + setting.

        knobs: (draws, settings) of the option that sets the frequencies; None: one setting, the options' own.  Networks
        that differ only in their setting begin from the same random numbers.  frames: of each field, more than one
        where it has time.  generator: None is torch's own.
        """
        device = self.knob.device if hasattr(self, "knob") else torch.device("cpu")
        self.frames = frames
        if knobs is None:
            knobs = torch.full((draws, 1), self.usual_knob())
        self.register_buffer("knob", knobs.detach().cpu().float().reshape(-1))
        draw = Draw(draws, knobs.shape[1], generator)
        sizes = [self.embedded, *[self.width] * self.options.layers, self.out_channels]
        weights, biases = [], []
        for i, (n_in, n_out) in enumerate(pairwise(sizes)):
            of_weight, of_bias = self.bounds(i, n_in)
            weights.append(nn.Parameter(self.drawn(draw, i, n_in, n_out) * of_weight))
            biases.append(nn.Parameter(self.drawn(draw, i, 1, n_out) * of_bias))
        self.weights, self.biases = nn.ParameterList(weights), nn.ParameterList(biases)
        self.draw_more(draw, sizes)
        return self.to(device)

    def usual_knob(self) -> float:
        """The option that sets the frequencies, as the options have it."""
        return float(getattr(self.options, knob_of(self.options)[0]))

    def drawn(self, draw: Draw, i: int, n_in: int, n_out: int) -> Tensor:
        """Numbers within ±1 for map i: (networks, n_in, n_out)."""
        return draw.uniform(n_in, n_out)

    def draw_more(self, draw: Draw, sizes: list[int]) -> None:
        """What a network has beside its maps."""

    @property
    def embedded(self) -> int:
        """Channels of γ(x)."""
        return self.dims

    def bounds(self, i: int, n_in: int) -> tuple[Bound, Bound]:
        """Within what the weights and biases of map i are drawn; by default as torch draws a linear map, 1/√n."""
        return 1 / math.sqrt(n_in), 1 / math.sqrt(n_in)

    def embed(self, x: Tensor, knob: Tensor, pick: Tensor | None) -> Tensor:
        """γ(x): x (B, P, dims), knob (B, 1, 1) -> (B, P, embedded)."""
        return x

    def activate(self, z: Tensor, i: int, knob: Tensor) -> Tensor:
        """σ of the output of map i."""
        return torch.relu(z)

    def before(self, h: Tensor, i: int) -> Tensor:
        """What map i is given."""
        return h

    def weight(self, i: int, pick: Tensor | None, time: Tensor | None) -> Tensor:
        """Of map i, for each item: (B, n_in, n_out)."""
        return picked(self.weights[i], pick)

    def bias(self, i: int, pick: Tensor | None) -> Tensor:
        return picked(self.biases[i], pick)

    def values(self, x: Tensor, *, pick: Tensor | None = None, time: Tensor | None = None) -> Tensor:
        """u at points: x (P, space) -> (B, P, out_channels).

        pick: (B,) the network of each item; None: all in order.  time: (B,) in [−1, 1], where fields have time.
        """
        # Phases of hundreds of radians have no place in 8 bits.
        with torch.autocast(x.device.type, enabled=False):
            knob = picked(self.knob, pick)[:, None, None]
            x = x.expand(len(knob), *x.shape)
            if self.dims > self.space:
                t = x.new_zeros(len(knob)) if time is None else time.to(x)
                x = torch.cat([x, t[:, None, None].expand(-1, x.shape[1], 1)], dim=-1)
            h, last = self.embed(x, knob, pick), len(self.weights) - 1
            for i in range(last + 1):
                h = torch.baddbmm(self.bias(i, pick), self.before(h, i), self.weight(i, pick, time))
                h = self.activate(h, i, knob) if i < last else h
            return h

    def on(self, grid: Grid, *, pick: Tensor | None = None, time: Tensor | None = None) -> Tensor:
        """u on the points of a grid: (B, out_channels, *grid.shape)."""
        dtype = self.knob.dtype
        u = self.values(constant(places, grid, dtype=dtype, device=self.knob.device), pick=pick, time=time)
        return u.mT.reshape(len(u), self.out_channels, *grid.shape)

    def forward(
        self, inputs: Tensor, grid: Grid, out_grid: Grid, *, pick: Tensor | None = None, time: Tensor | None = None
    ) -> Tensor:
        if pick is None and len(inputs) != self.networks:
            pick = torch.arange(len(inputs), device=self.knob.device) % self.networks
        return self.on(out_grid, pick=pick, time=time)

    def at_once(self, grid: Grid) -> int:
        """How many networks to evaluate together where no gradient is kept."""
        held = HELD["cuda" if self.knob.is_cuda else "cpu"]
        return max(1, held // (grid.n_points * max(self.width, self.embedded)))

    @torch.no_grad()
    def frequencies(self) -> Tensor:
        """Waves a box that the embedding or the first map holds, per network: (networks, waves, dims)."""
        waves: Tensor = self.weights[0] * self.knob[:, None, None] / math.pi
        return waves.mT

    @property
    def facts(self) -> dict[str, str]:
        """What the card says beyond what it measures."""
        return {
            "embedding": f"coordinates in [-1, 1] of the box; {self.embedding_words}",
            "padding": "none",
            "kernel": "none: values at points, defined on any grid of the box",
        }

    @property
    def embedding_words(self) -> str:
        raise NotImplementedError


class Draw:
    """Random numbers for draws × settings networks; settings of one draw share them."""

    def __init__(self, draws: int, settings: int, generator: torch.Generator | None) -> None:
        self.draws, self.settings, self.generator = draws, settings, generator

    def uniform(self, *shape: int) -> Tensor:
        """Within ±1."""
        return self._spread(2 * torch.rand(self.draws, *shape, generator=self.generator) - 1)

    def normal(self, *shape: int) -> Tensor:
        return self._spread(torch.randn(self.draws, *shape, generator=self.generator))

    def _spread(self, u: Tensor) -> Tensor:
        return u.repeat_interleave(self.settings, dim=0)


def places(grid: Grid) -> Tensor:
    """2 (c − o)/L − 1 for every point of a grid: (points, axes), float64; one place has one number on every rung."""
    axes = [2 * (grid.coordinates(axis) - grid.origin[axis]) / grid.extent[axis] - 1 for axis in range(grid.ndim)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, grid.ndim)


def picked(u: Tensor, pick: Tensor | None) -> Tensor:
    """The networks that are asked for, by number; None: all in order, without a copy."""
    return u if pick is None else u[pick]
