"""The tests that a finished run can be put to, by name, and how they are carried out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import xarray as xr
from torch import nn

from anchorbench.errors import RunError, unknown
from anchorbench.methods.references import Predictor
from anchorbench.runs.controlled import information, matrix, resolution
from anchorbench.runs.evaluate import method_predictor
from anchorbench.runs.other_factors import other_factors
from anchorbench.runs.probes import Subject, Tell, write_probes
from anchorbench.runs.response import response
from anchorbench.runs.rollout import rollout
from anchorbench.runs.samplers import samplers
from anchorbench.runs.session import Session
from anchorbench.runs.store import RunFolder
from anchorbench.runs.training import training


@dataclass(frozen=True)
class Examination:
    """Which tests, and what they leave open: the band of `resolution`, the grid of `information`.

    Raises RunError for a test that there is not, or an option of a test that was not asked for.
    """

    tests: tuple[str, ...]
    band: int | None = None
    rung: int | None = None

    def __post_init__(self) -> None:
        for name in self.tests:
            if name not in TESTS:
                raise RunError(unknown("test", name, TESTS))
        for option, value, test in (("--band", self.band, "resolution"), ("--rung", self.rung, "information")):
            if value is not None and test not in self.tests:
                raise RunError(f"{option} belongs to the test `{test}`", do=f"--test {test} {option} {value}")


Test = Callable[[Subject, Examination, Tell], xr.Dataset]

TESTS: dict[str, Test] = {
    "resolution": lambda subject, asked, tell: resolution(subject, band=asked.band, tell=tell),
    "information": lambda subject, asked, tell: information(subject, rung=asked.rung, tell=tell),
    "matrix": lambda subject, asked, tell: matrix(subject, tell=tell),
    "response": lambda subject, asked, tell: response(subject, tell=tell),
    "rollout": lambda subject, asked, tell: rollout(subject, tell=tell),
    "training": lambda subject, asked, tell: training(subject, tell=tell),
    "factors": lambda subject, asked, tell: other_factors(subject, tell=tell),
    "samplers": lambda subject, asked, tell: samplers(subject, tell=tell),
}


def examine(
    session: Session,
    run: RunFolder,
    asked: Examination,
    *,
    trained: nn.Module | None,
    known: dict[Any, Any],
    tell: Callable[[str, float], None] = lambda test, share: None,
) -> None:
    """Put a finished run to the tests and write probes.nc once all are done; its curve stays as it is.

    trained: the module; without it the spec's reference is tested.  known: what runs of one command have in common.
    The module is left in the mode it was in, its weights and statistics untouched.

    Raises RunError where a test does not go with the run, AnchorbenchError where a prediction is not finite.
    """
    subject = replace(Subject.of(session, trained, known), checkpoints=_checkpoints(session, run))
    modes = {} if trained is None else {module: module.training for module in trained.modules()}
    try:
        if trained is not None:
            trained.eval()
        with torch.no_grad():
            found = {name: TESTS[name](subject, asked, _telling(tell, name)) for name in dict.fromkeys(asked.tests)}
    finally:
        for module, training in modes.items():
            module.training = training
    write_probes(run, session, found)


def require_finished(folders: Sequence[RunFolder]) -> None:
    """Raises RunError for a run that is not finished: what it is put to would be no run's."""
    for run in folders:
        if not run.finished:
            raise RunError(f"{run.path} is not finished", do="run the same `anchorbench train` again")


def _checkpoints(session: Session, run: RunFolder) -> Mapping[int, Callable[[], Predictor]]:
    def at(step: int) -> Callable[[], Predictor]:
        return lambda: method_predictor(session, session.trained(run.load_weights(step=step)))

    return {step: at(step) for step in run.checkpoints}


def _telling(tell: Callable[[str, float], None], name: str) -> Tell:
    return lambda share: tell(name, share)
