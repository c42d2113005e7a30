"""A diagnosis as a report document, and as files: the same figures, page and tables as of our own runs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import anchorbench
from anchorbench.analysis import Cells, Curve, curve
from anchorbench.diagnose.judged import Diagnosis, coarse_cells, native_cells
from anchorbench.diagnose.scored import spectra
from anchorbench.errors import RunError
from anchorbench.fields import Grid
from anchorbench.report.build import Report
from anchorbench.report.document import jsonable
from anchorbench.report.page import write_page, write_results
from anchorbench.report.plots import draw_all
from anchorbench.report.said import not_judged, scores_said, verdict_said
from anchorbench.report.tables import curves_frame

GROUP = "diagnosis"


def document_of(found: Diagnosis) -> dict[str, Any]:
    """One group with the model's curve, its coarse prediction upsampled, and native where it was given."""
    head = _head(found)
    curves = [_model(found, head), _coarse(found, head)]
    if natives := native_cells(found):
        curves.append(_native(natives, head))
    return {
        "schema": 1,
        "version": anchorbench.__version__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "groups": [_group(found, head)],
        "curves": curves,
        "missing": [],
    }


def write_report(found: Diagnosis, out: Path) -> Report:
    """index.html, report.md, report.json, results.parquet, curve.csv, verdict.json and figures/ in a folder.

    Raises RunError where it cannot be written.
    """
    document = document_of(found)
    try:
        out.mkdir(parents=True, exist_ok=True)
        pages = write_page(document, draw_all(document), out)
        tables = write_results(document, out)
        _write(out / "curve.csv", curves_frame(document).to_csv(index=False))
        _write(out / "verdict.json", json.dumps(jsonable(found.to_dict()), ensure_ascii=False, indent=1))
    except OSError as error:
        raise RunError(
            f"the diagnosis could not be written to {out}: {error.strerror or error}", do="choose another --out"
        ) from None
    return Report(document, (*pages, *tables, out / "curve.csv", out / "verdict.json"))


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def _head(found: Diagnosis) -> dict[str, Any]:
    usual = {
        "dataset": found.name,
        "display_name": found.name,
        "source": "files",
        "size": None,
        "task": None,
        "lead": None,
        "lead_unit": None,
    }
    own = {"group": GROUP, "variable": found.fields.variable, "unit": found.fields.unit, "protocol": None}
    return usual | own | {"train_rung": found.train_rung} | dict(found.about.get("head", {}))


def _drawn(found: Curve) -> dict[str, Any]:
    """The scores, intervals and ratios by rung."""
    ratio = {"own": list(found.ratio_own), "baseline": list(found.ratio_baseline)}
    return {"rungs": list(found.rungs), **scores_said(found), "ratio": ratio}


def _reference(label: str, words: str, head: Mapping[str, Any], drawn: Mapping[str, Any]) -> dict[str, Any]:
    """A curve with all that a curve has, and no verdict."""
    return {
        **head,
        **dict.fromkeys(("cost", "card", "model", "track", "of")),
        **not_judged(len(drawn["rungs"])),
        "budget": [None] * len(drawn["rungs"]),
        "kind": "reference",
        "label": label,
        "method": label,
        "seeds": [],
        "seen_rungs": [],
        "notes": [],
        "words": words,
        **drawn,
    }


def _model(found: Diagnosis, head: Mapping[str, Any]) -> dict[str, Any]:
    rungs, several = found.curve.rungs, found.fields.seeds > 1
    return _reference(found.name, found.words, head, _drawn(found.curve)) | {
        "kind": "method",
        "seeds": list(range(found.fields.seeds)) if several else [],
        "seen_rungs": sorted({found.train_rung, *found.verdict.seen}),
        # One closed model has no seeds to be given: its interval is over the samples.
        **verdict_said(found.verdict, rungs, has_seeds=several),
        "budget": list(found.about.get("budget") or [None] * len(rungs)),
        "card": found.about.get("card"),
        "notes": [found.restriction, *found.notes],
        "cause": found.cause.to_dict(),
    }


