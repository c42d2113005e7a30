"""`anchorbench list`: what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anchorbench.cli.show import RESULTS, Cache, Json, Results, cache_folder, print_json, say, stdout

listing = typer.Typer(
    help="Datasets, ladders, runs, models, methods, plots.", no_args_is_help=True, rich_markup_mode=None
)


def _table(
    title: str, rows: list[dict[str, Any]], *, as_json: bool, key: str, columns: tuple[str, ...] | None = None
) -> None:
    """The same rows as JSON or as a table, that with these columns (all without it)."""
    if as_json:
        print_json({"schema": 1, key: rows})
        return
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    shown = columns or (tuple(rows[0]) if rows else ())
    for i, name in enumerate(shown):
        table.add_column(name.replace("_", " "), overflow="fold", no_wrap=not i)  # what a row is of stays in one piece
    for row in rows:
        table.add_row(*[_cell(row[name]) for name in shown])
    stdout().print(table if rows else f"{title}: none")


def _cell(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else "" if value is None else str(value)
    return text or "-"


@listing.command("datasets")
def datasets(cache: Cache = None, as_json: Json = False) -> None:
    """The datasets, their sources and sizes, and which ladders are there."""
    from anchorbench.data.catalog_file import load_catalog
    from anchorbench.data.own import with_own

    folder = cache_folder(cache)
    rows = []
    for name, entry in with_own(load_catalog(), folder).datasets.items():
        for size in entry.sizes:
            chosen, described = entry.source("auto", size=size)
            values = entry.seen_from(chosen).size(size)
            there = sorted(p.parent.name for p in (folder / name).glob(f"*/{size}-*/ladder.json"))
            rows.append(
                {
                    "dataset": name,
                    "size": size,
                    "auto_source": chosen,
                    "called": described.display_name,
                    "sources": list(entry.sources),
                    "tasks": list(entry.seen_from(chosen).tasks),
                    "rungs": list(values.rungs),
                    "train_rung": values.train_rung,
                    "fetched": there,
                }
            )
    columns = ("dataset", "size", "auto_source", "called", "tasks", "rungs", "train_rung", "fetched")
    _table("datasets", rows, as_json=as_json, key="datasets", columns=columns)


@listing.command("ladder")
def ladder(
    name: Annotated[str, typer.Argument(help="Dataset.")],
    size: Annotated[str, typer.Option(help="tiny, small or full.")] = "small",
    source: Annotated[str, typer.Option(help="auto, or a source of the dataset.")] = "auto",
    settings: Annotated[list[str] | None, typer.Option("--set", help="As for fetch.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw three rungs and the spectra of all: a .png, .svg or .pdf.")
    ] = None,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """The rungs of a ladder that is there: grid, samples, energy removed, floor, provenance."""
    from anchorbench.config import parse_settings
    from anchorbench.data.catalog_file import load_catalog
    from anchorbench.data.fetch import request
    from anchorbench.data.ladder import describe, open_ladder
    from anchorbench.data.own import with_own

    folder = cache_folder(cache)
    catalog = with_own(load_catalog(), folder)
    wanted = request(catalog, name, size=size, source=source, settings=parse_settings(settings or []))
    opened = open_ladder(wanted.spec, folder)
    found = describe(opened)
    if plot is not None:
        from anchorbench.report.ladder_figure import draw_ladder

        for path in draw_ladder(opened, plot):
            say(f"wrote {path}")
    if as_json:
        print_json({"schema": 1, **found})
        return
    _table(f"{found['name']} ({found['restriction']})", found["rungs"], as_json=False, key="rungs")
    for key, value in found["about"].items():
        stdout().print(f"{key}: {value}", markup=False)


@listing.command("runs")
def runs(results: Results = RESULTS, as_json: Json = False) -> None:
    """The runs of a results folder, finished or not."""
    from anchorbench.runs.store import find_runs

    rows = [
        {
            "run": run.path.name,
            "kind": run.spec.kind,
            "dataset": run.spec.dataset,
            "size": run.spec.size,
            "method": run.spec.method,
            "model": run.spec.model,
            "seed": run.spec.seed,
            "train_rung": run.spec.train_rung,
            "state": "finished" if run.finished else "unfinished",
        }
        for run in find_runs(results)
    ]
    columns = ("run", "kind", "size", "train_rung", "state")
    _table(f"runs in {results}", rows, as_json=as_json, key="runs", columns=columns)


@listing.command("models")
def models(as_json: Json = False) -> None:
    """The models that can be named; a model of your own is path/to/file.py:Name."""
    from anchorbench.models.registry import BUILT_IN, model_names

    rows = [{"model": n, "what": BUILT_IN[n].what if n in BUILT_IN else "installed"} for n in model_names()]
    _table("models", rows, as_json=as_json, key="models")


@listing.command("methods")
def methods(as_json: Json = False) -> None:
    """The methods and references, with their tracks and tasks."""
    from anchorbench.methods.registry import METHODS, REFERENCES

    rows = [
        {"method": name, "kind": "method", "track": track, "tasks": list(tasks), "what": what}
        for name, (_, _, track, tasks, what) in METHODS.items()
    ] + [
        {"method": name, "kind": "reference", "track": None, "tasks": list(tasks), "what": what}
        for name, (tasks, what) in REFERENCES.items()
    ]
    _table("methods and references", rows, as_json=as_json, key="methods")


@listing.command("plots")
def plots(as_json: Json = False) -> None:
    """The plots of `anchorbench report --plot`."""
    from anchorbench.report.plots import PLOTS

    rows = [{"plot": plot.name, "shows": plot.describes} for plot in PLOTS.values()]
    _table("plots", rows, as_json=as_json, key="plots")
