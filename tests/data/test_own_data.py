"""A user's own file: found by CF, asked about in one message, cut into splits that do not leak, known by name after."""

from __future__ import annotations

import http.server
import os
import threading
import warnings
from functools import cache, partial

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorbench.data.catalog_file import load_catalog as read_the_catalog
from anchorbench.data.cf import role_of
from anchorbench.data.fetch import fetch, request
from anchorbench.data.own import (
    describe_own,
    describe_words,
    keep_own,
    own_change,
    own_datasets,
    propose_rungs,
    with_own,
)
from anchorbench.data.sources.own import USUAL_TURNS, by_time
from anchorbench.errors import AnchorbenchError, CatalogError, ConfigError, DownloadError, LadderError
from anchorbench.fields import Grid

X = np.arange(16) * 0.5
#: Read once: it is the same for all.
load_catalog = cache(read_the_catalog)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("f4")


def flow(n_times=60, *, names=("u", "v"), **attrs):
    """u, v(time, y, x) on 16 x 16 points half a metre apart, every six hours."""
    return xr.Dataset(
        {
            name: (("time", "y", "x"), noise(n_times, 16, 16, seed=i), {"units": "m s-1"})
            for i, name in enumerate(names)
        },
        coords={
            "time": ("time", np.arange(n_times) * 6.0, {"units": "hours since 2020-02-28 00:00", "axis": "T"}),
            "y": ("y", X, {"units": "m"}),
            "x": ("x", X, {"units": "m"}),
        },
        attrs=attrs,
    )


def globe(latitude, longitude, *, n_times=40, **fields):
    fields = fields or {"t2m": noise(n_times, len(latitude), len(longitude))}
    return xr.Dataset(
        {name: (("valid_time", "nj", "ni"), values, {"units": "K"}) for name, values in fields.items()},
        coords={
            "valid_time": ("valid_time", np.arange(n_times), {"units": "days since 1990-01-01"}),
            "nj": ("nj", latitude, {"units": "degrees_north"}),
            "ni": ("ni", longitude, {"standard_name": "longitude"}),
        },
    )


@pytest.fixture
def write(tmp_path):
    def put(dataset, name="my.nc", **options):
        dataset.to_netcdf(tmp_path / name, engine="netcdf4", **options)
        return tmp_path / name

    return put


def made(entry, tmp_path, **settings):
    """The ladder of a description."""
    catalog = load_catalog()
    keep_own(entry, tmp_path / "cache", catalog)
    wanted = request(with_own(catalog, tmp_path / "cache"), entry.name, size="tiny", settings=settings)
    return fetch(wanted, tmp_path / "cache")


def refused(path, **words):
    with pytest.raises(ConfigError) as caught:
        describe_own(path, **{"name": "mine", **words})
    return caught.value


# --- what is found ---------------------------------------------------------------------------------------------------


def test_a_periodic_series_becomes_a_spectral_ladder_of_its_own_values(write, tmp_path):
    data = flow()
    entry = describe_own(write(data), name="mine", variables="u,v", restriction="spectral", periodic=True)
    assert entry.grid.extent == (8.0, 8.0)  # sixteen points, half a metre apart, around
    assert (entry.grid.centring, entry.grid.unit, entry.grid.periodic) == ("point", "m", (True, True))
    assert (entry.time.step, entry.time.unit, entry.time.lead) == (6.0, "h", 6.0)
    assert [(v.name, v.units) for v in entry.variables] == [("u", "m s-1"), ("v", "m s-1")]
    assert entry.tasks == ("forecast", "super_resolve")
    assert entry.sizes["small"].rungs == (8, 16)
    ladder = made(entry, tmp_path)
    # the Nyquist wave has no phase and is dropped; white noise keeps the other 15² of 16² waves
    v = ladder.array("test", 16, "v")
    assert v.var() == pytest.approx(225 / 256, abs=0.08)
    starts = np.asarray(xr.open_dataset(ladder.folder / "test.nc", group="r016", engine="netcdf4")["start"])
    first = int((starts[0] - np.datetime64("2020-02-28")) / np.timedelta64(6, "h"))
    waves = np.fft.fft2(data["v"].values[first])
    waves[8], waves[:, 8] = 0, 0
    np.testing.assert_allclose(v[0, 0], np.fft.ifft2(waves).real, atol=1e-5)


