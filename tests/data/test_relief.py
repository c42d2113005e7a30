"""topography, samples: small files laid out as ERA5's invariant fields and an SRTM GeoTIFF, with their traps."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from types import SimpleNamespace

import netCDF4
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorbench.config import validated
from anchorbench.data import package_index
from anchorbench.data.catalog_file import load_catalog as read_the_catalog
from anchorbench.data.fetch import fetch, request
from anchorbench.data.sources import Ask
from anchorbench.data.sources.relief import STANDARD_GRAVITY, Options, load, read_globe, read_scene, starts
from anchorbench.errors import ConfigError, DownloadError
from anchorbench.fields import Grid

rasterio = pytest.importorskip("rasterio")

#: Read once: it is the same for all.
load_catalog = cache(read_the_catalog)

ROWS, COLUMNS = 19, 36  # 10 degrees, both poles in
LATITUDE, LONGITUDE = np.linspace(90, -90, ROWS), np.arange(0, 360, 10.0)
#: 9.80665 times an elevation of 1000 m + latitude + longitude/100: every point tells where it is.
HEIGHT = (1000 + LATITUDE[:, None] + LONGITUDE / 100).astype("f4")


def write_globe(path, name, values, *, latitude=LATITUDE, units="m2 s-2", dims=("latitude", "longitude"), **attrs):
    with netCDF4.Dataset(path, "w") as nc:
        for dim, points, unit in (
            ("latitude", latitude, "degrees_north"),
            ("longitude", LONGITUDE, "degrees_east"),
        ):
            nc.createDimension(dim, len(points))
            nc.createVariable(dim, "f4", (dim,), fill_value=np.nan)[:] = points
            nc[dim].units = unit
        nc.createVariable(name, "f4", dims, fill_value=np.nan)[:] = values
        nc[name].setncatts({"units": units, **attrs})
    return path


@pytest.fixture
def globe(tmp_path):
    share = np.linspace(0, 1, ROWS * COLUMNS, dtype="f4").reshape(ROWS, COLUMNS)
    return [
        write_globe(tmp_path / "zs.nc", "zs", HEIGHT * STANDARD_GRAVITY, standard_name="surface_geopotential"),
        write_globe(tmp_path / "lsm.nc", "lsm", share, units="1", standard_name="land_binary_mask"),
    ]


def ask(paths, finest, tmp_path, *, crop=None, **selection):
    """A reader's question, the files already there."""
    _, source = load_catalog().dataset("topography").source("sample" if crop is None else "sample-srtm", size="small")
    known = {file.member.name: file for file in source.files}
    files = [known.get(path.name, source.files[0]) for path in paths]
    size = SimpleNamespace(crop=crop, rungs=(finest.rung,))
    asked = Ask(
        SimpleNamespace(name="topography"),
        source.model_copy(update={"files": tuple(files)}),
        validated(Options, selection, where="selection"),
        size,
        finest,
        tmp_path,
    )
    by_file = dict(zip(map(id, files), paths, strict=True))
    object.__setattr__(asked, "sample", lambda file: by_file[id(file)])
    return asked


# 30 degrees of longitude from pole to pole: 4 points, both ends in
SECTOR = Grid((ROWS, 4), (180, 30), "point", "latlon", (False, False), unit="degree", origin=(-90, 0))


def test_latitudes_are_turned_and_the_geopotential_is_divided_by_standard_gravity(globe):
    field = read_globe(globe[0], "zs", units="m2 s-2")
    assert field.shape == (ROWS, COLUMNS)
    np.testing.assert_allclose(field / STANDARD_GRAVITY, HEIGHT[::-1], rtol=1e-6)


