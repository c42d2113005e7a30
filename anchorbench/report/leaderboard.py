"""The leaderboard: a table a benchmark and track, ranked; nothing of two benchmarks ever stands in one.

A benchmark is one ladder (restriction, rungs, generator), task, lead, scored band and protocol: a group of the report.
In it the tracks stand apart, for an assisted method saw finer data.

    rank = 1 + number of curves of the table whose E_res on the finest rung is told apart from this one's, and lower

Told apart: the paired difference on the same trajectories, p adjusted by Holm below 0.05; where two curves were not
paired, intervals that do not overlap.  Curves that are not told apart share a rank.  E_res is in the band of ρ₀, whose
truth is one field on every rung, so a rank asks the question of the project: how accurate is the model on the finest
grid, of what it was asked to learn?  Slope, both words and A stand beside it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anchorbench
from anchorbench.methods.registry import METHODS
from anchorbench.report import document as read
from anchorbench.report.document import Curve, Document, Group
from anchorbench.report.headline import flops
from anchorbench.report.page import environment, replace_whole
from anchorbench.runs.run_card import RunCard

LEVEL = 0.05
TRACKS = ("zero-shot", "assisted")
COLUMNS = {
    "rank": "Rank",
    "label": "Method, model",
    "seeds": "Seeds",
    "error": "E_res, finest rung",
    "interval": "Interval",
    "home": "E_res, ρ₀",
    "slope": "Slope",
    "verdict": "On finer grids",
    "second_word": "Unseen band",
    "index": "A @rung",
    "footing": "Footing",
    "flops": "Training",
}
CAPTION = (
    "Ranked by the resolved error on the finest rung; curves that are not told apart (paired difference on the same "
    "trajectories, Holm, 5 %; where they were not paired, intervals that overlap) share a rank. ° that rung was seen "
    "in training. † given these seeds. References carry no rank. Submitted cards are shown as they were sent: verify "
    "one with anchorbench evaluate RUN --verify CARD."
)


@dataclass(frozen=True)
class Board:
    """One table.  rows: `COLUMNS` -> text, methods by rank, then references, then cards; `kind` says which."""

    benchmark: str
    heading: str
    facts: str
    track: str
    rung: float
    rows: list[dict[str, str]] = field(default_factory=list)


def boards(document: Document, cards: Iterable[RunCard] = ()) -> list[Board]:
    """A board for each group and track that has a method; cards of benchmarks without one have a board of their own.

    A card whose run is among the document's own runs is left out: the run itself stands there.
    """
    given = list(cards)
    own = {str(spec.get("run")) for group in document.get("groups") or () for spec in group.get("specs") or ()}
    by_benchmark: dict[str, list[RunCard]] = {}
    for card in given:
        if card.run not in own:
            by_benchmark.setdefault(card.benchmark, []).append(card)
    out = []
    for group, curves in read.groups_of(document):
        sent = by_benchmark.pop(str(group.get("id")), [])
        for track in TRACKS:
            methods = [c for c in curves if read.is_method(c) and (c.get("track") or TRACKS[0]) == track]
            mine = [card for card in sent if _track_of(card) == track]
            if methods or mine:
                out.append(_board(group, track, methods, [c for c in curves if not read.is_method(c)], mine))
    out += [_of_cards(cards, track) for cards in by_benchmark.values() for track in TRACKS if _any(cards, track)]
    return out


def ranked(group: Group, curves: Sequence[Curve], rung: float) -> list[tuple[int | None, Curve]]:
    """Each curve with its rank, the best first; None of one that was not scored on that rung."""
    scored = [c for c in curves if read.finite(read.value_at(c, rung, "error")) is not None]
    pairs = _pairs(group, rung)
    rank = {id(c): 1 + sum(_better(other, c, rung, pairs) for other in scored if other is not c) for c in scored}
    ordered = sorted(scored, key=lambda c: (rank[id(c)], read.finite(read.value_at(c, rung, "error")) or 0.0))
    return [(rank[id(c)], c) for c in ordered] + [(None, c) for c in curves if c not in scored]


def as_csv(found: Sequence[Board]) -> str:
    """All boards one under the other, the benchmark in the first columns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["benchmark", "data", "track", "rung", "kind", *COLUMNS])
    for board in found:
        for row in board.rows:
            head = [board.benchmark, f"{board.heading}; {board.facts}", board.track, f"{board.rung:g}", row["kind"]]
            writer.writerow([*head, *(_no_formula(row[name]) for name in COLUMNS)])
    return text.getvalue()