def test_block_means_need_no_word_on_periodicity_and_keep_the_values(write, tmp_path):
    data = flow()
    ladder = made(describe_own(write(data), name="mine", variables="v,u", headline="u"), tmp_path)
    assert ladder.restriction == "block_mean"
    assert ladder.finest.centring == "cell"
    assert ladder.finest.periodic == (False, False)
    assert [v.name for v in ladder.spec.variables] == ["u", "v"]  # the headline is the first channel
    u = ladder.array("train", 16, "u")
    np.testing.assert_array_equal(u[0], data["u"].values[:2])
    np.testing.assert_allclose(ladder.array("train", 8, "u")[0, 0, 0, 0], u[0, 0, :2, :2].mean(), rtol=1e-5)


def test_an_attribute_says_that_a_box_is_periodic(write):
    entry = describe_own(write(flow(periodic="yes")), name="mine", variables="u")
    assert entry.grid.periodic == (True, True)
    assert entry.restriction == "spectral"


def test_the_copy_of_the_first_point_at_the_end_of_a_periodic_axis_is_left_out(write, tmp_path):
    data = flow()
    closed = xr.concat([data, data.isel(x=[0]).assign_coords(x=[8.0])], "x")
    entry = describe_own(write(closed), name="mine", variables="u", periodic="yes", extent="8")
    assert entry.grid.points == (16, 16)
    ladder = made(entry, tmp_path)
    assert ladder.finest.shape == (16, 16)
    assert ladder.array("train", 16, "u").shape[-1] == 16


def test_latitudes_that_fall_are_turned_and_poles_make_points(write, tmp_path):
    latitude, longitude = np.linspace(90, -90, 13), np.arange(24) * 15.0
    values = np.broadcast_to(latitude[:, None] + longitude / 1000, (40, 13, 24)).astype("f4")
    entry = describe_own(write(globe(latitude, longitude, t=values)), name="era")
    assert entry.restriction == "conservative"
    assert (entry.grid.kind, entry.grid.centring) == ("latlon", "point")
    assert (entry.grid.origin, entry.grid.extent) == ((-90.0, 0.0), (180.0, 360.0))
    assert entry.grid.periodic == (False, True)
    ladder = made(entry, tmp_path)
    u = ladder.array("train", 13, "t")[0, 0]
    np.testing.assert_allclose(u[:, 0], np.linspace(-90, 90, 13), atol=1e-4)
    np.testing.assert_allclose(u[-1], 90 + longitude / 1000, atol=1e-4)


def test_latitudes_between_the_poles_make_cells(write):
    # the 64 x 32 grid: −87.1875 to 87.1875 in steps of 5.625 degrees
    latitude, longitude = -87.1875 + 5.625 * np.arange(32), 5.625 * np.arange(64)
    entry = describe_own(write(globe(latitude, longitude)), name="era")
    assert entry.grid.centring == "cell"
    # the first column is centred on the meridian of Greenwich
    assert (entry.grid.origin, entry.grid.extent) == ((-90.0, -2.8125), (180.0, 360.0))
    assert entry.sizes["tiny"].rungs == (8, 16, 32)


@pytest.mark.parametrize(
    ("longitude", "west"),
    [
        (np.arange(0, 361, 15.0), 0.0),  # 0 and 360 are one meridian
        (np.arange(-180, 181, 15.0), -180.0),
        (np.concatenate([np.arange(180, 360, 15.0), np.arange(0, 180, 15.0)]), 180.0),  # it wraps inside
    ],
)
def test_longitudes_go_once_around_wherever_they_begin(write, longitude, west):
    entry = describe_own(write(globe(np.linspace(-90, 90, 13), longitude)), name="era")
    assert entry.grid.points == (13, 24)
    assert entry.grid.origin == (-90.0, west)
    assert entry.grid.periodic == (False, True)


