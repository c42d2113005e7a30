"""WeatherBench 2: stores in its exact layouts, served on loopback, with the traps of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorbench.config import Variable, validated
from anchorbench.data.catalog import DatasetEntry
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import fetch, request
from anchorbench.data.sources import Ask, Loaded
from anchorbench.data.sources.weatherbench2 import Options, check, load, starts_of
from anchorbench.errors import ConfigError, DownloadError
from anchorbench.fields import Grid, inner

SPLITS = ("train", "validation", "test")
the_catalog = cache(load_catalog)  # half a second each time
YEARS = {"train": (2000, 2000), "validation": (2002, 2002), "test": (2004, 2004)}
CHOSEN = {"years": YEARS, "frames": 2, "most": dict.fromkeys(SPLITS, 9)}
SIX = np.timedelta64(6, "h")
#: Eight times a year, from its first hour.
TIMES = np.concatenate([np.datetime64(f"{year}-01-01T00", "ns") + SIX * np.arange(8) for year in (2000, 2002, 2004)])
WIND, TEMPERATURE = "10m_u_component_of_wind", "2m_temperature"


def rows_and_columns(store: str) -> tuple[np.ndarray, np.ndarray]:
    """The coordinates as the stores have them, with fewer points: swapped and rising, or falling from pole to pole."""
    if store == "64x32":
        return np.arange(-78.75, 90, 22.5), np.arange(0, 360, 22.5)
    return np.linspace(90, -90, 13), np.arange(0, 360, 15.0)


def made(store: str, *, times=TIMES, names=(WIND, TEMPERATURE), static: bool = True) -> xr.Dataset:
    """Fields in which latitude, longitude and time can be told: 100 sin φ + cos λ + number of the time."""
    latitude, longitude = rows_and_columns(store)
    place = 100 * np.sin(np.radians(latitude))[:, None] + np.cos(np.radians(longitude))
    fields = (place + np.arange(len(times))[:, None, None]).astype(np.float32)
    dims = ("latitude", "longitude")
    data = {name: (("time", *dims), fields + i) for i, name in enumerate(names)}
    data["geopotential"] = (
        ("time", "level", *dims),
        np.stack([fields + level for level in (500, 850)], axis=1).astype(np.float32),
    )
    if static:
        data["geopotential_at_surface"] = dims, (9.80665 * (place + 200)).astype(np.float32)
        data["land_sea_mask"] = dims, (place > 0).astype(np.float32)
    where = {"time": times, "level": [500, 850], "latitude": latitude, "longitude": longitude}
    out = xr.Dataset(data, where)
    return out.transpose(..., "longitude", "latitude") if store == "64x32" else out


def as_zarr(data: xr.Dataset, target: Path) -> dict[str, bytes]:
    """Format 2, consolidated, one time a chunk: the objects by name."""
    own = {"time": {"units": "hours since 1959-01-01", "calendar": "proleptic_gregorian", "dtype": "int64"}}
    for name, variable in data.data_vars.items():
        own[name] = {"chunks": tuple(1 if dim == "time" else n for dim, n in variable.sizes.items())}
    data.to_zarr(target, mode="w", zarr_format=2, consolidated=True, encoding=own)
    return {str(path.relative_to(target)): path.read_bytes() for path in sorted(target.rglob("*")) if path.is_file()}


@dataclass
class Served:
    """A store on the loopback host, and who asks for it."""

    host: object
    folder: Path
    cache: Path
    store: str
    variables: tuple[str, ...] = (WIND, TEMPERATURE)

    def put(self, data: xr.Dataset, **attrs: str) -> Served:
        written = as_zarr(data.assign_attrs(attrs), self.folder / "store.zarr")
        self.host.files = {f"/{self.store}.zarr/{name}": content for name, content in written.items()}
        return self

    @property
    def entry(self) -> DatasetEntry:
        """As the catalogue has it, with this address and these variables."""
        entry = the_catalog().dataset("weather")
        url = self.host.url(f"{self.store}.zarr", user="me:secret@")
        source = entry.sources["public"]
        variables = tuple(Variable(name=name, units="1") for name in self.variables)
        changed = {"urls": {self.store: url}, "variables": variables, "headline": self.variables[0]}
        source = source.model_copy(update=changed)
        return entry.model_copy(update={"sources": {"public": source}}).seen_from("public")

    def ask(self, rung: int, *, west: float = -2.8125, offline: bool = False, force: bool = False, **chosen) -> Ask:
        """west: where the box begins; the catalogue's, for columns of 5.625 degrees, or half a column of this store."""
        entry = self.entry
        options = validated(Options, {"store": self.store, **CHOSEN, **chosen}, where="test")
        box = entry.grid.model_copy(update={"origin": (-90.0, west)})
        source = entry.sources["public"]
        return Ask(entry, source, options, entry.size("tiny"), box.grid(rung), self.cache, offline, force)

    def load(self, rung: int, **how) -> Loaded:
        return load(self.ask(rung, **how))

    def asked(self, ending: str) -> int:
        return len(self.host.requests_of(ending))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return {store: as_zarr(made(store), tmp_path_factory.mktemp(store)) for store in ("64x32", "1440x721")}


