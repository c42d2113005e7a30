"""docs/datasets.md says what the catalogue says: every set and source, with terms, rungs and a picture."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from anchorbench.data.catalog import kind_of
from anchorbench.data.catalog_file import load_catalog

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "datasets.md").read_text(encoding="utf-8")
CATALOG = load_catalog()


def section(name: str) -> str:
    return PAGE.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("name", CATALOG.names)
def test_every_dataset_has_a_section_that_names_all_its_sources_and_their_terms(name):
    text = section(name)
    for source, described in CATALOG.datasets[name].sources.items():
        assert f"`{source}`" in text
        assert described.display_name in text
        assert described.terms in text
        assert described.cite in text


def test_the_tables_are_those_of_the_catalogue(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    spec = importlib.util.spec_from_file_location("dataset_tables", DOCS / "dataset_tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    assert tables.with_tables(PAGE) == PAGE, "write them anew: python docs/dataset_tables.py"


def test_every_section_is_a_dataset_or_ones_own():
    assert set(re.findall(r"^## (.*)$", PAGE, flags=re.M)) == {*CATALOG.names, "Your own data"}


def test_every_dataset_has_a_picture_of_a_source_that_is_drawn():
    for name, entry in CATALOG.datasets.items():
        drawn = {f"pictures/{name}-{source}.png" for source in entry.sources if kind_of(source) != "public"}
        shown = set(re.findall(r"\]\((pictures/[^)]*)\)", section(name)))
        assert shown
        assert shown <= drawn


def test_a_stand_in_is_never_called_by_the_name_of_a_public_set():
    for entry in CATALOG.datasets.values():
        public = {s.display_name for source, s in entry.sources.items() if kind_of(source) == "public"}
        others = {s.display_name for source, s in entry.sources.items() if kind_of(source) != "public"}
        assert not public & others