def test_a_region_says_where_it_lies(write):
    entry = describe_own(write(globe(40 + 0.25 * np.arange(16), 5 + 0.25 * np.arange(24))), name="alps")
    # cells: half a spacing beyond the outer points
    assert entry.grid.origin == (39.875, 4.875)
    assert entry.grid.extent == (4.0, 6.0)
    points = describe_own(
        write(globe(40 + 0.25 * np.arange(17), 5 + 0.25 * np.arange(25))), name="alps", centring="point"
    )
    assert (points.grid.origin, points.grid.extent) == ((40.0, 5.0), (4.0, 6.0))
    assert points.sizes["tiny"].rungs == (9, 17)  # 16 intervals, 8 intervals


def test_missing_values_become_the_mask_whatever_marks_them(write, tmp_path):
    data = flow()
    packed = np.arange(60 * 256, dtype="i2").reshape(60, 16, 16) % 1000
    packed[:, 0, 0], packed[:, 0, 1] = -999, 2000
    data["u"] = (("time", "y", "x"), packed, {"units": "mm", "valid_max": 100.0})
    path = write(data, encoding={"u": {"_FillValue": np.int16(-999)}})
    with xr.open_dataset(path, engine="netcdf4", mask_and_scale=False) as raw:
        raw = raw.load()
    raw["u"].attrs |= {"scale_factor": 0.1, "missing_value": np.int16(-999)}
    ladder = made(describe_own(write(raw, "packed.nc"), name="rain", variables="u"), tmp_path)
    assert ladder.masked
    area, u = ladder.valid_area("train", 16), ladder.array("train", 16, "u")
    assert area[0, 0, 0, 0] == 0  # the missing code
    assert area[0, 0, 0, 1] == 0  # 200 mm, above the valid maximum of 100
    assert area[0, 0, 0, 2] == 1
    assert u[0, 0, 0, 2] == pytest.approx(0.2)  # the second of the file, scaled


def test_levels_become_variables_of_their_own(write, tmp_path):
    values = noise(40, 3, 16, 16)
    data = xr.Dataset(
        {"t": (("time", "plev", "y", "x"), values, {"units": "K", "long_name": "temperature"})},
        coords={"plev": ("plev", [1000.0, 850.0, 500.0], {"units": "hPa"}), "x": X, "y": X},
    )
    path = write(data)
    error = refused(path)
    assert "which of the levels 1000,850,500 along 'plev'" in error.what
    assert "--set levels=1000,850,500" in error.do
    assert "no level 700" in refused(path, levels=[700]).what
    entry = describe_own(path, name="mine", levels="500,850")
    assert [(v.name, v.long_name) for v in entry.variables] == [
        ("t_500", "temperature at 500"),
        ("t_850", "temperature at 850"),
    ]
    ladder = made(entry, tmp_path)
    np.testing.assert_array_equal(ladder.array("train", 16, "t_850")[0], values[:2, 1])
    assert entry.time.unit == "1"  # nothing says how far apart the frames are