@pytest.fixture
def serve(host, tmp_path, written):
    """The store as it was made."""

    def served(store: str) -> Served:
        host.files = {f"/{store}.zarr/{name}": content for name, content in written[store].items()}
        return Served(host, tmp_path, tmp_path / "cache", store)

    return served


@pytest.fixture
def coarse(serve):
    return serve("64x32")


@pytest.fixture
def poled(serve):
    return serve("1440x721")


def tensors(*arrays):
    return [torch.from_numpy(np.array(a, dtype=np.float64)) for a in arrays]


# -- orientation -------------------------------------------------------------------------------------------------------


def test_the_swapped_axes_of_a_coarse_store_come_out_as_rows_from_the_south_and_columns_from_greenwich(coarse):
    loaded = coarse.load(8, west=-11.25)
    assert "energy_removed_by_the_first_cells" not in loaded.attrs
    u = loaded.splits["train"].values[WIND]
    latitude, longitude = np.radians(np.arange(-78.75, 90, 22.5)), np.radians(np.arange(0, 360, 22.5))
    want = 100 * np.sin(latitude)[:, None] + np.cos(longitude)
    assert u.shape == (4, 2, 8, 16)
    np.testing.assert_allclose(u[0, 0], want, atol=1e-4)
    np.testing.assert_allclose(u[3, 1], want + 7, atol=1e-4)


def test_rows_from_pole_to_pole_go_onto_cells_with_their_integral_and_the_south_first(poled):
    loaded = poled.load(4)
    u = loaded.splits["test"].values[WIND][0, 0]
    cells, points = poled.entry.grid.grid(4), Grid((13, 24), (180, 360), "point", "latlon", unit="degree")
    # The sixteenth time; its rows from the south.
    raw = np.flip(made("1440x721")[WIND].values[16], axis=0).astype(np.float64)
    means = [inner(t, t * 0 + 1, grid=g).item() for t, g in zip(tensors(u, raw), (cells, points), strict=True)]
    assert means[0] == pytest.approx(means[1], abs=1e-4)
    assert (np.diff(u.mean(axis=1)) > 0).all()
    assert 0 < float(loaded.attrs["energy_removed_by_the_first_cells"]) < 0.2


def test_both_layouts_of_the_same_fields_agree_on_coarse_cells(serve):
    found = [serve(store).load(4).splits["train"].values[WIND] for store in ("64x32", "1440x721")]
    # Cells of 45 degrees from points 22.5 and 15 apart, of a field of the first degree: within a few per cent.
    np.testing.assert_allclose(found[0].mean(-1), found[1].mean(-1), atol=3.0)


# -- variables, levels, masks ------------------------------------------------------------------------------------------


def test_one_level_is_named_by_its_number_and_read_alone(poled):
    poled.variables = ("geopotential_850", WIND)
    u = poled.load(4).splits["train"].values
    np.testing.assert_allclose(u["geopotential_850"], u[WIND] + 850, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "geopotential",
            r"'geopotential' of WeatherBench 2 store 1440x721 has levels: name one, as in geopotential_500",
        ),
        ("geopotential_700", r"at the levels \[500, 850\], not at 700"),
        ("2m_temperatur", r"no variable '2m_temperatur'. Did you mean '2m_temperature'"),
        ("2m_temperature_500", r"no variable '2m_temperature_500'"),
        ("land_sea_mask", "'land_sea_mask' of WeatherBench 2 store 1440x721 has no times"),
    ],
)
def test_a_variable_that_is_not_there_is_refused_by_name(poled, name, says):
    poled.variables = (name,)
    with pytest.raises(DownloadError, match=says) as caught:
        poled.load(4)
    assert "secret" not in str(caught.value)


