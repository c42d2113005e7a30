"""The report as files: one self-contained HTML page, one Markdown with its figures beside it, and the tables."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from anchorbench.report import document as read
from anchorbench.report.document import Curve, Document, Group
from anchorbench.report.plots import PLOTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What the words mean, in the order in which a reader meets them on the page.
DEFINITIONS = (
    (
        "Rung ρ, train rung ρ₀, α",
        "A rung is one grid of the ladder, named by its points per axis. ρ₀ is the finest rung that zero-shot "
        "training may see; α = ρ/ρ₀. A hollow point or ° marks a rung that training saw.",
    ),
    (
        "Resolved error E_res",
        "E_res(ρ) = ‖P e_ρ‖ / σ: the error on rung ρ in the band that ρ₀ resolves, pooled over samples, in units of "
        "the truth's standard deviation σ on ρ₀. P restricts to ρ₀ and prolongs back. The truth in that band is the "
        "same field on every rung, so the curve compares like with like; the run's own coarse prediction, upsampled, "
        "is exactly flat.",
    ),
    (
        "Unseen error E_uns, skill S",
        "E_uns(ρ) = ‖(I−P) e_ρ‖ / σ is the error in the band that only the finer rung resolves; total² = E_res² + "
        "E_uns². S(ρ) = 1 − ‖(I−P) e_ρ‖² / ‖(I−P) y_ρ‖²: 1 for the truth, 0 for the coarse prediction upsampled (it "
        "writes nothing there), below 0 for one that is worse than nothing.",
    ),
    (
        "Slope, δ and the first word",
        "The slope of log E_res on log N over ρ₀ and the finer rungs that training has not seen, with its interval, "
        "against δ = {delta:g}. converging: the whole interval is below −δ, and no local slope between neighbouring "
        "rungs is above +δ. diverging: the whole interval is above +δ. anchored: it is inside ±δ. no headroom: it is "
        "inside ±δ, but a model trained on the finer rungs does not get better either. undecided: none of these; the "
        "smallest slope that the data could have told stands beside it.",
    ),
    (
        "The second word",
        "From S on the finer rungs. adds: the interval is above 0. empty: it holds 0. harms: it is below 0, so what "
        "the model writes in the unseen band is worse than nothing.",
    ),
    (
        "Headroom",
        "Whether the same model trained on finer rungs (native) has a resolved error that falls faster than δ. "
        "Without it, a flat curve may only say that the model is at its limit; an anchored curve whose headroom "
        "nobody measured says so.",
    ),
    (
        "Intervals",
        "Seeds and trajectories are crossed random effects. With fewer than three seeds an interval is given these "
        "seeds (†): it says nothing of another seed.",
    ),
    (
        "Anchoring index A",
        "A(ρ) = (E_res − E_native) / (E_cu − E_native), where E_cu is the run's own coarse prediction, upsampled. 0: "
        "as good as trained there; 1: no better than its own coarse prediction; above 1: worse. The tables show it on "
        "the finest rung that has one and that training did not see, as A @rung.",
    ),
    (
        "Error budget",
        "Signed shares of E_res²: the model itself (its error on ρ₀), the grid (the same information on the finer "
        "grid), the information (what the finer input adds, on the same grid). They sum exactly to E_res². The unseen "
        "error E_uns, which is no part of it, stands beside.",
    ),
    (
        "The papers' ratio",
        "RMSE(ρ)/RMSE(ρ₀) of the total error, each on its own rung, over the model's own error at ρ₀ or the "
        "baseline's. The truth gains energy with the rung, so the ratio rises for reasons that are not the model's: "
        "it carries no verdict.",
    ),
    (
        "The references",
        "persistence: the last input, kept. coarse then upsample: the run's own prediction on ρ₀, prolonged. solver: "
        "the equations, solved on each rung from the restricted state. native: the baseline trained anew on each "
        "rung, one model a rung.",
    ),
)

CAPTIONS = {
    "error-vs-res": "Top: resolved error against points per axis; bands are intervals, hollow points are rungs that "
    "training saw. Bottom: skill in the unseen band.",
    "ratio": "The papers' ratio RMSE(ρ)/RMSE(ρ₀) of the total error, each on its own rung, over the model's own error "
    "(solid) and the baseline's (dashed). It carries no verdict.",
    "spectrum": "Top: power spectra of the truth and the predictions on the finest rung. Bottom: spectrum of the error "
    "over the truth's; at 1 a prediction is as wrong as none. Vertical lines: Nyquist wavenumbers of the rungs.",
    "residual-spectrum": "Spectrum of the error over the truth's, a panel a rung; at 1 a prediction is as wrong as "
    "none. Vertical line: the Nyquist wavenumber of the train rung.",
    "matrix": "One model trained at each rung (rows), on every rung (columns), error in σ. Total error, with its ratio "
    "to the model trained there; error in the band of the row's own train rung, with its ratio to the error at home.",
    "controlled": "The two controlled tests. Band held: inputs and targets hold the same waves, only the grid changes. "
    "Grid held: only the low-pass cut-off changes. A filtered pair no longer satisfies the equation.",
    "response": "Gain of one wave added to real states, by wavenumber, with the solver's in grey; phase, and the share "
    "of the response that is in other waves. Vertical line: the Nyquist wavenumber of the train rung.",
    "lead-time": "Forecasts fed back: resolved error against lead time on each rung, skill in the unseen band on the "
    "finest, and the slope over the rungs at each lead; the strip is ±δ.",
    "fields": "One sample on three rungs: truth, predictions, and prediction − truth, on shared colour scales.",
}


def write_page(
    document: Document, figures: Mapping[tuple[Any, str], Figure | bytes], folder: Path | str
) -> tuple[Path, Path]:
    """Write index.html, which needs no other file, and report.md with figures/ beside it; returns their paths.

    figures: by (group id, plot name), a Figure (written as PNG, SVG and PDF) or the bytes of a PNG.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    context = _context(document, figures, folder)
    paths = folder / "index.html", folder / "report.md"
    for path, environment, template in (
        (paths[0], _environment(html=True), "page.html.j2"),
        (paths[1], _environment(html=False), "report.md.j2"),
    ):
        _replace(path, environment.get_template(template).render(**context).encode())
    return paths


