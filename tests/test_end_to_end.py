"""The main job as a person does it: two commands in an empty folder, and a verdict in hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def shell(bench, tmp_path):
    """`anchorbench ...` in a process of its own, in an empty folder with an empty cache."""
    environment = {
        **os.environ,
        "ANCHORBENCH_DATASETS": str(bench.catalog),
        "ANCHORBENCH_CACHE": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
    }

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "anchorbench", *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    return call


def test_from_nothing_to_a_verdict_in_two_commands(shell, tmp_path):
    sets = [word for option in ("train.steps=12", "train.batch=4", "model.width=4") for word in ("--set", option)]
    trained = shell(
        "train", "--size", "tiny", "--method", "frl", "--with-references", "--seeds", "1",
        "--workers", "1", "--threads", "1", "--device", "cpu", *sets, "--json",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    runs = json.loads(trained.stdout)["runs"]
    assert len(runs) == 3 + 1 + 1 + 2  # references, frl, baseline, native at 16 and 32
    assert len(list((tmp_path / "cache").rglob("ladder.json"))) == 1, "missing data is fetched"
    assert all((tmp_path / "results" / name / "DONE").exists() for name in runs)

    report = shell("report", "--plot", "error-vs-res", "--json")
    assert report.returncode == 0, report.stderr
    document = json.loads(report.stdout)
    assert document["schema"] == 1
    curves = {curve["method"]: curve for curve in document["curves"]}
    frl = curves["frl"]
    assert frl["verdict"].replace("_", " ") in frl["words"].replace("_", " ")
    low, high = frl["interval"]
    assert low <= frl["slope"] <= high
    assert curves["solver"]["verdict"] == "converging"
    assert all(curve["words"] for curve in document["curves"] if curve["kind"] == "method")
    page = (tmp_path / "results" / "report" / "index.html").read_text()
    assert "frl" in page
    assert "http://" not in page.replace("http://www.w3.org", "")  # namespaces of SVG load nothing


@pytest.mark.slow
def test_a_wheel_holds_the_catalogue_the_presets_and_the_templates_and_runs_from_another_folder(tmp_path):
    """Needs hatchling; pip builds without reaching for a registry."""
    assert find_spec("hatchling"), "the wheel's builder belongs to the dev extra"
    pip = [sys.executable, "-m", "pip"]
    built = subprocess.run(
        [*pip, "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path / "wheels")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "wheels").glob("anchorbench-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert names >= {"anchorbench/datasets.yaml", *(f"anchorbench/presets/{s}.yaml" for s in ("tiny", "small", "full"))}
    assert any(name.startswith("anchorbench/report/templates/") for name in names)
    assert not any(name.startswith("tests/") for name in names)
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--quiet", "--target", str(site), str(wheel)], check=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(site)}
    environment.pop("ANCHORBENCH_DATASETS", None)
    script = "import anchorbench, sys; print(anchorbench.__file__, file=sys.stderr); " \
             "from anchorbench.cli import main; sys.argv[1:] = ['list', 'datasets', '--json']; main()"  # fmt: skip
    listed = subprocess.run(
        [sys.executable, "-c", script], cwd=elsewhere, env=environment, capture_output=True, text=True
    )
    assert listed.returncode == 0, listed.stderr
    assert str(site) in listed.stderr, "the installed copy ran, not the checkout"
    assert {row["dataset"] for row in json.loads(listed.stdout)["datasets"]} >= {"turbulence2d", "sevir"}
