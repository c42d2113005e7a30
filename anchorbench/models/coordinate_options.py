"""The options of coordinate networks, and the one number of each that sets its frequencies.  Importable without torch.

The published grids are those of FreSh (Kania et al., ICLR 2025); the others are ours and say so.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from anchorbench.config import Frozen

#: Networks of any number of octaves up to this are of one shape, so that they train side by side.
MAX_OCTAVES = 12


class CoordinateOptions(Frozen):
    """What every coordinate network has."""

    width: int = Field(default=256, ge=1, description="channels of the hidden layers")
    layers: int = Field(default=3, ge=1, description="hidden layers; the map to the values is another")


class SirenOptions(CoordinateOptions):
    """Sines of linear maps."""

    omega: float = Field(default=30.0, gt=0, description="factor on the coordinates, before the first map")
    hidden_omega: float = Field(default=30.0, gt=0, description="factor before every other map")


class FourierFeaturesOptions(CoordinateOptions):
    """Random waves, then ReLU."""

    sigma: float = Field(default=1.0, gt=0, description="deviation of the frequencies, in waves per half box")
    features: int = Field(default=128, ge=1, description="waves; each gives a sine and a cosine")


class FinerOptions(CoordinateOptions):
    """Sines whose frequency grows with what they are given."""

    omega: float = Field(default=30.0, gt=0, description="factor within the first sine")
    hidden_omega: float = Field(default=30.0, gt=0, description="factor within every other sine")
    bias: float | None = Field(
        default=None, ge=0, description="first biases are drawn within this of 0; null: 1/√dimensions, as torch draws"
    )
    form: Literal["bias", "omega"] = Field(
        default="bias",
        description="which number sets the frequencies: the range of the first biases, or omega, the biases drawn as 0",
    )


class WireOptions(CoordinateOptions):
    """Complex Gabor wavelets."""

    omega: float = Field(default=10.0, gt=0, description="frequency of the wavelets")
    scale: float = Field(default=10.0, gt=0, description="inverse width of their envelope")


class PositionalEncodingOptions(CoordinateOptions):
    """Sines and cosines by octaves, then ReLU."""

    octaves: int = Field(default=10, ge=1, le=MAX_OCTAVES, description="waves of 1, 2, 4, ... periods a box")


class ResFieldsOptions(SirenOptions):
    """SIREN whose hidden maps change with time."""

    rank: int = Field(default=10, ge=1, description="matrices that each frame mixes")
    time_input: bool = Field(
        default=True, description="time is a coordinate too; false: it is known by the mixture alone"
    )


#: model: (option, grid on which it is chosen)
KNOBS: dict[str, tuple[str, tuple[float, ...]]] = {
    "siren": ("omega", tuple(float(10 * i) for i in range(1, 21))),
    "resfields": ("omega", tuple(float(10 * i) for i in range(1, 21))),
    "fourier_features": ("sigma", tuple(float(i) for i in range(1, 21))),
    # Ours: FreSh is not published for these two.
    "wire": ("omega", tuple(float(2 * i) for i in range(1, 21))),
    "positional_encoding": ("octaves", tuple(float(i) for i in range(1, MAX_OCTAVES + 1))),
}
FINER_KNOBS: dict[str, tuple[str, tuple[float, ...]]] = {
    "bias": ("bias", tuple(round(0.1 * i, 1) for i in range(31))),
    "omega": ("omega", tuple(float(10 * i) for i in range(1, 21))),
}
#: Networks from coordinates to values: the models of the task `represent`.
COORDINATE_NETWORKS = frozenset({*KNOBS, "finer"})


def knob_of(options: Frozen) -> tuple[str, tuple[float, ...]]:
    """The option that sets the frequencies of a network, and the values among which it is chosen."""
    if isinstance(options, FinerOptions):
        return FINER_KNOBS[options.form]
    return KNOBS[_NAMES[type(options)]]


_NAMES: dict[type[Any], str] = {
    SirenOptions: "siren",
    ResFieldsOptions: "resfields",
    FourierFeaturesOptions: "fourier_features",
    WireOptions: "wire",
    PositionalEncodingOptions: "positional_encoding",
}
