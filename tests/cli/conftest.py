"""The command line called in this process, and a folder of finished runs to call it on."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from anchorbench.cli import main
from anchorbench.runs import Asked, train_all

#: What makes a training a fraction of a second.
QUICK: dict[str, dict[str, Any]] = {
    "train": {"steps": 12, "batch": 4, "validate_every": 4},
    "model": {"width": 4, "layers": 1, "modes": 4, "local_kernel": 0},
}


@dataclass(frozen=True)
class Said:
    """What a command left: its exit code, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """`cli("list", "runs")` as a person types it, in an empty folder with the tests' catalogue and its own results."""

    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> Said:
        self.capture.readouterr()
        self.patch.setattr(sys, "argv", ["anchorbench", *words])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = self.capture.readouterr()
        return Said(code, out, err)

    def train(self, *words: str) -> Said:
        """A quick training of one seed on the tiny ladder; later words win."""
        options = [f"{group}.{name}={value}" for group, values in QUICK.items() for name, value in values.items()]
        if "--model" in words:
            options = [option for option in options if option.startswith("train.")]
        sets = [word for option in options for word in ("--set", option)]
        return self("train", "--size", "tiny", "--seeds", "1", "--workers", "1", "--threads", "1", *sets, *words)


@pytest.fixture
def cli(bench, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANCHORBENCH_DATASETS", str(bench.catalog))
    monkeypatch.setenv("ANCHORBENCH_CACHE", str(bench.cache))
    monkeypatch.setenv("ANCHORBENCH_RESULTS", str(tmp_path / "results"))
    yield CommandLine(monkeypatch, capfd)
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def trained(bench, tmp_path_factory) -> Path:
    """Results of baseline, frl and multires, two seeds each, with all references."""
    base = tmp_path_factory.getbasetemp()
    results = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "trained"
    with FileLock(f"{results}.lock"):
        if not (results / "whole").exists():
            from anchorbench.data.catalog_file import load_catalog

            asked = Asked(
                "turbulence2d",
                size="tiny",
                methods=("baseline", "frl", "multires"),
                seeds=(0, 1),
                with_references=True,
                settings=QUICK,
            )
            catalog = load_catalog(bench.catalog)
            train_all(asked, results=results, cache=bench.cache, workers=1, threads=1, catalog=catalog)
            (results / "whole").touch()
    return results
