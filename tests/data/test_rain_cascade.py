"""sevir and comephore, generated: events apart, to the same bits, cut from a larger torus, and called synthetic."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from anchorbench.config import validated
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import request
from anchorbench.data.sources import Ask, rain_cascade
from anchorbench.data.sources.rain_cascade import Options, check, estimate_seconds, generate, load
from anchorbench.errors import ConfigError
from anchorbench.fields import Grid, restrict
from anchorbench.solvers import rain_fields

TINY = {"torus": 24, "frames": 3, "trajectories": {"train": 3, "validation": 1, "test": 2}, "outer_scale": 8.0}
EACH_ONE = {"train": 1, "validation": 1, "test": 1}


def finest(rung: int = 16, extent: float = 16.0) -> Grid:
    return Grid((rung, rung), (extent, extent), "cell", periodic=(False, False), unit="km")


@pytest.fixture(scope="module")
def made():
    return generate(Options(**TINY), finest(), interval=5.0)


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


def test_each_split_has_its_events_on_the_finest_rung_and_no_mask(made):
    splits, static = made
    assert {split: fields.values["rainfall_amount"].shape for split, fields in splits.items()} == {
        "train": (3, 3, 16, 16),
        "validation": (1, 3, 16, 16),
        "test": (2, 3, 16, 16),
    }
    assert splits["train"].clusters.tolist() == [0, 1, 2]
    assert splits["train"].valid is None
    assert splits["train"].values["rainfall_amount"].dtype == np.float32
    assert static == {}


def test_no_two_events_of_any_split_are_alike(made):
    events = [event for fields in made[0].values() for event in fields.values["rainfall_amount"]]
    assert len(events) == 6
    for a, b in combinations(events, 2):
        assert np.linalg.norm(a - b) > max(np.linalg.norm(a), np.linalg.norm(b)) / 4


def test_a_stopped_call_goes_on_to_the_same_bits(made, tmp_path, monkeypatch):
    monkeypatch.setattr(rain_cascade, "SLICE", 2)
    calls: list[int] = []

    def counted(*args, **kwargs):
        calls.append(kwargs["first"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return rain_fields(*args, **kwargs)

    monkeypatch.setattr(rain_cascade, "rain_fields", counted)
    with pytest.raises(KeyboardInterrupt):
        generate(Options(**TINY), finest(), interval=5.0, scratch=tmp_path)
    shares: list[float] = []
    again, _ = generate(Options(**TINY), finest(), interval=5.0, scratch=tmp_path, tell=shares.append)
    assert len(calls) == 5  # train has two slices, validation and test one each: two were kept
    for split, fields in made[0].items():
        np.testing.assert_array_equal(again[split].values["rainfall_amount"], fields.values["rainfall_amount"])
    assert shares == [pytest.approx(x) for x in (2 / 6, 3 / 6, 4 / 6, 1.0)]


def test_amounts_are_rounded_as_a_radar_rounds_them():
    rain = generate(Options(**TINY, resolution=0.1), finest(), interval=5.0)[0]["train"].values["rainfall_amount"]
    np.testing.assert_allclose(rain * 10, np.round(rain * 10), atol=1e-4)
    bare = generate(Options(**TINY, resolution=0), finest(), interval=5.0)[0]["train"].values["rainfall_amount"]
    assert np.abs(bare - rain).max() <= 0.05 + 1e-6


def test_a_coarser_rung_is_the_mean_over_cells_of_what_is_generated_at_the_spacing(made):
    coarse = generate(Options(**TINY), finest(8), interval=5.0)[0]["test"].values["rainfall_amount"]
    fine = torch.from_numpy(made[0]["test"].values["rainfall_amount"])
    np.testing.assert_allclose(coarse, restrict(fine, finest(8), how="block_mean"), rtol=1e-6)


def test_the_orographic_factor_is_one_relief_for_all_events():
    options = Options(**TINY, orography=0.5, resolution=0)
    bare, _ = generate(options.model_copy(update={"orography": 0.0}), finest(), interval=60.0)
    splits, static = generate(options, finest(), interval=60.0)
    h = static["relief"].astype(np.float64)
    f = np.exp(0.5 * (h - h.mean()) / h.std())
    f /= f.mean()
    for split in splits:
        rain, plain = (s[split].values["rainfall_amount"] for s in (splits, bare))
        np.testing.assert_allclose(rain, plain * f, rtol=1e-4, atol=1e-7)


def test_an_hour_in_the_catalogue_is_sixty_minutes(catalog):
    options = Options(**{**TINY, "trajectories": EACH_ONE}, resolution=0)
    for dataset, minutes in (("sevir", 5.0), ("comephore", 60.0)):
        wanted = request(catalog, dataset, size="tiny", source="generated")
        ask = Ask(wanted.entry, wanted.described, options, wanted.size, finest(), cache=None)
        loaded = load(ask)
        direct = generate(options, finest(), interval=minutes)[0]
        np.testing.assert_array_equal(
            loaded.splits["test"].values["rainfall_amount"], direct["test"].values["rainfall_amount"]
        )
        assert '"torus":24' in loaded.attrs["generator"]


@pytest.mark.parametrize("dataset", ["sevir", "comephore"])
@pytest.mark.parametrize("size", ["tiny", "small", "full"])
def test_the_sets_of_the_catalogue_fit_their_box_and_say_that_they_are_synthetic(catalog, dataset, size):
    wanted = request(catalog, dataset, size=size, source="generated")
    assert wanted.display_name.startswith("synthetic")
    assert [(v.name, v.units) for v in wanted.spec.variables] == [("rainfall_amount", "mm")]
    cells = wanted.spec.grid["extent"][0] / wanted.options.spacing
    assert wanted.options.torus >= 1.5 * cells
    assert all(fine % coarse == 0 for coarse, fine in zip(wanted.spec.rungs, wanted.spec.rungs[1:], strict=False))
    entry = wanted.entry
    assert wanted.options.frames >= entry.frames_in + entry.time.lead_steps


@pytest.mark.parametrize(
    ("options", "grid", "words"),
    [
        ({}, finest(20, 20.0), "a torus of 24 cells is too small for a box of 20"),
        ({"spacing": 3.0}, finest(), "no whole number of cells of 3 km"),
        ({"spacing": 2.0}, finest(), "no whole number of cells of 2 km for each cell of rung 16"),
    ],
)
def test_a_box_that_does_not_fit_is_found_before_anything_is_made(options, grid, words):
    with pytest.raises(ConfigError, match=words):
        check(Options(**TINY, **options), finest=grid)
    check(Options(**TINY), finest=finest())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"wetshare": 0.1}, r"no option 'wetshare'.*Did you mean 'wet_share'"),
        ({"wet_share": 0}, "wet_share"),
        ({"trajectories": {"train": 1, "test": 1}}, "trajectories lack the split validation"),
        ({"frames": 1}, "frames"),
        ({"mean_share": 1.0}, "mean_share"),
    ],
)
def test_a_parameter_that_cannot_be_is_named(change, words):
    with pytest.raises(ConfigError, match=words):
        validated(Options, {**TINY, **change}, where="sevir generator")


def test_the_estimate_counts_events_and_frames():
    small = Options(**{**TINY, "torus": 64})
    many = small.model_copy(update={"trajectories": {"train": 300, "validation": 100, "test": 200}})
    estimate_seconds(small)  # the first plans its transforms
    assert 20 < estimate_seconds(many) / estimate_seconds(small) < 500  # 600 events against 6
