"""comephore, sample-inca: one analysis, never a nowcast, in bands that no two splits share."""

from __future__ import annotations

import netCDF4
import numpy as np
import pytest

from anchorbench.config import validated
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import request
from anchorbench.data.sources.inca import VARIABLE, Options, analysis, tiles
from anchorbench.errors import ConfigError, DownloadError

TIME = np.datetime64("2021-06-28T07:00:00")
EPOCH = "seconds since 2021-06-28 07:00:00"
BANDS = {"train": (0, 8), "test": (10, 14), "validation": (16, 20)}


def write_inca(
    path, rate, *, units="mm/h", fill=-999.0, first=0.0, epoch="seconds since 2021-06-28 07:00:00", step=1000.0
):
    """The layout of MeteoSwiss: 37 times, of which the first is the analysis; rows from the south."""
    ny, nx = rate.shape
    with netCDF4.Dataset(path, "w") as nc:
        nc.source = "model: inca-1,product_category: determinist, version: 3.2"
        for name, size in (("chx", nx), ("chy", ny), ("time", 37)):
            nc.createDimension(name, size)
        for name, size, start in (("chx", nx, 255500.0), ("chy", ny, -159500.0)):
            nc.createVariable(name, "f8", (name,))[:] = start + step * np.arange(size)
        time = nc.createVariable("time", "f8", ("time",))
        time.units = epoch
        time[:] = first + 600.0 * np.arange(37)
        rain = nc.createVariable("RR", "f4", ("time", "chy", "chx"), fill_value=fill)
        rain.units = units
        rain[:] = 777.0  # the nowcasts
        rain[0] = rate
        nc.createVariable("grid_mapping", "f4").grid_mapping_name = "Oblique Mercator (CH1903)"
    return path


def field(ny: int = 20, nx: int = 12) -> np.ndarray:
    return np.random.default_rng(1).gamma(0.5, 1.0, (ny, nx)).astype(np.float32)


def test_only_the_analysis_is_read(tmp_path):
    rate, time, attrs = analysis(write_inca(tmp_path / "i.nc", field()))
    np.testing.assert_array_equal(rate, field())  # rows as they are: from the south
    assert time == TIME
    assert attrs["nowcasts_left_out"] == "36"
    assert attrs["analysis_time"] == "2021-06-28 07:00:00"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"first": 600.0}, "begins 600 after .*, with a nowcast instead of the analysis"),
        ({"epoch": "hours since 2021-06-28 07:00:00"}, "nowcast"),
        ({"units": "kg m-2 s-1"}, "would be misread"),
        ({"fill": -9999.0}, "would be misread"),
        ({"step": 500.0}, "chy does not rise by 1000 m"),
        ({"step": -1000.0}, "chy does not rise by 1000 m"),
    ],
)
def test_another_layout_is_refused(tmp_path, change, words):
    with pytest.raises(DownloadError, match=words):
        analysis(write_inca(tmp_path / "i.nc", field(), **change))


def test_minus_999_becomes_the_mask_and_other_negative_rain_is_refused(tmp_path):
    rate = field()
    rate[3, 5] = -999.0
    found, time, _ = analysis(write_inca(tmp_path / "i.nc", rate))
    assert np.argwhere(np.isnan(found)).tolist() == [[3, 5]]
    splits = tiles(found, time, Options(bands=BANDS, gap=2), crop=4)
    train = splits["train"]
    assert np.argwhere(~train.valid).tolist() == [[1, 0, 3, 1]]  # the second square of the first row of squares
    assert train.values[VARIABLE][1, 0, 3, 1] == 0.0
    rate[3, 5] = -0.1
    with pytest.raises(DownloadError, match="negative rain"):
        analysis(write_inca(tmp_path / "n.nc", rate))


def test_a_file_that_is_no_analysis_is_one_error(tmp_path):
    (tmp_path / "text.nc").write_text("no NetCDF")
    with netCDF4.Dataset(tmp_path / "empty.nc", "w"):
        pass
    for name in ("text.nc", "empty.nc", "gone.nc"):
        with pytest.raises(DownloadError, match="cannot be read as an INCA analysis"):
            analysis(tmp_path / name)


def test_each_split_has_the_squares_of_its_own_band_and_all_are_one_cluster():
    rate = np.broadcast_to(1.0 + np.arange(20, dtype=np.float32)[:, None], (20, 13))
    splits = tiles(rate, TIME, Options(bands=BANDS, gap=2), crop=4)
    # bands of 8, 4 and 4 rows and 13 columns hold 2 x 3, 3 and 3 squares
    assert {split: fields.n_samples for split, fields in splits.items()} == {"train": 6, "test": 3, "validation": 3}
    for split, (first, last) in BANDS.items():
        values = splits[split].values[VARIABLE]
        assert (values.min(), values.max()) == (first + 1, last)
        assert values.shape[1:] == (1, 4, 4)
        assert splits[split].clusters.tolist() == [0] * len(values)
        assert splits[split].valid is None
        assert splits[split].times.shape == (len(values), 1)


def test_dry_squares_are_left_out_and_a_split_without_one_says_what_to_do():
    rate = np.zeros((20, 12), np.float32)
    rate[::4, 0] = 1.0  # one cell of the first square of each row of squares: 1/16 of it
    rate[14, 0] = 1.0
    picked = tiles(rate, TIME, Options(bands=BANDS, gap=2, wet_share=0.06), crop=4)
    assert {split: fields.n_samples for split, fields in picked.items()} == {"train": 2, "test": 1, "validation": 1}
    with pytest.raises(ConfigError, match="no square of 4 cells in the train split has 10% of its cells wet"):
        tiles(rate, TIME, Options(bands=BANDS, gap=2, wet_share=0.1), crop=4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bands": {"train": (0, 8), "test": (10, 14)}}, "bands are of train, validation and test"),
        ({"bands": BANDS, "gap": 3}, "less than 3 rows apart"),
        ({"bands": {**BANDS, "test": (6, 14)}, "gap": 0}, "less than 0 rows apart"),
        ({"bands": {**BANDS, "test": (14, 10)}}, "from a row to a later one"),
        ({"frames": 2}, "frames"),
    ],
)
def test_bands_that_touch_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        validated(Options, options, where="comephore selection")


def test_the_catalogue_gives_it_no_time_no_forecast_and_a_rate():
    catalog = load_catalog()
    for size in ("tiny", "small", "full"):
        wanted = request(catalog, "comephore", size=size, source="sample-inca")
        assert wanted.entry.tasks == ("super_resolve",)
        assert wanted.entry.time is None
        assert wanted.spec.grid["extent"] == [64.0, 64.0]
        assert [(v.name, v.units) for v in wanted.spec.variables] == [("rainfall_rate", "mm/h")]
