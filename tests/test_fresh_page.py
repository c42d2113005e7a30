"""docs/fresh.md says what results/reference/fresh holds, and names what there is."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pandas as pd

from anchorbench.cli.app import app
from anchorbench.models.coordinate_options import COORDINATE_NETWORKS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "fresh.md").read_text(encoding="utf-8")


def tables():
    spec = importlib.util.spec_from_file_location("fresh_tables", ROOT / "docs" / "fresh_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_reference_results(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    assert tables().with_tables(PAGE) == PAGE, "write them anew: python docs/fresh_tables.py"


def test_a_gain_stands_with_its_interval_and_a_missing_run_with_a_dash(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    row = {"dataset": "d", "rung": 32, "model": "siren", "label": "", "finest": 64, "settings": "30"}
    scores = {"psnr_fitted": 20.04, "gain_fitted": 1.26, "gain_fitted_low": -0.5, "gain_fitted_high": 3.0}
    made = tables().worth(pd.DataFrame([row | scores | {"method": "grid_search"}]), "fitted")
    assert made.splitlines()[-1] == "| d, 32 | siren | – | – | 20.0 | – | +1.3 [-0.5, +3.0] | – | 30 |"


def test_the_page_names_every_network_and_commands_that_there_are():
    assert all(f"`{name}`" in PAGE for name in COORDINATE_NETWORKS)
    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert set(re.findall(r"^    anchorbench (\w+)", PAGE, flags=re.M)) <= known
    assert "NeRF" in PAGE


def test_choosing_costs_at_most_fifteen_percent_of_a_training():
    worth = pd.read_csv(ROOT / "results" / "reference" / "fresh" / "worth.csv")
    prices = worth[worth["method"] == "fresh"]["price"].dropna()
    assert len(prices) >= 1
    assert prices.max() <= 0.15
