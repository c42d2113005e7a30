"""`anchorbench fetch`: make, download, verify or remove ladders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anchorbench.cli.fetch_shown import Traffic, about_ladder, show_plan
from anchorbench.cli.show import Cache, Json, bars, cache_folder, print_error, print_json, say

if TYPE_CHECKING:
    from anchorbench.data.catalog import Catalog, DatasetEntry
    from anchorbench.data.fetch import Request
    from anchorbench.data.ladder import Ladder
    from anchorbench.errors import AnchorbenchError


def fetch(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Datasets; all without it.")] = None,
    size: Annotated[str, typer.Option(help="tiny, small or full.")] = "small",
    source: Annotated[
        str,
        typer.Option(
            help="auto, public, sample, generated, or the name of a source; auto is the catalogue's choice for the "
            "size, and none takes the place of another."
        ),
    ] = "auto",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Override one option: rungs=16,32,64 (or data.rungs=...), generator.viscosity=0.002, or an option of "
            "the source's reader: year=2023.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Take less: the reader's own `limit` where it has one (files, subjects, events), else at most so many "
            "samples a split. It makes another ladder: the numbers change.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be downloaded and made, and its licence.")
    ] = False,
    verify: Annotated[bool, typer.Option(help="Hash every file of the ladders and downloads that are there.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove these ladders, with their array caches.")] = False,
    downloads: Annotated[
        bool, typer.Option("--downloads", help="With --remove: also the downloads that no ladder left is made of.")
    ] = False,
    force: Annotated[bool, typer.Option(help="Make it again; the good copy stays until the new one is whole.")] = False,
    offline: Annotated[bool, typer.Option(envvar="ANCHORBENCH_OFFLINE", help="Touch no network.")] = False,
    jobs: Annotated[
        int, typer.Option(min=1, help="Downloads at once. Solvers run one after another, with all threads.")
    ] = 4,
    device: Annotated[str, typer.Option(help="Where solvers run: auto, cpu or cuda.")] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads of a solver [default: OMP_NUM_THREADS, else the cores that are free]."),
    ] = None,
    own: Annotated[
        str | None, typer.Option("--from", help="Fields of your own: a NetCDF file or Zarr store with CF coordinates.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="With --from: what the dataset is called from now on.")] = None,
    variables: Annotated[
        str | None, typer.Option(help="With --from: u,v, the first in the main curve; NAME:input, NAME:target.")
    ] = None,
    restriction: Annotated[
        str | None, typer.Option(help="With --from: spectral, block_mean, conservative or stride.")
    ] = None,
    rungs: Annotated[str | None, typer.Option(help="With --from: 16,32,64 [default: its grid and halves].")] = None,
    train_rung: Annotated[int | None, typer.Option(help="With --from: finest rung of zero-shot training.")] = None,
    task: Annotated[
        str | None, typer.Option(help="With --from: forecast, operator, super_resolve or represent.")
    ] = None,
    periodic: Annotated[str | None, typer.Option(help="With --from: yes, no, or one an axis, slowest first.")] = None,
    extent: Annotated[
        str | None, typer.Option(help="With --from: length of the box, or one an axis, slowest first.")
    ] = None,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Make, download, verify or remove the ladders of datasets.

    Downloads go on where they broke off; what is there is not fetched again.
    """
    from anchorbench.config import merged, parse_settings
    from anchorbench.data.catalog_file import load_catalog
    from anchorbench.data.own import with_own

    words = {
        "variables": variables,
        "restriction": restriction,
        "rungs": rungs,
        "train_rung": train_rung,
        "task": task,
        "periodic": periodic,
        "extent": extent,
    }
    words = {word: value for word, value in words.items() if value is not None}
    _refuse_contradictions(
        {"--verify": verify, "--remove": remove, "--force": force},
        dry_run=dry_run,
        downloads=downloads,
        own=own,
        names=names or [],
        source=source,
        own_words=[f"--{word.replace('_', '-')}" for word in {**({"name": 0} if name else {}), **words}],
    )
    folder = cache_folder(cache)
    tree = parse_settings(settings or [])
    changes = merged({k: v for k, v in tree.items() if k != "data"}, tree.get("data", {}))
    if limit is not None:
        changes["limit"] = limit
    catalog = with_own(load_catalog(), folder)
    described: DatasetEntry | None = None
    if own is not None:
        described, changes = _describe(own, name, words, changes, load_catalog())
        catalog = catalog.model_copy(update={"datasets": {**catalog.datasets, described.name: described}})
        names = [described.name]
    wanted = _requests(catalog, names or [], size=size, source=source, changes=changes)
    if dry_run:
        show_plan(wanted, folder, force=force, device=device, threads=threads, as_json=as_json)
        return
    if remove:
        _remove(wanted, folder, named=bool(names), downloads=downloads, as_json=as_json)
        return
    if verify:
        made = _verify(wanted, folder, named=bool(names))
    else:
        made = _make(wanted, folder, jobs=jobs, force=force, offline=offline, device=device, threads=threads)
        if described is not None:
            from anchorbench.data.own import keep_own

            keep_own(described, folder, load_catalog())
    for one, ladder in made:
        if not isinstance(ladder, Exception):
            say(f"{one.entry.name}: rungs {', '.join(map(str, ladder.rungs))} in {ladder.folder}")
    failed = [(one, error) for one, error in made if isinstance(error, Exception)]
    if as_json:
        ladders = [about_ladder(one, ladder) for one, ladder in made if not isinstance(ladder, Exception)]
        told = [{"dataset": one.entry.name, "error": error.what} for one, error in failed]
        print_json({"schema": 1, "ladders": ladders, "failed": told})
    if failed:
        for one, error in failed:
            print_error(f"{one.entry.name}: {error}")
        raise typer.Exit(2)


