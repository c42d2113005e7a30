"""What a doctor finds: one line each, with the number, and what to do; and the loading of what is certified."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from anchorbench.errors import AnchorbenchError, ConfigError, unknown
from anchorbench.fields import Grid

Level = Literal["sound", "note", "defect"]
TAU = 2 * torch.pi


@dataclass(frozen=True)
class Finding:
    """check: what was tried.  level: sound, a note, or a defect.  number: what it rests on; None where it did not run.
    what: one line.  do: what to do about it."""

    check: str
    level: Level
    number: float | None
    what: str
    do: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def graded(check: str, number: float, what: str, do: str, *, defect: float, note: float | None = None) -> Finding:
    """A defect above `defect` (or where it is no number), a note above `note`, else sound."""
    bad = not number <= defect
    level: Level = "defect" if bad else "note" if note is not None and number > note else "sound"
    return Finding(check, level, number, what, "" if level == "sound" else do)


def named(target: str, *, kind: str) -> Callable[..., Any]:
    """`path.py:NAME` or `package.module:NAME`.  Raises ConfigError where it is not there, or cannot be called."""
    place, _, name = target.rpartition(":")
    if not place:
        raise ConfigError(f"'{target}' names no {kind}", do="path/to/file.py:NAME, or package.module:NAME")
    try:
        module = _of_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except AnchorbenchError:
        raise
    except Exception as error:  # whatever the user's own file raises
        said = (str(error).splitlines() or [""])[0]
        raise ConfigError(f"{place} cannot be imported: {type(error).__name__}: {said}") from error
    if not hasattr(module, name):
        there = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise ConfigError(f"{place}: {unknown(kind, name, there)}")
    found = getattr(module, name)
    if not callable(found):
        raise ConfigError(f"{target} is a {type(found).__name__}: a {kind} is called")
    called: Callable[..., Any] = found
    return called


def _of_file(path: Path) -> Any:
    if not path.is_file():
        raise ConfigError(f"the file '{path}' does not exist")
    spec = importlib.util.spec_from_file_location(f"anchorbench_certified_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"'{path}' is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with _beside(path):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _beside(path: Path) -> Iterator[None]:
    """The file may import what lies beside it."""
    folder = str(path.parent.resolve())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def wave(grid: Grid, k: tuple[int, ...], phase: float = 0.0) -> Tensor:
    """cos(2π k·x + phase) on the grid's unit box: (*shape), float64."""
    where = grid.mesh()
    turns = torch.stack([n * where[i] for i, n in enumerate(k)]).sum(0)
    return torch.cos(TAU * turns + phase)


def function_on(grid: Grid, low: float, high: float, *, seed: int, waves: int = 40) -> Tensor:
    """One and the same function on every grid: `waves` random waves of low <= |k| <= high in all quadrants, RMS 1.

    Of a volume the last axis has one wave: k = (i, j, 1).
    """
    rng = torch.Generator().manual_seed(seed)
    reach = range(-int(high), int(high) + 1)
    several = [(i, j) for i in range(int(high) + 1) for j in reach] if grid.ndim > 1 else [(i,) for i in reach if i > 0]
    band = [k for k in several if low <= sum(n * n for n in k) ** 0.5 <= high and any(k)]
    # k and −k are one wave.
    band = [k for k in band if k > tuple(-n for n in k)]
    chosen = [band[i] for i in torch.randperm(len(band), generator=rng)[:waves].tolist()]
    phases = (TAU * torch.rand(len(chosen), generator=rng)).tolist()
    amplitude = (2 / len(chosen)) ** 0.5 * torch.exp(1j * torch.tensor(phases, dtype=torch.float64))
    # cos(2π(k·x) + φ) is the real part of a product over the axes: one matrix product for all waves.
    turns = [torch.tensor([[k[i]] for k in chosen], dtype=torch.float64) for i in range(len(chosen[0]))]
    parts = [torch.exp(1j * TAU * t * grid.coordinates(i)) for i, t in enumerate(turns)]
    if grid.ndim == 1:
        line: Tensor = (amplitude @ parts[0]).real
        return line
    plane: Tensor = (amplitude[:, None] * parts[0]).T @ parts[1]
    if grid.ndim == 2:
        return torch.real(plane)
    along = torch.exp(1j * TAU * grid.coordinates(2))
    return torch.real(plane[..., None] * along)


def first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:160]
