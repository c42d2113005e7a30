"""What the tests of a finished run show: pooled by hand, and as figures."""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from anchorbench.analysis import SCORE_NAMES
from anchorbench.config import RunSpec
from anchorbench.errors import RunError
from anchorbench.report import document as read
from anchorbench.report.controlled import controlled
from anchorbench.report.lead_time import lead_time
from anchorbench.report.matrix import gathered, matrix
from anchorbench.report.plots import PLOTS, draw_all
from anchorbench.report.probed import gain_difference, probes
from anchorbench.report.residual import residual_shares, residual_spectrum, spread
from anchorbench.report.response import response
from anchorbench.report.scored import Family
from anchorbench.report.studies import Words

SPEC = RunSpec(
    ladder="0" * 64, dataset="waves", source="generated", size="tiny", task="forecast", model="fno", method="baseline",
    train_rung=8, band_rung=8,
)  # fmt: skip


def family(*tested: dict[str, xr.Dataset], **spec: Any) -> Family:
    """Runs of one spec, a seed each, with what their tests left."""
    runs = []
    for seed, data in enumerate(tested):
        own = SPEC.model_copy(update={"seed": seed, **spec})
        path = SimpleNamespace(name=f"{own.method}-s{seed}")
        runs.append(SimpleNamespace(spec=own, probes=data, run=SimpleNamespace(path=path), words=Words()))
    return Family(tuple(runs))


