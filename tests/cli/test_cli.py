"""Every command: one JSON document on stdout where it is asked for, all else on stderr, and what a report holds."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import anchorbench
from anchorbench.cli.train import parse_seeds
from anchorbench.errors import ConfigError
from anchorbench.methods.registry import METHODS, REFERENCES
from anchorbench.report.plots import PLOTS

NET = """
from torch import nn
print("a model that talks")
class Net(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        print("and talks")
        self.net = nn.Conv2d(in_channels, out_channels, 3, padding=1, padding_mode="circular")
    def forward(self, x):
        return self.net(x)
"""

TINY = ("--size", "tiny")

#: Issue by issue, every field that a curve of a report has, whatever it is null for.
CURVE_FIELDS = {
    "kind", "dataset", "source", "size", "task", "method", "model", "track", "seeds", "protocol", "variable", "unit",
    "lead", "train_rung", "rungs", "error", "unseen", "skill", "ratio", "anchoring_index", "budget", "slope",
    "interval", "local_slopes", "verdict", "second_word", "headroom",
}  # fmt: skip
PER_RUNG = ("error", "unseen", "skill", "anchoring_index", "budget")


def copied(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "results")


# -- one document ------------------------------------------------------------------------------------------------------


def test_every_list_is_one_document_with_a_schema(cli, trained, tmp_path):
    copied(trained, tmp_path)
    for what in (["datasets"], ["ladder", "turbulence2d", *TINY], ["runs"], ["models"], ["methods"], ["plots"]):
        said = cli("list", *what, "--json")
        assert said.code == 0, said.err
        assert said.json["schema"] == 1
        assert said.err == ""


def test_every_list_is_a_table_for_a_person(cli, trained, tmp_path):
    copied(trained, tmp_path)
    for what, word in (
        (["datasets"], "turbulence2d"), (["ladder", "turbulence2d", *TINY], "r032"), (["runs"], "multires"),
        (["models"], "unet"), (["methods"], "coarse_then_upsample"), (["plots"], "error-vs-res"),
    ):  # fmt: skip
        said = cli("list", *what)
        assert said.code == 0
        assert word in said.out


def test_the_lists_name_what_there_is(cli, bench):
    datasets = cli("list", "datasets", "--json").json["datasets"]
    tiny = next(row for row in datasets if (row["dataset"], row["size"]) == ("turbulence2d", "tiny"))
    assert tiny["rungs"] == [8, 16, 32]
    assert tiny["fetched"] == [bench.ladder.folder.name]
    assert {row["size"] for row in datasets if row["dataset"] == "sevir"} == {"tiny", "small", "full"}
    assert all(isinstance(row["fetched"], list) for row in datasets)
    called = {row["called"] for row in datasets if row["dataset"] == "sevir" and row["auto_source"] != "public"}
    assert called == {"RADOLAN-YW"}, "radar that is not SEVIR's does not bear its name"
    methods = cli("list", "methods", "--json").json["methods"]
    assert {row["method"] for row in methods} == {*METHODS, *REFERENCES}
    assert {row["method"]: row["track"] for row in methods}["multires"] == "assisted"
    assert {row["model"] for row in cli("list", "models", "--json").json["models"]} >= {"fno", "unet"}
    assert [row["plot"] for row in cli("list", "plots", "--json").json["plots"]] == list(PLOTS)


def test_the_list_of_a_ladder_tells_its_rungs_floor_and_provenance(cli, bench):
    found = cli("list", "ladder", "turbulence2d", *TINY, "--json").json
    assert [row["rung"] for row in found["rungs"]] == ["r008", "r016", "r032"]
    assert found["restriction"] == "spectral"
    assert found["about"]["digest"] == bench.ladder.spec.digest
    assert found["about"]["producer"]


def test_the_list_of_runs_says_which_are_finished(cli, trained, tmp_path):
    copied(trained, tmp_path)
    rows = cli("list", "runs", "--json").json["runs"]
    assert {row["state"] for row in rows} == {"finished"}
    assert {(row["method"], row["seed"]) for row in rows if row["kind"] == "method"} == {
        (method, seed) for method in ("baseline", "frl", "multires") for seed in (0, 1)
    }
    (tmp_path / "results" / rows[0]["run"] / "DONE").unlink()
    assert [row["state"] for row in cli("list", "runs", "--json").json["runs"]].count("unfinished") == 1


def test_no_runs_is_an_empty_list_and_no_mistake(cli):
    said = cli("list", "runs", "--json")
    assert said.code == 0
    assert said.json == {"schema": 1, "runs": []}


def test_the_version_is_the_packages(cli):
    said = cli("--version")
    assert (said.code, said.out, said.err) == (0, f"anchorbench {anchorbench.__version__}\n", "")


def test_fetch_makes_a_ladder_tells_its_size_first_and_is_one_document(cli, tmp_path):
    said = cli("fetch", "turbulence2d", *TINY, "--threads", "1", "--cache", str(tmp_path / "cache"), "--json")
    assert said.code == 0, said.err
    (made,) = said.json["ladders"]
    assert made["rungs"] == [8, 16, 32]
    assert made["source"] == "generated"
    assert Path(made["folder"]).is_relative_to(tmp_path / "cache")
    assert "MB on disk" in said.err
    assert said.err.index("MB on disk") < said.err.index("solving")


def test_a_second_fetch_makes_nothing_and_verify_hashes_what_is_there(cli, bench):
    before = (bench.ladder.folder / "test.nc").stat().st_mtime_ns
    again = cli("fetch", "turbulence2d", *TINY, "--json")
    assert again.json["ladders"][0]["digest"] == bench.ladder.spec.digest
    verified = cli("fetch", "turbulence2d", *TINY, "--verify", "--json")
    assert verified.json == again.json
    assert "every file is as it was written" in verified.err
    assert (bench.ladder.folder / "test.nc").stat().st_mtime_ns == before


def test_train_fetches_trains_evaluates_and_is_one_document_though_a_model_prints(cli, tmp_path):
    """Everything from nothing: no ladder, no results, and a model of the user's own."""
    (tmp_path / "net.py").write_text(NET)
    words = ["--model", "net.py:Net", "--set", "train.steps=3", "--cache", str(tmp_path / "cache"), "--json"]
    said = cli.train(*words)
    assert said.code == 0, said.err
    assert said.json["schema"] == 1
    names = said.json["runs"]
    assert [name.split("-")[1] for name in names] == ["persistence", "oracle_lowpass", "solver", "baseline"]
    assert all((tmp_path / "results" / name / "DONE").exists() for name in names)
    assert "a model that talks" in said.err
    assert "4 of 4 runs to do, 1 at once on cpu: about" in said.err, "time and disk are told before the work"
    assert "of training, evaluation besides; " in said.err
    (tmp_path / "net.py").write_text(NET + "# another\n")
    again = cli.train(*words)
    assert again.json["runs"][:3] == names[:3]
    assert again.json["runs"][3] != names[3], "a changed file is another model"
    changed = cli("evaluate", names[3], "--cache", str(tmp_path / "cache"))
    assert changed.code == 2
    assert "net.py, its model, is gone or has changed" in changed.err


def test_the_same_command_does_nothing_twice_and_force_does(cli, tmp_path):
    first = cli.train("--json").json["runs"]
    weights = next((tmp_path / "results").glob("*/model.safetensors"))
    before = weights.stat().st_mtime_ns
    again = cli.train("--json")
    assert again.json["runs"] == first
    assert weights.stat().st_mtime_ns == before
    assert "runs to do" not in again.err
    assert cli.train("--force", "--json").json["runs"] == first
    assert weights.stat().st_mtime_ns > before


def test_names_of_runs_do_not_depend_on_where_or_how_they_are_carried_out(cli, monkeypatch):
    from anchorbench.runs import verbs

    asked = []
    monkeypatch.setattr(verbs, "carry_out_all", lambda jobs, **how: asked.append((len(jobs), how["workers"])) or [])
    here = cli.train("--json").json["runs"]
    there = cli.train("--device", "cpu", "--workers", "3", "--threads", "2", "--results", "other", "--json").json[
        "runs"
    ]
    assert here == there
    assert asked == [(4, 1), (4, 3)]


def test_evaluate_writes_the_curve_anew_and_the_same(cli, trained, tmp_path):
    copied(trained, tmp_path)
    folder = next((tmp_path / "results").glob("*-multires-*"))
    import xarray as xr

    with xr.open_dataset(folder / "curve.nc") as data:
        before = data.load()
    (folder / "curve.nc").unlink()
    said = cli("evaluate", folder.name, "--json")
    assert said.code == 0, said.err
    assert said.json["runs"] == [folder.name]
    with xr.open_dataset(folder / "curve.nc") as data:
        xr.testing.assert_equal(before, data.load())


def test_a_run_is_evaluated_by_its_name_or_by_a_path_as_a_shell_completes_it(cli, trained, tmp_path):
    copied(trained, tmp_path)
    name = next((tmp_path / "results").glob("*-persistence-*")).name
    (tmp_path / "elsewhere").mkdir()
    for words in ([name], [f"results/{name}/"], [str(tmp_path / "results" / name)],
                  [f"results/{name}", "--results", "elsewhere"]):  # fmt: skip
        said = cli("evaluate", *words, "--json")
        assert said.code == 0, said.err
        assert said.json["runs"] == [name]
    said = cli("evaluate", "results/nobody")
    assert said.code == 2
    assert "error: results/nobody is no run" in said.err


def test_the_rungs_of_a_fetch_may_be_named_as_train_names_them(cli):
    bare, named = (cli("fetch", "turbulence2d", *TINY, "--set", f"{group}rungs=8,16,32", "--json")
                   for group in ("", "data."))  # fmt: skip
    assert bare.json == named.json
    assert "no setting 'rung'" in cli("fetch", "turbulence2d", *TINY, "--set", "data.rung=8").err
    wrong = cli("fetch", "turbulence2d", *TINY, "--set", "data=8")
    assert wrong.code == 2
    assert "group of options" in wrong.err


def test_fetch_does_not_verify_and_make_anew_at_once(cli):
    said = cli("fetch", "turbulence2d", *TINY, "--verify", "--force")
    assert said.code == 2
    assert "--verify looks at the ladders that are there, --force makes them anew" in said.err


# -- the report --------------------------------------------------------------------------------------------------------


@pytest.fixture
def document(cli, trained, tmp_path):
    copied(trained, tmp_path)
    said = cli("report", "--plot", "error-vs-res", "--json")
    assert said.code == 0, said.err
    return said.json


def test_a_report_has_every_field_of_its_contract(document):
    assert document["schema"] == 1
    for curve in document["curves"]:
        assert curve.keys() >= CURVE_FIELDS, CURVE_FIELDS - curve.keys()
        n_rungs = len(curve["rungs"])
        assert all(len(curve[name]) == n_rungs for name in PER_RUNG), curve["label"]
        assert curve["ratio"].keys() == {"own", "baseline"}
        assert all(len(values) == n_rungs for values in curve["ratio"].values())
        assert curve["kind"] in ("method", "reference")
        assert (curve["dataset"], curve["source"], curve["size"]) == ("turbulence2d", "generated", "tiny")
        assert (curve["variable"], curve["lead"], curve["train_rung"]) == ("vorticity", 0.25, 8)
        assert set(curve["rungs"]) <= {8, 16, 32}


def test_a_report_has_a_curve_for_each_method_and_reference(document):
    methods = {curve["method"] for curve in document["curves"] if curve["kind"] == "method"}
    references = {curve["method"] for curve in document["curves"] if curve["kind"] == "reference"}
    assert methods == {"baseline", "frl", "multires"}
    assert references == {"persistence", "oracle_lowpass", "solver", "coarse_then_upsample", "native"}
    for curve in document["curves"]:
        if curve["kind"] == "method":
            assert curve["seeds"] == [0, 1]
            assert curve["track"] == ("assisted" if curve["method"] == "multires" else "zero-shot")


def test_the_curves_of_a_report_say_what_they_must(document):
    curve = {c["method"]: c for c in document["curves"]}
    coarse = {c["of"]: c["error"] for c in document["curves"] if c["method"] == "coarse_then_upsample"}
    assert coarse.keys() == {"baseline", "frl", "multires"}, "each method has its own"
    flat = coarse["baseline"]
    assert flat == pytest.approx([flat[0]] * 3, rel=2e-6)
    assert curve["oracle_lowpass"]["error"] == pytest.approx([0, 0, 0], abs=1e-5)
    assert curve["oracle_lowpass"]["skill"][1:] == pytest.approx([0, 0], abs=1e-5)
    assert curve["baseline"]["error"][0] == pytest.approx(flat[0], rel=1e-5)
    assert curve["baseline"]["ratio"]["own"][0] == 1.0
    assert curve["native"]["rungs"] == [8, 16, 32]
    for budget, error in zip(curve["baseline"]["budget"][1:], curve["baseline"]["error"][1:], strict=True):
        assert sum(budget.values()) == pytest.approx(error**2, rel=1e-6)
    assert curve["solver"]["error"][2] < curve["solver"]["error"][0]


def test_a_report_is_one_page_one_markdown_and_a_table_of_what_was_asked(cli, trained, tmp_path):
    copied(trained, tmp_path)
    said = cli("report", "--plot", "ratio", "--out", "page", "--dataset", "turbulence2d")
    assert said.code == 0, said.err
    assert "baseline" in said.out
    assert {"index.html", "report.md", "results.parquet"} <= {path.name for path in (tmp_path / "page").iterdir()}
    assert "wrote page/index.html" in said.err


def test_a_report_names_runs_that_are_not_finished(cli, trained, tmp_path):
    copied(trained, tmp_path)
    folder = next((tmp_path / "results").glob("*-frl-*-s1-*"))
    (folder / "DONE").unlink()
    document = cli("report", "--plot", "error-vs-res", "--json").json
    assert any(folder.name in missing["what"] for missing in document["missing"])
    assert next(c for c in document["curves"] if c["method"] == "frl")["seeds"] == [0]


# -- small words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seeds"), [("1", (0,)), ("3", (0, 1, 2)), ("0,4,7", (0, 4, 7)), ("4,", (4,)), ("2,2,1", (2, 1))]
)
def test_seeds_are_a_count_or_a_list(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "0", "-1", "three", "1.5", "1,,2", "1,-2", "1000000000", f"{2**40},", ",", "0x3"])
def test_other_seeds_are_refused(text):
    with pytest.raises(ConfigError, match="--seeds is a count"):
        parse_seeds(text)


def test_ctrl_c_ends_with_130_and_one_line(cli, monkeypatch):
    from anchorbench.runs import verbs

    def stopped(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(verbs, "carry_out_all", stopped)
    said = cli.train()
    assert said.code == 130
    assert said.err.splitlines()[-1] == "note: stopped; nothing is lost: the same command goes on from here"
    assert "Traceback" not in said.err


def test_a_bug_keeps_its_traceback_and_asks_to_be_reported(cli, monkeypatch, capfd):
    from anchorbench.runs import verbs

    def broken(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(verbs, "carry_out_all", broken)
    with pytest.raises(ZeroDivisionError):
        cli.train()
    assert "this is a bug of anchorbench" in capfd.readouterr().err


def test_the_module_runs_as_the_script_does(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "anchorbench", "list", "models", "--json"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["schema"] == 1
    assert done.stderr == ""
