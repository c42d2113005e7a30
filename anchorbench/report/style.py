"""How the figures look: one palette that colour-blind readers tell apart, markers and dashes for a grey print, and
sizes for a column of a paper.

Colours: Okabe and Ito (2008), without the yellow (too pale on white) and with black kept for the truth.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from anchorbench.report.document import Curve, finite, is_method, label_of
from anchorbench.report.plots import FORMATS, PAPERS

ROW = 58  # characters of a legend row
COLUMN = PAPERS["single"]  # inches
SMALL = 6.3  # points: the smallest text on a figure

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "d")
DASHES: tuple[Any, ...] = ("-", (0, (6, 1.5)), (0, (4, 1, 1, 1)), (0, (2.5, 1)), (0, (7, 1, 1, 1, 1, 1)), (0, (1, 0.8)))

_width: ContextVar[float] = ContextVar("width of a figure, inches", default=COLUMN)

# A method keeps its colour from figure to figure where it can: these have a slot of their own.
USUAL = ("baseline", "frl", "multires", "pinn", "bandlimited", "hybrid", "hinote", "diffusion", "fresh")

RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.2,
    "figure.facecolor": "white",
    "figure.dpi": 200,
    "pdf.fonttype": 42,  # journals ask for TrueType in a PDF
    "svg.fonttype": "path",
    "svg.hashsalt": "anchorbench",  # the same figure gives the same file
}


@dataclass(frozen=True, slots=True)
class Style:
    colour: str
    marker: str | None
    dashes: Any
    width: float = 1.2
    joined: bool = True

    def handle(self, *, hollow: bool = False) -> Line2D:
        """What the legend shows for it."""
        return Line2D([], [], **self.line(), **self.points(hollow=hollow))

    def line(self) -> dict[str, Any]:
        return {"color": self.colour, "linestyle": self.dashes if self.joined else "none", "linewidth": self.width}

    def points(self, *, hollow: bool) -> dict[str, Any]:
        return {
            "marker": self.marker or "none",
            "markerfacecolor": "white" if hollow else self.colour,
            "markeredgecolor": self.colour,
            "markeredgewidth": 1.0,
            "markersize": 6.5 if self.marker == "*" else 4.2,
        }


REFERENCES = {
    "persistence": Style("0.45", None, (0, (5, 2)), 1.0),
    "coarse_then_upsample": Style("0.55", None, (0, (1, 1.2)), 0.9),
    "interpolate": Style("0.45", None, (0, (5, 1.5, 1, 1.5)), 1.0),
    "oracle_lowpass": Style("0.6", "+", (0, (2, 2)), 0.9),
    "bilinear": Style("0.7", "1", (0, (1, 3)), 0.9),
    "bicubic": Style("0.6", "|", (0, (3, 3)), 0.9),
    "fourier": Style("0.35", "2", (0, (6, 3)), 0.9),
    "solver": Style("0.25", "x", (0, (3, 1, 1, 1)), 1.1),
    "native": Style("black", "*", "none", joined=False),  # one model a rung: no line joins them
}
OTHER_REFERENCE = Style("0.6", "|", (0, (3, 3)), 0.9)


def styles(curves: Sequence[Curve]) -> dict[str, Style]:
    """A style for each curve, by its label; the first row of a method keeps its usual slot, others take a free one."""
    found: dict[str, Style] = {}
    slots: dict[str, int] = {}
    methods = {label_of(curve): str(curve.get("method")) for curve in curves if is_method(curve)}
    for label, name in methods.items():
        if name in USUAL and USUAL.index(name) not in slots.values():
            slots[label] = USUAL.index(name)
    for label, name in methods.items():
        if label not in slots:
            usual = USUAL.index(name) if name in USUAL else 0
            slots[label] = next((s for n in range(36) if (s := (usual + n) % 36) not in slots.values()), usual)
    for curve in curves:
        label = label_of(curve)
        if not is_method(curve):
            found[label] = REFERENCES.get(str(curve.get("method")), OTHER_REFERENCE)
        else:
            slot = slots[label]
            found[label] = Style(COLOURS[slot % 6], MARKERS[slot % 12], DASHES[(slot + slot // 6) % 6])
    return found


@contextmanager
def look() -> Iterator[None]:
    """Our settings of matplotlib while a figure is made or saved; the caller's come back after."""
    with mpl.rc_context(RC):
        yield


