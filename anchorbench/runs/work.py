"""Carry out planned runs: one after another here, or several processes at once, all through one work list.

A finished run is not run again.  A run that fails does not stop the others.  A stop (Ctrl-C, SIGTERM) reaches every
process, each keeps its state, and the same command goes on.
"""

from __future__ import annotations

import json
import multiprocessing as mp
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from anchorbench.config import LadderSpec, RunSpec
from anchorbench.data.ladder import open_ladder
from anchorbench.errors import AnchorbenchError
from anchorbench.models.card import card
from anchorbench.models.malloc import raise_malloc_thresholds
from anchorbench.runs.evaluate import evaluate
from anchorbench.runs.session import Session, choose_device, make_deterministic
from anchorbench.runs.stopping import terminate_as_interrupt
from anchorbench.runs.store import RunFolder
from anchorbench.runs.train import Progress, train

#: name of the run, what it does now ("done" or "failed" in the end), share done, and the training's own figures
Tell = Callable[[str, str, float, Progress | None], None]
#: Seconds between two pieces of news of one process.
NEWS_EVERY = 0.2
#: Beside a run that a bug has ended.
TRACEBACK = "traceback.txt"


@dataclass(frozen=True)
class Job:
    """Everything that a process needs to carry out one run.

    force: also where it is finished, from the beginning.  threads_asked: a person named the number, so that a run which
    goes on takes it too, and not the one that it began with.
    """

    spec: RunSpec
    ladder: LadderSpec
    cache: Path
    results: Path
    device: str
    threads: int
    force: bool = False
    threads_asked: bool = False


def carry_out(job: Job, tell: Tell | None = None) -> str:
    """Train and evaluate one run, or see that it is finished.  Returns its folder's name."""
    torch.set_num_threads(job.threads)
    raise_malloc_thresholds()
    run = RunFolder.at(job.spec, job.results)
    name = job.spec.folder
    if run.finished and not job.force:
        return name
    device = choose_device(job.device)
    make_deterministic(device)
    session = Session(job.spec, open_ladder(job.ladder, job.cache), device)

    def say(what: str, share: float, progress: Progress | None = None) -> None:
        if tell is not None:
            tell(name, what, share, progress)

    with run.claimed():
        run.prepare(force=job.force)
        trained = None
        if job.spec.train is None:
            run.save_environment({"device": str(session.device)})
        elif run.trained:
            trained = session.trained(run.load_weights())
        else:
            threads = job.threads if job.threads_asked else None
            trained = train(session, run, threads=threads, on_progress=lambda p: say("training", p.step / p.steps, p))
        if trained is not None:
            _save_card(session, run)
        say("evaluating", 0.0)
        evaluate(
            session,
            run,
            trained=trained,
            rungs=session.scored_rungs,
            on_progress=lambda share: say("evaluating", share),
        )
        run.finish()
    return name


def carry_out_all(
    jobs: Sequence[Job], *, workers: int, tell: Tell | None = None, past_bugs: bool = False
) -> list[tuple[str, str]]:
    """All jobs; `workers` at once.  A job whose warm start is another waits for it.

    past_bugs: an exception that is no mistake of a person's fails its run alone, and its lines are kept beside it;
    else it is raised and ends the whole.

    Returns (folder name, message) of those that failed.
    """
    work = WorkList(jobs, tell=tell)
    with terminate_as_interrupt():
        if workers <= 1 or len(jobs) <= 1:
            while (job := work.next()) is not None:
                try:
                    carry_out(job, tell)
                    work.end(job)
                except AnchorbenchError as error:
                    work.end(job, str(error))
                except Exception:
                    if not past_bugs:
                        raise
                    work.end(job, keep_traceback(job, traceback.format_exc()))
        else:
            _in_processes(work, workers=min(workers, len(jobs)), tell=tell, past_bugs=past_bugs)
    return work.failed


def keep_traceback(job: Job, lines: str) -> str:
    """Write an exception's lines into the run's folder.  Returns what to say of it."""
    last = lines.strip().splitlines()[-1]
    folder = job.results / job.spec.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / TRACEBACK).write_text(lines)
    except OSError:
        return f"a bug of anchorbench or of the model: {last}"
    return f"a bug of anchorbench or of the model: {last} (its lines are in the run's {TRACEBACK})"