@pytest.mark.parametrize(("shape", "dims"), [((64,), ("x",)), ((12, 16, 24), ("z", "y", "x"))])
def test_boxes_of_one_and_three_dimensions(write, tmp_path, shape, dims):
    coords = {dim: (dim, 0.25 * np.arange(n), {"units": "m"}) for dim, n in zip(dims, shape, strict=True)}
    values = noise(5, 3, *shape)
    data = xr.Dataset({"u": (("trajectory", "time", *dims), values)}, coords=coords)
    entry = describe_own(write(data), name="mine", rungs=[shape[0] // 2, shape[0]])
    assert entry.grid.points == shape
    assert entry.grid.extent == tuple(0.25 * n for n in shape)
    ladder = made(entry, tmp_path)
    assert ladder.clusters("train").tolist() == [0, 1, 2]  # trajectories 0, 3, 4
    np.testing.assert_array_equal(ladder.array("test", shape[0], "u")[0], values[1])
    np.testing.assert_array_equal(ladder.array("train", shape[0], "u")[1], values[3])


def test_inputs_and_targets_make_an_operator(write):
    values = {name: (("sample", "y", "x"), noise(6, 16, 16)) for name in "au"}
    entry = describe_own(write(xr.Dataset(values, coords={"x": X, "y": X})), name="darcy", variables="a:input,u:target")
    assert entry.tasks == ("operator",)
    assert entry.time is None
    assert [v.role for v in entry.variables] == ["input", "target"]
    assert entry.headline == "u"


def test_a_crop_is_cut_from_the_centre(write, tmp_path):
    data = xr.Dataset(
        {"h": (("sample", "y", "x"), noise(5, 19, 18))}, coords={"y": np.arange(19.0), "x": np.arange(18.0)}
    )
    path = write(data)
    assert "no coarser rung under block_mean" in refused(path).what
    entry = describe_own(path, name="mine", crop="16,16")
    assert entry.grid.extent == (16.0, 16.0)
    ladder = made(entry, tmp_path)
    np.testing.assert_array_equal(ladder.array("test", 16, "h")[0, 0], data["h"].values[1, 1:17, 1:17])


def test_a_length_along_x_is_asked_for_where_there_is_no_coordinate(write):
    path = write(xr.Dataset({"h": (("sample", "y", "x"), noise(5, 16, 32))}))
    error = refused(path)
    assert "how long the box is along y, which has no coordinate; how long the box is along x" in error.what
    assert error.do == "add  --extent 1.0,1.0"
    assert describe_own(path, name="mine", extent="2,4").grid.extent == (2.0, 4.0)


@pytest.mark.parametrize(
    ("dim", "attrs", "role"),
    [
        ("nav", {"axis": "T"}, "time"),
        ("nav", {"units": "seconds since 1970-01-01"}, "time"),
        ("nav", {"standard_name": "grid_latitude", "units": "degrees"}, "y"),
        ("nav", {"axis": "Y", "units": "degrees_north"}, "lat"),
        ("z", {"axis": "Z"}, "z"),
        ("depth", {"axis": "Z", "standard_name": "depth"}, "level"),
        ("x", {"units": "degrees_east"}, "lon"),  # what it says of itself goes before its name
        ("nav", {"units": "hPa"}, "level"),
        ("member", {}, "sample"),
        ("nav", {}, None),
    ],
)
def test_a_dimension_is_known_by_what_its_coordinate_says(dim, attrs, role):
    assert role_of(xr.Dataset(coords={dim: (dim, [0.0, 1.0], attrs)}), dim) == role


# --- what is asked ---------------------------------------------------------------------------------------------------


def test_all_that_is_missing_is_asked_for_in_one_message(write):
    data = flow(names=("u", "v", "p")).rename({"time": "step"}).drop_vars(["step", "x"])
    error = refused(write(data), restriction="spectral")
    assert error.what == (
        "my.nc: which variables are meant (it has u, v, p); what the dimension 'step' of 60 points is; "
        "whether it is periodic along y, x, as spectral needs; how long the box is along x, which has no coordinate"
    )
    assert error.do == (
        "add  --variables u,v,p  --set dims.step=time (or sample, level, x, y, z)  --periodic yes  --extent 1.0,1.0"
    )
    entry = describe_own(
        write(data), name="mine", restriction="spectral", variables="u", dims={"step": "time"}, periodic=True, extent=8
    )
    assert entry.grid.extent == (8.0, 8.0)


@pytest.mark.parametrize(
    ("change", "words", "said"),
    [
        (lambda d: d.assign_coords(x=X**1.1), {}, "x is not evenly spaced"),
        (lambda d: d.assign_coords(time=("time", d.time.values[::-1])), {}, "the times along time do not rise"),
        (lambda d: d.isel(time=0, drop=True), {}, "one field, which cannot be split"),
        (lambda d: d.isel(time=0, drop=True), {"task": "forecast"}, "no time, so there is nothing to forecast"),
        (lambda d: d.isel(time=slice(8)), {"frames": 4}, "series of 8 frames is too short for samples of 4 frames"),
        (lambda d: d, {"variables": "u,w"}, r"it has no variable 'w' \(it has u\(time, y, x\)"),
        (lambda d: d, {"restriction": "spectral", "periodic": [True, False]}, "periodic on every axis"),
        (lambda d: d, {"rungs": "5,16"}, "rungs 5 cannot be reached from its 16 x 16 points under block_mean"),
        (lambda d: d, {"rungs": "8,16", "train_rung": 4}, "the train rung 4 is none of the rungs 8, 16"),
        (lambda d: d, {"periodic": True, "extent": 9}, "span 8, not the extent 9"),
        (lambda d: d.assign_coords(x=("x", X, {"units": "km"})), {}, "different units"),
        (lambda d: d, {"restrict": "spectral"}, "no option 'restrict'. Did you mean 'restriction'"),
        (lambda d: d, {"crop": "8,32"}, "a crop of"),
        (lambda d: d, {"task": "operator"}, "an operator needs to know what goes in"),
        (lambda d: d, {"headline": "w"}, "the headline 'w' is none of u"),
        (lambda d: d, {"name": "My Data"}, "'My Data' is no name for a dataset"),
        (lambda d: d, {"name": "files"}, "'files' is a folder of the cache itself"),
        (
            lambda d: d.drop_vars(["time", "x"]).rename(time="member", x="nav"),
            {"dims": {"nav": "sample"}},
            "both 'member' and 'nav' look like sample",
        ),
        (lambda d: d.rename(y="a", x="b"), {}, "no variable has a dimension of space"),
    ],
)
def test_what_cannot_be_is_refused_by_name(write, change, words, said):
    data = change(flow(names=("u",)))
    with pytest.raises(AnchorbenchError, match=said):
        describe_own(write(data), **{"name": "mine", **words})


@pytest.mark.parametrize("content", [None, b"<html>", b"\x89HDF but no more"])
def test_a_file_that_is_none_is_one_line(tmp_path, content):
    path = tmp_path / "my.nc"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DownloadError, match=r"my\.nc"):
        describe_own(path, name="mine")


@pytest.mark.parametrize(
    ("grid", "how", "rungs"),
    [
        (Grid((721, 1440), (180, 360), "point", "latlon"), "conservative", (46, 91, 181, 361, 721)),
        (Grid((184, 184), centring="cell", periodic=(False, False)), "block_mean", (23, 46, 92, 184)),
        (Grid((128,)), "spectral", (8, 16, 32, 64, 128)),
        (Grid((48, 96)), "spectral", (12, 24, 48)),
        (Grid((31, 31), centring="cell", periodic=(False, False)), "block_mean", (31,)),
    ],
)
def test_rungs_are_proposed_in_halves_as_the_restriction_allows(grid, how, rungs):
    assert propose_rungs(grid, how) == rungs


# --- how it is split -------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(
    n=st.integers(20, 400),
    frames=st.integers(1, 6),
    gap=st.integers(0, 8),
    cycles=st.integers(1, 4),
    lost=st.sets(st.integers(0, 399), max_size=20),
)
def test_no_frame_of_one_split_is_nearer_than_the_gap_to_a_frame_of_another(n, frames, gap, cycles, lost):
    steps = np.array([i for i in range(n) if i not in lost or i == 0])
    found = by_time(steps, frames=frames, gap=gap, periods=5 * cycles, turns=USUAL_TURNS)
    taken = {
        split: np.concatenate([steps[start : start + frames] for _, start, _ in windows] or [np.zeros(0, int)])
        for split, windows in found.items()
    }
    for split, windows in found.items():
        assert len(set(taken[split])) == len(taken[split])  # windows do not overlap
        for _, start, _ in windows:
            assert steps[start + frames - 1] - steps[start] == frames - 1  # nor bridge a frame that is missing
        for other in found:
            if other != split and len(taken[split]) and len(taken[other]):
                assert np.abs(taken[split][:, None] - taken[other]).min() > gap
        clusters = {cluster for _, _, cluster in windows}
        assert all(clusters.isdisjoint({c for _, _, c in found[o]}) for o in found if o != split)


