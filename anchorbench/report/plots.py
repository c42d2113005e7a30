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
        """The figure of one group that `can_draw` allows."""
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
    """Every figure that the document can fill, by (group id, plot).  names: which plots; all without it.

    Raises RunError where no group can fill a plot that was asked for by name.
    """
    groups = list(groups_of(document))
    if names is None:
        chosen = list(PLOTS.values())
    else:
        chosen = [plot(name) for name in names]
        for one in chosen:
            if not any(one.can_draw(group, curves) for group, curves in groups):
                shown = "; ".join(heading(group) for group, _ in groups) or "no group"
                raise RunError(
                    f"plot '{one.name}' has nothing to show for {shown}: no {one.needs or 'scores'} were kept",
                    do="choose another --plot; `anchorbench list plots` says what each shows",
                )
    return {
        (group.get("id"), one.name): one.draw(group, curves)
        for group, curves in groups
        for one in chosen
        if one.can_draw(group, curves)
    }
