"""A ladder on disk: one field on every rung, whole or not there."""

from __future__ import annotations

import json
import math
import re
import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import torch
import xarray as xr

from anchorbench.config import LadderSpec
from anchorbench.data import ladder_file
from anchorbench.data.ladder import (
    SPLITS,
    TrainingView,
    describe,
    find_ladder,
    ladder_folder,
    open_ladder,
    write_ladder,
)
from anchorbench.data.sources import SplitFields
from anchorbench.errors import LadderError
from anchorbench.fields import Grid, restrict, restrict_weights

ATTRS = {"producer": "the test", "terms": "none"}
WAVES = Grid((32, 32), extent=(2 * math.pi, 2 * math.pi))
CELLS = Grid((8, 8), extent=(8.0, 8.0), centring="cell", periodic=(False, False), unit="km")


def wave_spec(rungs=(8, 16, 32), seed=0) -> LadderSpec:
    return LadderSpec(
        dataset="turbulence2d",
        source="generated",
        size="tiny",
        restriction="spectral",
        rungs=rungs,
        grid=WAVES.to_dict(),
        variables=[{"name": "vorticity", "units": "s-1", "long_name": "relative vorticity"}],
        time_step=0.25,
        time_unit="s",
        origin={"seed": seed},
    )


def two_waves(samples=2, frames=3, *, scale=1.0) -> np.ndarray:
    """2 cos 2x + sin 6y, turned a little further from frame to frame and sample to sample."""
    y, x = WAVES.mesh().numpy()
    turn = 0.1 * np.arange(samples * frames).reshape(samples, frames, 1, 1)
    return (scale * (2 * np.cos(2 * x + turn) + np.sin(6 * y + 3 * turn))).astype(np.float32)


def wave_splits(**kwargs) -> dict[str, SplitFields]:
    return {
        split: SplitFields({"vorticity": two_waves(**kwargs)}, None, None, np.array([3, 5])) for split in SPLITS
    }  # fmt: skip


def cell_spec(restriction="block_mean", rungs=(2, 4, 8)) -> LadderSpec:
    return LadderSpec(
        dataset="sevir",
        source="sample",
        size="tiny",
        restriction=restriction,
        rungs=rungs,
        grid=CELLS.to_dict(),
        variables=[{"name": "rain", "units": "mm"}],
        time_step=5,
        time_unit="min",
        origin={},
    )


def cell_splits(seed=0) -> dict[str, SplitFields]:
    """Rain with holes that change; the south-western quarter is never observed."""
    rng = np.random.default_rng(seed)
    values = rng.gamma(0.5, 2.0, (2, 3, 8, 8)).astype(np.float32)
    valid = rng.random(values.shape) > 0.3
    valid[..., :4, :4] = False
    times = np.datetime64("2018-05-10T00:00:00") + np.arange(6).reshape(2, 3) * np.timedelta64(300, "s")
    fields = SplitFields({"rain": np.where(valid, values, 0).astype(np.float32)}, valid, times, np.array([0, 1]))
    return dict.fromkeys(SPLITS, fields)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def waves(cache):
    forcing = np.cos(4 * WAVES.mesh()[0].numpy()).astype(np.float32)
    return write_ladder(
        wave_spec(), wave_splits(), cache, attrs=ATTRS, static={"forcing": forcing}, floor={8: 1e-4, 16: 2e-4}
    )


@pytest.fixture(scope="module")
def cells(cache):
    return write_ladder(cell_spec(), cell_splits(), cache, attrs=ATTRS)


def copy_of(ladder, cache) -> None:
    target = ladder_folder(ladder.spec, cache)
    shutil.copytree(ladder.folder, target, ignore=shutil.ignore_patterns("arrays"))


# -- what stands in the files ------------------------------------------------------------------------------------------


