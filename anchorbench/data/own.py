"""A user's own data set: described once from its file, kept beside its ladders, and known by name ever after.

    entry = describe_own("my.nc", name="mine", variables="u,v", restriction="spectral")
    keep_own(entry, cache, catalog)                 # <cache>/mine/dataset.yaml
    catalog = with_own(catalog, cache)              # the catalogue and all that was kept

What the file does not say is asked for by name, all of it in one message.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from anchorbench.config import SIZES, Variable, validated
from anchorbench.data.catalog import Catalog, DatasetEntry, GridEntry, Restriction, SizeEntry, Source, Task, TimeEntry
from anchorbench.data.catalog_file import read_catalog
from anchorbench.data.own_file import Found, look_into
from anchorbench.data.own_words import Doubts, Said
from anchorbench.data.sources.own import (
    USUAL_TURNS,
    Options,
    by_time,
    digest_of_content,
    pick,
    size_and_date,
    what_changed,
)
from anchorbench.data.splits import SPLITS
from anchorbench.errors import CatalogError, ConfigError, GridError, LadderError
from anchorbench.fields import Grid, restrict

KEPT = "dataset.yaml"
PARTIAL = f".{KEPT}.part"
#: The cache's own folders: no dataset is called so.
RESERVED = ("files",)
#: The coarsest rung that is proposed, and how many there are at most.
COARSEST, MOST_RUNGS = 8, 5
#: Cycles of the splits' turns along a series: as many as leave each split a window.
CYCLES = (4, 3, 2, 1)
TURNS = len(USUAL_TURNS)


def describe_own(path: Path | str, *, name: str, **words: Any) -> DatasetEntry:
    """The description of a NetCDF file or a Zarr store as a data set of its own, source `own`.

    words: those of `Said`.  Raises DownloadError where the file cannot be read, and one ConfigError with all that is
    missing, ambiguous, or not possible, each with the option to give.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        raise ConfigError(
            f"'{name}' is no name for a dataset: small letters, digits, - and _, a letter first", do="--name mine"
        )
    if name in RESERVED:
        raise ConfigError(f"'{name}' is a folder of the cache itself, no name for a dataset", do="--name mine")
    said = validated(Said, words, where="--from")
    where = str(path) if "://" in str(path) else str(Path(path).expanduser().resolve())
    doubts = Doubts()
    found = look_into(where, said, doubts)
    if found is None:
        raise doubts.error(where)
    task = said.task or _usual_task(found)
    _check_task(task, found, doubts)
    if said.headline is not None and said.headline not in (names := [v.name for v in found.variables]):
        doubts.say(f"the headline '{said.headline}' is none of {', '.join(names)}", f"--set headline={names[0]}")
    frames = _frames(task, found, said, doubts)
    gap = frames if said.gap is None else said.gap
    rungs = tuple(sorted(said.rungs)) or propose_rungs(found.grid, found.restriction)
    _check_rungs(rungs, found, said, doubts)
    periods = _periods(found, frames=frames, gap=gap, doubts=doubts)
    if doubts.facts:
        raise doubts.error(where)
    size, mtime = size_and_date(where)
    options = Options(
        path=where,
        size=size,
        mtime=mtime,
        content=digest_of_content(where),
        variables=found.read_as,
        dims=found.dims,
        leave_out_last=found.leave_out_last,
        crop=found.crop,
        frames=frames,
        gap=gap,
        periods=periods,
        turns=USUAL_TURNS,
    )
    return _entry(name, found, said, task, rungs, options)


def _usual_task(found: Found) -> Task:
    if any(variable.role != "both" for variable in found.variables):
        return "operator"
    return "forecast" if found.clock is not None and len(found.clock.steps) > 1 else "super_resolve"


def _check_task(task: Task, found: Found, doubts: Doubts) -> None:
    n_frames = 1 if found.clock is None else len(found.clock.steps)
    if task == "forecast" and n_frames < 2:
        doubts.say("it has no time, so there is nothing to forecast", "--task super_resolve")
    if task == "operator" and not {"input", "target"} <= {v.role for v in found.variables}:
        doubts.say("an operator needs to know what goes in and what comes out", "--variables a:input,u:target")
    if (found.n_samples or 0) < 3 and n_frames < 3:
        what = "one field" if max(found.n_samples or 1, n_frames) == 1 else "two fields"
        doubts.say(f"it holds {what}, which cannot be split into train, validation and test")


