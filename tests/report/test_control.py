"""A hybrid is a positive control only where it is no worse than its solver."""

from __future__ import annotations

from anchorbench.report.control import with_controls


def curve(method: str, *errors: float | None) -> dict:
    return {"method": method, "rungs": [8, 16, 32], "train_rung": 16, "error": list(errors), "notes": []}


SOLVER = curve("solver", 0.5, 0.2, 0.05)


def of_hybrid(*errors: float | None, floor: dict | None = None, solver: dict | None = SOLVER) -> dict:
    curves = [curve("hybrid", *errors), *([solver] if solver else [])]
    return with_controls(curves, floor or {})[0]


def test_below_the_solver_from_the_train_rung_up_it_is_one():
    found = of_hybrid(9.0, 0.1, 0.05)
    assert found["control"] is True
    assert found["notes"] == ["a positive control"]


def test_above_the_solver_on_one_rung_it_is_none_and_the_rung_is_named():
    found = of_hybrid(0.1, 0.1, 0.06)
    assert found["control"] is False
    assert found["notes"] == ["no positive control: above the solver's error on 32 points"]


def test_below_the_truths_own_error_nothing_can_be_compared():
    assert of_hybrid(0.1, 0.1, 0.06, floor={32: 0.05})["control"] is True


def test_without_a_solver_or_of_other_methods_nothing_is_said():
    assert "control" not in of_hybrid(0.1, 0.1, 0.1, solver=None)
    assert "control" not in with_controls([curve("baseline", 0.1, 0.1, 0.01), SOLVER], {})[0]


def test_a_rung_without_an_error_is_left_out():
    assert of_hybrid(0.1, 0.1, None)["control"] is True
