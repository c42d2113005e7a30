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
    """A U-Net for two axes or three."""

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


class CnoOptions(Frozen):
    """A convolutional neural operator."""

    width: int = Field(default=32, ge=1, description="channels on the finest level; each level down has twice as many")
    depth: int = Field(default=3, ge=1, description="levels, the finest counted: the field is halved depth - 1 times")
    blocks: int = Field(default=1, ge=0, description="residual blocks on each level")
    kernel: int = Field(default=3, ge=1, description="points of each convolution, odd")
    norm: Literal["group", "none"] = Field(
        default="group", description="group normalisation with up to 8 groups, or none"
    )
    activation: Literal["gelu", "relu", "silu", "identity"] = "gelu"
    antialias: bool = Field(
        default=True, description="false: activations on the points, steps by the nearest point, as in a plain U-Net"
    )
    filter: Literal["fourier", "sinc"] = Field(
        default="fourier", description="fourier: exact on periodic axes, sinc on others; sinc: windowed, on all"
    )
    taps: int = Field(default=12, ge=2, description="zeros of the sinc within its window")
    inner: Literal["fixed", "grid"] = Field(
        default="fixed",
        description="fixed: it runs on the train rung's grid, other grids are resampled in and out, as published; "
        "grid: on the grid at hand, kernels in its points",
    )

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


class TransformerOptions(Frozen):
    """A transformer over patches of the grid."""

    width: int = Field(default=32, ge=1, description="channels of a token")
    layers: int = Field(default=4, ge=1)
    heads: int = Field(default=4, ge=1, description="a head has width / heads channels, rounded up to whole rotations")
    patch: int = Field(default=4, ge=1, description="points a side of a patch on the train rung")
    patch_units: Literal["physical", "grid"] = Field(
        default="physical",
        description="physical: a patch covers the same length on every rung, its points as far apart as on the train "
        "rung; grid: it shrinks with the grid, as in published models.  The number of tokens is the same",
    )
    positions: Literal["rotary", "fourier"] = Field(
        default="rotary",
        description="both in physical units and periodic where the box is: rotary knows where tokens lie to one "
        "another; fourier adds waves of x/L to each token",
    )
    mlp_ratio: float = Field(default=2.0, gt=0, description="hidden channels of each block's MLP, in widths")


class GnnOptions(Frozen):
    """Message passing on the grid as a graph."""

    width: int = Field(default=32, ge=1, description="channels of a node")
    layers: int = Field(default=3, ge=1, description="rounds of messages")
    radius: float = Field(default=1.5, gt=1, description="how far a neighbour may be, in spacings of the train rung")
    units: Literal["physical", "grid"] = Field(
        default="physical",
        description="physical: the same radius on every rung, so more neighbours on a finer one; grid: the radius in "
        "points, so the same neighbours, closer",
    )
    aggregate: Literal["quadrature", "mean"] = Field(
        default="quadrature",
        description="quadrature: a kernel integral, weighted by cell area and 1 - (distance/radius)², with sum 1; "
        "mean: all neighbours alike",
    )
    activation: Literal["gelu", "relu", "silu", "identity"] = Field(
        default="gelu", description="identity: a linear operator"
    )


class MambaOptions(Frozen):
    """Selective state space scans."""

    width: int = Field(default=32, ge=1, description="channels of the hidden fields")
    layers: int = Field(default=4, ge=1)
    state: int = Field(default=4, ge=1, description="states of each channel")
    expand: float = Field(default=1.0, gt=0, description="channels that are scanned, in widths")
    scan: Literal["axes", "flat"] = Field(
        default="axes",
        description="each axis, both ways.  axes: line by line, around the box where it is periodic; flat: one "
        "sequence of all points, which goes from the end of a line to the next one's beginning",
    )
    units: Literal["physical", "grid"] = Field(
        default="physical",
        description="physical: a step lasts in proportion to the grid's spacing, so memory reaches as far on every "
        "rung; grid: memory is in points, as in published models",
    )


class NeuralOdeOptions(Frozen):
    """A differential equation in hidden fields."""

    width: int = Field(default=32, ge=1, description="channels of the hidden fields")
    layers: int = Field(default=2, ge=1, description="convolutions of the right-hand side; 1: it is linear")
    kernel: int = Field(default=3, ge=1, description="points of each convolution on the train rung, odd")
    units: Literal["physical", "grid"] = Field(
        default="physical",
        description="physical: the taps stay where they are on the train rung; grid: the kernel shrinks on a finer "
        "grid, as in published models",
    )
    steps: int = Field(default=4, ge=1, description="Runge-Kutta steps over unit time")
    activation: Literal["gelu", "relu", "silu", "identity"] = Field(
        default="gelu", description="identity: a linear operator"
    )

    @field_validator("kernel")
    @classmethod
    def _odd(cls, k: int) -> int:
        if k % 2 == 0:
            raise ValueError("an odd number of points")
        return k
