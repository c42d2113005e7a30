"""docs/super-resolution.md says what the reference reports say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tables():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs")
        spec = importlib.util.spec_from_file_location(
            "super_resolution_tables", ROOT / "docs" / "super_resolution_tables.py"
        )
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def test_the_page_says_what_the_reports_say(tables):
    page = (ROOT / "docs" / "super-resolution.md").read_text(encoding="utf-8")
    assert tables.with_tables(page) == page, "write it anew: python docs/super_resolution_tables.py"


def test_a_factor_that_the_ladder_has_not_within_four_per_cent_is_a_dash(tables):
    model = {"rungs": [16, 37], "total": [0.1, 0.3]}
    waves = {"rungs": [16, 37], "total": [0.2, 0.4]}
    asked = {factor: tables.beside(model, waves, {"input_rung": 8}, factor) for factor in (2.0, 4.6, 8.2)}
    assert asked == {2.0: "0.50", 4.6: "0.75", 8.2: "–"}


def test_a_model_that_interpolation_beats_is_not_bold(tables):
    common = {
        "group": "g",
        "rungs": [16],
        "seen_rungs": [16],
        "psnr": [20.0],
        "consistency": [0.1],
        "study_label": None,
    }
    curves = [
        common | {"label": "a", "kind": "method", "method": "hinote", "model": "good", "total": [0.1]},
        common | {"label": "b", "kind": "method", "method": "hinote", "model": "bad", "total": [0.3]},
        common | {"label": "i", "kind": "reference", "method": "interpolate", "model": None, "total": [0.2]},
    ]
    table = tables.family_table({"groups": [{"id": "g", "dataset": "mri", "input_rung": 8}], "curves": curves}, "mri")
    assert "| good | **0.500** (20.0) |" in table
    assert "| bad | 1.500 (20.0) |" in table
