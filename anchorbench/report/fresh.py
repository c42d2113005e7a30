"""What the choice of frequencies before training looks like: distances, spectra, and what training made of each."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anchorbench.errors import AnchorbenchError
from anchorbench.report.document import Curve, Group, heading
from anchorbench.report.scored import Family
from anchorbench.report.style import BLUE, COLUMN, GREEN, ORANGE, VERMILLION, Key, Style, look
from anchorbench.runs.selection import foretold, price, read_selection

#: Untrained spectra that are drawn: that of the setting which most fields choose, and those of the grid's ends.
TARGET, CHOSEN, LOW, HIGH = (
    Style("black", None, "-", 1.6),
    Style(VERMILLION, None, "-", 1.3),
    Style(ORANGE, None, (0, (4, 1.5)), 1.0),
    Style(BLUE, None, (0, (1, 1)), 1.0),
)
#: Networks on one figure.
MOST = 4
QUALITY = Style(GREEN, "o", (0, (3, 1)), 1.0)


def selection_of(label: str, folders: Sequence[Path]) -> dict[str, Any] | None:
    """What the runs of one curve, one a seed, found: plain lists; None where they compared no settings.

    distance, psnr: means over fields and seeds by setting, psnr on the finest rung and None where not every setting was
    trained; chosen: how many fields, over seeds, took each; rank: of distance and PSNR; price: choosing over training.
    """
    found = [data for folder in folders if (data := read_selection(folder)) is not None and "distance" in data]
    if not found:
        return None
    first = found[0]
    settings = [float(s) for s in first["setting"].values]
    chosen = np.zeros(len(settings))
    for data in found:
        np.add.at(chosen, data["distance"].values.argmin(1), 1)
    whole = first.sizes["trained"] == len(settings)
    finest = int(first["rung"].max())
    prices = [p for data in found if (p := price(data)) is not None]
    return {
        "label": label,
        "option": str(first.attrs["option"]),
        "rung": int(first.attrs["select_rung"]),
        "settings": settings,
        "distance": _mean(found, "distance"),
        "distance_error": _mean(found, "distance_error"),
        "target": _mean(found, "target_spectrum"),
        "untrained": np.mean([data["untrained_spectrum"].values for data in found], axis=0).tolist(),
        "chosen": chosen.tolist(),
        "psnr": np.mean([d["psnr"].sel(rung=finest).values.mean(0) for d in found], 0).tolist() if whole else None,
        "psnr_rung": finest,
        "rank": _rank(found),
        "price": float(np.mean(prices)) if prices else None,
    }


def selections_of(families: Sequence[Family], names: Sequence[str]) -> list[dict[str, Any]]:
    """One a network, at most four: of a search, which knows what became of every setting, before that of a choice.

    Rows that a study labels vary what others show: they stand only where nothing else does.
    """
    order = sorted(
        zip(families, names, strict=True),
        key=lambda one: (one[0].study_label is not None, one[0].spec.method != "grid_search"),
    )
    shown: dict[str, dict[str, Any]] = {}
    for family, name in order:
        model = family.spec.model
        if family.spec.task != "represent" or model in shown or len(shown) == MOST:
            continue
        found = selection_of(name, [run.run.path for run in family.runs])
        if found is not None:
            shown[model] = found
    return list(shown.values())


def fresh(group: Group, curves: Sequence[Curve]) -> Figure:
    """Two panels a model: distance against setting, with the PSNR that training reached; and the spectra by bin."""
    shown: Sequence[Mapping[str, Any]] = group["selection"]
    with look():
        key = Key(
            [
                (TARGET.handle(), "spectrum of the field on the rung of choice"),
                (CHOSEN.handle(), "distance; untrained spectrum of the setting that most take"),
                (LOW.handle(), "untrained spectrum of the grid's smallest setting"),
                (HIGH.handle(), "untrained spectrum of its largest"),
                (QUALITY.handle(), "PSNR after training on the finest rung, right axis"),
            ],
            [textwrap.fill(_note(one), 78) for one in shown],
        )
        height = 0.55 + 2.16 * len(shown) + key.height()
        figure = Figure(figsize=(COLUMN, height))
        figure.text(0.06 / COLUMN, 1 - 0.05 / height, heading(group), va="top", size=8, weight="bold", parse_math=False)
        top = height - 0.35
        for one in shown:
            for draw in (_distances, _spectra):
                box = (0.62 / COLUMN, (top - 0.72) / height, (COLUMN - 1.15) / COLUMN, 0.7 / height)
                draw(figure.add_axes(box), one)
                top -= 1.08
        legend = figure.legend(
            [handle for handle, _ in key.rows],
            [words for _, words in key.rows],
            loc="upper left",
            bbox_to_anchor=(0.04 / COLUMN, (top + 0.02) / height),
            labelspacing=0.36,
            borderaxespad=0,
            handlelength=3.2,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
        figure.text(
            0.06 / COLUMN, 0.05 / height, "\n".join(key.notes), va="bottom", size=5.6, color="0.35", parse_math=False
        )
    return figure


def _distances(ax: Axes, one: Mapping[str, Any]) -> None:
    settings, distance = np.array(one["settings"]), np.array(one["distance"])
    error = np.array(one["distance_error"])
    ax.fill_between(settings, distance - error, distance + error, color=VERMILLION, alpha=0.2, linewidth=0)
    ax.plot(settings, distance, marker="o", markersize=2.5, **CHOSEN.line())
    ax.axvline(settings[_usual(one)], color="0.3", linewidth=0.8)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("distance (bins)")
    ax.set_xlabel(f"{one['option']} ({one['label']})", labelpad=2, parse_math=False)
    if one["psnr"] is not None:
        right = ax.twinx()
        right.plot(settings, one["psnr"], **QUALITY.line(), **(QUALITY.points(hollow=True) | {"markersize": 2.5}))
        right.set_ylabel("PSNR (dB)")
        right.grid(visible=False)


def _spectra(ax: Axes, one: Mapping[str, Any]) -> None:
    bins = np.arange(1, len(one["target"]) + 1)
    untrained = one["untrained"]
    for style, row in ((LOW, untrained[0]), (HIGH, untrained[-1]), (CHOSEN, untrained[_usual(one)])):
        ax.plot(bins, row, **style.line())
    ax.plot(bins, one["target"], **TARGET.line())
    ax.set_ylim(bottom=0)
    ax.set_ylabel("share")
    ax.set_xlabel(f"bin of the spectrum on {one['rung']} points", labelpad=2)


def _note(one: Mapping[str, Any]) -> str:
    said = f"{one['label']}: {one['option']} {one['settings'][_usual(one)]:g}"
    if one["price"] is not None:
        said += f"; choosing took {one['price']:.1%} of training"
    if one["rank"] is not None:
        said += f"; rank correlation of distance and PSNR {one['rank']:+.2f}"
    return said


def _usual(one: Mapping[str, Any]) -> int:
    return int(np.argmax(one["chosen"]))


def _mean(found: Sequence[Any], name: str) -> list[float]:
    rows: list[float] = np.mean([data[name].values.mean(0) for data in found], axis=0).tolist()
    return rows


def _rank(found: Sequence[Any]) -> float | None:
    try:
        told = [known.rank.mean for data in found if (known := foretold(data)) is not None]
    except AnchorbenchError:
        return None
    return float(np.mean(told)) if told else None