def test_what_is_nan_becomes_the_mask_and_zero_and_never_a_mean(coarse, host):
    data = made("64x32")
    data[TEMPERATURE][:, 3, 5] = np.nan  # column 3 at 67.5, row 5
    train = coarse.put(data).load(8, west=-11.25).splits["train"]
    assert train.valid is not None
    assert np.argwhere(~train.valid[0, 0]).tolist() == [[5, 3]]
    assert train.values[TEMPERATURE][0, 0, 5, 3] == 0.0


def test_a_cell_that_is_shared_out_is_valid_where_half_of_it_was(poled):
    data = made("1440x721")
    data[WIND][:, :6, :] = np.nan  # the north, down to 15 degrees; the row of the equator holds
    train = poled.put(data).load(4).splits["train"]
    # Cells of 45 degrees: of the one from 0 to 45, what lies below 7.5 is valid: sin 7.5 / sin 45 = 0.18.
    assert train.valid[0, 0].all(axis=1).tolist() == [True, True, False, False]
    assert (train.values[WIND][~train.valid] == 0).all()


def test_orography_is_in_metres_and_the_share_of_land_as_it_is(coarse):
    static = coarse.load(4).static
    # The geopotential was made of 9.80665 times a height with the mean 200 m.
    assert static["orography"].mean() == pytest.approx(200, abs=0.1)
    assert 0 <= static["land_sea_mask"].min() < static["land_sea_mask"].max() <= 1
    assert coarse.load(4, static=False).static == {}


def test_a_store_without_them_has_no_static_fields(coarse):
    assert coarse.put(made("64x32", static=False)).load(4).static == {}


# -- times -------------------------------------------------------------------------------------------------------------


def test_sequences_lie_in_the_years_of_their_split_and_share_no_time(coarse):
    splits = coarse.load(4).splits
    for split, year in zip(SPLITS, (2000, 2002, 2004), strict=True):
        times = splits[split].times
        assert {str(t)[:4] for t in times.ravel()} == {str(year)}
        assert len(np.unique(times)) == times.size == 8
        assert (np.diff(times, axis=1) == SIX).all()


def test_no_sequence_reaches_over_a_time_that_the_axis_lacks(coarse):
    gap = np.delete(TIMES, 3)  # 18 h of the first day
    splits = coarse.put(made("64x32", times=gap)).load(4).splits
    # 0 and 6 h; 24 and 30; 36 and 42: the 12th hour has no sixth after it.
    assert [str(t)[8:13] for t in splits["train"].times[:, 0]] == ["01T00", "02T00", "02T12"]


def test_a_time_beyond_the_valid_end_is_not_read(coarse):
    data = made("64x32")
    data[WIND][20:] = np.nan
    splits = coarse.put(data, valid_time_stop="2004-01-01").load(4).splits
    assert str(splits["test"].times.max())[:13] == "2004-01-01T18"
    coarse.put(made("64x32"), valid_time_start="2000-01-01 12:00", valid_time_stop="2004-01-02T00")
    splits = coarse.load(4, force=True).splits
    assert str(splits["train"].times.min())[:13] == "2000-01-01T12"
    # The values belong to their times, though the store has two before them.
    assert splits["train"].values[WIND][0, 0].mean() == pytest.approx(2, abs=0.1)


def test_a_time_that_is_filled_with_nothing_leaves_its_sequence_out_and_says_so(coarse, host):
    data = made("64x32")
    data[WIND][2] = np.nan
    loaded = coarse.put(data).load(4)
    assert len(loaded.splits["train"].times) == 3
    assert loaded.splits["train"].valid is None
    assert loaded.attrs["sequences_left_out"].startswith("1,")


def test_a_chunk_that_was_never_written_is_a_time_that_is_not_there(coarse, host):
    del host.files[f"/64x32.zarr/{WIND}/2.0.0"]
    loaded = coarse.load(4)
    assert [str(t)[8:13] for t in loaded.splits["train"].times[:, 0]] == ["01T00", "02T00", "02T12"]


def test_a_split_without_any_values_is_an_error_and_no_empty_split(coarse, host):
    for i in range(16, 24):
        del host.files[f"/64x32.zarr/{WIND}/{i}.0.0"]
    with pytest.raises(DownloadError, match="has no values at the times of the test split, 2004 to 2004"):
        coarse.load(4)


