"""From words to a ladder: resolved before anything is made, made once, and never half."""

from __future__ import annotations

import json
import threading
from functools import cache

import netCDF4
import numpy as np
import pytest

from anchorbench.data import catalog_file
from anchorbench.data import fetch as fetch_module
from anchorbench.data.catalog import Catalog
from anchorbench.data.download import cache_path
from anchorbench.data.fetch import announce, fetch, request
from anchorbench.data.ladder import SPLITS, ladder_folder, open_ladder
from anchorbench.data.sources import Loaded, SplitFields, radolan, turbulence
from anchorbench.errors import AnchorbenchError, CatalogError, ConfigError, DownloadError, LadderError

#: Read once: it is long.
load_catalog = cache(catalog_file.load_catalog)

TINY = {
    "rungs": [8, 16],
    "generator": {
        "truth_rung": 32,
        "viscosity": 1e-2,
        "forcing_wavenumber": 2,
        "frames": 3,
        "spin_up_rung": 16,
        "spin_up_time": 0.25,
        "settle_time": 0.125,
        "trajectories": {"train": 2, "validation": 1, "test": 1},
        "floor_windows": 1,
    },
}
RADAR = {"rungs": [2, 4, 8], "crop": 8, "selection": {"frames": 3, "most": {"train": 2, "validation": 1, "test": 1}}}


def turbulence2d(**changes):
    return request(load_catalog(), "turbulence2d", size="tiny", settings={**TINY, **changes})


def radar(**changes):
    return request(load_catalog(), "sevir", size="tiny", settings={**RADAR, **changes})


@pytest.fixture
def solved(monkeypatch):
    """What was solved, one entry a call of the generator."""
    calls: list[str] = []
    generate = turbulence.generate

    def counted(spec, *args, **kwargs):
        calls.append(spec.digest)
        return generate(spec, *args, **kwargs)

    monkeypatch.setattr(turbulence, "generate", counted)
    return calls


@pytest.fixture
def loaded(monkeypatch):
    """A radar that needs no network: what was asked of it, one entry a call."""
    calls: list[dict] = []

    def load(ask):
        calls.append({"crop": ask.size.crop, "offline": ask.offline, "force": ask.force, **ask.size.selection})
        ask.tell("downloading")(1.0)
        rng = np.random.default_rng(0)
        valid = rng.random((2, 3, 8, 8)) > 0.2
        rain = np.where(valid, rng.gamma(0.5, 1.0, valid.shape), 0).astype(np.float32)
        times = np.datetime64("2018-05-10T00:00:00") + np.arange(6).reshape(2, 3) * np.timedelta64(300, "s")
        fields = SplitFields({radolan.VARIABLE: rain}, valid, times, np.arange(2), {"missing_share": 0.2})
        return Loaded(dict.fromkeys(SPLITS, fields), attrs={"package": "pycomlink"})

    monkeypatch.setattr(radolan, "load", load)
    return calls


# -- what is meant -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "size", "source"),
    [
        *(("turbulence2d", size, "generated") for size in ("tiny", "small", "full")),
        *(("sevir", size, source) for size, source in (("tiny", "sample"), ("small", "sample"), ("full", "public"))),
    ],
)
def test_every_size_of_the_catalogue_is_a_ladder_that_could_be_made(dataset, size, source):
    wanted = request(load_catalog(), dataset, size=size)
    assert wanted.source == wanted.spec.source == source
    assert wanted.spec.rungs == wanted.size.rungs
    assert wanted.size.train_rung in wanted.spec.rungs
    assert wanted.disk_bytes() > 0


def test_a_stand_in_is_called_by_its_own_name():
    assert radar().display_name == "RADOLAN-YW"


