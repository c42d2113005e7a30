"""`make_report`: from a results folder to figures, tables, one HTML page, one Markdown, and the JSON document."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anchorbench.errors import ConfigError, RunError, unknown
from anchorbench.report.collect import collect
from anchorbench.report.document import jsonable
from anchorbench.report.forms import known_forms, write_forms
from anchorbench.report.leaderboard import Board, boards, write_boards
from anchorbench.report.merge import merged
from anchorbench.report.page import write_page, write_results
from anchorbench.report.plots import FORMATS, PAPERS, PLOTS, draw_all, plot
from anchorbench.report.precipitation_axis import along_axis, axis_of
from anchorbench.report.precipitation_event import write_events
from anchorbench.report.precipitation_tables import write_tables
from anchorbench.report.style import on_paper
from anchorbench.report.tables import terminal
from anchorbench.runs.run_card import read_card, run_card, write_card

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Report:
    """A report that lies on disk, and its document."""

    document: dict[str, Any]
    paths: tuple[Path, ...]

    @property
    def json(self) -> Any:
        """The document with JSON's types only: NaN is null, arrays of fields are left out."""
        return jsonable(self.document)

    def terminal(self) -> list[RenderableType]:
        return terminal(self.document)


def make_report(
    results: Path | Sequence[Path],
    *,
    out: Path,
    plots: Sequence[str] | None = None,
    formats: Sequence[str] | None = None,
    tables: Sequence[str] | None = None,
    paper: str = "single",
    dataset: str | None = None,
    delta: float = 0.1,
    axis: str | None = None,
) -> Report:
    """Collect the finished runs of a folder, or of several as one, judge them, draw and write.

    plots: names of `plots.PLOTS`; None draws all.  formats: of `plots.FORMATS`, PNG always; None writes all.
    tables: of `forms.TABLES`, beside results.parquet and report.json, which are always written; None writes all.
    paper: of `plots.PAPERS`, the width of the figures.  delta: slopes within ±delta are anchored.
    axis: of refined rain, along which factors `error-vs-res` is drawn: space, time or both.
    Raises ConfigError for an unknown name of any, RunError where there is no finished run.
    """
    for kind in formats or ():
        if kind not in FORMATS:
            raise ConfigError(unknown("format", kind, FORMATS))
    if paper not in PAPERS:
        raise ConfigError(unknown("paper", paper, PAPERS))
    known_forms(tables)
    along = None if axis is None else axis_of(axis)
    for name in plots or ():
        plot(name)
    document = collect(results, delta=delta, dataset=dataset)
    with on_paper(paper):
        figures = draw_all(document, plots)
        if along is not None:
            figures = along_axis(figures, document, along)
    _remove_figures_of_a_former_report(out)
    pages = write_page(document, figures, out, formats=formats or FORMATS)
    of_rain = plots is None or any(name.startswith("rain-") for name in plots)
    rain = (*write_tables(document, out), *write_events(document, out)) if of_rain else ()
    return Report(document, (*pages, *write_results(document, out), *write_forms(document, out, tables), *rain))


def make_leaderboard(
    folders: Sequence[Path], *, out: Path, cards: Sequence[Path] = (), dataset: str | None = None, delta: float = 0.1
) -> tuple[list[Board], list[Path]]:
    """Rank the finished runs of all folders, and cards that were sent; leaderboard.html, .md and .csv in `out`.

    Raises RunError where the folders hold no finished run and no card was given, ConfigError for what is no card.
    """
    sent = [card for card in map(read_card, cards) if dataset in (None, card.spec.dataset)]
    document = collect(folders, delta=delta, dataset=dataset) if folders or not sent else {}
    found = boards(document, sent)
    return found, write_boards(found, out, words=document.get("words") or ())


def write_cards(results: Path | Sequence[Path], *, out: Path, dataset: str | None = None) -> list[Path]:
    """A card of each finished run that was trained, `<run>.json` in `out`.  Raises RunError where there is none."""
    runs, _ = merged([results] if isinstance(results, Path) else results, dataset=dataset)
    mine = [run for run in runs if run.finished and run.spec.kind == "method"]
    if not mine:
        raise RunError(f"there is no finished run in {results}", do="anchorbench train --method baseline")
    for run in mine:
        write_card(run_card(run), out / f"{run.path.name}.json")
    return [out / f"{run.path.name}.json" for run in mine]


def _remove_figures_of_a_former_report(out: Path) -> None:
    """The figures that the Markdown there shows: one of another plot or group would stand beside the new ones."""
    page = out / "report.md"
    shown = re.findall(r"(?<!\\)\]\(figures/([a-z0-9-]+)\.png\)", page.read_text()) if page.exists() else []
    for stem in shown:
        if stem.endswith(tuple(f"-{name}" for name in PLOTS)):
            for kind in FORMATS:
                (out / "figures" / f"{stem}.{kind}").unlink(missing_ok=True)
