"""The forms that others read: what comes back is what was put in, and a name is text in every one of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from anchorbench.errors import ConfigError
from anchorbench.report.forms import TABLES, write_forms
from anchorbench.report.latex import escaped, latex

HOSTILE = r"a_b & 50% of #1 {x} $y$ \input{/etc/passwd} ~^ <c> | −0.5×ρ₀"


def test_every_form_holds_every_curve_with_its_numbers(document: dict[str, Any], tmp_path: Path) -> None:
    paths = write_forms(document, tmp_path)
    assert [path.name for path in paths] == [file for files in TABLES.values() for file in files]
    assert len(pd.read_csv(tmp_path / "curves.csv")) == 7 * 6 + 3 * 4  # curves times rungs of the fixture's two groups
    with xr.open_datatree(tmp_path / "curves.nc", engine="netcdf4") as tree:
        assert tree.attrs["Conventions"] == "CF-1.11"
        data = tree["group00"].to_dataset().load()
        assert data.resolved_error.sel(curve="multires", rung=64).item() == 0.104
        assert data.slope_low.sel(curve="baseline").item() == pytest.approx(0.42 - 0.07)
        assert np.isnan(data.resolved_error.sel(curve="native", rung=8))
        assert data.seen.sel(curve="multires").values.tolist() == [0, 1, 0, 1, 0, 0]  # 16 and 32 of 8 ... 64
        assert data.verdict.sel(curve="frl").item() == "anchored"
        assert tree["group01"].attrs["title"].startswith("RADOLAN-YW 1 km")
    assert set(pd.read_csv(tmp_path / "summary.csv").label) >= {"baseline", "frl", "multires", "persistence"}


def test_a_form_that_was_not_asked_for_is_not_left_from_a_former_report(
    document: dict[str, Any], tmp_path: Path
) -> None:
    write_forms(document, tmp_path)
    write_forms(document, tmp_path, ["csv"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.csv", "summary.csv"]
    with pytest.raises(ConfigError, match="Did you mean 'latex'"):
        write_forms(document, tmp_path, ["latx"])


def test_no_mark_of_a_name_is_a_command_of_latex() -> None:
    text = escaped(HOSTILE)
    # Commands of our own escapes gone, nothing is left that LaTeX reads as anything but a letter.
    rest = re.sub(r"\\(text\w+|ldots)\{\}|\\[{}$&#_%,]|\$[-^]?\\?[a-z0-9_]*\$", "", text)
    assert not re.search(r"[\\{}$&#_%^~<>|]", rest)
    assert r"\input" not in text
    assert escaped("100 %\n% a comment") == r"100 \% \% a comment"
    assert escaped("a\\b") == r"a\textbackslash{}b"


def test_every_row_of_a_table_has_as_many_cells_as_its_columns(document: dict[str, Any]) -> None:
    document["curves"][0]["label"] = HOSTILE
    text = latex(document)
    tables = text.split(r"\begin{tabular}")[1:]
    assert len(tables) == 2
    for table in tables:
        columns = re.match(r"\{(\w+)\}", table)
        assert columns is not None
        rows = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns[1])}
        for rule in ("toprule", "midrule", "bottomrule"):
            assert rf"\{rule}" in table
    # from the train rung 16 up: five rungs; baseline on 64 is 0.352, its slope +0.42 in [0.35, 0.48]
    row = next(line for line in tables[0].splitlines() if "0.352" in line)
    assert "$-$" in row
    assert "+0.42 [0.35, 0.48] & diverging & harms" in row
    assert r"0.191$^\circ$" in row
    document["curves"][0]["label"] = "[0pt] skipped"
    assert any(line.strip().startswith("{}[0pt] skipped &") for line in latex(document).splitlines())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX on this machine")
def test_the_tables_are_set_by_latex(document: dict[str, Any], tmp_path: Path) -> None:
    document["curves"][0]["label"] = HOSTILE
    body = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{latex(document)}\end{{document}}"
    (tmp_path / "page.tex").write_text(body)
    said = subprocess.run(
        ["pdflatex", "-no-shell-escape", "-halt-on-error", "page.tex"], cwd=tmp_path, capture_output=True, check=False
    )
    assert said.returncode == 0, said.stdout[-2000:]
