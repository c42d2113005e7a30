"""`make_report`: from a results folder to figures, tables, one HTML page, one Markdown, and the JSON document."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anchorbench.errors import ConfigError, unknown
from anchorbench.report.collect import collect
from anchorbench.report.document import jsonable
from anchorbench.report.page import write_page, write_results
from anchorbench.report.plots import FORMATS, PLOTS, draw_all, plot
from anchorbench.report.tables import terminal

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
    results: Path,
    *,
    out: Path,
    plots: Sequence[str] | None = None,
    formats: Sequence[str] | None = None,
    dataset: str | None = None,
    delta: float = 0.1,
) -> Report:
    """Collect the finished runs of a folder, judge them, draw and write.

    plots: names of `plots.PLOTS`; None draws all.  formats: of `plots.FORMATS`, PNG always; None writes all.
    delta: slopes within ±delta are anchored.
    Raises ConfigError for an unknown plot or format, RunError where there is no finished run.
    """
    for kind in formats or ():
        if kind not in FORMATS:
            raise ConfigError(unknown("format", kind, FORMATS))
    for name in plots or ():
        plot(name)
    document = collect(results, delta=delta, dataset=dataset)
    figures = draw_all(document, plots)
    _remove_figures_of_a_former_report(out)
    pages = write_page(document, figures, out, formats=formats or FORMATS)
    tables = write_results(document, out)
    return Report(document, (*pages, *tables))


def _remove_figures_of_a_former_report(out: Path) -> None:
    """The figures that the Markdown there shows: one of another plot or group would stand beside the new ones."""
    page = out / "report.md"
    shown = re.findall(r"(?<!\\)\]\(figures/([a-z0-9-]+)\.png\)", page.read_text()) if page.exists() else []
    for stem in shown:
        if stem.endswith(tuple(f"-{name}" for name in PLOTS)):
            for kind in FORMATS:
                (out / "figures" / f"{stem}.{kind}").unlink(missing_ok=True)
