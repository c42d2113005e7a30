"""The leaderboard: ranks that can be worked out by hand, benchmarks and tracks apart, folders as one."""

from __future__ import annotations

import copy
import csv
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from anchorbench.errors import RunError
from anchorbench.report.leaderboard import as_csv, boards, ranked, write_boards
from anchorbench.report.merge import merged


def difference(first: str, second: str, estimate: float, p_holm: float) -> dict[str, Any]:
    return {"first": first, "second": second, "what": "error", "rungs": [64], "p_holm": p_holm,
            "difference": {"estimate": estimate}}  # fmt: skip


def test_curves_that_are_not_told_apart_share_a_rank(turbulence: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    group, curves = turbulence
    methods = [c for c in curves if c["kind"] == "method"]
    # On 64 points, ± 6 %: multires 0.104 [.098, .110], frl 0.195 [.183, .207], baseline 0.352 [.331, .373]: all apart.
    assert [(rank, c["label"]) for rank, c in ranked(group, methods, 64)] == [
        (1, "multires"), (2, "frl"), (3, "baseline"),
    ]  # fmt: skip
    # The pairs say more than the intervals: frl and multires are one, and both better than the baseline.
    group["paired"] = [difference("multires", "frl", -0.6, 0.2), difference("baseline", "frl", 0.6, 1e-4),
                       difference("baseline", "multires", 1.2, 1e-4)]  # fmt: skip
    assert [(rank, c["label"]) for rank, c in ranked(group, methods, 64)] == [
        (1, "multires"), (1, "frl"), (3, "baseline"),
    ]  # fmt: skip
    # Another rung's pair says nothing of this one.
    group["paired"][0] |= {"rungs": [32]}
    assert [rank for rank, _ in ranked(group, methods, 64)] == [1, 2, 3]


def test_a_curve_without_a_score_on_the_finest_rung_has_no_rank(
    turbulence: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    group, curves = turbulence
    methods = [c for c in curves if c["kind"] == "method"]
    methods[0]["error"] = [*methods[0]["error"][:-1], None]
    assert [(rank, c["label"]) for rank, c in ranked(group, methods, 64)][-1] == (None, "baseline")


def test_benchmarks_and_tracks_stand_in_tables_of_their_own(document: dict[str, Any], tmp_path: Path) -> None:
    twin = copy.deepcopy(document["groups"][0]) | {"id": "another-band", "train_rung": 24}
    document["groups"].append(twin)
    document["curves"] += [c | {"group": "another-band"} for c in document["curves"][:1]]
    found = boards(document)
    # turbulence: zero-shot (baseline, frl) and assisted (multires); radar: baseline; the twin: one
    assert [(board.benchmark, board.track) for board in found] == [
        ("turbulence2d-small-forecast", "zero-shot"), ("turbulence2d-small-forecast", "assisted"),
        ("sevir-small-forecast", "zero-shot"), ("another-band", "zero-shot"),
    ]  # fmt: skip
    ranks = [[row["label"] for row in board.rows if row["rank"]] for board in found]
    assert ranks == [["frl · fno", "baseline · fno"], ["multires · fno"], ["baseline · unet"], ["baseline · fno"]]
    assert not any("coarse" in row["label"] for board in found for row in board.rows)
    assert {row["rank"] for board in found for row in board.rows if row["kind"] == "reference"} == {""}
    paths = write_boards(found, tmp_path, words=["<b> two folders"])
    html, markdown, table = (path.read_text() for path in paths)
    assert html.count("<table") == html.count("<caption>") == 4
    assert "&lt;b&gt; two folders" in html
    assert "| 1 | frl · fno | 3 |" in markdown
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["rank"] for row in rows[:2]] == ["1", "2"]
    assert rows[0]["slope"].startswith("+0.02")


def test_a_cell_of_the_csv_is_no_formula(document: dict[str, Any]) -> None:
    document["curves"][1]["label"] = '=HYPERLINK("http://evil")'
    cells = [cell for row in csv.reader(io.StringIO(as_csv(boards(document)))) for cell in row]
    assert any("HYPERLINK" in cell for cell in cells)
    assert not any(cell.startswith(("=", "@")) for cell in cells)


def test_a_card_of_a_run_that_is_there_adds_no_row(document: dict[str, Any]) -> None:
    ours = SimpleNamespace(run="turbulence2d-frl-fno-s0-0123abcd", benchmark="turbulence2d-small-forecast")
    assert boards(document, [ours]) == boards(document)  # the fixture's one spec is of that run


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no results folder"):
        merged([tmp_path, tmp_path / "gone"])