def test_sectors_are_elevation_in_metres_and_the_share_of_land(globe, tmp_path):
    # 36 columns, sectors of 4 points with at least 3 between: five, which begin every 7.2 columns
    made = load(ask(globe, SECTOR, tmp_path, gap=3))
    first = np.concatenate([f.clusters for f in made.splits.values()])
    assert sorted(first.tolist()) == [0, 1, 2, 3, 4]
    test = made.splits["test"].values
    assert test["elevation"].shape == (1, 1, ROWS, 4)
    # sector 1 begins at column 7, 70 degrees east; its south pole is the first row
    np.testing.assert_allclose(test["elevation"][0, 0, 0], 1000 - 90 + np.array([70, 80, 90, 100]) / 100, rtol=1e-6)
    assert ((test["land_area_fraction"] > 0) & (test["land_area_fraction"] < 1)).any()  # a share, not yes or no
    assert made.attrs["sectors_begin_at"] == "0, 70, 140, 210, 280"
    assert made.attrs["least_gap_between_sectors"] == "40 degrees"  # from 30 to 70: three points lie between
    assert made.splits["test"].valid is None


def test_the_sea_keeps_its_ripples(globe, tmp_path):
    zs = HEIGHT * 0 - 1006.1  # −102.6 m, as ERA5 has at one point of the sea
    write_globe(globe[0], "zs", zs)
    made = load(ask(globe, SECTOR, tmp_path, gap=3))
    np.testing.assert_allclose(made.splits["train"].values["elevation"], -1006.1 / STANDARD_GRAVITY, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"units": "m"}, r"zs.nc holds 'zs' as \(\('latitude', 'longitude'\), 'm'\), not as"),
        ({"latitude": np.linspace(85, -85, ROWS)}, "zs.nc is no grid from pole to pole"),
        ({"values": np.where(HEIGHT[3, 3] == HEIGHT, np.nan, HEIGHT)}, "zs.nc has gaps"),
        ({"dims": ("longitude", "latitude"), "values": HEIGHT.T}, "zs.nc holds 'zs' as"),
        ({"name": "z"}, "cannot be read as a field on the globe"),
    ],
)
def test_a_globe_in_another_layout_is_refused(tmp_path, change, named):
    write_globe(tmp_path / "zs.nc", **{"name": "zs", "values": HEIGHT, **change})
    with pytest.raises(DownloadError, match=named):
        read_globe(tmp_path / "zs.nc", "zs", units="m2 s-2")


def test_a_file_that_is_no_netcdf_is_one_line(tmp_path):
    (tmp_path / "zs.nc").write_bytes(b"<html>not found</html>")
    with pytest.raises(DownloadError, match="cannot be read as a field on the globe"):
        read_globe(tmp_path / "zs.nc", "zs", units="m2 s-2")


# --- the scene -------------------------------------------------------------------------------------------------------

SECOND = 1 / 1200  # three seconds of arc, in degrees


def write_scene(path, heights, *, nodata=0, north=38.0, west=-120.0, crs="EPSG:4326", north_up=True):
    rows, columns = heights.shape[-2:]
    step = -SECOND if north_up else SECOND
    top = north if north_up else north - rows * SECOND
    bands = heights if heights.ndim == 3 else heights[None]
    with rasterio.open(
        path, "w", driver="GTiff", width=columns, height=rows, count=len(bands), dtype=bands.dtype, crs=crs,
        nodata=nodata, transform=rasterio.Affine(SECOND, 0, west, 0, step, top),
    ) as scene:  # fmt: skip
        scene.write(bands)
    return path


#: Rows count from the north in the file: 100 per row, 1 per column.
HEIGHTS = (1000 + 100 * np.arange(40)[:, None] + np.arange(60)).astype("int16")


def km(cells: int, *, middle: float) -> tuple[float, float]:
    """Size of a square of cells of three seconds at a latitude, on a sphere of 6371 km."""
    degree = 2 * np.pi * 6371 / 360
    return cells * SECOND * degree, cells * SECOND * degree * float(np.cos(np.radians(middle)))


def test_rows_of_a_scene_run_from_south_to_north(tmp_path):
    heights, valid, box = read_scene(write_scene(tmp_path / "dem.tif", HEIGHTS))
    np.testing.assert_array_equal(heights, HEIGHTS[::-1])
    assert heights.dtype == np.float32
    assert valid.all()
    assert (box.south, box.west) == pytest.approx((38 - 40 / 1200, -120))


