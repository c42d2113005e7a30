"""comephore, public: a month's tar read while it comes, its hours kept, and what a host can do to it."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest

from anchorbench.config import validated
from anchorbench.data import download as download_module
from anchorbench.data.catalog import Catalog
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import fetch, request
from anchorbench.data.rain_maps import VARIABLE
from anchorbench.data.sources import Ask, comephore
from anchorbench.data.sources.comephore import Options, hour_of
from anchorbench.errors import ConfigError, DownloadError
from anchorbench.fields import Grid

rasterio = pytest.importorskip("rasterio")

JUNE, MAY = "/H_COMEPHORE_202206.tar", "/H_COMEPHORE_202205.tar"
HOUR = np.timedelta64(3600, "s")
BLOCKS = {"frames": 3, "period": 4, "gap": 1, "turns": ["train", "test", "validation"], "wet_share": 0.0}
#: A polar stereographic projection with its own earth, as national mosaics have them.
POLAR = "+proj=stere +lat_0=90 +lat_ts=45 +lon_0=0 +a=6378137 +b=6356752.3142 +units=m"


def geotiff(codes: np.ndarray, *, crs: str = POLAR, dtype: str = "uint16") -> bytes:
    """One hour: uint16, north up, no missing code declared."""
    place = rasterio.transform.Affine(1000.0, 0.0, -619652.0, 0.0, -1000.0, -3526818.0)
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff", dtype=dtype, count=1, height=codes.shape[0], width=codes.shape[1], crs=crs,
            transform=place, compress="deflate",
        ) as tif:  # fmt: skip
            tif.write(codes.astype(dtype), 1)
        return bytes(memory.read())


def month_of(hours: dict[str, bytes], *, folder: str = "2022/") -> bytes:
    """The month's tar: of each hour the rain, its error and its quality, in this order."""
    buffer = io.BytesIO()
    error, quality = geotiff(np.full((10, 12), 9)), geotiff(np.full((10, 12), 77), dtype="uint8")
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, rain in hours.items():
            for ending, content in {"_RR": rain, "_ERR": error, "_QUALIF": quality}.items():
                info = tarfile.TarInfo(f"{folder}{name}{ending}.gtif")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def names(month: str, n: int) -> list[str]:
    return [f"{month}{1 + h // 24:02d}{h % 24:02d}" for h in range(n)]


@pytest.fixture(scope="module")
def hours() -> tuple[np.ndarray, dict[str, bytes]]:
    """24 hours of 10 x 12 cells, decoded and as files; the northern row is out of range."""
    codes = np.random.default_rng(6).integers(0, 90, (24, 10, 12)).astype(np.uint16)
    codes[:, 0] = 65535
    return codes, dict(zip(names("202206", 24), map(geotiff, codes), strict=True))


@pytest.fixture(scope="module")
def june(hours) -> bytes:
    return month_of(hours[1])


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


@pytest.fixture
def asked(tmp_path, host, june, catalog):
    """The catalogue's public source at the loopback host, which has a month; returns what asks for it."""
    host.files[JUNE] = june
    wanted = request(catalog, "comephore", size="full", source="public")
    urls = {name: host.url(folder + "H_COMEPHORE_{month}.tar") for name, folder in (("archive", ""), ("mirror", "m/"))}
    source = wanted.described.model_copy(update={"urls": urls})
    size = wanted.size.model_copy(update={"crop": 8, "rungs": (8,)})
    finest = Grid((8, 8), (8.0, 8.0), "cell", periodic=(False, False))

    def ask(*, folder: str = "cache", offline: bool = False, progress=None, **options) -> Ask:
        chosen = validated(Options, {"months": "2022-06", **BLOCKS, **options}, where="comephore selection")
        return Ask(wanted.entry, source, chosen, size, finest, tmp_path / folder, offline=offline, progress=progress)

    return ask


def test_the_rain_of_a_month_comes_as_blocks_of_time(asked, hours):
    shares: list[tuple[str, float]] = []
    loaded = comephore.load(asked(progress=lambda stage, share: shares.append((stage, share))))
    # periods of 4 h, turns T E V T E V, each less an hour of gap but the last: 3 or 4 hours hold one sequence of 3
    assert {split: f.n_samples for split, f in loaded.splits.items()} == {"train": 2, "test": 2, "validation": 2}
    test = loaded.splits["test"]
    assert test.times[0].tolist() == [np.datetime64(f"2022-06-01T0{h}:00:00").item() for h in (4, 5, 6)]
    # rows 0 to 8 from the south are measured; of the squares of 8 the one from row 1 is nearest the centre
    truth = hours[0][4:7, ::-1][:, 1:9, 2:10]
    np.testing.assert_allclose(test.values[VARIABLE][0], truth / 10, rtol=1e-6)
    assert test.valid is None
    assert loaded.attrs["months"] == "2022-06"
    assert loaded.attrs["address"] == "2022-06: archive"
    assert "Polar_Stereographic" in loaded.attrs["projection"]
    assert not [value for value in loaded.attrs.values() if "http" in value or "127.0.0.1" in value]
    assert shares[-1][0] == "downloading"


