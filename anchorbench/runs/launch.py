"""Who carries out a list of runs: processes of this machine, or a Ray cluster, behind one small interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from anchorbench.errors import ConfigError, unknown
from anchorbench.runs.work import Job, Tell, carry_out_all

LAUNCHERS = ("local", "ray")


class Launcher(Protocol):
    """Carries out jobs in their order, as many at once as it has places; one that fails stops no other."""

    @property
    def places(self) -> int:
        """How many runs go on at once."""
        ...

    def run(self, jobs: Sequence[Job], *, tell: Tell | None = None) -> list[tuple[str, str]]:
        """Returns (folder name, message) of those that failed.

        A job whose warm start is another waits for it.  tell hears of every run, "done" or "failed" at its end.  A
        stop (Ctrl-C, SIGTERM) reaches every run, each keeps its state, and KeyboardInterrupt is raised.
        """
        ...


@dataclass(frozen=True)
class Local:
    """Processes of this machine."""

    workers: int

    @property
    def places(self) -> int:
        return self.workers

    def run(self, jobs: Sequence[Job], *, tell: Tell | None = None) -> list[tuple[str, str]]:
        return carry_out_all(jobs, workers=self.workers, tell=tell, past_bugs=True)


@dataclass(frozen=True)
class RayWords:
    """What a person says of the cluster.

    address: of one that is there ("auto" finds it); "local" starts one on this machine.  device: auto takes GPUs where
    the cluster has some.  gpu_share: of a GPU, a run.  cpus: of a run, and its threads.  retries: of a run whose worker
    is gone.
    """

    address: str = "local"
    device: str = "auto"
    gpu_share: float = 1.0
    cpus: int = 1
    retries: int = 3


def launcher(name: str, *, workers: int, ray: RayWords | None = None) -> Launcher:
    """Raises ConfigError for a launcher that there is not, or whose package is not installed."""
    if name == "local":
        return Local(workers)
    if name == "ray":
        from anchorbench.runs.launch_ray import Ray

        return Ray.reach(ray or RayWords())
    raise ConfigError(f"--launcher: {unknown('launcher', name, LAUNCHERS)}")
