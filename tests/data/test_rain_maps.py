"""Hourly rain GeoTIFFs: their traps, each in a small file of the exact layout, and the square that is cut out."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorbench.data import rain_maps
from anchorbench.data.rain_maps import MISSING, RainHours, best_corner, pick_hours, read_map, stack_hours
from anchorbench.data.rain_tiles import TiledBlocks
from anchorbench.errors import ConfigError, DownloadError

rasterio = pytest.importorskip("rasterio")
from rasterio.transform import Affine  # noqa: E402 - only where there is rasterio

START = np.datetime64("2012-01-01T00:00:00")
HOUR = np.timedelta64(3600, "s")
NORTH_UP = Affine(1000.0, 0.0, 85000.0, 0.0, -1000.0, 7129000.0)


def write_map(path, codes, *, crs="EPSG:2154", transform=NORTH_UP, nodata=MISSING, scale=None, count=1):
    """A GeoTIFF as Météo-France writes it: north up, deflated strips; `codes` as they lie in the file."""
    profile = {"driver": "GTiff", "dtype": codes.dtype, "count": count, "height": codes.shape[0]}
    profile |= {"width": codes.shape[1], "compress": "deflate", "blockysize": 3, "crs": crs, "transform": transform}
    with rasterio.open(path, "w", **profile, nodata=nodata) as tif:
        for band in range(1, count + 1):
            tif.write(codes, band)
        if scale is not None:
            tif.scales = (scale,) * count
    return path


def codes_of(n: int, ny: int = 6, nx: int = 8) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 200, (n, ny, nx)).astype(np.uint16)


def written(folder, codes):
    return [(START + i * HOUR, write_map(folder / f"{i}.tif", code)) for i, code in enumerate(codes)]


def test_rows_run_from_south_to_north_whichever_way_the_file_has_them(tmp_path):
    codes = codes_of(1)[0]
    north_up, grid = read_map(write_map(tmp_path / "n.tif", codes))
    np.testing.assert_array_equal(north_up, codes[::-1])
    assert grid.corner == (85000.0, 7129000.0 - 6000.0)  # six rows below the upper edge
    assert grid.shape == (6, 8)
    south_up, same = read_map(
        write_map(tmp_path / "s.tif", codes, transform=Affine(1000.0, 0.0, 85000.0, 0.0, 1000.0, 7123000.0))
    )
    np.testing.assert_array_equal(south_up, codes)
    assert same == grid


def test_tenths_of_a_millimetre_become_millimetres_and_65535_the_mask(tmp_path):
    codes = np.zeros((2, 4, 4), np.uint16)
    codes[0, 0, 1] = 185  # northernmost row of the file
    codes[1, 3, 2] = 65535
    hours = stack_hours(written(tmp_path, codes), crop=4)
    assert hours.rain().dtype == np.float32
    assert hours.rain()[0, 3, 1] == pytest.approx(18.5)
    assert hours.rain().sum() == pytest.approx(18.5)  # and not 6553.5 mm more
    assert np.argwhere(~hours.valid()).tolist() == [[1, 0, 2]]


def test_65535_is_missing_where_the_file_does_not_say_so(tmp_path):
    codes = codes_of(2, 4, 4)
    codes[0, 1, 1] = 65535
    paths = [(START + i * HOUR, write_map(tmp_path / f"{i}.tif", c, nodata=None)) for i, c in enumerate(codes)]
    assert (~stack_hours(paths, crop=4).valid()).sum() == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scale": 0.1}, r"packed as \(1, 'uint16', 0.1, 0.0\)"),
        ({"count": 2}, r"packed as \(2, 'uint16', 1.0, 0.0\)"),
        ({"crs": None}, "does not say in which projection"),
        ({"crs": "EPSG:4326"}, "does not say in which projection"),
        ({"transform": Affine(2000.0, 0, 0, 0, -2000.0, 0)}, "cells of 2000 x -2000 m, not of 1 km"),
        ({"transform": Affine(1000.0, 10.0, 0, 0, -1000.0, 0)}, "not of 1 km with rows along x"),
    ],
)
def test_what_would_be_misread_is_refused(tmp_path, change, words):
    with pytest.raises(DownloadError, match=words):
        read_map(write_map(tmp_path / "x.tif", codes_of(1)[0], **change))


def test_another_type_and_no_geotiff_at_all_are_refused(tmp_path):
    with pytest.raises(DownloadError, match="float32"):
        read_map(write_map(tmp_path / "f.tif", codes_of(1)[0].astype(np.float32)))
    (tmp_path / "text.tif").write_text("no picture")
    with pytest.raises(DownloadError, match=r"text\.tif cannot be read as a GeoTIFF"):
        read_map(tmp_path / "text.tif")
    with pytest.raises(DownloadError, match="cannot be read as a GeoTIFF"):
        read_map(tmp_path / "gone.tif")


@pytest.mark.parametrize(
    "change", [{"crs": "EPSG:32631"}, {"transform": Affine(1000.0, 0.0, 86000.0, 0.0, -1000.0, 7129000.0)}]
)
def test_hours_on_another_grid_are_refused(tmp_path, change):
    codes = codes_of(2)
    paths = [(START, write_map(tmp_path / "0.tif", codes[0]))]
    paths.append((START + HOUR, write_map(tmp_path / "1.tif", codes[1], **change)))
    with pytest.raises(DownloadError, match=r"1\.tif is on another grid than the hours before it"):
        stack_hours(paths, crop=4)


def test_hours_of_another_size_are_refused(tmp_path):
    paths = [(START, write_map(tmp_path / "0.tif", codes_of(1)[0]))]
    paths.append((START + HOUR, write_map(tmp_path / "1.tif", codes_of(1, 8, 8)[0])))
    with pytest.raises(DownloadError, match="another grid"):
        stack_hours(paths, crop=4)


def test_hours_are_sorted_and_none_comes_twice(tmp_path):
    codes = codes_of(3)
    paths = written(tmp_path, codes)
    hours = stack_hours([paths[2], paths[0], paths[1]], crop=6, corner=(0, 1))
    np.testing.assert_array_equal(hours.codes, codes[:, ::-1, 1:7])
    np.testing.assert_array_equal(hours.times, START + np.arange(3) * HOUR)
    with pytest.raises(DownloadError, match="of an hour that another file has"):
        stack_hours([*paths, (START, paths[2][1])], crop=6)
    with pytest.raises(DownloadError, match="1 hours of rain are too few"):
        stack_hours(paths[:1], crop=6)


def test_the_square_lies_where_all_is_measured_and_nearest_the_centre():
    valid = np.zeros((20, 30), bool)
    valid[2:14, 5:25] = True
    # 12 rows hold a square of 8 from row 2 to 6, columns 5 to 17; the centre would begin at (6, 11)
    assert best_corner(valid, 8) == (6, 11)
    valid[13] = False  # row 13 is the last of a square from row 6
    assert best_corner(valid, 8) == (5, 11)
    with pytest.raises(DownloadError, match="20 x 30 cells, too few for a crop of 21"):
        best_corner(valid, 21)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 99), crop=st.integers(1, 6))
def test_no_other_square_has_more_measured_cells(seed, crop):
    valid = np.random.default_rng(seed).random((7, 9)) < 0.7
    row, column = best_corner(valid, crop)
    squares = [valid[r : r + crop, c : c + crop].sum() for r in range(8 - crop) for c in range(10 - crop)]
    assert valid[row : row + crop, column : column + crop].sum() == max(squares)


def test_a_square_that_is_never_measured_or_not_there_is_refused(tmp_path):
    codes = codes_of(2)
    codes[:, 5, 0] = MISSING  # the file's last row is the southernmost
    paths = written(tmp_path, codes)
    with pytest.raises(DownloadError, match="from row 0, column 0 reaches cells that are never measured"):
        stack_hours(paths, crop=4, corner=(0, 0))
    assert stack_hours(paths, crop=4).valid().all()  # it is avoided
    with pytest.raises(DownloadError, match="from row 3, column 0 is not within the 6 x 8 cells"):
        stack_hours(paths, crop=4, corner=(3, 0))


def test_what_was_cut_is_written_down(tmp_path):
    paths = written(tmp_path, codes_of(5))
    attrs = stack_hours([paths[0], paths[1], paths[4]], crop=4, corner=(1, 2)).attrs
    assert attrs["south_western_corner_in_m"] == "87000, 7124000"  # 85000 + 2 km, 7129000 − 6 km + 1 km
    assert (attrs["crop_y"], attrs["crop_x"]) == ("1:5, from the south", "2:6")
    assert (attrs["hours"], attrs["hours_missing_between"]) == ("3", "2")
    assert "Lambert-93" in attrs["projection"]
    assert all(isinstance(value, str) for value in attrs.values())


def test_ten_days_in_a_wrong_unit_raise_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(rain_maps, "ENOUGH_HOURS", 3)
    for tenths, mm_a_year in ((1, 877), (10, 8766)):  # 0.1 and 1 mm in each of 8766 hours
        folder = tmp_path / str(tenths)
        folder.mkdir()
        paths = written(folder, np.full((3, 4, 4), tenths, np.uint16))
        if tenths == 1:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                hours = stack_hours(paths, crop=4)
        else:
            with pytest.warns(UserWarning, match="make 8766 mm a year on the mean, which is implausible"):
                hours = stack_hours(paths, crop=4)
        assert hours.attrs["mean_as_mm_a_year"] == str(mm_a_year)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            stack_hours(paths[:2], crop=4)  # two hours say nothing of a climate


def test_a_missing_hour_ends_a_sequence_and_missing_cells_are_neither_wet_nor_dry():
    times = np.delete(START + np.arange(12) * HOUR, 2)
    codes = np.ones((11, 2, 2), np.uint16)
    codes[:, 0, 0] = MISSING
    codes[:, 0, 1] = 0
    hours = RainHours(codes, times)
    np.testing.assert_allclose(hours.wet_share(0.0), 2 / 3)
    np.testing.assert_allclose(hours.wet_share(0.1), 0.0)  # 0.1 mm is not above 0.1 mm
    blocks = TiledBlocks(frames=2, period=4, gap=1, turns=("train", "test", "validation"), wet_share=0.5)
    picked = pick_hours(hours, blocks)
    # train has hours 0 1 . 3 less the gap's hour 3: one sequence; test 4 to 6, validation 8 to 11
    assert {split: fields.n_samples for split, fields in picked.items()} == {"train": 1, "test": 1, "validation": 2}
    for fields in picked.values():
        assert set(np.diff(fields.times, axis=1).ravel()) == {HOUR}
        assert not fields.valid[..., 0, 0].any()
        assert (fields.values["rainfall_amount"][..., 0, 0] == 0).all()
    with pytest.raises(ConfigError, match="no sequence of 2 frames in the train split has 90% of its cells wet"):
        pick_hours(hours, blocks.model_copy(update={"wet_share": 0.9}))


def test_where_nothing_is_missing_there_is_no_mask():
    hours = RainHours(np.ones((12, 2, 2), np.uint16), START + np.arange(12) * HOUR)
    blocks = TiledBlocks(frames=2, period=4, gap=1, turns=("train", "test", "validation"))
    assert all(fields.valid is None for fields in pick_hours(hours, blocks).values())
