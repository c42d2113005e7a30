"""The tables of docs/claims.md, made from the reports in results/reference/: what papers claim, what was measured here.

python docs/claims_tables.py           write them anew, between `<!-- NAME -->` and `<!-- end -->`
python docs/claims_tables.py --check   exit code 1 where the page is not what the reports say
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import marked_tables

from anchorbench.report.headline import headline, not_run_of

PAGE = Path(__file__).resolve().parent / "claims.md"
REFERENCE = Path(__file__).resolve().parent.parent / "results" / "reference" / "zero-shot"
FLAT = 0.1

Curve = Mapping[str, Any]
Found = tuple[str, str]


class Claim(NamedTuple):
    """measured: of a report's reader, in words, and whether it agrees: yes, no, in part, or a dash."""

    study: str
    claim: str
    published: str
    measured: Callable[[Study], Found]


class Study:
    """One report: its methods' curves, and numbers at the finest rung.  KeyError: there is no such curve."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.curves = [c for c in document["curves"] if c["kind"] == "method"]

    def of(self, method: str, model: str = "fno", label: str | None = None) -> Curve:
        for curve in self.curves:
            if (curve["method"], curve["model"], curve["study_label"]) == (method, model, label):
                return curve
        raise KeyError(f"{method} · {model} ({label})")

    def models(self, method: str) -> list[Curve]:
        return [c for c in self.curves if c["method"] == method and c["study_label"] is None]


def growth(curve: Curve, rung: int = -1) -> float:
    """Total error on a rung over that on the train rung."""
    return float(curve["ratio"]["own"][rung])


def square(curve: Curve, rung: int) -> float:
    return float(curve["total"][rung]) ** 2


def home(curve: Curve) -> int:
    """Place of the train rung."""
    return int(curve["rungs"].index(curve["train_rung"]))


def mean_square(curve: Curve) -> float:
    """Of the train rung and all finer ones."""
    places = range(home(curve), len(curve["rungs"]))
    return sum(square(curve, i) for i in places) / len(places)


def listed(numbers: Iterable[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {x:.3g}" for name, x in numbers)


def some(*found: bool) -> str:
    """Whether a claim holds for all, for none, or in part."""
    return "yes" if all(found) else "in part" if any(found) else "no"


def ratios(method: str, low: float, high: float) -> Callable[[Study], Found]:
    def measured(study: Study) -> Found:
        found = [(c["model"], growth(c)) for c in study.models(method)]
        return listed(found), some(*(low <= x <= high for _, x in found))

    return measured


def resolved(method: str) -> Callable[[Study], Found]:
    def measured(study: Study) -> Found:
        return listed((c["model"], c["error"][-1] / c["error"][home(c)]) for c in study.models(method)), "–"

    return measured


def gained_by_frl(study: Study) -> Found:
    found = [(c["model"], study.of("baseline", c["model"])["total"][-1] / c["total"][-1]) for c in study.models("frl")]
    return listed(found), some(*(x > 2 for _, x in found))


def overhead_of_frl(study: Study) -> Found:
    """FLOPs of a step, levels and encoding with it, over the baseline's; seconds of a shared machine say nothing."""
    found = []
    for c in study.models("frl"):
        other = study.of("baseline", c["model"])
        ours, theirs = (one["cost"]["flops"] / one["cost"]["steps"] for one in (c, other))
        found.append((c["model"], ours / theirs))
    return f"FLOPs a step: {listed(found)}", some(*(x <= 1.4 for _, x in found))


def steps_of_frl(label: str, low: float, high: float) -> Callable[[Study], Found]:
    def measured(study: Study) -> Found:
        at = growth(study.of("frl", label=label))
        return f"{at:.3g} (baseline {growth(study.of('baseline')):.3g})", some(low <= at <= high)

    return measured


def single_grid_fails(study: Study) -> Found:
    curve = study.of("baseline")
    factor = growth(curve) ** 2
    return f"×{factor:.3g} ({curve['train_rung']} → {curve['rungs'][-1]})", some(factor > 1.5)


def physics_hurts(study: Study) -> Found:
    base = square(study.of("baseline"), -2)
    labels = {"0.1": None, "0.25": "weight 0.25", "0.5": "weight 0.5"}
    found = [(w, square(study.of("pinn", label=label), -2) / base) for w, label in labels.items()]
    return " ".join(f"w = {w}: ×{x:.3g}" for w, x in found), some(*(x > 1 for _, x in found))


def flat(method: str, model: str) -> Callable[[Study], Found]:
    def measured(study: Study) -> Found:
        curve = study.of(method, model)
        low, high = curve["interval"]
        said = f"slope {curve['slope']:+.2f}, unseen band {curve['second_word']}"
        return said, some(low >= -FLAT and high <= FLAT, curve["second_word"] != "adds")

    return measured


def mixes_help(study: Study) -> Found:
    base = mean_square(study.of("baseline"))
    labels = {"all rungs": None, "finest held out": "held out"}
    found = [(name, mean_square(study.of("multires", label=label)) / base) for name, label in labels.items()]
    return ", ".join(f"{name} ×{x:.3g}" for name, x in found), some(*(x < 1 for _, x in found))


def band_limits_win(study: Study) -> Found:
    mix = mean_square(study.of("multires"))
    found = [
        (name, mean_square(study.of(method, model)) / mix)
        for name, method, model in (("CROP", "bandlimited", "fno"), ("CNO", "baseline", "cno"))
    ]
    return ", ".join(f"{name} ×{x:.3g}" for name, x in found), some(*(x < 1 for _, x in found))


