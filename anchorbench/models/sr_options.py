"""The options of the models for super-resolution.  Importable without torch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from anchorbench.config import Frozen

QUERIES = 1 << 16


class SuperResolver(Frozen):
    """What they share."""

    query_points: int | None = Field(
        default=QUERIES, ge=1, description="points of the output, over the batch, worked on at once outside training; "
        "null: all.  It bounds the memory, and changes no number beyond rounding"
    )  # fmt: skip


class HinoteOptions(SuperResolver):
    """A hierarchical neural operator transformer.  Published: width 256, 16 heads, 1 level in the released code."""

    width: int = Field(default=256, ge=2, description="channels of the hidden fields")
    heads: int | None = Field(default=None, ge=1, description="of the attention; null: one for 16 channels")
    levels: int = Field(default=3, ge=1, description="of the decoder: each has half the points of the one above")
    stages: int = Field(default=2, ge=0, description="of the encoder, each of which doubles the input's points")
    branches: Literal["both", "bilinear", "fourier"] = Field(default="both", description="of the encoder's up-sampling")
    combine: Literal["add", "cat"] = Field(default="add", description="how the two branches meet")
    fourier_start: Literal["exact", "random"] = Field(
        default="exact", description="exact: the Fourier branch begins as band-limited interpolation; random: published"
    )
    encoder_activation: Literal["identity", "gelu"] = Field(
        default="identity", description="after each stage.  gelu is published, for fields between 0 and 1; of fields "
        "with mean 0 it takes the negative half away"
    )  # fmt: skip
    filter: Literal["sinc", "fourier", "none"] = Field(
        default="sinc", description="the low-pass around the activations between levels; none: GELU on the points"
    )

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        if self.heads is not None and (self.width % self.heads or self.width // self.heads < 2):
            raise ValueError(f"heads that divide the width {self.width} into two channels or more")
        return self

    @property
    def n_heads(self) -> int:
        """As asked; else the number nearest to one for 16 channels that divides the width."""
        return self.heads or usual_heads(self.width)


class EncoderOptions(SuperResolver):
    """The encoder that all rivals share, so that none is starved.  Published: 64 channels, 16 blocks."""

    width: int = Field(default=64, ge=1, description="channels of the encoder's features")
    blocks: int = Field(default=16, ge=0, description="residual blocks of the encoder")


class LiifOptions(EncoderOptions):
    """A local implicit image function."""

    hidden: int = Field(default=256, ge=1, description="channels of the decoder's layers")
    layers: int = Field(default=4, ge=1, description="hidden layers of the decoder")
    unfold: bool = Field(default=True, description="the decoder sees the 3 points an axis about each neighbour")
    # Left out of dumps at their defaults: runs from before there was a choice keep their names.
    sigma: float | None = Field(
        default=None,
        gt=0,
        description="the decoder sees random waves of the offset too: their deviation, in waves a spacing; null: none",
        exclude_if=lambda sigma: sigma is None,
    )
    waves: int = Field(default=16, ge=1, description="how many, with sigma", exclude_if=lambda waves: waves == 16)


class LteOptions(EncoderOptions):
    """A local texture estimator."""

    hidden: int = Field(default=256, ge=2, description="channels of the waves, half cosines, and of the decoder; even")
    layers: int = Field(default=3, ge=1, description="hidden layers of the decoder")

    @model_validator(mode="after")
    def _even(self) -> Self:
        if self.hidden % 2:
            raise ValueError("an even number of hidden channels")
        return self


class SrnoOptions(EncoderOptions):
    """A super-resolution neural operator."""

    hidden: int = Field(default=256, ge=2, description="channels of the decoder")
    layers: int = Field(default=2, ge=1, description="blocks of Galerkin attention")


class EdsrOptions(EncoderOptions):
    """A convolutional network of one fixed factor, resized to all others."""

    factor: int = Field(default=2, ge=1, description="by which it refines each axis; other factors are resized")


def usual_heads(width: int) -> int:
    """The divisor of the width nearest to width/16 that leaves two channels a head."""
    fitting = [h for h in range(1, width // 2 + 1) if width % h == 0]
    return min(fitting, key=lambda h: abs(h - width / 16))