def told(*methods: Family, test: str, references: tuple[Family, ...] = (), **words: Any) -> Any:
    usual: dict[str, Any] = {"seen": lambda spec: [8], "floor": {}, "delta": 0.1, "sigma": 1.0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("anchorbench.report.probed._row", lambda one, sigma: None)
        return probes(methods, references, (), **usual | words)[test]


def sums(error: np.ndarray, dims: tuple[str, ...], prefix: str = "") -> dict[str, Any]:
    """Scores of two clusters that err alike: resolved = total = error², weight 1; (..., cluster, channel)."""
    energy = np.broadcast_to(np.asarray(error)[..., None, None] ** 2, (*np.shape(error), 2, 1))
    values = dict.fromkeys(SCORE_NAMES, energy) | {"weight": np.where(np.isnan(energy), np.nan, 1.0)}
    return {prefix + name: ((*dims, "cluster", "channel"), v) for name, v in values.items()}


# -- pooled ------------------------------------------------------------------------------------------------------------


def resolution_of(error: list[float], band: int = 8) -> dict[str, xr.Dataset]:
    data = xr.Dataset(sums(np.array(error), ("rung",)), coords={"rung": [8, 16]}, attrs={"band": np.int64(band)})
    return {"resolution": data.assign_attrs(note="filtered", left_out="")}


def test_the_root_is_taken_after_the_seeds_are_pooled():
    """Of the errors 3 and 1: √((9 + 1)/2) = √5, not 2."""
    found = told(family(resolution_of([3.0, 1.0]), resolution_of([1.0, 1.0])), test="resolution")
    assert found["curves"]["baseline"]["total"] == pytest.approx([math.sqrt(5), 1.0])
    assert found["curves"]["baseline"]["at"] == [8, 16]
    assert found["band"] == 8
    assert found["curves"]["baseline"]["seeds"] == 2


def test_runs_that_were_tested_with_another_band_are_named_and_not_drawn():
    other = family(resolution_of([1.0, 1.0], band=16), method="frl")
    found = told(family(resolution_of([2.0, 2.0])), other, test="resolution")
    assert list(found["curves"]) == ["baseline"]
    assert found["others"] == ["frl"]


def test_a_family_without_tests_has_none():
    assert told(family({}), test="resolution") is None
    assert told(family({}), test="rollout") is None


def response_of(h: np.ndarray, energy: np.ndarray, solver: np.ndarray | None = None) -> dict[str, xr.Dataset]:
    """h, energy: (rung, wave, state) of two rungs; the waves 1 and 5 of a line, of which rung 8 carries the first."""
    dims = ("rung", "wave", "state")
    data = {"re": (dims, h.real), "im": (dims, h.imag), "energy": (dims, energy)}
    if solver is not None:
        data |= {"solver_re": (dims, solver.real), "solver_im": (dims, solver.imag)}
        data["solver_energy"] = (dims, abs(solver) ** 2)
    coords = {"rung": [8, 16], "ring": ("wave", [1, 5]), "waves": (("wave", "axis"), [[1], [5]])}
    attrs = {"dk": 1.0, "train_rung": 8, "amplitude": 0.01, "k_train_nyquist": 4.0, "unit": "rad"}
    return {"response": xr.Dataset(data, coords=coords, attrs=attrs)}


def test_gain_phase_and_leakage_are_pooled_over_states_as_energies():
    """H of 3i and of i: gain √((9 + 1)/2) = √5, phase that of 4i, and of an energy of 20 half came back as the wave."""
    h = np.array([[[3j, 1j], [np.nan, np.nan]], [[3j, 1j], [2, 2]]])
    energy = np.array([[[15.0, 5.0], [np.nan, np.nan]], [[15.0, 5.0], [4, 4]]])
    found = told(family(response_of(h, energy, np.ones_like(h))), test="response")["curves"]["baseline"]
    home, fine = found["rungs"][8], found["rungs"][16]
    assert home["gain"] == [pytest.approx(math.sqrt(5)), None], "rung 8 lacks the wave 5"
    assert home["phase"] == [pytest.approx(math.pi / 2), None]
    assert home["leakage"] == [pytest.approx(0.5), None]
    assert fine["gain"] == pytest.approx([math.sqrt(5), 2.0])
    assert fine["leakage"] == pytest.approx([0.5, 0.0])
    assert fine["phase_error"] == pytest.approx([math.pi / 2, 0.0])
    assert found["k"] == [1.0, 5.0]
    # |√5 − 1| below ρ₀'s Nyquist of 4, |2 − 1| above it.
    assert found["gain_difference"][16] == {"below": pytest.approx(math.sqrt(5) - 1), "above": 1.0}
    assert found["gain_difference"][8] == {"below": pytest.approx(math.sqrt(5) - 1), "above": None}


def test_waves_that_two_states_carry_to_two_sides_cancel_in_phase_and_not_in_phase_error():
    """H = exp(±iπ/2) in two states, and the solver's the same: no mean phase to tell, and no error of phase."""
    h = np.array([[[1j, -1j], [1, 1]], [[1j, -1j], [1, 1]]])
    found = told(family(response_of(h, abs(h) ** 2, h)), test="response")["curves"]["baseline"]["rungs"][16]
    assert found["gain"][0] == pytest.approx(1.0)
    assert found["phase"][0] is None
    assert found["phase_error"][0] == pytest.approx(0.0)


def test_the_distance_of_two_gains_is_a_mean_on_either_side_of_nyquist():
    one = {"gain": [1.0, 0.8, None, 2.0], "solver_gain": [1.0, 0.6, 0.5, 0.5]}
    assert gain_difference(one, [True, True, False, False]) == {"below": pytest.approx(0.1), "above": 1.5}


def rollout_of(error: np.ndarray, blown: list[int], *, solver: np.ndarray | None = None) -> dict[str, xr.Dataset]:
    """error: (rung, step) on 8, 16 and 32."""
    data = sums(error, ("rung", "step")) | {"blown": ("rung", blown)}
    if solver is not None:
        data |= sums(solver, ("rung", "step"), "solver_") | {"solver_blown": ("rung", [0, 0, 0])}
    steps = error.shape[1]
    coords = {"rung": [8, 16, 32], "step": range(1, steps + 1), "lead": ("step", [0.5 * (s + 1) for s in range(steps)])}
    return {"rollout": xr.Dataset(data, coords=coords, attrs={"lead_unit": "s"})}


def test_the_slope_at_each_lead_is_that_leads_own():
    """E = (N/8)^p of p = −2, 0 and 0.5 at the three leads, for both trajectories alike: no width."""
    scale = np.array([1.0, 2.0, 4.0])[:, None]
    found = told(
        family(
            rollout_of(scale ** np.array([-2.0, 0.0, 0.5]), [0, 0, 0], solver=scale ** np.array([-4.0, -3.0, -2.0]))
        ),
        test="rollout",
    )
    assert found["lead"] == [0.5, 1.0, 1.5]
    own = found["curves"]["baseline"]
    assert own["slope"] == pytest.approx([-2.0, 0.0, 0.5], abs=1e-9)
    assert np.array(own["interval"]) == pytest.approx(np.array([[-2.0] * 2, [0.0] * 2, [0.5] * 2]), abs=1e-6)
    assert found["curves"]["solver"]["slope"] == pytest.approx([-4.0, -3.0, -2.0], abs=1e-9)
    assert own["error"][32] == pytest.approx([1 / 16, 1.0, 2.0])


def test_one_seed_that_blew_up_ends_the_rungs_curve_and_tells_the_earliest_lead():
    whole = np.ones((3, 3))
    cut = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, np.nan], [1.0, np.nan, np.nan]])
    found = told(family(rollout_of(whole, [0, 0, 0]), rollout_of(cut, [0, 3, 2])), test="rollout")["curves"]["baseline"]
    assert found["error"][8] == pytest.approx([1.0, 1.0, 1.0])
    assert found["error"][16][:2] == pytest.approx([1.0, 1.0])
    assert found["error"][16][2] is None
    assert found["error"][32][1:] == [None, None]
    assert found["blown"] == {8: None, 16: 1.5, 32: 1.0}
    assert found["slope"][0] == pytest.approx(0.0, abs=1e-9)
    assert found["slope"][2] is None, "one rung is left"


