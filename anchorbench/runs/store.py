"""A run on disk: spec.yaml, environment.json, log.csv, state.pt, model.safetensors, curve.nc, DONE.

Each file is written to a temporary name and renamed, so an interruption leaves the last good one.  DONE comes last.
"""

from __future__ import annotations

import csv
import json
import os
import pickle
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import anchorbench
from anchorbench.config import RunSpec, save_yaml, validated
from anchorbench.errors import ConfigError, RunError, TrainingError

LOG_FIELDS = ("step", "loss", "learning_rate", "validation", "seconds")
#: What training and evaluation leave, in the order in which --force removes it.
MADE = (
    "DONE",
    "probes.nc",
    "selection.nc",
    "curve.nc",
    "model.safetensors",
    "state.pt",
    "log.csv",
    "card.json",
    "environment.json",
)


@dataclass(frozen=True)
class RunFolder:
    """One run's folder.  `at` looks whether what lies there is of the same spec, `prepare` makes it."""

    path: Path
    spec: RunSpec

    @classmethod
    def at(cls, spec: RunSpec, results: Path) -> RunFolder:
        """The spec's folder, which need not be there; nothing is written.

        Raises RunError where it holds a run of another spec.
        """
        run = cls(results / spec.folder, spec)
        if (run.path / "spec.yaml").exists() and (found := read_spec(run.path)).digest != spec.digest:
            raise RunError(
                f"{run.path} holds a run of another spec ({_first_difference(found, spec)})",
                do="move it away, or choose another --results folder",
            )
        return run

    def prepare(self, *, force: bool = False) -> None:
        """Make the folder and write its spec.  force: forget what lies there.  Raises RunError where it cannot be."""
        self._make_folder()
        for name in MADE if force else ():
            (self.path / name).unlink(missing_ok=True)
        for step in self.checkpoints if force else ():
            (self.path / checkpoint_name(step)).unlink(missing_ok=True)
        if not (self.path / "spec.yaml").exists():
            self.replace("spec.yaml", lambda part: save_yaml(self.spec, part))

    def _make_folder(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.path} cannot be made: {error.strerror}", do="choose another --results") from None

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """While one process works on a run, no other may.  The claim ends with the process, however that ends."""
        lock = FileLock(self.path / ".lock")
        self._make_folder()
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunError(f"another process is at work on {self.path}", do="wait for it, or stop it") from None
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {error.strerror}", do="choose another --results") from None
        try:
            yield
        finally:
            lock.release()

    @property
    def finished(self) -> bool:
        return (self.path / "DONE").exists()

    @property
    def trained(self) -> bool:
        """Training is over: its weights are there."""
        return (self.path / "model.safetensors").exists()

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
        except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
            raise RunError(f"{path} is damaged: {_first_line(error)}", do="begin again with --force") from None
        return state

    def save_weights(self, weights: Mapping[str, Tensor], *, step: int | None = None) -> None:
        """The run's weights; with a step, those of a checkpoint on the way."""
        plain = {name: w.detach().cpu().contiguous().clone() for name, w in weights.items()}
        name = "model.safetensors" if step is None else checkpoint_name(step)
        self.replace(name, lambda part: save_file(plain, part))

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """The steps whose weights were kept on the way."""
        names = (path.stem.rpartition("-")[2] for path in self.path.glob("checkpoint-*.safetensors"))
        return tuple(sorted(int(step) for step in names if step.isdigit()))

    def load_weights(self, *, step: int | None = None) -> dict[str, Tensor]:
        """The run's weights; with a step, those of a checkpoint.  Raises RunError where there are none."""
        path = self.path / ("model.safetensors" if step is None else checkpoint_name(step))
        if not path.exists():
            raise RunError(f"{self.path} has no trained weights", do="run the same `anchorbench train` again")
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise RunError(f"{path} is damaged: {_first_line(error)}", do="train it again with --force") from None

    def save_environment(self, more: Mapping[str, Any]) -> None:
        text = json.dumps({**environment(), **more}, indent=1)
        self.replace("environment.json", lambda part: part.write_text(text))

    def environment(self) -> dict[str, Any]:
        path = self.path / "environment.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def log(self, row: Mapping[str, Any]) -> None:
        """Append a row.  Raises TrainingError where there is no space for it."""
        path = self.path / "log.csv"
        try:
            new = not path.exists() or not path.stat().st_size
            with path.open("a", newline="") as file:
                writer = csv.DictWriter(file, LOG_FIELDS)
                if new:
                    writer.writeheader()
                writer.writerow(row)
        except OSError as error:
            raise self._not_written("log.csv", error) from None

    def logged(self) -> list[dict[str, str]]:
        """The whole rows of the log: a last one that a kill or a full disk cut short is none."""
        path = self.path / "log.csv"
        if not path.exists():
            return []
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        return [row for row in rows if set(row) == set(LOG_FIELDS) and row["seconds"] and str(row["step"]).isdigit()]

    def cut_log(self, step: int) -> None:
        """Forget rows after `step`: the steps that will be run again."""
        if not (self.path / "log.csv").exists():
            return
        rows = [row for row in self.logged() if int(row["step"]) <= step]

        def write(part: Path) -> None:
            with part.open("w", newline="") as file:
                writer = csv.DictWriter(file, LOG_FIELDS)
                writer.writeheader()
                writer.writerows(rows)

        self.replace("log.csv", write)

    def replace(self, name: str, write: Callable[[Path], object]) -> None:
        """Write a file of the run under a temporary name, then rename it.  Raises TrainingError where it cannot."""
        part = self.path / f".{name}.part"
        try:
            write(part)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(self.path / name)
        except (OSError, RuntimeError, SafetensorError) as error:
            # torch.save and netCDF report a full disk as a RuntimeError, safetensors as one of its own.
            raise self._not_written(name, error) from None
        finally:
            part.unlink(missing_ok=True)

    def _not_written(self, name: str, error: Exception) -> TrainingError:
        reason = (error.strerror if isinstance(error, OSError) else None) or _first_line(error)
        return TrainingError(
            f"{self.path / name} could not be written: {reason}; the last good state is kept",
            do="free some space and run the same command again: it goes on from there",
        )


def checkpoint_name(step: int) -> str:
    return f"checkpoint-{step:07d}.safetensors"


def read_spec(folder: Path) -> RunSpec:
    """Raises RunError where there is no run, or its spec does not validate."""
    path = folder / "spec.yaml"
    try:
        values = yaml.safe_load(path.read_text())
        if not isinstance(values, Mapping):
            raise RunError(f"{path} holds no spec", do="move the folder away")
        return validated(RunSpec, values, where=str(path))
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"{folder} is no run: it has no spec.yaml", do="anchorbench list runs") from None
    except (ConfigError, OSError, yaml.YAMLError, ValueError) as error:
        raise RunError(f"{path} does not read: {_first_line(error)}", do="move the folder away") from None


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
        "platform": platform.system(),
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


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