def test_xarray_opens_a_ladder_as_a_tree_of_rungs(waves):
    with xr.open_datatree(waves.folder / "test.nc", engine="netcdf4") as tree:
        assert sorted(tree.children) == ["r008", "r016", "r032"]
        assert tree.attrs["Conventions"].startswith("CF-1.")
        assert tree.attrs["restriction"] == "spectral"
        assert tree.attrs["ladder_digest"] == waves.spec.digest
        assert (tree.attrs["producer"], tree.attrs["terms"]) == ("the test", "none")
        assert LadderSpec.model_validate_json(tree.attrs["ladder_spec"]) == waves.spec
        rung = tree["r016"]
        assert rung["vorticity"].dims == ("sample", "time", "y", "x")
        assert rung["vorticity"].shape == (2, 3, 16, 16)
        assert rung["vorticity"].dtype == np.float32
        assert rung["vorticity"].attrs["units"] == "s-1"
        assert rung["vorticity"].attrs["long_name"] == "relative vorticity"
        np.testing.assert_allclose(rung["x"], np.arange(16) * 2 * math.pi / 16)
        assert rung["x"].attrs["units"] == WAVES.unit
        assert rung["y"].attrs["axis"] == "Y"
        assert rung["cluster"].values.tolist() == [3, 5]
        np.testing.assert_allclose(rung["time"], [0, 0.25, 0.5])
        assert rung["time"].attrs["units"] == "s"


def test_a_cell_ladder_names_its_cells_its_time_and_its_missing_points(cells):
    with xr.open_datatree(cells.folder / "train.nc", engine="netcdf4") as tree:
        rung = tree["r004"]
        np.testing.assert_allclose(rung["x"], [1.0, 3.0, 5.0, 7.0])  # the middles of cells of 2 km
        assert rung["x"].attrs["units"] == "km"
        assert rung["rain"].encoding["_FillValue"] != rung["rain"].encoding["_FillValue"]  # NaN
        assert rung["start"].values[1] == np.datetime64("2018-05-10T00:15:00")
        np.testing.assert_array_equal(np.isnan(rung["rain"]), rung["valid_area"] == 0)
        assert np.isnan(rung["rain"][..., :2, :2]).all()


@pytest.mark.skipif(shutil.which("ncdump") is None, reason="ncdump is not installed")
def test_ncdump_shows_a_group_a_rung(waves):
    header = subprocess.run(
        ["ncdump", "-h", str(waves.folder / "train.nc")], capture_output=True, text=True, check=True
    )
    assert re.findall(r"group: (r\d+) \{", header.stdout) == ["r032", "r016", "r008"]
    assert 'vorticity:units = "s-1"' in header.stdout


def test_a_frame_is_a_chunk_and_nothing_is_compressed(waves):
    with netCDF4.Dataset(waves.folder / "train.nc") as nc:
        variable = nc["r016"]["vorticity"]
        assert variable.chunking() == [1, 1, 16, 16]
        assert not variable.filters()["zlib"]


# -- one field on every rung -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fine", "coarse"), [(32, 16), (32, 8), (16, 8)])
def test_what_a_coarse_rung_holds_is_the_restriction_of_every_finer_one(waves, fine, coarse):
    u = torch.from_numpy(np.array(waves.array("test", fine, "vorticity")))
    again = restrict(u, waves.grid(coarse))
    np.testing.assert_allclose(waves.array("test", coarse, "vorticity"), again, atol=2e-6)


def test_a_wave_below_nyquist_stands_on_every_rung_and_one_above_on_none(waves):
    # at r008 only waves below 4 are left: 2 cos(2x + turn)
    y, x = waves.grid(8).mesh().numpy()
    turn = 0.1 * np.arange(6).reshape(2, 3, 1, 1)
    np.testing.assert_allclose(waves.array("train", 8, "vorticity"), 2 * np.cos(2 * x + turn) + 0 * y, atol=2e-6)


def test_the_energy_that_a_step_removes_is_that_of_the_waves_it_drops(waves):
    # 2 cos 2x has variance 2, sin 6y has 1/2; r016 carries both (6 < 8), r008 only the first: 0.5 / 2.5 is removed.
    removed = waves.about["splits"]["test"]["energy_removed"]
    assert removed == {
        "r032": 0.0,
        "r016": pytest.approx(0.0, abs=1e-6),
        "r008": pytest.approx(0.2, abs=1e-6),
    }
    with netCDF4.Dataset(waves.folder / "test.nc") as nc:
        assert nc["r008"].energy_removed_by_this_step == pytest.approx(0.2, abs=1e-6)


