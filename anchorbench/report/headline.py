"""The headline of a group: a row a method and model, and one for each row of a study that was not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anchorbench.report import document as read
from anchorbench.report.document import Curve, Document, Group

#: Column: what stands over it.  The rung of the ratio and of ACC is the finest.
COLUMNS = {
    "footing": "Footing",
    "ratio": "Ratio, own / baseline's",
    "acc": "ACC",
    "slope": "Slope",
    "verdict": "Verdict",
    "second_word": "Unseen band",
    "control": "Positive control",
    "index": "A @rung",
    "cost": "Training",
}


def headline(group: Group, curves: Sequence[Curve], not_run: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`columns` that hold anything, by name; `rows`, each with its label, what was trained, its cells, or its `why`."""
    models = [curve for curve in curves if read.is_method(curve)]
    rung = max(read.group_rungs(group, models), default=None)
    rows = [_row(curve, rung) for curve in models]
    shown = {name: text for name, text in COLUMNS.items() if name == "verdict" or any(row[name] for row in rows)}
    if rung is not None:
        shown |= {name: f"{shown[name]} @{rung:g}" for name in ("ratio", "acc") if name in shown}
    rows += [{**stands_for(row), "why": why(row)} for row in not_run if row.get("whole")]
    return {"columns": shown, "rows": rows if not_run or len(models) > 1 else []}


def _row(curve: Curve, rung: float | None) -> dict[str, Any]:
    cost = curve.get("cost") or {}
    ratios = [read.value_at(curve, rung, "ratio", part) if rung is not None else None for part in ("own", "baseline")]
    acc = read.finite(read.value_at(curve, rung, "acc")) if rung is not None else None
    spent = [read.duration(cost["train_seconds"])] if read.finite(cost.get("train_seconds")) is not None else []
    spent += [flops(cost["flops"])] if read.finite(cost.get("flops")) is not None else []
    known = any(read.finite(ratio) is not None for ratio in ratios)
    return {
        "label": read.label_of(curve),
        "trained": read.trained(curve),
        "footing": str(curve.get("footing") or ""),
        "ratio": " / ".join(read.fixed(ratio) for ratio in ratios) if known else "",
        "acc": "" if acc is None else read.fixed(acc, places=3),
        "slope": read.slope(curve),
        "verdict": read.verdict(curve),
        "word": str(curve.get("verdict") or ""),
        "second_word": str(curve.get("second_word") or ""),
        "control": "" if (control := curve.get("control")) is None else "yes" if control else "no",
        "index": read.index(curve),
        "cost": ", ".join(spent),
    }


def not_run_of(document: Document, group: Group | None) -> list[Mapping[str, Any]]:
    """The rows of studies that were not run, or not with all seeds, in a group; of no group: None."""
    key = None if group is None else group.get("id")
    known = {g.get("id") for g in document.get("groups") or ()}
    rows = document.get("not_run") or ()
    return [r for r in rows if (r.get("group") if r.get("group") in known else None) == key]


def stands_for(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as a curve that has a name and nothing else."""
    name, model = str(row.get("label") or row.get("method") or ""), row.get("model")
    return {"kind": "method", "label": name, "model": model, "trained": model or ""}


def why(row: Mapping[str, Any]) -> str:
    """`failed: the loss is nan`; with the seeds where others of the row are there."""
    state, reason = str(row.get("state") or "not run"), str(row.get("why") or "")
    said = f"{state}: {reason}" if reason else state
    if row.get("whole"):
        return said
    seeds = ", ".join(str(seed) for seed in row.get("seeds") or ())
    return f"seed{'s' * (len(row.get('seeds') or ()) > 1)} {seeds} (of {row.get('planned')} planned): {said}"


def flops(value: Any) -> str:
    """`3.1e11 FLOP`; a dash for null."""
    x = read.finite(value)
    return read.DASH if x is None else f"{x:.1e} FLOP".replace("e+", "e").replace("e0", "e")


def cost_rows(curves: Sequence[Curve]) -> list[dict[str, str]]:
    """The price of each curve that has a cost, as text: samples by rung, points, FLOPs, seconds, and of its data."""
    rows = []
    for curve in curves:
        cost = curve.get("cost")
        if not cost:
            continue
        mix, data = cost.get("by_rung") or {}, cost.get("data") or {}
        samples = ", ".join(f"{rung}: {read.plain(one['samples'])}" for rung, one in mix.items())
        made = [read.duration(data["seconds"])] if read.finite(data.get("seconds")) is not None else []
        made += [flops(data["flops"])] if read.finite(data.get("flops")) is not None else []
        rows.append(
            {
                "label": read.label_of(curve),
                "footing": str(curve.get("footing") or ""),
                "seconds": read.duration(cost.get("train_seconds")),
                "steps": read.plain(cost.get("steps")),
                "samples": samples or read.plain(cost.get("samples")),
                "points": read.number(cost.get("train_points"), digits=2),
                "flops": flops(cost.get("flops")).removesuffix(" FLOP"),
                "data": ", ".join(made) or read.DASH,
                "parameters": read.plain(cost.get("parameters")),
                "device": str(cost.get("device") or ""),
            }
        )
    return rows