def _coarse(found: Diagnosis, head: Mapping[str, Any]) -> dict[str, Any]:
    name = "coarse_then_upsample"
    words = f"{name}: its own prediction on the train rung, prolonged"
    return _reference(name, words, head, _drawn(curve(coarse_cells(found)))) | {"of": found.name}


def _native(natives: Mapping[int, Cells], head: Mapping[str, Any]) -> dict[str, Any]:
    """Each rung another model: one point each."""
    each = [_drawn(curve(cells)) for _, cells in sorted(natives.items())]
    joined: dict[str, Any] = {name: [one[name][0] for one in each] for name in each[0] if name != "ratio"}
    empty = [None] * len(each)
    joined["ratio"] = {"own": empty, "baseline": empty}
    words = "native: models trained at each finer rung, as they were given; at the train rung the model itself"
    return _reference("native", words, head, joined) | {"seen_rungs": joined["rungs"]}


def _group(found: Diagnosis, head: Mapping[str, Any]) -> dict[str, Any]:
    rungs = list(found.fields.rungs)
    versions = {"anchorbench": anchorbench.__version__, "torch": torch.__version__}
    return {
        **{name: value for name, value in head.items() if name not in ("group", "protocol")},
        "id": GROUP,
        "title": f"diagnosis of {found.name}",
        "restriction": found.fields.restriction,
        "rungs": rungs,
        "sigma": float(found.scale.sigma.square().mean().sqrt()),
        "floor": None,
        "provenance": {"made from": "predictions and truth that were given", **found.about.get("provenance", {})},
        "terms": found.about.get("terms"),
        "spectra": _spectra(found),
        "fields": _fields(found),
        "probes": None,
        "notes": [found.restriction],
        "environment": versions,
        "environments": [versions],
        "specs": [],
    }


def _spectra(found: Diagnosis) -> dict[str, Any]:
    grid = found.fields.rungs[found.train_rung].grid
    made = spectra(found.fields, found.scale)
    return {
        "unit": "rad" if grid.unit == "1" else f"rad/{grid.unit}",
        "axis": "wavenumber k",
        "k_train_nyquist": grid.k_nyquist,
        "k": made["k"],
        "truth": made["truth"],
        "predictions": {found.name: made["prediction"]},
        "error": {found.name: made["error"]},
    }


def _fields(found: Diagnosis) -> dict[str, Any]:
    """The first sample on ρ₀, a rung between and the finest; of a volume its middle plane."""
    finer = [rung for rung in found.fields.rungs if rung > found.train_rung]
    picked = sorted({found.train_rung, *finer[(len(finer) - 1) // 2 :][:1], *finer[-1:]})
    grid = found.fields.rungs[found.train_rung].grid
    box = list(zip(grid.origin, grid.extent, strict=True))[-2:]
    return {
        "rungs": picked,
        "truth": {rung: _plane(found, rung, of_truth=True) for rung in picked},
        "predictions": {found.name: {rung: _plane(found, rung, of_truth=False) for rung in picked}},
        "extent": [end for axis in reversed(box) for end in (axis[0], axis[0] + axis[1])],
        "kind": "lines" if grid.ndim == 1 else "images",
        "x": {rung: _last_axis(found.fields.rungs[rung].grid) for rung in picked},
        "chosen_blind": True,
        "unit": grid.unit,
        "cmap": "diverging",
    }


def _last_axis(grid: Grid) -> list[float]:
    positions: list[float] = grid.coordinates(grid.ndim - 1).tolist()
    return positions


def _plane(found: Diagnosis, rung: int, *, of_truth: bool) -> Any:
    there = found.fields.rungs[rung]
    u = there.truth[0, 0] if of_truth else there.prediction[0, 0, 0]
    if there.weights is not None:
        u = torch.where(there.weights[0, 0] > 0, u, torch.nan)
    return (u[len(u) // 2] if u.ndim == 3 else u).numpy()
