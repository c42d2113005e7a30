"""Scores that merge, the curve, the budget and the verdict.  Knows no model and no file layout."""

from anchorbench.analysis.budget import BUDGET_NAMES, Budget, budget, shares
from anchorbench.analysis.cells import ROUNDING, Cells
from anchorbench.analysis.curve import Curve, curve, mean_skill, slope_weights
from anchorbench.analysis.explain import explain
from anchorbench.analysis.intervals import Interval, Part, half_width, interval, part, spread
from anchorbench.analysis.score import SCORE_NAMES, Sums, score
from anchorbench.analysis.verdict import Headroom, Verdict, first_word, judge, second_word

__all__ = [
    "BUDGET_NAMES",
    "ROUNDING",
    "SCORE_NAMES",
    "Budget",
    "Cells",
    "Curve",
    "Headroom",
    "Interval",
    "Part",
    "Sums",
    "Verdict",
    "budget",
    "curve",
    "explain",
    "first_word",
    "half_width",
    "interval",
    "judge",
    "mean_skill",
    "part",
    "score",
    "second_word",
    "shares",
    "slope_weights",
    "spread",
]
