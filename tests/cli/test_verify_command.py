"""`evaluate --verify`, run cards, and reports of several folders, from the words on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import netCDF4
import pytest

from anchorbench.report import style


@pytest.fixture
def results(cli, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished runs, where the command line looks for them; figures are made, but not rendered."""
    monkeypatch.setattr(style, "_rendered", lambda figure, kind, **options: kind.encode())
    shutil.copytree(trained, tmp_path / "results", ignore=shutil.ignore_patterns("*-multires-*"))
    return tmp_path / "results"


def names(results: Path, kind: str) -> list[str]:
    return sorted(folder.name for folder in results.glob(f"turbulence2d-{kind}-*"))


def change(run: Path, *, by: float, rung: int = 1) -> None:
    """Squared errors in the run's curve times a factor, on one rung: the errors times its root."""
    with netCDF4.Dataset(run / "curve.nc", "a") as data:
        for name in ("resolved", "total"):
            data[name][rung] = data[name][rung] * by


def test_a_run_is_reproduced_bit_for_bit_and_its_folder_stays_as_it_was(cli, results):
    run = names(results, "frl")[0]
    before = {path.name: path.read_bytes() for path in (results / run).iterdir() if path.is_file()}
    said = cli("evaluate", run, "--verify", "--threads", "1", "--device", "cpu")
    assert said.code == 0, said.err
    assert said.out.strip() == f"{run}: reproduced bit for bit on 3 rungs, against its curve.nc"
    assert {path.name: path.read_bytes() for path in (results / run).iterdir() if path.is_file()} == before


def test_a_changed_curve_is_not_reproduced_unless_the_tolerance_allows_it(cli, results):
    run = names(results, "baseline")[0]
    change(results / run, by=1.02)  # errors times 1.0099...: the run's own is 1 − 1/1.00995 = 0.985 % below
    said = cli("evaluate", run, "--verify", "--json")
    assert said.code == 1
    found = said.json["verified"][0]
    assert found["reproduced"] is False
    assert found["worst"] == pytest.approx(1 - 1.02**-0.5, rel=1e-6)
    assert "rung 16" in found["where"]
    assert cli("evaluate", run, "--verify", "--tolerance", "0.02").code == 0


def test_a_card_that_was_sent_is_held_against_the_weights(cli, results, tmp_path):
    run = names(results, "baseline")[0]
    said = cli("report", "--cards", "--json")
    assert said.code == 0, said.err
    assert len(said.json["cards"]) == 4, "two seeds of two methods; references and natives have none"
    card = results / "report" / "cards" / f"{run}.json"
    told = json.loads(card.read_text())
    assert told["spec"]["method"] == "baseline"
    assert told["environment"]["packages"]["torch"]
    assert told["verdict"]["interval_kind"] == "given these seeds"
    # The receiver has other numbers in curve.nc: the card is what counts.
    change(results / run, by=4.0)
    said = cli("evaluate", run, str(card), "--verify")
    assert said.code == 0, said.err
    assert "reproduced bit for bit on 3 rungs, against the card" in said.out
    told["curve"]["32"]["resolved"] *= 0.9
    (tmp_path / "better.json").write_text(json.dumps(told))
    said = cli("evaluate", "--verify", "better.json")
    assert said.code == 1
    assert "NOT reproduced" in said.out
    # The weights of another seed are named as what they are.
    shutil.copy(results / names(results, "baseline")[1] / "model.safetensors", results / run / "model.safetensors")
    said = cli("evaluate", run, str(card), "--verify")
    assert said.code == 1
    assert "the weights here are not the card's" in said.out


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda card: "{", "is no JSON"),
        (lambda card: json.dumps({"schema": 1}), "is no run card"),
        (lambda card: json.dumps(card | {"spec": card["spec"] | {"seed": 7}}), "was changed"),
        (lambda card: json.dumps(card | {"run": "../../elsewhere"}), "is not in"),
    ],
)
def test_a_card_that_cannot_be_held_against_anything_is_bad_input(cli, results, tmp_path, broken, says):
    assert cli("report", "--cards").code == 0
    card = json.loads((results / "report" / "cards" / f"{names(results, 'baseline')[0]}.json").read_text())
    (tmp_path / "card.json").write_text(broken(card))
    said = cli("evaluate", "card.json", "--verify")
    assert said.code == 2
    assert says in said.err
    assert "Traceback" not in said.err


def test_what_cannot_be_verified_is_bad_input(cli, results):
    run, other = names(results, "baseline")[0], names(results, "frl")[0]
    assert cli("evaluate", "nobody", "--verify").code == 2
    assert cli("evaluate", run, "--verify", "--test", "matrix").code == 2
    assert cli("evaluate", run, "--tolerance", "0.1").code == 2
    assert cli("report", "--cards").code == 0
    said = cli("evaluate", other, str(results / "report" / "cards" / f"{run}.json"), "--verify")
    assert said.code == 2
    assert "is of another spec" in said.err
    (results / run / "model.safetensors").unlink()
    said = cli("evaluate", run, "--verify")
    assert said.code == 2
    assert "has no trained weights" in said.err


def test_folders_of_two_machines_are_one_report_and_one_leaderboard(cli, results, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    shutil.copytree(results, one, ignore=shutil.ignore_patterns("*-frl-*"))
    shutil.copytree(results, two, ignore=shutil.ignore_patterns("*-native*", "*-persistence-*"))
    twice = names(results, "baseline")[0]
    change(two / twice, by=1.02)
    whole = cli("report", "--leaderboard", "--json").json["boards"]
    said = cli("report", str(one), str(two), "--leaderboard", "--json", "--out", "both")
    assert said.code == 0, said.err
    assert said.json["boards"] == whole, "the first folder's run stands where both have it"
    assert len(whole) == 1
    assert {row["label"] for row in whole[0]["rows"] if row["rank"]} == {"baseline · fno", "frl · fno"}
    words = (tmp_path / "both" / "leaderboard.md").read_text()
    assert f"{twice}: the curves in" in words
    assert "9.9e" in words or "1.0e" in words  # 1 % apart, and no word of the runs that agree
    assert words.count("the curves in") == 1
    # A card of a run that is not there is a row without rank.
    assert cli("report", "--cards").code == 0
    card = str(results / "report" / "cards" / f"{names(results, 'frl')[0]}.json")
    said = cli("report", str(one), card, "--leaderboard", "--json", "--out", "cards")
    rows = said.json["boards"][0]["rows"]
    assert [row["kind"] for row in rows].count("card") == 1
    assert next(row["rank"] for row in rows if row["kind"] == "card") == ""
    assert cli("report", card).code == 2


def test_tables_and_paper_are_chosen_on_the_command_line(cli, results):
    said = cli("report", "--plot", "ratio", "--format", "png", "--table", "latex", "--paper", "double")
    assert said.code == 0, said.err
    made = {path.name for path in (results / "report").iterdir()}
    assert made == {"index.html", "report.md", "report.json", "results.parquet", "tables.tex", "figures"}
    for words in (("--table", "exel"), ("--paper", "a4")):
        said = cli("report", *words)
        assert said.code == 2
        assert "There is: " in said.err