def test_the_floor_is_that_of_one_step_and_leaves_later_leads_alone():
    error = np.array([[1.0, 1.0], [0.5, 0.5], [0.001, 0.001]])
    floor = {8: 0.001, 16: 0.001, 32: 0.001}
    found = told(family(rollout_of(error, [0, 0, 0])), test="rollout", floor=floor)["curves"]["baseline"]
    assert found["slope"][0] == pytest.approx(-1.0), "32 is near the floor: 8 and 16 alone, log ½ / log 2"
    assert found["slope"][1] < -3


# -- drawn -------------------------------------------------------------------------------------------------------------

Shown = tuple[dict[str, Any], list[dict[str, Any]]]


@pytest.fixture
def shown(turbulence: Shown) -> Shown:
    """The group of forced turbulence with what its tests left."""
    group, curves = copy.deepcopy(turbulence)
    at = [16, 32, 64]
    scores = {"at": at, "seeds": 3, "total": [0.2, 0.25, 0.3], "total_interval": [[0.19, 0.21], None, [0.29, 0.31]],
              "resolved": [0.2, 0.21, 0.22], "unseen": [0.0, 0.1, 0.2]}  # fmt: skip
    gain = {16: [1.0, 0.8, None], 32: [1.0, 0.8, 0.9], 64: [1.0, 0.8, 0.95]}
    rungs = {
        rung: {"gain": g, "phase": [0.0, 0.1, None if g[2] is None else 0.2], "leakage": [0.1, 0.2, g[2]],
               "solver_gain": [1.0, 0.7, None if g[2] is None else 0.4], "solver_phase": [0.0, 0.0, None],
               "solver_leakage": [0.0, 0.1, None], "phase_error": [0.0, 0.1, None if g[2] is None else 2.0]}
        for rung, g in gain.items()
    }  # fmt: skip
    leads = [0.25, 0.5, 0.75]
    rolled = {"error": {16: [0.2, 0.4, 0.6], 32: [0.2, 0.4, 0.6], 64: [0.2, 0.5, None]},
              "unseen": {16: [0, 0, 0], 32: [0.1, 0.1, 0.1], 64: [0.2, 0.2, None]},
              "skill": {16: [None] * 3, 32: [0.1, 0.0, -0.1], 64: [-0.2, -30.0, None]},
              "slope": [0.0, 0.05, None], "interval": [[-0.1, 0.1], [0.0, 0.1], None],
              "seeds": 3, "blown": {16: None, 32: None, 64: 0.75}}  # fmt: skip
    steep = rolled | {"slope": [-4.0, -3.0, -2.0], "interval": [[-4.1, -3.9], None, None], "blown": {16: None}}
    group["probes"] = {
        "runs": ["turbulence2d-frl-fno-s0-0123abcd"],
        "natives": [],
        "resolution": {"band": 16, "left_out": "", "note": "a filtered pair", "others": ["multires"],
                       "curves": {"baseline": scores, "solver": scores}},
        "information": {"grid_rung": 64, "left_out": "", "note": "a filtered pair", "others": [],
                        "curves": {"baseline": scores}},
        "response": {"amplitude": 0.01, "unit": "rad/m", "k_train_nyquist": 8.0, "others": [],
                     "curves": {"frl": {"k": [1.0, 4.0, 16.0], "seeds": 3, "rungs": rungs,
                                        "gain_difference": {64: {"below": 0.05, "above": 0.55}}}}},
        "rollout": {"lead": leads, "lead_unit": "s", "rungs": at, "delta": 0.1, "others": [],
                    "curves": {"frl": rolled, "solver": steep}},
        "matrix": [],
    }  # fmt: skip
    return group, curves


def text_of(figure: Figure) -> str:
    texts = [t.get_text() for t in figure.texts] + [t.get_text() for lg in figure.legends for t in lg.get_texts()]
    texts += [t.get_text() for ax in figure.axes for t in (*ax.texts, ax.yaxis.label, ax.xaxis.label)]
    return " ".join(" ".join(texts).split())