def test_settings_lie_over_the_catalogue_and_what_they_do_not_name_stays():
    plain, changed = turbulence2d(), turbulence2d(generator={**TINY["generator"], "drag": 0.5})
    assert changed.spec.origin == {**plain.spec.origin, "drag": 0.5}
    assert changed.spec.digest != plain.spec.digest
    catalogue = request(load_catalog(), "turbulence2d", size="tiny")
    only = request(load_catalog(), "turbulence2d", size="tiny", settings={"generator": {"drag": 0.5}})
    assert only.spec.origin == {**catalogue.spec.origin, "drag": 0.5}


def test_the_same_words_are_the_same_ladder():
    assert turbulence2d().spec == turbulence2d().spec
    explicit = request(load_catalog(), "turbulence2d", size="tiny", source="generated", settings=TINY)
    assert explicit.spec.digest == turbulence2d().spec.digest


def test_rungs_that_hold_the_train_rung_keep_it_and_others_begin_at_their_coarsest():
    catalogue = request(load_catalog(), "turbulence2d", size="small")
    assert catalogue.size.train_rung == 16
    kept = request(load_catalog(), "turbulence2d", size="small", settings={"rungs": [8, 16, 32]})
    assert kept.size.train_rung == 16
    dropped = request(load_catalog(), "turbulence2d", size="small", settings={"rungs": [24, 48]})
    assert dropped.size.train_rung == 24
    assert dropped.spec.rungs == (24, 48)
    assert dropped.spec.grid["shape"] == [48, 48]


def test_a_crop_keeps_the_spacing():
    # the composite's largest crop is 184 cells of 1 km
    assert radar().spec.grid["extent"] == [8.0, 8.0]
    assert request(load_catalog(), "sevir", size="tiny", settings={"crop": 184}).spec.grid["extent"] == [184.0, 184.0]


def test_the_members_digest_and_the_selection_define_a_sampled_ladder():
    origin = radar().spec.origin
    assert len(origin["members"][0]) == 64
    assert origin["crop"] == 8
    assert origin["selection"]["frames"] == 3
    assert radar(selection={**RADAR["selection"], "wet_share": 0.01}).spec.digest != radar().spec.digest


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ({"dataset": "turbulence2"}, CatalogError, "no dataset 'turbulence2'.*'turbulence2d'"),
        ({"size": "tinny"}, CatalogError, "no size 'tinny'.*'tiny'"),
        ({"source": "generate"}, CatalogError, "no source 'generate'.*'generated'"),
        ({"source": "own"}, CatalogError, "no source 'own'.*generated"),
        ({"settings": {"rung": [8]}}, ConfigError, "no setting 'rung'.*'rungs'"),
        ({"settings": {"generator": {"viscocity": 1}}}, ConfigError, "no option 'viscocity'.*'viscosity'"),
        ({"settings": {"generator": 3}}, ConfigError, "generator"),
        ({"settings": {"rungs": []}}, ConfigError, "rungs"),
        ({"settings": {"rungs": None}}, ConfigError, "rungs"),
        ({"settings": {"rungs": 16}}, ConfigError, "rungs"),
        ({"settings": {"rungs": [16, "fine"]}}, ConfigError, "rungs"),
        ({"settings": {"rungs": [32, 16]}}, ConfigError, "rungs"),
        ({"settings": {"rungs": [8, 64]}}, ConfigError, "64 is not twice finer than the finest rung 64"),
        ({"settings": {"crop": 92}}, ConfigError, "no setting 'crop'"),
        ({"settings": {"selection": {}}}, ConfigError, "no setting 'selection'"),
        (
            {"settings": {"generator": {"interval": 0.1}}},
            ConfigError,
            "lead of 0.25 is no whole number of intervals of 0.1",
        ),
        ({"settings": {"generator": {"interval": 0.5}}}, ConfigError, "lead of 0.25"),
        ({"dataset": "sevir", "settings": {"generator": {}}}, ConfigError, "no setting 'generator'"),
        ({"dataset": "sevir", "settings": {"selection": {"frame": 3}}}, ConfigError, "no option 'frame'.*'frames'"),
        (
            {"dataset": "sevir", "settings": {"rungs": [23, 48, 92]}},
            ConfigError,
            "rungs 48 do not divide its 92 points",
        ),
        ({"dataset": "sevir", "settings": {"crop": 100}}, ConfigError, "do not divide its 100 points"),
    ],
)
def test_words_that_mean_no_ladder_are_one_message(words, error, message):
    asked = {"dataset": "turbulence2d", "size": "tiny", **words}
    with pytest.raises(error, match=message):
        request(load_catalog(), asked.pop("dataset"), **asked)