def test_a_scene_that_is_written_south_up_is_not_turned(tmp_path):
    heights, _, box = read_scene(write_scene(tmp_path / "dem.tif", HEIGHTS, north_up=False))
    np.testing.assert_array_equal(heights, HEIGHTS)
    assert (box.south, box.north) == pytest.approx((38 - 40 / 1200, 38))


def test_declared_and_undeclared_voids_are_masked(tmp_path):
    holed = HEIGHTS.copy()
    holed[0, 0], holed[1, 1], holed[2, 2] = 0, -32768, -32767
    _, valid, _ = read_scene(write_scene(tmp_path / "dem.tif", holed, nodata=0))
    assert [tuple(p) for p in np.argwhere(~valid[::-1])] == [(0, 0), (1, 1), (2, 2)]
    _, valid, _ = read_scene(write_scene(tmp_path / "dem.tif", holed, nodata=None))
    assert [tuple(p) for p in np.argwhere(~valid[::-1])] == [(1, 1), (2, 2)]  # a height of 0 m counts


def test_cells_are_narrower_eastward_by_the_cosine_of_the_latitude(tmp_path):
    _, _, box = read_scene(write_scene(tmp_path / "dem.tif", HEIGHTS, north=60 + 20 / 1200))
    north, east = box.kilometres
    assert north == pytest.approx(0.0926626, rel=1e-5)  # 2π · 6371/360/1200
    assert east == pytest.approx(north / 2, rel=1e-6)  # cos 60° = 1/2


def test_tiles_are_cut_with_gaps_and_each_is_a_cluster(tmp_path):
    path = write_scene(tmp_path / "dem.tif", HEIGHTS)
    finest = Grid((16, 16), km(16, middle=38 - 20 / 1200), "cell", periodic=(False, False), unit="km")
    made = load(ask([path], finest, tmp_path, crop=16, gap=4))
    # 40 rows hold two tiles of 16 with a gap of 8, 60 columns three with gaps of 6: rows 0, 24, columns 0, 22, 44
    tiles = {int(c): v[0] for f in made.splits.values() for c, v in zip(f.clusters, f.values["elevation"], strict=True)}
    assert sorted(tiles) == [0, 1, 2, 3, 4, 5]
    turned = HEIGHTS[::-1]
    for number, (y, x) in enumerate((y, x) for y in (0, 24) for x in (0, 22, 44)):
        np.testing.assert_array_equal(tiles[number], turned[y : y + 16, x : x + 16])
    assert made.splits["test"].clusters.tolist() == [1]
    assert made.attrs["least_gap_between_tiles"] == "6 points"
    assert made.attrs["tiles"] == "2 rows of 3, from the south-west"


def test_a_void_is_masked_in_its_tile_and_zero_there(tmp_path):
    holed = HEIGHTS.copy()
    holed[39, 0] = -32768  # the south-western corner: tile 0
    path = write_scene(tmp_path / "dem.tif", holed)
    finest = Grid((16, 16), km(16, middle=38 - 20 / 1200), "cell", periodic=(False, False), unit="km")
    train = load(ask([path], finest, tmp_path, crop=16, gap=4)).splits["train"]
    assert train.clusters[0] == 0
    assert not train.valid[0, 0, 0, 0]
    assert train.values["elevation"][0, 0, 0, 0] == 0
    assert train.valid.sum() == train.valid.size - 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"crs": "EPSG:2154"}, "no scene of longitudes and latitudes with one band"),
        ({"heights": np.stack([HEIGHTS, HEIGHTS])}, "no scene of longitudes and latitudes with one band"),
    ],
)
def test_a_scene_in_another_projection_or_with_more_bands_is_refused(tmp_path, change, named):
    path = write_scene(tmp_path / "dem.tif", **{"heights": HEIGHTS, **change})
    with pytest.raises(DownloadError, match=named):
        read_scene(path)


