"""A U-Net that hears earlier frames and looks about itself, for two axes or three (after Defez et al. 2026).

    h_l = conv(frame_l, the rest),   each frame alone
    h_l ← h_l + A(h_l; h_1 ... h_L)        attention over the frames, point by point, positions added (`attention`)
    h   ← h + A(h; tokens)                 or of the newest frame alone, to one token a frame (`tokens`)
    h_L ← h_L + A(h_L; its w x w window)   attention in space, of the newest frame

The decoder sees the newest frame alone, and its skips are taken before attention, as published.  Group instead of batch
normalisation, so that a prediction does not depend on its batch; no dropout.  A window is one of grid points.

The inputs are `frames` frames of `variables` variables, channels (variable, frame) with frames oldest first, then
whatever else there is (orography, a mask, what a method adds), which every frame is given.
"""

from __future__ import annotations

import math
from itertools import pairwise, product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anchorbench.errors import ModelError
from anchorbench.fields.carry import on_grid
from anchorbench.fields.grid import Grid
from anchorbench.models.local import pad
from anchorbench.models.unet import CONVOLUTIONS, MEANS, ConvBlock
from anchorbench.models.unet_attention_options import UnetAttentionOptions

TOKEN_LAYERS = 2


class UNetAttention(nn.Module):
    """Fields to fields on any planar or latlon grid, 2 or 3 dimensions.

    inputs: (B, C_in, *grid.shape) -> (B, C_out, *out_grid.shape).
    Raises ModelError where the grid has one axis, or the inputs are fewer than the frames.
    """

    def __init__(
        self, in_channels: int, out_channels: int, grid: Grid, options: UnetAttentionOptions | None = None
    ) -> None:
        super().__init__()
        if grid.ndim not in MEANS:
            raise ModelError(
                f"unet_attention takes two axes or three; this grid has one: {grid.shape}", do="--model fno"
            )
        self.options = options = options or UnetAttentionOptions()
        self._built = (in_channels, out_channels, grid)
        self.ndim = d = grid.ndim
        self.frames, self.variables = options.frames or 1, options.variables or 1
        rest = in_channels - self.frames * self.variables
        if rest < 0:
            raise ModelError(
                f"{self.frames} frames of {self.variables} variables are more than the {in_channels} input channels",
                do="--set model.frames=null",
            )
        first = rest + self.variables
        widths = [options.width * 2**level for level in range(options.depth)]
        self.down = nn.ModuleList(
            ConvBlock(before, width, d, options) for before, width in zip([first, *widths], widths, strict=False)
        )
        # One frame has no past.
        self.context = options.context if self.frames > 1 else "none"
        self.tokens = (
            FrameTokens(first, widths[-1], self.frames, d, options.heads) if self.context == "tokens" else None
        )
        inner = widths[-1] if self.context == "tokens" else None
        self.past = nn.ModuleList(
            Attention(width, options.heads, keys=inner)
            if self.context == "tokens" or (self.context == "attention" and level >= options.context_from)
            else nn.Identity()
            for level, width in enumerate(widths)
        )
        windows = [*options.windows, *[1] * options.depth][: options.depth]
        self.about = nn.ModuleList(
            Attention(width, options.heads) if window > 1 else nn.Identity()
            for width, window in zip(widths, windows, strict=True)
        )
        self.windows = windows
        self.up = nn.ModuleList(ConvBlock(below + width, width, d, options) for width, below in pairwise(widths))
        self.head = CONVOLUTIONS[d](options.width, out_channels, 1)

    def as_denoiser(self) -> UNetAttention:
        """Another draw of the weights, for the denoiser of a diffusion, with its own way to hear the frames."""
        context = self.options.denoiser_context or self.options.context
        return type(self)(*self._built, self.options.model_copy(update={"context": context}))

    def forward(self, inputs: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
        x = self._by_frame(on_grid(inputs, grid, out_grid))
        tokens = None if self.tokens is None else self.tokens(x)
        if self.context != "attention":
            x = x[:, -1:]
        mean, skips = MEANS[out_grid.ndim], list[Tensor]()
        for block, past, about, window in zip(self.down, self.past, self.about, self.windows, strict=True):
            n = x.shape[1]
            y = x.flatten(0, 1)
            if skips:
                # Two points are not made one: a norm over a single value has no spread.
                two = tuple(2 if points > 2 else 1 for points in y.shape[2:])
                y = mean(y, two, ceil_mode=True, count_include_pad=False)
            x = block(y, out_grid.periodic).unflatten(0, (-1, n))
            skips.append(x[:, -1])
            if self.context == "attention" and isinstance(past, Attention):
                x = _over_frames(x, past)
            elif tokens is not None:
                x = _to_tokens(x, tokens, past)
            if window > 1:
                x = torch.cat([x[:, :-1], _in_windows(x[:, -1], about, window, out_grid.periodic)[:, None]], 1)
        out = x[:, -1]
        for block, skip in zip(reversed(self.up), reversed(skips[:-1]), strict=True):
            out = F.interpolate(out, size=skip.shape[2:], mode="nearest")
            out = block(torch.cat((skip, out), 1), out_grid.periodic)
        made: Tensor = self.head(out)
        return made

    def _by_frame(self, x: Tensor) -> Tensor:
        """(B, C, *grid) -> (B, frame, variable + rest, *grid)."""
        of_frames = self.frames * self.variables
        frames = x[:, :of_frames].unflatten(1, (self.variables, self.frames)).transpose(1, 2)
        rest = x[:, None, of_frames:].expand(-1, self.frames, *[-1] * (x.ndim - 1))
        return torch.cat([frames, rest], 2)

    @property
    def facts(self) -> dict[str, str]:
        """What the card says beyond what it measures."""
        size = "x".join([str(self.options.kernel)] * self.ndim)
        return {
            "embedding": "none",
            "padding": "circular on periodic axes, else replicate",
            "kernel": f"{size} on {self.options.depth} levels, and windows of {self.windows} points about each point, "
            "in grid points: their support shrinks on a finer grid",
        }


class Attention(nn.Module):
    """x + MHA(LN x; LN keys), then + FFN(LN ·): queries (N, Q, C), keys (N, K, C_k) -> (N, Q, C).

    keys: C_k where it is not C.  Without keys, queries attend among themselves.
    """

    def __init__(self, width: int, heads: int, *, keys: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.key_norm = nn.LayerNorm(width), nn.LayerNorm(keys or width)
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = nn.Linear(keys or width, 2 * width)
        self.ffn = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, keys: Tensor | None = None) -> Tensor:
        q = self.query(self.norm(x))
        k, v = self.key_value(self.key_norm(x if keys is None else keys)).chunk(2, -1)
        q, k, v = (u.unflatten(-1, (self.heads, -1)).transpose(1, 2) for u in (q, k, v))
        heard = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)
        x = x + self.out(heard)
        out: Tensor = x + self.ffn(x)
        return out