def _frames(task: Task, found: Found, said: Said, doubts: Doubts) -> int:
    """Frames of a sample: all that a sample has, or windows of a long series."""
    there = 1 if found.clock is None else len(found.clock.steps)
    least = said.frames_in + said.lead if task == "forecast" else 1
    if said.frames is not None and not least <= said.frames <= max(there, 1):
        doubts.say(f"samples of {said.frames} frames are asked for, of {least} to {there} possible", "--set frames=...")
    if said.frames is not None:
        return said.frames
    if found.n_samples is not None:
        if there < least:
            doubts.say(f"its samples have {there} frames, fewer than the {least} of a forecast", "--set frames_in=1")
        return there
    # Of a long series eight times what a forecast takes, so that few pairs are lost at the ends of windows.
    return least if task != "forecast" else max(least, min(8 * least, there // 80))


def propose_rungs(grid: Grid, how: Restriction) -> tuple[int, ...]:
    """The grid itself and about halves of it, down to 8 points, five at most; those that the restriction can reach."""
    rungs = [grid.rung]
    while len(rungs) < MOST_RUNGS:
        half = rungs[-1] / 2
        near = sorted(range(math.ceil(half * 0.75), int(half * 1.3) + 1), key=lambda r: abs(r - half - 0.25))
        below = next((r for r in near if r >= COARSEST and _reaches(grid, r, how)), None)
        if below is None:
            break
        rungs.append(below)
    return tuple(reversed(rungs))


def _reaches(grid: Grid, rung: int, how: Restriction) -> bool:
    """True where the restriction carries fields of this grid to that rung; asked of the restriction itself."""
    import torch

    try:
        coarse = grid.with_rung(rung)
        restrict(torch.zeros(grid.shape), coarse, how=how)
    except GridError:
        return False
    return True


def _check_rungs(rungs: Sequence[int], found: Found, said: Said, doubts: Doubts) -> None:
    shape = " x ".join(map(str, found.grid.shape))
    if not said.rungs and len(rungs) < 2:
        doubts.say(
            f"its {shape} points have no coarser rung under {found.restriction}",
            f"--set crop={','.join(str(n - n % 8) for n in found.grid.shape)} or --restriction conservative",
        )
    if beyond := [
        rung for rung in rungs if rung > found.grid.rung or not _reaches(found.grid, rung, found.restriction)
    ]:
        listed = ", ".join(map(str, beyond))
        doubts.say(f"rungs {listed} cannot be reached from its {shape} points under {found.restriction}", "--rungs ...")
    elif said.train_rung is not None and said.train_rung not in rungs:
        doubts.say(f"the train rung {said.train_rung} is none of the rungs {', '.join(map(str, rungs))}", "--rungs ...")


def _periods(found: Found, *, frames: int, gap: int, doubts: Doubts) -> int:
    """Into how many parts a series is cut: the most cycles of the splits' turns that leave each split a sample."""
    if found.n_samples is not None or found.clock is None or doubts.facts:
        return TURNS * CYCLES[0]
    for cycles in CYCLES:
        windows = by_time(found.clock.steps, frames=frames, gap=gap, periods=TURNS * cycles, turns=USUAL_TURNS)
        if all(windows.values()):
            return TURNS * cycles
    doubts.say(
        f"its series of {len(found.clock.steps)} frames is too short for samples of {frames} frames with gaps of "
        f"{gap} between the splits",
        "--set frames=... or --set gap=...",
    )
    return TURNS


def _entry(name: str, found: Found, said: Said, task: Task, rungs: tuple[int, ...], options: Options) -> DatasetEntry:
    time = None
    if found.clock is not None and len(found.clock.steps) > 1:
        time = TimeEntry(unit=found.clock.unit, step=found.clock.step, lead=said.lead * found.clock.step)
    tasks: list[Task] = [task]
    if task == "forecast":
        tasks.append("super_resolve")
    elif task == "super_resolve" and time is not None and options.frames >= said.frames_in + said.lead:
        tasks.append("forecast")
    grid = found.grid
    counts = {split: len(windows) for split, windows in pick(options, found.clock, found.n_samples).items()}
    kept = options.model_dump(mode="json") | {"path": options.path, "size": options.size, "mtime": options.mtime}
    kept["most"] = counts
    size = SizeEntry.model_validate(
        {
            "source": "own",
            "rungs": rungs,
            "train_rung": said.train_rung or _quarter(rungs, grid.rung, above_first=task == "super_resolve"),
            "selection": kept,
        }
    )
    source = Source.model_validate(
        {
            "display_name": name,
            "producer": found.producer,
            "terms": found.terms,
            "reader": "own",
            "cite": found.cite,
        }
    )
    return DatasetEntry(
        name=name,
        title=said.title or found.title or name,
        variables=found.variables,
        headline=said.headline or _first_target(found.variables),
        tasks=tuple(tasks),
        frames_in=said.frames_in,
        time=time,
        grid=GridEntry(
            extent=grid.extent,
            unit=grid.unit,
            centring=grid.centring,
            periodic=grid.periodic,
            kind=grid.kind,
            origin=grid.origin,
            points=grid.shape,
        ),
        restriction=found.restriction,
        sources={"own": source},
        sizes=dict.fromkeys(SIZES, size),
    )


def _first_target(variables: Sequence[Variable]) -> str:
    return next((v.name for v in variables if v.role != "input"), variables[0].name)


def _quarter(rungs: Sequence[int], finest: int, *, above_first: bool) -> int:
    """The rung nearest to a quarter of the finest; for super_resolve, whose input is the coarsest, not that one."""
    choice = rungs[1:] if above_first and len(rungs) > 1 else rungs
    return min(choice, key=lambda rung: abs(rung - finest / 4))


def require_free_name(name: str, cache: Path, catalog: Catalog) -> None:
    """Raises CatalogError for a name that the catalogue has, or whose folder in the cache is not an own set's."""
    if name in catalog.datasets:
        raise CatalogError(f"the catalogue has a dataset '{name}' already", do="choose another --name")
    folder = cache / name
    if folder.is_dir() and (others := sorted(p.name for p in folder.iterdir() if p.name not in ("own", KEPT, PARTIAL))):
        raise CatalogError(
            f"{folder} holds {', '.join(others[:3])}, which are none of a dataset of your own",
            do="choose another --name, or another --cache",
        )


def keep_own(entry: DatasetEntry, cache: Path, catalog: Catalog) -> Path:
    """Write <cache>/<name>/dataset.yaml, a catalogue of this one set; a former one of that name is replaced.

    Raises CatalogError as `require_free_name`, LadderError where the folder cannot be written.
    """
    require_free_name(entry.name, cache, catalog)
    path = cache / entry.name / KEPT
    fragment = {"datasets": {entry.name: entry.model_dump(mode="json", exclude={"name"}, exclude_unset=True)}}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(PARTIAL)
        part.write_text(yaml.safe_dump(fragment, sort_keys=False, allow_unicode=True), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise LadderError(
            f"{path} cannot be written: {error.strerror}", do="choose another folder with --cache"
        ) from None
    return path


def own_datasets(cache: Path) -> dict[str, DatasetEntry]:
    """The sets that were described in this cache, by name.  Raises CatalogError, with file and line."""
    found: dict[str, DatasetEntry] = {}
    for path in sorted(cache.glob(f"*/{KEPT}")):
        found.update(read_catalog(path).datasets)
    return found


def with_own(catalog: Catalog, cache: Path) -> Catalog:
    """The catalogue with the sets of this cache.  Raises CatalogError for a name that both have."""
    own = own_datasets(cache)
    for name in own:
        if name in catalog.datasets:
            raise CatalogError(
                f"'{name}' is a dataset of the catalogue and one of your own, in {cache / name / KEPT}",
                do="rename that folder, and the name in the file",
            )
    return Catalog(datasets={**catalog.datasets, **own}) if own else catalog


def own_change(entry: DatasetEntry) -> str | None:
    """One line where the file of an own set is not what was described any more; None where it is, or is no own set."""
    if "own" not in entry.sources:
        return None
    options = validated(Options, next(iter(entry.sizes.values())).selection, where=f"dataset '{entry.name}'")
    return what_changed(options)


def describe_words(entry: DatasetEntry) -> Mapping[str, str]:
    """What was understood, to be shown: grid, time, splits, rungs."""
    size = next(iter(entry.sizes.values()))
    options = validated(Options, size.selection, where=f"dataset '{entry.name}'")
    grid = entry.grid
    box = " x ".join(f"{n} points over {length:g}" for n, length in zip(grid.points, grid.extent, strict=True))
    around = ", ".join("periodic" if p else "with ends" for p in grid.periodic)
    words = {
        "variables": ", ".join(f"{v.name} ({v.units})" for v in entry.variables),
        "grid": f"{grid.kind}, {box} {grid.unit}, {grid.centring}s, {around}",
        "restriction": entry.restriction,
        "rungs": f"{', '.join(map(str, size.rungs))}, train rung {size.train_rung}",
        "task": ", ".join(entry.tasks),
        "splits": ", ".join(f"{options.most[split]} {split}" for split in SPLITS) + f", {options.frames} frames each",
    }
    if entry.time is not None:
        words["time"] = f"steps of {entry.time.step:g} {entry.time.unit}, lead {entry.time.lead:g}"
    return words
