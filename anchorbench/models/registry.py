"""Names of the models, their options, and how one is built and called.  Importable without torch.

A name is a built-in (`fno`), a user's own class or function (`path/to/file.py:Name`), or an entry point of an installed
package in the group `anchorbench.models`.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from anchorbench.config import Frozen, validated
from anchorbench.errors import ConfigError, ModelError, unknown
from anchorbench.models.coordinate_options import (
    FinerOptions,
    FourierFeaturesOptions,
    PositionalEncodingOptions,
    ResFieldsOptions,
    SirenOptions,
    WireOptions,
)
from anchorbench.models.neuralop_options import NeuralopFnoOptions, NeuralopTfnoOptions, NeuralopUnoOptions
from anchorbench.models.options import (
    CnoOptions,
    FnoOptions,
    GnnOptions,
    LocalOptions,
    MambaOptions,
    NeuralOdeOptions,
    TransformerOptions,
    UnetOptions,
)
from anchorbench.models.sr_options import EdsrOptions, HinoteOptions, LiifOptions, LteOptions, SrnoOptions
from anchorbench.models.unet_attention_options import UnetAttentionOptions

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from torch import Tensor, nn

    from anchorbench.fields.grid import Grid

ENTRY_POINTS = "anchorbench.models"
NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


class BuiltIn(NamedTuple):
    """package: the extra that it needs, which may not be installed."""

    module: str
    cls: str
    options: type[Frozen]
    what: str
    package: str | None = None


BUILT_IN: dict[str, BuiltIn] = {
    "cno": BuiltIn(
        "cno",
        "CNO",
        CnoOptions,
        "U-Net whose activations do not alias, on a fixed inner grid, 1 to 3 dimensions (Raonić et al. 2023)",
    ),
    "edsr": BuiltIn(
        "edsr", "EDSR", EdsrOptions, "to super-resolve: a fixed factor, resized to others (Lim et al. 2017)"
    ),
    "finer": BuiltIn(
        "finer", "Finer", FinerOptions, "to represent: sines that quicken with what they are given (Liu et al. 2024)"
    ),
    "fno": BuiltIn("fno", "FNO", FnoOptions, "Fourier neural operator, any grid, 1 to 3 dimensions (Li et al. 2021)"),
    "fourier_features": BuiltIn(
        "fourier_features",
        "FourierFeatures",
        FourierFeaturesOptions,
        "to represent: random waves of the place, then ReLU (Tancik et al. 2020)",
    ),
    "gnn": BuiltIn(
        "gnn", "GNN", GnnOptions, "message passing in a radius in physical units, any grid, 1 to 3 dimensions"
    ),
    "hinote": BuiltIn(
        "hinote",
        "HiNOTE",
        HinoteOptions,
        "to super-resolve: queries under Galerkin attention on several levels, any factor (Luo et al. 2024)",
    ),
    "liif": BuiltIn(
        "liif", "LIIF", LiifOptions, "to super-resolve: features decoded point by point, any factor (Chen et al. 2021)"
    ),
    "local": BuiltIn(
        "local_net", "LocalNet", LocalOptions, "convolutions in physical units, any grid, 1 to 3 dimensions"
    ),
    "lte": BuiltIn(
        "lte", "LTE", LteOptions, "to super-resolve: learned waves about each query, any factor (Lee and Jin 2022)"
    ),
    "mamba": BuiltIn(
        "mamba", "Mamba", MambaOptions, "selective scans along both ways of each axis, any grid (Gu and Dao 2023)"
    ),
    "neural_ode": BuiltIn(
        "neural_ode",
        "NeuralODE",
        NeuralOdeOptions,
        "hidden fields under Runge-Kutta, any grid, 1 to 3 dimensions (Chen et al. 2018)",
    ),
    "neuralop_fno": BuiltIn(
        "neuralop",
        "NeuralopFNO",
        NeuralopFnoOptions,
        "neuraloperator's FNO as it is: 2.0.0 moves waves on odd grids (extra neuralop)",
        package="neuralop",
    ),
    "neuralop_tfno": BuiltIn(
        "neuralop",
        "NeuralopTFNO",
        NeuralopTfnoOptions,
        "neuraloperator's FNO with factorised weights (extra neuralop)",
        package="neuralop",
    ),
    "neuralop_uno": BuiltIn(
        "neuralop",
        "NeuralopUNO",
        NeuralopUnoOptions,
        "neuraloperator's U-shaped operator as it is (extra neuralop; Rahman et al. 2023)",
        package="neuralop",
    ),
    "positional_encoding": BuiltIn(
        "positional_encoding",
        "PositionalEncoding",
        PositionalEncodingOptions,
        "to represent: octaves of the place, then ReLU (Mildenhall et al. 2020)",
    ),
    "resfields": BuiltIn(
        "resfields",
        "ResFields",
        ResFieldsOptions,
        "to represent: siren with hidden maps that change with time (Mihajlovic et al. 2024)",
    ),
    "siren": BuiltIn("siren", "Siren", SirenOptions, "to represent: sines of linear maps (Sitzmann et al. 2020)"),
    "srno": BuiltIn(
        "srno",
        "SRNO",
        SrnoOptions,
        "to super-resolve: all queries under Galerkin attention, any factor (Wei and Zhang 2023)",
    ),
    "transformer": BuiltIn(
        "transformer",
        "Transformer",
        TransformerOptions,
        "attention over patches, positions in physical units, any grid, 1 to 3 dimensions",
    ),
    "unet": BuiltIn("unet", "UNet", UnetOptions, "U-Net, convolutions in grid points, 2 or 3 dimensions"),
    "unet_attention": BuiltIn(
        "unet_attention",
        "UNetAttention",
        UnetAttentionOptions,
        "U-Net over several frames, with attention in time and in windows, 2 or 3 dimensions (Defez et al. 2026)",
    ),
    "wire": BuiltIn("wire", "Wire", WireOptions, "to represent: complex Gabor wavelets (Saragadam et al. 2023)"),
}


def model_names() -> tuple[str, ...]:
    """The built-in models, then those of installed packages."""
    return (*BUILT_IN, *sorted(name for name in _installed() if name not in BUILT_IN))


def validate_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a built-in model with their defaults, as plain values; another model's as they are.

    Raises ConfigError naming the option that is wrong and the nearest that exists; ModelError for an unknown model.
    """
    if name in BUILT_IN:
        return validated(BUILT_IN[name].options, options, where=f"model {name}").model_dump(mode="json")
    _check_name(name)
    return dict(options)


