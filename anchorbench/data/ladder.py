"""A ladder on disk: the same fields on several rungs, restricted from one truth.

    <cache>/<dataset>/<source>/<size>-<hash8>/{train,validation,test}.nc + ladder.json

One NetCDF-4 file a split, one group a rung, variables (sample, time, *grid), CF attributes; `ladder.json` is written
last, so a folder without it is no ladder.  Training reads an array cache made once from it (`arrays.py`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from filelock import FileLock

from anchorbench.config import LadderSpec
from anchorbench.data.arrays import cached_array, read_variable
from anchorbench.data.ladder_file import write_split
from anchorbench.data.sources import SplitFields
from anchorbench.data.splits import SPLITS as SPLITS
from anchorbench.data.splits import Split as Split
from anchorbench.errors import LadderError
from anchorbench.fields import Grid, covers_sphere, n_degrees
from anchorbench.fields.grid import rung_name
from anchorbench.fields.resample import Restriction

COMPLETE = "ladder.json"
#: Beside a ladder's folder: one that is being written, the one that it will replace, and who may.
PART, FORMER, LOCK = ".part", ".former", ".lock"


@dataclass(frozen=True)
class Ladder:
    """An opened ladder.  `array` and `valid_area` are memory maps; nothing is read before it is asked for."""

    spec: LadderSpec
    folder: Path
    about: Mapping[str, Any] = field(repr=False)

    @property
    def rungs(self) -> tuple[int, ...]:
        return self.spec.rungs

    @property
    def restriction(self) -> Restriction:
        return cast(Restriction, self.spec.restriction)

    @property
    def masked(self) -> bool:
        """True where some area is missing, so that every score is weighted."""
        return bool(self.about["masked"])

    @property
    def floor(self) -> dict[int, float]:
        """Error of the truth itself over one lead, by band rung, in the variable's unit; empty where unknown."""
        return {int(rung): float(e) for rung, e in self.about.get("floor", {}).items()}

    @cached_property
    def finest(self) -> Grid:
        return Grid.from_dict(self.spec.grid)

    def grid(self, rung: int) -> Grid:
        """The grid of a rung.  Raises LadderError where the ladder lacks it."""
        self.require(rung)
        return self.finest.with_rung(rung)

    def require(self, *rungs: int) -> None:
        """Raise LadderError, with the command that makes them, unless the ladder has all these rungs."""
        for rung in rungs:
            if rung not in self.rungs:
                have = ", ".join(map(rung_name, self.rungs))
                wanted = ",".join(str(r) for r in sorted({*self.rungs, rung}))
                raise LadderError(
                    f"ladder '{self.spec.dataset}/{self.spec.size}' has no rung {rung_name(rung)}; it has {have}.",
                    do=f"make it:  anchorbench fetch {self.spec.dataset} --size {self.spec.size} --set rungs={wanted}",
                )

    def array(self, split: Split, rung: int, variable: str) -> np.ndarray:
        """(sample, time, *grid) float32, read-only memory map; missing points are 0."""
        self.require(rung)
        return cached_array(self.folder, f"{split}.nc", rung_name(rung), variable, digest=self._digest(split))

    def valid_area(self, split: Split, rung: int) -> np.ndarray | None:
        """Share of each cell that was observed, (sample, time, *grid) float32; None where nothing is missing."""
        return self.array(split, rung, "valid_area") if self.masked else None

    def clusters(self, split: Split) -> np.ndarray:
        """Which trajectory or time block each sample belongs to, numbered from 0: (sample,)."""
        labels = np.asarray(self.about["splits"][split]["clusters"])
        return np.unique(labels, return_inverse=True)[1]

    def static(self, rung: int) -> np.ndarray | None:
        """Fields that do not change (forcing, orography), (field, *grid) float32; None where there is none."""
        names = self.about["static"]
        if not names:
            return None
        path, group = self.folder / "train.nc", rung_name(rung)
        self.require(rung)
        return np.stack([read_variable(path, group, name) for name in names])

    def verify(self) -> None:
        """Hash every file against what was written.  Raises LadderError at the first that differs."""
        for split in SPLITS:
            if file_digest(self.folder / f"{split}.nc") != self._digest(split):
                raise LadderError(
                    f"{self.folder / f'{split}.nc'} is not the file that was written: its SHA-256 differs",
                    do=refetch(self.spec),
                )

    def _digest(self, split: Split) -> str:
        return str(self.about["splits"][split]["sha256"])