def _refuse_contradictions(
    actions: dict[str, bool],
    *,
    dry_run: bool,
    downloads: bool,
    own: str | None,
    names: list[str],
    source: str,
    own_words: list[str],
) -> None:
    """Raises ConfigError for options that do not go together."""
    from anchorbench.errors import ConfigError

    does = {
        "--verify": "looks at the ladders that are there",
        "--remove": "removes them",
        "--force": "makes them anew",
        "--dry-run": "only shows what would be made",
    }
    chosen = [action for action, on in actions.items() if on]
    if dry_run and chosen != ["--force"]:
        chosen.append("--dry-run")
    if len(chosen) > 1:
        raise ConfigError(", ".join(f"{action} {does[action]}" for action in chosen[:2]), do="choose one")
    if downloads and not actions["--remove"]:
        raise ConfigError("--downloads says what --remove removes", do="give --remove too")
    if own is None and own_words:
        raise ConfigError(f"{own_words[0]} describes a file of your own", do="name the file: --from my.nc")
    if own is not None:
        if "--name" not in own_words:
            raise ConfigError("a dataset of your own needs a name", do="for example --name mine")
        if names or source not in ("auto", "own") or actions["--verify"] or actions["--remove"]:
            raise ConfigError(
                "--from describes one dataset and makes its ladder: without NAME, --source, --verify and --remove",
                do="afterwards it is fetched, verified and removed by its name",
            )


def _describe(
    path: str, name: str | None, words: dict[str, Any], changes: dict[str, Any], catalogue: Catalog
) -> tuple[DatasetEntry, dict[str, Any]]:
    """A file of one's own as a dataset, and the settings that do not describe it."""
    from anchorbench.data.own import describe_own, describe_words
    from anchorbench.data.own_words import Said
    from anchorbench.errors import CatalogError

    if name in catalogue.datasets:
        raise CatalogError(f"the catalogue has a dataset '{name}' already", do="choose another --name")
    for word in ("periodic", "extent"):
        if word in words:
            parts = [part.strip().lower() for part in words[word].split(",")]
            words[word] = [{"yes": True, "no": False}.get(part, part) for part in parts]
    of_file = {key: value for key, value in changes.items() if key in Said.model_fields}
    entry = describe_own(path, name=str(name), **{**of_file, **words})
    for what, understood in describe_words(entry).items():
        say(f"{name}: {what}: {understood}")
    return entry, {key: value for key, value in changes.items() if key not in of_file}