def write_boards(found: Sequence[Board], folder: Path, *, words: Sequence[str] = ()) -> list[Path]:
    """leaderboard.html, .md and .csv; words: where folders did not agree on a run."""
    context = {
        "boards": found,
        "columns": COLUMNS,
        "caption": CAPTION,
        "words": words,
        "version": anchorbench.__version__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    paths = [folder / f"leaderboard.{kind}" for kind in ("html", "md", "csv")]
    texts = [environment(html=kind == "html").get_template(f"leaderboard.{kind}.j2").render(**context)
             for kind in ("html", "md")]  # fmt: skip
    for path, text in zip(paths, (*texts, as_csv(found)), strict=True):
        replace_whole(path, text.encode())
    return paths


def _board(
    group: Group, track: str, methods: Sequence[Curve], references: Sequence[Curve], cards: Sequence[RunCard]
) -> Board:
    rungs = read.group_rungs(group, ())
    rung = max(rungs, default=0.0)
    order = ranked(group, methods, rung)
    rows = [_row(curve, rung, rank) | {"kind": "run"} for rank, curve in order]
    rows += [
        _row(curve, rung, None) | {"kind": "reference", "label": read.label_of(curve).replace("_", " ")}
        for curve in references
        if curve.get("method") != "coarse_then_upsample"
        and read.finite(read.value_at(curve, rung, "error")) is not None
    ]
    rows += [_card_row(card, rung) for card in cards]
    return Board(str(group.get("id")), read.heading(group), _facts(group), track, rung, rows)


def _facts(group: Group) -> str:
    """What makes the benchmark one."""
    said = [
        f"trained at {group['train_rung']:g}" if read.finite(group.get("train_rung")) is not None else "",
        f"rungs {', '.join(f'{r:g}' for r in read.rungs_of(group))}",
        *(f"{name} {group[name]}" for name in ("size", "task", "source", "restriction") if group.get(name)),
    ]
    return " · ".join(part for part in said if part)


def _pairs(group: Group, rung: float) -> dict[tuple[str, str], Mapping[str, Any]]:
    """(first, second) -> the paired difference of their errors on that rung."""
    return {
        (str(one["first"]), str(one["second"])): one
        for one in group.get("paired") or ()
        if one.get("what") != "slope" and [read.finite(r) for r in one.get("rungs") or ()] == [rung]
    }


def _better(a: Curve, b: Curve, rung: float, pairs: Mapping[tuple[str, str], Mapping[str, Any]]) -> bool:
    """Whether a's error on the rung is told apart from b's, and lower."""
    names = read.label_of(a), read.label_of(b)
    for key, sign in ((names, 1.0), (names[::-1], -1.0)):
        if key in pairs:
            one = pairs[key]
            return sign * float(one["difference"]["estimate"]) < 0 and float(one["p_holm"]) < LEVEL
    mine, other = (read.pair(read.value_at(c, rung, "error_interval")) for c in (a, b))
    if mine is None or other is None:
        # Without intervals nothing tells two numbers apart but themselves.
        return float(read.value_at(a, rung, "error")) < float(read.value_at(b, rung, "error"))
    return mine[1] < other[0]


def _row(curve: Curve, rung: float, rank: int | None) -> dict[str, str]:
    cost, train = curve.get("cost") or {}, read.finite(curve.get("train_rung"))
    told = read.is_told(curve)
    error = read.value_at(curve, rung, "error")
    seen = "°" if read.finite(error) is not None and read.seen(curve, rung) else ""
    return {
        "rank": "" if rank is None else str(rank),
        "label": _named(curve),
        "seeds": str(len(curve.get("seeds") or ()) or ""),
        "error": read.number(error) + seen,
        "interval": read.interval(read.value_at(curve, rung, "error_interval"), places=4),
        "home": read.number(read.value_at(curve, train, "error")) if train is not None else read.DASH,
        "slope": read.slope(curve) if told else "",
        "verdict": read.words(curve).split(", ")[0] if told else "",
        "second_word": str(curve.get("second_word") or "") if told else "",
        "index": read.index(curve),
        "footing": str(curve.get("footing") or ""),
        "flops": flops(cost.get("flops")) if read.finite(cost.get("flops")) is not None else "",
        "word": str(curve.get("verdict") or "") if told else "",
    }


def _named(curve: Curve) -> str:
    """The label, with the model where that does not tell it."""
    label, model = read.label_of(curve), str(curve.get("model") or "")
    return label if not model or model in label else f"{label} · {model}"


def _card_row(card: RunCard, rung: float) -> dict[str, str]:
    """A card as a row: one seed, unverified, without rank."""
    said, errors = card.verdict, card.curve
    here, home = errors.get(int(rung)), errors.get(card.spec.band_rung)
    curve: Curve = {**said, "interval_kind": "given these seeds"}
    return {
        **dict.fromkeys(COLUMNS, ""),
        "kind": "card",
        "label": f"{card.spec.method} · {card.spec.model}, card of {card.run}",
        "seeds": "1",
        "error": read.number(here["resolved"]) if here else read.DASH,
        "home": read.number(home["resolved"]) if home else read.DASH,
        "slope": read.slope(curve),
        "verdict": read.verdict(curve),
        "second_word": str(said.get("second_word") or ""),
        "footing": {"cost": "equal cost", "parameters": "equal parameters"}.get(str(card.spec.footing), "as set"),
        "word": str(said.get("verdict") or ""),
    }


def _track_of(card: RunCard) -> str:
    return str(METHODS[card.spec.method][2]) if card.spec.method in METHODS else TRACKS[0]


def _any(cards: Sequence[RunCard], track: str) -> bool:
    return any(_track_of(card) == track for card in cards)


def _of_cards(cards: Sequence[RunCard], track: str) -> Board:
    """The board of a benchmark that only cards are of."""
    first, mine = cards[0], [card for card in cards if _track_of(card) == track]
    ladder, spec = first.ladder, first.spec
    facts = (
        f"trained at {spec.band_rung} · rungs {', '.join(map(str, ladder.rungs))} · size {spec.size} · task {spec.task}"
        f" · source {spec.source} · restriction {ladder.restriction}"
    )
    rung = float(max(ladder.rungs))
    return Board(first.benchmark, first.data, facts, track, rung, [_card_row(card, rung) for card in mine])


def _no_formula(cell: str) -> str:
    """A spreadsheet takes a cell that begins with one of these for a formula, unless a number follows."""
    return f"'{cell}" if cell[:1] in ("=", "@", "+", "-") and not cell[1:2].isdigit() else cell
