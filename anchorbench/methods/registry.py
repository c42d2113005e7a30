"""Names of the methods and references, their tracks and tasks.  Importable without torch."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from anchorbench.errors import MethodError, unknown

if TYPE_CHECKING:
    from anchorbench.methods.base import Method, Plan

#: Tasks from fields to fields.
FIELDS = ("forecast", "operator", "super_resolve")

#: name: (module, class, track, tasks, what it is)
METHODS: dict[str, tuple[str, str, str, tuple[str, ...], str]] = {
    "baseline": ("baseline", "Baseline", "zero-shot", FIELDS, "mean squared error on the train rung"),
    "bandlimited": (
        "bandlimited",
        "BandLimited",
        "zero-shot",
        ("forecast", "operator"),
        "one latent grid for every rung, then lifted: CROP (Gao et al., ICLR 2025)",
    ),
    "frl": (
        "frl",
        "FRL",
        "zero-shot",
        FIELDS,
        "coarser levels, Nyquist-normalised encoding, spectral loss (Wang and Zhang, ICLR 2026)",
    ),
    "hybrid": (
        "hybrid",
        "Hybrid",
        "zero-shot",
        ("forecast", "operator"),
        "a step of the ladder's own solver, corrected by a network whose strength follows the grid",
    ),
    "multires": (
        "multires",
        "MultiRes",
        "assisted",
        FIELDS,
        "a mix of rungs, mostly coarse (Sakarvadia et al., ICLR 2026)",
    ),
}

#: name: (tasks, what it is)
REFERENCES: dict[str, tuple[tuple[str, ...], str]] = {
    "persistence": (("forecast",), "the newest input frame"),
    "interpolate": (("super_resolve",), "the input carried to the finer grid: waves on a periodic box, else bilinear"),
    "oracle_lowpass": (FIELDS, "the truth without what is finer than the train rung"),
    "solver": (("forecast", "operator"), "the dataset's own equation, solved on each rung from the restricted state"),
    "coarse_then_upsample": (FIELDS, "the run's own prediction on the train rung, prolonged"),
    "native": (FIELDS, "the baseline trained at each rung: --with-references"),
}


def check_method(name: str, task: str) -> None:
    """Raise MethodError where there is no such method, or it does not take the task."""
    if name not in METHODS:
        raise MethodError(unknown("method", name, METHODS))
    tasks = METHODS[name][3]
    if task not in tasks:
        raise MethodError(f"'{name}' does not take the task {task}: it takes {', '.join(tasks)}")


def build_method(name: str, plan: Plan, options: Mapping[str, Any], *, task: str) -> Method:
    """The method with validated options.  Raises MethodError or ConfigError."""
    check_method(name, task)
    module, cls, *_ = METHODS[name]
    method: Method = getattr(import_module(f"anchorbench.methods.{module}"), cls)(plan, options)
    return method
