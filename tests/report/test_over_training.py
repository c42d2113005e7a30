"""Anchoring over training, methods against each other, and effective resolution, as the report tells them."""

from __future__ import annotations

import copy
import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from anchorbench.analysis import SCORE_NAMES, Cells, Sums
from anchorbench.config import RunSpec
from anchorbench.report import document as read
from anchorbench.report.effective import COLUMNS as EFFECTIVE
from anchorbench.report.effective import effective, effective_table
from anchorbench.report.over_training import over_training
from anchorbench.report.paired import COLUMNS, MOST_METHODS, comparisons, paired_caption, paired_table
from anchorbench.report.probed import probes
from anchorbench.report.scored import Family
from anchorbench.report.studies import Words

RUNGS = (8, 16, 32)
SPEC = RunSpec(
    ladder="0" * 64, dataset="waves", source="generated", size="tiny", task="forecast", model="fno", method="baseline",
    train_rung=8, band_rung=8,
)  # fmt: skip


def kept_at(slopes: dict[int, float]) -> dict[str, xr.Dataset]:
    """E = (N/8)^p with p by step, two clusters alike."""
    error = np.array([[(n / 8) ** p for p in slopes.values()] for n in RUNGS])
    energy = np.broadcast_to(error[..., None, None] ** 2, (*error.shape, 2, 1))
    values = dict.fromkeys(SCORE_NAMES, energy) | {"weight": np.ones(energy.shape)}
    dims = ("rung", "step", "cluster", "channel")
    data = xr.Dataset(
        {name: (dims, v) for name, v in values.items()}, coords={"rung": list(RUNGS), "step": list(slopes)}
    )
    return {"training": data}


def family(method: str, cells: Cells | None = None, data: dict[str, xr.Dataset] | None = None, seeds: int = 1) -> Any:
    def run(seed: int) -> Any:
        spec = SPEC.model_copy(update={"seed": seed, "method": method})
        path = SimpleNamespace(name=f"{method}-s{seed}")
        return SimpleNamespace(spec=spec, probes=data or {}, run=SimpleNamespace(path=path), words=Words())

    if cells is None:
        return Family(tuple(run(seed) for seed in range(seeds)))

    class Known(Family):
        def cells(self, prefix: str = "") -> Cells:
            assert cells is not None
            return cells

    return Known(tuple(run(seed) for seed in range(cells.n_seeds)))


# -- over training -----------------------------------------------------------------------------------------------------


