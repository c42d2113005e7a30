"""A run on disk: spec.yaml, environment.json, log.csv, state.pt, model.safetensors, curve.nc, DONE.

Each file is written to a temporary name and renamed, so an interruption leaves the last good one.  DONE is written last.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

import anchorbench
from anchorbench.config import RunSpec, save_yaml
from anchorbench.errors import RunError, TrainingError

LOG_FIELDS = ("step", "loss", "learning_rate", "validation", "seconds")


@dataclass(frozen=True)
class RunFolder:
    """One run's folder.  `open` checks that what lies there is of the same spec."""

    path: Path
    spec: RunSpec

    @classmethod
    def open(cls, spec: RunSpec, results: Path, *, force: bool = False) -> RunFolder:
        """Make or reopen the folder.  force: forget what lies there.

        Raises RunError where the folder holds a run of another spec, or cannot be written.
        """
        run = cls(results / spec.folder, spec)
        try:
            run.path.mkdir(parents=True, exist_ok=True)
            if (run.path / "spec.yaml").exists():
                found = read_spec(run.path)
                if found != spec:
                    raise RunError(
                        f"{run.path} holds a run of another spec ({_first_difference(found, spec)})",
                        do="move it away, or choose another --results folder",
                    )
            if force:
                for name in ("DONE", "state.pt", "model.safetensors", "curve.nc", "log.csv"):
                    (run.path / name).unlink(missing_ok=True)
            save_yaml(spec, run.path / "spec.yaml")
        except OSError as error:
            raise RunError(f"{run.path} cannot be written: {error.strerror}", do="choose another --results") from None
        return run

    @property
    def finished(self) -> bool:
        return (self.path / "DONE").exists()

    def finish(self) -> None:
        (self.path / "state.pt").unlink(missing_ok=True)
        self.replace("DONE", lambda part: part.write_text(datetime.now(UTC).isoformat(timespec="seconds") + "\n"))

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Everything that training needs to go on.  Raises TrainingError where there is no space for it."""
        self.replace("state.pt", lambda part: torch.save(dict(state), part))

    def load_state(self) -> dict[str, Any] | None:
        path = self.path / "state.pt"
        if not path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
            raise RunError(f"{path} is damaged: {error}", do="begin again with --force") from None
        return state

    def save_weights(self, weights: Mapping[str, Tensor]) -> None:
        plain = {name: w.detach().cpu().contiguous().clone() for name, w in weights.items()}
        self.replace("model.safetensors", lambda part: save_file(plain, part))

    def load_weights(self) -> dict[str, Tensor]:
        path = self.path / "model.safetensors"
        if not path.exists():
            raise RunError(f"{self.path} has no trained weights", do="run the same `anchorbench train` again")
        return load_file(path)

    def save_environment(self, more: Mapping[str, Any]) -> None:
        text = json.dumps({**environment(), **more}, indent=1)
        self.replace("environment.json", lambda part: part.write_text(text))

    def environment(self) -> dict[str, Any]:
        path = self.path / "environment.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def log(self, row: Mapping[str, Any]) -> None:
        path = self.path / "log.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, LOG_FIELDS)
            if new:
                writer.writeheader()
            writer.writerow(row)

    def cut_log(self, step: int) -> None:
        """Forget rows after `step`: the steps that will be run again."""
        path = self.path / "log.csv"
        if not path.exists():
            return
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        path.unlink()
        for row in rows:
            self.log(row)

    def replace(self, name: str, write: Callable[[Path], object]) -> None:
        """Write a file of the run under a temporary name, then rename it.  Raises TrainingError where it cannot."""
        part = self.path / f".{name}.part"
        try:
            write(part)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(self.path / name)
        except (OSError, RuntimeError) as error:
            # torch.save reports a full disk as a RuntimeError of its zip writer.
            reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
            raise TrainingError(
                f"{self.path / name} could not be written: {reason}; the last good one is kept",
                do="free some space and run the same command again: it goes on from there",
            ) from None
        finally:
            part.unlink(missing_ok=True)


def read_spec(folder: Path) -> RunSpec:
    """Raises RunError where there is no run, or its spec does not validate."""
    try:
        return RunSpec(**yaml.safe_load((folder / "spec.yaml").read_text()))
    except FileNotFoundError:
        raise RunError(f"{folder} is no run: it has no spec.yaml", do="anchorbench list runs") from None
    except (ValidationError, yaml.YAMLError, TypeError) as error:
        raise RunError(f"{folder / 'spec.yaml'} does not read: {str(error).splitlines()[0]}") from None


def find_runs(results: Path) -> list[RunFolder]:
    """All runs below a results folder, finished or not, by name."""
    folders = sorted(path.parent for path in results.glob("*/spec.yaml"))
    return [RunFolder(folder, read_spec(folder)) for folder in folders]


def environment() -> dict[str, Any]:
    """What numbers may depend on besides the spec."""
    names = ("torch", "numpy", "scipy", "xarray", "netCDF4")
    return {
        "anchorbench": anchorbench.__version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "machine": platform.machine(),
        "packages": {name: _version(name) for name in names},
        "threads": torch.get_num_threads(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _first_difference(a: RunSpec, b: RunSpec) -> str:
    left, right = a.model_dump(), b.model_dump()
    name = next(name for name in left if left[name] != right[name])
    return f"{name}: {left[name]!r} there, {right[name]!r} asked for"
