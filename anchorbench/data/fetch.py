"""From the catalogue to a ladder on disk: resolve what is asked for, make it once, open it ever after."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from anchorbench.config import Frozen, LadderSpec, Size, merged, validated
from anchorbench.data.catalog import Catalog, DatasetEntry, GridEntry, SampleFile, SizeEntry, Source, kind_of
from anchorbench.data.download import cache_path, noted
from anchorbench.data.ladder import COMPLETE, SPLITS, Ladder, ladder_folder, ladder_lock, open_ladder, write_ladder
from anchorbench.data.sources import Ask, Progress, load_module
from anchorbench.errors import CatalogError, ConfigError, GridError, LadderError, unknown
from anchorbench.fields import Grid
from anchorbench.fields.resample_cells import nested
from anchorbench.fields.resample_points import shared_points

#: What `fetch --set` and `train --set data.…` may change, by kind of source; the last is the reader's own options.
SETTINGS = {
    "generated": ("rungs", "crop", "generator"),
    "sample": ("rungs", "crop", "selection"),
    "public": ("rungs", "crop", "selection"),
    "own": ("rungs", "crop", "selection"),
}

#: Beside a generated ladder's folder: the slices of a solve that was stopped.
SOLVING = ".solving"
#: Which of the downloads a ladder was made of: their folders in <cache>/files.
DOWNLOADS = "downloads"


@dataclass(frozen=True)
class Request:
    """A ladder that somebody wants: its spec, and the entries it came from.

    entry: the dataset as the source sees it.  options: of the source's reader, validated.
    """

    entry: DatasetEntry
    size: SizeEntry
    source: str
    spec: LadderSpec
    options: Any
    by_catalogue: bool = False  # whether `auto` was asked for

    @property
    def display_name(self) -> str:
        return self.described.display_name

    @property
    def kind(self) -> str:
        return kind_of(self.source)

    @property
    def described(self) -> Source:
        """The catalogue's words on the source."""
        return self.entry.sources[self.source]

    def ask(self, cache: Path, **words: Any) -> Ask:
        """What its reader is asked for; words: other fields of `Ask`."""
        return Ask(
            entry=self.entry,
            source=self.described,
            options=self.options,
            size=self.size,
            finest=Grid.from_dict(self.spec.grid),
            cache=cache,
            **words,
        )

    def disk_bytes(self) -> int:
        """About what the ladder takes on disk with the array cache that training makes: twice its float32 values."""
        frames = int(getattr(self.options, "frames", 1))
        counts = getattr(self.options, "trajectories", None) or getattr(self.options, "most", None) or {}
        unsaid = self.described.samples.get(cast(Size, self.spec.size), 96) / len(SPLITS)
        samples: int = round(sum(counts.get(split, unsaid) for split in SPLITS))
        finest = Grid.from_dict(self.spec.grid)
        points = sum(finest.with_rung(rung).n_points for rung in self.spec.rungs)
        fields = len(self.spec.variables) + (self.spec.size in self.described.masked)
        return 2 * 4 * samples * frames * points * fields


def request(
    catalog: Catalog, dataset: str, *, size: str, source: str = "auto", settings: Mapping[str, Any] | None = None
) -> Request:
    """What ladder these words mean.  Nothing is read or made.

    source: a name; `auto` is the catalogue's choice; a kind will do where the dataset has one source of it.
    Where the rungs that are asked for lack the train rung, the coarsest of them takes its place.  A setting that is no
    setting of a ladder but an option of the source's reader is taken for that: `year=2023`.  `limit=N` is the reader's
    own option of that name; where it has none, no split gets more than N samples.

    Raises CatalogError or ConfigError for a dataset, size, source or setting that there is not, or that cannot be.
    """
    name, described = catalog.dataset(dataset).source(_named(catalog.dataset(dataset), source), size=size)
    entry = catalog.dataset(dataset).seen_from(name)
    kind, where = kind_of(name), f"dataset '{dataset}', size {size}"
    group = SETTINGS[kind][-1]
    reader = load_module(described.reader)
    from_source = f"dataset '{dataset}', source {name}"
    asked = dict(settings or {})
    limit = asked.pop("limit", None) if "limit" not in reader.Options.model_fields else None
    known = tuple(name for name in SETTINGS[kind] if name != "crop" or kind != "generated" or entry.has_crops)
    changes = _grouped(asked, known, reader.Options, where=from_source)
    values = merged(entry.size(size).model_dump(), changes)
    rungs = values["rungs"]
    if isinstance(rungs, list | tuple) and rungs and values["train_rung"] not in rungs:
        values["train_rung"] = rungs[0]
    size_entry = validated(SizeEntry, values, where=where)
    box = entry.box(size, crop=size_entry.crop)
    _check_nesting(box, size_entry, entry.restriction, where=where)
    grid = box.grid(max(size_entry.rungs))
    for rung in size_entry.rungs:
        grid.with_rung(rung)
    options = validated(reader.Options, getattr(size_entry, group), where=f"dataset '{dataset}' {group}")
    if limit is not None:
        options = _limited(options, limit, where=from_source)
    if hasattr(reader, "check"):
        reader.check(options, finest=grid)
    chosen = options.model_dump(mode="json")
    origin = chosen if kind == "generated" else {**_identity(described), "crop": size_entry.crop, "selection": chosen}
    time_step = _time_step(entry, options, where=where)
    spec = LadderSpec(
        dataset=dataset,
        source=name,
        size=size,
        restriction=entry.restriction,
        rungs=size_entry.rungs,
        grid=grid.to_dict(),
        variables=tuple(sorted(entry.variables, key=lambda v: v.name != entry.headline)),  # the headline is channel 0
        time_step=time_step,
        time_unit="" if entry.time is None else entry.time.unit,
        origin=origin,
    )
    return Request(entry, size_entry, name, spec, options, by_catalogue=source == "auto")