def y_of(ax: Any, label: str) -> np.ndarray:
    return np.asarray(next(line for line in ax.get_lines() if line.get_label() == label).get_ydata(), float)


def test_each_test_is_drawn_from_memory_and_from_json_alike(shown: Shown) -> None:
    group, curves = shown
    for draw in (controlled, response, lead_time, residual_spectrum):
        here, there = draw(group, curves), draw(read.jsonable(group), curves)
        for ax, other in zip(here.axes, there.axes, strict=True):
            for line, twin in zip(ax.get_lines(), other.get_lines(), strict=True):
                np.testing.assert_array_equal(
                    np.asarray(line.get_ydata(), float), np.asarray(twin.get_ydata(), float), err_msg=draw.__name__
                )


def test_both_controlled_tests_have_a_panel_with_total_and_resolved_error(shown: Shown) -> None:
    figure = controlled(*shown)
    assert len(figure.axes) == 2
    np.testing.assert_array_equal(y_of(figure.axes[0], "baseline / total"), [0.2, 0.25, 0.3])
    np.testing.assert_array_equal(y_of(figure.axes[1], "baseline / resolved"), [0.2, 0.21, 0.22])
    said = text_of(figure)
    for wanted in ("band of 16 held", "grid of 64 held", "A filtered pair.", "not drawn: multires"):
        assert wanted in said
    group, curves = shown
    group["probes"]["information"] = None
    assert len(controlled(group, curves).axes) == 1


def test_the_response_shows_the_gain_on_three_rungs_beside_the_solvers_and_its_distance(shown: Shown) -> None:
    figure = response(*shown)
    gains, phase, leakage = figure.axes[:3], figure.axes[3], figure.axes[4]
    np.testing.assert_array_equal(y_of(gains[0], "frl"), [1.0, 0.8, np.nan])
    np.testing.assert_array_equal(y_of(gains[2], "solver"), [1.0, 0.7, 0.4])
    np.testing.assert_array_equal(y_of(phase, "frl"), [0.0, 0.1, 2.0])
    np.testing.assert_array_equal(y_of(leakage, "frl"), [0.1, 0.2, 0.95])
    assert phase.get_ylim()[1] > 2.0
    said = text_of(figure)
    assert "0.050 below ρ₀'s Nyquist, 0.55 above" in said
    assert "phase − solver's" in said
    assert all(any(line.get_xdata()[0] == 8.0 for line in ax.get_lines()) for ax in figure.axes)


def test_a_lead_at_which_a_rung_blew_up_is_a_cross_and_a_sentence(shown: Shown) -> None:
    figure = lead_time(*shown)
    assert len(figure.axes) == 5  # three rungs, skill, slopes
    crosses = [line for line in figure.axes[2].get_lines() if len(line.get_xdata()) == 1]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in crosses] == [(0.75, 0.5)]
    said = text_of(figure)
    assert "blew up on 64 at 0.75" in said
    assert "solver — slope −4.00 to −2.00" in said
    low, high = figure.axes[4].get_ylim()
    assert -0.5 < low < -0.1 < 0.1 < high < 0.5, "the models' slopes are not flattened by the solver's"


def test_the_residual_spectrum_is_the_errors_over_the_truths_on_each_rung(shown: Shown) -> None:
    """Of the fixture frl errs by 0.02 of the truth below wave 8, counted from 1, and by 0.9 of it from there."""
    group, curves = shown
    figure = residual_spectrum(group, curves)
    panels = [ax for ax in figure.axes if ax.get_lines() and "error / truth" in ax.get_ylabel()]
    assert len(panels) == 5, "of six rungs the coarsest and the finest are among those drawn"
    np.testing.assert_allclose(y_of(panels[-1], "frl"), [0.02] * 7 + [0.9] * 25)
    np.testing.assert_allclose(y_of(panels[0], "frl"), [0.02] * 4)
    assert residual_shares(group["spectra"], "frl", 64, 8.0) == pytest.approx((0.02, 0.9))
    assert residual_shares(group["spectra"], "frl", 8, 8.0) == (pytest.approx(0.02), None)
    assert "on 64: 0.020 below ρ₀'s Nyquist, 0.90 above" in text_of(figure)


def test_the_rungs_that_are_picked_have_both_ends():
    assert spread([8, 16, 24, 32, 48, 64], 3) == [8, 24, 64]
    assert spread([8, 16], 3) == [8, 16]


