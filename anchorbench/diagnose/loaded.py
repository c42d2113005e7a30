"""A trained module of the user's own, evaluated on the rungs of a ladder and diagnosed like files.

The module takes and gives physical units: inputs (B, C, *grid), C the frames of every input variable (oldest first),
then static fields, then the input mask where something is missing; output one channel a target variable.  With
`normalised` variables are in units of σ about the mean, static fields in units of their largest magnitude, both of ρ₀.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path

import torch
from torch import Tensor, nn

from anchorbench.analysis import Sums, budget, shares
from anchorbench.config import targets_of
from anchorbench.data.catalog import Catalog
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import request
from anchorbench.data.fetch_many import fetch_one
from anchorbench.data.own import with_own
from anchorbench.data.samples import Batch, Normaliser
from anchorbench.diagnose.judged import Diagnosis, judged
from anchorbench.diagnose.rungs import Fields, Rung
from anchorbench.diagnose.scored import Scale
from anchorbench.errors import ConfigError, ModelError
from anchorbench.models.card import card
from anchorbench.models.registry import build, call
from anchorbench.runs.evaluate import POINTS_PER_BATCH, coarse_input
from anchorbench.runs.plan import plan_runs
from anchorbench.runs.session import Session, choose_device

SIGMA = 1.0


def diagnose_model(
    target: str,
    *,
    dataset: str,
    cache: Path,
    size: str = "small",
    source: str = "auto",
    task: str | None = None,
    train_rung: int | None = None,
    device: str = "auto",
    normalised: bool = False,
    offline: bool = False,
    delta: float = 0.1,
    catalog: Catalog | None = None,
    tell: Callable[[str, float], None] = lambda what, share: None,
) -> Diagnosis:
    """Load `path.py:NAME` (a trained module, or a function that returns one) and score it on every rung of the ladder.

    train_rung: that it was trained at; None: the catalogue's.  With the module at hand the budget's parts are known:
    the model, the grid, the information.  Raises AnchorbenchError as `train` does for names, and where the module does
    not run on a rung.
    """
    asked = request(with_own(catalog or load_catalog(), cache), dataset, size=size, source=source)
    planned = plan_runs(asked, methods=("baseline",), seeds=(0,), model=target, task=task, train_rung=train_rung)
    spec = next(spec for spec in planned if spec.kind == "method")
    if spec.input_rung is not None:
        raise ConfigError("--model is diagnosed on forecast or operator: with the input fixed there is no slope")
    where = choose_device(device)
    ladder = fetch_one(asked, cache, offline=offline, device=str(where), progress=tell)
    session = Session(spec, ladder, where)
    module = build(
        target, in_channels=session.in_channels(), out_channels=len(targets_of(ladder.spec.variables)),
        grid=session.band, options=spec.model_options,
    ).to(where).eval()  # fmt: skip
    rungs, budgets = {}, {}
    trial = Trial(module, session, normalised)
    wanted = [rung for rung in session.scored_rungs if rung >= spec.band_rung]
    for done, rung in enumerate(wanted, start=1):
        with torch.no_grad():
            rungs[rung], budgets[rung] = _rung(trial, rung)
        tell("evaluating", done / len(wanted))
    variable = ladder.spec.variables[targets_of(ladder.spec.variables)[0]]
    fields = Fields(
        rungs,
        ladder.restriction,
        f"restriction: {ladder.restriction} (the ladder's)",
        tuple(range(session.test_windows(spec.band_rung).n_clusters)),
        variable.name,
        variable.units,
    )
    provenance = dict(ladder.about["attrs"])
    name = Path(target.rpartition(":")[0]).stem or target
    return judged(
        fields,
        train_rung=spec.band_rung,
        name=name,
        delta=delta,
        scale=Scale(torch.tensor(session.band_normaliser.only(targets_of(ladder.spec.variables)[:1]).std).double()),
        about={
            "budget": [budgets[rung] for rung in rungs],
            "card": card(module, name, grid=session.band, in_channels=session.in_channels(), rungs=wanted).to_dict(),
            "head": {
                "dataset": dataset,
                "display_name": f"{name} on {provenance['display_name']}",
                "source": spec.source,
                "size": spec.size,
                "task": spec.task,
                "lead": spec.lead * ladder.spec.time_step if spec.lead else None,
                "lead_unit": ladder.spec.time_unit,
            },
            "provenance": {
                key: value for key, value in provenance.items() if key not in ("terms", "display_name", "dataset")
            } | {"ladder": ladder.spec.digest},
            "terms": provenance["terms"],
        },
    )  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """The module behind the session's batches, in the units that it takes and gives."""

    module: nn.Module
    session: Session
    normalised: bool

    def __call__(self, batch: Batch) -> Tensor:
        """The module's answer in the batch's normalised units: (B, C', *grid).

        Raises ModelError where it does not run on the rung or gives another number of channels.
        """
        if batch.in_units is None or batch.out_units is None:
            raise ModelError("a batch without units cannot be given to a model in physical units")
        given, static = batch.inputs, batch.static
        if not self.normalised:
            given = _physical(given, batch.in_units)
            static = None if static is None else static * torch.from_numpy(self.session.static_scale).to(static)
        inputs = torch.cat([part for part in (given, static, batch.input_mask) if part is not None], dim=1)
        try:
            out = call(self.module, inputs, batch.grid, batch.out_grid)
        except (RuntimeError, ValueError, IndexError, TypeError, AssertionError) as error:
            said = (str(error).splitlines() or [""])[0]
            raise ModelError(
                f"the model does not run on rung {batch.grid.name}: {type(error).__name__}: {said}",
                do=f"its input there is {tuple(inputs.shape)}; every rung is scored",
            ) from error
        if out.shape[1] != batch.targets.shape[1]:
            raise ModelError(
                f"the model's output on rung {batch.out_grid.name} has {out.shape[1]} channels; the target has "
                f"{batch.targets.shape[1]}"
            )
        return (out if self.normalised else batch.out_units.apply(out)).float()


