"""Figures of refined rain: an event's hours in a row with truth and members, spectra, ranks and reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from anchorbench.report.document import Curve, Group, heading
from anchorbench.report.images import rain_colours
from anchorbench.report.style import COLOURS, DASHES, MARKERS, Key, Style, log_ticks, look, round_ticks, sheet, wrapped

Images = NDArray[np.float64]
MOST_HOURS, MOST_LINES = 6, 5
GREYS = {"nearest": "0.75", "bicubic": "0.6", "climatology": "0.35"}


def title_of(group: Group) -> str:
    space, time = group["precipitation"]["pair"]
    return f"{heading(group)} · x{space:g} in space, x{time:g} in time"


def shown_run(held: Mapping[str, Any]) -> str | None:
    """The run whose event is drawn: the first with members that was trained, else the first."""
    drawn = held["fields"]["predictions"]
    trained = [row["label"] for row in held["rows"] if row["trained"]]
    several = [label for label in trained if label in held["ranks"] and label in drawn]
    return next(iter([*several, *drawn]), None)


def frames(group: Group, curves: Sequence[Curve]) -> Figure:
    """A column an hour: the coarse input, the truth, the ensemble's mean and up to three members, on one scale."""
    held = group["precipitation"]
    label = shown_run(held)
    assert label is not None  # `can_draw` saw an event
    rows = event_rows(held, label)
    hours = min(MOST_HOURS, len(rows[0][1]))
    colours, norm = rain_colours([images for _, images in rows])
    side, left, gap, above, right = 1.0, 0.5, 0.05, 0.42, 0.55
    with look():
        width = left + hours * (side + gap) + right
        height = above + len(rows) * (side + gap) + 0.16
        figure = Figure(figsize=(width, height))
        figure.text(0.06 / width, 1 - 0.05 / height, title_of(group), va="top", size=8, weight="bold", wrap=True)
        for i, (name, images) in enumerate(rows):
            for hour in range(hours):
                x, y = left + hour * (side + gap), height - above - (i + 1) * side - i * gap
                ax = figure.add_axes((x / width, y / height, side / width, side / height))
                drawn = _panel(ax, images[hour], colours, norm)
                if i == 0:
                    ax.set_title(f"hour {hour + 1}", size=6.5, pad=2)
                if hour == 0:
                    ax.set_ylabel(name, size=6.5)
        bar = figure.add_axes(((width - right + 0.08) / width, 0.2, 0.07 / width, 0.6))
        figure.colorbar(drawn, cax=bar, format=FuncFormatter(lambda v, _: f"{v:.4g}"))
        bar.grid(False)
        bar.tick_params(labelsize=6, length=2)
        bar.set_ylabel(f"{group.get('variable')} ({group.get('unit')})", size=6.3)
        figure.text(0.06 / width, 0.04 / height, f"{label}. The event was chosen before any score was seen.", size=5.6,
                    color="0.35", va="bottom")  # fmt: skip
    return figure


