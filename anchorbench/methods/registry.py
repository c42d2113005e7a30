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
#: From places to one field's values: each dataset has it.
REPRESENT = "represent"

#: name: (module, class, track, tasks, what it is)
METHODS: dict[str, tuple[str, str, str, tuple[str, ...], str]] = {
    "baseline": ("baseline", "Baseline", "zero-shot", (*FIELDS, REPRESENT), "mean squared error on the train rung"),
    "bandlimited": (
        "bandlimited",
        "BandLimited",
        "zero-shot",
        ("forecast", "operator"),
        "one latent grid for every rung, then lifted: CROP (Gao et al., ICLR 2025)",
    ),
    "diffusion": (
        "diffusion",
        "Diffusion",
        "zero-shot",
        FIELDS,
        "a conditional mean and a diffusion of its residual, scored as an ensemble (after Defez et al. 2026)",
    ),
    "fresh": (
        "fresh",
        "Fresh",
        "zero-shot",
        (REPRESENT,),
        "frequencies chosen by the untrained network's spectrum (Kania et al., ICLR 2025)",
    ),
    "frl": (
        "frl",
        "FRL",
        "zero-shot",
        FIELDS,
        "coarser levels, Nyquist-normalised encoding, spectral loss (Wang and Zhang, ICLR 2026)",
    ),
    "grid_search": (
        "fresh",
        "GridSearch",
        "zero-shot",
        (REPRESENT,),
        "frequencies chosen by training with every setting: what fresh is priced against",
    ),
    "hinote": (
        "hinote",
        "Hinote",
        "zero-shot",
        ("super_resolve",),
        "targets of many factors, and a loss that weighs what is hard (Luo et al., ICML 2024)",
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
    "pinn": (
        "pinn",
        "Pinn",
        "zero-shot",
        ("forecast", "operator"),
        "the residual of the ladder's own equation beside the data loss",
    ),
}

#: name: (tasks, what it is)
REFERENCES: dict[str, tuple[tuple[str, ...], str]] = {
    "persistence": (("forecast",), "the newest input frame"),
    "interpolate": (("super_resolve",), "the input carried to the finer grid: waves on a periodic box, else bilinear"),
    "bilinear": (("super_resolve",), "the input read between its points, where interpolate is by waves"),
    "bicubic": (("super_resolve",), "the input by cubic convolution, exact for quadratics (Keys 1981)"),
    "nearest": (("super_resolve",), "of rain: the input as it is, each cell's amount at all of its points and hours"),
    "climatology": (
        ("super_resolve",),
        "of rain: an ensemble of fields drawn from the training split, whatever the input: the probabilistic floor",
    ),
    "fourier": (("super_resolve",), "the input's cosine or Fourier series, where interpolate is bilinear"),
    "oracle_lowpass": ((*FIELDS, REPRESENT), "the truth without what is finer than the train rung"),
    "solver": (("forecast", "operator"), "the dataset's own equation, solved on each rung from the restricted state"),
    "coarse_then_upsample": ((*FIELDS, REPRESENT), "the run's own prediction on the train rung, prolonged"),
    "native": ((*FIELDS, REPRESENT), "the baseline trained at each rung: --with-references"),
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
    if task == REPRESENT and name == "baseline":
        module, cls = "represent", "Fit"
    method: Method = getattr(import_module(f"anchorbench.methods.{module}"), cls)(plan, options)
    return method