def build(
    name: str, *, in_channels: int, out_channels: int, grid: Grid, options: Mapping[str, Any] = NO_OPTIONS
) -> nn.Module:
    """The model, newly initialised from torch's random state.

    grid: of the train rung.  A user's constructor gets those of `in_channels`, `out_channels`, `grid` and `ndim` that
    its signature names, and the options.

    Raises ModelError where it cannot be built, ConfigError for an option that it does not take.
    """
    if name in BUILT_IN:
        entry = BUILT_IN[name]
        chosen = validated(entry.options, options, where=f"model {name}")
        cls = getattr(import_module(f"anchorbench.models.{entry.module}"), entry.cls)
        model: nn.Module = cls(in_channels, out_channels, grid, chosen)
        return model
    _check_name(name)
    made = _from_file(name) if _is_path(name) else _installed()[name].load()
    offered = {"in_channels": in_channels, "out_channels": out_channels, "grid": grid, "ndim": grid.ndim}
    return _construct(name, made, offered, options)


def call(model: nn.Module, inputs: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
    """The model's output, whichever forward it has: `forward(inputs, grid, out_grid)` or a plain `forward(x)`.

    inputs: (B, C, *grid.shape).  Returns (B, C', *out_grid.shape).  Raises ModelError where the shape is another.
    """
    import torch

    out = forward(model, inputs, grid, out_grid)
    if not isinstance(out, torch.Tensor):
        raise ModelError(f"the model's output on rung {grid.name} is a {type(out).__name__}, not a tensor")
    want = (inputs.shape[0], *out_grid.shape)
    if out.ndim != out_grid.ndim + 2 or (out.shape[0], *out.shape[2:]) != want:
        shape = ", ".join(["B", "C", *map(str, out_grid.shape)])
        raise ModelError(
            f"the model's output on rung {grid.name} has shape {tuple(out.shape)}; ({shape}) with B = {want[0]} "
            "was expected",
            do="a model gives one value a channel on each point of the grid it is asked for",
        )
    return out


def forward(model: nn.Module, inputs: Tensor, grid: Grid, out_grid: Grid) -> Any:
    """As `call`, without a look at the output."""
    from torch import nn

    inner = getattr(model, "_orig_mod", model)  # torch.compile wraps the module and hides its signature
    if isinstance(inner, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner = inner.module
    parameters = inspect.signature(inner.forward).parameters
    grids = {"grid": grid, "out_grid": out_grid}
    if named := {name: grids[name] for name in grids if name in parameters}:
        return model(inputs, **named)
    positional = (p for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
    if sum(p.default is p.empty for p in positional) == 3:
        return model(inputs, grid, out_grid)
    return model(inputs)


def _is_path(name: str) -> bool:
    return name.rpartition(":")[0].endswith(".py")


def _installed() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # 40 ms: only where a name is no built-in

    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


def _check_name(name: str) -> None:
    if _is_path(name):
        path = Path(name.rpartition(":")[0])
        if not path.is_file():
            raise ModelError(f"the model file '{path}' does not exist", do="name it as path/to/file.py:Name")
    elif name.endswith(".py"):
        raise ModelError(f"'{name}' names a file but no model in it", do=f"name the class too: {name}:Name")
    elif name not in _installed():
        raise ModelError(unknown("model", name, model_names()), do="your own: --model path/to/file.py:Name")


def _from_file(name: str) -> Any:
    file, _, attribute = name.rpartition(":")
    path = Path(file).resolve()
    module_name = f"anchorbench_user_{path.stem}_{hashlib.sha256(bytes(path)).hexdigest()[:8]}"
    spec = spec_from_file_location(module_name, path)
    assert spec is not None  # a .py file always has a loader
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses and pickle look their module up
    sys.path.insert(0, str(path.parent))  # a model may import the file beside it
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        raise ModelError(f"the model file '{file}' cannot be imported: {_one_line(error)}") from error
    finally:
        sys.path.remove(str(path.parent))
    if not hasattr(module, attribute):
        own = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", None) == module_name]
        raise ModelError(unknown(f"model in {file} called", attribute, own))
    return getattr(module, attribute)


def _construct(name: str, made: Any, offered: Mapping[str, Any], options: Mapping[str, Any]) -> nn.Module:
    from torch import nn

    if isinstance(made, nn.Module):
        if options:
            raise ConfigError(f"model {name} is built already and takes no options: {', '.join(options)}")
        return copy.deepcopy(made)  # every run starts from the weights that the file gave it
    if not callable(made):
        raise ModelError(f"model {name} is a {type(made).__name__}, not a torch.nn.Module, a class or a function")
    parameters = inspect.signature(made).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for option in options:
            if option not in parameters:
                raise ConfigError(f"model {name}: {unknown('option', option, set(parameters) - set(offered))}")
    given = {key: value for key, value in offered.items() if key in parameters}
    try:
        model = made(**{**given, **options})
    except TypeError as error:
        raise ModelError(
            f"model {name} cannot be built: {_one_line(error)}",
            do=f"it was given {', '.join([*given, *options]) or 'nothing'}; the rest are options of the model",
        ) from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"model {name} gave a {type(model).__name__}, not a torch.nn.Module")
    return model


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
