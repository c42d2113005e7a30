"""turbulence2d, sample-ocean: currents with land, on the projection's axes, split by time; and the file's traps."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache

import netCDF4
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorbench.config import validated
from anchorbench.data.catalog import Member
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.download import cache_path
from anchorbench.data.fetch import fetch, request
from anchorbench.data.sources import Ask, norkyst
from anchorbench.data.sources.norkyst import MISSING, Options, read_currents, sequences, wettest_square
from anchorbench.errors import ConfigError, DownloadError
from anchorbench.fields import Grid

#: Read once for all tests here.
catalogue = cache(load_catalog)

START = np.datetime64("2015-11-16T00:00:00", "s")
HOURS = START + np.arange(67) * np.timedelta64(3600, "s")


def codes_of(n_times=24, ny=14, nx=20):
    """Currents in mm/s that say where and when they are; land in a corner, of v one row more."""
    t, y, x = np.meshgrid(np.arange(n_times), np.arange(ny), np.arange(nx), indexing="ij")
    u, v = (100 * y + x - 7 * t).astype(np.int16), (-50 * x + y).astype(np.int16)
    u[:, 10:, 12:] = MISSING
    v[:, 9:, 12:] = MISSING
    return u, v


def record(path, *, hours=HOURS[:24], **changes):
    u, v = changes.pop("codes", None) or codes_of(len(hours))
    units = changes.pop("units", "seconds since 1970-01-01 00:00:00")
    with netCDF4.Dataset(path, "w") as nc:
        for axis, n in (("time", len(u)), ("depth", 1), ("Y", u.shape[1]), ("X", u.shape[2])):
            nc.createDimension(axis, n)
        nc.createVariable("time", "f8", ("time",))[:] = hours.astype("int64")
        nc["time"].units = units
        nc.createVariable("X", "f8", ("X",))[:] = -2952800.0 + 800 * np.arange(u.shape[2])
        nc.createVariable("Y", "f8", ("Y",))[:] = -1384000.0 + 800 * np.arange(u.shape[1])
        for name, codes in (("u", u), ("v", v)):
            variable = nc.createVariable(name, "i2", ("time", "depth", "Y", "X"), fill_value=MISSING)
            variable.set_auto_maskandscale(False)
            variable[:] = codes[:, None]
            variable.setncatts({"scale_factor": np.float32(0.001), "add_offset": np.float32(0.0)} | changes)
    return path


@pytest.fixture
def load(tmp_path):
    """load(crop=..., rungs=..., **options) of a small record that lies in the cache already."""
    content = record(tmp_path / "record.nc").read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()

    def call(*, crop=8, rungs=(4, 8), whole=False, **options):
        turns = ["train", "train", "test", "validation"]
        asked = {"crop": crop, "rungs": list(rungs), "frames": 2, "turns": turns, **options}
        wanted = request(catalogue(), "turbulence2d", size="tiny", source="sample-ocean", settings=asked)
        (file,) = wanted.described.files
        file = file.model_copy(update={"member": Member(path=file.member.path, size=len(content), sha256=sha256)})
        target = cache_path(tmp_path, sha256=sha256, name=file.member.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        source = wanted.described.model_copy(update={"files": (file,)})
        entry = wanted.entry.model_copy(update={"sources": {"sample-ocean": source}})
        if whole:
            return fetch(replace(wanted, entry=entry), tmp_path)
        finest = Grid.from_dict(wanted.spec.grid)
        return norkyst.load(
            Ask(entry=entry, source=source, options=wanted.options, size=wanted.size, finest=finest, cache=tmp_path)
        )

    return call


def test_currents_are_metres_a_second_on_rows_that_rise_with_the_projections_y(load):
    loaded = load()
    u, v = (loaded.splits["train"].values[name] for name in ("velocity_x", "velocity_y"))
    assert u.shape[1:] == (2, 8, 8)
    assert u.dtype == np.float32
    # the first square without land begins at the origin: u = (100 y + x − 7 t) mm/s, v = (y − 50 x) mm/s
    assert u[0, 1, 2, 3] == pytest.approx(0.196)
    assert v[0, 0, 2, 3] == pytest.approx(-0.148)
    assert loaded.splits["train"].valid is None
    assert loaded.attrs["crop_y"] == loaded.attrs["crop_x"] == "0:8"


def test_land_is_masked_before_it_is_scaled_and_where_either_current_lacks(load):
    fields = load(crop=14, rungs=(7, 14)).splits["test"]
    assert fields.valid.shape == fields.values["velocity_x"].shape
    # the square of 14 with the most sea begins at x = 0: land in 12:14 from the row 9 on, where v lacks first
    land = ~fields.valid[0, 0]
    assert land.sum() == 2 * 5
    assert land[9:, 12:].all()
    for name in ("velocity_x", "velocity_y"):
        assert (fields.values[name][~fields.valid] == 0).all()
        assert np.abs(fields.values[name]).max() < 3  # −32.767 m/s if it had been scaled


def test_splits_are_blocks_of_time_with_a_gap(load):
    splits = load(frames=2, period=6, gap=2).splits
    hours = {split: (fields.times - START) / np.timedelta64(3600, "s") for split, fields in splits.items()}
    # turns of 6 h: train, train, test, validation; the last 2 h are left out where another follows
    assert sorted(hours["train"].ravel()) == list(range(10))
    assert sorted(hours["test"].ravel()) == [12, 13, 14, 15]
    assert sorted(hours["validation"].ravel()) == list(range(18, 24))
    assert [splits[split].clusters.tolist() for split in ("train", "test", "validation")] == [[0] * 5, [1] * 2, [2] * 3]


def test_a_ladder_with_land_carries_the_share_of_sea(load):
    ladder = load(crop=14, rungs=(7, 14), whole=True)
    area = ladder.valid_area("test", 7)
    assert area[0, 0, 6, 6] == 0  # four cells of land
    assert area[0, 0, 4, 6] == 0.5  # rows 8 and 9, of which the upper one is land
    assert ladder.valid_area("test", 14)[0, 0].sum() == 14 * 14 - 10


# -- what is picked ----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(
    n_hours=st.integers(30, 67),
    period=st.integers(3, 9),
    gap=st.integers(0, 2),
    frames=st.integers(2, 4),
    data=st.data(),
)
def test_no_hour_of_one_split_is_nearer_to_another_than_the_gap(n_hours, period, gap, frames, data):
    turns = data.draw(st.permutations(["train", "train", "validation", "test"]))
    options = Options(frames=frames, period=period, gap=gap, turns=tuple(turns))
    try:
        found = sequences(HOURS[:n_hours], options)
    except ConfigError:
        return
    hours = {split: [start + i for start, _ in starts for i in range(frames)] for split, starts in found.items()}
    for split, mine in hours.items():
        assert len(mine) == len(set(mine))
        assert max(mine) < n_hours
        for other, theirs in hours.items():
            if other != split:
                assert min(abs(a - b) for a in mine for b in theirs) > gap


def test_only_so_many_sequences_as_are_asked_for_spread_over_the_record():
    found = sequences(HOURS, Options(frames=2, most={"train": 2}))
    all_of_them = sequences(HOURS, Options(frames=2))
    assert found["train"] == [all_of_them["train"][0], all_of_them["train"][-1]]
    assert found["test"] == all_of_them["test"]


def test_two_stretches_of_one_split_are_two_clusters():
    clusters = [cluster for _, cluster in sequences(HOURS, Options())["test"]]
    assert len(set(clusters)) == 2


def test_the_crop_is_the_first_square_with_the_most_sea():
    sea = np.ones((6, 8), dtype=bool)
    sea[2, 2] = False
    assert wettest_square(sea, 3) == (slice(0, 3), slice(3, 6))
    assert wettest_square(sea, 6) == (slice(0, 6), slice(0, 6))
    sea[:, 7] = sea[0] = False
    assert wettest_square(sea, 6) == (slice(0, 6), slice(0, 6))  # 29 cells; from x = 1 on 29 too, from x = 2 on 24


def test_a_crop_that_the_record_does_not_hold_is_refused(load):
    with pytest.raises(ConfigError, match="a crop of 15 cells does not fit the record's 14 x 20"):
        load(crop=15, rungs=(5, 15))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"frames": 5, "gap": 2}, "no sequence of 5 frames fits the validation split"),
        ({"turns": ["train", "test"]}, "turns name train, validation and test"),
        ({"most": {"train": 0}}, "most is at least 1"),
        ({"period": 1}, "period"),
    ],
)
def test_a_selection_that_leaves_nothing_is_refused(options, named):
    with pytest.raises(ConfigError, match=named):
        sequences(HOURS[:24], validated(Options, options, where="selection"))


# -- traps of the file -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"scale_factor": np.float32(0.01)}, "packed as"),
        ({"add_offset": np.float32(1.0)}, "packed as"),
        ({"units": "hours since 2015-11-16 00:00:00"}, "counts time in"),
        ({"hours": HOURS[[0, 1, 3]]}, "an hour apart"),
    ],
)
def test_a_file_that_would_be_misread_is_refused(change, named, tmp_path):
    with pytest.raises(DownloadError, match=named):
        read_currents(record(tmp_path / "record.nc", **change))


def test_a_file_that_is_no_record_is_refused(tmp_path):
    path = tmp_path / "record.nc"
    path.write_text("no NetCDF")
    with pytest.raises(DownloadError, match="cannot be read as a record of currents"):
        read_currents(path)


def test_times_and_places_come_from_the_file(tmp_path):
    codes, times, x, y = read_currents(record(tmp_path / "record.nc"))
    assert codes.shape == (2, 24, 14, 20)
    assert times[0] == START
    assert (times[23] - times[0]) == np.timedelta64(23, "h")
    assert (x[0], x[1] - x[0], y[0]) == (-2952800.0, 800.0, -1384000.0)