def test_neither_error_nor_quality_is_taken_for_rain(asked):
    values = np.concatenate([f.values[VARIABLE] for f in comephore.load(asked()).splits.values()])
    assert not (values == np.float32(7.7)).all(axis=(2, 3)).any()
    assert len({frame.tobytes() for frame in values.reshape(-1, 8, 8)}) == 18  # each hour once


def test_only_as_many_hours_are_read_as_are_asked_for(asked, tmp_path):
    loaded = comephore.load(asked(hours=12))
    assert loaded.attrs["hours"] == "12"
    assert loaded.attrs["record_end"] == "2022-06-01T11:00:00"
    kept = sorted(path.name.split("-", 1)[1] for path in (tmp_path / "cache").rglob("*.gtif"))
    assert kept == [f"{name}_RR.gtif" for name in names("202206", 12)]


def test_the_second_fetch_is_offline_and_the_same_and_a_longer_one_goes_on(asked, host):
    first = comephore.load(asked(hours=12))
    n = len(host.asked)
    again = comephore.load(asked(hours=12, offline=True))
    assert len(host.asked) == n
    for split, fields in first.splits.items():
        np.testing.assert_array_equal(again.splits[split].values[VARIABLE], fields.values[VARIABLE])
    assert comephore.load(asked()).attrs["hours"] == "24"
    assert host.asked[-1][1] is not None  # it asked for the rest alone


def test_a_connection_that_breaks_off_is_taken_up_where_it_was(asked, host, june):
    host.breaks = [30_000, None]
    assert comephore.load(asked()).attrs["hours"] == "24"
    assert host.requests_of(JUNE) == [None, host.asked[-1][1]]
    begun = int(host.asked[-1][1].removeprefix("bytes=").removesuffix("-"))
    assert 25_000 < begun < 31_000  # the member's beginning, or the end of its padding
    assert host.sent < len(june) + 5_000


def test_a_host_without_ranges_is_read_from_the_beginning(asked, host):
    host.ranges, host.breaks = False, [30_000, None]
    assert comephore.load(asked()).attrs["hours"] == "24"


def test_an_interrupted_fetch_keeps_its_hours(asked, host, tmp_path):
    host.breaks, host.ranges = [30_000] * 30, False
    with pytest.raises(DownloadError, match="COMEPHORE of 2022-06"):
        comephore.load(asked())
    kept = list((tmp_path / "cache").rglob("*_RR.gtif"))
    assert kept
    assert not list((tmp_path / "cache").rglob("*.part"))
    host.breaks, host.ranges = [], True
    stamps = {path: path.stat().st_mtime_ns for path in kept}
    assert comephore.load(asked()).attrs["hours"] == "24"
    assert {path: path.stat().st_mtime_ns for path in kept} == stamps


@pytest.mark.parametrize("status", [403, 404, 416])
def test_a_status_that_will_not_pass_is_one_error_without_the_address(asked, host, status):
    host.statuses = [status] * 2  # the archive and its mirror
    with pytest.raises(DownloadError, match=f"COMEPHORE of 2022-06 could not be fetched: .*{status}") as caught:
        comephore.load(asked())
    assert "127.0.0.1" not in str(caught.value)
    assert len(host.asked) == 2


def test_a_server_that_stumbles_is_asked_again(asked, host):
    host.statuses = [500, 503]
    assert comephore.load(asked()).attrs["hours"] == "24"


def test_a_host_that_does_not_answer_in_time_is_one_error(asked, host, monkeypatch):
    from anchorbench.data import remote_tar

    host.delay = 0.3
    monkeypatch.setattr(remote_tar, "TIMEOUT", (0.1, 0.05))
    monkeypatch.setattr(download_module, "TRIES", 2)
    with pytest.raises(DownloadError, match="no answer in time"):
        comephore.load(asked())


def test_the_mirror_is_asked_where_the_first_address_refuses(asked, host, june):
    host.files["/m" + JUNE] = host.files.pop(JUNE)
    loaded = comephore.load(asked())
    assert loaded.attrs["address"] == "2022-06: mirror"
    assert loaded.attrs["hours"] == "24"


def test_offline_an_unknown_month_says_so(asked, host):
    with pytest.raises(DownloadError, match="offline mode"):
        comephore.load(asked(offline=True))
    assert host.asked == []


def test_a_tar_that_ends_before_its_end_is_refused_and_keeps_what_it_had(asked, host, june, tmp_path):
    host.files[JUNE] = june[:40_000]
    with pytest.raises(DownloadError, match="COMEPHORE of 2022-06"):
        comephore.load(asked())
    assert list((tmp_path / "cache").rglob("*_RR.gtif"))


