"""The curves as tables: pandas frames for files and notebooks, rich tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from anchorbench.report.cost_table import CostTable
from anchorbench.report.document import (
    DASH,
    Curve,
    Document,
    Group,
    anchoring,
    finest,
    finite,
    fixed,
    given_these_seeds,
    group_rungs,
    groups_of,
    has_dagger,
    heading,
    headroom,
    index,
    interval,
    is_method,
    label_of,
    number,
    pair,
    rungs_of,
    seen,
    sentence,
    trained,
    value_at,
    verdict,
)
from anchorbench.report.headline import not_run_of, stands_for, why
from anchorbench.report.studies import AS_SET
from anchorbench.report.super_resolution import per_rung_columns

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table
    from rich.text import Text

SCORES = ("error", "unseen", "skill")

# Column: dtype.  A frame has all of them whatever the document lacks, so that frames of many reports stack.
IDENTITY = {
    "group": "string", "kind": "string", "label": "string", "dataset": "string", "display_name": "string",
    "source": "string", "size": "string", "task": "string", "method": "string", "model": "string", "track": "string",
    "study_label": "string", "footing": "string",
    "seeds": "string", "n_seeds": "Int64", "protocol": "Int64", "variable": "string", "unit": "string",
    "lead": "float64", "lead_unit": "string", "train_rung": "float64",
}  # fmt: skip
PER_RUNG = {
    "rung": "float64", "alpha": "float64", "seen": "boolean", "error": "float64", "error_low": "float64",
    "error_high": "float64", "unseen": "float64", "unseen_low": "float64", "unseen_high": "float64",
    "total": "float64", "acc": "float64", "skill": "float64", "skill_low": "float64", "skill_high": "float64",
    "ratio_own": "float64", "ratio_baseline": "float64", "anchoring_index": "float64", "anchoring_reason": "string",
    "budget_model": "float64", "budget_grid": "float64", "budget_information": "float64",
    "factor": "float64", "over_interpolation": "float64", "consistency": "float64", "rfne": "float64",
    "largest_error": "float64", "psnr": "float64", "ssim": "float64", "spectral_divergence": "float64",
}  # fmt: skip
PER_CURVE = {
    "slope": "float64", "slope_low": "float64", "slope_high": "float64", "interval_kind": "string",
    "smallest_slope": "float64", "verdict": "string", "second_word": "string", "headroom_shown": "boolean",
    "headroom_slope": "float64", "headroom_text": "string",
}  # fmt: skip
SUMMARY = {
    "finest_rung": "float64", "error_train": "float64", "error_finest": "float64", "skill_finest": "float64",
    "acc_finest": "float64", "ratio_finest": "float64",
    "anchoring_finest": "float64", "anchoring_rung": "float64",
    "train_seconds": "float64", "steps": "float64", "parameters": "float64",
    "train_points": "float64", "flops": "float64", "data_seconds": "float64", "data_flops": "float64",
    "words": "string",
}  # fmt: skip


def curves_frame(document: Document) -> pd.DataFrame:
    """One row a curve and rung: E_res, E_uns, S, the papers' ratio, A and the budget, with the curve's slope and words.

    Null is NaN or <NA>.  The columns and their types are the same for every document.
    """
    rows = []
    curves, groups = document.get("curves") or (), {g.get("id"): g for g in document.get("groups") or ()}
    for curve in curves:
        common = _identity(curve) | _fit(curve)
        train = finite(curve.get("train_rung"))
        for rung in rungs_of(curve):
            bounds: dict[str, float | None] = {}
            for key in SCORES:
                ends = pair(value_at(curve, rung, f"{key}_interval")) or (None, None)
                bounds[f"{key}_low"], bounds[f"{key}_high"] = ends
            budget = value_at(curve, rung, "budget") or {}
            rows.append(
                common
                | bounds
                | {key: finite(value_at(curve, rung, key)) for key in (*SCORES, "total", "acc", "anchoring_index")}
                | {f"ratio_{part}": finite(value_at(curve, rung, "ratio", part)) for part in ("own", "baseline")}
                | per_rung_columns(curve, curves, groups, rung)
                | {f"budget_{part}": finite(budget.get(part)) for part in ("model", "grid", "information")}
                | {
                    "rung": rung,
                    "alpha": rung / train if train else None,
                    "seen": seen(curve, rung),
                    "anchoring_reason": _text(value_at(curve, rung, "anchoring_reason")),
                }
            )
    return _frame(rows, IDENTITY | PER_RUNG | PER_CURVE)


def summary_frame(document: Document) -> pd.DataFrame:
    """One row a curve: slope, both words, headroom, scores at the train rung and on the finest rung, and cost.

    anchoring_finest: A on anchoring_rung, the finest rung that has one and that training did not see.
    """
    rows = []
    for curve in document.get("curves") or ():
        rungs, cost = rungs_of(curve), curve.get("cost") or {}
        at_rung = anchoring(curve) or (None, None)
        rows.append(
            _identity(curve)
            | _fit(curve)
            | {
                "finest_rung": max(rungs, default=None),
                "error_train": _at_train(curve, "error"),
                "error_finest": finite(finest(curve, "error")),
                "skill_finest": finite(finest(curve, "skill")),
                "acc_finest": finite(finest(curve, "acc")),
                "ratio_finest": finite(value_at(curve, max(rungs), "ratio", "own")) if rungs else None,
                "anchoring_finest": at_rung[0],
                "anchoring_rung": at_rung[1],
                "words": _text(curve.get("words")),
            }
            | {
                name: finite(cost.get(name))
                for name in ("train_seconds", "steps", "parameters", "train_points", "flops")
            }
            | {f"data_{name}": finite((cost.get("data") or {}).get(name)) for name in ("seconds", "flops")}
        )
    return _frame(rows, IDENTITY | PER_CURVE | SUMMARY)


def terminal(document: Document) -> list[RenderableType]:
    """What a terminal shows: a table a group, each curve in words, costs; then what is missing and how to make it.

    Fits 100 columns in one table a group where the rungs are few, else in two (errors; slopes and words); 80 too.
    """
    from rich.padding import Padding
    from rich.text import Text

    shown: list[RenderableType] = []
    for group, curves in groups_of(document):
        absent = not_run_of(document, group)
        shown.append(GroupTable(group, curves, not_run=absent))
        shown += [_not_run(row) for row in absent]
        shown += [Padding(Text(str(note), style="dim"), (0, 1, 0, 1)) for note in group.get("notes") or ()]
        shown.append(Text())
        told = [curve for curve in curves if is_method(curve) or curve.get("method") == "solver"]
        shown += [Padding(Text(sentence(curve)), (0, 1, 0, 1)) for curve in told]
        shown += [Text(), CostTable(curves)]
    shown += [_not_run(row, dataset=True) for row in not_run_of(document, None)]
    missing = document.get("missing") or ()
    if missing:
        shown.append(Text("not shown yet, and the command that makes it:", style="bold"))
        for item in missing:
            shown.append(Padding(Text(str(item.get("what") or "")), (0, 1, 0, 1)))
            shown.append(Padding(Text(str(item.get("command") or ""), style="cyan"), (0, 1, 0, 4)))
    return shown or [Text("no finished runs to show")]


def _not_run(row: Mapping[str, Any], *, dataset: bool = False) -> RenderableType:
    from rich.padding import Padding
    from rich.text import Text

    place = f"{row.get('dataset')}, " if dataset else ""
    return Padding(Text(f"{place}{label_of(stands_for(row))}: {why(row)}", style="yellow"), (0, 1, 0, 1))


class GroupTable:
    """A group as one table where it fits the console, else as two.

    not_run: rows of studies; one of which no seed is there stands among the methods, without numbers.
    """

    def __init__(self, group: Group, curves: Sequence[Curve], *, not_run: Sequence[Mapping[str, Any]] = ()) -> None:
        absent = [stands_for(row) | {"second_word": "not run"} for row in not_run if row.get("whole")]
        methods = [curve for curve in curves if is_method(curve)]
        self.group, self.curves = group, [*methods, *absent, *(curve for curve in curves if not is_method(curve))]
        train = finite(group.get("train_rung"))
        self.rungs = [r for r in group_rungs(group, curves) if train is None or r >= train]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.measure import Measurement
        from rich.text import Text

        yield Text(heading(self.group), style="bold")
        yield Text(self.caption(), style="dim")
        whole = self.table(errors=self.rungs, fit=True)
        if Measurement.get(console, options.update(width=1000, max_width=1000), whole).maximum <= options.max_width:
            yield whole
            return
        # 17 columns for the name, 8 a rung: what does not fit beside each other goes below.
        most = max(1, (options.max_width - 17) // 8)
        for first in range(0, len(self.rungs), most):
            yield self.table(errors=self.rungs[first : first + most], fit=False)
            yield Text()
        yield self.table(errors=[], fit=True)

    @property
    def footings(self) -> list[str]:
        """Each footing that a curve stands on."""
        return sorted({str(c["footing"]) for c in self.curves if c.get("footing")})

    def caption(self) -> str:
        train = finite(self.group.get("train_rung"))
        seen_any = any(seen(c, r) for c in self.curves for r in self.rungs)
        parts = [
            "E_res by points per axis, in units of the truth's deviation",
            f"trained at {train:g}" if train is not None else "",
            *(self.footings if len(self.footings) == 1 and self.footings != [AS_SET] else ()),
            "° seen in training" if seen_any else "",
            "† given these seeds" if any(map(has_dagger, self.curves)) else "",
            "A on the finest unseen rung that has one (@)" if any(map(index, self.curves)) else "",
        ]
        return "; ".join(part for part in parts if part)

    def table(self, *, errors: Sequence[float], fit: bool) -> Table:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
        table.add_column("curve\nmodel, seeds", min_width=12, max_width=16, overflow="fold")
        for rung in errors:
            table.add_column(f"E_res\n{rung:g}" if rung == errors[0] else f"\n{rung:g}", justify="right", no_wrap=True)
        if fit:
            for header in ("slope\n[interval]", "verdict\nunseen band", "head-\nroom"):
                table.add_column(header, no_wrap=True)
            table.add_column("A\n@rung", justify="right", no_wrap=True)
        # Without errors to show, a reference without a slope has nothing to say.
        mixed = len(self.footings) > 1
        rows = [c for c in self.curves if errors or is_method(c) or finite(c.get("slope")) is not None]
        for n, curve in enumerate(rows):
            last = n + 1 == len(rows) or is_method(curve) != is_method(rows[n + 1])
            name = label_of(curve) if is_method(curve) else label_of(curve).replace("_", " ")
            set_so = str(curve.get("footing") or "") if mixed else ""
            cells = [
                _lines(name, ", ".join(part for part in (trained(curve), set_so) if part)),
                *(Text(_error(curve, rung)) for rung in errors),
            ]
            if fit:
                slanted = fixed(curve.get("slope"), signed=True) if finite(curve.get("slope")) is not None else ""
                ends = interval(curve.get("interval")) + ("†" if given_these_seeds(curve) else "")
                words = _lines(verdict(curve), str(curve.get("second_word") or ""))
                words.stylize(COLOURS.get(str(curve.get("verdict")), ""), 0, len(verdict(curve)))
                cells += [_lines(slanted, ends), words, _lines(*headroom(curve).split()), _lines(*index(curve).split())]
            table.add_row(*cells, style="" if is_method(curve) else "dim", end_section=last)
        return table


COLOURS = {"converging": "green", "diverging": "red", "anchored": "yellow", "no_headroom": "magenta"}


def _lines(*parts: str) -> Text:
    from rich.text import Text

    return Text("\n".join(part for part in parts if part))


def _error(curve: Curve, rung: float) -> str:
    value = finite(value_at(curve, rung, "error"))
    if value is None:
        return DASH
    return (number(value, digits=2) if 0 < value < 0.0995 else fixed(value, places=3)) + "°" * seen(curve, rung)


def _identity(curve: Curve) -> dict[str, Any]:
    seeds = [str(seed) for seed in curve.get("seeds") or ()]
    row: dict[str, Any] = {name: _text(curve.get(name)) for name, kind in IDENTITY.items() if kind == "string"}
    return row | {
        "label": label_of(curve),
        "seeds": " ".join(seeds),
        "n_seeds": len(seeds),
        "protocol": finite(curve.get("protocol")),
        "lead": finite(curve.get("lead")),
        "train_rung": finite(curve.get("train_rung")),
    }


def _fit(curve: Curve) -> dict[str, Any]:
    low, high = pair(curve.get("interval")) or (None, None)
    shown = curve.get("headroom") or {}
    return {
        "slope": finite(curve.get("slope")),
        "slope_low": low,
        "slope_high": high,
        "interval_kind": _text(curve.get("interval_kind")),
        "smallest_slope": finite(curve.get("smallest_slope")),
        "verdict": _text(curve.get("verdict")),
        "second_word": _text(curve.get("second_word")),
        "headroom_shown": shown.get("shown"),
        "headroom_slope": finite(shown.get("slope")),
        "headroom_text": _text(shown.get("text")),
    }


def _at_train(curve: Curve, key: str) -> float | None:
    train = finite(curve.get("train_rung"))
    return None if train is None else finite(value_at(curve, train, key))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _frame(rows: list[dict[str, Any]], columns: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(
        {name: pd.Series([row.get(name) for row in rows], dtype=kind) for name, kind in columns.items()}
    )
