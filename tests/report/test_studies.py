"""Sweeps in the report: labels, footings, rows that were not run, the headline and the costs."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from anchorbench.errors import RunError
from anchorbench.report import document as read
from anchorbench.report.headline import cost_rows, headline, not_run_of
from anchorbench.report.page import write_page
from anchorbench.report.studies import Studies, Words, footing_of, label_of_row
from anchorbench.report.style import styles
from anchorbench.report.tables import terminal


def folder(method: str, seed: int = 0, *, model: str = "fno", digest: str = "00000001") -> str:
    return f"turbulence2d-{method}-{model}-s{seed}-{digest}"


def cell(method: str, *runs: str, **words: Any) -> dict[str, Any]:
    usual = {"dataset": "turbulence2d", "source": "auto", "task": None, "train_rung": None, "model": "fno"}
    return {**usual, "method": method, "label": None, "footing": "cost", "runs": list(runs), **words}


def record(
    name: str = "one", *cells: dict[str, Any], failed: dict[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    wrong = [{"run": run, "why": why} for run, why in (failed or {}).items()]
    return {"schema": 1, "name": name, "cells": list(cells), "not_run": [], "failed": wrong, **more}


def not_run(
    *records: dict[str, Any], finished: tuple[str, ...] = (), begun: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    """All in the group g of the first neighbour that is finished."""
    there = set(finished)

    def group_of(_: Any, neighbours: Any) -> str | None:
        return "g" if there & set(neighbours) else None

    return Studies(records).not_run(finished=there, begun={*begun, *there}, dataset=None, group_of=group_of)


STEP = cell("frl", folder("frl", digest="0000000a"), folder("baseline"), label="step 1")


def test_a_label_is_of_a_cells_own_runs_and_not_of_what_stands_beside_them():
    studies = Studies((record("one", cell("baseline", folder("baseline")), STEP),))
    assert studies.words(folder("frl", digest="0000000a")) == Words("step 1", "cost")
    assert studies.words(folder("baseline")) == Words(None, "cost")
    assert studies.words("turbulence2d-frl-fno-s7-12345678") == Words(None, None)


def test_a_run_that_some_study_has_without_a_label_has_none():
    run = folder("frl", digest="0000000a")
    assert (
        Studies((record("a", STEP), record("b", cell("frl", run, label="arm B")))).words(run).label == "step 1, arm B"
    )
    assert Studies((record("a", STEP), record("b", cell("frl", run)))).words(run).label is None


def test_the_yardstick_stands_on_the_footing_that_its_study_says_and_its_spec_does_not():
    assert footing_of(Words(None, "cost"), None) == "equal cost"
    assert footing_of(Words(), "parameters") == "equal parameters"
    assert footing_of(Words(None, "steps"), None) == footing_of(Words(), None) == "as set"


def test_every_planned_row_that_is_not_there_is_told_with_its_reason_and_a_finished_one_is_not():
    runs = [folder("frl", seed, digest=f"0000000{seed}") for seed in range(3)]
    of_unet = folder("frl", model="unet")
    one = record(
        "one", cell("frl", *runs), cell("frl", of_unet, model="unet"), cell("multires", folder("multires")),
        failed={runs[2]: "the loss is nan", runs[0]: "of an earlier try"},
    )  # fmt: skip
    one["not_run"] = [cell("frl", model="gnn", seeds=[0, 1], why="gnn takes no volumes")]
    rows = not_run(one, finished=(runs[0], runs[1]), begun=(of_unet,))
    assert [(r["method"], r["model"], r["state"], r["why"], r["seeds"], r["whole"]) for r in rows] == [
        ("frl", "fno", "failed", "the loss is nan", [2], False),
        ("frl", "unet", "not finished", "the same sweep goes on with it", [0], True),
        ("multires", "fno", "not begun", "the same sweep runs it", [0], True),
        ("frl", "gnn", "refused", "gnn takes no volumes", [0, 1], True),
    ]
    assert {row["group"] for row in rows} == {"g"}


def test_a_reference_that_failed_is_one_row_whatever_number_of_cells_want_it_and_its_rungs():
    natives = [folder("native016"), folder("native032", digest="0000000b")]
    cells = [cell("frl", folder("frl"), *natives), cell("multires", folder("multires"), *natives)]
    rows = not_run(
        record("one", *cells, failed={natives[1]: "no space"}),
        record("two", *cells, failed={}),
        finished=(folder("frl"), folder("multires"), natives[0]),
    )
    assert [(r["method"], r["state"], r["why"], r["study_label"]) for r in rows] == [
        ("native", "failed", "no space", None)
    ]


def test_a_row_that_was_not_run_is_named_as_its_curve_would_be():
    row = {"method": "frl", "model": "gnn", "study_label": "step 1"}
    assert label_of_row(row, {"gnn"}) == "frl (step 1)"
    assert label_of_row(row | {"study_label": None}, {"fno", "gnn"}) == "frl · gnn"
    assert label_of_row({"method": "solver", "model": None, "study_label": None}, {"fno"}) == "solver"


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"schema": 2}', '{"schema": 1, "cells": [{}], "not_run": [], "failed": []}']
)
def test_a_record_that_does_not_read_is_named(tmp_path: Path, text: str):
    (tmp_path / "sweep-mine.json").write_text(text)
    with pytest.raises(RunError, match=r"sweep-mine\.json"):
        Studies.read(tmp_path)
    assert Studies.read(tmp_path / "elsewhere").records == ()


# -- shown -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def swept(document: dict[str, Any]) -> dict[str, Any]:
    """The fixture's turbulence with a second frl, a row that failed, one that lacks a seed, and one without a group."""
    curves = document["curves"]
    frl = next(c for c in curves if c["label"] == "frl")
    curves.insert(0, frl | {"label": "frl (step 1)", "footing": "equal cost"})
    for curve in curves:
        if curve["kind"] == "method" and curve["group"] == "turbulence2d-small-forecast":
            curve.setdefault("footing", "as set")
            curve["acc"] = [None, 0.9, 0.8, 0.7, 0.65, 0.625]
            mix = {16: {"samples": 12_800, "share": 0.8}, 32: {"samples": 3200, "share": 0.2}}
            data = {"seconds": 90.0, "flops": 2.5e12}
            curve["cost"] = curve["cost"] | {"by_rung": mix, "flops": 3.1e11, "data": data}
    base = {"method": "frl", "dataset": "turbulence2d", "footing": "equal cost", "study_label": "x", "planned": 2}
    document["not_run"] = [
        base | {"group": frl["group"], "label": "frl · gnn", "model": "gnn", "state": "failed", "why": "loss is nan",
                "seeds": [0, 1], "whole": True},
        base | {"group": frl["group"], "label": "frl (step 1)", "model": "fno", "state": "failed", "why": "no space",
                "seeds": [1], "whole": False},
        base | {"group": None, "label": "frl", "dataset": "darcy", "model": "fno", "state": "refused", "why": "no time",
                "seeds": [0, 1], "whole": True},
    ]  # fmt: skip
    return document


