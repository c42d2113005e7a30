"""`anchorbench evaluate --test`, from the words on the command line to the figures of the report."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import xarray as xr

from anchorbench.report import style


@pytest.fixture
def results(cli, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished runs, in the folder that the command line looks into; figures are made, but not rendered."""
    monkeypatch.setattr(style, "_rendered", lambda figure, kind, **options: kind.encode())
    shutil.copytree(trained, tmp_path / "results", ignore=shutil.ignore_patterns("*-multires-*"))
    return tmp_path / "results"


def names(results: Path, *kinds: str) -> list[str]:
    return sorted(folder.name for kind in kinds for folder in results.glob(f"turbulence2d-{kind}-*"))


def test_tests_leave_a_file_of_groups_and_the_curve_as_it_was(cli, results):
    run, other = names(results, "baseline")
    before = (results / run / "curve.nc").read_bytes()
    said = cli("evaluate", run, "--test", "resolution", "--test", "information", "--rung", "16", "--json")
    assert said.code == 0, said.err
    assert said.json == {"schema": 1, "results": str(results), "runs": [run], "tests": ["resolution", "information"]}
    assert "anchorbench report --plot controlled" in said.err
    with xr.open_datatree(results / run / "probes.nc", engine="netcdf4") as tree:
        assert set(tree.children) == {"resolution", "information"}
        assert tree["resolution"]["rung"].values.tolist() == [8, 16, 32]
        assert tree["information"]["cut"].values.tolist() == [8, 16]
    assert (results / run / "curve.nc").read_bytes() == before
    assert not (results / other / "probes.nc").exists()


def test_a_report_shows_the_tests_where_they_are(cli, results):
    runs = [*names(results, "baseline"), *names(results, "frl")[:1], *names(results, "persistence")]
    tests = ("resolution", "information", "matrix", "response", "rollout")
    said = cli("evaluate", *runs, *(word for test in tests for word in ("--test", test)), "--threads", "1")
    assert said.code == 0, said.err
    plots = ("residual-spectrum", "matrix", "controlled", "response", "lead-time")
    said = cli("report", *(word for plot in plots for word in ("--plot", plot)), "--json")
    assert said.code == 0, said.err
    drawn = {path.stem for path in (results / "report" / "figures").glob("*.png")}
    assert len(drawn) == len(plots)
    assert all(any(stem.endswith(plot) for stem in drawn) for plot in plots)
    page = (results / "report" / "report.md").read_text()
    assert all(f"-{plot}.png" in page for plot in plots)
    probes = said.json["groups"][0]["probes"]
    assert set(probes["resolution"]["curves"]) == {"baseline", "frl", "persistence"}
    assert probes["rollout"]["curves"]["baseline"]["seeds"] == 2
    assert len(probes["rollout"]["lead"]) == 4, "five frames a sample"
    assert probes["response"]["curves"]["frl"]["gain_difference"]["32"]["above"] is not None
    assert set(probes["rollout"]["curves"]) == {"baseline", "frl", "persistence", "solver"}


def test_a_native_run_that_was_not_put_to_the_matrix_has_its_own_rung_alone(cli, results):
    said = cli("report", "--plot", "matrix", "--json")
    assert said.code == 0, said.err
    rows = {r["train_rung"]: r for r in said.json["groups"][0]["probes"]["matrix"] if r["name"] == "baseline"}
    assert rows[8]["rungs"] == [8, 16, 32]
    assert rows[16]["rungs"] == [16]
    assert rows[16]["whole"] is False
    run = names(results, "native016")[0]
    assert cli("evaluate", run, "--test", "matrix").code == 0
    rows = {
        r["train_rung"]: r for r in cli("report", "--plot", "matrix", "--json").json["groups"][0]["probes"]["matrix"]
    }
    assert rows[16]["rungs"] == [8, 16, 32]


def test_a_plot_that_was_asked_for_without_its_test_names_the_command(cli, results):
    said = cli("report", "--plot", "lead-time")
    assert said.code == 2
    command = next(line.strip() for line in said.err.splitlines() if "anchorbench evaluate" in line)
    assert command.endswith("--test rollout")
    # What it says can be done: the command, word for word.
    done = cli(*command.removeprefix("anchorbench ").split())
    assert done.code == 0, done.err
    assert cli("report", "--plot", "lead-time").code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--test", "resoluton"), "Did you mean 'resolution'?"),
        (("--band", "8"), "--band belongs to the test `resolution`"),
        (("--test", "resolution", "--rung", "8"), "--rung belongs to the test `information`"),
        (("--test", "resolution", "--band", "12"), "--band 12: this run is scored on 8, 16, 32"),
        (("--test", "information", "--rung", "8"), "two cut-offs or more up to rung 8"),
    ],
)
def test_words_that_make_no_test_are_one_message_and_leave_no_file(cli, results, words, says):
    run = names(results, "baseline")[0]
    said = cli("evaluate", run, *words)
    assert said.code == 2
    assert says in said.err
    assert "Traceback" not in said.err
    assert not (results / run / "probes.nc").exists()


def test_a_run_that_is_not_finished_is_put_to_no_test(cli, results):
    run = names(results, "baseline")[0]
    (results / run / "DONE").unlink()
    said = cli("evaluate", run, "--test", "matrix")
    assert said.code == 2
    assert "is not finished" in said.err


def test_a_run_that_is_trained_again_is_shown_without_its_former_tests(cli, results):
    run = names(results, "baseline")[0]
    assert cli("evaluate", run, "--test", "resolution").code == 0
    shutil.copy(results / names(results, "frl")[0] / "model.safetensors", results / run / "model.safetensors")
    said = cli("report", "--plot", "controlled")
    assert said.code == 2
    assert "no run was put to the test resolution or information" in said.err
