"""`anchorbench sweep` and the footing of `train`, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

STUDY = """\
name: two
size: tiny
datasets: [turbulence2d]
methods: [baseline, frl]
seeds: 1
settings:
  train: {steps: 12, batch: 4, validate_every: 4}
  model: {width: 4, layers: 1, modes: 4, local_kernel: 0}
"""


@pytest.fixture
def study(cli, tmp_path) -> Path:
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path / "study.yaml"


def test_a_dry_run_shows_the_plan_and_writes_nothing(cli, study, tmp_path):
    said = cli("sweep", str(study), "--dry-run")
    assert said.code == 0, said.err
    rows = [line.split() for line in said.out.splitlines()]
    assert rows[0] == ["dataset", "model", "method", "runs", "done", "time"]
    assert [row[:5] for row in rows[1:]] == [
        ["turbulence2d", "r008", "references", "3", "0"],
        ["turbulence2d", "r008", "fno", "baseline", "1"],
        ["turbulence2d", "r008", "fno", "frl", "1"],
    ]
    assert "5 of 5 runs to do" in said.err
    assert "nothing was written" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


def test_a_dry_run_says_which_ladders_come_first_and_what_cannot_be_run(cli, study):
    study.write_text(
        STUDY + "on_refused: skip\ninclude:\n"
        "  - {label: thick, settings: {data: {generator: {viscosity: 2.0e-3}}}}\n"
        "  - {label: deep, methods: [frl], settings: {method: {levels: 9}}}\n"
    )
    said = cli("sweep", str(study), "--dry-run", "--json")
    assert said.code == 0, said.err
    plan = said.json
    assert (plan["runs"], plan["left"]) == (10, 10)
    assert [row["seconds"] is None for row in plan["rows"]] == [False] * 3 + [True] * 3
    assert len(plan["fetch"]) == 1
    assert "s to solve" in plan["fetch"][0]
    assert [(one["label"], one["method"]) for one in plan["not_run"]] == [("deep", "frl")]
    assert "9 levels" in plan["not_run"][0]["why"]


def test_a_sweep_runs_each_run_once_shows_the_board_and_prints_one_document(cli, study, tmp_path):
    said = cli("sweep", str(study), "--workers", "1", "--threads", "1", "--json")
    assert said.code == 0, said.err
    results = tmp_path / "results"
    done = {path.parent.name for path in results.glob("*/DONE")}
    assert set(said.json["runs"]) == done
    assert len(done) == 5
    assert "waiting" in said.err
    assert said.err.count("turbulence2d r008") >= 3
    frl = next(path for path in results.glob("*-frl-*/spec.yaml"))
    spec = yaml.safe_load(frl.read_text())
    assert spec["footing"] == "cost"
    assert spec["train"]["steps"] > 12
    record = json.loads((results / "sweep-two.json").read_text())
    assert [cell["method"] for cell in record["cells"]] == ["baseline", "frl"]
    assert record["not_run"] == record["failed"] == []

    again = cli("sweep", str(study), "--workers", "1", "--threads", "1")
    assert again.code == 0
    assert "waiting" not in again.err, "there is nothing to do, so there is nothing to show"
    dry = cli("sweep", str(study), "--dry-run", "--json").json
    assert (dry["runs"], dry["left"]) == (5, 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.yaml"], "nowhere.yaml cannot be read"),
        (["study.yaml", "--launcher", "rey"], "Did you mean 'ray'"),
        (["study.yaml", "--device", "tpu"], "--device is auto, cpu or cuda"),
    ],
)
def test_what_is_wrong_in_the_words_is_exit_code_2_and_makes_nothing(cli, study, tmp_path, words, said):
    result = cli("sweep", *words)
    assert result.code == 2
    assert said in result.err
    assert "Traceback" not in result.err
    assert not (tmp_path / "results").exists()


def test_a_mistake_in_a_study_is_shown_with_its_line(cli, study):
    study.write_text(STUDY.replace("steps: 12", "stepps: 12"))
    result = cli("sweep", str(study))
    assert result.code == 2
    assert "study.yaml, line 7: " in result.err.replace("\n", "")


def test_train_takes_a_footing_and_a_double_width(cli, tmp_path):
    words = ["--method", "frl", "--device", "cpu"]
    assert cli.train(*words, "--footing", "cost", "--double-width").code == 0
    (spec,) = (yaml.safe_load(path.read_text()) for path in (tmp_path / "results").glob("*-frl-*/spec.yaml"))
    assert spec["footing"] == "cost"
    assert spec["model_options"]["width"] == 8  # twice the 4 that is asked for
    said = cli.train(*words, "--footing", "cosy")
    assert said.code == 2
    assert "--footing: there is no footing 'cosy'" in said.err


def test_a_stop_is_a_note_and_exit_code_130(cli, study, monkeypatch):
    from anchorbench.runs import sweep as sweeping

    class Stopped:
        places = 1

        def run(self, jobs, *, tell=None):
            tell(jobs[0].spec.folder, "training", 0.5, None)
            raise KeyboardInterrupt

    monkeypatch.setattr(sweeping, "launcher", lambda name, **how: Stopped())
    said = cli("sweep", str(study))
    assert said.code == 130
    assert "the same command goes on from here" in said.err
    assert "Traceback" not in said.err
    assert "running" in said.err, "the board as it was stays on the screen"
