"""Weights to begin with, and which of them a run may take.

A warm start is training that came before: what its run saw, this one has seen.  So the chain of runs behind it is
followed to its end, and each must be of the same ladder, trained no finer, and zero-shot where this one is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from anchorbench.config import RunSpec
from anchorbench.errors import RunError
from anchorbench.fields.grid import rung_name
from anchorbench.methods.base import Track
from anchorbench.methods.registry import METHODS
from anchorbench.runs.store import RunFolder, read_spec


def warm_start(trained: nn.Module, run: RunFolder) -> None:
    """Load the weights that the run begins with, where it names any.

    Raises RunError where they are not there, do not fit, or know what this run may not see.
    """
    name = donor_of(run.spec)
    if name is None:
        return
    weights = RunFolder(run.path.parent / name, run.spec).load_weights()
    require_permitted(run.spec, run.path.parent)
    try:
        trained.load_state_dict(weights)
    except RuntimeError:
        raise RunError(
            f"the weights of {name} do not fit the model of {run.spec.folder}",
            do="a warm start needs a run of the same model and options",
        ) from None


def donor_of(spec: RunSpec) -> str | None:
    """The folder name of the run that this one begins with.  Raises RunError where it is no plain name."""
    name = None if spec.train is None else spec.train.warm_start
    if name is not None and (name in ("", ".", "..") or "/" in name or "\\" in name):
        raise RunError(
            f"train.warm_start is the name of a run's folder in the same results, not '{name}'",
            do="anchorbench list runs",
        )
    return name


def require_permitted(spec: RunSpec, results: Path, planned: Mapping[str, RunSpec] | None = None) -> None:
    """Raise RunError where a run behind this one, however far, saw what this one may not.

    planned: runs that are not on disk yet, by folder name.
    """
    name, behind = donor_of(spec), set()
    while name is not None and name not in behind:
        behind.add(name)
        donor = (planned or {}).get(name) or read_spec(results / name)
        if why := _forbids(spec, donor):
            raise RunError(
                f"{spec.folder} may not begin with the weights of {name}: {why}",
                do="warm-start from a run of the same ladder that saw no finer rung",
            )
        name = donor_of(donor)


def _forbids(spec: RunSpec, donor: RunSpec) -> str | None:
    """Why the run may not begin with the weights of this donor; None where it may."""
    if donor.ladder != spec.ladder:
        return "they were trained on another ladder"
    if donor.train_rung > spec.train_rung:
        return f"they have seen rung {rung_name(donor.train_rung)}, above its {rung_name(spec.train_rung)}"
    if _assisted(donor):
        if not _assisted(spec):
            return f"'{donor.method}' is assisted, so they have seen finer rungs than a zero-shot run may"
        # Which rungs an assisted run has not seen is read from its options alone.
        if (donor.method, donor.train_rung, donor.method_options) != (
            spec.method, spec.train_rung, spec.method_options,
        ):  # fmt: skip
            return "they have seen another mix of rungs"
    return None


def _assisted(spec: RunSpec) -> bool:
    return spec.kind != "reference" and METHODS[spec.method][2] == Track.ASSISTED