class TrainingView:
    """What a training loop may open: the training and validation splits, on the rungs that its track allows."""

    def __init__(self, ladder: Ladder, allowed: Iterable[int]) -> None:
        self.ladder = ladder
        self.allowed = frozenset(allowed)
        ladder.require(*self.allowed)

    def open(self, split: Split, rung: int) -> Ladder:
        """The ladder, if this split and rung may be seen.  Raises LadderError else."""
        if split == "test":
            raise LadderError("training may not open the test split")
        if rung not in self.allowed:
            allowed = ", ".join(rung_name(r) for r in sorted(self.allowed))
            raise LadderError(
                f"training may not open rung {rung_name(rung)}: its track allows {allowed}",
                do="a method of the assisted track may see finer rungs; a zero-shot one never",
            )
        return self.ladder


def ladder_folder(spec: LadderSpec, cache: Path) -> Path:
    return cache / spec.name


def open_ladder(spec: LadderSpec, cache: Path) -> Ladder:
    """Open a ladder that is whole.  Raises LadderError where it is missing, truncated, or not the one of its name."""
    folder = ladder_folder(spec, cache)
    _finish_swap(folder)
    try:
        about = json.loads((folder / COMPLETE).read_text())
        sizes = {split: int(about["splits"][split]["size"]) for split in SPLITS}
        same = LadderSpec(**about["spec"]) == spec
    except (FileNotFoundError, NotADirectoryError):
        raise LadderError(f"there is no ladder '{spec.name}' in {cache}", do=refetch(spec, force=False)) from None
    except (OSError, ValueError, KeyError, TypeError):
        raise LadderError(f"{folder / COMPLETE} is damaged", do=refetch(spec)) from None
    if not same:
        raise LadderError(f"{folder / COMPLETE} describes another ladder than '{spec.name}'", do=refetch(spec))
    for split, size in sizes.items():
        path = folder / f"{split}.nc"
        found = path.stat().st_size if path.exists() else 0
        if found != size:
            raise LadderError(f"{path} is truncated: {found} of {size} bytes", do=refetch(spec))
    return Ladder(spec, folder, about)


def find_ladder(dataset: str, source: str, size: str, digest: str, cache: Path) -> Ladder:
    """The ladder of that digest.  Raises LadderError where the cache has none."""
    folder = cache / dataset / source / f"{size}-{digest[:8]}"
    _finish_swap(folder)
    try:
        spec = LadderSpec(**json.loads((folder / COMPLETE).read_text())["spec"])
    except (OSError, ValueError, KeyError, TypeError):
        raise LadderError(
            f"there is no whole ladder {folder}",
            do=f"anchorbench fetch {dataset} --size {size} --source {source}, with the --set options of the run",
        ) from None
    return open_ladder(spec, cache)


def describe(ladder: Ladder) -> dict[str, Any]:
    """What `list ladder` shows: a row a rung, and where the fields come from."""
    removed = ladder.about["splits"]["test"]["energy_removed"]
    rows = []
    sphere = covers_sphere(ladder.finest)
    for rung in ladder.rungs:
        grid = ladder.grid(rung)
        rows.append(
            {
                "rung": grid.name,
                "points": " x ".join(map(str, grid.shape)),
                "spacing": f"{max(grid.spacing):.4g} {grid.unit}",
                "k_nyquist": f"l = {n_degrees(grid)}" if sphere else f"{grid.k_nyquist:.4g} rad/{grid.unit}",
                "energy_removed_by_this_step": f"{removed[grid.name]:.2%}",
                "floor": f"{ladder.floor[rung]:.3g}" if rung in ladder.floor else "-",
            }
        )
    splits = {
        split: f"{about['samples']} samples of {about['frames']} frames in {len(set(about['clusters']))} clusters"
        for split, about in ladder.about["splits"].items()
    }
    return {
        "name": ladder.spec.name,
        "restriction": ladder.restriction,
        "rungs": rows,
        "about": {"folder": str(ladder.folder), "digest": ladder.spec.digest, **splits, **ladder.about["attrs"]},
    }


