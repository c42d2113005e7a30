"""neuraloperator's models where that package is not installed."""

from __future__ import annotations

import sys

import pytest

from anchorbench.errors import ConfigError, ModelError
from anchorbench.fields.grid import Grid
from anchorbench.models.registry import build, validate_options
from anchorbench.runs.verbs import Asked, train_all

NAMES = ("neuralop_fno", "neuralop_tfno", "neuralop_uno")


@pytest.mark.parametrize("name", NAMES)
def test_without_the_package_there_is_one_line_with_the_command_that_brings_it(name, monkeypatch):
    for module in [m for m in sys.modules if m == "neuralop" or m.startswith("neuralop.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "neuralop", None)  # what an import then meets is an ImportError
    with pytest.raises(ModelError, match="neuraloperator's, which cannot be imported") as raised:
        build(name, in_channels=1, out_channels=1, grid=Grid((8, 8)))
    assert raised.value.do == "pip install 'anchorbench[neuralop]'"
    assert "\n" not in raised.value.what


def test_its_options_have_their_defaults_without_the_package():
    options = validate_options("neuralop_uno", {"width": 8})
    assert options["channels"] == [1, 2, 2, 2, 1]
    assert options["embedding"] == "grid"


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("neuralop_uno", {"channels": [1, 2, 1]}, "channels and scalings have one number a layer"),
        ("neuralop_uno", {"scalings": [1, 0.5, 1, 1, 1]}, "the product of the scalings is 1"),
        ("neuralop_uno", {"layers": 4}, "there is no option 'layers'"),
        ("neuralop_tfno", {"rank": 2}, "rank"),
        ("neuralop_fno", {"padding": 1.5}, "padding"),
    ],
)
def test_an_option_that_cannot_be_is_named(name, options, said):
    with pytest.raises(ConfigError, match=said):
        validate_options(name, options)


def test_a_missing_package_is_said_before_any_data_is_made(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "neuralop", None)
    asked = Asked(dataset="turbulence2d", size="tiny", model="neuralop_fno")
    with pytest.raises(ModelError, match="cannot be imported"):
        train_all(asked, results=tmp_path / "results", cache=tmp_path / "cache")
    assert not list(tmp_path.rglob("*.nc"))
