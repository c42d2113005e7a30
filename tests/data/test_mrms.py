"""The MRMS frame: GRIB turned northward, its two missing codes apart, blocks by region of longitude."""

from __future__ import annotations

from pathlib import Path

import eccodes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorbench.config import validated
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import fetch, request
from anchorbench.data.sources.mrms import SPLITS, Frame, Options, read_frame, region_fields
from anchorbench.errors import ConfigError, DownloadError

REGIONS = {"train": (230.0, 232.0), "validation": (233.0, 234.0), "test": (235.0, 236.0)}


def write_grib(path: Path, values: np.ndarray, *, south=20.05, west=230.05, step=0.1, number=0, southward=True) -> Path:
    """The layout of MRMS: regular grid, rows from north to south, no bitmap, a parameter of a local table.

    values: rows northward.
    """
    message = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
    nj, ni = values.shape
    north = south + (nj - 1) * step
    first, last = (north, south) if southward else (south, north)
    for key, value in {
        "discipline": 209,
        "dataDate": 20220704,
        "hour": 11,
        "minute": 0,
        "second": 40,
        "Ni": ni,
        "Nj": nj,
        "latitudeOfFirstGridPointInDegrees": first,
        "latitudeOfLastGridPointInDegrees": last,
        "longitudeOfFirstGridPointInDegrees": west,
        "longitudeOfLastGridPointInDegrees": west + (ni - 1) * step,
        "iDirectionIncrementInDegrees": step,
        "jDirectionIncrementInDegrees": step,
        "jScansPositively": 0 if southward else 1,
        "parameterCategory": 10,
        "parameterNumber": number,
        "bitsPerValue": 16,
        "decimalScaleFactor": 1,
    }.items():
        eccodes.codes_set(message, key, value)
    eccodes.codes_set_values(message, (values[::-1] if southward else values).astype(float).ravel())
    with path.open("wb") as file:
        eccodes.codes_write(message, file)
    eccodes.codes_release(message)
    return path


def composite(ny=24, nx=60) -> np.ndarray:
    """dBZ in steps of a half; in each block of 4 x 4 an echo, some weak, some no echo; a corner without coverage."""
    values = np.full((ny, nx), -99.0)
    values[1::4, 1::4], values[2::4, 1::4], values[1::4, 2::4] = 30.5, -12.5, 45.0
    values[0, :3] = -999.0
    return values


@pytest.mark.parametrize("southward", [True, False])
def test_rows_run_northward_whichever_way_the_message_runs(tmp_path, southward):
    values = composite()
    frame = read_frame(write_grib(tmp_path / "m.grib2", values, southward=southward))
    np.testing.assert_allclose(frame.values, values, atol=0.051)
    assert (frame.south, frame.west, frame.step) == pytest.approx((20.05, 230.05, 0.1))
    assert frame.time == "2022-07-04T11:00:40"


def test_no_coverage_is_masked_no_echo_is_zero_and_so_is_a_weak_one(tmp_path):
    frame = read_frame(write_grib(tmp_path / "m.grib2", composite()))
    options = Options(regions=REGIONS, covered=0.1)
    fields = region_fields(frame, options, split="train", crop=4, cluster=0)
    values, valid = fields.values["reflectivity"], fields.valid
    assert values.dtype == np.float32
    np.testing.assert_allclose(np.unique(values.round(1)), [0.0, 30.5, 45.0])  # neither -999, -99 nor -12.5
    assert (~valid).sum() == 3
    assert not valid[0, 0, 0, :3].any()
    assert values[0, 0, 0, :3].max() == 0.0


