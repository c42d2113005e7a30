"""The tables that stand beside a group's curves, each from a module of its own: what the page and the Markdown show.

A table is `title`, `caption`, `columns` (key of a row -> heading) and `rows` (key -> text).  A new one is a function in
`TABLES`; where it has no rows it is not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anchorbench.report import effective, paired
from anchorbench.report import super_resolution as resolved
from anchorbench.report.document import Curve, Group, is_method, label_of, verdict

#: Of the verdict by δ.
STABILITY = {"label": "Curve", "verdict": "Verdict", "delta": "At δ", "holds": "Holds for δ", "elsewhere": "Elsewhere"}


@dataclass(frozen=True)
class Table:
    title: str
    caption: str
    columns: Mapping[str, str]
    rows: Sequence[Mapping[str, str]]


def tables_of(group: Group, curves: Sequence[Curve]) -> list[Table]:
    """Every table that has rows."""
    made = (make(group, curves) for make in TABLES)
    return [table for table in made if table is not None and table.rows]


def _paired(group: Group, curves: Sequence[Curve]) -> Table | None:
    told: Sequence[Mapping[str, Any]] = group.get("paired") or ()
    if not told:
        return None
    return Table("Methods against each other", paired.paired_caption(told), paired.COLUMNS, paired.paired_table(told))


def _effective(group: Group, curves: Sequence[Curve]) -> Table | None:
    rows = effective.effective_table(group)
    return Table("Effective resolution", effective.CAPTION, effective.COLUMNS, rows)


def _stability(group: Group, curves: Sequence[Curve]) -> Table | None:
    """The first word for every δ from half to twice the one that was taken."""
    rows = []
    for curve in filter(is_method, curves):
        held = curve.get("stability")
        if not held:
            continue
        elsewhere = [
            f"{str(s['word']).replace('_', ' ')} for {s['from']:.2g} to {s['to']:.2g}"
            for s in held["spans"]
            if [s["from"], s["to"]] != list(held["holds"])
        ]
        rows.append(
            {
                "label": label_of(curve),
                "verdict": verdict(curve),
                "delta": f"{held['delta']:g}",
                "holds": f"{held['holds'][0]:.2g} to {held['holds'][1]:.2g}",
                "elsewhere": "; ".join(elsewhere) or "the same everywhere",
            }
        )
    ends = [(s["spans"][0]["from"], s["spans"][-1]["to"]) for c in curves if (s := c.get("stability"))]
    span = f" from {ends[0][0]:g} to {ends[0][1]:g}" if ends else ""
    return Table(
        "Does the verdict hang on δ?",
        f"δ is a choice, the interval is not: the first word for every δ{span}.",
        STABILITY,
        rows,
    )


def _factors_within(group: Group, curves: Sequence[Curve]) -> Table | None:
    return _factors(group, curves, 0)


def _factors_beyond(group: Group, curves: Sequence[Curve]) -> Table | None:
    return _factors(group, curves, 1)


def _factors(group: Group, curves: Sequence[Curve], which: int) -> Table | None:
    """Super-resolution's scores: of the factors that were trained on, or of those beyond."""
    tables = resolved.factor_tables(group, curves)
    if not tables:
        return None
    title, rows = tables[which]
    return Table(title, resolved.CAPTION, resolved.COLUMNS, rows)


TABLES: tuple[Callable[[Group, Sequence[Curve]], Table | None], ...] = (
    _paired, _stability, _effective, _factors_within, _factors_beyond,
)  # fmt: skip
