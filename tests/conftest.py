"""One thread, no real network, hypothesis without deadlines; and one tiny ladder that all tests of runs share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
# A dead loopback port: a test that forgets to serve its own index fails at once instead of reaching a registry.
os.environ["PIP_INDEX_URL"] = "http://127.0.0.1:9/simple"
os.environ["PIP_CONFIG_FILE"] = os.devnull

import hypothesis
import pytest
import torch
import yaml
from filelock import FileLock

from anchorbench.config import RunSpec, merged
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import Request, fetch, request
from anchorbench.data.ladder import Ladder
from anchorbench.runs.plan import plan_runs
from anchorbench.runs.session import Session
from anchorbench.runs.store import RunFolder
from anchorbench.runs.work import Job

torch.set_num_threads(1)
hypothesis.settings.register_profile("anchorbench", deadline=None, max_examples=30, derandomize=True)
hypothesis.settings.load_profile("anchorbench")

#: What the tests' catalogue changes of turbulence2d/tiny: 3 rungs, 20 windows, half a second to make.
TINY_TURBULENCE = {
    "rungs": [8, 16, 32],
    "train_rung": 8,
    "generator": {
        "truth_rung": 64,
        "frames": 5,
        "spin_up_rung": 16,
        "spin_up_time": 0.5,
        "settle_time": 0.1,
        "trajectories": {"train": 3, "validation": 2, "test": 3},
        "floor_windows": 1,
    },
}
#: What the tests change of the preset: seconds become fractions of one.
QUICK: dict[str, Any] = {
    "train": {"steps": 12, "batch": 4, "validate_every": 4},
    "model": {"width": 4, "layers": 1, "modes": 4, "local_kernel": 0},
}


@dataclass(frozen=True)
class Bench:
    """A catalogue and a cache with one tiny ladder, and short ways to the runs on it."""

    catalog: Path
    cache: Path
    asked: Request
    ladder: Ladder

    def specs(
        self, *methods: str, seeds: tuple[int, ...] = (0,), settings: Mapping[str, Any] | None = None, **words: Any
    ) -> list[RunSpec]:
        """The specs of a `train` with the quick options, references left out."""
        base = QUICK if words.get("model") in (None, "fno") else {"train": QUICK["train"]}
        chosen = merged(base, settings or {})
        planned = plan_runs(self.asked, methods=methods, seeds=seeds, settings=chosen, **words)
        return [spec for spec in planned if spec.kind != "reference"]

    def spec(self, method: str = "baseline", seed: int = 0, *, model: str | None = None, **train: Any) -> RunSpec:
        settings = {"train": train}
        return next(s for s in self.specs(method, seeds=(seed,), settings=settings, model=model) if s.seed == seed)

    def reference(self, name: str) -> RunSpec:
        planned = plan_runs(self.asked, methods=("baseline",), seeds=(0,))
        return next(spec for spec in planned if spec.kind == "reference" and spec.method == name)

    def session(self, spec: RunSpec) -> Session:
        return Session(spec, replace(self.ladder), torch.device("cpu"))

    def run(self, spec: RunSpec, results: Path) -> RunFolder:
        run = RunFolder.at(spec, results)
        run.prepare()
        return run

    def job(self, spec: RunSpec, results: Path, *, force: bool = False) -> Job:
        return Job(spec, self.ladder.spec, self.cache, results, "cpu", 1, force)


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Made once for all workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "bench"
    catalog, cache = shared / "datasets.yaml", shared / "cache"
    with FileLock(f"{shared}.lock"):
        if not catalog.exists():
            shared.mkdir()
            tree = yaml.safe_load((Path(__file__).parents[1] / "datasets.yaml").read_text())
            sizes = tree["datasets"]["turbulence2d"]["sizes"]
            sizes["tiny"] = merged(sizes["tiny"], TINY_TURBULENCE)
            catalog.write_text(yaml.safe_dump(tree, allow_unicode=True, sort_keys=False))
        asked = request(load_catalog(catalog), "turbulence2d", size="tiny")
        ladder = fetch(asked, cache)
    return Bench(catalog, cache, asked, ladder)