def test_blocks_are_disjoint_and_tile_their_region(tmp_path):
    numbered = np.arange(24 * 60, dtype=float).reshape(24, 60) + 1
    frame = Frame(numbered, 20.05, 230.05, 0.1, "")
    cells = {}
    for cluster, split in enumerate(SPLITS):
        fields = region_fields(frame, Options(regions=REGIONS), split=split, crop=5, cluster=cluster)
        cells[split] = fields.values["reflectivity"].astype(int).ravel()
        assert len(set(cells[split])) == len(cells[split])
        assert set(fields.clusters) == {cluster}
    columns = {split: np.unique((numbers - 1) % 60) for split, numbers in cells.items()}
    # centres at 230.05 + 0.1 i: 20, 10 and 10 columns, 24 // 5 = 4 rows of blocks
    assert [(c.min(), c.max()) for c in columns.values()] == [(0, 19), (30, 39), (50, 59)]
    assert [len(n) // 25 for n in cells.values()] == [4 * 4, 4 * 2, 4 * 2]


@settings(deadline=None, max_examples=25)
@given(gap=st.floats(0, 3), bounds=st.lists(st.integers(230, 260), min_size=6, max_size=6))
def test_regions_are_accepted_only_where_they_keep_their_distance(gap, bounds):
    regions = {split: (bounds[2 * i], bounds[2 * i + 1]) for i, split in enumerate(SPLITS)}
    apart = all(east > west for west, east in regions.values()) and all(
        max(a[0], b[0]) - min(a[1], b[1]) >= gap
        for i, a in enumerate(regions.values())
        for b in list(regions.values())[i + 1 :]
    )
    if apart:
        assert Options(regions=regions, gap=gap).regions == regions
    else:
        with pytest.raises(ConfigError, match="regions are not empty and lie"):
            validated(Options, {"regions": regions, "gap": gap}, where="here")


def test_dry_blocks_and_blocks_without_coverage_are_left_out():
    values = np.full((4, 16), -99.0)
    values[0, 0:2] = 20.0  # 2 of 16
    values[:, 4:8] = 20.0
    values[:2, 4:8] = -999.0  # half covered, all of it wet
    values[:, 8:12] = 20.0
    frame = Frame(values, 20.0, 230.0, 0.1, "")

    def kept(**options) -> list[int]:
        regions = {"train": (230.0, 231.6), "validation": (240.0, 241.0), "test": (250.0, 251.0)}
        fields = region_fields(frame, Options(regions=regions, **options), split="train", crop=4, cluster=0)
        return [int((block > 0).sum()) for block in fields.values["reflectivity"]]

    assert kept() == [2, 16]
    assert kept(covered=0.5) == [2, 8, 16]
    assert kept(covered=0.5, echo_share=0.2) == [8, 16]
    assert kept(covered=0.5, most={"train": 2}) == [2, 16]
    dry = Frame(np.full((4, 400), -99.0), 20.0, 230.0, 0.1, "")
    with pytest.raises(ConfigError, match="no block of 4 x 4 cells in the train region has 50% echo"):
        region_fields(dry, Options(echo_share=0.5), split="train", crop=4, cluster=0)


def test_another_parameter_and_what_is_no_grib_are_one_error(tmp_path):
    with pytest.raises(DownloadError, match=r"o\.grib2 holds parameter \(209, 10, 9\)"):
        read_frame(write_grib(tmp_path / "o.grib2", composite(), number=9))
    (tmp_path / "text.grib2").write_bytes(b"no message")
    whole = write_grib(tmp_path / "whole.grib2", composite()).read_bytes()
    (tmp_path / "cut.grib2").write_bytes(whole[: len(whole) // 2])
    for name in ("text.grib2", "cut.grib2", "gone.grib2"):
        with pytest.raises(DownloadError, match=name.replace(".", r"\.")):
            read_frame(tmp_path / name)


def test_mrms_in_the_catalogue_is_one_instant_of_another_quantity():
    radar = load_catalog().dataset("sevir").seen_from("sample-mrms")
    assert radar.tasks == ("super_resolve",)
    assert radar.time is None
    assert radar.headline == "reflectivity"
    assert radar.box("full").extent == pytest.approx((3.84, 3.84))
    assert radar.box("tiny").extent == pytest.approx((0.96, 0.96))


@pytest.mark.slow
def test_the_real_frame_makes_its_tiny_ladder(tmp_path, monkeypatch):
    monkeypatch.undo()  # the index that pip is configured with
    for name in ("PIP_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    ladder = fetch(request(load_catalog(), "sevir", size="tiny", source="sample-mrms"), tmp_path)
    values = np.array(ladder.array("test", 96, "reflectivity"))
    assert values.shape == (32, 1, 96, 96)
    assert values.min() == 0.0
    assert 50 < values.max() < 80  # dBZ of a storm
    assert ladder.about["attrs"]["time"] == "2022-07-04T11:00:40"
    assert 0.01 < ladder.about["splits"]["test"]["energy_removed"]["r048"] < 0.1
