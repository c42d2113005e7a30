"""The tables of docs/super-resolution.md, made from the reports in results/reference/super-resolution/.

python docs/super_resolution_tables.py           write them anew, between `<!-- NAME -->` and `<!-- end -->`
python docs/super_resolution_tables.py --check   exit code 1 where the page is not what the reports say
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import marked_tables

from anchorbench.report.super_resolution import factor_text, over_interpolation, trained_range

PAGE = Path(__file__).resolve().parent / "super-resolution.md"
REFERENCE = Path(__file__).resolve().parent.parent / "results" / "reference" / "super-resolution"

Curve = Mapping[str, Any]
Document = Mapping[str, Any]

#: Luo et al. 2024, table 2: mean square error on fields scaled to 0 ... 1, trained on factors 1 to 4.
PUBLISHED = {
    "bilinear": (8.625e-5, 3.141e-4, 8.053e-4, 1.703e-3),
    "bicubic": (9.323e-5, 3.518e-4, 9.126e-4, 1.960e-3),
    "liif": (2.818e-5, 2.671e-4, 9.731e-4, 2.283e-3),
    "lte": (7.860e-6, 2.080e-4, 1.033e-3, 2.466e-3),
    "srno": (9.272e-6, 1.634e-4, 8.008e-4, 2.127e-3),
    "hinote": (7.121e-6, 8.906e-5, 7.361e-4, 2.041e-3),
}
FACTORS = (4.6, 8.2, 15.7, 32.0)


def documents() -> dict[str, Document]:
    """Every reference report by the name of its folder; none of what was not run."""
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(REFERENCE.glob("*/report.json"))}


def with_tables(page: str, found: Mapping[str, Document] | None = None) -> str:
    known = documents() if found is None else found
    return marked_tables.with_tables(page, lambda name: table(name, known))


def table(name: str, known: Mapping[str, Document]) -> str:
    """`family DATASET`, `published`, `range`, `ablation` or `cost`."""
    kind, _, of = name.partition(" ")
    if kind == "cost":
        return cost_table()
    study = {"range": "range", "ablation": "hinote-ablation"}.get(kind, "study")
    if study not in known:
        return "not run: " + study
    if kind == "published":
        return published_table(known[study])
    if kind == "family":
        return family_table(known[study], of)
    return by_row(known[study])


def family_table(document: Document, dataset: str) -> str:
    """Error over interpolation's and PSNR by factor; then consistency at the finest factor."""
    group, curves = group_of(document, dataset)
    if group is None:
        return "not run: " + dataset
    given, rungs = float(group["input_rung"]), scored_rungs(curves)
    low, high = ends(curves)
    heads = [factor_text(r / given) + ("" if low <= r <= high else " *") for r in rungs]
    rows = []
    for curve in curves:
        cells = []
        for rung in rungs:
            over = over_interpolation(curve, curves, rung)
            shown = "–" if over is None else f"{over:.3f}"
            won = over is not None and over < 0.9995 and curve["kind"] == "method"
            cells.append(
                f"**{shown}** ({at(curve, rung, 'psnr'):.1f})" if won else f"{shown} ({at(curve, rung, 'psnr'):.1f})"
            )
        rows.append([named(curve), *cells, f"{at(curve, rungs[-1], 'consistency'):.2g}"])
    return markdown(["", *(f"×{head}" for head in heads), "consistency"], rows)


def published_table(document: Document) -> str:
    """The ratio of root mean squares to bilinear's, published and here, at the nearest factor within 4 %."""
    rows = []
    for model, errors in PUBLISHED.items():
        over = [math.sqrt(e / b) for e, b in zip(errors, PUBLISHED["bilinear"], strict=True)]
        rows.append([model, "published", *(f"{x:.2f}" for x in over)])
        for group in document["groups"]:
            curves = shown(document, group)
            bilinear = next((c for c in curves if c["method"] == "bilinear"), None)
            bilinear = bilinear or next((c for c in curves if c["method"] == "interpolate"), None)
            own = [c for c in curves if c["model"] == model and not c["study_label"]]
            own += [c for c in curves if c["method"] == model and c["kind"] == "reference"]
            if not own or bilinear is None or own[0] is bilinear:
                continue
            rows.append(["", group["dataset"], *(beside(own[0], bilinear, group, f) for f in FACTORS)])
    return markdown(["", "", *(f"×{factor_text(f)}" for f in FACTORS)], rows)


def beside(curve: Curve, bilinear: Curve, group: Mapping[str, Any], factor: float) -> str:
    given = float(group["input_rung"])
    near = [r for r in curve["rungs"] if abs(r / given / factor - 1) < 0.04]
    if not near:
        return "–"
    return f"{at(curve, near[0], 'total') / at(bilinear, near[0], 'total'):.2f}"


def by_row(document: Document) -> str:
    """Each row of a study: error over interpolation's by factor, and the spectra's divergence at the last trained."""
    group = document["groups"][0]
    curves, given = shown(document, group), float(group["input_rung"])
    rungs = scored_rungs(curves)
    home = group["train_rung"]
    rows = []
    for curve in curves:
        own = trained_range(curve)
        cells = [over_interpolation(curve, curves, rung) for rung in rungs]
        rows.append([
            named(curve), "–" if own is None else factor_text(own[1] / given),
            *("–" if x is None else f"{x:.3f}" for x in cells),
            f"{at(curve, home, 'spectral_divergence'):.1f}",
        ])  # fmt: skip
    heads = [f"×{factor_text(r / given)}" for r in rungs]
    return markdown(["", "trained to", *heads, f"spectra at ×{factor_text(home / given)}, dB"], rows)


def cost_table() -> str:
    path = REFERENCE / "cost.csv"
    if not path.exists():
        return "not run: cost"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    points = [key for key in rows[0] if key.isdigit()]
    made = [
        [r["model"], r["measured"], *(f"{float(r[n]):.3g}" for n in points), f"{float(r['exponent']):.2f}"]
        for r in rows
    ]
    return markdown(["model", "", *points, "exponent"], made)


def shown(document: Document, group: Mapping[str, Any]) -> list[Curve]:
    """A group's models, then its references but those that super-resolution has no use for."""
    hidden = ("coarse_then_upsample", "oracle_lowpass")
    found = [c for c in document["curves"] if c["group"] == group["id"] and c["method"] not in hidden]
    return sorted(found, key=lambda c: c["kind"] != "method")


def group_of(document: Document, dataset: str) -> tuple[Mapping[str, Any] | None, list[Curve]]:
    for group in document["groups"]:
        if group["dataset"] == dataset:
            return group, shown(document, group)
    return None, []


def scored_rungs(curves: Sequence[Curve]) -> list[float]:
    return sorted({rung for curve in curves for rung in curve["rungs"]})


def ends(curves: Sequence[Curve]) -> tuple[float, float]:
    """The widest range of rungs that a model of these was trained on."""
    ranges = [r for c in curves if (r := trained_range(c)) is not None]
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def named(curve: Curve) -> str:
    if curve["kind"] != "method":
        return str(curve["method"])
    return str(curve["model"]) + (f", {curve['study_label']}" if curve["study_label"] else "")


def at(curve: Curve, rung: float, key: str) -> float:
    value = (curve.get(key) or [None] * len(curve["rungs"]))[curve["rungs"].index(rung)]
    return math.nan if value is None else float(value)


def markdown(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = list(heads)
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


if __name__ == "__main__":
    sys.exit(marked_tables.write(PAGE, with_tables, about=__doc__))
