"""The options of the built-in models.  Importable without torch, so that a spec is validated before anything heavy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from anchorbench.config import Frozen

Positive = Annotated[int, Field(ge=1)]


class FnoOptions(Frozen):
    """A Fourier neural operator.  Where neuraloperator has a default, it is ours too, but for the embedding."""

    width: int = Field(default=32, ge=1, description="channels of the hidden fields")
    layers: int = Field(default=4, ge=1, description="Fourier blocks")
    modes: Positive | tuple[Positive, ...] = Field(
        default=16,
        description="Fourier modes kept per axis, both signs counted: m keeps -m/2 <= k < m/2 (odd m: |k| <= m//2), "
        "and 0 <= k <= m//2 on the last axis; one number for all axes, or one each",
    )
    lifting_ratio: float = Field(default=2.0, gt=0, description="hidden channels of the lifting, in widths")
    projection_ratio: float = Field(default=2.0, gt=0, description="hidden channels of the projection, in widths")
    mlp_ratio: float = Field(
        default=0.5, ge=0, description="hidden channels of each block's channel MLP, in widths; 0: none"
    )
    embedding: Literal["none", "grid", "periodic"] = Field(
        default="none",
        description="coordinates as input channels: none keeps translation equivariance; grid is x/L in [0, 1), which "
        "jumps at a periodic border; periodic is sin and cos of one wave of the box (half a wave on other axes)",
    )
    activation: Literal["gelu", "relu", "silu", "identity"] = Field(
        default="gelu", description="identity: a linear operator"
    )
    local_kernel: int = Field(
        default=0, ge=0, description="points of a convolution beside each spectral one, odd; 0: none"
    )
    local_units: Literal["grid", "physical"] = Field(
        default="grid",
        description="grid: the kernel's support shrinks on a finer grid, as in published models; physical: the taps "
        "stay where they are on the train rung",
    )

    @field_validator("local_kernel")
    @classmethod
    def _odd(cls, k: int) -> int:
        if k and k % 2 == 0:
            raise ValueError("an odd number of points, or 0")
        return k


class UnetOptions(Frozen):
    """A U-Net for two axes."""

    width: int = Field(default=32, ge=1, description="channels on the finest level; each level down has twice as many")
    depth: int = Field(default=3, ge=1, description="levels, the finest counted: the input is halved depth - 1 times")
    norm: Literal["group", "none"] = Field(
        default="group", description="group normalisation with up to 8 groups, or none"
    )
    kernel: int = Field(default=3, ge=1, description="points of each convolution, odd; its support is in grid points")

    @field_validator("kernel")
    @classmethod
    def _odd(cls, k: int) -> int:
        if k % 2 == 0:
            raise ValueError("an odd number of points")
        return k


class LocalOptions(Frozen):
    """Convolutions in physical units."""

    width: int = Field(default=32, ge=1, description="channels of the hidden fields")
    layers: int = Field(default=4, ge=1)
    kernel: int = Field(default=3, ge=1, description="points of each convolution on the train rung, odd")

    @field_validator("kernel")
    @classmethod
    def _odd(cls, k: int) -> int:
        if k % 2 == 0:
            raise ValueError("an odd number of points")
        return k