FRL = [
    Claim(
        "turbulence2d",
        "without FRL, an RMSE ratio of about one for every architecture",
        "1.02 to 1.06 (3-D, 32 → 129)",
        ratios("baseline", 0.9, 1.15),
    ),
    Claim(
        "turbulence2d",
        "with FRL, a ratio far below one for every architecture",
        "0.135 to 0.181",
        ratios("frl", 0.0, 0.4),
    ),
    Claim("turbulence3d", "the same on 3-D flow, without FRL", "1.02 to 1.06", ratios("baseline", 0.9, 1.15)),
    Claim("turbulence3d", "the same, with FRL", "0.135 to 0.181", ratios("frl", 0.0, 0.4)),
    Claim("turbulence3d", "error on the finest grid, baseline over FRL", "5.75 to 7.74", gained_by_frl),
    Claim("turbulence2d", "the ratio in the resolved band alone (ours), without FRL", "–", resolved("baseline")),
    Claim("turbulence2d", "the same, with FRL", "–", resolved("frl")),
    Claim("turbulence2d", "error on the finest grid, baseline over FRL", "5.75 to 7.74", gained_by_frl),
    Claim("turbulence2d", "a modest overhead", "×1.1 to 1.4; elsewhere ×2 to 3", overhead_of_frl),
    Claim("frl-ablation", "step 1 (levels) alone: a ratio of about one", "≈ 1.0", steps_of_frl("step 1", 0.9, 1.15)),
    Claim("frl-ablation", "step 3 (loss) alone: a ratio of about one", "≈ 1.0", steps_of_frl("step 3", 0.9, 1.15)),
    Claim("frl-ablation", "step 2 (encoding) alone works", "0.3 to 0.4", steps_of_frl("step 2", 0.0, 0.6)),
    Claim("weather", "on weather a weaker gain", "1.05 → 0.66 to 0.71 (2° → 0.25°)", ratios("frl", 0.0, 0.85)),
]

FALSE_PROMISE = [
    Claim("darcy", "an FNO trained on one grid fails on finer ones: MSE", "×5 (16 → 128)", single_grid_fails),
    Claim("burgers", "the same", "×17 (128 → 1024)", single_grid_fails),
    Claim("turbulence2d", "the same, Navier-Stokes", "×1 to 5 (64 → 510, 255)", single_grid_fails),
    Claim("darcy", "a physics-informed loss makes it worse: MSE, second finest grid", "×4.2, ×9.8, ×25", physics_hurts),
    Claim("burgers", "the same", "×33, ×425, ×937", physics_hurts),
    Claim("turbulence2d", "the same", "×1.8, ×3.8, ×4.1", physics_hurts),
    Claim("darcy", "CROP is flat and writes nothing finer", "MSE 0.96e-2 → 1.17e-2", flat("bandlimited", "fno")),
    Claim("darcy", "so is CNO", "MSE 3.8e-4 → 5.0e-4", flat("baseline", "cno")),
    Claim("turbulence2d", "CROP", "MSE 2.17 → 2.23", flat("bandlimited", "fno")),
    Claim("turbulence2d", "CNO", "MSE 1.98 → 2.06", flat("baseline", "cno")),
    Claim(
        "darcy",
        "a mix of grids mends it: mean MSE over all grids, over a single grid's",
        "×0.30 (25 % each; from 16)",
        mixes_help,
    ),
    Claim("burgers", "the same", "×0.32 (25 % each; from 128)", mixes_help),
    Claim("turbulence2d", "the same", "×0.71 (25 % each; from 64)", mixes_help),
    Claim("turbulence2d", "not claimed, in its figures: CROP and CNO beat the mix", "×0.77, ×0.71", band_limits_win),
]


def studies() -> dict[str, Study]:
    read = {path.parent.name: path.read_text(encoding="utf-8") for path in sorted(REFERENCE.glob("*/report.json"))}
    return {name: Study(json.loads(text)) for name, text in read.items()}


def claims_table(claims: list[Claim], known: Mapping[str, Study]) -> str:
    rows = ["| claim | published | data here | measured here | agrees |", "|---|---|---|---|---|"]
    for claim in claims:
        try:
            said, agrees = claim.measured(known[claim.study])
        except KeyError as missing:
            said, agrees = f"not run: {missing.args[0]}", "–"
        rows.append(f"| {claim.claim} | {claim.published} | {claim.study} | {said} | {agrees} |")
    return "\n".join(rows)


def headline_table(study: Study) -> str:
    """The report's own headline, one after another where a study has several ladders."""
    made, document = [], study.document
    for group in document["groups"]:
        own = [c for c in document["curves"] if c["group"] == group["id"]]
        head = headline(group, own, not_run_of(document, group))
        made.append(f"**{group['title']}**, trained at {group['train_rung']}\n")
        made.append("| method, model | " + " | ".join(head["columns"].values()) + " |")
        made.append("|---" * (1 + len(head["columns"])) + "|")
        for row in head["rows"]:
            cells = [row["why"]] if row.get("why") else [row[name] for name in head["columns"]]
            made.append(f"| {row['label']} | " + " | ".join(cells) + " |")
        made.append("")
    return "\n".join(made).rstrip()


def with_tables(page: str) -> str:
    """The page with its tables made anew.  Raises KeyError for a marker that names no table."""
    known = studies()
    tables = {f"study {name}": headline_table(study) for name, study in known.items()}
    tables["claims frl"] = claims_table(FRL, known)
    tables["claims false promise"] = claims_table(FALSE_PROMISE, known)

    return marked_tables.with_tables(page, tables.__getitem__)


if __name__ == "__main__":
    sys.exit(marked_tables.write(PAGE, with_tables, about=__doc__))
