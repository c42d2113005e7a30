"""topography, generated: cell means of landscapes, each of its own seed, the same whatever else is drawn."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from anchorbench.config import validated
from anchorbench.data.catalog_file import load_catalog as read_the_catalog
from anchorbench.data.fetch import fetch, request
from anchorbench.data.sources import Ask
from anchorbench.data.sources import fractal as reader
from anchorbench.errors import ConfigError

#: Read once: it is the same for all.
load_catalog = cache(read_the_catalog)

TINY = {"rungs": [8, 16], "generator": {"landscapes": {"train": 3, "validation": 1, "test": 2}}}


def asked(tmp_path, *, scratch: bool = False, **generator):
    settings = {**TINY, "generator": {**TINY["generator"], **generator}}
    wanted = request(load_catalog(), "topography", size="tiny", source="generated", settings=settings)
    return Ask(
        wanted.entry,
        wanted.described,
        wanted.options,
        wanted.size,
        wanted.entry.box("tiny").grid(16),
        tmp_path,
        scratch=tmp_path / "made" if scratch else None,
    )


@pytest.fixture
def made(tmp_path):
    return reader.load(asked(tmp_path))


def test_each_split_has_its_landscapes_in_metres_on_the_finest_rung(made):
    assert {split: f.values["elevation"].shape for split, f in made.splits.items()} == {
        "train": (3, 1, 16, 16),
        "validation": (1, 1, 16, 16),
        "test": (2, 1, 16, 16),
    }
    u = np.concatenate([f.values["elevation"] for f in made.splits.values()])
    assert u.dtype == np.float32
    # mean 1000 m and deviation 400 m, of six landscapes
    assert 700 < u.mean() < 1300
    assert 200 < u.std() < 600
    assert made.splits["train"].clusters.tolist() == [0, 1, 2]
    assert made.splits["train"].valid is None


def test_no_two_landscapes_of_any_split_are_alike(made):
    u = [v for f in made.splits.values() for v in f.values["elevation"]]
    assert len(u) == 6
    assert min(np.abs(a - b).max() for i, a in enumerate(u) for b in u[:i]) > 100


def test_more_landscapes_leave_the_first_ones_as_they_were(made, tmp_path):
    more = reader.load(asked(tmp_path, landscapes={"train": 5, "validation": 1, "test": 2}))
    np.testing.assert_array_equal(
        more.splits["train"].values["elevation"][:3], made.splits["train"].values["elevation"]
    )


def test_a_value_is_the_mean_of_the_points_in_its_cell(tmp_path):
    ask = asked(tmp_path, oversample=4, ridges=0.25)
    u = reader.load(ask).splits["test"].values["elevation"][1, 0]
    drawn = reader.fractal_relief(64, exponent=2.5, longest=0.5, ridges=0.25, seed=(0, 2, 1))
    cell = drawn[4:8, 56:60].mean()  # cell (1, 14)
    assert u[1, 14] == pytest.approx(1000 + 400 * cell, rel=1e-5)


def test_a_call_that_was_stopped_goes_on_to_the_same_bits(made, tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "SLICE", 2)
    calls = []
    draw = reader._landscape

    def stopping(options, finest, split, number):
        calls.append((split, number))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return draw(options, finest, split, number)

    monkeypatch.setattr(reader, "_landscape", stopping)
    with pytest.raises(KeyboardInterrupt):
        reader.load(asked(tmp_path, scratch=True))
    calls.extend([("", 0)] * 4)  # never stop again
    again = reader.load(asked(tmp_path, scratch=True))
    # both slices of train were kept; the one of validation was being drawn
    assert calls[8:] == [("validation", 0), ("test", 0), ("test", 1)]
    for split, fields in made.splits.items():
        np.testing.assert_array_equal(again.splits[split].values["elevation"], fields.values["elevation"])


def test_tiny_is_fetched_by_name_and_says_what_it_is(tmp_path):
    settings = {"generator": {"landscapes": {"train": 2, "validation": 1, "test": 1}}}
    ladder = fetch(request(load_catalog(), "topography", size="tiny", settings=settings), tmp_path)
    assert ladder.about["attrs"]["display_name"] == "fractal relief"
    assert ladder.rungs == (16, 32, 64)
    fine, coarse = (ladder.array("test", rung, "elevation")[0, 0] for rung in (64, 16))
    assert coarse[0, 0] == pytest.approx(fine[:4, :4].mean(), rel=1e-5)  # block means of the same landscape


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"exponent": 0.5}, "exponent"),
        ({"ridges": 2}, "ridges"),
        ({"longest": 0.1, "oversample": 1}, "the longest wave, 0.1 of the box, is no wave on 16 cells"),
        ({"landscapes": {"train": 1, "validation": 1, "test": 0}}, "landscapes.test"),
        ({"beta": 3}, "no option 'beta'"),
    ],
)
def test_options_that_make_no_landscape_are_found_before_one_is_drawn(tmp_path, change, named):
    with pytest.raises(ConfigError, match=named):
        asked(tmp_path, **change)


def test_every_split_needs_landscapes():
    with pytest.raises(ConfigError, match="lack the split test"):
        validated(reader.Options, {"landscapes": {"train": 1, "validation": 1}}, where="generator")


def test_every_parameter_is_in_the_digest():
    base = {"landscapes": {"train": 3, "validation": 1, "test": 2}}
    other = {
        "exponent": 2.0, "longest": 0.4, "ridges": 0.1, "mean": 0.0, "deviation": 1.0, "oversample": 3, "seed": 1,
        "landscapes": {"train": 4, "validation": 1, "test": 2},
    }  # fmt: skip
    assert set(other) == set(reader.Options.model_fields)
    digests = {reader.Options(**base).digest} | {
        reader.Options(**{**base, name: value}).digest for name, value in other.items()
    }
    assert len(digests) == 1 + len(other)
