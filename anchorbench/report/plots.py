"""The plots by name, and nothing heavy: matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from anchorbench.errors import ConfigError, RunError, unknown
from anchorbench.report.document import Curve, Document, Group, groups_of, heading

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: What a figure can be written as; the Markdown shows the PNG.
FORMATS = ("png", "svg", "pdf")
#: Inches: one and two columns of a two-column paper.
PAPERS = {"single": 3.5, "double": 7.2}


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot: its name, one line on what it shows, and what a group must hold for it.

    module: of the report, where its function is.  tests: of `anchorbench evaluate --test`, any of which fills it.
    """

    name: str
    describes: str
    function: str
    needs: str | None = None
    module: str = "figures"
    tests: tuple[str, ...] = ()

    def can_draw(self, group: Group, curves: Sequence[Curve]) -> bool:
        if self.name == "matrix":
            return bool(group.get("matrix"))
        if self.name == "cost":
            return any((curve.get("cost") or {}).get("flops") for curve in curves)
        if self.name == "selection":
            return bool(group.get("selection"))
        if self.tests:
            return any((group.get("probes") or {}).get(test) for test in self.tests)
        if self.needs is None:
            return bool(curves)
        held = group.get(self.needs)
        return isinstance(held, Mapping) and bool(held.get("truth"))

    def draw(self, group: Group, curves: Sequence[Curve]) -> Figure:
        """The figure of one group that `can_draw` allows."""
        figure: Figure = getattr(import_module(f"anchorbench.report.{self.module}"), self.function)(group, curves)
        return figure

    def lacking(self, groups: Sequence[Group]) -> RunError:
        """Why none of the groups can fill it, and the command that makes what it shows."""
        shown = "; ".join(heading(group) for group in groups) or "no group"
        what = f"plot '{self.name}' has nothing to show for {shown}: "
        probes: Mapping[str, Any] = next((group["probes"] for group in groups if group.get("probes")), {})
        runs = " ".join(probes.get("runs") or ["RUN..."])
        if self.name == "matrix":
            return RunError(
                f"{what}every run was trained at one rung",
                do="anchorbench train with --with-references or another --train-rung, then on those runs\n"
                "       anchorbench evaluate RUN... --test matrix",
            )
        if self.tests:
            which = " or ".join(self.tests)
            tests = " ".join(f"--test {test}" for test in self.tests)
            return RunError(f"{what}no run was put to the test {which}", do=f"anchorbench evaluate {runs} {tests}")
        if self.name == "selection":
            return RunError(f"{what}no frequencies were chosen", do="anchorbench train --task represent --method fresh")
        if self.name == "cost":
            return RunError(f"{what}no training was counted", do="anchorbench train --method baseline")
        return RunError(
            f"{what}no {self.needs or 'scores'} were kept",
            do="choose another --plot; `anchorbench list plots` says what each shows",
        )


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
        Plot(
            "residual-spectrum",
            "spectrum of the error over the truth's on every rung",
            "residual_spectrum",
            "spectra",
            module="residual",
        ),
        Plot(
            "cost",
            "FLOPs of training, data and forecasts beside the error they bought, and the solver at equal error",
            "cost",
            module="cost_figure",
        ),
        Plot(
            "selection",
            "distance of untrained spectra by setting, what training made of each, and the spectra",
            "fresh",
            module="fresh",
        ),
        Plot("fields", "one sample's truth, prediction and error on three rungs", "fields", "fields"),
        *(
            Plot(f"rain-{name}", describes, function, "precipitation", module="precipitation_figures")
            for name, describes, function in (
                ("frames", "refined rain hour by hour: input, truth, mean and members", "frames"),
                ("spectra", "refined rain: power of a member and of the mean over the truth's", "member_spectra"),
                ("ranks", "refined rain: how many members lie below the truth", "ranks"),
                ("reliability", "refined rain: how often what so many members say comes true", "reliability"),
            )
        ),
        Plot(
            "matrix",
            "one model trained at each rung, on every rung: total error and the band of its own train rung",
            "matrix",
            module="matrix",
            tests=("matrix",),
        ),
        Plot(
            "controlled",
            "error where only the grid changes (information held), and where only the information does (grid held)",
            "controlled",
            module="controlled",
            tests=("resolution", "information"),
        ),
        Plot(
            "response",
            "gain and phase of each wave on each rung, beside the solver's",
            "response",
            module="response",
            tests=("response",),
        ),
        Plot(
            "lead-time",
            "error of forecasts fed back against lead time on each rung, and the slope at each lead",
            "lead_time",
            module="lead_time",
            tests=("rollout",),
        ),
        Plot(
            "over-training",
            "error on each rung at every kept checkpoint of the training, and the slope at each",
            "over_training",
            module="over_training",
            tests=("training",),
        ),
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
    groups = list(_with_matrices(document))
    if names is None:
        chosen = list(PLOTS.values())
    else:
        chosen = [plot(name) for name in names]
        for one in chosen:
            if not any(one.can_draw(group, curves) for group, curves in groups):
                raise one.lacking([group for group, _ in groups])
    return {
        (group.get("id"), one.name): one.draw(group, curves)
        for group, curves in groups
        for one in chosen
        if one.can_draw(group, curves)
    }


def _with_matrices(document: Document) -> Iterator[tuple[Group, list[Curve]]]:
    """Each group, and in it the matrices whose coarsest train rung it holds: their rows lie in several groups."""
    groups = list(groups_of(document))
    held = any((group.get("probes") or {}).get("matrix") for group, _ in groups)
    found = import_module("anchorbench.report.matrix").gathered(group for group, _ in groups) if held else {}
    for group, curves in groups:
        yield {**group, "matrix": found.get(group.get("id"))}, curves