def test_the_removed_energy_of_two_variables_is_the_mean_of_their_shares_whatever_their_units(tmp_path):
    spec = wave_spec().model_copy(
        update={"variables": (*wave_spec().variables, wave_spec().variables[0].model_copy(update={"name": "tracer"}))}
    )
    low = 1e4 * np.cos(2 * WAVES.mesh()[1].numpy()) * np.ones((2, 3, 1, 1))  # loses nothing, and is large
    fields = SplitFields({"vorticity": two_waves(), "tracer": low.astype(np.float32)}, None, None, np.arange(2))
    ladder = write_ladder(spec, dict.fromkeys(SPLITS, fields), tmp_path, attrs=ATTRS)
    assert ladder.about["splits"]["test"]["energy_removed"]["r008"] == pytest.approx((0.2 + 0.0) / 2, abs=1e-5)


def test_the_mean_is_no_energy_that_a_step_could_remove(tmp_path):
    # Checkers of ±1 on a mean of 100, every point observed: all that varies is removed.
    checkers = 100.0 + (-1.0) ** np.indices((8, 8)).sum(0)
    valid = np.ones((1, 2, 8, 8), bool)
    fields = SplitFields({"rain": np.tile(checkers, (1, 2, 1, 1)).astype(np.float32)}, valid, None, np.arange(1))
    ladder = write_ladder(cell_spec(), dict.fromkeys(SPLITS, fields), tmp_path, attrs=ATTRS)
    assert ladder.about["splits"]["test"]["energy_removed"]["r004"] == pytest.approx(1.0)


def test_masked_restriction_composes_from_rung_to_rung(cells):
    for fine, coarse in ((8, 4), (4, 2), (8, 2)):
        grid = cells.grid(coarse)
        u, w = (
            torch.from_numpy(np.array(a)) for a in (cells.array("test", fine, "rain"), cells.valid_area("test", fine))
        )
        np.testing.assert_allclose(
            cells.valid_area("test", coarse), restrict_weights(w, grid, how="block_mean"), rtol=1e-6
        )
        again = restrict(u, grid, how="block_mean", weights=w)
        np.testing.assert_allclose(cells.array("test", coarse, "rain"), again, rtol=1e-5, atol=1e-6)


def test_a_coarse_cell_is_the_mean_of_what_was_observed_in_it(cells):
    fields = cell_splits()["test"]
    rain, valid = fields.values["rain"].astype(np.float64), fields.valid
    blocks = (2, 3, 2, 4, 2, 4)
    total, count = ((a.reshape(blocks)).sum((3, 5)) for a in (rain * valid, valid))
    np.testing.assert_allclose(cells.valid_area("test", 2), count / 16, rtol=1e-6)
    np.testing.assert_allclose(
        cells.array("test", 2, "rain"), np.where(count, total / np.maximum(count, 1), 0), rtol=1e-5
    )


def test_a_missing_point_is_0_with_weight_0_in_the_arrays(cells):
    for rung in cells.rungs:
        rain, weight = cells.array("train", rung, "rain"), cells.valid_area("train", rung)
        assert (weight == 0).any()
        assert (rain[weight == 0] == 0).all()
        assert np.isfinite(rain).all()
        assert ((weight >= 0) & (weight <= 1)).all()


def test_a_ladder_without_a_mask_has_no_weights(waves, cells):
    assert not waves.masked
    assert waves.valid_area("train", 8) is None
    assert cells.masked


def test_one_masked_split_makes_the_ladder_masked_and_the_others_wholly_observed(tmp_path):
    splits = cell_splits()
    full = SplitFields(splits["train"].values, None, None, np.arange(2))
    ladder = write_ladder(cell_spec(), {**splits, "train": full}, tmp_path, attrs=ATTRS)
    assert (ladder.valid_area("train", 4) == 1).all()
    assert not (ladder.valid_area("test", 4) == 1).all()