def test_years_that_the_store_lacks_are_refused(coarse):
    with pytest.raises(DownloadError, match="no 2 times 6 hours apart in 2010 to 2010"):
        coarse.load(4, years={**YEARS, "test": (2010, 2010)})
    with pytest.raises(DownloadError, match="no 2 times 5 hours apart"):
        coarse.load(4, interval=5)


@settings(deadline=None, max_examples=25)
@given(
    st.sets(st.integers(0, 200), min_size=30),
    st.integers(1, 4),
    st.sampled_from([6, 12]),
    st.integers(1, 9),
)
def test_picked_sequences_are_whole_apart_and_no_more_than_asked(steps, frames, hours, most):
    times = np.datetime64("2000-01-01T00", "s") + SIX.astype("timedelta64[s]") * np.array(sorted(steps))
    options = validated(
        Options, {**CHOSEN, "frames": frames, "interval": hours, "most": dict.fromkeys(SPLITS, most)}, where="test"
    )
    try:
        index = starts_of(times, options, "train", what="it")
    except DownloadError:
        assert frames > 1
        return
    assert len(index) <= most
    assert (np.diff(times[index], axis=1) == np.timedelta64(hours, "h")).all()
    assert (times[index][1:, 0] > times[index][:-1, -1]).all()


def test_sequences_of_one_block_of_days_are_one_cluster(coarse):
    # All eight times of a year lie within two days: one block of ten days, four blocks of half a day.
    assert len(set(coarse.load(4).splits["train"].clusters)) == 1
    assert len(set(coarse.load(4, block=0.5).splits["train"].clusters)) == 4


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({"years": {**YEARS, "test": (2003, 2004)}}, "a year or more between"),
        ({"years": {**YEARS, "test": (2002, 2002)}}, "a year or more between"),
        ({"years": {**YEARS, "test": (2005, 2004)}}, "run from the first to the last"),
        ({"years": {"train": (2000, 2000)}}, "given for train, validation and test"),
        ({"most": {"train": 3}}, "given for train, validation and test"),
        ({"most": {**dict.fromkeys(SPLITS, 3), "test": 0}}, "each 1 or more"),
        ({"store": "128x64"}, "store"),
        ({"frames": 0}, "frames"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(chosen, says):
    with pytest.raises(ConfigError, match=says):
        validated(Options, {**CHOSEN, **chosen}, where="test")


def test_a_rung_finer_than_the_store_is_refused_before_anything_is_fetched():
    finest = the_catalog().dataset("weather").seen_from("public").grid.grid(64)
    with pytest.raises(ConfigError, match=r"rung r064 \(64 x 128 cells\) is finer than the store 64x32"):
        check(Options(store="64x32"), finest=finest)
    check(Options(store="240x121"), finest=finest)


# -- HTTP --------------------------------------------------------------------------------------------------------------


def test_only_the_chunks_that_are_needed_are_asked_for(coarse, host):
    coarse.variables = (WIND,)
    coarse.load(4, most=dict.fromkeys(SPLITS, 1), static=False)
    asked = {path for path, _ in host.asked if f"/{WIND}/" in path}
    # One sequence of two times in each of three years.
    assert len(asked) == 6
    assert not [path for path, _ in host.asked if TEMPERATURE in path or "geopotential/" in path]


def test_an_interrupted_fetch_goes_on_and_a_second_one_asks_for_nothing(coarse, host):
    kept = dict(host.files)
    host.files[f"/64x32.zarr/{TEMPERATURE}/9.0.0"] = b"no chunk"
    with pytest.raises(DownloadError, match=r"a chunk of '2m_temperature' .* is damaged .* it was deleted"):
        coarse.load(4)
    before = coarse.asked(f"{WIND}/0.0.0")
    host.files = kept
    again = coarse.load(4)
    assert before == coarse.asked(f"{WIND}/0.0.0") == 1
    assert coarse.asked(f"{TEMPERATURE}/9.0.0") == 2
    asked = len(host.asked)
    offline = coarse.load(4, offline=True)
    assert len(host.asked) == asked
    np.testing.assert_array_equal(again.splits["test"].values[WIND], offline.splits["test"].values[WIND])
    coarse.load(4, force=True)
    assert coarse.asked(f"{WIND}/0.0.0") == 2


def test_offline_and_not_in_the_cache_is_one_error(coarse):
    with pytest.raises(DownloadError, match="is not in the cache, and this is offline mode"):
        coarse.load(4, offline=True)


def test_a_host_that_stumbles_is_asked_again(coarse, host):
    host.statuses = [500, 503]
    assert len(coarse.load(4).splits["train"].times) == 4


@pytest.mark.parametrize(
    ("status", "says"), [(403, "the host answered 403"), (401, "answered 401"), (404, "no consolidated Zarr store")]
)
def test_a_status_that_does_not_pass_is_one_error_without_the_address(coarse, host, status, says):
    host.statuses = [status] * 9
    with pytest.raises(DownloadError, match=says) as caught:
        coarse.load(4)
    assert "secret" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


def test_a_host_that_never_recovers_is_one_error(coarse, host):
    host.statuses = [500] * 99
    with pytest.raises(DownloadError, match=r"the host answered 500 \(4 times\)"):
        coarse.load(4)


def test_metadata_that_are_no_metadata_are_one_error(coarse, host):
    host.files["/64x32.zarr/.zmetadata"] = b"<html>not here</html>"
    with pytest.raises(DownloadError, match=r"\.zmetadata of WeatherBench 2 store 64x32 cannot be read"):
        coarse.load(4)


def test_nobody_at_the_address_is_one_error(coarse, monkeypatch):
    monkeypatch.setattr(coarse.host, "port", 9)
    with pytest.raises(DownloadError, match="no connection"):
        coarse.load(4)


def test_an_answer_that_breaks_off_is_taken_up_where_it_broke(coarse, host):
    host.breaks = [900]  # of the metadata, the only answer above a thousand bytes
    assert len(coarse.load(4).splits["train"].times) == 4
    assert coarse.asked(".zmetadata") == 2


# -- whole ladder, other file systems ----------------------------------------------------------------------------------


def ladder_request(served: Served, **settings):
    catalog = the_catalog()
    entry = catalog.dataset("weather")
    source = entry.sources["public"]
    source = source.model_copy(update={"urls": {served.store: served.host.url(f"{served.store}.zarr")}})
    entry = entry.model_copy(update={"sources": {**entry.sources, "public": source}})
    catalog = catalog.model_copy(update={"datasets": {**catalog.datasets, "weather": entry}})
    chosen = {"rungs": [2, 4], "store": served.store, **CHOSEN, **settings}
    return request(catalog, "weather", size="tiny", source="public", settings=chosen)


def test_a_whole_ladder_is_written_with_static_fields_and_what_every_step_removed(poled):
    names = ("10m_u_component_of_wind", "10m_v_component_of_wind", "2m_temperature")
    poled.put(made("1440x721", names=names))
    ladder = fetch(ladder_request(poled), poled.cache)
    assert ladder.rungs == (2, 4)
    assert ladder.static(4).shape == (2, 4, 8)
    u, coarse = ladder.array("train", 4, WIND), ladder.array("train", 2, WIND)
    for rung, values in ((4, u), (2, coarse)):
        (t,) = tensors(values[0, 0])
        mean = inner(t, t * 0 + 1, grid=ladder.grid(rung)).item()
        assert mean == pytest.approx(0.0, abs=1e-3)  # sin φ and cos λ have no mean, and the time's number is 0
    assert 0 < ladder.about["splits"]["train"]["energy_removed"]["r002"] < 1
    assert ladder.about["attrs"]["store"] == "1440x721"


def test_the_catalogue_takes_the_public_set_for_full_and_its_rung_32_is_the_store_64x32():
    entry = the_catalog().dataset("weather")
    name, source = entry.source("auto", size="full")
    assert name == "public"
    assert set(source.urls) == {"64x32", "240x121", "1440x721"}
    grid = entry.seen_from("public").grid.grid(32)
    assert grid.coordinates(0)[0].item() == -87.1875
    assert grid.coordinates(1)[:2].tolist() == [0.0, 5.625]


def test_another_file_system_is_read_by_fsspec_and_only_once(coarse, host):
    import fsspec

    memory = fsspec.filesystem("memory")
    for path, content in host.files.items():
        memory.pipe_file(path, content)
    ask = coarse.ask(4)
    ask = replace(ask, source=ask.source.model_copy(update={"urls": {"64x32": "memory://64x32.zarr"}}))
    first = load(ask)
    memory.store.clear()
    again = load(ask)
    np.testing.assert_array_equal(first.splits["test"].values[WIND], again.splits["test"].values[WIND])
    with pytest.raises(DownloadError, match="no consolidated Zarr store"):
        load(replace(ask, cache=coarse.cache / "other"))
    assert host.asked == []
