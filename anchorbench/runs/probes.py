"""A finished run put to a test, and what that leaves: probes.nc beside curve.nc, one group a test.

As in curve.nc there are sums and no roots, so that seeds are pooled exactly when they are read.  A run without the file
is whole; a test that is made again replaces its own group and leaves the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor, nn

from anchorbench.analysis import Sums, score
from anchorbench.config import targets_of
from anchorbench.data.ladder import file_digest
from anchorbench.data.samples import Batch, Windows
from anchorbench.errors import RunError
from anchorbench.fields import Grid
from anchorbench.methods.equation import has_equation
from anchorbench.methods.references import Predictor, build_reference, solver
from anchorbench.runs.evaluate import POINTS_PER_BATCH, method_predictor
from anchorbench.runs.session import Session
from anchorbench.runs.store import RunFolder

FILE = "probes.nc"
#: Raised where a group's layout or numbers change: one of another format is as none.
FORMAT = 1
Tell = Callable[[float], None]
#: variable -> (dimensions, values)
Arrays = dict[str, tuple[tuple[str, ...], Any]]


@dataclass(frozen=True)
class Subject:
    """A run that is put to a test: its session, and what it predicts.

    known: what is the same for every run of a ladder (what the solver does there), by whatever tells it apart; runs of
    one command share it, and it is computed once.  trained: the module, None of a reference.  checkpoints: step -> what
    makes the predictor of the weights then.
    """

    session: Session
    predict: Predictor
    known: dict[Any, Any] = field(default_factory=dict)
    checkpoints: Mapping[int, Callable[[], Predictor]] = field(default_factory=dict)
    trained: nn.Module | None = None

    @classmethod
    def of(cls, session: Session, trained: nn.Module | None, known: dict[Any, Any]) -> Subject:
        """trained: the module; without it the spec's reference."""
        if trained is not None:
            return cls(session, method_predictor(session, trained), known, trained=trained)
        spec = session.spec
        reference = build_reference(
            spec.method,
            session.ladder,
            task=spec.task,
            band=session.band,
            normaliser=session.normaliser,
            lead=spec.lead,
        )
        return cls(session, reference, known)

    @property
    def rungs(self) -> tuple[int, ...]:
        """Every rung that a prediction can be asked on, of a `native` run too."""
        return self.session.spec.scored(self.session.ladder.rungs)

    @property
    def solver(self) -> Predictor | None:
        """The ladder's own equation from the same state; None where nobody knows it, or the inputs are coarser."""
        session = self.session
        if session.spec.input_rung is not None or not has_equation(session.ladder.spec):
            return None
        return solver(session.ladder, normaliser=session.normaliser, lead=session.spec.lead)

    @property
    def same_truth(self) -> tuple[Any, ...]:
        """What two runs share whose references are the same numbers."""
        spec = self.session.spec
        return (spec.ladder, spec.task, spec.lead, spec.frames_in, spec.input_rung, spec.train_rung, spec.band_rung)

    def scored(self, out: Tensor, batch: Batch, *, band: Grid, n_clusters: int) -> Sums:
        """The sums of `analysis.score` against the batch's targets, in units of σ² of the run's scores.

        Raises RunError where what was fed does not lie on the grid that is reported: the tensor's shape counts, not
        the label.
        """
        fed = tuple(batch.inputs.shape[2:]), tuple(batch.targets.shape[2:])
        if fed != (batch.grid.shape, batch.out_grid.shape):
            raise RunError(f"fields of {fed} were fed under the name of the grids {batch.grid}, {batch.out_grid}")
        return score(
            out,
            batch.targets,
            grid=batch.out_grid,
            band=band,
            how=self.session.ladder.restriction,
            weights=batch.mask,
            clusters=batch.clusters,
            n_clusters=n_clusters,
            channel_scale=self.session.channel_scale,
        )


def in_batches(windows: Windows, n_points: int) -> Iterator[Batch]:
    """All windows, as many at a time as memory allows where each is carried to `n_points` points."""
    size = max(1, POINTS_PER_BATCH // n_points)
    for first in range(0, len(windows), size):
        yield windows.batch(range(first, min(first + size, len(windows))))


def taken(batch: Batch, index: Tensor) -> Batch:
    """The samples with these numbers, which may repeat."""

    def of(u: Tensor | None) -> Tensor | None:
        return None if u is None else u.index_select(0, index)

    return replace(
        batch,
        inputs=batch.inputs.index_select(0, index),
        targets=batch.targets.index_select(0, index),
        clusters=batch.clusters.index_select(0, index),
        mask=of(batch.mask),
        input_mask=of(batch.input_mask),
        static=of(batch.static),
    )


def stacked(sums: Mapping[int, Sums], dim: str) -> Arrays:
    """Sums by rung or cut-off as variables (dim, cluster, channel)."""
    names = list(next(iter(sums.values())))
    return {name: ((dim, "cluster", "channel"), np.stack([s[name] for s in sums.values()])) for name in names}


def write_probes(run: RunFolder, session: Session, found: Mapping[str, xr.Dataset]) -> None:
    """Write these groups, and keep those of the file that belong to the same weights.

    Raises TrainingError where there is no space; what lay there stays.
    """
    variables = session.ladder.spec.variables
    targets = targets_of(variables)
    attrs = {
        "Conventions": "CF-1.11",
        "spec": session.spec.digest,
        "train_rung": session.spec.train_rung,
        "band_rung": session.spec.band_rung,
        "sigma": list(session.band_normaliser.only(targets).std),
        "variables": [variables[i].name for i in targets],
        "about": "sums are in units of sigma squared; divide by `weight`, then take the root",
    }
    own = {"weights": _weights(run), "format": FORMAT}
    groups = read_probes(run) | {name: data.assign_attrs(own) for name, data in found.items()}

    def write(part: Path) -> None:
        xr.Dataset(attrs=attrs).to_netcdf(part, engine="netcdf4")
        for name, data in sorted(groups.items()):
            data.to_netcdf(part, engine="netcdf4", mode="a", group=name)

    run.replace(FILE, write)


def read_probes(run: RunFolder) -> dict[str, xr.Dataset]:
    """The groups of probes.nc by test; empty where there is none, or what there is is of other weights or format.

    Raises RunError where the file is damaged.
    """
    path = run.path / FILE
    if not path.exists():
        return {}
    try:
        with xr.open_datatree(path, engine="netcdf4") as tree:
            groups = {name: group.to_dataset().load() for name, group in tree.children.items()}
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read: {error}",
            do="remove it, and make it again with `anchorbench evaluate RUN --test ...`",
        ) from None
    weights = _weights(run)
    return {
        name: data
        for name, data in groups.items()
        if data.attrs.get("format") == FORMAT and (not weights or data.attrs.get("weights") == weights)
    }


def _weights(run: RunFolder) -> str:
    """The digest of the run's weights; empty where there are none, as of a reference."""
    return file_digest(run.path / "model.safetensors") if run.trained else ""


def require_rung(rung: int, known: Sequence[int], *, option: str) -> int:
    """Raises RunError where a rung that was asked for is none of those."""
    if rung not in known:
        raise RunError(f"{option} {rung}: this run is scored on {', '.join(map(str, known))}")
    return rung