def _named(entry: DatasetEntry, source: str) -> str:
    """The source that a name or a kind means.  Raises CatalogError where there are several of the kind."""
    of_kind = [name for name in entry.sources if kind_of(name) == source]
    if source in entry.sources or len(of_kind) < 2:
        return of_kind[0] if of_kind and source not in entry.sources else source
    raise CatalogError(
        f"dataset '{entry.name}' has several sources of the kind {source}: {', '.join(of_kind)}",
        do=f"choose one, for example --source {of_kind[0]}",
    )


def _limited(options: Any, limit: Any, *, where: str) -> Any:
    """The options with at most `limit` samples a split.  Raises ConfigError where the reader counts none."""
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise ConfigError(f"limit is a whole number from 1 up, not {limit!r}")
    for name in ("trajectories", "most"):
        if name in type(options).model_fields:
            counts = getattr(options, name)
            capped = {split: min(counts.get(split, limit), limit) for split in SPLITS}
            return validated(type(options), {**options.model_dump(), name: capped}, where=where)
    raise ConfigError(
        f"{where} has no samples to count, so there is nothing to limit",
        do="choose with --set among " + ", ".join(type(options).model_fields),
    )


def _grouped(
    settings: Mapping[str, Any], known: tuple[str, ...], options: type[Frozen], *, where: str
) -> dict[str, Any]:
    """The settings, a reader's option that stands alone put into its group.  Raises ConfigError for an unknown one."""
    grouped: dict[str, Any] = {}
    for name, value in settings.items():
        if name in known:
            grouped = merged(grouped, {name: value})
        elif name in options.model_fields:
            grouped = merged(grouped, {known[-1]: {name: value}})
        else:
            raise ConfigError(f"{where}: {unknown('setting', name, (*known, *options.model_fields))}")
    return grouped


def _identity(source: Source) -> dict[str, Any]:
    """What says which data they are: the members' digests of a sample, the addresses of a public set."""
    if source.files:
        return {"members": [file.member.sha256 for file in source.files]}
    return {"urls": dict(source.urls), "checksums": dict(source.checksums)}


def _time_step(entry: DatasetEntry, options: Any, *, where: str) -> float:
    """The reader's own interval, else the catalogue's; 0 where the fields have no time."""
    if entry.time is None:
        return 0.0
    step = float(getattr(options, "interval", entry.time.step))
    lead = entry.time.lead
    if abs(lead / step - round(lead / step)) > 1e-9 or lead < step:
        raise ConfigError(
            f"{where}: the lead of {lead:g} is no whole number of intervals of {step:g}",
            do=f"--set generator.interval={lead:g}",
        )
    return step


def announce(wanted: Request, cache: Path | None, *, device: str = "cpu") -> str | None:
    """One line before long work: what, whose choice, about how long and how large; None where it is there already.

    cache: None where it will be made again whatever lies there.
    """
    if cache is not None and (ladder_folder(wanted.spec, cache) / COMPLETE).exists():
        return None
    took = ""
    reader = load_module(wanted.described.reader)
    if hasattr(reader, "estimate_seconds"):
        took = f", about {reader.estimate_seconds(wanted.options, device=device):.0f} s to solve"
    elif (size := download_bytes(wanted, cache)) is None:
        took = ", a download of unknown size"
    elif size:
        took = f", a download of {'up to' if wanted.described.files else 'about'} {size / 1e6:.0f} MB"
    disk = f"about {wanted.disk_bytes() / 1e6:.0f} MB on disk"
    return f"{wanted.entry.name}: {wanted.display_name} ({chosen_by(wanted)}); {disk}{took}"


def chosen_by(wanted: Request) -> str:
    """Which source, and whose choice it was."""
    return f"source {wanted.source}" + (f", the catalogue's choice for {wanted.spec.size}" * wanted.by_catalogue)