def test_the_headline_has_a_row_a_method_and_model_and_one_for_what_was_not_run(swept: dict[str, Any]):
    group, curves = next(iter(read.groups_of(swept)))
    found = headline(group, curves, not_run_of(swept, group))
    assert found["columns"]["ratio"] == "Ratio, own / baseline's @64"
    rows = {row["label"]: row for row in found["rows"]}
    assert list(rows) == ["frl (step 1)", "baseline", "frl", "multires", "frl · gnn"]
    multires = rows["multires"]
    # The fixture's ratio at 64: 1 + (−0.38 + 0.6) 0.9 over its own, 0.97 + the same over the baseline's.
    assert multires["ratio"] == "1.20 / 1.17"
    assert (multires["acc"], multires["slope"], multires["index"]) == ("0.625", "−0.38 [−0.45, −0.32]", "0.30 @64")
    assert (multires["verdict"], multires["second_word"], multires["footing"]) == ("converging", "adds", "as set")
    assert multires["cost"] == "1 min 24 s, 3.1e11 FLOP"
    assert rows["frl · gnn"]["why"] == "failed: loss is nan"


def test_a_group_of_one_model_and_no_study_needs_no_headline(radar: Any):
    group, curves = radar
    assert headline(group, curves, [])["rows"] == []


def test_the_price_of_a_mix_is_told_by_rung_with_its_data(swept: dict[str, Any]):
    _, curves = next(iter(read.groups_of(swept)))
    row = next(row for row in cost_rows(curves) if row["label"] == "multires")
    assert row["samples"].replace("\u202f", " ") == "16: 12 800, 32: 3200"
    assert (row["flops"], row["data"]) == ("3.1e11", "1 min 30 s, 2.5e12 FLOP")
    bare = cost_rows([{"label": "x", "kind": "method", "cost": {"train_seconds": 2.0, "steps": 5}}])[0]
    assert (bare["seconds"], bare["samples"], bare["flops"], bare["data"]) == ("2 s", "–", "–", "–")


def test_page_markdown_and_terminal_tell_what_was_not_run_and_why(swept: dict[str, Any], tmp_path: Path):
    html, markdown = (path.read_text() for path in write_page(swept, {}, tmp_path))
    console = Console(width=120, file=StringIO())
    for shown in terminal(swept):
        console.print(shown)
    for text in (" ".join(told.split()) for told in (html, markdown, console.file.getvalue())):
        for wanted in (
            "frl · gnn", "failed: loss is nan", "frl (step 1)", "seed 1 (of 2 planned): failed: no space",
            "refused: no time", "equal cost", "16: 12 800, 32: 3200",
        ):  # fmt: skip
            assert wanted in text
    assert "| multires | – | 0.900 | 0.800 | 0.700 | 0.650 | 0.625 |" in markdown
    row = next(line for line in markdown.splitlines() if line.startswith("| frl · gnn"))
    head = next(line for line in markdown.splitlines() if line.startswith("| Method, model"))
    assert row.count("|") == head.count("|")


def test_two_rows_of_one_method_have_two_styles_and_the_plain_one_keeps_its_own(swept: dict[str, Any]):
    group = "turbulence2d-small-forecast"
    curves = [c for c in swept["curves"] if c["group"] == group]
    found = styles(curves)
    methods = [found[c["label"]] for c in curves if read.is_method(c)]
    assert len({(s.colour, s.marker, str(s.dashes)) for s in methods}) == len(methods)
    assert (found["baseline"].colour, found["multires"].colour) == ("#0072B2", "#009E73")