def row(train: int, total: list[float | None], rungs: list[int], **more: Any) -> dict[str, Any]:
    usual = {"label": "baseline", "key": "k", "name": "baseline", "model": "fno", "steps": 80, "seeds": [0],
             "sigma": 1.0, "whole": True}  # fmt: skip
    return {**usual, "train_rung": train, "rungs": rungs, "total": total, "resolved": total, **more}


def cells(ax: Any) -> dict[tuple[int, int], str]:
    return {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in ax.texts}


def test_a_cell_tells_its_ratio_to_the_model_trained_there_and_to_its_own_error_at_home(shown: Shown) -> None:
    group, curves = shown
    rows = [row(16, [0.2, 0.6], [16, 32]), row(32, [0.8, 0.3], [16, 32])]
    figure = matrix(group | {"matrix": [rows]}, curves)
    above, below = cells(figure.axes[0]), cells(figure.axes[1])
    assert above[0, 0] == "0.20"
    assert above[0, 1] == "0.60\n×2.00"  # of 0.3, the model trained at 32
    assert above[1, 0] == "0.80\n×4.00"  # of 0.2, the model trained at 16
    assert below[0, 1] == "0.60\n×3.00"  # of 0.2, its own at home
    assert below[1, 0] == "0.80", "coarser than ρ₀ the band is another"


def test_a_cell_that_was_not_scored_is_hatched_and_named(shown: Shown) -> None:
    group, curves = shown
    rows = [row(16, [0.2, 0.6], [16, 32]), row(32, [0.3], [32], whole=False)]
    figure = matrix(group | {"matrix": [rows]}, curves)
    assert (1, 0) not in cells(figure.axes[0])
    assert [patch.get_hatch() for patch in figure.axes[0].patches].count("/////") == 1
    assert "trained at 32 on 16 (anchorbench evaluate RUN... --test matrix)" in text_of(figure)


def test_a_matrix_gathers_its_rows_from_every_group_in_one_unit(shown: Shown) -> None:
    """0.25 of a σ of 4 is 0.5 of a σ of 2; of two runs trained at 16 the one with more seeds stays."""
    group, curves = shown
    groups = [
        {
            "id": "a",
            "probes": {"matrix": [row(16, [0.2, 0.6], [16, 32], sigma=2.0, seeds=[0, 1]), row(16, [9.0], [16])]},
        },
        {"id": "b", "probes": {"matrix": [row(32, [0.4, 0.25], [16, 32], sigma=4.0)]}},
        {"id": "c", "probes": {"matrix": [row(16, [0.1], [16], key="other")]}},
        {"id": "d"},
    ]
    found = gathered(groups)
    assert list(found) == ["a"], "a matrix of one row is none, and it lies where its coarsest rung does"
    assert [r["train_rung"] for r in found["a"][0]] == [16, 32]
    assert len(found["a"][0][0]["seeds"]) == 2
    figure = matrix(group | {"matrix": found["a"]}, curves)
    assert cells(figure.axes[0])[1, 1] == "0.50"
    assert cells(figure.axes[0])[0, 1] == "0.60\n×1.20"


def test_a_plot_without_its_test_names_the_command_with_the_runs(document: dict[str, Any], shown: Shown) -> None:
    group, _ = shown
    group["probes"] |= dict.fromkeys(("resolution", "information", "response", "rollout"))
    document["groups"][0] = group
    for name, words in (
        ("response", "anchorbench evaluate turbulence2d-frl-fno-s0-0123abcd --test response"),
        ("lead-time", "--test rollout"),
        ("controlled", "--test resolution --test information"),
        ("matrix", "anchorbench evaluate RUN... --test matrix"),
    ):
        with pytest.raises(RunError, match=words):
            draw_all(document, [name])
    assert {name for _, name in draw_all(document, None)}.isdisjoint({"response", "lead-time", "controlled", "matrix"})


def test_every_test_of_a_run_has_a_plot(document: dict[str, Any], shown: Shown) -> None:
    group, _ = shown
    group["probes"]["matrix"] = [row(16, [0.2, 0.6], [16, 32]), row(32, [0.8, 0.3], [16, 32])]
    document["groups"][0] = group
    told = {"error": {16: [0.5], 32: [0.5]}, "skill": {16: [None], 32: [0.1]}, "slope": [0.0], "interval": [None]}
    group["probes"]["training"] = {"rungs": [16, 32], "delta": 0.1, "curves": {"frl": told | {"step": [10]}}}
    names = ["matrix", "controlled", "response", "lead-time", "over-training"]
    assert {name for _, name in draw_all(document, names)} == set(names)
    assert {test for plot in PLOTS.values() for test in plot.tests} == {
        "resolution", "information", "matrix", "response", "rollout", "training"
    }  # fmt: skip
