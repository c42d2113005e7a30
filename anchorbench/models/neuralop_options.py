"""The options of neuraloperator's models.  Importable without torch and without neuraloperator."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from anchorbench.config import Frozen

Positive = Annotated[int, Field(ge=1)]


class PublishedOptions(Frozen):
    """What all three have.  Defaults are the package's own where it has them."""

    width: int = Field(default=32, ge=1, description="channels of the hidden fields")
    modes: Positive | tuple[Positive, ...] = Field(
        default=16, description="Fourier modes kept per axis, both signs counted; one number for all axes, or one each"
    )
    embedding: Literal["grid", "none"] = Field(
        default="grid", description="coordinates as input channels: grid is x/L in [0, 1), which jumps at a border"
    )
    padding: float = Field(
        default=0.0, ge=0, lt=1, description="zeros on both ends of each axis, as a share of its points; 0: none"
    )


class NeuralopFnoOptions(PublishedOptions):
    """neuraloperator's FNO."""

    layers: int = Field(default=4, ge=1, description="Fourier blocks")


class NeuralopTfnoOptions(NeuralopFnoOptions):
    """neuraloperator's FNO with factorised weights."""

    factorization: Literal["Tucker", "CP", "TT"] = "Tucker"
    rank: float = Field(default=0.1, gt=0, le=1, description="share of the dense model's spectral weights")


class NeuralopUnoOptions(PublishedOptions):
    """neuraloperator's U-shaped operator.  The shape is that of the package's own example."""

    channels: tuple[Positive, ...] = Field(default=(1, 2, 2, 2, 1), description="of each layer, in widths")
    scalings: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(1.0, 0.5, 1.0, 2.0, 1.0), description="points of each layer's output, in those of its input"
    )
    hidden: int = Field(default=256, ge=1, description="channels within the lifting and the projection")

    @model_validator(mode="after")
    def _one_a_layer(self) -> Self:
        if len(self.channels) != len(self.scalings):
            raise ValueError("channels and scalings have one number a layer")
        if not math.isclose(math.prod(self.scalings), 1.0):
            raise ValueError("the product of the scalings is 1: the output has the points of the input")
        return self
