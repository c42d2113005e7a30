"""Carry out planned runs: one after another here, or several processes at once, all through one work list.

A finished run is not run again.  A run that fails does not stop the others.  A stop (Ctrl-C) reaches every process, each
keeps its state, and the same command goes on.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import queue
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from anchorbench.config import LadderSpec, RunSpec
from anchorbench.data.ladder import Ladder, open_ladder
from anchorbench.errors import AnchorbenchError
from anchorbench.models.card import card
from anchorbench.models.malloc import raise_malloc_thresholds
from anchorbench.runs.evaluate import evaluate
from anchorbench.runs.session import Session, choose_device
from anchorbench.runs.store import RunFolder
from anchorbench.runs.train import Progress, train

#: name of the run, what it does now, share done, and the training's own figures where it trains
Tell = Callable[[str, str, float, Progress | None], None]


@dataclass(frozen=True)
class Job:
    """Everything that a process needs to carry out one run."""

    spec: RunSpec
    ladder: LadderSpec
    cache: Path
    results: Path
    device: str
    threads: int
    force: bool


def carry_out(job: Job, tell: Tell | None = None) -> str:
    """Train and evaluate one run, or see that it is finished.  Returns its folder's name."""
    torch.set_num_threads(job.threads)
    raise_malloc_thresholds()
    run = RunFolder.open(job.spec, job.results, force=job.force)
    name = job.spec.folder
    if run.finished:
        return name
    session = Session(job.spec, open_ladder(job.ladder, job.cache), choose_device(job.device))

    def say(what: str, share: float, progress: Progress | None = None) -> None:
        if tell is not None:
            tell(name, what, share, progress)

    trained = None
    if job.spec.train is not None:
        if (run.path / "model.safetensors").exists():
            trained = session.trained(run.load_weights())
        else:
            trained = train(session, run, on_progress=lambda p: say("training", p.step / p.steps, p))
        _save_card(session, run)
    else:
        run.save_environment({"device": str(session.device)})
    say("evaluating", 0.0)
    evaluate(
        session,
        run,
        trained=trained,
        rungs=evaluated_rungs(job.spec, session.ladder),
        on_progress=lambda share: say("evaluating", share),
    )
    run.finish()
    return name


def evaluated_rungs(spec: RunSpec, ladder: Ladder) -> tuple[int, ...]:
    """Every rung; a native run only its own and its band's, which is where it is compared."""
    return (spec.train_rung,) if spec.kind == "native" else ladder.rungs


def carry_out_all(jobs: Sequence[Job], *, workers: int, tell: Tell | None = None) -> list[tuple[str, str]]:
    """All jobs; `workers` at once.  A job whose warm start is another waits for it.

    Returns (folder name, message) of those that failed with a mistake that a person can mend.
    """
    if workers <= 1 or len(jobs) <= 1:
        failed = []
        for job in jobs:
            try:
                carry_out(job, tell)
            except AnchorbenchError as error:
                failed.append((job.spec.folder, str(error)))
        return failed
    return _in_processes(jobs, workers=workers, tell=tell)


def _in_processes(jobs: Sequence[Job], *, workers: int, tell: Tell | None) -> list[tuple[str, str]]:
    context = mp.get_context("spawn")
    failed: list[tuple[str, str]] = []
    with context.Manager() as manager:
        news = manager.Queue()
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_process, initargs=(os.getpid(),))
        waiting = list(jobs)
        running: dict[Future[str], Job] = {}
        done: set[str] = set()
        planned = {job.spec.folder for job in jobs}
        try:
            while waiting or running:
                ready = [job for job in waiting if _may_start(job, done, planned)]
                for job in ready[: workers - len(running)]:
                    waiting.remove(job)
                    running[pool.submit(_in_child, job, news)] = job
                finished, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                _pass_on(news, tell)
                for future in finished:
                    job = running.pop(future)
                    done.add(job.spec.folder)
                    try:
                        future.result()
                    except AnchorbenchError as error:
                        failed.append((job.spec.folder, str(error)))
        except BaseException:
            for process in list((pool._processes or {}).values()):
                if process.pid is not None:
                    os.kill(process.pid, signal.SIGTERM)
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        pool.shutdown()
        _pass_on(news, tell)
    return failed


def _may_start(job: Job, done: set[str], planned: set[str]) -> bool:
    needs = job.spec.train.warm_start if job.spec.train is not None else None
    return needs is None or needs in done or needs not in planned


def _in_child(job: Job, news: Any) -> str:
    last = [0.0]

    def tell(name: str, what: str, share: float, progress: Progress | None) -> None:
        now = time.monotonic()
        if now - last[0] > 0.2 or share >= 1.0:
            last[0] = now
            news.put((name, what, share, progress))

    return carry_out(job, tell)


def _begin_process(parent: int) -> None:
    # Ctrl-C reaches the whole group; the parent decides, and a child ends through the loop's own handler.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _pass_on(news: Any, tell: Tell | None) -> None:
    while True:
        try:
            item = news.get_nowait()
        except queue.Empty:
            return
        if tell is not None:
            tell(*item)


def _save_card(session: Session, run: RunFolder) -> None:
    """What the model is, beside the run: parameters, FLOPs, grid rule."""
    import json

    model = session.build_model()
    inner = getattr(model, "model", model)
    described = card(
        inner,
        session.spec.model,
        grid=session.plan.train_grid,
        in_channels=session.in_channels(),
        rungs=session.ladder.rungs,
    )
    run.replace("card.json", lambda part: part.write_text(json.dumps(described.to_dict(), indent=1)))