def test_points_at_both_ends_of_an_axis_are_shared_by_rungs_of_whole_intervals():
    """33 points from end to end are 32 intervals: every second, fourth, ... point is one of 17, 9, ... points."""
    entry = load_catalog().dataset("topography")
    box = {"extent": (1.0, 1.0), "unit": "km", "centring": "point", "periodic": (False, False), "points": (33, 33)}
    ends = entry.model_copy(update={"grid": entry.grid.model_validate(box), "restriction": "stride"})
    catalog = Catalog(datasets={"topography": ends})
    with pytest.raises(ConfigError, match="rungs 11 do not divide its 33 points, as stride needs") as caught:
        request(catalog, "topography", size="tiny", settings={"rungs": [11, 33]})
    assert caught.value.do == "choose rungs among 5, 9, 17, 33"
    with pytest.raises(ConfigError, match="drawn on squares of cells"):  # the generator's own words: the rungs are well
        request(catalog, "topography", size="tiny", settings={"rungs": [5, 9, 17, 33]})


def test_the_size_on_disk_counts_the_catalogues_samples_and_the_share_that_was_observed():
    wanted = request(load_catalog(), "sevir", size="small", source="sample")
    # 45 sequences of 24 frames, rain and the share beside it, float32, in the file and in the arrays
    points = 23**2 + 46**2 + 92**2 + 184**2
    assert wanted.disk_bytes() == 2 * 4 * 45 * 24 * points * 2
    generated = request(load_catalog(), "sevir", size="small", source="generated")
    assert generated.disk_bytes() == 2 * 4 * (240 + 24 + 32) * 8 * points


def test_a_shorter_interval_that_divides_the_lead_is_the_time_step():
    assert turbulence2d(generator={**TINY["generator"], "interval": 0.125}).spec.time_step == 0.125
    assert radar().spec.time_step == 5.0


def test_a_limit_caps_every_split_and_is_another_ladder():
    plain, limited = turbulence2d(), turbulence2d(limit=1)
    assert limited.options.trajectories == {"train": 1, "validation": 1, "test": 1}
    assert limited.spec.origin["trajectories"] == limited.options.trajectories
    assert limited.spec.digest != plain.spec.digest
    assert limited.disk_bytes() == 3 / 4 * plain.disk_bytes()
    assert turbulence2d(limit=9).spec.digest == plain.spec.digest, "which has no more than that"
    assert radar(limit=1).options.most == {"train": 1, "validation": 1, "test": 1}
    assert radar(limit=3, selection={"most": {"train": 2}}).options.most == {"train": 2, "validation": 3, "test": 3}
    assert request(load_catalog(), "sevir", size="small", settings={"limit": 3}).options.most["test"] == 3


@pytest.mark.parametrize("limit", [0, -1, 1.5, "three", True, [1, 2]])
def test_a_limit_that_is_no_count_is_refused(limit):
    with pytest.raises(ConfigError, match="limit is a whole number from 1 up"):
        turbulence2d(limit=limit)


# -- made once ---------------------------------------------------------------------------------------------------------


def test_the_first_fetch_makes_the_ladder_and_the_second_opens_it(tmp_path, solved):
    wanted = turbulence2d()
    made = fetch(wanted, tmp_path)
    assert fetch(wanted, tmp_path) == made
    assert solved == [turbulence.Options(**wanted.spec.origin).digest]
    assert made.rungs == (8, 16)
    made.verify()