def event_rows(held: Mapping[str, Any], label: str) -> list[tuple[str, Images]]:
    """Of one run's event: (name, hours x grid), the coarse input repeated on the fine points."""
    truth, event = held["fields"]["truth"], held["fields"]["predictions"][label]
    cells = [np.arange(n) * m // n for n, m in zip(truth.shape[1:], event["input"].shape[1:], strict=True)]
    rows = [("input", event["input"][:, cells[0]][:, :, cells[1]]), ("truth", truth), ("mean", event["mean"])]
    members = event["member"]
    return rows + [(f"member {i + 1}", member) for i, member in enumerate(members) if len(members) > 1]


def _panel(ax: Axes, image: Images, colours: Colormap, norm: Normalize) -> Any:
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    return ax.imshow(np.ma.masked_invalid(image), cmap=colours, norm=norm, origin="lower", interpolation="nearest")


def line_styles(held: Mapping[str, Any]) -> dict[str, Style]:
    """One for each row: references grey, the others in the palette's order."""
    found: dict[str, Style] = {}
    for row in held["rows"]:
        n = sum(style.colour in COLOURS for style in found.values())
        found[row["label"]] = (
            Style(COLOURS[n % 6], MARKERS[n % 12], DASHES[n % 6])
            if row["trained"]
            else Style(GREYS.get(row["role"], "0.5"), "|", DASHES[len(found) % 6], 1.0)
        )
    return found


def member_spectra(group: Group, curves: Sequence[Curve]) -> Figure:
    """Power of a member and of the ensemble's mean over the truth's, by wavenumber: at 1 rain is as rough as rain."""
    held = group["precipitation"]
    spectra, style = held["spectra"], line_styles(held)
    k, truth = (np.asarray(spectra[name], dtype=float) for name in ("k", "truth"))
    kept = (k > 0) & (truth > 0)
    several = [label for label in spectra["member"] if style[label].colour in COLOURS][:MOST_LINES]
    single = [label for label in spectra["mean"] if label not in spectra["member"] and label in style][:MOST_LINES]
    with look():
        key = Key([(style[n].handle(), wrapped(n)) for n in [*several, *single]], ["Thin: of the ensemble's mean."])
        figure, (ax,) = sheet(title_of(group), (1.9,), key)
        ax.axhline(1, color="black", linewidth=0.8)
        for label in several:
            ax.plot(k[kept], np.asarray(spectra["member"][label])[kept] / truth[kept], **style[label].line())
            thin = style[label].line() | {"linewidth": 0.5}
            ax.plot(k[kept], np.asarray(spectra["mean"][label])[kept] / truth[kept], **thin)
        for label in single:
            ax.plot(k[kept], np.asarray(spectra["mean"][label])[kept] / truth[kept], **style[label].line())
        ax.set_xscale("log")
        round_ticks(ax, float(k[kept].min()), float(k[kept].max()))
        log_ticks(ax, 1e-3, 5)
        ax.set_xlabel("wavenumber k (rad/km)", labelpad=2)
        ax.set_ylabel("power / truth's")
    return figure


def ranks(group: Group, curves: Sequence[Curve]) -> Figure:
    """Share of the area by how many members lie below the truth, times their number: flat at 1 of a good ensemble."""
    held = group["precipitation"]
    style, labels = line_styles(held), list(held["ranks"])[:MOST_LINES]
    with look():
        key = Key([(style[label].handle(), wrapped(label)) for label in labels], [])
        figure, (ax,) = sheet(title_of(group), (1.6,), key)
        ax.axhline(1, color="black", linewidth=0.8)
        for label in labels:
            shares = np.asarray(held["ranks"][label], dtype=float)
            x = np.arange(len(shares)) / (len(shares) - 1)
            ax.plot(x, shares * len(shares), **style[label].line(), **style[label].points(hollow=False))
        ax.set_xlabel("rank of the truth among the members (0: below all)", labelpad=2)
        ax.set_ylabel("frequency x ranks")
        ax.set_ylim(bottom=0)
    return figure


def reliability(group: Group, curves: Sequence[Curve]) -> Figure:
    """How often it rains more than a threshold where so many members say so; on the diagonal a promise is kept."""
    held = group["precipitation"]
    style, labels = line_styles(held), list(held["reliability"])[:MOST_LINES]
    thresholds = [name for name in held["reliability"][labels[0]] if name != "members"]
    with look():
        key = Key([(style[label].handle(), wrapped(label)) for label in labels], [])
        figure, axes = sheet(title_of(group), [1.4] * len(thresholds), key)
        for ax, threshold in zip(axes, thresholds, strict=True):
            ax.plot([0, 1], [0, 1], color="black", linewidth=0.8)
            for label in labels:
                of = held["reliability"][label]
                seen = np.asarray(of[threshold]["seen"], dtype=float)
                x = np.arange(len(seen)) / of["members"]
                ax.plot(x, seen, **style[label].line(), **style[label].points(hollow=False))
            ax.set_ylabel(f"observed > {threshold} {group.get('unit')}")
            ax.set_ylim(-0.03, 1.03)
        axes[-1].set_xlabel("share of the members that exceed it", labelpad=2)
    return figure
