"""Runs as tasks of a Ray cluster, their results on a folder that every node sees.

A run whose worker or node is gone begins again on another and goes on from its last saved state, as it would by hand.
A stop is passed on to every run, which keeps its state.  Ray (extra `ray`) is imported where this launcher is chosen.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from filelock import FileLock, Timeout

from anchorbench.errors import AnchorbenchError, ConfigError
from anchorbench.runs.launch import RayWords
from anchorbench.runs.stopping import terminate_as_interrupt
from anchorbench.runs.work import Job, Tell, WorkList, carry_out, keep_traceback

#: Seconds between two looks at what the runs have told, and between two pieces of news of one run.
LOOK_EVERY = 0.5
#: Seconds that a run waits for the process that had it before: its node may be gone and it not yet.
PATIENCE = 60.0
#: Seconds that a stop waits for the runs to keep their states.
FAREWELL = 60.0


@dataclass(frozen=True)
class Ray:
    """A cluster that is reached.  own: it was this process that connected to it, so it lets go of it at the end."""

    words: RayWords
    own: bool

    @classmethod
    def reach(cls, words: RayWords) -> Ray:
        """Connect to the cluster, or start one here.

        Raises ConfigError where the package is not installed or no cluster answers.
        """
        ray = _package()
        if ray.is_initialized():
            return cls(words, own=False)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            ray.init(address=words.address, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise ConfigError(
                f"no Ray cluster answers at {words.address}: {said}", do="--ray-address local starts one here"
            ) from None
        return cls(words, own=True)

    @property
    def places(self) -> int:
        """By what the cluster has now."""
        has = _package().cluster_resources()
        by_cpu = int(has.get("CPU", 0) // self.words.cpus)
        return max(1, min(by_cpu, int(has["GPU"] / self.words.gpu_share)) if self._share(has) else by_cpu)

    def run(self, jobs: Sequence[Job], *, tell: Tell | None = None) -> list[tuple[str, str]]:
        ray = _package()
        has = ray.cluster_resources()
        self._require(has)
        share, work = self._share(has), WorkList([self._placed(job, has) for job in jobs], tell=tell)
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        # News is kept beside this process: a node that goes takes none of it along.
        news = ray.remote(num_cpus=0, scheduling_strategy=here)(News).remote()
        task = ray.remote(num_cpus=self.words.cpus, num_gpus=share, max_retries=self.words.retries)(carry)
        begun: dict[Any, Job] = {}
        try:
            with terminate_as_interrupt():
                while True:
                    while (job := work.next()) is not None:
                        begun[task.options(name=job.spec.folder).remote(job, news)] = job
                    if not begun:
                        return work.failed
                    ended, _ = ray.wait(list(begun), timeout=LOOK_EVERY)
                    for words in ray.get(news.take.remote()):
                        if tell is not None:
                            tell(*words)
                    for one in ended:
                        work.end(begun.pop(one), self._outcome(ray, one))
        except BaseException:
            for one in begun:
                ray.cancel(one, force=False)
            if begun:
                ray.wait(list(begun), num_returns=len(begun), timeout=FAREWELL)
            raise
        finally:
            ray.kill(news)
            if self.own:
                ray.shutdown()

    def _outcome(self, ray: Any, task: Any) -> str | None:
        """The message of a run that failed."""
        try:
            message: str | None = ray.get(task)
        except ray.exceptions.RayError as error:
            said = (str(error).splitlines() or [""])[0]
            return (
                f"its worker is gone, after {self.words.retries} more tries: {type(error).__name__}: {said}\n"
                "       the last good state is kept; the same command again goes on from there"
            )
        return message

    def _share(self, has: dict[str, float]) -> float:
        return self.words.gpu_share if has.get("GPU", 0) and self.words.device != "cpu" else 0.0

    def _placed(self, job: Job, has: dict[str, float]) -> Job:
        """With paths that hold on every node, and the device that its place has."""
        device = "cuda" if self._share(has) else "cpu"
        return replace(
            job,
            cache=job.cache.absolute(),
            results=job.results.absolute(),
            device=device,
            threads=self.words.cpus,
            threads_asked=True,
        )

    def _require(self, has: dict[str, float]) -> None:
        if (cpus := has.get("CPU", 0)) < self.words.cpus:
            raise ConfigError(f"the cluster has {cpus:g} CPUs, a run wants {self.words.cpus}", do="--threads 1")
        if self.words.device == "cuda" and not has.get("GPU", 0):
            raise ConfigError("the cluster has no GPU", do="--device cpu")


class News:
    """What the runs have told, until it is taken."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[Any, ...]] = {}

    def tell(self, *words: Any) -> None:
        self.kept[words[0]] = words  # of each run the latest

    def take(self) -> list[tuple[Any, ...]]:
        kept, self.kept = list(self.kept.values()), {}
        return kept


def carry(job: Job, news: Any) -> str | None:
    """What a worker does: one run.  Returns None, or the message of one that failed."""
    last = 0.0

    def tell(*words: Any) -> None:
        nonlocal last
        if time.monotonic() - last > LOOK_EVERY:
            last = time.monotonic()
            news.tell.remote(*words)

    try:
        _wait_until_free(job)
        carry_out(job, tell)
    except AnchorbenchError as error:
        return str(error)
    except Exception:
        return keep_traceback(job, traceback.format_exc())
    return None


def _wait_until_free(job: Job) -> None:
    folder = job.results / job.spec.folder
    if folder.is_dir():
        try:
            FileLock(folder / ".lock").acquire(timeout=PATIENCE).lock.release()
        except Timeout:
            return  # whoever has it is named by the run itself


def _package() -> Any:
    try:
        ray = import_module("ray")
        for part in ("exceptions", "util.scheduling_strategies"):
            import_module(f"ray.{part}")
    except ImportError:
        raise ConfigError(
            "--launcher ray needs the package ray, which is not installed", do="pip install 'anchorbench[ray]'"
        ) from None
    return ray