def test_a_series_is_split_by_blocks_of_time_with_a_gap(write, tmp_path):
    ladder = made(describe_own(write(flow(100)), name="mine", variables="u", frames=2, gap=2), tmp_path)
    # 20 periods of 5 frames, in turn train, test, validation, train, train.  Of the first 3 frames stay before the gap,
    # of three joined ones 13, three times, and 10 of the last two: windows of 2 frames
    assert ladder.about["splits"]["train"]["samples"] == 1 + 3 * 6 + 5
    assert ladder.about["splits"]["test"]["samples"] == 4 * 1
    assert ladder.about["splits"]["test"]["clusters"] == [1, 4, 7, 10]
    assert "2 frames left out" in ladder.about["attrs"]["split_by"]
    assert {"record_start", "record_end"} <= set(ladder.about["attrs"]), "blocks of one record are neighbours in time"


def test_members_go_to_one_split_each(write, tmp_path):
    data = xr.Dataset({"u": (("number", "time", "y", "x"), noise(7, 4, 16, 16))}, coords={"x": X, "y": X})
    ladder = made(describe_own(write(data), name="mine"), tmp_path)
    clusters = {split: set(about["clusters"]) for split, about in ladder.about["splits"].items()}
    assert clusters == {"train": {0, 3, 4, 5}, "test": {1, 6}, "validation": {2}}
    assert "record_start" not in ladder.about["attrs"]