def test_hours_on_another_grid_are_refused(asked, host, hours):
    codes, files = hours[0], dict(hours[1])
    files["2022060107"] = geotiff(codes[7], crs="EPSG:2154")
    host.files[JUNE] = month_of(files)
    with pytest.raises(DownloadError, match=r"2022060107_RR\.gtif is on another grid"):
        comephore.load(asked())
    files["2022060107"] = geotiff(codes[7][:, :10])
    host.files[JUNE] = month_of(files)
    with pytest.raises(DownloadError, match="another grid"):
        comephore.load(asked(folder="other"))


def test_an_hour_of_another_type_is_refused_as_soon_as_it_comes(asked, host, hours, tmp_path):
    codes, files = hours[0], dict(hours[1])
    files["2022060102"] = geotiff(codes[2], dtype="float32")
    host.files[JUNE] = month_of(files)
    with pytest.raises(DownloadError, match=r"2022060102_RR\.gtif is packed as .*float32"):
        comephore.load(asked())
    assert len(list((tmp_path / "cache").rglob("*_RR.gtif"))) == 3


def test_a_missing_hour_ends_a_sequence(asked, host, hours):
    files = dict(hours[1])
    del files["2022060105"]  # in the first test block, 4 to 6
    host.files[JUNE] = month_of(files)
    loaded = comephore.load(asked())
    assert loaded.splits["test"].times[:, 0].tolist() == [np.datetime64("2022-06-01T16:00:00").item()]
    assert loaded.attrs["hours_missing_between"] == "1"


def test_two_months_are_one_record_in_the_order_of_time(asked, host, hours):
    files = list(hours[1].values())
    host.files[MAY] = month_of({f"20220531{12 + i}": content for i, content in enumerate(files[:12])})
    loaded = comephore.load(asked(months=["2022-06", "2022-05"], hours=12))
    assert loaded.attrs["record_start"] == "2022-05-31T12:00:00"
    assert loaded.attrs["record_end"] == "2022-06-01T11:00:00"
    assert loaded.attrs["hours_missing_between"] == "0"  # midnight is the first hour of June's archive
    assert loaded.attrs["address"] == "2022-05: archive, 2022-06: archive"


def test_an_archive_without_rain_says_so(asked, host):
    host.files[JUNE] = month_of({})
    with pytest.raises(DownloadError, match=r"COMEPHORE of 2022-06 holds no file named YYYYMMDDHH_RR\.gtif"):
        comephore.load(asked())


def test_the_name_is_the_end_of_the_hour_and_another_name_is_refused():
    assert hour_of("2022/2022063023_RR.gtif") == np.datetime64("2022-06-30T23:00:00")
    for name in ("2022063025_RR.gtif", "2022023012_RR.gtif", "2022063012_ERR.gtif"):
        with pytest.raises(DownloadError, match="is not named as an hour of COMEPHORE"):
            hour_of(name)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"months": "2022-13"}, "months"),
        ({"months": "June"}, "months"),
        ({"months": []}, "months"),
        ({"months": ["2022-06", "2022-06"]}, "names each month once"),
        ({"hours": 1}, "hours"),
    ],
)
def test_a_selection_that_cannot_be_is_named(options, words):
    with pytest.raises(ConfigError, match=words):
        validated(Options, options, where="comephore selection")


def test_a_month_may_stand_alone_in_a_setting_and_changes_the_ladder(catalog):
    digests = set()
    for settings in ({}, {"months": "2022-01"}, {"months": ["2022-01"]}, {"hours": 48}):
        wanted = request(catalog, "comephore", size="full", settings=settings)
        digests.add(wanted.spec.digest)
    assert len(digests) == 3
    assert wanted.source == "public"
    assert wanted.display_name == "COMEPHORE"


def test_from_the_catalogue_to_a_ladder_with_its_missing_cells_masked(host, hours, catalog, tmp_path):
    codes, files = hours[0].copy(), dict(hours[1])
    codes[9, 5, 5] = 65535  # a hole in the hour 09
    files["2022060109"] = geotiff(codes[9])
    host.files[JUNE] = month_of(files)
    entry = catalog.dataset("comephore")
    source = entry.sources["public"].model_copy(update={"urls": {"archive": host.url("H_COMEPHORE_{month}.tar")}})
    entry = entry.model_copy(update={"sources": {**entry.sources, "public": source}})
    settings = {"rungs": [2, 4, 8], "crop": 8, "months": "2022-06", **BLOCKS}
    wanted = request(
        Catalog.model_construct(datasets={"comephore": entry}), "comephore", size="full", settings=settings
    )
    ladder = fetch(wanted, tmp_path / "cache")
    assert ladder.rungs == (2, 4, 8)
    assert ladder.about["attrs"]["display_name"] == "COMEPHORE"
    assert "Etalab" in ladder.about["attrs"]["terms"]
    # hours 8 to 10 are the first validation sequence; the hole is row 5 from the north: 4 from the south, 3 of the crop
    area = ladder.array("validation", 8, "valid_area")
    assert np.argwhere(np.asarray(area) == 0).tolist() == [[0, 1, 3, 3]]
    assert ladder.array("validation", 2, "valid_area")[0, 1].reshape(2, 2)[0, 0] == pytest.approx(15 / 16)
