"""The plots by name, and nothing heavy: matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from anchorbench.errors import ConfigError, RunError, unknown
from anchorbench.report.document import Curve, Document, Group, groups_of, heading

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot: its name, one line on what it shows, and what a group must hold for it."""

    name: str
    describes: str
    function: str
    needs: str | None = None

    def can_draw(self, group: Group, curves: Sequence[Curve]) -> bool:
        if self.needs is None:
            return bool(curves)
        held = group.get(self.needs)
        return isinstance(held, Mapping) and bool(held.get("truth"))

    def draw(self, group: Group, curves: Sequence[Curve]) -> Figure:
        """The figure of one group.  Raises RunError where the group does not hold what this plot needs."""
        if not self.can_draw(group, curves):
            raise RunError(
                f"plot '{self.name}' has nothing to show for {heading(group)}: no {self.needs or 'scores'} were kept",
                do="anchorbench evaluate makes them again",
            )
        figure: Figure = getattr(import_module("anchorbench.report.figures"), self.function)(group, curves)
        return figure


PLOTS = {
    plot.name: plot
    for plot in (
        Plot(
            "error-vs-res",
            "resolved error against points per axis with its slopes and verdicts, and skill in the unseen band",
            "error_vs_res",
        ),
        Plot("ratio", "the papers' ratio RMSE(ρ)/RMSE(ρ₀) of the total error on its own rung (no verdict)", "ratio"),
        Plot(
            "spectrum",
            "power spectra of truth, predictions and errors on the finest rung",
            "spectrum",
            "spectra",
        ),
        Plot("fields", "one sample's truth, prediction and error on three rungs", "fields", "fields"),
    )
}


def plot(name: str) -> Plot:
    """The plot of that name.  Raises ConfigError, with the nearest name."""
    if name not in PLOTS:
        raise ConfigError(unknown("plot", name, PLOTS))
    return PLOTS[name]


def draw_all(document: Document, names: Iterable[str] | None = None) -> dict[tuple[Any, str], Figure]:
    """Every figure that the document can fill, by (group id, plot).  names: which plots; all without it."""
    chosen = [plot(name) for name in (PLOTS if names is None else names)]
    return {
        (group.get("id"), one.name): one.draw(group, curves)
        for group, curves in groups_of(document)
        for one in chosen
        if one.can_draw(group, curves)
    }
