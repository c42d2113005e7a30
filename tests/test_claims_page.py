"""docs/claims.md says what the reference reports say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tables():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs")
        spec = importlib.util.spec_from_file_location("claims_tables", ROOT / "docs" / "claims_tables.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def test_the_page_says_what_the_reports_say(tables):
    page = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    assert tables.with_tables(page) == page, "write it anew: python docs/claims_tables.py"


def test_a_report_with_other_numbers_makes_another_page(tables):
    """Of a method that is flat and then is not: the word changes with it."""
    known = tables.studies()
    study = known["burgers"]
    before = tables.flat("bandlimited", "fno")(study)
    curve = next(c for c in study.curves if c["method"] == "bandlimited")
    curve |= {"interval": [0.2, 0.3]}
    assert (before[1], tables.flat("bandlimited", "fno")(study)[1]) == ("yes", "in part")


def test_a_study_that_was_not_run_says_so(tables):
    assert "not run: darcy" in tables.claims_table(tables.FALSE_PROMISE, {})


def test_every_study_with_a_report_is_on_the_page(tables):
    page = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    assert all(f"<!-- study {name} -->" in page for name in tables.studies())