def test_values_that_count_are_finite_or_the_ladder_is_not_written(tmp_path):
    bad = two_waves()
    bad[1, 2, 3, 4] = np.nan
    splits = {**wave_splits(), "test": SplitFields({"vorticity": bad}, None, None, np.arange(2))}
    with pytest.raises(LadderError, match=r"'vorticity' is NaN or infinite.*test"):
        write_ladder(wave_spec(), splits, tmp_path, attrs=ATTRS)
    assert not ladder_folder(wave_spec(), tmp_path).exists()


def test_a_masked_point_may_hold_anything(tmp_path):
    splits = cell_splits()
    wild = {"rain": np.where(splits["train"].valid, splits["train"].values["rain"], np.nan).astype(np.float32)}
    fields = SplitFields(wild, splits["train"].valid, None, np.arange(2))
    ladder = write_ladder(cell_spec(), dict.fromkeys(SPLITS, fields), tmp_path, attrs=ATTRS)
    assert np.isfinite(ladder.array("train", 2, "rain")).all()


def test_static_fields_are_restricted_as_the_others_are(waves):
    # cos 4y is below the Nyquist of 16 points and at that of 8, where it has no phase and is dropped.
    assert waves.static(16).shape == (1, 16, 16)
    np.testing.assert_allclose(waves.static(16)[0], np.cos(4 * waves.grid(16).mesh()[0].numpy()), atol=2e-6)
    np.testing.assert_allclose(waves.static(8), 0, atol=2e-6)


def test_a_ladder_without_static_fields_has_none(cells):
    assert cells.static(4) is None


def test_clusters_are_numbered_from_nought(waves):
    assert waves.clusters("train").tolist() == [0, 1]  # 3 and 5 in the source


def test_the_floor_comes_back_by_rung(waves, cells):
    assert waves.floor == {8: 1e-4, 16: 2e-4}
    assert cells.floor == {}


def test_a_description_has_a_row_a_rung_and_is_plain_json(waves):
    found = json.loads(json.dumps(describe(waves)))
    assert [row["rung"] for row in found["rungs"]] == ["r008", "r016", "r032"]
    assert found["rungs"][0]["points"] == "8 x 8"
    assert found["rungs"][0]["energy_removed_by_this_step"] == "20.00%"
    assert [row["floor"] for row in found["rungs"]] == ["0.0001", "0.0002", "-"]
    assert found["about"]["train"] == "2 samples of 3 frames in 2 clusters"


# -- rungs that there are not ------------------------------------------------------------------------------------------


def test_a_rung_that_the_ladder_lacks_is_named_with_the_command_that_makes_it(waves):
    with pytest.raises(LadderError) as caught:
        waves.array("test", 48, "vorticity")
    assert str(caught.value) == (
        "ladder 'turbulence2d/tiny' has no rung r048; it has r008, r016, r032.\n"
        "       make it:  anchorbench fetch turbulence2d --size tiny --set rungs=8,16,32,48"
    )


@pytest.mark.parametrize("ask", ["grid", "static"])
def test_no_way_leads_to_a_rung_that_is_not_there(waves, ask):
    with pytest.raises(LadderError, match="no rung r024"):
        getattr(waves, ask)(24)


def test_a_training_view_opens_what_its_track_allows_and_nothing_else(waves):
    view = TrainingView(waves, [8, 16])
    assert view.open("train", 8) is waves
    assert view.open("validation", 16) is waves
    with pytest.raises(LadderError, match="may not open rung r032: its track allows r008, r016"):
        view.open("train", 32)
    with pytest.raises(LadderError, match="may not open the test split"):
        view.open("test", 8)
    with pytest.raises(LadderError, match="no rung r064"):
        TrainingView(waves, [64])


# -- opening -----------------------------------------------------------------------------------------------------------


def test_a_written_ladder_opens_again_by_spec_and_by_digest(waves, cache):
    spec = waves.spec
    assert open_ladder(spec, cache) == waves
    found = find_ladder(spec.dataset, spec.source, spec.size, spec.digest, cache)
    assert found.spec == spec
    assert found.spec.digest == spec.digest
    waves.verify()