def _requests(catalog: Catalog, names: list[str], *, size: str, source: str, changes: dict[str, Any]) -> list[Request]:
    """What these words mean; without names all that has the size and the source.  Raises AnchorbenchError."""
    from anchorbench.data.catalog import kind_of
    from anchorbench.data.fetch import request

    chosen = list(dict.fromkeys(names))
    if not names:
        has_size = [entry for entry in catalog.datasets.values() if size in entry.sizes]
        chosen = [
            entry.name
            for entry in has_size
            if source == "auto" or any(source in (other, kind_of(other)) for other in entry.sources)
        ]
        if others := [each for each in catalog.names if each not in chosen]:
            if not chosen:  # none has it: the first says so
                chosen = others[:1]
            else:
                say(f"not in size {size} from source {source}: {', '.join(others)}")
    return [request(catalog, each, size=size, source=source, settings=changes) for each in chosen]


def _make(
    wanted: list[Request], folder: Path, *, jobs: int, force: bool, offline: bool, device: str, threads: int | None
) -> list[tuple[Request, Ladder | AnchorbenchError]]:
    """Each ladder, or why there is none; where one alone was wanted that is raised."""
    from anchorbench.data.at_once import jobs_at_once
    from anchorbench.data.fetch import announce
    from anchorbench.data.fetch_many import fetch_many
    from anchorbench.data.own import own_change
    from anchorbench.errors import AnchorbenchError
    from anchorbench.runs.session import choose_device, set_threads

    where = str(choose_device(device))
    set_threads(threads)
    for one in wanted:
        if (line := announce(one, None if force else folder, device=where)) is not None:
            say(line)
        elif (line := own_change(one.entry)) is not None:
            say(f"{line}; the ladder of what it was is there, --from describes it anew")
        elif one.by_catalogue:
            say(f"{one.entry.name}: {one.display_name} (source {one.source}, the catalogue's choice) is there")
    with bars() as tell, jobs_at_once(jobs):
        traffic = Traffic(tell)
        ladders = fetch_many(
            wanted,
            folder,
            jobs=jobs,
            force=force,
            offline=offline,
            device=where,
            progress=lambda one, stage, share: traffic.share(one.entry.name, stage, share),
            watch=lambda one, *news: traffic.bytes(one.entry.name, *news),
        )
    if len(ladders) == 1 and isinstance(ladders[0], AnchorbenchError):
        raise ladders[0]
    return list(zip(wanted, ladders, strict=True))


def _verify(wanted: list[Request], folder: Path, *, named: bool) -> list[tuple[Request, Ladder | AnchorbenchError]]:
    """Each ladder that is there, or what is wrong with it; where one alone was wanted that is raised."""
    from anchorbench.data.cache import is_there, verify
    from anchorbench.errors import AnchorbenchError

    made: list[tuple[Request, Ladder | AnchorbenchError]] = []
    for one in wanted:
        if not named and not is_there(one, folder):
            say(f"{one.entry.name}: nothing there to verify")
            continue
        try:
            ladder, n = verify(one, folder)
        except AnchorbenchError as error:
            if len(wanted) == 1:
                raise
            made.append((one, error))
            continue
        besides = f", and so {'is' if n == 1 else 'are'} {n} downloaded file{'s' if n > 1 else ''}" if n else ""
        say(f"{one.spec.name}: every file is as it was written{besides}")
        made.append((one, ladder))
    return made


def _remove(wanted: list[Request], folder: Path, *, named: bool, downloads: bool, as_json: bool) -> None:
    from anchorbench.data.cache import is_there, remove_downloads, remove_ladder
    from anchorbench.errors import AnchorbenchError

    gone, used, kept, failed = [], set(), None, []
    for one in wanted:
        if not named and not is_there(one, folder):
            continue
        try:
            ladder, mine = remove_ladder(one, folder)
        except AnchorbenchError as error:
            if len(wanted) == 1:
                raise
            failed.append(error)
            continue
        gone.append(ladder)
        used |= mine
    if downloads:
        others, kept = remove_downloads(used, folder)
        gone += others
    for each in gone:
        say(f"removed {each.what}: {each.bytes / 1e6:.1f} MB")
    if kept is not None:
        say(kept)
    say(f"{len(gone)} removed, {sum(each.bytes for each in gone) / 1e6:.1f} MB in all")
    if as_json:
        print_json({"schema": 1, "removed": [vars(each) for each in gone], "kept": kept})
    for trouble in failed:
        print_error(str(trouble))
    if failed:
        raise typer.Exit(2)
