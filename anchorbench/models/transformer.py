"""A transformer over patches of the grid (Dosovitskiy et al., ICLR 2021), with positions in physical units.

    z = E patches(u);   z ← z + attention(norm z);   z ← z + MLP(norm z);   u' = patches⁻¹(H norm z)

`patch_units`: `grid` takes k neighbouring points a side on every rung: a patch shrinks with the grid, and the numbers
that E reads change their meaning.  `physical` takes k points a side that are as far apart as on the train rung: on a
grid r times finer they are every r-th point, patches of the r^d interleaved grids overlap, and none is averaged away.
Where r is no whole number the field is first carried to the next finer grid for which it is, and back in the end.
Both are one and the same function on the train rung, and have n_points / k^d tokens on every rung.

Attention takes means, so more tokens are a finer sampling of one integral over the box.  Positions are waves of x/L
(`rotary`: Su et al. 2021, relative), whole ones along a periodic axis and half ones along others, up to what the train
rung's patches resolve.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anchorbench.fields.carry import on_grid
from anchorbench.fields.grid import Grid
from anchorbench.models.local import pad
from anchorbench.models.options import TransformerOptions


def rotated(x: Tensor, angles: Tensor) -> Tensor:
    """Pairs (i, i + S/2) of channels turned by the angles of their token: (B, heads, T, S), (T, S/2) -> x's shape."""
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)


class Block(nn.Module):
    """Attention and MLP, each after a normalisation: (B, T, C), (T, S/2) or None -> (B, T, C).

    Tokens have no order: permuted with their angles, they come back permuted.
    """

    def __init__(self, options: TransformerOptions, size: int) -> None:
        super().__init__()
        width, hidden = options.width, max(1, round(options.mlp_ratio * options.width))
        self.heads, inner = options.heads, options.heads * size
        self.attend_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend_in, self.attend_out = nn.Linear(width, 3 * inner), nn.Linear(inner, width)
        self.mlp_in, self.mlp_out = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, z: Tensor, angles: Tensor | None) -> Tensor:
        parts: Tensor = self.attend_in(self.attend_norm(z)).view(*z.shape[:2], 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        if angles is not None:
            q, k = rotated(q, angles), rotated(k, angles)
        heard = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        z = z + self.attend_out(heard)
        out: Tensor = z + self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(z))))
        return out


