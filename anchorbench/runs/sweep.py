"""A sweep: all runs of a study in one work list.  Planned first, resumable, each run once, failures apart.

The cells' specs are merged by their hash: a reference or a baseline that several cells want is one run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from anchorbench.config import RunSpec
from anchorbench.data.catalog import Catalog
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import Request, announce
from anchorbench.data.fetch_many import fetch_one
from anchorbench.data.ladder import COMPLETE, Ladder, ladder_folder, open_ladder
from anchorbench.data.own import with_own
from anchorbench.errors import AnchorbenchError, CatalogError, ConfigError, RunError
from anchorbench.fields.grid import rung_name
from anchorbench.runs.board import Board, Row
from anchorbench.runs.estimate import estimate_seconds, kind_of, megabytes, minutes
from anchorbench.runs.factors import implied_task, request_for_factors
from anchorbench.runs.footing import sample_flops
from anchorbench.runs.launch import Launcher, RayWords, launcher
from anchorbench.runs.plan import plan_runs
from anchorbench.runs.session import (
    Session,
    choose_device,
    cores,
    make_deterministic,
    require_runs_everywhere,
    set_threads,
    threads_each,
)
from anchorbench.runs.store import RunFolder
from anchorbench.runs.study import Cell
from anchorbench.runs.study_file import StudyFile, cells_of
from anchorbench.runs.verbs import Say, in_words, require_warm_starts, require_writable
from anchorbench.runs.verbs import Tell as TellShare
from anchorbench.runs.work import Job

SCHEMA = 1


@dataclass(frozen=True)
class Planned:
    """A cell, its ladder and its runs; or why it has none.

    wanted: its ladder, None where its words mean none.
    """

    cell: Cell
    wanted: Request | None = None
    specs: tuple[RunSpec, ...] = ()
    refused: str | None = None


@dataclass(frozen=True)
class SweepPlan:
    """All cells of a study, planned.  Nothing is written, and of the disk only what is there is looked at."""

    file: StudyFile
    cells: tuple[Planned, ...]
    results: Path
    cache: Path

    @cached_property
    def runs(self) -> dict[str, RunFolder]:
        """Every run once, by its folder's name.  Raises RunError where a folder holds a run of another spec."""
        merged = {spec.digest: spec for one in reversed(self.cells) for spec in one.specs}
        specs = [merged.pop(spec.digest) for one in self.cells for spec in one.specs if spec.digest in merged]
        return {spec.folder: RunFolder.at(spec, self.results) for spec in specs}

    @cached_property
    def ladders(self) -> dict[str, Request]:
        """Those of cells with runs, by digest."""
        return {one.wanted.spec.digest: one.wanted for one in self.cells if one.wanted is not None and one.specs}

    @property
    def refused(self) -> list[Planned]:
        return [one for one in self.cells if one.refused is not None]

    def there(self, wanted: Request) -> bool:
        return (ladder_folder(wanted.spec, self.cache) / COMPLETE).exists()

    def left(self, *, force: bool = False) -> list[RunSpec]:
        return [run.spec for run in self.runs.values() if force or not run.finished]

    def rows(self) -> list[Row]:
        """Runs by dataset, model and method; each where it is first wanted."""
        rows: dict[tuple[str, str, str, str], list[str]] = {}
        placed: set[str] = set()
        for one in self.cells:
            for spec in one.specs:
                if spec.folder not in placed:
                    placed.add(spec.folder)
                    rows.setdefault(_place(one.cell, spec), []).append(spec.folder)
        return [Row(*place, tuple(folders)) for place, folders in rows.items()]

    def disk(self, *, force: bool = False) -> float:
        """Megabytes still to come: of ladders that are not there, and of runs."""
        left = self.left(force=force)
        runs = sum(megabytes([s for s in left if s.ladder == d], one.spec) for d, one in self.ladders.items())
        return runs + sum(one.disk_bytes() / 1e6 for one in self.ladders.values() if not self.there(one))

    def record(self, *, failed: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
        """What a report is told of the sweep: which runs belong to which cell, what was not run, and why."""
        study = self.file.study
        words = ("dataset", "source", "task", "train_rung", "model", "method", "label", "footing", "double_width")

        def about(one: Planned) -> dict[str, Any]:
            ladder = None if one.wanted is None else one.wanted.spec.digest
            return {**{word: getattr(one.cell, word) for word in words}, "ladder": ladder}

        return {
            "schema": SCHEMA,
            "name": study.name,
            "size": study.size,
            "study": study.model_dump(mode="json"),
            "cells": [{**about(one), "runs": [s.folder for s in one.specs]} for one in self.cells if not one.refused],
            "not_run": [{**about(one), "seeds": list(one.cell.seeds), "why": one.refused} for one in self.refused],
            "failed": [{"run": name, "why": why} for name, why in failed],
        }


def plan_sweep(
    file: StudyFile, *, results: Path, cache: Path, catalog: Catalog | None = None, tell: TellShare | None = None
) -> SweepPlan:
    """Plan every cell: its ladder, its runs on their footing, and whether its model takes its grid.

    Raises ConfigError, with file and line, for a mistake in the study.  A cell that cannot be (a model that does not
    take the grid, a method that does not take the task or the ladder) is kept with the reason.
    """
    known = with_own(catalog or load_catalog(), cache)
    cells = cells_of(file, known)
    planned = []
    for i, cell in enumerate(cells):
        planned.append(_planned(file, cell, known))
        if tell is not None:
            tell(f"plan of {file.study.name}", cell.name, (i + 1) / len(cells))
    return SweepPlan(file, tuple(planned), results, cache)


def sweep(
    plan: SweepPlan,
    *,
    device: str = "auto",
    workers: int | None = None,
    threads: int | None = None,
    force: bool = False,
    offline: bool = False,
    launch: str = "local",
    ray: RayWords | None = None,
    say: Say = lambda text: None,
    tell: TellShare = lambda name, what, share: None,
    watch: Callable[[Board], AbstractContextManager[Any]] = nullcontext,
) -> list[str]:
    """Carry out what a plan leaves to do; returns the folder names of all its runs.

    Ladders come first, one after another; then all runs in one work list, the longest first.  A ladder that cannot be
    made fails its runs alone.  watch: given the board of the runs, for as long as they go on.

    Raises RunError before anything starts where cells are refused and the study does not say `on_refused: skip`, and
    at the end where runs failed, each named.
    """
    _require_none_refused(plan)
    runs = plan.runs
    require_writable(plan.results)
    require_warm_starts(list(runs.values()))
    where = choose_device("auto" if launch == "ray" else device)
    make_deterministic(where)
    left = plan.left(force=force)
    n_workers = workers or (1 if where.type == "cuda" else max(1, min(cores(), len(left))))
    n_threads = threads or threads_each(n_workers)
    crew: Launcher = launcher(launch, workers=n_workers, ray=ray)
    set_threads(threads)
    _save(plan, plan.record())

    ladders, failed = _fetched(plan, left, where, offline=offline, say=say, tell=tell)
    set_threads(n_threads)
    seconds = _timed(left, ladders, where, failed, say=say, tell=tell)
    jobs = [
        Job(
            spec=spec,
            ladder=ladders[spec.ladder].spec,
            cache=plan.cache,
            results=plan.results,
            device=where.type,
            threads=n_threads,
            force=force,
            threads_asked=threads is not None,
        )
        for spec in left
        if spec.folder not in failed
    ]
    # The longest first: a short one fills the gap at the end.
    jobs.sort(key=lambda job: (-seconds[kind_of(job.spec)], job.spec.folder))
    board = Board.of(
        plan.rows(),
        finished={name for name in runs if name not in {spec.folder for spec in left}},
        failed=set(failed),
        seconds={job.spec.folder: seconds[kind_of(job.spec)] for job in jobs},
        places=crew.places,
    )
    if jobs:
        say(
            f"{len(jobs)} of {len(runs)} runs to do, {crew.places} at once: about "
            f"{minutes(board.seconds_left())} of training, evaluation besides; results in {plan.results}"
        )
        with watch(board):
            failed |= dict(crew.run(jobs, tell=board.tell))
    _save(plan, plan.record(failed=list(failed.items())))
    if failed:
        raise RunError(
            f"{len(failed)} of {len(left)} runs failed; the others are done, and the same command tries these again\n"
            "       " + in_words(list(failed.items()), of=0)
        )
    return list(runs)


def estimates(plan: SweepPlan, device: torch.device) -> dict[str, float]:
    """Seconds of training by folder name, of the runs that are left and whose ladder is on disk."""
    out: dict[str, float] = {}
    by_kind: dict[str, float] = {}
    for digest, wanted in plan.ladders.items():
        if plan.there(wanted):
            ladder = open_ladder(wanted.spec, plan.cache)
            for spec in plan.left():
                if spec.ladder == digest:
                    kind = kind_of(spec)
                    if kind not in by_kind:
                        by_kind[kind] = estimate_seconds(spec, ladder, device)
                    out[spec.folder] = by_kind[kind]
    return out


def _planned(file: StudyFile, cell: Cell, catalog: Catalog) -> Planned:
    study, settings = file.study, dict(cell.settings)
    data = settings.pop("data", {})
    wanted = None
    try:
        wanted, by_factor = request_for_factors(
            catalog,
            cell.dataset,
            size=study.size,
            source=cell.source,
            data=data,
            task=cell.task,
            settings=settings,
            train_rung=cell.train_rung,
        )
        specs = plan_runs(
            wanted,
            methods=(cell.method,),
            seeds=cell.seeds,
            model=cell.model,
            task=implied_task(wanted.entry, cell.task, settings),
            train_rung=by_factor or cell.train_rung,
            settings=settings,
            with_references=cell.with_references,
            native_seeds=study.native_seeds,
            footing=cell.footing,
            yardstick=study.yardstick,
            double_width=cell.double_width,
        )
        for spec in specs:
            if spec.kind == "method":
                sample_flops(spec, wanted.spec)  # built and tried once on each rung of its mix, with noise
    except (ConfigError, CatalogError) as error:
        raise file.blamed(error, cell) from None
    except AnchorbenchError as error:
        return Planned(cell, wanted, refused=error.what)
    return Planned(cell, wanted, tuple(specs))


def _place(cell: Cell, spec: RunSpec) -> tuple[str, str, str, str]:
    """Dataset, model, method and label of a run's row."""
    task = f" {cell.task}" if cell.task else ""
    source = f" {cell.source}" if cell.source != "auto" else ""
    dataset = f"{spec.dataset}{source}{task} {rung_name(spec.band_rung)}"
    label = cell.label or ""
    if spec.kind == "reference":
        return dataset, "", "references", label
    return dataset, spec.model, "native" if spec.kind == "native" else spec.method, label


def _require_none_refused(plan: SweepPlan) -> None:
    if plan.refused and plan.file.study.on_refused == "stop":
        listed = "\n       ".join(f"{one.cell.name}: {one.refused}" for one in plan.refused)
        raise RunError(
            f"{plan.file.path}: {len(plan.refused)} of {len(plan.cells)} cells cannot be run, so none is begun\n"
            f"       {listed}",
            do="leave them out by `exclude`, or say `on_refused: skip`: the report then names them",
        )


def _save(plan: SweepPlan, record: Mapping[str, Any]) -> None:
    path = plan.results / f"sweep-{plan.file.study.name}.json"
    part = path.with_name(f".{path.name}.part")
    try:
        plan.results.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(record, indent=1))
        part.replace(path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}", do="choose another --results") from None


