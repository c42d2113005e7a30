"""The tables: one row a curve and rung, the same columns always, and a terminal view that fits."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorbench.report import document as read
from anchorbench.report.tables import curves_frame, summary_frame, terminal


def printed(document: dict[str, Any], *, width: int) -> str:
    from rich.console import Console

    out = StringIO()
    console = Console(width=width, file=out, force_terminal=False)
    for item in terminal(document):
        console.print(item)
    return out.getvalue()


def test_the_frame_has_one_row_a_curve_and_rung(document: dict[str, Any]) -> None:
    frame = curves_frame(document)
    assert len(frame) == 7 * 6 + 3 * 4  # seven curves on six rungs, three on four
    row = frame[(frame.label == "frl") & (frame.rung == 32)].iloc[0]
    assert (row.error, row.alpha, row.seen, row.verdict, row.budget_grid) == (0.196, 2.0, False, "anchored", 0.008)
    assert (row.error_low, row.error_high) == pytest.approx((0.196 * 0.94, 0.196 * 1.06))


def test_null_is_missing_in_the_frame_and_never_zero(document: dict[str, Any]) -> None:
    frame = curves_frame(document)
    assert frame[(frame.label == "native") & (frame.rung == 24)].error.isna().all()
    assert frame[frame.label == "solver"].anchoring_index.isna().all()


def test_the_columns_and_types_do_not_depend_on_what_the_document_holds(document: dict[str, Any]) -> None:
    for make in (curves_frame, summary_frame):
        empty = make({"curves": []})
        blank = make({"curves": [{"group": None, "rungs": [1]}]})
        assert empty.dtypes.to_dict() == blank.dtypes.to_dict() == make(document).dtypes.to_dict()


def test_the_summary_takes_the_scores_at_the_train_rung_and_on_the_finest(document: dict[str, Any]) -> None:
    row = summary_frame(document).set_index(["group", "label"]).loc[("turbulence2d-small-forecast", "multires")]
    assert (row.error_train, row.error_finest, row.finest_rung) == (0.180, 0.104, 64)
    assert (row.skill_finest, row.anchoring_finest, row.parameters) == (0.33, 0.3, 150_432)
    assert (row.slope, row.headroom_shown, row.n_seeds) == (-0.38, True, 3)


@pytest.mark.parametrize("width", [100, 80, 60])
def test_the_terminal_tables_fit(document: dict[str, Any], width: int) -> None:
    lines = printed(document, width=width).splitlines()
    assert max(map(len, lines)) <= width
    said = " ".join(" ".join(lines).split())
    for value in ("0.191°", "[−0.45, −0.32]", "converging", "undecided", "[−0.22, 0.28]†"):
        assert value in said


def test_a_hundred_columns_hold_a_ladder_of_five_rungs_in_one_table(document: dict[str, Any]) -> None:
    text = printed(document, width=100)
    assert text.partition("what it cost")[0].count("baseline ") == 1  # one row of the first group
    assert any("0.352" in line and "+0.42" in line for line in text.splitlines())


def test_the_terminal_says_each_verdict_in_words_and_what_is_missing(document: dict[str, Any]) -> None:
    text = " ".join(printed(document, width=80).split())
    assert "frl's error in the band it knows is anchored." in text
    assert "anchorbench train --dataset sevir --with-references" in text


def test_a_name_with_markup_is_printed_as_it_is(document: dict[str, Any]) -> None:
    document["curves"][0]["label"] = "[red]x[/]"
    assert "[red]x[/]" in printed(document, width=100)


def test_the_terminal_survives_a_document_of_nulls(document: dict[str, Any]) -> None:
    for name in ("groups", "curves"):
        document[name] = [
            {k: (v if k in ("id", "group", "kind") else None) for k, v in item.items()} for item in document[name]
        ]
    assert printed(document, width=80)
    assert printed({}, width=80).strip() == "no finished runs to show"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.19123, "0.191"), (12.345, "12.3"), (-0.5, "−0.500"), (0, "0.00"), (0.00012, "1.20e−4"), (2.5e6, "2.50e6"),
     (None, "–"), (float("nan"), "–"), ("x", "–")],
)  # fmt: skip
def test_a_number_is_written_with_three_figures_and_a_true_minus(value: Any, text: str) -> None:
    assert read.number(value) == text


def test_a_slope_that_rounds_to_zero_has_no_sign() -> None:
    assert read.fixed(-0.001, signed=True) == read.fixed(0.001, signed=True) == "0.00"


@given(st.floats(1e-12, 1e12))
@settings(deadline=None, max_examples=40)
def test_a_written_number_reads_back_within_half_of_its_last_figure(x: float) -> None:
    assert float(read.number(x).replace("−", "-")) == pytest.approx(x, rel=0.0051)


def test_a_fewer_than_three_seed_interval_carries_its_dagger() -> None:
    curve = {"slope": 0.1, "interval": [0.0, 0.2], "interval_kind": "given these seeds"}
    assert read.slope(curve) == "+0.10 [0.00, 0.20]†"
    assert read.slope(curve | {"interval": None}) == "+0.10"


def test_json_gets_null_for_nan_and_loses_the_arrays_of_fields(document: dict[str, Any]) -> None:
    document["curves"][0]["slope"] = float("nan")
    plain = read.jsonable(document)
    assert plain["curves"][0]["slope"] is None
    assert set(plain["groups"][0]["fields"]) == {"rungs", "extent", "cmap"}


def test_a_frame_survives_parquet(document: dict[str, Any], tmp_path: Any) -> None:
    frame = curves_frame(document)
    frame.to_parquet(tmp_path / "t.parquet", index=False)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), frame)


def test_the_anchoring_index_is_of_the_finest_rung_that_training_did_not_see(document: dict[str, Any]) -> None:
    # multires saw 16 and 32: with 64 seen as well, 48 is the finest that is left.
    curve = next(c for c in document["curves"] if c["label"] == "multires")
    assert read.index(curve) == "0.30 @64"
    curve["seen_rungs"] = [16, 32, 64]
    assert read.index(curve) == "0.40 @48"
    row = summary_frame(document).set_index(["group", "label"]).loc[("turbulence2d-small-forecast", "multires")]
    assert (row.anchoring_finest, row.anchoring_rung) == (0.4, 48)
    curve["anchoring_index"] = [None] * 6
    assert read.index(curve) == ""


def test_headroom_given_these_seeds_carries_the_dagger_and_the_group_says_why(document: dict[str, Any]) -> None:
    curve = document["curves"][0]
    assert read.headroom(curve) == "shown"
    curve["headroom"]["interval_kind"] = "given these seeds"
    assert read.headroom(curve) == "shown†"
    document["groups"][0]["notes"] = ["native has one seed: headroom and A are given that seed"]
    text = " ".join(printed(document, width=100).split())
    assert "shown†" in text
    assert text.count("native has one seed") == 1


def test_of_the_coarse_predictions_the_baselines_is_shown_and_all_are_kept(document: dict[str, Any]) -> None:
    plain = next(c for c in document["curves"] if c["method"] == "coarse_then_upsample")
    plain["of"] = "baseline"
    document["curves"].append(plain | {"label": "coarse of frl", "of": "frl"})
    assert "coarse of frl" not in printed(document, width=100)
    assert "coarse of frl" in set(curves_frame(document).label)
    assert "coarse of frl" not in {c["label"] for _, curves in read.groups_of(document) for c in curves}
