"""What the commands `train` and `evaluate` do, as functions: plan, fetch what is missing, carry out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from anchorbench.data.catalog import Catalog
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import Request, announce
from anchorbench.data.fetch_many import fetch_one
from anchorbench.data.ladder import find_ladder
from anchorbench.data.own import with_own
from anchorbench.errors import RunError
from anchorbench.runs.estimate import estimate_seconds, kind_of, megabytes, minutes
from anchorbench.runs.evaluate import evaluate
from anchorbench.runs.examine import Examination, examine, require_finished
from anchorbench.runs.factors import implied_task, request_for_factors
from anchorbench.runs.footing import Footing
from anchorbench.runs.plan import file_digest, plan_runs
from anchorbench.runs.session import (
    Session,
    choose_device,
    cores,
    make_deterministic,
    require_runs_everywhere,
    set_threads,
    threads_each,
)
from anchorbench.runs.store import RunFolder, read_spec
from anchorbench.runs.train import Progress
from anchorbench.runs.warm_start import donor_of, require_permitted
from anchorbench.runs.work import Job, carry_out_all

Say = Callable[[str], None]
Tell = Callable[[str, str, float], None]


@dataclass(frozen=True)
class Asked:
    """The words of a `train`."""

    dataset: str
    size: str = "small"
    source: str = "auto"
    methods: tuple[str, ...] = ("baseline",)
    model: str | None = None
    task: str | None = None
    train_rung: int | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    with_references: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    footing: Footing = "steps"
    double_width: bool = False

    def request(self, catalog: Catalog, cache: Path) -> tuple[Request, int | None]:
        """The ladder that the words mean, a user's own among them, and the train rung where a factor chose it."""
        return request_for_factors(
            with_own(catalog, cache),
            self.dataset,
            size=self.size,
            source=self.source,
            data=self.data,
            task=self.task,
            settings=self.settings,
            train_rung=self.train_rung,
        )


def train_all(
    asked: Asked,
    *,
    results: Path,
    cache: Path,
    device: str = "auto",
    workers: int | None = None,
    threads: int | None = None,
    force: bool = False,
    offline: bool = False,
    catalog: Catalog | None = None,
    say: Say = lambda text: None,
    tell: Tell = lambda name, what, share: None,
) -> list[str]:
    """Carry out all runs that the words mean; returns their folder names.

    Everything that can be wrong in the words is found before anything is made, and a model that does not fit before any
    run is.  Raises AnchorbenchError; where some runs fail and others do not, RunError at the end names those that did.
    """
    wanted, by_factor = asked.request(catalog or load_catalog(), cache)
    specs = plan_runs(
        wanted,
        methods=asked.methods,
        seeds=asked.seeds,
        model=asked.model,
        task=implied_task(wanted.entry, asked.task, asked.settings),
        train_rung=by_factor or asked.train_rung,
        settings=asked.settings,
        with_references=asked.with_references,
        footing=asked.footing,
        double_width=asked.double_width,
    )
    require_writable(results)
    folders = [RunFolder.at(spec, results) for spec in specs]
    require_warm_starts(folders)
    where = choose_device(device)
    make_deterministic(where)
    left = [run.spec for run in folders if force or not run.finished]
    n_workers = workers or (1 if where.type == "cuda" else max(1, min(cores(), len(left))))
    n_threads = threads or threads_each(n_workers)
    set_threads(threads)
    if (line := announce(wanted, cache, device=str(where))) is not None:
        say(line)
    ladder = fetch_one(
        wanted,
        cache,
        offline=offline,
        device=str(where),
        progress=lambda stage, share: tell(f"{asked.dataset}: {stage}", "", share),
    )
    set_threads(n_threads)
    seconds: dict[str, float] = {}
    if left:
        counts = Counter(kind_of(spec) for spec in left)
        one_of_each = {kind_of(spec): spec for spec in left}
        for spec in one_of_each.values():
            if spec.train is not None:
                require_runs_everywhere(Session(spec, ladder, where))
        seconds = {kind: estimate_seconds(spec, ladder, where) for kind, spec in one_of_each.items()}
        training = sum(n * seconds[kind] for kind, n in counts.items())
        say(
            f"{len(left)} of {len(specs)} runs to do, {n_workers} at once on {where}: "
            f"about {minutes(training / n_workers)} of training, evaluation besides; "
            f"{megabytes(left, wanted.spec):.0f} MB in {results}"
        )
    jobs = [Job(spec, ladder.spec, cache, results, where.type, n_threads, force, threads is not None) for spec in left]
    # The longest first: a short one fills the gap at the end.
    jobs.sort(key=lambda job: (-seconds[kind_of(job.spec)], job.spec.folder))

    def show(name: str, what: str, share: float, progress: Progress | None) -> None:
        detail = what
        if progress is not None:
            seen = "" if progress.validation is None else f" val {progress.validation:.3f}"
            detail = f"loss {progress.loss:.3g}{seen} {progress.samples_per_second:.0f}/s"
        tell(name, detail, share if what == "training" else 1.0)

    failed = carry_out_all(jobs, workers=n_workers, tell=show)
    if failed:
        raise RunError(in_words(failed, of=len(jobs)))
    return [run.path.name for run in folders]