def write_results(document: Document, folder: Path | str) -> tuple[Path, Path]:
    """Write results.parquet (one row a curve and rung, with its curve's verdict) and report.json (NaN is null)."""
    from anchorbench.report.tables import curves_frame

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    table, text = folder / "results.parquet", folder / "report.json"
    _replace(table, curves_frame(document).to_parquet(index=False))
    _replace(text, json.dumps(read.jsonable(document), ensure_ascii=False, allow_nan=False, indent=1).encode())
    return table, text


def _context(document: Document, figures: Mapping[tuple[Any, str], Figure | bytes], folder: Path) -> dict[str, Any]:
    delta = next((d for c in document.get("curves") or () if (d := read.finite(c.get("delta"))) is not None), 0.1)
    taken: set[str] = set()
    groups = []
    for group, curves in read.groups_of(document):
        name = _slug(group, taken)
        drawn = [
            _figure(group, curves, plot, figures[group.get("id"), plot], folder, name)
            for plot in PLOTS
            if (group.get("id"), plot) in figures
        ]
        groups.append(_group(group, curves, name, {figure["plot"]: figure for figure in drawn}))
    curves = list(document.get("curves") or ())
    return {
        "document": document,
        "groups": groups,
        "missing": list(document.get("missing") or ()),
        "protocols": sorted({str(c.get("protocol")) for c in curves if c.get("protocol") is not None}),
        "n_models": sum(map(read.is_method, curves)),
        "definitions": [(term, text.replace("{delta:g}", f"{delta:g}")) for term, text in DEFINITIONS],
    }