@pytest.fixture
def told() -> Any:
    methods = [
        family("baseline", data=kept_at({10: -1.0, 100: -0.5, 1000: 0.0})),
        family("frl", data=kept_at({20: -0.25, 400: -0.25})),
        family("multires"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("anchorbench.report.probed._row", lambda one, sigma: None)
        return probes(methods, (), (), seen=lambda spec: [8], floor={}, delta=0.1, sigma=1.0)["training"]


def test_the_slope_at_each_checkpoint_is_that_checkpoints_own(told):
    assert told["curves"]["baseline"]["slope"] == pytest.approx([-1.0, -0.5, 0.0])
    assert told["curves"]["frl"]["slope"] == pytest.approx([-0.25, -0.25])
    assert told["curves"]["baseline"]["error"][32] == pytest.approx([0.25, 0.5, 1.0])  # (32/8)^p


def test_each_method_keeps_steps_of_its_own_and_one_that_was_not_tested_is_not_there(told):
    assert {label: one["step"] for label, one in told["curves"].items()} == {
        "baseline": [10, 100, 1000], "frl": [20, 400],
    }  # fmt: skip
    assert told["rungs"] == [8, 16, 32]


def test_the_figure_shows_each_slope_over_the_steps_of_its_own_method(told, turbulence):
    group, curves = copy.deepcopy(turbulence)
    group = {**group, "train_rung": 8, "probes": {"training": told}}
    for shown in (group, read.jsonable(group)):
        figure = over_training(shown, curves)
        last = figure.axes[-1]
        lines = {line.get_label(): line for line in last.get_lines()}
        np.testing.assert_array_equal(lines["baseline"].get_xdata(), [10, 100, 1000])
        np.testing.assert_allclose(np.asarray(lines["frl"].get_ydata(), float), [-0.25, -0.25])
        assert last.get_xscale() == "log"
        assert last.get_xlabel() == "optimiser steps"
        assert [ax.get_ylabel().split("\n")[0] for ax in figure.axes[:3]] == ["8 points (ρ₀)", "16 points", "32 points"]


# -- methods against each other ----------------------------------------------------------------------------------------


def cells(factor: float, *, clusters: tuple[str, ...] = (), seeds: int = 3) -> Cells:
    """E = factor · t_c on each rung, t_c alike for all; a little noise of its own."""
    hard = np.linspace(0.5, 2.0, 8)[None, :, None]
    noise = 1 + 0.01 * np.sin(factor * np.arange(seeds * 8 * 3)).reshape(seeds, 8, 3)
    q = (factor * hard * noise) ** 2
    return Cells(RUNGS, 1.0, q, q, q, q, np.ones(1), clusters=clusters)


def compared(*methods: Any, **words: Any) -> list[dict[str, Any]]:
    return comparisons(methods, seen=lambda spec: [8], floor={}, **words)


def test_half_the_error_is_minus_50_percent_with_holms_p_beside_its_own():
    rows = paired_table(
        compared(family("baseline", cells(1.0)), family("frl", cells(0.5)), family("noise", cells(1.01)))
    )
    assert set(rows[0]) == set(COLUMNS)
    assert len(rows) == 9  # three pairs: slope, home, finest
    home = next(r for r in rows if (r["first"], r["second"], r["what"]) == ("baseline", "frl", "E_res on r008"))
    assert float(home["difference"].removeprefix("+").split()[0]) == pytest.approx(100.0, abs=2)
    assert (home["p_holm"], home["word"]) == ("< 0.001", "higher")
    slope = next(r for r in rows if r["what"] == "slope, r008 to r032")
    assert slope["word"] == "not told apart"
    assert "Holm" in paired_caption(compared(family("baseline", cells(1.0)), family("frl", cells(0.5))))


def test_below_three_seeds_the_caption_says_whose_difference_it_is():
    told = compared(family("baseline", cells(1.0, seeds=1)), family("frl", cells(0.5, seeds=1)))
    assert "of these weights" in paired_caption(told)
    assert {one["word"] for one in told} <= {"not told apart", "lower, of these seeds", "higher, of these seeds"}


def test_a_method_that_was_scored_elsewhere_is_compared_with_nobody():
    other = family("frl", cells(0.5, clusters=tuple("abcdefgh")))
    assert compared(family("baseline", cells(1.0)), other) == []
    assert compared(family("baseline", cells(1.0))) == []
    assert compared(*[family("baseline", cells(1.0))] * (MOST_METHODS + 1)) == []


def test_neighbours_of_one_record_are_added_up_to_stretches_and_trajectories_are_not():
    """Twelve clusters of energies 1 ... 12: two a stretch, so 3, 7, 11, ..., 23 of 12."""
    energies = np.arange(1.0, 13.0)[:, None]
    sums = {8: Sums(dict.fromkeys(SCORE_NAMES, energies))}

    def merged(**provenance: str) -> Cells:
        run = SimpleNamespace(
            sums=lambda prefix: sums, data=SimpleNamespace(attrs={"provenance": json.dumps(provenance)})
        )
        return Family((run,)).cells()

    assert len(merged().clusters) == 12
    record = merged(record_start="2020-01-01")
    assert record.resolved[0, :, 0].tolist() == [3.0, 7.0, 11.0, 15.0, 19.0, 23.0]


# -- effective resolution ----------------------------------------------------------------------------------------------


def test_effective_resolution_is_told_for_each_curve_and_rung():
    """A model that knows waves up to k = 4 and writes nothing beyond: γ² falls from 1 to 0 between 4 and 5."""
    k = {16: list(range(8)), 32: list(range(16))}
    truth = {rung: [1.0] * len(waves) for rung, waves in k.items()}
    anchored = {rung: [1.0 * (w <= 4) for w in waves] for rung, waves in k.items()}
    error = {rung: [1.0 * (w > 4) for w in waves] for rung, waves in k.items()}
    perfect = {rung: [0.0] * len(waves) for rung, waves in k.items()}
    spectra = {
        "k": k, "truth": truth, "predictions": {"anchored": anchored, "right": truth},
        "error": {"anchored": error, "right": perfect}, "k_train_nyquist": 8.0, "axis": "wavenumber k",
    }  # fmt: skip
    group = {"rungs": [16, 32, 64], "spectra": spectra}
    rows = effective(group)
    assert [(r["label"], r["rung"], r["k"], r["at_least"]) for r in rows] == [
        ("anchored", 16, 4.5, False), ("anchored", 32, 4.5, False), ("right", 16, 7.0, True), ("right", 32, 15.0, True),
    ]  # fmt: skip
    assert rows[1]["of_train"] == pytest.approx(4.5 / 8)
    shown = effective_table(read.jsonable(group))
    assert [set(row) for row in shown] == [set(EFFECTIVE)] * 4
    assert (shown[0]["k"], shown[0]["wavelength"]) == ("4.5", f"{2 * math.pi / 4.5:.3g}")
    assert (shown[3]["k"], shown[3]["wavelength"]) == ("at least 15", f"at most {2 * math.pi / 15:.3g}")
    sphere = effective_table({**group, "spectra": spectra | {"axis": "total wavenumber l"}})
    assert {row["wavelength"] for row in sphere} == {""}
    assert effective({"rungs": [16], "spectra": None}) == []