@contextmanager
def on_paper(paper: str) -> Iterator[None]:
    """Figures drawn here are as wide as a paper's one or two columns: a name of `plots.PAPERS`."""
    before = _width.set(PAPERS[paper])
    try:
        yield
    finally:
        _width.reset(before)


@dataclass(slots=True)
class Key:
    """The rows of a legend under the panels, and the notes under it."""

    rows: list[tuple[Any, str]]
    notes: list[str]

    def height(self) -> float:
        """Inches."""
        more = sum(text.count("\n") for _, text in self.rows)
        notes = sum(note.count("\n") + 1 for note in self.notes)
        return 0.119 * len(self.rows) + 0.116 * more + 0.1 * notes + 0.16


def sheet(
    title: str,
    heights: Sequence[float],
    key: Key,
    *,
    top: float = 0.0,
    room: float = 0.0,
    width: float | None = None,
) -> tuple[Figure, list[Axes]]:
    """A figure with panels one above the other on a common x axis, its title above and its key below.

    heights: of the panels, top: of the room for a second x axis above the first, and room: of what is left free
    between the last panel and the key, in inches.  width: of the figure; without it that of the paper (`on_paper`).
    """
    width = width or _width.get()
    title = textwrap.fill(title, int(width * 15.5))
    key.notes[:] = [textwrap.fill(note, int(width * 23)) for note in key.notes]
    left, right, gap, below = 0.62, 0.08, 0.1, 0.36
    above = 0.1 + 0.135 * (title.count("\n") + 1) + top
    total = above + sum(heights) + gap * (len(heights) - 1) + below + room + key.height()
    figure = Figure(figsize=(width, total))
    axes: list[Axes] = []
    edge = total - above
    for height in heights:
        box = (left / width, (edge - height) / total, (width - left - right) / width, height / total)
        axes.append(figure.add_axes(box, sharex=axes[0] if axes else None))
        edge -= height + gap
    for ax in axes:
        ax.yaxis.set_label_coords(-0.33 / (width - left - right), 0.5)  # in line with each other, whatever the ticks
        ax.tick_params(labelbottom=ax is axes[-1])
    figure.text(
        0.06 / width, 1 - 0.05 / total, title, va="top", size=8, weight="bold", parse_math=False, linespacing=1.15
    )
    _draw_key(figure, key, edge + gap - below - room)
    return figure, axes


def _draw_key(figure: Figure, key: Key, y: float) -> None:
    width, total = figure.get_size_inches()
    if key.rows:
        # The texts are set afterwards: matplotlib drops a label with a leading underscore, and reads $ as mathematics.
        legend = figure.legend(
            [handle for handle, _ in key.rows],
            [" "] * len(key.rows),
            loc="upper left",
            bbox_to_anchor=(0.04 / width, y / total),
            borderaxespad=0,
            borderpad=0,
            handlelength=3.2,
            labelspacing=0.36,
        )
        for text, (_, written) in zip(legend.get_texts(), key.rows, strict=True):
            text.set_parse_math(False)
            text.set_text(written)
    if key.notes:
        figure.text(
            0.06 / width, 0.05 / total, "\n".join(key.notes), va="bottom", size=5.6, color="0.35", parse_math=False,
            linespacing=1.25,
        )  # fmt: skip


def rung_axis(ax: Axes, rungs: Sequence[float]) -> None:
    """A log axis whose ticks are the rungs, and nothing else."""
    ax.set_xscale("log")
    if rungs:
        ax.set_xlim(rungs[0] / 1.12, rungs[-1] * 1.12)
        ax.xaxis.set_major_locator(FixedLocator([float(rung) for rung in rungs]))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("points per axis", labelpad=2)


def axis_above(ax: Axes, ticks: Mapping[float, str], label: str) -> None:
    """A second x axis on top with ticks of its own words."""
    upper = ax.secondary_xaxis("top")
    upper.xaxis.set_major_locator(FixedLocator(list(ticks)))
    upper.xaxis.set_major_formatter(FuncFormatter(lambda x, _: ticks.get(min(ticks, key=lambda t: abs(t - x)), "")))
    upper.xaxis.set_minor_locator(NullLocator())
    upper.set_xlabel(label, labelpad=3)