def _fetched(
    plan: SweepPlan, left: Sequence[RunSpec], where: torch.device, *, offline: bool, say: Say, tell: TellShare
) -> tuple[dict[str, Ladder], dict[str, str]]:
    """The ladders that runs are left for, by digest; and why a run failed whose ladder there is not."""
    ladders: dict[str, Ladder] = {}
    failed: dict[str, str] = {}
    for digest, wanted in plan.ladders.items():
        waiting = [spec.folder for spec in left if spec.ladder == digest]
        if not waiting:
            continue
        try:
            if (line := announce(wanted, plan.cache, device=str(where))) is not None:
                say(line)

            def progress(stage: str, share: float, name: str = wanted.entry.name) -> None:
                tell(f"{name}: {stage}", "", share)

            ladders[digest] = fetch_one(wanted, plan.cache, offline=offline, device=str(where), progress=progress)
        except AnchorbenchError as error:
            failed |= dict.fromkeys(waiting, str(error))
    return ladders, failed


def _timed(
    left: Sequence[RunSpec],
    ladders: Mapping[str, Ladder],
    where: torch.device,
    failed: dict[str, str],
    *,
    say: Say,
    tell: TellShare,
) -> dict[str, float]:
    """Seconds of training of each kind of run.  One that does not run on every rung of its ladder goes to `failed`."""
    seconds: dict[str, float] = {}
    kinds: dict[str, list[RunSpec]] = {}
    for spec in left:
        if spec.ladder in ladders:
            kinds.setdefault(kind_of(spec), []).append(spec)
    for i, (kind, specs) in enumerate(kinds.items()):
        first, ladder = specs[0], ladders[specs[0].ladder]
        try:
            if first.train is not None:
                require_runs_everywhere(Session(first, replace(ladder), where))
            seconds[kind] = estimate_seconds(first, replace(ladder), where)
        except AnchorbenchError as error:
            failed |= {spec.folder: str(error) for spec in specs}
        tell("timing a few steps of each kind", f"{first.method} {first.model}", (i + 1) / len(kinds))
    return seconds