def test_another_setting_is_another_ladder_beside_the_first(tmp_path, solved):
    first = fetch(turbulence2d(), tmp_path)
    second = fetch(turbulence2d(rungs=[4, 8, 16]), tmp_path)
    assert len(solved) == 2
    assert first.folder != second.folder
    first.verify()


def test_the_ladder_holds_the_floor_the_forcing_and_where_it_came_from(tmp_path):
    wanted = turbulence2d()
    ladder = fetch(wanted, tmp_path)
    assert sorted(ladder.floor) == [8, 16]
    assert all(0 <= floor < 0.01 * ladder.array("test", 16, "vorticity").std() for floor in ladder.floor.values())
    y = 2 * np.pi * np.arange(16) / 16
    np.testing.assert_allclose(ladder.static(16)[0], np.broadcast_to(-2 * np.cos(2 * y)[:, None], (16, 16)), atol=1e-5)
    with netCDF4.Dataset(ladder.folder / "test.nc") as nc:
        assert json.loads(nc.generator) == wanted.spec.origin
        assert nc.source == "generated"
        assert nc.display_name == "turbulence2d"
        assert nc.producer.startswith("anchorbench")


def test_all_rungs_of_a_fetched_ladder_come_from_one_truth(tmp_path):
    ladder = fetch(turbulence2d(), tmp_path)
    fine = np.fft.rfft2(ladder.array("test", 16, "vorticity").astype(np.float64)) / 16**2
    coarse = np.fft.rfft2(ladder.array("test", 8, "vorticity").astype(np.float64)) / 8**2
    for ky in range(-3, 4):  # every wave below 4, the Nyquist of r008
        np.testing.assert_allclose(coarse[..., ky, :4], fine[..., ky, :4], atol=1e-6)


def test_force_makes_it_again_and_gives_the_same_numbers(tmp_path, solved):
    before = fetch(turbulence2d(), tmp_path)
    after = fetch(turbulence2d(), tmp_path, force=True)
    assert len(solved) == 2
    assert after.about["splits"] == before.about["splits"]  # digests and all


class Stopped(BaseException):
    """Ctrl-C."""