# --- how it is kept --------------------------------------------------------------------------------------------------


def test_a_description_is_kept_and_found_by_name(write, tmp_path):
    path = write(flow(title="a flow", institution="our lab", license="CC0", references="me, 2024"))
    entry = describe_own(path, name="mine", variables="u,v", restriction="spectral", periodic="yes")
    kept = keep_own(entry, tmp_path / "cache", load_catalog())
    assert kept == tmp_path / "cache" / "mine" / "dataset.yaml"
    assert own_datasets(tmp_path / "cache") == {"mine": entry}
    catalog = with_own(load_catalog(), tmp_path / "cache")
    assert "turbulence2d" in catalog.datasets
    wanted = request(catalog, "mine", size="tiny")
    assert wanted.source == "own"
    assert (entry.title, wanted.described.producer, wanted.described.terms) == ("a flow", "our lab", "CC0")
    assert describe_words(entry)["grid"].startswith("planar, 16 points over 8 x 16 points over 8 m")


def test_where_a_file_lies_is_not_in_the_digest_and_what_it_holds_is(write, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    specs = []
    for name in ("my.nc", "elsewhere/your.nc"):
        entry = describe_own(write(flow(), name), name="mine", variables="u")
        keep_own(entry, tmp_path / "cache", load_catalog())
        specs.append(request(with_own(load_catalog(), tmp_path / "cache"), "mine", size="tiny").spec)
    assert specs[0].digest == specs[1].digest
    assert "elsewhere" not in specs[1].model_dump_json()
    entry = describe_own(write(flow() * 2), name="mine", variables="u")
    keep_own(entry, tmp_path / "cache", load_catalog())
    assert request(with_own(load_catalog(), tmp_path / "cache"), "mine", size="tiny").spec.digest != specs[0].digest


def test_a_name_of_the_catalogue_is_refused(write, tmp_path):
    entry = describe_own(write(flow()), name="turbulence2d", variables="u")
    with pytest.raises(CatalogError, match="has a dataset 'turbulence2d' already"):
        keep_own(entry, tmp_path, load_catalog())
    keep_own(entry.model_copy(update={"name": "mine"}), tmp_path, load_catalog())
    (tmp_path / "mine").rename(tmp_path / "sevir")
    text = (tmp_path / "sevir" / "dataset.yaml").read_text()
    (tmp_path / "sevir" / "dataset.yaml").write_text(text.replace("  mine:", "  sevir:"))
    with pytest.raises(CatalogError, match="'sevir' is a dataset of the catalogue and one of your own"):
        with_own(load_catalog(), tmp_path)


def test_a_folder_of_the_cache_that_is_no_own_sets_keeps_its_name(write, tmp_path):
    entry = describe_own(write(flow()), name="mine", variables="u")
    keep_own(entry, tmp_path, load_catalog())
    (tmp_path / "mine" / "own").mkdir()  # its ladders
    keep_own(entry, tmp_path, load_catalog())
    (tmp_path / "mine" / "generated").mkdir()  # of a dataset that a catalogue once had
    with pytest.raises(CatalogError, match="mine holds generated, which are none of a dataset of your own"):
        keep_own(entry, tmp_path, load_catalog())


def test_a_broken_description_is_named_with_its_line(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "dataset.yaml").write_text("datasets:\n  mine:\n    titel: x\n")
    with pytest.raises(CatalogError, match=r"mine/dataset\.yaml, line \d+"):
        own_datasets(tmp_path)


def test_a_file_that_changed_is_noticed_and_one_that_was_only_touched_is_not(write, tmp_path):
    path = write(flow())
    entry = describe_own(path, name="mine", variables="u")
    assert own_change(entry) is None
    os.utime(path, (1, 1))
    assert own_change(entry) is None
    write(flow() * 2)
    assert own_change(entry) == f"{path} has changed since it was described"
    with pytest.raises(LadderError, match="has changed") as caught:
        made(entry, tmp_path)
    assert "anchorbench fetch --from" in caught.value.do
    path.unlink()
    with pytest.raises(DownloadError, match=r"my\.nc cannot be read"):
        own_change(entry)
    assert own_change(load_catalog().dataset("turbulence2d")) is None


def test_a_split_that_settings_leave_empty_is_one_line(write, tmp_path):
    entry = describe_own(write(flow(40)), name="mine", variables="u")
    with pytest.raises(ConfigError, match="split is left without a sample"):
        made(entry, tmp_path, frames=9)


# --- Zarr ------------------------------------------------------------------------------------------------------------


def write_zarr(path, data, *, version=2, consolidated=True):
    pytest.importorskip("zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr's own, on formats
        data.to_zarr(path, zarr_format=version, consolidated=consolidated)
    return path


@pytest.mark.parametrize(("version", "consolidated"), [(2, True), (2, False), (3, False)])
def test_a_zarr_folder_is_read_like_a_file(write, tmp_path, version, consolidated):
    data = flow()
    path = write_zarr(tmp_path / "my.zarr", data, version=version, consolidated=consolidated)
    entry = describe_own(path, name="mine", variables="u")
    ladder = made(entry, tmp_path)
    np.testing.assert_array_equal(ladder.array("train", 16, "u")[0], data["u"].values[:2])
    assert own_change(entry) is None
    chunk = next(
        file for file in sorted((path / "u").rglob("*")) if file.is_file() and not file.name.startswith((".", "z"))
    )
    chunk.write_bytes(chunk.read_bytes() + b"!")
    assert own_change(entry) == f"{path} has changed since it was described"


def test_a_zarr_store_at_an_address_is_read_like_a_file(tmp_path):
    pytest.importorskip("aiohttp")
    data = flow()
    write_zarr(tmp_path / "my.zarr", data)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        try:
            entry = describe_own(f"{address}/my.zarr", name="mine", variables="u")
            ladder = made(entry, tmp_path)
            np.testing.assert_array_equal(ladder.array("train", 16, "u")[0], data["u"].values[:2])
            with pytest.raises(DownloadError, match="the store cannot be read as Zarr") as caught:
                describe_own(f"{address}/nothing.zarr", name="mine")
            assert "127.0.0.1" not in str(caught.value)  # an address may hold a password
        finally:
            server.shutdown()
    wanted = request(with_own(load_catalog(), tmp_path / "cache"), "mine", size="tiny")
    with pytest.raises(DownloadError, match="offline"):
        fetch(wanted, tmp_path / "other", offline=True)