def _rung(trial: Trial, rung: int) -> tuple[Rung, dict[str, float] | None]:
    """Headline variable, prediction and truth in its unit, and the budget on this rung."""
    session = trial.session
    windows, home = session.test_windows(rung), session.test_windows(session.band.rung)
    grid = windows.out_grid
    units = session.target_units.only([0])
    guesses, truths, masks, clusters, sums = [], [], [], [], []
    size = max(1, POINTS_PER_BATCH // grid.n_points)
    for numbers in _some(len(windows), size):
        batch = windows.batch(numbers)
        out = trial(batch)
        if rung > session.band.rung:
            sums.append(_budget(trial, batch, home.batch(numbers), out))
        guesses.append(units.undo(out[:, :1].double()).cpu())
        truths.append(units.undo(batch.targets[:, :1].double()).cpu())
        clusters.append(batch.clusters.cpu())
        if batch.mask is not None:
            masks.append(batch.mask.double().cpu())
    found = Rung(
        grid,
        torch.cat(guesses)[None],
        torch.cat(truths),
        torch.cat(masks) if masks else None,
        torch.cat(clusters).long(),
    )
    pooled = shares(reduce(add, sums), sigma=SIGMA) if sums else None
    parts = ("model", "grid", "information")
    return found, None if pooled is None else {part: getattr(pooled, part) for part in parts}


def _some(n: int, size: int) -> Iterable[range]:
    return (range(first, min(first + size, n)) for first in range(0, n, size))


def _budget(trial: Trial, batch: Batch, at_home: Batch, out: Tensor) -> Sums:
    session = trial.session
    return budget(
        out,
        trial(coarse_input(batch, at_home, session)),
        trial(at_home),
        batch.targets,
        grid=batch.out_grid,
        band=session.band,
        how=session.ladder.restriction,
        weights=batch.mask,
        clusters=batch.clusters,
        n_clusters=session.test_windows(session.band.rung).n_clusters,
        channel_scale=session.channel_scale,
    )


def _physical(inputs: Tensor, units: Normaliser) -> Tensor:
    """(B, variable x frame, *grid), each variable in its own unit."""
    n_variables = len(units.mean)
    by_variable = inputs.reshape(len(inputs), n_variables, -1, *inputs.shape[2:])
    return units.undo(by_variable).flatten(1, 2)