class Transformer(nn.Module):
    """Fields to fields on any grid of the box, 1 to 3 dimensions.

    grid: of the train rung, whose spacing measures the patches.
    inputs: (B, C_in, *grid.shape) -> (B, C_out, *out_grid.shape).  Where `out_grid` is another, the inputs are carried
    to it first.  A size that the patch does not divide is padded at its end: around on a periodic axis, else with the
    last point.
    """

    def __init__(
        self, in_channels: int, out_channels: int, grid: Grid, options: TransformerOptions | None = None
    ) -> None:
        super().__init__()
        self.options = options = options or TransformerOptions()
        self.grid, self.out_channels = grid, out_channels
        points = options.patch**grid.ndim
        waves = math.ceil(options.width / (2 * options.heads * grid.ndim))  # per axis and head
        self.waves = tuple(_waves(waves, math.ceil(n / options.patch) / 2) for n in grid.shape)
        size = 2 * grid.ndim * waves
        self.embed = nn.Linear(in_channels * points, options.width)
        self.place = nn.Linear(size, options.width, bias=False) if options.positions == "fourier" else None
        self.blocks = nn.ModuleList(Block(options, size) for _ in range(options.layers))
        self.norm, self.head = nn.LayerNorm(options.width), nn.Linear(options.width, out_channels * points)

    def forward(self, inputs: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
        inner, ratios = self.inner_grid(out_grid)
        u = on_grid(on_grid(inputs, grid, out_grid), out_grid, inner)
        tokens = patches(u, inner, self.options.patch, ratios)
        z = self.embed(tokens)
        angles = token_angles(inner, self.options.patch, ratios, self.waves).to(z.device)
        if self.place is not None:
            z = z + self.place(torch.cat((angles.sin(), angles.cos()), -1).to(self.place.weight.dtype))
        for block in self.blocks:
            z = block(z, angles if self.place is None else None)
        out = unpatched(self.head(self.norm(z)), inner, self.options.patch, ratios, self.out_channels)
        return on_grid(out, inner, out_grid)

    def inner_grid(self, grid: Grid) -> tuple[Grid, tuple[int, ...]]:
        """The grid that is cut into patches, and how many of its points lie in the spacing of a patch's points."""
        if self.options.patch_units == "grid":
            return grid, (1,) * grid.ndim
        ratios = tuple(math.ceil(n / n0 - 1e-9) for n, n0 in zip(grid.intervals, self.grid.intervals, strict=True))
        ends = (m - n for m, n in zip(grid.shape, grid.intervals, strict=True))  # 1 where both ends are points
        whole = (r * n0 + end for r, n0, end in zip(ratios, self.grid.intervals, ends, strict=True))
        return grid.with_shape(tuple(whole)), ratios

    @property
    def facts(self) -> dict[str, str]:
        """What the card says beyond what it measures."""
        o = self.options
        unit = (
            "physical units: spacing of the train rung" if o.patch_units == "physical" else "grid points: they shrink"
        )
        codes = {"rotary": "rotary, relative, waves of x/L", "fourier": "waves of x/L added to each token"}
        return {
            "embedding": codes[o.positions],
            "padding": "up to whole patches: circular on periodic axes, else replicate",
            "kernel": f"attention over all patches, {o.patch} points a side, in {unit}",
        }


def patches(u: Tensor, grid: Grid, patch: int, ratios: tuple[int, ...]) -> Tensor:
    """(B, C, *grid) -> (B, T, patch^d C): point (p patch + j) r + a of an axis is number j of the patch (p, a)."""
    for axis, (n, r) in enumerate(zip(grid.shape, ratios, strict=True)):
        if short := -n % (patch * r):
            u = pad(u, short, axis=axis + 2, periodic=grid.periodic[axis]).narrow(axis + 2, short, n + short)
    d = grid.ndim
    u = u.reshape(
        *u.shape[:2], *(m for n, r in zip(u.shape[2:], ratios, strict=True) for m in (n // (patch * r), patch, r))
    )
    tokens = [i for axis in range(d) for i in (3 * axis + 2, 3 * axis + 4)]
    content = [3 * axis + 3 for axis in range(d)]
    return u.permute(0, *tokens, *content, 1).flatten(2 * d + 1).flatten(1, 2 * d)


def unpatched(z: Tensor, grid: Grid, patch: int, ratios: tuple[int, ...], channels: int) -> Tensor:
    """The way back of `patches`, its padding dropped: (B, T, patch^d C) -> (B, C, *grid)."""
    d = grid.ndim
    whole = [(math.ceil(n / (patch * r)), r) for n, r in zip(grid.shape, ratios, strict=True)]
    u = z.reshape(len(z), *(n for pair in whole for n in pair), *(patch,) * d, channels)
    axes = [i for axis in range(d) for i in (2 * axis + 1, 2 * d + 1 + axis, 2 * axis + 2)]
    u = u.permute(0, 3 * d + 1, *axes)
    for axis, n in enumerate(grid.shape):
        u = u.flatten(axis + 2, axis + 4).narrow(axis + 2, 0, n)
    return u


def _waves(count: int, highest: float) -> tuple[int, ...]:
    """`count` whole numbers between 1 and `highest`, spread evenly in their logarithm."""
    top = max(math.log(max(highest, 1.0)), 0.0)
    return tuple(round(math.exp(top * i / max(count - 1, 1))) for i in range(count))


@lru_cache(maxsize=64)
@torch.inference_mode(False)
@torch.no_grad()
def token_angles(grid: Grid, patch: int, ratios: tuple[int, ...], waves: tuple[tuple[int, ...], ...]) -> Tensor:
    """2π m x/L of each patch's middle, π m x/L where an axis is not periodic: (T, Σ waves) float32, on the CPU."""
    places = []
    for n, r in zip(grid.shape, ratios, strict=True):
        first = torch.arange(math.ceil(n / (patch * r)))[:, None] * patch * r + torch.arange(r)
        places.append(first.flatten() + (patch - 1) / 2 * r)
    mesh = torch.meshgrid(*places, indexing="ij")
    angles = []
    for axis, index in enumerate(mesh):
        turn = (2 if grid.periodic[axis] else 1) * math.pi / grid.intervals[axis]
        angles.append(index.double().flatten()[:, None] * turn * torch.tensor(waves[axis], dtype=torch.float64))
    return torch.cat(angles, -1).float()
