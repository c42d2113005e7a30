"""A model's card: on which grids it runs, what it knows of them, and what it costs.  Measured, where it can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, bmm_flop

from anchorbench.fields.grid import Grid, rung_name
from anchorbench.models.registry import forward

#: torch counts a batched product added to a sum, but not when it is added in place.
IN_PLACE = {torch.ops.aten.baddbmm_: lambda _, a, b, out_shape=None, **kwargs: bmm_flop(a, b)}

GridRule = Literal["any grid", "fixed inner grid", "fixed factor", "its own grid only"]


@dataclass(frozen=True)
class Card:
    """What a reader must know of a model before its curve.

    grid_rule: `any grid`; `fixed inner grid`: it runs on any, and what is finer than the train rung does not reach its
    output; `fixed factor`: the output is `factor` times the input; `its own grid only`: other rungs fail.
    flops: floating-point operations of matrix products and convolutions of one forward pass of one sample, per rung
    that it runs on.
    """

    name: str
    grid_rule: GridRule
    factor: float | None
    embedding: str
    padding: str
    kernel: str
    parameters: int
    train_rung: int
    flops: dict[int, int]

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "flops": {rung_name(rung): n for rung, n in self.flops.items()}}

    def lines(self) -> list[str]:
        """One fact a line, for a terminal or a Markdown list."""
        rule = self.grid_rule if self.factor is None else f"{self.grid_rule} {self.factor:g}"
        flops = ", ".join(f"{rung_name(rung)} {_short(n)}" for rung, n in self.flops.items())
        return [
            f"model: {self.name}",
            f"grid: {rule}",
            f"embedding: {self.embedding}",
            f"padding: {self.padding}",
            f"kernel: {self.kernel}",
            f"parameters: {self.parameters:,}",
            f"FLOPs a sample: {flops}",
        ]


def card(model: nn.Module, name: str, *, grid: Grid, in_channels: int, rungs: Sequence[int]) -> Card:
    """The card of a model built for `grid`, tried on `rungs` of the same box.

    The model is run without gradients, in evaluation mode, and left in the mode it was in.
    """
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        shapes, flops = {}, {}
        for rung in sorted({grid.rung, *rungs}):
            if (tried := _try(model, grid.with_rung(rung), in_channels)) is not None:
                shapes[rung], flops[rung] = tried
        rule, factor = _grid_rule(model, grid, in_channels, shapes, {grid.rung, *rungs})
    finally:
        for module, mode in training.items():
            module.training = mode
    said = getattr(model, "facts", None)
    facts = {**_scan(model), **(said if isinstance(said, dict) else {})}
    return Card(
        name=name,
        grid_rule=rule,
        factor=factor,
        **facts,
        parameters=sum(p.numel() * (2 if p.is_complex() else 1) for p in model.parameters()),
        train_rung=grid.rung,
        flops=flops,
    )


def _like(model: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """A field of fixed noise with the model's dtype and device."""
    first = next(model.parameters(), torch.zeros(()))
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return noise.to(first.device, first.real.dtype)


@torch.no_grad()
def _try(model: nn.Module, grid: Grid, in_channels: int) -> tuple[tuple[int, ...], int] | None:
    """The output's shape without batch and channels, and the FLOPs; None where the model does not run on the grid."""
    inputs = _like(model, (1, in_channels, *grid.shape))
    try:
        with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter:
            out = forward(model, inputs, grid, grid)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, IndexError, AssertionError):
        return None
    return tuple(out.shape[2:]), counter.get_total_flops()


def _grid_rule(
    model: nn.Module, grid: Grid, in_channels: int, shapes: dict[int, tuple[int, ...]], asked: set[int]
) -> tuple[GridRule, float | None]:
    factors = {rung: shape[0] / grid.with_rung(rung).shape[0] for rung, shape in shapes.items() if shape}
    same = set(factors.values())
    if set(shapes) != asked or len(same) > 1:
        return "its own grid only", None
    if same != {1.0}:
        return "fixed factor", next(iter(same), None)
    finest = max(shapes)
    if finest > grid.rung and not _hears_finer_waves(model, grid, in_channels, finest):
        return "fixed inner grid", None
    return "any grid", None


@torch.no_grad()
def _hears_finer_waves(model: nn.Module, grid: Grid, in_channels: int, rung: int) -> bool:
    """Whether a wave between the train rung's Nyquist and the finer rung's changes the output at all."""
    fine = grid.with_rung(rung)
    inputs = _like(model, (1, in_channels, *fine.shape))
    waves = (grid.shape[-1] // 2 + 1 + fine.shape[-1] // 2) // 2
    angle = 2 * torch.pi * waves / fine.extent[-1] * fine.coordinates(fine.ndim - 1)
    before = forward(model, inputs, fine, fine)
    after = forward(model, inputs + angle.sin().to(inputs), fine, fine)
    return bool((after - before).norm() > 1e-5 * before.norm())


def _scan(model: nn.Module) -> dict[str, str]:
    """What the layers of a user's own model tell of padding and kernels."""
    convs = [m for m in model.modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d) and max(m.kernel_size) > 1]
    sizes = sorted({"x".join(map(str, conv.kernel_size)) for conv in convs})
    kernel = f"{', '.join(sizes)}, in grid points: its support shrinks on a finer grid" if sizes else "not known"
    padding = ", ".join(sorted({conv.padding_mode for conv in convs})) or "not known"
    return {"embedding": "not known", "padding": padding, "kernel": kernel}


def _short(n: int) -> str:
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return str(n)
