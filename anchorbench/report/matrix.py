"""The matrix train rung x test rung: one model trained at each rung, tried on all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from anchorbench.report.document import Curve, Group, finite, fixed, heading, number
from anchorbench.report.style import Key, look, sheet

MOST = 3  # models or methods drawn
LARGEST = 4.0  # the ratio at which a colour is full
Rows = Sequence[Mapping[str, Any]]


def gathered(groups: Iterable[Group]) -> dict[Any, list[list[Mapping[str, Any]]]]:
    """Group id -> its matrices, each the rows of one method and model by train rung, from every group of the ladder.

    A matrix belongs to the group of its coarsest train rung, and has two train rungs or more.  Of two rows with one
    train rung the one with more seeds stays.
    """
    groups = list(groups)
    every = [(group.get("id"), row) for group in groups for row in (group.get("probes") or {}).get("matrix") or ()]
    found: dict[Any, list[list[Mapping[str, Any]]]] = {}
    for key in dict.fromkeys(row["key"] for _, row in every):
        rows: dict[int, Mapping[str, Any]] = {}
        home: dict[int, Any] = {}
        for group, row in every:
            rung = int(row["train_rung"])
            known = rows.get(rung)
            if row["key"] == key and (known is None or _rank(row) > _rank(known)):
                rows[rung], home[rung] = row, group
        if len(rows) > 1:
            found.setdefault(home[min(rows)], []).append([rows[rung] for rung in sorted(rows)])
    return found


def matrix(group: Group, curves: Sequence[Curve]) -> Figure:
    """Above, E on its own rung over that of the model trained there; below, E_res in ρ₀'s band over that at ρ₀."""
    with look():
        matrices: list[Rows] = list(group["matrix"])[:MOST]
        rungs = sorted({int(r) for rows in matrices for row in rows for r in (*row["rungs"], row["train_rung"])})
        key = Key([], _notes(matrices, rungs))
        if any(set(rungs) - set(row["rungs"]) for rows in matrices for row in rows):
            key.rows.append((Patch(facecolor="white", edgecolor="0.6", hatch="/////"), "not scored"))
        cell = 2.8 / max(4, len(rungs))
        heights = [min(0.42, cell) * len(rows) for rows in matrices for _ in range(2)]
        figure, axes = sheet(heading(group), heights, key)
        several = len(matrices) > 1
        for place, rows in enumerate(matrices):
            name = f"{rows[0]['name']}, " if several else ""
            unit = float(matrices[0][0]["sigma"])
            _panel(axes[2 * place], rows, rungs, "total", unit, f"{name}total\ntrained at")
            _panel(axes[2 * place + 1], rows, rungs, "resolved", unit, f"{name}in ρ₀'s band\ntrained at = ρ₀")
        axes[-1].set_xlabel("tested on this many points per axis", labelpad=2)
    return figure


def _panel(ax: Axes, rows: Rows, rungs: Sequence[int], part: str, unit: float, label: str) -> None:
    """Cells with E in σ and its ratio to the diagonal; total: to the column's, resolved: to the row's."""
    colours, norm = colormaps["RdBu_r"], Normalize(-math.log(LARGEST), math.log(LARGEST))
    diagonal = {int(row["train_rung"]): _at(row, int(row["train_rung"]), part, unit) for row in rows}
    for y, row in enumerate(rows):
        train = int(row["train_rung"])
        for x, rung in enumerate(rungs):
            value = _at(row, rung, part, unit)
            if value is None:
                ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor="white", edgecolor="0.6", hatch="/////"))
                continue
            # Below ρ₀ the band is the rung's own: another quantity, with no ratio.
            base = diagonal.get(rung) if part == "total" else diagonal.get(train) if rung >= train else None
            ratio = value / base if base else None
            shade = "0.93" if ratio is None or ratio <= 0 else colours(norm(math.log(ratio)))
            ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=shade, edgecolor="white", linewidth=0.6))
            dark = ratio is not None and ratio > 0 and abs(norm(math.log(ratio)) - 0.5) > 0.36
            written = "" if ratio is None else fixed(ratio) if ratio < 10 else number(ratio, digits=2)
            times = f"\n×{written}" if written and rung != train else ""
            ax.text(
                x, y, number(value, digits=2) + times, ha="center", va="center", size=5.8,
                color="white" if dark else "black", weight="bold" if rung == train else "normal", linespacing=1.1,
            )  # fmt: skip
    ax.grid(False)
    ax.set_xlim(-0.5, len(rungs) - 0.5)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xticks(range(len(rungs)), [str(r) for r in rungs])
    ax.set_yticks(range(len(rows)), [str(row["train_rung"]) for row in rows])
    ax.set_ylabel(label)


def _at(row: Mapping[str, Any], rung: int, part: str, unit: float) -> float | None:
    """E in σ of the figure: rows of other groups have a σ of their own."""
    if rung not in row["rungs"]:
        return None
    value = finite(row[part][list(row["rungs"]).index(rung)])
    return None if value is None else value * float(row["sigma"]) / unit


def _rank(row: Mapping[str, Any]) -> tuple[bool, int]:
    return bool(row["whole"]), len(row["seeds"])


def _notes(matrices: Sequence[Rows], rungs: Sequence[int]) -> list[str]:
    notes = [
        "Error in σ; bold: the diagonal. Total error, on its own rung: × over the model trained there (its column). In "
        "the band of the row's own train rung: × over its error at home (its row), from there up. Red: more than the "
        "diagonal; blue: less; grey: nothing to compare with."
    ]
    lacking = [
        f"trained at {row['train_rung']} on {', '.join(map(str, holes))}"
        for rows in matrices
        for row in rows
        if (holes := [r for r in rungs if r not in row["rungs"]])
    ]
    if lacking:
        notes.append(f"Not scored: {'; '.join(lacking)} (anchorbench evaluate RUN... --test matrix).")
    untrained = [
        f"{rows[0]['name']} at {', '.join(map(str, absent))}"
        for rows in matrices
        if (absent := sorted(set(rungs) - {int(row["train_rung"]) for row in rows}))
    ]
    if untrained:
        notes.append(f"Not trained: {'; '.join(untrained)} (train --train-rung).")
    seeds = sorted({len(row["seeds"]) for rows in matrices for row in rows})
    notes.append(f"Seeds a row: {seeds[0]}." if len(seeds) == 1 else f"Seeds a row: {seeds[0]} to {seeds[-1]}.")
    return notes
