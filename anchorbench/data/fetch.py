"""From the catalogue to a ladder on disk: resolve what is asked for, make it once, open it ever after."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anchorbench.config import LadderSpec, merged, validated
from anchorbench.data import sources
from anchorbench.data.catalog import Catalog, DatasetEntry, SampleFile, SampleSource, SizeEntry
from anchorbench.data.download import cache_path
from anchorbench.data.ladder import COMPLETE, SPLITS, Ladder, ladder_folder, ladder_lock, open_ladder, write_ladder
from anchorbench.errors import ConfigError, LadderError, unknown
from anchorbench.fields import Grid

Progress = Callable[[str, float], None]

#: What `fetch --set` and `train --set data.…` may change, by kind of source.
SETTINGS = {"generated": ("rungs", "generator"), "sample": ("rungs", "crop", "selection")}

#: Beside a generated ladder's folder: the slices of a solve that was stopped.
SOLVING = ".solving"


@dataclass(frozen=True)
class Request:
    """A ladder that somebody wants: its spec, and the entries it came from."""

    entry: DatasetEntry
    size: SizeEntry
    source: str
    spec: LadderSpec
    by_catalogue: bool = False  # whether `auto` was asked for

    @property
    def display_name(self) -> str:
        return str(getattr(self.entry.sources, self.source).display_name)

    def disk_bytes(self) -> int:
        """About what the ladder takes on disk with the array cache that training makes: twice its values."""
        frames = int(self.options.get("frames", 24))
        counts = self.options.get("trajectories") or self.options.get("most") or {}
        samples: int = sum(counts.get(split, 32) for split in SPLITS)
        finest = Grid.from_dict(self.spec.grid)
        points = sum(finest.with_rung(rung).n_points for rung in self.spec.rungs)
        copies = 2 if self.spec.restriction == "spectral" else 4  # with the observed area beside the values
        return 4 * copies * samples * frames * points * len(self.spec.variables)

    @property
    def options(self) -> Mapping[str, Any]:
        return {**self.size.generator, **self.size.selection}


def request(
    catalog: Catalog, dataset: str, *, size: str, source: str = "auto", settings: Mapping[str, Any] | None = None
) -> Request:
    """What ladder these words mean.  Nothing is read or made.

    Where the rungs that are asked for lack the train rung, the coarsest of them takes its place.

    Raises CatalogError or ConfigError for a dataset, size, source or setting that there is not, or that cannot be.
    """
    entry = catalog.dataset(dataset)
    changes = dict(settings or {})
    kind, found = entry.source(source, size=size)
    for name in changes:
        if name not in SETTINGS[kind]:
            raise ConfigError(f"dataset '{dataset}', source {kind}: {unknown('setting', name, SETTINGS[kind])}")
    values = merged(entry.size(size).model_dump(), changes)
    where = f"dataset '{dataset}', size {size}"
    rungs = values["rungs"]
    if isinstance(rungs, list | tuple) and rungs and values["train_rung"] not in rungs:
        values["train_rung"] = rungs[0]
    size_entry = validated(SizeEntry, values, where=where)
    _check_nesting(size_entry, entry.restriction, where=where)
    box = entry.box(size, crop=size_entry.crop)
    finest = max(size_entry.rungs)
    shape = (finest,) * len(box.extent)
    grid = Grid(shape, box.extent, box.centring, box.kind, box.periodic, unit=box.unit)
    if kind == "generated":
        from anchorbench.data.sources import turbulence

        origin = turbulence.generator(size_entry.generator, finest=finest).model_dump(mode="json")
    else:
        assert isinstance(found, SampleSource)
        reader = sources.load_module(dataset)
        selection = validated(reader.Selection, size_entry.selection, where=f"dataset '{dataset}' selection")
        members = [file.member.sha256 for file in found.files]
        origin = {"members": members, "crop": size_entry.crop, "selection": selection.model_dump(mode="json")}
    time_step = float(origin["interval"]) if kind == "generated" else entry.time.step
    if abs(entry.time.lead / time_step - round(entry.time.lead / time_step)) > 1e-9 or entry.time.lead < time_step:
        raise ConfigError(
            f"{where}: the lead of {entry.time.lead:g} is no whole number of intervals of {time_step:g}",
            do=f"--set generator.interval={entry.time.lead:g}",
        )
    spec = LadderSpec(
        dataset=dataset,
        source=kind,
        size=size,
        restriction=entry.restriction,
        rungs=size_entry.rungs,
        grid=grid.to_dict(),
        variables=tuple(sorted(entry.variables, key=lambda v: v.name != entry.headline)),  # the headline is channel 0
        time_step=time_step,
        time_unit=entry.time.unit,
        origin=origin,
    )
    return Request(entry, size_entry, kind, spec, by_catalogue=source == "auto")


def announce(wanted: Request, cache: Path | None, *, device: str = "cpu") -> str | None:
    """One line before long work: what, whose choice, about how long and how large; None where it is there already.

    cache: None where it will be made again whatever lies there.
    """
    if cache is not None and (ladder_folder(wanted.spec, cache) / COMPLETE).exists():
        return None
    chosen = f", the catalogue's choice for {wanted.spec.size}" if wanted.by_catalogue else ""
    took = ""
    if wanted.source == "generated":
        from anchorbench.data.sources import turbulence

        seconds = turbulence.estimate_seconds(turbulence.Generator(**wanted.spec.origin), device=device)
        took = f", about {seconds:.0f} s to solve"
    elif source_files := getattr(wanted.entry.sources, wanted.source).files:
        took = _download_in_words(source_files, cache)
    disk = f"about {wanted.disk_bytes() / 1e6:.0f} MB on disk"
    return f"{wanted.entry.name}: {wanted.display_name} (source {wanted.source}{chosen}); {disk}{took}"


def _download_in_words(files: Sequence[SampleFile], cache: Path | None) -> str:
    """What of a sample is still to be downloaded; empty where all of it is there.

    Of a zip, which is read by ranges, the member alone; of any other archive all.
    """
    missing = [
        file
        for file in files
        if cache is None or not cache_path(cache, sha256=file.member.sha256, name=file.member.name).exists()
    ]
    size = sum(min(f.artefact.size, f.member.size) if f.artefact.is_zip else f.artefact.size for f in missing)
    return f", a download of up to {size / 1e6:.0f} MB" if missing else ""


def fetch(
    wanted: Request,
    cache: Path,
    *,
    force: bool = False,
    offline: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Ladder:
    """The ladder, made if it is not there.  A second call touches neither network nor solver.

    Two processes that want it at once make it once.  Raises DownloadError or LadderError; a ladder that was good stays
    until its successor is whole.
    """
    if not force and (ladder := _there(wanted, cache)) is not None:
        return ladder
    with ladder_lock(wanted.spec, cache):
        if not force and (ladder := _there(wanted, cache)) is not None:
            return ladder
        return _make(wanted, cache, force=force, offline=offline, device=device, progress=progress)


def _there(wanted: Request, cache: Path) -> Ladder | None:
    """The ladder, None where there is none.  Raises LadderError for a damaged one: a person may want to look at it."""
    try:
        return open_ladder(wanted.spec, cache)
    except LadderError:
        if (ladder_folder(wanted.spec, cache) / COMPLETE).exists():
            raise
    return None


def _make(
    wanted: Request, cache: Path, *, force: bool, offline: bool, device: str, progress: Progress | None
) -> Ladder:
    need, free = wanted.disk_bytes(), _free_bytes(cache)
    if free < need:
        raise LadderError(
            f"no space left: '{wanted.spec.name}' takes about {need / 1e6:.0f} MB, {cache} has {free / 1e6:.0f} MB",
            do="free some space, or choose another folder with --cache",
        )

    def tell(stage: str) -> Callable[[float], None] | None:
        return None if progress is None else lambda share: progress(stage, share)

    entry = wanted.entry
    source = getattr(entry.sources, wanted.source)
    attrs = {
        "dataset": entry.name,
        "display_name": source.display_name,
        "source": wanted.source,
        "producer": source.producer,
        "terms": source.terms,
        **({"equation": entry.equation.formula} if entry.equation is not None else {}),
    }
    if wanted.source == "generated":
        from anchorbench.data.sources import turbulence

        spec = turbulence.Generator(**wanted.spec.origin)
        finest = Grid.from_dict(wanted.spec.grid)
        folder = ladder_folder(wanted.spec, cache)
        scratch = folder.with_name(folder.name + SOLVING)
        splits, static, floor = turbulence.generate(
            spec, finest, wanted.spec.rungs, device=device, progress=tell("solving"), scratch=scratch
        )
        attrs["generator"] = spec.model_dump_json()
        made = write_ladder(
            wanted.spec, splits, cache, attrs=attrs, static=static, floor=floor, progress=tell("writing")
        )
        shutil.rmtree(scratch, ignore_errors=True)
        return made
    splits = dict(
        sources.load_module(entry.name).load(
            entry, size=wanted.size, cache=cache, offline=offline, force=force, progress=tell("downloading")
        )
    )
    for split in splits.values():
        attrs.update({name: str(value) for name, value in split.attrs.items()})
    return write_ladder(wanted.spec, splits, cache, attrs=attrs, progress=tell("writing"))


def _check_nesting(size: SizeEntry, restriction: str, *, where: str) -> None:
    """Raises ConfigError where a rung's cells are no whole cells of the source: found before a download, not after."""
    points = size.crop or size.rungs[-1]
    odd = [rung for rung in size.rungs if points % rung]
    if restriction in ("block_mean", "stride") and odd:
        raise ConfigError(
            f"{where}: rungs {', '.join(map(str, odd))} do not divide its {points} points, as {restriction} needs",
            do="choose rungs among " + ", ".join(str(n) for n in range(4, points + 1) if points % n == 0),
        )


def _free_bytes(folder: Path) -> int:
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return shutil.disk_usage(existing).free
