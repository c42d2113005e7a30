"""Scores that merge, the curve, the budget and the verdict.  Knows no model and no file layout."""

from anchorbench.analysis.anomaly import ANOMALY_NAMES, anomalies, correlation
from anchorbench.analysis.blocks import in_blocks, neighbour_correlation
from anchorbench.analysis.budget import BUDGET_NAMES, Budget, budget, shares
from anchorbench.analysis.cells import ROUNDING, Cells
from anchorbench.analysis.curve import Curve, curve, mean_skill, slope_weights
from anchorbench.analysis.effective import Effective, coherence, effective_wavenumber
from anchorbench.analysis.explain import explain
from anchorbench.analysis.intervals import Interval, Part, half_width, interval, part, spread
from anchorbench.analysis.paired import Difference, compare, holm, paired
from anchorbench.analysis.score import SCORE_NAMES, Sums, score
from anchorbench.analysis.stability import Stability, stability
from anchorbench.analysis.verdict import Headroom, Verdict, first_word, judge, second_word

__all__ = [
    "ANOMALY_NAMES",
    "BUDGET_NAMES",
    "ROUNDING",
    "SCORE_NAMES",
    "Budget",
    "Cells",
    "Curve",
    "Difference",
    "Effective",
    "Headroom",
    "Interval",
    "Part",
    "Stability",
    "Sums",
    "Verdict",
    "anomalies",
    "budget",
    "coherence",
    "compare",
    "correlation",
    "curve",
    "effective_wavenumber",
    "explain",
    "first_word",
    "half_width",
    "holm",
    "in_blocks",
    "interval",
    "judge",
    "mean_skill",
    "neighbour_correlation",
    "paired",
    "part",
    "score",
    "second_word",
    "shares",
    "slope_weights",
    "spread",
    "stability",
]
