"""diagnose, doctor and tutorial as a person types them; the tutorial's page is run as it stands."""

from __future__ import annotations

import json
import re
import shlex
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from anchorbench.diagnose import document, tutorial

DOCS = Path(__file__).parents[2] / "docs"


def write(path, n, off):
    x = np.arange(n) / n
    waves = np.stack([np.sin(2 * np.pi * (x + s / 7)) for s in range(4)])
    held = xr.DataArray(waves + off * np.cos(2 * np.pi * x), dims=("sample", "x"), coords={"x": x})
    held.to_dataset(name="u").to_netcdf(path, engine="netcdf4")


@pytest.fixture
def files(tmp_path):
    for n in (8, 16, 32):
        write(tmp_path / f"truth_{n}.nc", n, 0.0)
        write(tmp_path / f"pred_{n}.nc", n, 0.1)
        write(tmp_path / f"nat_{n}.nc", n, 0.8 / n)
    return tmp_path


def asked(*words):
    truths = [word for n in (32, 8, 16) for word in ("--truth", f"truth_{n}.nc")]
    return ["diagnose", "pred_16.nc", "pred_32.nc", "pred_8.nc", *truths, *words]


def test_files_of_predictions_become_curve_verdict_figures_and_page(cli, files):
    done = cli(*asked("--train-rung", "8", "--native", "nat_16.nc", "--native", "nat_32.nc", "--out", "d", "--json"))
    assert done.code == 0, done.err
    # 0.1 cos on every rung, 0.05 and 0.025 from the models trained there.
    assert done.json["verdict"] == "anchored"
    assert done.json["slope"] == pytest.approx(0.0, abs=1e-6)
    assert done.json["headroom"]["shown"] is True
    assert done.json["curve"]["error"] == pytest.approx([0.1] * 3, rel=1e-3)  # σ² is 1/2, as the cosine's mean square
    for name in ("index.html", "report.md", "report.json", "curve.csv", "verdict.json", "results.parquet"):
        assert (files / "d" / name).stat().st_size > 0
    assert {p.suffix for p in (files / "d" / "figures").glob("*error-vs-res*")} == {".png", ".svg", ".pdf"}
    assert "restriction: spectral (the rungs share their first point" in done.err
    assert json.loads((files / "d" / "verdict.json").read_text())["cause"] == "embedding"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which rung the model was trained at"),
        (["--train-rung", "64"], "train rung 64 has no predictions; there are the rungs 8, 16, 32"),
        (["--train-rung", "8", "--variable", "v"], "there is no variable 'v'"),
        (["--train-rung", "8", "--native", "nope.nc"], "nope.nc cannot be read"),
        (["--train-rung", "8", "--truth", "pred_8.nc"], "have 8 points per axis"),
        (["--train-rung", "8", "--mask", "land"], "there is no variable 'land'"),
        (["--train-rung", "8", "--model", "my.py:load"], "it takes no files"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(cli, files, words, said):
    done = cli(*asked(*words))
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_loaded_module_is_scored_on_a_ladder_with_its_budget(cli, tmp_path):
    (tmp_path / "my.py").write_text(
        "import torch\n\nclass Keep(torch.nn.Module):\n    def forward(self, x):\n        return x[:, :1]\n\n"
        "def load():\n    return Keep()\n"
    )
    done = cli("diagnose", "--model", "my.py:load", "--dataset", "turbulence2d", "--size", "tiny", "--json")
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "diagnosis" / "report.json").read_text())
    mine = next(c for c in report["curves"] if c["kind"] == "method")
    for error, parts in zip(mine["error"][1:], mine["budget"][1:], strict=True):
        assert sum(parts.values()) == pytest.approx(error**2, rel=1e-4)
    assert mine["train_rung"] == 8


def test_the_doctor_shows_a_line_a_finding_and_leaves_with_1_where_there_is_a_defect(cli, tmp_path):
    (tmp_path / "m.py").write_text(
        "def good(p, t):\n    return ((p - t) ** 2).mean()\n\ndef bad(p, t):\n    return ((p - t) ** 2).sum()\n"
    )
    assert cli("doctor", "metric", "m.py:good").code == 0
    done = cli("doctor", "metric", "m.py:bad", "--json")
    assert done.code == 1
    assert done.json["defects"] >= 1
    assert {"check", "level", "number", "what", "do"} == set(done.json["findings"][0])
    assert "-> take means over points" in cli("doctor", "metric", "m.py:bad").out
    assert cli("doctor", "metrik", "m.py:bad").code == 2
    assert "Did you mean 'good'" in cli("doctor", "metric", "m.py:god").err


def test_the_tutorial_shows_the_right_verdict_beside_the_one_that_is_found(cli, tmp_path, monkeypatch):
    monkeypatch.setattr(tutorial, "write_cases", partial(tutorial.write_cases, rungs=(16, 32, 64)))
    done = cli("tutorial", "--case", "bandwidth", "--case", "aliasing", "--no-pages", "--json")
    assert done.code == 0, done.err
    assert [one["agrees"] for one in done.json["cases"]] == [True, True]
    script = (tmp_path / "tutorial" / "make_cases.py").read_text()
    assert set(re.findall(r"^(?:import|from) (\w+)", script, re.MULTILINE)) <= {
        "__future__", "sys", "pathlib", "typing", "numpy", "xarray",
    }  # fmt: skip
    assert cli("tutorial", "--case", "biasing").code == 2


def test_the_code_of_the_tutorials_page_runs_and_says_what_the_page_says(cli, tmp_path, monkeypatch):
    monkeypatch.setattr(document, "draw_all", lambda *_: {})  # figures are drawn in another test, in seconds each
    page = (DOCS / "tutorial.md").read_text()
    for language, block in re.findall(r"```(\w+)\n(.*?)```", page, re.DOTALL):
        if language == "python":
            exec(compile(block, "tutorial.md", "exec"), {})
        elif language == "console":
            for line in block.splitlines():
                words = shlex.split(line.removeprefix("$ "))
                done = cli(*words[1:], *(["--no-pages"] if words[1] == "tutorial" else []))
                assert done.code == (1 if "bad" in line else 0), f"{line}\n{done.err}"
