"""SEVIR from an S3-like host on loopback: single events by ranges, decoded, masked, split by date; and its traps."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorbench.config import validated
from anchorbench.data import download
from anchorbench.data.catalog import SizeEntry, Source
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import fetch, request
from anchorbench.data.sources import Ask, sevir, sevir_bucket
from anchorbench.data.sources.sevir import Options, catalogue, decode, frame_times, split_rows, spread
from anchorbench.data.sources.sevir_bucket import RemoteHdf5
from anchorbench.errors import CatalogError, ConfigError, DownloadError
from anchorbench.fields import Grid

SIDE, FRAMES = 32, 49
OFFSETS = ":".join(str(m) for m in range(-120, 121, 5))
TRAIN, VALIDATION, TEST = "2018-05-05 12:00:00", "2019-03-03 12:00:00", "2019-07-07 12:00:00"


def of_a_bucket(host, request) -> None:
    """As S3: HEAD and GET, statuses by method."""
    host.asked.append((request.command, request.at, request.headers.get("Range")))
    if host.statuses.get(request.command):
        return request.give(host.statuses[request.command].pop(0))
    if request.at not in host.files:
        return request.give(404)
    time.sleep(host.delay)
    return request.send(host.files[request.at], host, ETag='"abc"', Last_Modified=formatdate(0, usegmt=True))


@pytest.fixture
def s3(serve, monkeypatch):
    host = serve(of_a_bucket)
    host.statuses, host.unbroken = {}, 100
    monkeypatch.setenv("AWS_ENDPOINT_URL", host.url().rstrip("/"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(sevir_bucket, "BLOCK", 1 << 12)
    return host


class Memory:
    """The same bucket without a host: for what happens to events once they are here."""

    def __init__(self, files: dict[str, bytes], asked: list[str]) -> None:
        self.files, self.asked = files, asked

    def copy(self, key: str, target: Path) -> Path:
        self.asked.append(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.files[f"/sevir/{key}"])
        return target

    @contextmanager
    def hdf5(self, key: str) -> Iterator[RemoteHdf5]:
        self.asked.append(key)
        file = RemoteHdf5(io.BytesIO(self.files[f"/sevir/{key}"]), f"{key} of SEVIR")
        yield file
        file.close()


@pytest.fixture
def bucket(monkeypatch):
    held = SimpleNamespace(files={}, asked=[])
    monkeypatch.setattr(sevir, "Bucket", lambda *_, **__: Memory(held.files, held.asked))
    return held


@pytest.fixture
def small(monkeypatch) -> None:
    """Events of 32 x 32 cells instead of 384 x 384."""
    monkeypatch.setattr(sevir, "SIDE", SIDE)


def event(seed: int, side: int = SIDE) -> np.ndarray:
    """Codes (y, x, time): noise on one half, nothing on the other; the middle frame's corner says which event it is."""
    codes = np.zeros((side, side, FRAMES), np.uint8)
    codes[:, side // 2 :] = np.random.default_rng(seed).integers(20, 200, (side, 1, 1), dtype=np.uint8)
    codes[:, -1, :] = np.arange(FRAMES) + 100
    codes[0, 0, FRAMES // 2] = seed
    return codes


def hdf5(events: dict[str, np.ndarray]) -> bytes:
    """The layout of a VIL file: `id` (N,), `vil` (N, L, L, T), a chunk an event."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["id"] = np.array([name.encode() for name in events])
        codes = np.stack(list(events.values()))
        file.create_dataset("vil", data=codes, chunks=(1, *codes.shape[1:]), compression="gzip", compression_opts=1)
    return buffer.getvalue()


def row(name: str, when: str, index: int, codes: np.ndarray | None = None, **changes) -> dict:
    valid = None if codes is None else codes[codes != 255]
    return {
        "id": name,
        "file_name": "vil/any.h5",
        "file_index": index,
        "img_type": "vil",
        "time_utc": when,
        "minute_offsets": OFFSETS,
        "episode_id": "",
        "event_id": "",
        "event_type": "Hail" if name.startswith("S") else "",
        "llcrnrlat": 38.0,
        "llcrnrlon": -98.0,
        "urcrnrlat": 41.0,
        "urcrnrlon": -94.0,
        "proj": "+proj=laea +lat_0=38 +lon_0=-98 +units=m +a=6370997.0 +ellps=sphere ",
        "size_x": sevir.SIDE,
        "size_y": sevir.SIDE,
        "height_m": sevir.SIDE * 1000.0,
        "width_m": sevir.SIDE * 1000.0,
        "data_min": 0 if valid is None else valid.min(),
        "data_max": 254 if valid is None else valid.max(),
        "pct_missing": 0.0,
    } | changes


def publish(host, events: dict[str, tuple[str, np.ndarray]], *, extra=(), changes=None, file="vil/any.h5") -> None:
    """A file of events and a catalogue that lists them, beside rows of another sensor."""
    rows = [
        row(name, when, i, codes, **{"file_name": file, **(changes or {}).get(name, {})})
        for i, (name, (when, codes)) in enumerate(events.items())
    ]
    others = [{**r, "img_type": "ir069", "size_x": 16, "file_name": "ir069/any.h5"} for r in rows]
    host.files["/sevir/CATALOG.csv"] = pd.DataFrame([*others, *rows, *extra]).to_csv(index=False).encode()
    host.files[f"/sevir/data/{file}"] = hdf5({name: codes for name, (_, codes) in events.items()})


@cache
def catalog():
    return load_catalog()


def load(folder: Path, *, crop=None, offline=False, **options):
    source = Source(display_name="d", producer="p", terms="t", reader="sevir", urls={"bucket": "s3://sevir"})
    side = crop or sevir.SIDE
    return sevir.load(
        Ask(
            entry=catalog().dataset("sevir"),
            source=source,
            options=validated(Options, {"wet_share": 0.0, **options}, where="here"),
            size=SizeEntry(source="public", rungs=(side // 2, side), train_rung=side // 2, crop=crop),
            finest=Grid((side, side), (side, side), "cell", periodic=(False, False), unit="km"),
            cache=folder,
            offline=offline,
        )
    )


def three(seed: int = 1) -> dict[str, tuple[str, np.ndarray]]:
    """One event a split."""
    return {f"S{seed + i}": (when, event(seed + i)) for i, when in enumerate((TRAIN, VALIDATION, TEST))}


def corner(made, split: str) -> list[float]:
    """The mark of each event, as it was decoded."""
    return made.splits[split].values["vil"][:, made.splits[split].n_frames // 2, 0, 0].tolist()


def in_cache(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock")}


def test_codes_become_kilograms_by_the_published_rule_and_255_is_none():
    known = {
        0: 0.0,
        5: 0.0,
        6: 4 / 90.66,
        18: 16 / 90.66,
        19: math.exp((19 - 83.9) / 38.9),
        84: math.exp(0.1 / 38.9),
        254: math.exp(170.1 / 38.9),  # 79 kg/m²
        255: 0.0,
    }
    found = decode(np.array(list(known), np.uint8))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, list(known.values()), rtol=1e-6)
    assert (np.diff(decode(np.arange(5, 255, dtype=np.uint8))) > 0).all()


def test_time_is_turned_from_the_last_axis_to_the_first(s3, small, tmp_path):
    events = three()
    publish(s3, events)
    made = load(tmp_path, frames=49)
    values = made.splits["train"].values["vil"]
    assert values.shape == (1, 49, SIDE, SIDE)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[0], decode(np.moveaxis(events["S1"][1], -1, 0)))
    np.testing.assert_allclose(values[0, :, 3, -1], np.exp((np.arange(49) + 100 - 83.9) / 38.9), rtol=1e-6)


def test_frames_are_taken_about_the_middle_and_the_catalogue_s_time_is_the_middle_frame_s(bucket, small, tmp_path):
    publish(bucket, three())
    fields = load(tmp_path, frames=5, crop=16).splits["train"]
    assert fields.values["vil"].shape == (1, 5, 16, 16)
    assert str(fields.times[0, 2]) == "2018-05-05T12:00:00"
    assert set(np.diff(fields.times[0])) == {np.timedelta64(300, "s")}
    whole = load(tmp_path, frames=49).splits["train"].values["vil"]
    np.testing.assert_array_equal(fields.values["vil"], whole[:, 22:27, 8:24, 8:24])


def test_missing_cells_are_masked_and_never_81_kilograms(bucket, small, tmp_path):
    events = three()
    events["S1"][1][4, 5, :] = 255
    publish(bucket, events)
    made = load(tmp_path, frames=5)
    train, test = made.splits["train"], made.splits["test"]
    assert np.argwhere(~train.valid[0, 0]).tolist() == [[4, 5]]
    assert train.values["vil"][0, 0, 4, 5] == 0.0
    assert test.valid is None


def test_only_the_ranges_of_the_wanted_events_are_read(s3, small, tmp_path):
    rng = np.random.default_rng(0)
    noise = {f"R{i}": (TRAIN, rng.integers(0, 255, (SIDE, SIDE, FRAMES), dtype=np.uint8)) for i in range(20)}
    publish(s3, {**noise, **three(50)})
    load(tmp_path, frames=2, events="storm")
    file = [b for method, path, b in s3.asked if path.endswith("any.h5") and method == "GET"]
    assert all(file)
    assert s3.sent < len(s3.files["/sevir/data/vil/any.h5"]) / 4
    assert "R0.npz" not in in_cache(tmp_path)


def test_what_has_come_stays_so_that_an_interrupted_fetch_goes_on(bucket, small, tmp_path, monkeypatch):
    publish(bucket, {**{f"R{i}": (TRAIN, event(i)) for i in range(4)}, **three(50)})
    save, saved = np.savez_compressed, []

    def stop_at_the_third(out, **arrays):
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(1)
        save(out, **arrays)

    monkeypatch.setattr(np, "savez_compressed", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path, frames=2)
    events = {name for name in in_cache(tmp_path) if name.endswith(".npz")}
    assert len(events) == 2
    monkeypatch.setattr(np, "savez_compressed", save)
    bucket.asked.clear()
    made = load(tmp_path, frames=2)
    assert bucket.asked.count("CATALOG.csv") == 0
    assert made.splits["train"].n_samples == 5
    bucket.asked.clear()
    again = load(tmp_path, frames=2, offline=True)
    assert not bucket.asked
    np.testing.assert_array_equal(again.splits["train"].values["vil"], made.splits["train"].values["vil"])


def test_a_damaged_event_in_the_cache_is_read_again(bucket, small, tmp_path):
    publish(bucket, three())
    made = load(tmp_path, frames=2)
    (kept,) = tmp_path.rglob("S1.npz")
    kept.write_bytes(kept.read_bytes()[:100])
    np.testing.assert_array_equal(
        load(tmp_path, frames=2).splits["train"].values["vil"], made.splits["train"].values["vil"]
    )


def test_an_event_is_found_by_its_id_where_the_index_is_another_one_s(bucket, small, tmp_path):
    publish(bucket, three(), changes={"S1": {"file_index": 2}, "S3": {"file_index": 77}})
    made = load(tmp_path, frames=3)
    assert corner(made, "train") == [decode(np.array([1], np.uint8))[0]]
    np.testing.assert_allclose(made.splits["test"].values["vil"][0, 1], decode(event(3)[..., 24]))


def test_events_that_cannot_be_used_are_left_out_and_counted(bucket, small, tmp_path):
    holed = event(10)
    holed[:, :, 20] = 255
    dry = np.zeros_like(event(11))
    publish(
        bucket,
        {
            **three(),
            "R10": (TRAIN, holed),
            "R11": (TRAIN, dry),
            "R12": (TRAIN, event(12)),
            "R13": (TRAIN, event(13)),
            "R14": (TRAIN, event(14)),
        },
        changes={
            "R10": {"pct_missing": 2.0},
            "R12": {"data_max": 33},
            "R13": {"minute_offsets": OFFSETS.replace("-115:", "")},
        },
        extra=[row("R99", TRAIN, 99), row("R14", TRAIN, 1)],  # not in the file; an id that stands twice
    )
    made = load(tmp_path, frames=25, missing=5.0, wet_share=0.05)
    assert made.attrs["events_train"] == "S1"
    assert made.attrs["left_out_train"] == (
        "1 not in their file, 1 too dry, 1 unlike the catalogue's least and largest value, 2 with missing frames"
    )
    assert made.attrs["projection"].startswith("+proj=laea +lat_0=38 +lon_0=-98")


@pytest.mark.parametrize("stated", [(0, 148), (0, 255), (0.0, float(np.exp((254 - 83.9) / 38.9)))])
def test_the_catalogue_may_count_in_codes_or_in_kilograms(bucket, small, tmp_path, stated):
    events = three()
    codes = events["S1"][1]
    codes[:, SIDE // 2 : -1] = 60
    if stated[1] != 148:
        codes[1, 1, 1] = 254  # with 255, the catalogue counted a missing cell
    publish(bucket, events, changes={"S1": {"data_min": stated[0], "data_max": stated[1]}})
    assert load(tmp_path, frames=2).splits["train"].n_samples == 1


def test_a_split_without_an_event_says_why(bucket, small, tmp_path):
    publish(bucket, three())
    with pytest.raises(ConfigError, match="no event is left for the validation split: none is in the catalogue"):
        load(tmp_path, year=2018)
    with pytest.raises(ConfigError, match="no event is left for the train split: 1 too dry"):
        load(tmp_path, wet_share=0.9)


def table_of(*rows: dict, tmp_path: Path, **options) -> tuple[pd.DataFrame, Options]:
    path = tmp_path / "CATALOG.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    chosen = Options(**options)
    return catalogue(path, chosen), chosen


def test_splits_are_earthformers_dates_and_the_last_hours_before_the_next_are_left_out(small, tmp_path):
    times = {
        "R1": "2018-12-30 23:59:00",
        "R2": "2018-12-31 00:01:00",  # within a day of validation
        "R3": "2019-01-01 00:00:00",
        "R4": "2019-05-30 12:00:00",
        "R5": "2019-05-31 01:00:00",  # within a day of test
        "R6": "2019-06-01 00:00:00",
    }
    table, options = table_of(*(row(name, when, 0) for name, when in times.items()), tmp_path=tmp_path)
    ids = {split: [r.id for r in rows] for split, rows in split_rows(table, options).items()}
    assert ids == {"train": ["R1"], "validation": ["R3", "R4"], "test": ["R6"]}


def test_years_kinds_types_and_missing_shares_choose_events(small, tmp_path):
    rows = [
        row("S1", "2017-05-05", 0),
        row("S2", "2018-05-05", 0, event_type="Tornado"),
        row("R3", "2018-05-06", 0),
        row("R4", "2019-05-06", 0, pct_missing=3.0),
        row("R5", "2019-05-06", 0, size_x=16),
    ]

    def ids(**options) -> list[str]:
        return table_of(*rows, tmp_path=tmp_path, **options)[0].id.tolist()

    assert ids() == ["S1", "S2", "R3"]
    assert ids(missing=5.0) == ["S1", "S2", "R3", "R4"]
    assert ids(year=2018) == ["S2", "R3"]
    assert ids(years=(2017, 2019), missing=5.0) == ["S1", "R4"]
    assert ids(events="random") == ["R3"]
    assert ids(event_types=("Tornado",)) == ["S2"]


def test_events_of_one_day_are_one_cluster(bucket, small, tmp_path):
    days = {"R1": "2018-05-05 01:00", "R2": "2018-05-05 23:00", "R3": "2018-05-06 01:00"}
    publish(bucket, {**three(50), **{name: (when, event(int(name[1]))) for name, when in days.items()}})
    made = load(tmp_path, frames=2, events="all")
    assert made.attrs["events_train"] == "R1, S50, R2, R3"
    assert made.splits["train"].clusters.tolist() == [0, 0, 0, 1]


@settings(deadline=None, max_examples=25)
@given(n=st.integers(1, 300))
def test_any_beginning_of_the_order_is_spread_over_the_whole(n):
    order = list(spread(n))
    assert sorted(order) == list(range(n))
    for k in (4, 16, 64):
        if k <= n:
            # k of n: no stretch of 4 n / k is without one
            assert np.diff(sorted([*order[:k], n])).max() <= 4 * math.ceil(n / k)


def test_most_and_limit_bound_what_is_kept_and_what_is_looked_at(bucket, small, tmp_path):
    many = {f"R{i:02d}": (f"2018-05-{1 + i:02d} 12:00", event(i)) for i in range(16)}
    publish(bucket, {**three(50), **many})
    made = load(tmp_path / "a", frames=2, most={"train": 4})
    assert made.splits["train"].n_samples == 4
    days = [str(t)[8:10] for t in made.splits["train"].times[:, 0]]
    assert days == sorted(days)
    assert int(days[-1]) - int(days[0]) > 8
    load(tmp_path / "b", frames=2, limit=2)
    assert len([name for name in in_cache(tmp_path / "b") if name.endswith(".npz")]) == 2 + 1 + 1


def test_offsets_that_are_not_49_in_steps_of_five_minutes_are_no_times():
    when = pd.Timestamp("2019-05-05 12:00")

    def times(words):
        return frame_times(type("Row", (), {"minute_offsets": words, "time_utc": when}))

    assert times(OFFSETS)[0] == np.datetime64("2019-05-05T10:00:00")
    for words in ("", "nan", OFFSETS + ":125", OFFSETS.replace("-115", "-116")):
        assert times(words) is None


@pytest.mark.parametrize("status", [403, 416])
def test_a_status_that_stays_is_one_error_without_the_address(s3, small, tmp_path, status):
    publish(s3, three())
    s3.statuses = {"GET": [status] * 9}
    with pytest.raises(DownloadError, match=f"SEVIR could not be fetched: the host answered {status}") as caught:
        load(tmp_path)
    assert "127.0.0.1" not in str(caught.value)
    assert len(s3.statuses["GET"]) == 8
    assert in_cache(tmp_path) == set()


def test_a_server_that_is_down_for_good_is_tried_a_few_times_and_then_named(s3, small, tmp_path):
    publish(s3, three())
    s3.statuses = {"GET": [500] * 99}
    with pytest.raises(DownloadError, match=rf"the host answered 500 \({download.TRIES} times\)"):
        load(tmp_path)


def test_errors_that_pass_and_answers_that_break_off_are_forgotten(s3, small, tmp_path):
    publish(s3, three())
    s3.statuses = {"HEAD": [503], "GET": [500]}
    s3.breaks = [50, None, 10, None, 200]
    made = load(tmp_path, frames=2)
    assert {split: fields.n_samples for split, fields in made.splits.items()} == dict.fromkeys(made.splits, 1)


def test_a_connection_that_always_breaks_off_is_named(s3, small, tmp_path):
    publish(s3, three())
    s3.breaks = [50] * 99
    with pytest.raises(DownloadError, match=r"CATALOG\.csv of SEVIR could not be fetched: the connection broke off"):
        load(tmp_path)


def test_a_host_that_stays_silent_is_named(s3, small, tmp_path, monkeypatch):
    publish(s3, three())
    s3.delay = 0.3
    monkeypatch.setattr(sevir_bucket, "READ", 0.05)
    monkeypatch.setattr(download, "TRIES", 1)
    with pytest.raises(DownloadError, match="no answer in time"):
        load(tmp_path)


def test_a_file_that_there_is_not_is_a_404(s3, small, tmp_path):
    publish(s3, three())
    del s3.files["/sevir/data/vil/any.h5"]
    with pytest.raises(DownloadError, match=r"data/vil/any\.h5 of SEVIR could not be fetched: the host answered 404"):
        load(tmp_path)


def test_nobody_at_the_endpoint_is_no_connection(small, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="could not be fetched: no connection") as caught:
        load(tmp_path)
    assert "127.0.0.1" not in str(caught.value)


def test_offline_without_the_catalogue_or_an_event_says_so(bucket, small, tmp_path):
    publish(bucket, three())
    with pytest.raises(DownloadError, match="SEVIR's catalogue is not in the cache, and this is offline mode"):
        load(tmp_path, offline=True)
    load(tmp_path, frames=2)
    next(tmp_path.rglob("S2.npz")).unlink()
    with pytest.raises(DownloadError, match="event S2 of SEVIR is not in the cache, and this is offline mode"):
        load(tmp_path, frames=2, offline=True)


def test_files_of_another_kind_are_one_line(bucket, small, tmp_path):
    publish(bucket, three())
    bucket.files["/sevir/data/vil/any.h5"] = b"no HDF5 " * 1000
    with pytest.raises(DownloadError, match=r"data/vil/any\.h5 of SEVIR is no HDF5 file, or a damaged one"):
        load(tmp_path / "a")
    publish(bucket, {name: (when, codes[:16]) for name, (when, codes) in three().items()})
    with pytest.raises(DownloadError, match=r"holds no 'vil' \(N, 32, 32, 49\): \(3, 16, 32, 49\)"):
        load(tmp_path / "b")
    for content in (b"<html>a proxy's page", b"id,file_name\n1,2\n"):
        bucket.files["/sevir/CATALOG.csv"] = content
        with pytest.raises(DownloadError, match=r"is not SEVIR's catalogue|cannot be read as SEVIR's catalogue"):
            load(tmp_path / str(len(content)))


def test_a_missing_package_is_one_line_with_its_extra(small, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(CatalogError, match=r"'s3fs', which is not installed\n.*anchorbench\[sevir\]"):
        load(tmp_path)


def test_sevir_itself_makes_a_masked_ladder_of_its_own_quantity(bucket, tmp_path):
    """Events of the real size, through the catalogue's own entry."""
    events = {f"S{i}": (when, event(i, 384)) for i, when in enumerate((TRAIN, VALIDATION, TEST), start=1)}
    events["S1"][1][180:200, 180:190, :] = 255
    publish(bucket, events)
    asked = request(catalog(), "sevir", size="tiny", source="public", settings={"frames": 4})
    ladder = fetch(asked, tmp_path)
    assert ladder.rungs == (24, 48, 96)
    assert ladder.masked
    assert ladder.spec.variables[0].units == "kg m-2"
    assert ladder.grid(96).extent == (96.0, 96.0)
    values, area = ladder.array("train", 96, "vil"), ladder.valid_area("train", 96)
    assert values.shape == (1, 4, 96, 96)
    # the crop begins at cell 144: rows 36 to 55, columns 36 to 45 were missing
    assert np.argwhere(area[0, 0] == 0).min(0).tolist() == [36, 36]
    assert np.argwhere(area[0, 0] == 0).max(0).tolist() == [55, 45]
    assert ladder.about["attrs"]["events_train"] == "S1"
    assert ladder.about["attrs"]["split_rule"] == "train before 2019-01-01, test from 2019-06-01, gap 24 h"