def test_a_stopped_solve_goes_on_slice_by_slice_to_the_same_ladder(tmp_path, monkeypatch):
    """Four slices of one trajectory: train two, validation one, test one.  Stopped in the second, then in the third."""
    monkeypatch.setattr(turbulence, "SLICE", 1)
    solved = []
    real = turbulence.solve_truth

    def counted(*args, first, seed, **kwargs):
        solved.append((seed, first))
        return real(*args, first=first, seed=seed, **kwargs)

    monkeypatch.setattr(turbulence, "solve_truth", counted)
    wanted = turbulence2d()
    whole = fetch(wanted, tmp_path / "whole")
    every = list(solved)
    assert sorted(every) == [(0, 0), (0, 1), (1_000_000, 0), (2_000_000, 0)], "seed of the split, first trajectory"
    assert [path.name for path in whole.folder.parent.iterdir() if path.is_dir()] == [whole.folder.name]

    solved.clear()
    for after in (1, 2):

        def stop(stage, share, after=after):
            if share > after / 4:  # in the slice that follows
                raise Stopped

        with pytest.raises(Stopped):
            fetch(wanted, tmp_path / "stopped", progress=stop)
    assert solved == [every[0], every[1], every[1], every[2]], "each time only what was not whole"
    split = {0: "train", 1_000_000: "validation", 2_000_000: "test"}[every[0][0]]
    damaged = next((tmp_path / "stopped").rglob(f"*-{split}-{every[0][1]:06d}-1.npz"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    solved.clear()
    ladder = fetch(wanted, tmp_path / "stopped")
    assert solved == [every[0], *every[2:]], "what was kept is not solved again, what is damaged is"
    assert ladder.about["splits"] == whole.about["splits"], "the same bytes, by their SHA-256"
    assert ladder.floor == whole.floor
    assert [path.name for path in ladder.folder.parent.iterdir() if path.is_dir()] == [ladder.folder.name]


def test_a_solve_stopped_while_it_was_written_solves_nothing_again(tmp_path, monkeypatch):
    def stop(stage, share):
        if stage == "writing":
            raise Stopped

    wanted = turbulence2d()
    with pytest.raises(Stopped):
        fetch(wanted, tmp_path, progress=stop)
    monkeypatch.setattr(turbulence, "solve_truth", None)
    monkeypatch.setattr(turbulence, "truth_floor", None)
    assert sorted(fetch(wanted, tmp_path).floor) == [8, 16]


def test_a_solve_whose_slices_cannot_be_kept_ends_all_the_same(tmp_path):
    wanted = turbulence2d()
    folder = ladder_folder(wanted.spec, tmp_path)
    folder.parent.mkdir(parents=True)
    folder.with_name(folder.name + fetch_module.SOLVING).write_text("in the way")
    fetch(wanted, tmp_path).verify()


def test_a_sample_that_is_not_there_yet_is_announced_with_its_download(tmp_path):
    wanted = radar()
    (file,) = wanted.entry.sources["sample"].files
    assert ", a download of up to " in announce(wanted, tmp_path)
    path = cache_path(tmp_path, sha256=file.member.sha256, name=file.member.name)
    path.parent.mkdir(parents=True)
    path.touch()
    assert "download" not in announce(wanted, tmp_path)
    assert "download" in announce(wanted, None), "--force has it again"


def test_progress_names_its_stages_and_rises_within_each(tmp_path):
    told: list[tuple[str, float]] = []
    fetch(turbulence2d(), tmp_path, progress=lambda stage, share: told.append((stage, share)))
    assert list(dict.fromkeys(stage for stage, _ in told)) == ["solving", "writing"]
    for stage in ("solving", "writing"):
        shares = [share for s, share in told if s == stage]
        assert shares == sorted(shares)
        assert shares[-1] == pytest.approx(1.0)


def test_two_who_want_it_at_once_make_it_once(tmp_path, monkeypatch):
    calls, begun = [], threading.Event()
    generate = turbulence.generate

    def slow(*args, **kwargs):
        calls.append(1)
        begun.set()
        second.join(timeout=0.3)  # the other one is well inside its fetch by now
        return generate(*args, **kwargs)

    monkeypatch.setattr(turbulence, "generate", slow)
    wanted = turbulence2d()
    found = []
    first = threading.Thread(target=lambda: found.append(fetch(wanted, tmp_path)))
    second = threading.Thread(target=lambda: (begun.wait(5), found.append(fetch(wanted, tmp_path))))
    second.start()
    first.start()
    first.join()
    second.join()
    assert len(calls) == 1
    assert found[0] == found[1]


# -- real data, by a loader that needs no network ----------------------------------------------------------------------


def test_a_sample_becomes_a_masked_ladder_with_its_provenance(tmp_path, loaded):
    ladder = fetch(radar(), tmp_path)
    assert loaded == [{"crop": 8, "offline": False, "force": False, **RADAR["selection"]}]
    assert ladder.masked
    assert (ladder.rungs, ladder.restriction) == ((2, 4, 8), "block_mean")
    assert ladder.floor == {}
    attrs = ladder.about["attrs"]
    assert attrs["display_name"] == "RADOLAN-YW"
    assert "DWD" in attrs["producer"]
    assert attrs["package"] == "pycomlink"
    assert attrs["missing_share"] == "0.2"
    assert (ladder.valid_area("test", 8) < 1).any()


def test_the_second_fetch_of_a_sample_asks_nobody(tmp_path, loaded):
    fetch(radar(), tmp_path)
    fetch(radar(), tmp_path, offline=True)
    assert len(loaded) == 1


def test_offline_and_force_reach_the_loader(tmp_path, loaded):
    fetch(radar(), tmp_path, offline=True, force=True)
    assert (loaded[0]["offline"], loaded[0]["force"]) == (True, True)


def test_a_download_that_fails_leaves_the_good_copy(tmp_path, loaded, monkeypatch):
    before = fetch(radar(), tmp_path)

    def fail(*args, **kwargs):
        raise DownloadError("no network")

    monkeypatch.setattr(radolan, "load", fail)
    with pytest.raises(DownloadError, match="no network"):
        fetch(radar(), tmp_path, force=True)
    assert open_ladder(radar().spec, tmp_path).about == before.about
    assert fetch(radar(), tmp_path) == before


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_a_damaged_ladder_is_said_and_not_replaced_until_force(tmp_path, solved):
    ladder = fetch(turbulence2d(), tmp_path)
    file = ladder.folder / "train.nc"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(LadderError, match=r"train\.nc is truncated") as caught:
        fetch(turbulence2d(), tmp_path)
    assert "--force" in caught.value.do
    assert len(solved) == 1
    fetch(turbulence2d(), tmp_path, force=True).verify()
    assert len(solved) == 2


def test_a_solver_that_fails_leaves_the_good_copy(tmp_path, monkeypatch):
    before = fetch(turbulence2d(), tmp_path)

    def blow_up(*args, **kwargs):
        raise AnchorbenchError("the flow blew up")

    monkeypatch.setattr(turbulence, "generate", blow_up)
    with pytest.raises(AnchorbenchError, match="blew up"):
        fetch(turbulence2d(), tmp_path, force=True)
    fetch(turbulence2d(), tmp_path).verify()
    assert before.folder.exists()


def test_no_space_is_said_before_any_work(tmp_path, solved, monkeypatch):
    wanted = turbulence2d()
    monkeypatch.setattr(fetch_module, "_free_bytes", lambda folder: wanted.disk_bytes() - 1)
    with pytest.raises(LadderError, match="no space left") as caught:
        fetch(wanted, tmp_path)
    assert "--cache" in caught.value.do
    assert solved == []
    assert not ladder_folder(wanted.spec, tmp_path).exists()


def test_a_ladder_that_is_there_needs_no_space(tmp_path, monkeypatch):
    fetch(turbulence2d(), tmp_path)
    monkeypatch.setattr(fetch_module, "_free_bytes", lambda folder: 0)
    fetch(turbulence2d(), tmp_path)


def test_a_cache_that_cannot_be_written_is_said_before_any_work(tmp_path, solved):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(LadderError, match="could not be written"):
        fetch(turbulence2d(), tmp_path / "file")
    assert solved == []


def test_free_space_is_that_of_the_nearest_folder_that_exists(tmp_path):
    free = fetch_module._free_bytes(tmp_path)
    assert fetch_module._free_bytes(tmp_path / "not" / "yet" / "there") == pytest.approx(free, rel=0.1)


def size_on_disk(folder) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_the_estimate_is_what_the_ladder_and_its_arrays_take(tmp_path):
    many = {"trajectories": {"train": 60, "validation": 10, "test": 10}, "floor_windows": 0}
    short = {"spin_up_time": 0.0, "settle_time": 0.0}
    wanted = turbulence2d(generator={**TINY["generator"], **many, **short})
    ladder = fetch(wanted, tmp_path)
    for split in SPLITS:
        for rung in ladder.rungs:
            ladder.array(split, rung, "vorticity")
    # 80 samples of 3 frames of 8² + 16² float32, in the file and in the arrays: 614 400 bytes, and HDF5's own
    assert wanted.disk_bytes() == 2 * 4 * 80 * 3 * (8**2 + 16**2)
    assert wanted.disk_bytes() <= size_on_disk(ladder.folder) < 1.5 * wanted.disk_bytes()