def test_a_ladder_that_was_never_made_names_the_command(tmp_path):
    with pytest.raises(LadderError, match="there is no ladder") as caught:
        open_ladder(wave_spec(), tmp_path)
    assert caught.value.do == "make it:  anchorbench fetch turbulence2d --size tiny --source generated"
    with pytest.raises(LadderError, match="no whole ladder"):
        find_ladder("turbulence2d", "generated", "tiny", "0" * 64, tmp_path)


def test_a_ladder_of_another_spec_is_another_ladder(waves, cache):
    with pytest.raises(LadderError, match="there is no ladder"):
        open_ladder(wave_spec(seed=1), cache)


def damage(folder, how: str) -> None:
    file, note = folder / "validation.nc", folder / "ladder.json"
    about = json.loads(note.read_text())
    if how == "truncated file":
        file.write_bytes(file.read_bytes()[:-1000])
    elif how == "missing file":
        file.unlink()
    elif how == "truncated note":
        note.write_text(note.read_text()[: len(note.read_text()) // 2])
    elif how == "empty note":
        note.write_text("")
    elif how == "binary note":
        note.write_bytes(b"\xff\xfe\x00")
    elif how == "note of another kind":
        note.write_text("[]")
    elif how == "note without splits":
        note.write_text(json.dumps({**about, "splits": {}}))
    elif how == "note of another ladder":
        note.write_text(json.dumps({**about, "spec": {**about["spec"], "rungs": [8, 16]}}))
    elif how == "note is a folder":
        note.unlink()
        note.mkdir()


DAMAGE = (
    "truncated file",
    "missing file",
    "truncated note",
    "empty note",
    "binary note",
    "note of another kind",
    "note without splits",
    "note of another ladder",
    "note is a folder",
)


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_ladder_is_one_message_with_the_command_that_mends_it(waves, tmp_path, how):
    copy_of(waves, tmp_path)
    damage(ladder_folder(waves.spec, tmp_path), how)
    with pytest.raises(LadderError) as caught:
        open_ladder(waves.spec, tmp_path)
    assert str(ladder_folder(waves.spec, tmp_path)) in caught.value.what
    assert "anchorbench fetch turbulence2d --size tiny --source generated --force" in caught.value.do


def test_an_altered_file_of_the_same_size_is_found_by_its_digest(waves, tmp_path):
    copy_of(waves, tmp_path)
    ladder = open_ladder(waves.spec, tmp_path)
    file = ladder.folder / "test.nc"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    ladder = open_ladder(waves.spec, tmp_path)  # a look at sizes costs nothing, a digest reads everything
    with pytest.raises(LadderError, match=r"test\.nc is not the file that was written.*SHA-256"):
        ladder.verify()


# -- all or nothing ----------------------------------------------------------------------------------------------------


def write(cache, *, scale=1.0):
    return write_ladder(wave_spec(), wave_splits(scale=scale), cache, attrs=ATTRS)


def left_beside(cache) -> set[str]:
    folder = ladder_folder(wave_spec(), cache)
    return {p.name for p in folder.parent.iterdir()} - {folder.name, f"{folder.name}.lock"}


def break_at(monkeypatch, n: int, error: BaseException) -> None:
    """The n-th restriction fails."""
    calls = iter(range(n))

    def restrict_or_fail(*args, **kwargs):
        if next(calls, None) is None:
            raise error
        return restrict(*args, **kwargs)

    monkeypatch.setattr(ladder_file, "restrict", restrict_or_fail)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device"), ValueError("a bug")])
@pytest.mark.parametrize("n", [0, 7])
def test_an_interrupted_write_leaves_nothing_where_nothing_was(tmp_path, monkeypatch, error, n):
    break_at(monkeypatch, n, error)
    with pytest.raises((type(error), LadderError)):
        write(tmp_path)
    assert not ladder_folder(wave_spec(), tmp_path).exists()
    assert left_beside(tmp_path) == set()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interrupted_write_leaves_the_former_ladder_as_it_was(tmp_path, monkeypatch, error):
    former = write(tmp_path)
    break_at(monkeypatch, 7, error)
    with pytest.raises((type(error), LadderError)):
        write(tmp_path, scale=2.0)
    ladder = open_ladder(wave_spec(), tmp_path)
    ladder.verify()
    assert ladder.about == former.about
    assert left_beside(tmp_path) == set()


def test_no_space_left_is_a_message_that_says_where(tmp_path, monkeypatch):
    break_at(monkeypatch, 3, OSError(28, "No space left on device"))
    with pytest.raises(LadderError, match="could not be written: No space left on device") as caught:
        write(tmp_path)
    assert str(tmp_path) in caught.value.do


def test_a_disk_that_is_full_for_hdf5_is_the_same_message(tmp_path):
    """HDF5 knows no errno; a limit on the size of files stands in for the full disk."""
    former = write(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(LadderError, match="could not be written"):
            write(tmp_path, scale=2.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert open_ladder(wave_spec(), tmp_path).about == former.about
    assert left_beside(tmp_path) == set()


def test_a_cache_that_cannot_be_is_a_message(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(LadderError, match="could not be written"):
        write(tmp_path / "file")


def test_a_new_ladder_takes_the_place_of_the_former_with_its_array_cache(tmp_path):
    former = write(tmp_path)
    before = np.array(former.array("train", 8, "vorticity"))
    ladder = write(tmp_path, scale=2.0)
    np.testing.assert_allclose(ladder.array("train", 8, "vorticity"), 2 * before, atol=1e-5)
    assert left_beside(tmp_path) == set()


def test_a_folder_that_is_no_ladder_does_not_stand_in_the_way(tmp_path):
    folder = ladder_folder(wave_spec(), tmp_path)
    folder.mkdir(parents=True)
    (folder / "train.nc").write_text("half")
    write(tmp_path).verify()


@pytest.mark.parametrize("then", ["open", "write and fail"])
def test_a_kill_between_the_two_renames_loses_no_ladder(tmp_path, monkeypatch, then):
    write(tmp_path)
    folder = ladder_folder(wave_spec(), tmp_path)
    folder.rename(folder.with_name(folder.name + ".former"))
    if then == "write and fail":
        break_at(monkeypatch, 2, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, scale=2.0)
    open_ladder(wave_spec(), tmp_path).verify()
    assert left_beside(tmp_path) == set()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(5, "Input/output error")])
def test_a_new_ladder_that_does_not_come_into_place_gives_it_back_to_the_former(tmp_path, monkeypatch, error):
    former = write(tmp_path)
    rename = Path.rename

    def fail_for_the_new(self, target):
        if self.name.endswith(".part"):
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_new)
    with pytest.raises((type(error), LadderError)):
        write(tmp_path, scale=2.0)
    ladder = open_ladder(wave_spec(), tmp_path)
    ladder.verify()
    assert ladder.about == former.about
    assert left_beside(tmp_path) == set()


def test_what_a_killed_writer_left_is_cleared_by_the_next(tmp_path):
    folder = ladder_folder(wave_spec(), tmp_path)
    part = folder.with_name(folder.name + ".part")
    part.mkdir(parents=True)
    (part / "train.nc").write_bytes(b"half a file")
    write(tmp_path).verify()
    assert left_beside(tmp_path) == set()


def test_threads_that_write_one_ladder_at_once_leave_one_whole_ladder(tmp_path):
    failed: list[BaseException] = []

    def attempt() -> None:
        try:
            write(tmp_path)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=attempt) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    open_ladder(wave_spec(), tmp_path).verify()


WRITER = """
import sys, pathlib, importlib.util
spec = importlib.util.spec_from_file_location("tests_of_the_ladder", sys.argv[1])
tests = importlib.util.module_from_spec(spec); spec.loader.exec_module(tests)
print("ready", flush=True)
for _ in range(3):
    tests.write(pathlib.Path(sys.argv[2]))
"""


def test_two_processes_that_write_one_ladder_at_once_leave_one_whole_ladder(tmp_path):
    command = [sys.executable, "-c", WRITER, __file__, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "ready\n"
        for _ in range(3):
            write(tmp_path)
        message = other.communicate(timeout=60)[1]
    assert other.returncode == 0, message
    open_ladder(wave_spec(), tmp_path).verify()
    assert left_beside(tmp_path) == set()