def evaluate_again(
    names: Sequence[str],
    *,
    results: Path,
    cache: Path,
    tests: Sequence[str] = (),
    band: int | None = None,
    rung: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    tell: Tell = lambda name, what, share: None,
) -> list[str]:
    """Score trained runs again and write their curves anew; or put finished runs to tests, and leave their curves.

    names: of folders in `results`, or paths of folders anywhere.  tests: of `examine.TESTS`.  band: of the test
    `resolution`; rung: of `information`.

    Raises RunError for a run that is not there or not trained, or whose own model's file has changed since; for a test
    that there is not, that does not go with a run, or a run that is not finished.
    """
    asked = Examination(tuple(tests), band=band, rung=rung)
    where = choose_device(device)
    make_deterministic(where)
    set_threads(threads)
    folders = [RunFolder(path, read_spec(path)) for path in (_run_path(name, results) for name in names)]
    for run in folders:
        if run.spec.train is not None and not run.trained:
            run.load_weights()
        if run.spec.model_digest != file_digest(run.spec.model):
            raise RunError(
                f"{run.path.name}: {run.spec.model.rpartition(':')[0]}, its model, is gone or has changed since",
                do="train it again, or bring the file back",
            )
    if tests:
        require_finished(folders)
    known: dict[Any, Any] = {}
    for run in folders:
        spec, name = run.spec, run.path.name
        ladder = find_ladder(spec.dataset, spec.source, spec.size, spec.ladder, cache)
        session = Session(spec, ladder, where)
        trained = None if spec.train is None else session.trained(run.load_weights())
        with run.claimed():
            if tests:
                examine(session, run, asked, trained=trained, known=known, tell=partial(tell, name))
            else:
                say = partial(tell, name, "evaluating")
                evaluate(session, run, trained=trained, rungs=session.scored_rungs, on_progress=say)
                run.finish()
    return [run.path.name for run in folders]


def _run_path(name: str, results: Path) -> Path:
    """A bare name lies in the results; a path, as a shell completes it, is one from here."""
    path = Path(name)
    return path if len(path.parts) > 1 and not (results / path).exists() else results / path


def require_writable(results: Path) -> None:
    existing = next(folder for folder in (results, *results.absolute().parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise RunError(
            f"{results} cannot be written: {existing} is no folder to write to", do="choose another --results"
        )


def require_warm_starts(folders: Sequence[RunFolder]) -> None:
    """Raises RunError where a run is to begin with weights that neither are there nor will be, or may not be its."""
    planned = {run.path.name: run.spec for run in folders}
    for run in folders:
        name = donor_of(run.spec)
        if name is not None and name not in planned:
            RunFolder(run.path.parent / name, run.spec).load_weights()
        require_permitted(run.spec, run.path.parent, planned)


def in_words(failed: Sequence[tuple[str, str]], *, of: int) -> str:
    """Each message once, with the runs that it is about; without them where it is about the only one."""
    names: dict[str, list[str]] = {}
    for name, message in failed:
        names.setdefault(message, []).append(name)
    if of == 1:
        return failed[0][1]
    return "\n       ".join(f"{', '.join(those)}: {message}" for message, those in names.items())