def _group(group: Group, curves: Sequence[Curve], name: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    train = read.finite(group.get("train_rung"))
    rungs = read.group_rungs(group, curves)
    models = [curve for curve in curves if read.is_method(curve)]
    return {
        "name": name,
        "heading": read.heading(group),
        "group": group,
        "facts": _facts(group),
        "curves": curves,
        "models": models,
        "references": [c for c in curves if not read.is_method(c) and c.get("words")],
        "rungs": [r for r in rungs if train is None or r >= train],
        "all_rungs": rungs,
        "train": train,
        "figures": figures,
        "environments": list(group.get("environments") or ([group["environment"]] if group.get("environment") else [])),
        "budget": [row for curve in models for row in _budget(curve)],
        "cards": _cards(models),
        "costs": [(read.label_of(c), c["cost"]) for c in curves if c.get("cost")],
        "notes": [(read.label_of(c), note) for c in curves for note in c.get("notes") or ()],
        "floor": [(r, f) for r in rungs if (f := read.finite(read.at(group.get("floor"), r))) is not None],
        "local": [(read.label_of(c), c["local_slopes"]) for c in curves if c.get("local_slopes")],
    }


def _facts(group: Group) -> str:
    """One line under the heading: what was done on what."""
    said = [
        f"task {group.get('task')}" if group.get("task") else "",
        f"size {group.get('size')}" if group.get("size") else "",
        f"source {group.get('source')}" if group.get("source") else "",
        f"trained at {group.get('train_rung'):g} points per axis" if read.finite(group.get("train_rung")) else "",
        f"rungs {', '.join(f'{r:g}' for r in read.rungs_of(group))}" if read.rungs_of(group) else "",
        f"restriction {group.get('restriction')}" if group.get("restriction") else "",
        f"σ = {read.number(group.get('sigma'))} {group.get('unit') or ''}".strip() if group.get("sigma") else "",
    ]
    return " · ".join(part for part in said if part)


def _figure(
    group: Group, curves: Sequence[Curve], plot: str, figure: Figure | bytes, folder: Path, name: str
) -> dict[str, Any]:
    """Write the figure's files, and what the templates need of it."""
    stem = f"{name}-{plot}"
    path = folder / "figures" / stem
    if isinstance(figure, bytes):
        path.parent.mkdir(exist_ok=True)
        _replace(path.with_name(f"{stem}.png"), figure)
        kind, data = "png", figure
    else:
        from anchorbench.report.style import save

        files = {file.suffix[1:]: file for file in save(figure, path)}
        kind = "png" if plot == "fields" else "svg"  # an image of many pixels is larger as SVG
        data = files[kind].read_bytes()
    told = " ".join(read.sentence(curve) for curve in curves if read.is_method(curve))
    return {
        "plot": plot,
        "file": f"figures/{stem}.png",
        "uri": f"data:image/{'svg+xml' if kind == 'svg' else 'png'};base64,{base64.b64encode(data).decode()}",
        "alt": f"{PLOTS[plot].describes}, {read.heading(group)}. {told}".strip(),
        "caption": CAPTIONS[plot],
    }


def _budget(curve: Curve) -> list[dict[str, Any]]:
    """The shares of E_res² in percent, a row a rung that has them."""
    rows = []
    for rung, budget in zip(read.rungs_of(curve), read.per_rung(curve, "budget"), strict=False):
        parts = {part: read.finite((budget or {}).get(part)) for part in ("model", "grid", "information")}
        known = [value for value in parts.values() if value is not None]
        if not known:
            continue
        whole = sum(known)
        shares = {k: 100 * v / whole if v is not None and whole else None for k, v in parts.items()}
        unseen = read.value_at(curve, rung, "unseen")
        rows.append({"label": read.label_of(curve), "rung": rung, "squared": whole, "unseen": unseen, **shares})
    return rows


def _cards(curves: Sequence[Curve]) -> list[tuple[str, Mapping[str, Any]]]:
    """Each card once, under the names of all curves that have it."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    for curve in curves:
        card = curve.get("card")
        if not card:
            continue
        same = next((n for n, (_, other) in enumerate(found) if other == card), None)
        if same is None:
            found.append((read.label_of(curve), card))
        else:
            found[same] = (f"{found[same][0]}, {read.label_of(curve)}", card)
    return found


def _slug(group: Group, taken: set[str]) -> str:
    """A name for anchors and files, from the name shown: a stand-in does not get the real set's name here either."""
    shown = (group.get("display_name") or group.get("id"), group.get("size"), group.get("task"), group.get("variable"))
    words = re.sub(r"[^a-z0-9]+", "-", " ".join(str(part) for part in shown if part).lower())[:80].strip("-") or "group"
    name = next(n for n in (words, *(f"{words}-{i}" for i in range(2, 1000))) if n not in taken)
    taken.add(name)
    return name


def _environment(*, html: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("anchorbench.report"),
        autoescape=html,
        finalize=_shown if html else _markdown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "number": read.number, "fixed": read.fixed, "interval": read.interval, "percent": _percent, "plain": _plain,
        "duration": _duration, "label": read.label_of, "sentence": read.sentence, "verdict": read.verdict,
        "words": read.words, "headroom": read.headroom, "slope": read.slope, "trained": read.trained,
        "value_at": read.value_at, "seen": read.seen, "is_method": read.is_method, "index": read.index,
        "heading": read.heading, "fence": _fence, "finite": read.finite, "given_these_seeds": read.given_these_seeds,
    }  # fmt: skip
    environment.filters.update(filters)
    return environment


def _shown(value: Any) -> Any:
    return "" if value is None else value


def _markdown(value: Any) -> Any:
    """Text as Markdown shows it and nothing more: no HTML, table cell, emphasis or link comes out of a name."""
    if isinstance(value, Markup):
        return value
    text = " ".join(("" if value is None else str(value)).split())
    for mark in "\\`*|":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("<", "&lt;").replace(">", "&gt;").replace("[", "\\[").replace("]", "\\]")


def _fence(text: Any) -> Markup:
    """A fenced block that its own text cannot close."""
    written = str(text or "").rstrip("\n")
    longest = max((len(run) for run in re.findall(r"`+", written)), default=0)
    ticks = "`" * max(3, longest + 1)
    return Markup(f"{ticks}\n{written}\n{ticks}")  # raw on purpose: a fence shows it as it is


def _percent(value: Any) -> str:
    x = read.finite(value)
    return read.DASH if x is None else f"{x:.0f} %".replace("-", "−")


def _plain(value: Any) -> str:
    """A value of a card, an environment or a provenance as one line."""
    if value is None:
        return read.DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f") if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return re.sub(r"e([+-])0?", lambda m: "e" + m[1].replace("+", ""), f"{value:.4g}").replace("-", "−")
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(inner) for inner in value)
    return str(value)


def _duration(seconds: Any) -> str:
    x = read.finite(seconds)
    if x is None:
        return read.DASH
    if x < 60:
        return f"{x:.3g} s"
    hours, minutes = divmod(round(x / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{int(x // 60)} min {round(x % 60):d} s"


def _replace(path: Path, data: bytes) -> None:
    """All of it or nothing: written beside, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
