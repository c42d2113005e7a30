"""From the catalogue to a ladder on disk: resolve what is asked for, make it once, open it ever after."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anchorbench.config import LadderSpec, merged, validated
from anchorbench.data import sources
from anchorbench.data.catalog import Catalog, DatasetEntry, SampleSource, SizeEntry
from anchorbench.data.ladder import SPLITS, Ladder, ladder_folder, open_ladder, write_ladder
from anchorbench.errors import ConfigError, LadderError, unknown
from anchorbench.fields import Grid

Progress = Callable[[str, float], None]

#: What `fetch --set` and `train --set data.…` may change.
SETTINGS = ("rungs", "crop", "generator", "selection")


@dataclass(frozen=True)
class Request:
    """A ladder that somebody wants: its spec, and the entries it came from."""

    entry: DatasetEntry
    size: SizeEntry
    source: str
    spec: LadderSpec

    @property
    def display_name(self) -> str:
        return str(getattr(self.entry.sources, self.source).display_name)

    def disk_bytes(self) -> int:
        """About what the ladder takes on disk with the array cache that training makes: twice its values."""
        frames = int(self.options.get("frames", 24))
        counts = self.options.get("trajectories") or self.options.get("most") or {}
        samples = sum(counts.get(split, 32) for split in SPLITS)
        points = sum(rung**2 for rung in self.spec.rungs)
        copies = 2 if self.spec.restriction == "spectral" else 4  # with the observed area beside the values
        return 4 * copies * samples * frames * points * len(self.spec.variables)

    @property
    def options(self) -> Mapping[str, Any]:
        return {**self.size.generator, **self.size.selection}


def request(
    catalog: Catalog, dataset: str, *, size: str, source: str = "auto", settings: Mapping[str, Any] | None = None
) -> Request:
    """What ladder these words mean.  Nothing is read or made.

    Raises CatalogError or ConfigError for a dataset, size, source or setting that there is not.
    """
    entry = catalog.dataset(dataset)
    changes = dict(settings or {})
    for name in changes:
        if name not in SETTINGS:
            raise ConfigError(f"dataset '{dataset}': {unknown('setting', name, SETTINGS)}")
    kind, found = entry.source(source, size=size)
    values = merged(entry.size(size).model_dump(), changes)
    if isinstance(values["rungs"], list | tuple) and values["train_rung"] not in values["rungs"]:
        values["train_rung"] = min(values["rungs"])
    try:
        size_entry = SizeEntry(**values)
    except ValueError as error:
        raise ConfigError(f"dataset '{dataset}', size {size}: {str(error).splitlines()[2].strip()}") from None
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
    spec = LadderSpec(
        dataset=dataset,
        source=kind,
        size=size,
        restriction=entry.restriction,
        rungs=size_entry.rungs,
        grid=grid.to_dict(),
        variables=entry.variables,
        time_step=entry.time.step if kind != "generated" else origin["interval"],
        time_unit=entry.time.unit,
        origin=origin,
    )
    return Request(entry, size_entry, kind, spec)


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

    Raises DownloadError or LadderError; a ladder that was good stays until its successor is whole.
    """
    if not force:
        try:
            return open_ladder(wanted.spec, cache)
        except LadderError:
            if (ladder_folder(wanted.spec, cache) / "ladder.json").exists():
                raise  # damaged: say so, rather than replace what a person may want to look at
    need, free = wanted.disk_bytes(), _free_bytes(cache)
    if free < need:
        raise LadderError(
            f"no space left: '{wanted.spec.name}' takes about {need / 1e6:.0f} MB, {cache} has {free / 1e6:.0f} MB free",
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
    }
    if wanted.source == "generated":
        from anchorbench.data.sources import turbulence

        spec = turbulence.Generator(**wanted.spec.origin)
        finest = Grid.from_dict(wanted.spec.grid)
        splits, static, floor = turbulence.generate(
            spec, finest, wanted.spec.rungs, device=device, progress=tell("solving")
        )
        attrs["generator"] = spec.model_dump_json()
        return write_ladder(
            wanted.spec, splits, cache, attrs=attrs, static=static, floor=floor, progress=tell("writing")
        )
    splits = dict(
        sources.load_module(entry.name).load(
            entry, size=wanted.size, cache=cache, offline=offline, force=force, progress=tell("downloading")
        )
    )
    for split in splits.values():
        attrs.update({name: str(value) for name, value in split.attrs.items()})
    return write_ladder(wanted.spec, splits, cache, attrs=attrs, progress=tell("writing"))


def _free_bytes(folder: Path) -> int:
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return shutil.disk_usage(existing).free
