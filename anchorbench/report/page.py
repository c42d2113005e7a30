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
from anchorbench.report.bars import budget_bars, slope_strip
from anchorbench.report.beside import tables_of
from anchorbench.report.break_even import CAPTION as EVEN
from anchorbench.report.break_even import COLUMNS as EVEN_COLUMNS
from anchorbench.report.break_even import break_even, even_table
from anchorbench.report.chart import curves_chart
from anchorbench.report.document import Curve, Document, Group
from anchorbench.report.headline import cost_rows, headline, not_run_of, stands_for, why
from anchorbench.report.plots import FORMATS, PLOTS
from anchorbench.report.wording import CAPTIONS, COSTS, DEFINITIONS, HEADLINE, SIGNS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_page(
    document: Document,
    figures: Mapping[tuple[Any, str], Figure | bytes],
    folder: Path | str,
    *,
    formats: Sequence[str] = FORMATS,
) -> tuple[Path, Path]:
    """Write index.html, which needs no other file, and report.md with figures/ beside it; returns their paths.

    figures: by (group id, plot name), a Figure or the bytes of a PNG.  formats: what figures are written as; `png`,
    which the Markdown shows, is always one.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    context = _context(document, figures, folder, tuple(dict.fromkeys(("png", *formats))))
    paths = folder / "index.html", folder / "report.md"
    for path, templates, template in (
        (paths[0], environment(html=True), "page.html.j2"),
        (paths[1], environment(html=False), "report.md.j2"),
    ):
        replace_whole(path, templates.get_template(template).render(**context).encode())
    return paths


def write_results(document: Document, folder: Path | str) -> tuple[Path, Path]:
    """Write results.parquet (one row a curve and rung, with its curve's verdict) and report.json (NaN is null)."""
    from anchorbench.report.tables import curves_frame

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    table, text = folder / "results.parquet", folder / "report.json"
    replace_whole(table, curves_frame(document).to_parquet(index=False))
    replace_whole(text, json.dumps(read.jsonable(document), ensure_ascii=False, allow_nan=False, indent=1).encode())
    return table, text


def _context(
    document: Document, figures: Mapping[tuple[Any, str], Figure | bytes], folder: Path, formats: Sequence[str]
) -> dict[str, Any]:
    delta = next((d for c in document.get("curves") or () if (d := read.finite(c.get("delta"))) is not None), 0.1)
    taken: set[str] = set()
    groups = []
    for group, curves in read.groups_of(document):
        name = _slug(group, taken)
        drawn = [
            _figure(group, curves, plot, figures[group.get("id"), plot], folder / "figures" / f"{name}-{plot}", formats)
            for plot in PLOTS
            if (group.get("id"), plot) in figures
        ]
        shown = {figure["plot"]: figure for figure in drawn}
        groups.append(_group(group, curves, name, shown, not_run_of(document, group)))
    curves = list(document.get("curves") or ())
    return {
        "document": document,
        "groups": groups,
        "not_run": [(row.get("dataset"), stands_for(row), why(row)) for row in not_run_of(document, None)],
        "missing": list(document.get("missing") or ()),
        "protocols": sorted({str(c.get("protocol")) for c in curves if c.get("protocol") is not None}),
        "n_models": sum(map(read.is_method, curves)),
        "captions": {"headline": HEADLINE, "costs": COSTS, "even": EVEN},
        "even_columns": EVEN_COLUMNS,
        "definitions": [(term, text.replace("{delta:g}", f"{delta:g}")) for term, text in DEFINITIONS],
    }


def _group(
    group: Group, curves: Sequence[Curve], name: str, figures: Mapping[str, Any], not_run: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
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
        "headline": headline(group, curves, not_run),
        # Each sentence once: coarse predictions of several runs are one and the same reference.
        "references": list({c["words"]: c for c in curves if not read.is_method(c) and c.get("words")}.values()),
        "rungs": [r for r in rungs if train is None or r >= train],
        "all_rungs": rungs,
        "train": train,
        "figures": figures,
        # Those with a place of their own are not among them.
        "pictures": [figure for plot, figure in figures.items() if plot not in ("error-vs-res", "cost")],
        "chart": curves_chart(group, curves),
        "chart_caption": CAPTIONS["chart"],
        "bars": budget_bars(models),
        "tables": tables_of(group, curves),
        "even": even_table(break_even(group, curves)),
        "environments": list(group.get("environments") or ([group["environment"]] if group.get("environment") else [])),
        "budget": [row for curve in models for row in _budget(curve)],
        "cards": _cards(models),
        "acc": [c for c in curves if any(read.finite(v) is not None for v in c.get("acc") or ())],
        "costs": cost_rows(curves),
        "notes": [(read.label_of(c), note) for c in curves for note in c.get("notes") or ()]
        + [(row.get("label"), why(row)) for row in not_run if not row.get("whole")],
        "floor": [(r, f) for r in rungs if (f := read.finite(read.at(group.get("floor"), r))) is not None],
        "local": [(read.label_of(c), c["local_slopes"]) for c in curves if c.get("local_slopes")],
    }


def _facts(group: Group) -> str:
    """One line under the heading: what was done on what."""
    unit = group.get("unit") if group.get("unit") != "1" else ""
    said = [
        f"task {group.get('task')}" if group.get("task") else "",
        f"size {group.get('size')}" if group.get("size") else "",
        f"source {group.get('source')}" if group.get("source") else "",
        f"trained at {group.get('train_rung'):g} points per axis" if read.finite(group.get("train_rung")) else "",
        f"rungs {', '.join(f'{r:g}' for r in read.rungs_of(group))}" if read.rungs_of(group) else "",
        f"restriction {group.get('restriction')}" if group.get("restriction") else "",
        f"σ = {read.number(group.get('sigma'))} {unit or ''}".strip() if group.get("sigma") else "",
    ]
    return " · ".join(part for part in said if part)


def _figure(
    group: Group, curves: Sequence[Curve], plot: str, figure: Figure | bytes, path: Path, formats: Sequence[str]
) -> dict[str, Any]:
    """Write the figure's files, and what the templates need of it.  path: of the files, without their suffix."""
    if isinstance(figure, bytes):
        path.parent.mkdir(exist_ok=True)
        replace_whole(path.with_name(f"{path.name}.png"), figure)
        kind, data = "png", figure
    else:
        from anchorbench.report.style import save

        files = {file.suffix[1:]: file for file in save(figure, path, formats=formats)}
        kind = "png" if plot == "fields" or "svg" not in files else "svg"  # an image of many pixels is larger as SVG
        data = files[kind].read_bytes()
    told = " ".join(read.sentence(curve) for curve in curves if read.is_method(curve))
    return {
        "plot": plot,
        "file": f"figures/{path.name}.png",
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


def environment(*, html: bool) -> Environment:
    """The templates, with what they call; html: names are escaped as HTML, else as Markdown."""
    made = Environment(
        loader=PackageLoader("anchorbench.report"),
        autoescape=html,
        finalize=_shown if html else _markdown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "number": read.number, "fixed": read.fixed, "interval": read.interval, "percent": _percent, "plain": read.plain,
        "label": read.label_of, "sentence": read.sentence, "verdict": read.verdict,
        "words": read.words, "headroom": read.headroom, "slope": read.slope, "trained": read.trained,
        "value_at": read.value_at, "seen": read.seen, "is_method": read.is_method, "index": read.index,
        "is_told": read.is_told, "heading": read.heading, "fence": _fence, "finite": read.finite,
        "given_these_seeds": read.given_these_seeds, "strip": slope_strip, "cause": read.cause,
        "capital": _capital, "sign": _sign, "apart": _apart,
    }  # fmt: skip
    made.filters.update(filters)
    return made


def _capital(text: Any) -> str:
    written = str(text or "")
    return written[:1].upper() + written[1:]


def _apart(text: Any) -> tuple[str, str]:
    """A cell's number or word, and the bracket behind it, which stands below it in small."""
    first, mark, rest = str(text or "").partition(" [")
    if not mark:
        first, mark, rest = str(text or "").partition(" (")
    return first, f"{mark}{rest}".strip()


def _sign(word: Any) -> str:
    """What stands before a verdict, so that its colour is not all that tells it."""
    return SIGNS.get(str(word), "")


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


def replace_whole(path: Path, data: bytes) -> None:
    """All of it or nothing: written beside, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
