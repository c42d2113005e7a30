"""`anchorbench fetch`: make or download ladders."""

from __future__ import annotations

from typing import Annotated

import typer

from anchorbench.cli.show import Cache, Json, Tell, bars, cache_folder, print_json, say


def fetch(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Datasets; all without it.")] = None,
    size: Annotated[str, typer.Option(help="tiny, small or full.")] = "small",
    source: Annotated[str, typer.Option(help="auto, sample or generated; auto is the catalogue's choice.")] = "auto",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Override one option: rungs=16,32,64 (or data.rungs=...), generator.viscosity=0.002."
        ),
    ] = None,
    force: Annotated[bool, typer.Option(help="Make it again; the good copy stays until the new one is whole.")] = False,
    verify: Annotated[bool, typer.Option(help="Hash every file of the ladders that are there.")] = False,
    offline: Annotated[bool, typer.Option(envvar="ANCHORBENCH_OFFLINE", help="Touch no network.")] = False,
    device: Annotated[str, typer.Option(help="Where solvers run: auto, cpu or cuda.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of a solver [default: the cores that are free].")
    ] = None,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Make, download or verify the ladders of datasets."""
    from anchorbench.config import merged, parse_settings
    from anchorbench.data.catalog import load_catalog
    from anchorbench.data.fetch import announce, request
    from anchorbench.data.fetch import fetch as fetch_ladder
    from anchorbench.data.ladder import open_ladder
    from anchorbench.errors import ConfigError
    from anchorbench.runs.session import choose_device, set_threads

    if verify and force:
        raise ConfigError("--verify looks at the ladders that are there, --force makes them anew", do="choose one")
    catalog = load_catalog()
    folder = cache_folder(cache)
    tree = parse_settings(settings or [])
    named_as_for_train = tree.pop("data", {})
    changes = merged(tree, named_as_for_train)
    wanted = [request(catalog, n, size=size, source=source, settings=changes) for n in (names or catalog.names)]
    where = choose_device(device)
    set_threads(threads)
    made = []
    for one in wanted:
        if verify:
            ladder = open_ladder(one.spec, folder)
            ladder.verify()
            say(f"{one.spec.name}: every file is as it was written")
        else:
            if (line := announce(one, None if force else folder, device=str(where))) is not None:
                say(line)
            with bars() as tell:

                def show(stage: str, share: float, name: str = one.entry.name, tell: Tell = tell) -> None:
                    tell(f"{name}: {stage}", "", share)

                ladder = fetch_ladder(one, folder, force=force, offline=offline, device=str(where), progress=show)
        made.append(
            {
                "dataset": one.entry.name,
                "display_name": one.display_name,
                "source": one.source,
                "size": size,
                "rungs": list(ladder.rungs),
                "restriction": ladder.restriction,
                "folder": str(ladder.folder),
                "digest": ladder.spec.digest,
                "terms": ladder.about["attrs"]["terms"],
            }
        )
        say(f"{one.entry.name}: rungs {', '.join(map(str, ladder.rungs))} in {ladder.folder}")
    if as_json:
        print_json({"schema": 1, "ladders": made})
