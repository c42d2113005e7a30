"""Cost beside error: the solver's price at equal error, the break-even, and what is said where nothing was measured."""

from __future__ import annotations

from typing import Any

import pytest

from anchorbench.errors import RunError
from anchorbench.report.break_even import break_even, even_table, solver_at
from anchorbench.report.cost import inference_cost
from anchorbench.report.cost_figure import cost
from anchorbench.report.plots import PAPERS, draw_all
from anchorbench.report.style import on_paper

Turbulence = tuple[dict[str, Any], list[dict[str, Any]]]


def test_the_solvers_price_lies_on_lines_in_log_log_and_beyond_them_is_a_bound() -> None:
    errors, costs = [0.1, 0.01], [1e6, 1e8]
    # Halfway between the errors in the logarithm, 10^-1.5, halfway between the costs: 10^7.
    assert solver_at(10**-1.5, errors, costs) == (pytest.approx(1e7), "")
    assert solver_at(0.1, errors, costs) == (1e6, "")
    assert solver_at(0.5, errors, costs) == (1e6, "at most")
    assert solver_at(0.001, errors, costs) == (1e8, "at least")
    assert solver_at(0.1, [], []) is None


def test_the_break_even_is_what_was_spent_over_what_a_forecast_saves(turbulence: Turbulence) -> None:
    group, curves = turbulence
    found = {(one.label, one.rung): one for one in break_even(group, curves)}
    # On 16 points the baseline's error is 0.191; the solver's, for 1e7 FLOP, is 0.12, so 1e7 at most.  A forecast of
    # the model takes 2e6, training and data 4e12 + 1e10: 4.01e12 / (1e7 − 2e6) = 501 250 forecasts at least.
    one = found["baseline", 16]
    assert (one.solver, one.bound) == (1e7, "at most")
    assert one.forecasts == pytest.approx(501_250)
    assert one.word.startswith("after at least")
    # On 64 points a forecast takes 3.2e7, and the solver has 0.352 for 1e7 at most: 3.2 times less, or still less.
    assert found["baseline", 64].word == "never: the solver is 3.2x cheaper or more"
    assert found["baseline", 64].forecasts is None
    rows = even_table(list(found.values()))
    assert rows[0]["spent"] == "4.0e12"


def test_what_was_not_measured_is_said_and_makes_no_number(turbulence: Turbulence) -> None:
    group, curves = turbulence
    baseline = next(c for c in curves if c["label"] == "baseline")
    baseline["cost"] = {**baseline["cost"], "inference": None, "data": None}
    told = {row["label"]: row for row in even_table(break_even(group, curves))}
    assert told["baseline"]["model"] == told["baseline"]["spent"] == "not measured"
    assert told["baseline"]["word"] == "not known: no forecast was counted"
    assert "Data not measured: baseline." in _said(cost(group, curves))
    group["solver_price"] = None
    assert break_even(group, curves) == []
    assert "no solver of this ladder was timed" in " ".join(_said(cost(group, curves)).split())


def test_the_figure_of_cost_needs_a_counted_training_and_names_the_command(document: dict[str, Any]) -> None:
    for curve in document["curves"]:
        curve["cost"] = None
    with pytest.raises(RunError, match="no training was counted"):
        draw_all(document, ["cost"])


def test_a_figure_is_as_wide_as_the_paper_and_the_next_one_is_not(turbulence: Turbulence) -> None:
    with on_paper("double"):
        wide = cost(*turbulence).get_size_inches()[0]
    assert wide == PAPERS["double"] == 7.2
    assert cost(*turbulence).get_size_inches()[0] == PAPERS["single"] == 3.5


def test_a_card_counts_a_forecast_on_every_rung_of_whole_points() -> None:
    assert inference_cost({"flops": {"r064": 10, "r128": 20, "r100x3": 5}}) == {64: 10.0, 128: 20.0}
    assert inference_cost({}) == {}


def _said(figure: Any) -> str:
    return " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