def download_bytes(wanted: Request, cache: Path | None) -> int | None:
    """What is still to be downloaded; None where nobody knows.  cache: None where all of it is.

    Of a zip, which is read by ranges, the member alone; of any other archive all.  Of a public set what its reader
    estimates from its options, by `estimate_bytes`, else what the catalogue says of the size.
    """
    if wanted.kind in ("generated", "own"):
        return 0
    if not wanted.described.files:
        reader = load_module(wanted.described.reader)
        if hasattr(reader, "estimate_bytes"):
            return int(reader.estimate_bytes(wanted.options))
        return wanted.described.bytes.get(cast(Size, wanted.spec.size))
    missing = missing_files(wanted.described.files, cache)
    members = sum(min(file.artefact.size, file.member.size) for file in missing if file.artefact.is_zip)
    archives = {file.artefact for file in missing if not file.artefact.is_zip}  # once for all their members
    return members + sum(
        archive.size
        for archive in archives
        if cache is None or not cache_path(cache, sha256=archive.sha256, name=archive.name).exists()
    )


def missing_files(files: Sequence[SampleFile], cache: Path | None) -> list[SampleFile]:
    """The members that are not in the cache; all without one."""
    return [
        file
        for file in files
        if cache is None or not cache_path(cache, sha256=file.member.sha256, name=file.member.name).exists()
    ]


def fetch(
    wanted: Request,
    cache: Path,
    *,
    force: bool = False,
    offline: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
    again: bool = True,
) -> Ladder:
    """The ladder, made if it is not there.  A second call touches neither network nor solver.

    again: whether `force` has the downloads again too.
    Two processes that want it at once make it once.  Raises DownloadError or LadderError; a ladder that was good stays
    until its successor is whole.
    """
    if not force and (ladder := _there(wanted, cache)) is not None:
        return ladder
    with ladder_lock(wanted.spec, cache):
        if not force and (ladder := _there(wanted, cache)) is not None:
            return ladder
        with noted() as used:
            return _make(wanted, cache, used, force=force and again, offline=offline, device=device, progress=progress)


def _there(wanted: Request, cache: Path) -> Ladder | None:
    """The ladder, None where there is none.  Raises LadderError for a damaged one: a person may want to look at it."""
    try:
        return open_ladder(wanted.spec, cache)
    except LadderError:
        if (ladder_folder(wanted.spec, cache) / COMPLETE).exists():
            raise
    return None


def _make(
    wanted: Request, cache: Path, used: set[Path], *, force: bool, offline: bool, device: str, progress: Progress | None
) -> Ladder:
    require_space(wanted, cache)
    entry, source = wanted.entry, wanted.described
    folder = ladder_folder(wanted.spec, cache)
    scratch = folder.with_name(folder.name + SOLVING)
    made = load_module(source.reader).load(
        wanted.ask(cache, offline=offline, force=force, device=device, scratch=scratch, progress=progress)
    )
    attrs = {
        "dataset": entry.name,
        "display_name": source.display_name,
        "source": wanted.source,
        "producer": source.producer,
        "terms": source.terms,
        **({"cite": source.cite} if source.cite else {}),
        **({"equation": entry.equation.formula} if entry.equation is not None else {}),
        **made.attrs,
    }
    for split in made.splits.values():
        attrs.update({name: str(value) for name, value in split.attrs.items()})
    folders = {path.relative_to(cache / "files").parts[0] for path in used if path.is_relative_to(cache / "files")}
    if folders:
        attrs[DOWNLOADS] = ", ".join(sorted(folders))
    ladder = write_ladder(
        wanted.spec,
        made.splits,
        cache,
        attrs=attrs,
        static=made.static,
        floor=made.floor,
        progress=None if progress is None else lambda share: progress("writing", share),
    )
    shutil.rmtree(scratch, ignore_errors=True)
    return ladder


def require_space(wanted: Request, cache: Path) -> None:
    """Raise LadderError where the ladder would not fit on the cache's disk."""
    need, free = wanted.disk_bytes(), _free_bytes(cache)
    if free < need:
        raise LadderError(
            f"no space left: '{wanted.spec.name}' takes about {need / 1e6:.0f} MB, {cache} has {free / 1e6:.0f} MB",
            do="free some space, or choose another folder with --cache",
        )


def _check_nesting(box: GridEntry, size: SizeEntry, restriction: str, *, where: str) -> None:
    """Raises ConfigError where a rung cannot be had from the source's points: found before a download, not after."""
    points = size.crop or size.rungs[-1]
    source = box.grid(points)
    odd = [rung for rung in size.rungs if not _reached(source, rung, restriction)]
    if odd:
        raise ConfigError(
            f"{where}: rungs {', '.join(map(str, odd))} do not divide its {points} points, as {restriction} needs",
            do="choose rungs among "
            + ", ".join(str(n) for n in range(4, points + 1) if _reached(source, n, restriction)),
        )


def _reached(source: Grid, rung: int, restriction: str) -> bool:
    """True where a rung's cells are whole cells of the source, or its points among the source's, if they must be."""
    if restriction not in ("block_mean", "stride"):
        return True
    try:
        coarse = source.with_rung(rung)
        if restriction == "stride":
            shared_points(source, coarse)
    except GridError:
        return False
    return restriction == "stride" or nested(coarse, source)


def _free_bytes(folder: Path) -> int:
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return shutil.disk_usage(existing).free