class FrameTokens(nn.Module):
    """One token a frame: a convolution, the mean over the box, a learned position, two layers of attention.

    (B, frame, C, *grid) -> (B, frame, width).
    """

    def __init__(self, channels: int, width: int, frames: int, ndim: int, heads: int) -> None:
        super().__init__()
        self.conv = CONVOLUTIONS[ndim](channels, width, 3, padding=1)
        self.position = nn.Parameter(0.02 * torch.randn(frames, width))
        self.layers = nn.ModuleList(Attention(width, heads) for _ in range(TOKEN_LAYERS))

    def forward(self, x: Tensor) -> Tensor:
        found = F.gelu(self.conv(x.flatten(0, 1))).flatten(2).mean(2).unflatten(0, x.shape[:2])
        tokens: Tensor = found + self.position
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens


def sinusoids(n: int, width: int, like: Tensor) -> Tensor:
    """Positions 0 ... n − 1 as sin and cos of waves of length 2π to 2π 10⁴ (Vaswani et al. 2017): (n, width)."""
    half = (width + 1) // 2
    rate = torch.exp(torch.arange(half, device=like.device) * (-math.log(1e4) / max(half, 1)))
    phase = torch.arange(n, device=like.device)[:, None] * rate
    return torch.cat([phase.sin(), phase.cos()], 1)[:, :width].to(like.dtype)


def _over_frames(x: Tensor, attention: nn.Module) -> Tensor:
    """Each point attends to the same point of all frames: (B, L, C, *grid) -> the same."""
    tokens = x.flatten(3).permute(0, 3, 1, 2)  # (B, P, L, C)
    tokens = tokens + sinusoids(x.shape[1], x.shape[2], x)
    heard: Tensor = attention(tokens.flatten(0, 1)).view(tokens.shape)
    return heard.permute(0, 2, 3, 1).reshape(x.shape)


def _to_tokens(x: Tensor, tokens: Tensor, attention: nn.Module) -> Tensor:
    """Each point of the newest frame attends to one token a frame: x (B, 1, C, *grid), tokens (B, L, C_k)."""
    keys = tokens + sinusoids(tokens.shape[1], tokens.shape[2], tokens)
    heard: Tensor = attention(x[:, 0].flatten(2).transpose(1, 2), keys)
    return heard.transpose(1, 2).reshape(x.shape)


def _in_windows(x: Tensor, attention: nn.Module, window: int, periodic: tuple[bool, ...]) -> Tensor:
    """Each point attends to the points about it: (B, C, *grid) -> the same.

    A token is one point with all its channels: torch's unfold lays channels before places, and a plain reshape to
    (place, channel) would mix the two.
    """
    reach, shape = window // 2, x.shape[2:]
    padded = x
    for axis, wraps in enumerate(periodic):
        padded = pad(padded, reach, axis=axis + 2, periodic=wraps)
    places = []
    for offset in product(range(window), repeat=len(shape)):
        cut = padded
        for axis, (start, n) in enumerate(zip(offset, shape, strict=True)):
            cut = cut.narrow(axis + 2, start, n)
        places.append(cut.flatten(2))
    keys = torch.stack(places, 1).permute(0, 3, 1, 2)  # (B, P, window^d, C)
    query = x.flatten(2).transpose(1, 2)[:, :, None]  # (B, P, 1, C)
    heard: Tensor = attention(query.flatten(0, 1), keys.flatten(0, 1)).view(query.shape)
    return heard[:, :, 0].transpose(1, 2).reshape(x.shape)