def write_ladder(
    spec: LadderSpec,
    splits: Mapping[str, SplitFields],
    cache: Path,
    *,
    attrs: Mapping[str, str],
    static: Mapping[str, np.ndarray] | None = None,
    floor: Mapping[int, float] | None = None,
    progress: Callable[[float], None] | None = None,
) -> Ladder:
    """Restrict the fields to every rung and write the ladder, all or nothing.

    splits: per split the fields on the truth's grid.  attrs: provenance, for every file.  static: fields that do
    not change, on the truth's grid.  floor: error of the truth by band rung.

    A ladder of the same name stays until this one is whole.  Raises LadderError where it cannot be written, or where
    a value that counts is NaN or infinite.
    """
    folder = ladder_folder(spec, cache)
    part = folder.with_name(folder.name + PART)
    with ladder_lock(spec, cache):
        _finish_swap(folder)
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            about: dict[str, Any] = {
                "masked": any(s.valid is not None for s in splits.values()),
                "static": list(static or {}),
                "floor": {str(rung): e for rung, e in (floor or {}).items()},
                "attrs": dict(attrs),
                "splits": {},
                "spec": spec.model_dump(mode="json"),
            }
            for i, split in enumerate(SPLITS):
                path = part / f"{split}.nc"
                lost = write_split(path, spec, splits[split], attrs, static or {}, masked=about["masked"])
                about["splits"][split] = {
                    "size": path.stat().st_size,
                    "sha256": file_digest(path),
                    "samples": int(splits[split].n_samples),
                    "frames": int(splits[split].n_frames),
                    "clusters": np.asarray(splits[split].clusters).tolist(),
                    "energy_removed": lost,
                }
                if progress is not None:
                    progress((i + 1) / len(SPLITS))
            (part / COMPLETE).write_text(json.dumps(about, indent=1))
            former = folder.with_name(folder.name + FORMER)
            shutil.rmtree(former, ignore_errors=True)
            if folder.exists():
                folder.rename(former)
            part.rename(folder)
            shutil.rmtree(former, ignore_errors=True)
        except OSError as error:
            raise _unwritable(spec, cache, error.strerror or str(error)) from None
        except RuntimeError as error:
            # HDF5 has no errno: a full disk is "NetCDF: HDF error", when the file is written or only when it is closed.
            if not str(error).startswith("NetCDF:"):
                raise
            raise _unwritable(spec, cache, str(error)) from None
        finally:
            shutil.rmtree(part, ignore_errors=True)
            _finish_swap(folder)
        return open_ladder(spec, cache)


def ladder_lock(spec: LadderSpec, cache: Path) -> FileLock:
    """Held by whoever makes this ladder; the same process may take it again.  Raises LadderError where it cannot be."""
    folder = ladder_folder(spec, cache)
    lock = folder.with_name(folder.name + LOCK)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    except OSError as error:
        raise _unwritable(spec, cache, error.strerror or str(error)) from None
    return FileLock(lock, is_singleton=True)


def _finish_swap(folder: Path) -> None:
    """Between two renames a ladder bears its former name only; whoever was killed there left it so."""
    former = folder.with_name(folder.name + FORMER)
    if folder.exists() or not former.exists():
        return
    lock = FileLock(folder.with_name(folder.name + LOCK), is_singleton=True)
    with suppress(OSError), lock.acquire(timeout=10):  # whoever holds it is about to finish the swap
        if not folder.exists():
            former.rename(folder)


def _unwritable(spec: LadderSpec, cache: Path, why: str) -> LadderError:
    return LadderError(
        f"the ladder '{spec.name}' could not be written: {why}",
        do=f"free some space, or choose another folder with --cache (now {cache})",
    )


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refetch(spec: LadderSpec, *, force: bool = True) -> str:
    command = f"anchorbench fetch {spec.dataset} --size {spec.size} --source {spec.source}"
    return f"make it again:  {command} --force" if force else f"make it:  {command}"