def log_limits(values: Sequence[float], *, least: float = 2.5) -> tuple[float, float]:
    """Limits of a log axis around the values, at least a factor `least` apart, so that a flat curve looks flat."""
    positive = [v for v in values if v > 0]
    if not positive:
        return 0.1, 1.0
    low, high = min(positive) / 1.12, max(positive) * 1.12
    if high / low < least:
        middle, half = math.sqrt(low * high), math.sqrt(least)
        low, high = middle / half, middle * half
    return low, high


def log_ticks(ax: Axes, low: float, high: float) -> None:
    """A log y axis with a handful of round ticks written as plain numbers, however wide or narrow it is."""
    ax.set_yscale("log")
    ax.set_ylim(low, high)
    decades = math.log10(high / low)
    lead = (1, 1.5, 2, 3, 4, 5, 6, 8) if decades < 0.75 else (1, 2, 5) if decades < 2.6 else (1,)
    step = max(1, math.ceil(decades / 7))
    powers = [p for p in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) if p % step == 0]
    ticks = [m * 10.0**p for p in powers for m in lead if low <= m * 10.0**p <= high]
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_minor_locator(NullLocator())

    def written(y: float, _: Any) -> str:
        if lead == (1,) and not 0.05 < y < 50:
            return f"$10^{{{round(math.log10(y))}}}$"
        return f"{y:g}" if 1e-3 <= y < 1e4 else f"{y:.0e}".replace("-0", "−")

    ax.yaxis.set_major_formatter(FuncFormatter(written))


def say(ax: Axes, y: float, text: str, *, above: bool, ground: str = "white") -> None:
    """A small text at the left end of a horizontal line, above or below it."""
    ax.annotate(
        text, (0.012, y), xycoords=ax.get_yaxis_transform(), xytext=(0, 1.5 if above else -1.5),
        textcoords="offset points", size=5.8, color="0.25", va="bottom" if above else "top", zorder=1.7,
        bbox={"facecolor": ground, "edgecolor": "none", "pad": 0.4},
    )  # fmt: skip


def round_ticks(ax: Axes, low: float, high: float) -> None:
    """Ticks at 1, 2 and 5 of each decade of a log x axis, written as plain numbers."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    lead = (1, 2, 5) if high / low < 1e3 else (1,)
    ticks = [m * 10.0**p for p in powers for m in lead if low * 0.999 <= m * 10.0**p <= high * 1.001]
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def svg(figure: Figure) -> bytes:
    return _rendered(figure, "svg", metadata={"Date": None})


def png(figure: Figure, *, dpi: int = 200) -> bytes:
    return _rendered(figure, "png", dpi=dpi, metadata={"Software": None})


def save(figure: Figure, path: Path | str, *, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write the figure as `path`.png (200 dpi), .svg and .pdf, or as some of them; returns the paths."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in formats:
        written.append(path.with_name(f"{path.name}.{kind}"))
        written[-1].write_bytes(RENDERERS[kind](figure))
    return written


def pdf(figure: Figure) -> bytes:
    return _rendered(figure, "pdf", metadata={"CreationDate": None})


RENDERERS: dict[str, Callable[[Figure], bytes]] = {"png": png, "svg": svg, "pdf": pdf}


def _rendered(figure: Figure, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    with look():
        figure.savefig(buffer, format=kind, facecolor="white", **options)
    return buffer.getvalue()


def array(values: Any) -> NDArray[np.float64]:
    """Floats, NaN where null."""
    found = [] if values is None else [finite(v) for v in values]
    return np.array([np.nan if v is None else v for v in found], dtype=float)


def positive(values: Any) -> NDArray[np.float64]:
    """Floats, NaN where null or not above zero."""
    found = array(values)
    return np.where(found > 0, found, np.nan)


def wrapped(text: str) -> str:
    """The text in lines of a legend row."""
    return textwrap.fill(text, ROW, subsequent_indent="   ")