def test_cells_of_another_size_than_the_catalogue_says_are_refused(tmp_path):
    path = write_scene(tmp_path / "dem.tif", HEIGHTS, north=10.0)
    finest = Grid((16, 16), km(16, middle=38), "cell", periodic=(False, False), unit="km")
    with pytest.raises(
        DownloadError, match=r"0\.0927 x 0\.0913 km at its middle, not the catalogue's 0\.0927 x 0\.0730"
    ):
        load(ask([path], finest, tmp_path, crop=16))


def test_tiles_that_do_not_fit_or_leave_a_split_empty_are_one_line(tmp_path):
    path = write_scene(tmp_path / "dem.tif", HEIGHTS)

    def grid(n):
        return Grid((n, n), km(n, middle=38 - 20 / 1200), "cell", periodic=(False, False), unit="km")

    with pytest.raises(ConfigError, match="no tile of 48 x 48 fits"):
        load(ask([path], grid(48), tmp_path, crop=48))
    with pytest.raises(ConfigError, match="1 tiles leave the validation split"):
        load(ask([path], grid(36), tmp_path, crop=36, gap=30))


def test_a_file_that_is_no_geotiff_is_one_line(tmp_path):
    (tmp_path / "dem.tif").write_bytes(b"II*\0 not really")
    with pytest.raises(DownloadError, match="cannot be read as a GeoTIFF"):
        read_scene(tmp_path / "dem.tif")


# --- both ------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(n=st.integers(1, 300), size=st.integers(1, 80), gap=st.integers(0, 40), around=st.booleans())
def test_tiles_never_touch_each_other_nor_leave_the_file(n, size, gap, around):
    first = starts(n, size, gap=gap, around=around)
    assert len(first) == (n // (size + gap) if around else (n + gap) // (size + gap))
    if len(first):
        edges = [*first, first[0] + n] if around else [*first]
        assert first[0] >= 0
        assert around or first[-1] + size <= n
        assert all(b - (a + size) >= gap for a, b in pairwise(edges))


@pytest.mark.parametrize(
    ("selection", "named"),
    [
        ({"turns": ["train", "test"]}, "name train, validation and test"),
        ({"most": {"train": 0}}, "at least 1"),
        ({"gap": -1}, "gap"),
    ],
)
def test_a_selection_that_cannot_be_is_refused(selection, named):
    with pytest.raises(ConfigError, match=named):
        validated(Options, selection, where="selection")


@pytest.mark.parametrize("source", ["sample", "sample-srtm"])
def test_the_boxes_of_the_catalogue_are_those_of_the_files(source):
    entry = load_catalog().dataset("topography").seen_from(source)
    if source == "sample":
        # 36 degrees at a quarter of a degree are 145 points with both ends
        assert entry.grid.grid(145).shape == (721, 145)
        assert [entry.grid.grid(rung).shape for rung in (73, 37, 19)] == [(361, 73), (181, 37), (91, 19)]
    else:
        found = km(256, middle=(36.739583 + 38.092083) / 2)
        assert entry.box("small").extent == pytest.approx(found, rel=1e-3)
        assert entry.box("tiny").extent == pytest.approx([length / 4 for length in found], rel=1e-3)


@pytest.fixture
def configured_index(monkeypatch):
    """The package index that pip itself is configured with, not the tests' own."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE", "PIP_CERT", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    package_index._pip_files.cache_clear()
    yield
    package_index._pip_files.cache_clear()


@pytest.mark.slow
@pytest.mark.usefixtures("configured_index")
@pytest.mark.parametrize("source", ["sample", "sample-srtm"])
def test_the_real_samples_are_what_the_facts_say(source, tmp_path):
    ladder = fetch(request(load_catalog(), "topography", size="small", source=source), tmp_path)
    values = np.concatenate([ladder.array(s, ladder.rungs[-1], "elevation").ravel() for s in ("train", "test")])
    if source == "sample":
        assert -150 < values.min() < 0  # ripples of the sea and the shore of the Dead Sea
        assert 5000 < values.max() < 5900  # Tibet at a quarter of a degree
        land = ladder.array("test", 145, "land_area_fraction")
        assert 0.0 <= land.min() <= land.max() <= 1.0
    else:
        assert values.min() >= 57
        assert values.max() <= 4291
        assert not ladder.masked
