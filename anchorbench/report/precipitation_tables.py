"""The tables of refined rain over all pairs of factors: scores, samplers, and whether one mean serves all factors."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anchorbench.analysis.factors import transfer
from anchorbench.errors import AnchorbenchError
from anchorbench.report.document import DASH, Document, fixed, number
from anchorbench.report.precipitation import AGAINST, MEAN_ONLY, Pair, refined, with_interval

COLUMNS = {
    "pair": "Factors (space, time)",
    "label": "Run",
    "crps": "CRPS, mm",
    **{f"over {name}": f"over {name}" for name in AGAINST},
    "crps_cut": "CRPS to 5.5 mm/h",
    "rmse": "RMSE of the mean",
    "skill": "Skill",
    "spread_skill": "Spread / skill",
    "rank_deviation": "Rank deviation",
    "tail_error": "Error of q99.9, mm",
    "fss": "FSS 0.95 mm",
    "wet_error": "Wet share",
    "mass_error": "Mass",
    "worst_mass": "Mass, worst event",
}


#: Columns in percent.
SHARES = ("wet_error", "mass_error", "worst_mass")
MEANS = (
    "Error over that of the mean trained for these factors. τ: the share of its gain over the coarse frame that is "
    "lost; 0: one structure for all; 1: nothing carries over; a dash where it gains nothing."
)
CAPTION = (
    "CRPS is fair; ratios over another run's CRPS with 95 % intervals over events, given these weights. Skill: 1 − MSE "
    "over that of the coarse frame as it is. Rank deviation: 0 of a flat histogram."
)


def table(document: Document) -> list[dict[str, Any]]:
    """A row a run and pair of factors, plain numbers: `COLUMNS`."""
    rows = []
    for _, held in refined(document):
        for row in held["rows"]:
            over = {f"over {name}": row["over"].get(name) for name in AGAINST}
            pair = "({:g}, {:g})".format(*held["pair"])
            rows.append({"pair": pair, **{name: row[name] for name in COLUMNS if name in row}, **over})
    return rows


def transfers(document: Document) -> list[dict[str, Any]]:
    """τ of the mean for factors A on those of B, each pair of runs without a denoiser that were put to `factors`.

    They must have been scored on the same events.
    """
    own: dict[tuple[str, Pair, Pair], dict[str, Any]] = {}
    for _, held in refined(document):
        for row in held["rows"]:
            for told in held["factors"].get(row["label"]) or () if row["role"] == MEAN_ONLY else ():
                own[held["events"], _pair(held["pair"]), _pair(told["pair"])] = told
    out = []
    for (events, trained, asked), one in own.items():
        at_home = own.get((events, asked, asked))
        if at_home is None or trained == asked:
            continue
        of_another, at_hand, given = (np.asarray(x) for x in (one["squared"], at_home["squared"], one["nearest"]))
        over = float(np.sqrt(of_another.sum() / at_hand.sum())) if at_hand.sum() > 0 else None
        try:
            gained = with_interval(transfer(of_another, at_hand, given))
        except AnchorbenchError:  # the own mean gains nothing over the coarse frame: there is no share to lose
            gained = {"value": None, "interval": None}
        out.append({"trained": trained, "asked": asked, "over": over, **gained})
    return out


def _pair(pair: Sequence[float]) -> Pair:
    return float(pair[0]), float(pair[1])


def write_tables(document: Document, out: Path) -> list[Path]:
    """precipitation.md and .csv beside the report; none where no rain was refined."""
    rows = table(document)
    if not rows:
        return []
    out.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    plain = [{n: _plain(v) for name, value in row.items() for n, v in _apart(name, value).items()} for row in rows]
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in plain for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(plain)
    paths = [out / "precipitation.csv", out / "precipitation.md"]
    paths[0].write_text(text.getvalue())
    paths[1].write_text(markdown(document))
    return paths


def markdown(document: Document) -> str:
    """The table, the samplers', and the test of one mean for all factors."""
    lines = ["# Rain refined in space and time", "", _row(COLUMNS.values()), _row("---" for _ in COLUMNS)]
    lines += [_row(_shown(name, row.get(name)) for name in COLUMNS) for row in table(document)]
    lines += ["", CAPTION]
    sampled = [(held["pair"], label, row) for _, held in refined(document)
               for label, rows in held["samplers"].items() for row in rows]  # fmt: skip
    if sampled:
        lines += ["", "## Samplers, one batch", ""]
        head = ("Factors", "Run", "Sampler, steps", "CRPS, mm", "Spread / skill", "Seconds a member and window")
        lines += [_row(head), _row("---" for _ in head)]
        lines += [
            _row(("({:g}, {:g})".format(*pair), label, row["sampler"], number(row["crps"]),
                  fixed(row["spread_skill"]), number(row["seconds"])))
            for pair, label, row in sampled
        ]  # fmt: skip
    if found := transfers(document):
        values = [one["value"] for one in found if one["value"] is not None]
        lines += ["", "## One conditional mean for all factors?", "", MEANS, ""]
        asked = ("Trained for", "Asked for", "Error over own", "τ", "95 % interval")
        lines += [_row(asked), _row("---" for _ in asked)]
        lines += [
            _row(("({:g}, {:g})".format(*one["trained"]), "({:g}, {:g})".format(*one["asked"]), number(one["over"]),
                  fixed(one["value"]),
                  DASH if one["interval"] is None else "[{}, {}]".format(*map(fixed, one["interval"]))))
            for one in found
        ]  # fmt: skip
        if values:
            lines += ["", f"Median τ {fixed(float(np.median(values)))} over {len(values)} pairs of pairs."]
    return "\n".join(lines) + "\n"


def _row(cells: Any) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _shown(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        told = fixed(value["value"])
        return told if value["interval"] is None else f"{told} [{', '.join(fixed(v) for v in value['interval'])}]"
    if isinstance(value, str) or value is None:
        return DASH if value is None else value
    return f"{100 * value:+.2g} %".replace("-", "−") if name in SHARES else number(value)


def _apart(name: str, value: Any) -> dict[str, Any]:
    """A ratio with its interval as three columns."""
    if not name.startswith("over "):
        return {name: value}
    low, high = (value or {}).get("interval") or (None, None)
    return {name: (value or {}).get("value"), f"{name}, low": low, f"{name}, high": high}


def _plain(value: Any) -> Any:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value