class WorkList:
    """What is still to do, in order; who warm-starts from another waits for it, however that ends."""

    def __init__(self, jobs: Iterable[Job], *, tell: Tell | None = None) -> None:
        self.tell = tell
        self.waiting = list(jobs)
        self.open = {job.spec.folder for job in self.waiting}
        self.failed: list[tuple[str, str]] = []

    def next(self) -> Job | None:
        """The first job that may start now; None where there is none, or each waits for one that runs."""
        for job in self.waiting:
            needed = None if job.spec.train is None else job.spec.train.warm_start
            if needed not in self.open:
                self.waiting.remove(job)
                return job
        return None

    def end(self, job: Job, message: str | None = None) -> None:
        """The job is done; with a message, it failed."""
        self.open.discard(job.spec.folder)
        if message is not None:
            self.failed.append((job.spec.folder, message))
        if self.tell is not None:
            self.tell(job.spec.folder, "done" if message is None else "failed", 1.0, None)


class Worker:
    """A process that carries out one job after another.  It ends with its pipe: it does not outlive its parent long."""

    def __init__(self) -> None:
        context = mp.get_context("spawn")
        self.pipe, far_end = context.Pipe()
        self.process: BaseProcess = context.Process(target=_serve, args=(far_end,))
        # Ctrl-C reaches the whole group; the parent decides, and passes on SIGTERM.  A process is born deaf to SIGINT.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        far_end.close()
        self.job: Job | None = None

    def begin(self, job: Job) -> None:
        self.job = job
        self.pipe.send(job)

    def dismiss(self) -> None:
        """Let it end: at once where it is idle, else after it has saved its state."""
        self.pipe.close()
        if self.job is not None and self.process.is_alive():
            self.process.terminate()


def _in_processes(work: WorkList, *, workers: int, tell: Tell | None, past_bugs: bool) -> None:
    crew: list[Worker] = []
    try:
        while True:
            idle = [worker for worker in crew if worker.job is None]
            while (idle or len(crew) < workers) and (job := work.next()) is not None:
                if not idle:
                    crew.append(Worker())
                    idle = crew[-1:]
                idle.pop().begin(job)
            busy = [worker for worker in crew if worker.job is not None]
            if not busy:
                return
            spoke = wait_for([worker.pipe for worker in busy])
            for worker in busy:
                if worker.pipe in spoke and not _listen(worker, work, tell, past_bugs=past_bugs):
                    crew.remove(worker)
    finally:
        _send_home(crew)


def _listen(worker: Worker, work: WorkList, tell: Tell | None, *, past_bugs: bool) -> bool:
    """Take one piece of news.  Returns False where the process is no more."""
    job = worker.job
    assert job is not None
    try:
        kind, *news = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        code = worker.process.exitcode or 0
        how = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
        work.end(
            job,
            f"its process ended with {how}; the last good state is kept\n"
            "       too little memory? fewer --workers; then the same command again",
        )
        worker.pipe.close()
        return False
    if kind == "news":
        if tell is not None:
            tell(*news)
        return True
    worker.job = None
    if kind == "bug" and past_bugs:
        news = [keep_traceback(job, news[0])]
    elif kind == "bug":
        raise RuntimeError(f"{job.spec.folder}: a process failed\n{news[0]}")
    work.end(job, *news)
    return True


def _send_home(crew: Sequence[Worker]) -> None:
    """End every process and wait for it; a second Ctrl-C waits no longer."""
    try:
        for worker in crew:
            worker.dismiss()
        for worker in crew:
            worker.process.join()
    except BaseException:
        for worker in crew:
            worker.process.kill()
        raise


def _serve(pipe: Connection) -> None:
    """What a process does: a job, its news, the next job, until the pipe is closed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # training has its own handler, all else ends at once
    sys.stdout = sys.stderr  # stdout is for the one JSON document of the parent
    last = 0.0

    def tell(name: str, what: str, share: float, progress: Progress | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > NEWS_EVERY or share >= 1.0:
            last = now
            pipe.send(("news", name, what, share, progress))

    try:
        while True:
            job = pipe.recv()
            try:
                carry_out(job, tell)
                pipe.send(("end",))
            except AnchorbenchError as error:
                pipe.send(("end", str(error)))
            except (BrokenPipeError, ConnectionResetError):
                return
            except Exception:
                pipe.send(("bug", traceback.format_exc()))
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        return


def _save_card(session: Session, run: RunFolder) -> None:
    """What the model is, beside the run: parameters, FLOPs, grid rule."""
    model = session.build_model()
    described = card(
        getattr(model, "model", model),
        session.spec.model,
        grid=session.plan.train_grid,
        in_channels=session.in_channels(),
        rungs=session.ladder.rungs,
    )
    seen = session.training_windows("train", session.spec.train_rung)
    said = {**described.to_dict(), "method": session.method.measured(seen.batch(range(min(len(seen), 32))))}
    run.replace("card.json", lambda part: part.write_text(json.dumps(said, indent=1)))
