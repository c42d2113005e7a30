"""Public files over HTTP, whole, in part and out of a tar, from hosts that are slow, break off, change or refuse."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anchorbench.data import at_once as at_once_module
from anchorbench.data import download as download_module
from anchorbench.data import remote_parts, remote_tar
from anchorbench.data.at_once import at_once, jobs_at_once
from anchorbench.data.download import noted, watched
from anchorbench.data.remote import RemoteFile, get_file, get_files, open_ranges, stream_tar, url_folder
from anchorbench.data.remote_parts import file_name
from anchorbench.errors import AnchorbenchError, DownloadError

SECRET = "s3cret"


@pytest.fixture
def web(serve):
    """A host of files with ETags, that can redirect, refuse, break off and be slow."""
    host = serve()
    host.tags, host.unbroken = True, 0
    return host


def url(web, path: str) -> str:
    """An address with two secrets."""
    return web.url(f"{path}?token={SECRET}", user=f"me:{SECRET}@")


@pytest.fixture
def get(web, noise, tmp_path):
    web.files["/set/field.h5"] = noise

    def call(**options):
        return get_file(url(web, "set/field.h5"), tmp_path, **{"what": "field.h5 of a set", **options})

    return call


@pytest.fixture
def impatient(monkeypatch):
    for module in (download_module, remote_parts, remote_tar):
        monkeypatch.setattr(module, "TIMEOUT", (1.0, 0.1))


def left_in(folder) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock")}


def is_one_line_without_the_address(error: DownloadError) -> bool:
    return "\n" not in error.what and not any(word in str(error) for word in (SECRET, "127.0.0.1", "http"))


# -- a whole file ------------------------------------------------------------------------------------------------------


def test_a_file_arrives_whole_under_its_address_without_the_password(get, web, noise, tmp_path):
    path = get()
    address = f"http://127.0.0.1:{web.port}/set/field.h5?token={SECRET}"
    assert path == tmp_path / "files" / f"url-{hashlib.sha256(address.encode()).hexdigest()}" / "field.h5"
    assert path.read_bytes() == noise
    assert left_in(tmp_path) == {"field.h5", ".field.h5.json"}
    assert SECRET not in path.with_name(".field.h5.json").read_text()


def test_a_second_call_touches_no_network_and_offline_takes_what_is_there(get, web, monkeypatch):
    get()
    monkeypatch.setenv("ANCHORBENCH_OFFLINE", "1")
    get()
    assert len(web.asked) == 1


def test_an_identity_stands_for_an_address_that_holds_a_token(get, tmp_path):
    assert get(identity="jhtdb 1:64").parent == url_folder(tmp_path, "jhtdb 1:64")


def test_a_file_that_broke_off_goes_on_if_it_is_still_the_same(get, web, noise):
    web.breaks = [150_000]
    assert get().read_bytes() == noise
    (_, first), (_, second) = web.asked
    mark = web.marks[1]
    assert (first, second) == (None, "bytes=150000-")
    assert mark == f'"{hashlib.md5(noise).hexdigest()}"'
    assert web.sent == len(noise)


def test_a_file_that_changed_between_two_halves_is_fetched_anew(get, web, noise):
    web.breaks = [150_000] + [0] * download_module.TRIES
    with pytest.raises(DownloadError, match="broke off"):
        get()
    web.breaks, web.files["/set/field.h5"] = [], noise[::-1]
    assert get().read_bytes() == noise[::-1]


@pytest.mark.parametrize(("checksum", "resumed"), [(False, False), (True, True)])
def test_a_beginning_of_unknown_version_is_kept_only_where_a_checksum_will_tell(get, web, noise, checksum, resumed):
    web.tags, web.breaks = False, [150_000] + [0] * download_module.TRIES
    promise = {"checksum": f"md5:{hashlib.md5(noise).hexdigest()}"} if checksum else {}
    with pytest.raises(DownloadError, match="broke off"):
        get(**promise)
    before = len(web.asked)
    web.breaks = []
    assert get(**promise).read_bytes() == noise
    assert web.ranges_asked[before:] == (["bytes=150000-"] if resumed else [None])


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_another_checksum_names_both_and_leaves_nothing(get, noise, algorithm, tmp_path):
    found = hashlib.new(algorithm, noise).hexdigest()
    assert get(checksum=f"{algorithm}:{found}").read_bytes() == noise
    wrong = "0" * len(found)
    with pytest.raises(DownloadError, match=f"{wrong}, found {found}"):
        get(checksum=f"{algorithm}:{wrong}", name="other")
    assert left_in(tmp_path) == {"field.h5", ".field.h5.json"}


def test_a_beginning_of_another_file_is_found_out_by_the_checksum_and_fetched_once_more(get, web, noise, tmp_path):
    folder = url_folder(tmp_path, url(web, "set/field.h5"))
    folder.mkdir(parents=True)
    (folder / ".field.h5.part").write_bytes(b"x" * 1000)
    assert get(checksum=f"sha256:{hashlib.sha256(noise).hexdigest()}").read_bytes() == noise


def test_another_size_than_promised_is_said_before_a_byte_is_kept(get, tmp_path):
    with pytest.raises(DownloadError, match="has 400000 bytes at the host, not the promised 5"):
        get(size=5)
    assert left_in(tmp_path) == set()


@pytest.mark.parametrize(("status", "tries"), [(403, 1), (404, 1), (410, 1), (500, download_module.TRIES)])
def test_a_refusal_is_one_line_without_the_address(get, web, status, tries, tmp_path):
    web.statuses = [status] * 20
    with pytest.raises(DownloadError, match=f"field.h5 of a set could not be fetched: the host answered {status}") as c:
        get()
    assert is_one_line_without_the_address(c.value)
    assert len(web.asked) == tries
    assert left_in(tmp_path) == set()


def test_a_file_that_shrank_at_the_host_is_fetched_anew(get, web, noise, tmp_path):
    folder = url_folder(tmp_path, url(web, "set/field.h5"))
    folder.mkdir(parents=True)
    (folder / ".field.h5.part").write_bytes(noise + b"more")
    (folder / ".field.h5.mark").write_text(f'"{hashlib.md5(noise).hexdigest()}"')  # so that the host answers 416
    assert get().read_bytes() == noise
    assert web.ranges_asked == ["bytes=400004-", None]


def test_a_host_that_falls_silent_is_one_line(get, web, impatient):
    web.delay = 0.3
    with pytest.raises(DownloadError, match="no answer in time") as caught:
        get()
    assert is_one_line_without_the_address(caught.value)


def test_a_slow_host_is_waited_for_and_its_bytes_are_told(get, web, noise):
    web.pause = 0.02
    told: list[int] = []
    watched_too: list[tuple[str, int, int | None]] = []
    with watched(lambda *news: watched_too.append(news)):
        assert get(progress=lambda done, total: told.append(done)).read_bytes() == noise
    assert told == sorted(told)
    assert watched_too[-1] == ("field.h5 of a set", 400_000, 400_000)


def test_redirects_are_followed_and_the_name_is_of_the_address_that_was_asked(web, noise, tmp_path):
    web.files["/bucket/signed"], web.redirects["/api/164685"] = noise, "/bucket/signed"
    assert get_file(url(web, "api/164685"), tmp_path, what="a file").name == "164685"


def test_redirects_without_end_are_one_line(web, tmp_path):
    web.redirects["/a"] = "/a"
    with pytest.raises(DownloadError, match="the host redirects without end") as caught:
        get_file(url(web, "a"), tmp_path, what="a file")
    assert is_one_line_without_the_address(caught.value)


def test_offline_names_what_is_missing_and_asks_nobody(get, web):
    with pytest.raises(DownloadError, match=r"field\.h5 of a set is not in the cache"):
        get(offline=True)
    assert web.asked == []


def test_a_copy_put_there_by_hand_is_taken_if_it_is_the_promised_one(get, web, noise, tmp_path):
    path = url_folder(tmp_path, url(web, "set/field.h5")) / "field.h5"
    path.parent.mkdir(parents=True)
    path.write_bytes(noise)
    promise = {"checksum": f"md5:{hashlib.md5(noise).hexdigest()}", "size": len(noise)}
    assert get(offline=True, **promise) == path
    path.write_bytes(noise[::-1])
    with pytest.raises(DownloadError, match="offline"):
        get(offline=True, **promise)


def test_a_file_that_was_altered_in_the_cache_is_fetched_anew(get, noise):
    path = get()
    path.write_bytes(noise[::-1])
    assert get().read_bytes() == noise


def test_force_fetches_again_and_keeps_the_good_copy_until_the_new_one_is_whole(get, web, noise):
    path = get()
    web.statuses = [404]
    with pytest.raises(DownloadError, match="404"):
        get(force=True)
    assert path.read_bytes() == noise
    web.files["/set/field.h5"] = noise[::-1]
    assert get(force=True).read_bytes() == noise[::-1]


@pytest.mark.parametrize("ending", ["../../etc/passwd", "%2e%2e%2f%2e%2e", ".hidden", "", "a b;c"])
def test_a_name_that_the_address_gives_stays_in_its_folder(ending):
    name = file_name(f"http://127.0.0.1/{ending}")
    assert name
    assert "/" not in name
    assert not name.startswith(".")


# -- several at once ---------------------------------------------------------------------------------------------------


def several(web, n: int = 6) -> list[RemoteFile]:
    for i in range(n):
        web.files[f"/{i}"] = bytes([i]) * 100_000
    return [RemoteFile(url(web, str(i)), f"file {i}", size=100_000) for i in range(n)]


def test_several_files_come_at_once_in_their_order_and_their_bytes_add_up(web, tmp_path):
    web.delay = 0.05
    told: list[tuple[int, int | None]] = []
    files = several(web)
    with noted() as used:
        paths = get_files(files, tmp_path, jobs=3, progress=lambda *news: told.append(news))
    assert [path.read_bytes()[0] for path in paths] == [0, 1, 2, 3, 4, 5]
    assert web.peak == 3
    assert max(told) == (600_000, 600_000)
    assert used == set(paths), "what other threads fetch is noted too"
    with jobs_at_once(1):
        get_files(files, tmp_path, force=True)
    assert SECRET not in repr(files)


def test_one_that_fails_does_not_lose_the_others(web, tmp_path):
    files = several(web)
    del web.files["/2"]
    with pytest.raises(DownloadError, match="file 2 could not be fetched: the host answered 404"):
        get_files(files, tmp_path, jobs=2)
    assert sorted(path.name for path in tmp_path.rglob("[0-9]")) == ["0", "1", "3", "4", "5"]


def test_a_bug_in_one_is_raised_and_stops_the_others():
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        at_once([broken, lambda: time.sleep(0.01)], jobs=2)


def test_outcomes_stand_in_order_with_the_errors_in_their_places():
    def fail() -> int:
        raise AnchorbenchError("no")

    for jobs in (1, 3):
        one, error, three = at_once([lambda: 1, fail, lambda: 3], jobs=jobs)
        assert (one, three) == (1, 3)
        assert str(error) == "no"
    assert at_once([]) == []


def test_ctrl_c_stops_all_at_once_and_keeps_what_is_there(web, tmp_path, monkeypatch):
    monkeypatch.setattr(at_once_module, "PATIENCE", 1.0)
    web.files |= {f"/{i}": bytes(2_000_000) for i in range(2)}
    web.pause = 0.05
    interrupt = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        get_files([RemoteFile(url(web, str(i)), f"file {i}") for i in range(2)], tmp_path, jobs=2)
    assert time.monotonic() - began < 1.5, "2 s of pauses were left"
    assert len(list(tmp_path.rglob(".*.part"))) == 2
    web.pause = 0.0
    get_files([RemoteFile(url(web, str(i)), f"file {i}") for i in range(2)], tmp_path, jobs=2)
    assert all(byte_range and not byte_range.startswith("bytes=0-") for byte_range in web.ranges_asked[2:])


@pytest.mark.slow
def test_two_processes_fetch_a_file_once(web, noise, tmp_path):
    web.files["/field.h5"], web.pause = noise, 0.1  # nearly a second in all
    code = (
        "import sys; from pathlib import Path; from anchorbench.data.remote import get_file\n"
        "print(get_file(sys.argv[1], Path(sys.argv[2]), what='f').stat().st_size)"
    )
    command = [sys.executable, "-c", code, url(web, "field.h5"), str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in both] == ["400000", "400000"]
    assert len(web.asked) == 1


# -- a file that is read in part ---------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.tuples(st.integers(0, 10_050), st.integers(0, 4_000)), min_size=1, max_size=8))
def test_any_part_of_a_file_is_what_it_is(web, places):
    content = np.random.default_rng(0).bytes(10_007)
    web.files["/x"], web.sent = content, 0
    with open_ranges(url(web, "x"), what="x", block=512) as file:
        assert file.size == 10_007
        for begin, n in places:
            file.seek(begin)
            assert file.read(n) == content[begin : begin + n]
        file.seek(-7, io.SEEK_END)
        assert file.read() == content[-7:]
    assert web.sent <= len(content) + 512, "no block twice"


@pytest.fixture
def volume(web):
    """A chunked HDF5 file of 8 MB and the field in it."""
    h5py = pytest.importorskip("h5py")
    values = np.random.default_rng(1).random((64, 128, 128))
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("vil", data=values, chunks=(1, 128, 128))
    web.files["/volume.h5"] = buffer.getvalue()
    return values


def test_h5py_reads_one_event_for_a_small_part_of_the_file(web, volume):
    import h5py

    with open_ranges(url(web, "volume.h5"), what="a volume", block=1 << 16) as remote, h5py.File(remote, "r") as file:
        np.testing.assert_array_equal(file["vil"][40], volume[40])
    assert web.sent < 0.15 * len(web.files["/volume.h5"])


def test_reading_on_asks_for_more_at_a_time(web, noise):
    web.files["/x"] = noise  # 98 blocks of 4096
    with open_ranges(url(web, "x"), what="x", block=4096) as file:
        while file.read(4096):
            pass
    assert len(web.asked) <= 3 + 98 / remote_parts.AHEAD + 1
    assert web.sent == len(noise)


def test_blocks_are_kept_for_the_next_time_and_for_offline(web, volume, tmp_path):
    import h5py

    asked: list[int] = []
    for offline in (False, False, True):
        with open_ranges(url(web, "volume.h5"), what="a volume", cache=tmp_path, offline=offline) as remote:
            np.testing.assert_array_equal(h5py.File(remote, "r")["vil"][3], volume[3])
        asked.append(len(web.asked))
    assert asked[0] == asked[1] == asked[2], "the first time only"
    with open_ranges(url(web, "volume.h5"), what="a volume", cache=tmp_path, offline=True) as remote:
        remote.seek(7_000_000)
        with pytest.raises(DownloadError, match="a part of a volume is not in the cache, and this is offline"):
            remote.read(10)
    with pytest.raises(DownloadError, match="offline"):
        open_ranges(url(web, "other.h5"), what="another", cache=tmp_path, offline=True)


def test_parts_that_break_off_are_asked_for_again_from_the_last_whole_block(web, noise):
    web.files["/x"] = noise
    with open_ranges(url(web, "x"), what="x", block=10_000) as file:
        web.breaks = [25_000, 0]
        assert file.read(100_000) == noise[:100_000]
    assert web.ranges_asked[1:] == ["bytes=10000-99999", "bytes=30000-99999", "bytes=30000-99999"]


@pytest.mark.parametrize("status", [403, 404, 416, 500])
def test_a_refused_part_is_one_line_without_the_address(web, noise, status):
    web.statuses = [status] * 20
    with pytest.raises(DownloadError, match=f"x could not be fetched: the host answered {status}") as caught:
        open_ranges(url(web, "x"), what="x")
    assert is_one_line_without_the_address(caught.value)


def test_a_host_without_parts_is_one_line(web, noise):
    web.files["/x"], web.ranges = noise, False
    with pytest.raises(DownloadError, match="its host sends no parts of files") as caught:
        open_ranges(url(web, "x"), what="x")
    assert is_one_line_without_the_address(caught.value)


def test_a_host_that_falls_silent_between_two_parts_is_one_line(web, noise, impatient):
    web.files["/x"] = noise
    with open_ranges(url(web, "x"), what="x", block=1000) as file:
        web.delay = 0.3
        with pytest.raises(DownloadError, match="x could not be fetched: no answer in time"):
            file.read(5000)


def test_a_file_that_changes_while_it_is_read_is_no_mixture(web, noise, tmp_path):
    web.files["/x"] = noise
    with open_ranges(url(web, "x"), what="x", block=1000, cache=tmp_path) as file:
        web.files["/x"] = noise[::-1]
        with pytest.raises(DownloadError, match="x has changed at its host"):
            file.read(5000)
    with open_ranges(url(web, "x"), what="x", block=1000, cache=tmp_path, force=True) as file:
        assert file.read(5000) == noise[::-1][:5000]


def test_an_address_that_a_redirect_led_to_may_expire(web, noise):
    web.files["/signed"], web.redirects["/x"] = noise, "/signed"
    with open_ranges(url(web, "x"), what="x", block=1000) as file:
        file.seek(50_000)
        file.read(10)
        assert [path.partition("?")[0] for path, _ in web.asked] == ["/x", "/signed", "/signed"], (
            "the second part goes straight there"
        )
        web.statuses = [403]
        file.seek(90_000)
        assert file.read(10) == noise[90_000:90_010]
    assert [path.partition("?")[0] for path, _ in web.asked][3:] == ["/signed", "/x", "/signed"]


def test_what_h5py_hides_is_still_to_be_had(web, volume):
    import h5py

    with open_ranges(url(web, "volume.h5"), what="a volume", block=1 << 16) as remote, h5py.File(remote, "r") as file:
        web.statuses = [403] * 20
        with pytest.raises((OSError, DownloadError)):
            file["vil"][40]
        assert remote.trouble.what == "a volume could not be fetched: the host answered 403"


# -- a tar while it comes ----------------------------------------------------------------------------------------------


def tar_of(members: dict[str, bytes], *, end: bool = True) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    whole = buffer.getvalue()
    return whole if end else whole.rstrip(b"\0") + b"\0" * 8


SUBJECTS = {f"IXI{i:03d}-Guys-T1.nii.gz": np.random.default_rng(i).bytes(300_000 + i) for i in range(8)}


@pytest.fixture
def ixi(web, tmp_path):
    web.files["/IXI-T1.tar"] = tar_of(SUBJECTS)

    def call(**options):
        return stream_tar(url(web, "IXI-T1.tar"), tmp_path, **{"what": "IXI-T1.tar", **options})

    return call


def first(n, members):
    found = {}
    for name, path in members:
        found[name] = path.read_bytes()
        if len(found) == n:
            break
    return found


def some(n: int) -> dict[str, bytes]:
    return dict(list(SUBJECTS.items())[:n])


def test_all_members_come_in_their_order(ixi):
    assert list(first(99, ixi()).items()) == list(SUBJECTS.items())


def test_who_stops_early_fetches_little_and_the_next_call_goes_on(ixi, web):
    web.pause = 0.01  # so that the host has not sent all before we leave off
    assert first(2, ixi()) == some(2)
    assert web.sent < 5 * 300_000
    assert first(2, ixi(offline=True)) == some(2)
    assert len(web.asked) == 1
    assert first(4, ixi()) == some(4)
    begin = int(web.asked[1][1].removeprefix("bytes=").rstrip("-"))
    assert 600_000 < begin < 620_000, "after the two members that are there"


def test_offline_a_tar_gives_what_was_kept_and_names_what_was_not(ixi):
    first(3, ixi())
    kept = ixi(offline=True)
    assert [next(kept)[0] for _ in range(3)] == list(SUBJECTS)[:3]
    with pytest.raises(DownloadError, match=r"the rest of IXI-T1\.tar is not in the cache, and this is offline mode"):
        next(kept)


def test_a_tar_that_was_read_to_its_end_needs_no_network_again(ixi, web):
    first(99, ixi())
    asked = len(web.asked)
    assert first(99, ixi(offline=True)) == SUBJECTS
    assert len(web.asked) == asked


def test_unwanted_members_are_not_kept_and_large_ones_are_jumped_over(web, tmp_path):
    large = {"a_ERR": bytes(5_000_000), "a_RR": b"rain", "b_ERR": bytes(5_000_000), "b_RR": b"more rain"}
    web.files["/c.tar"] = tar_of(large)

    def rain(name: str) -> bool:
        return name.endswith("_RR")

    found = dict(stream_tar(url(web, "c.tar"), tmp_path, what="c.tar", wanted=rain))
    assert {name: path.read_bytes() for name, path in found.items()} == {"a_RR": b"rain", "b_RR": b"more rain"}
    assert not any(name.endswith("_ERR") for name in left_in(tmp_path))
    assert all(entry is None or entry.startswith("bytes=") for entry in web.ranges_asked)
    assert len(web.asked) == 3
    both = dict(stream_tar(url(web, "c.tar"), tmp_path, what="c.tar"))
    assert {name: path.read_bytes() for name, path in both.items()} == large, "what was not wanted then is had now"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_tar_whose_connection_breaks_off_is_whole_all_the_same(ixi, web, ranges):
    web.ranges, web.breaks = ranges, [450_000, 1_200_000 if not ranges else 800_000]
    assert first(99, ixi()) == SUBJECTS


def test_a_tar_that_always_breaks_off_is_one_line_and_keeps_what_came(ixi, web):
    web.breaks = [450_000] + [0] * 20
    members = ixi()
    next(members)
    with pytest.raises(DownloadError, match=r"IXI-T1\.tar could not be fetched: the connection broke off") as caught:
        next(members)
    assert is_one_line_without_the_address(caught.value)
    assert first(1, ixi(offline=True)) == some(1)


@pytest.mark.parametrize("at", [450_000, 512 + 300_032, 512 + 300_032 + 100], ids=["member", "boundary", "header"])
def test_a_tar_that_the_host_has_cut_short_is_one_line_and_keeps_what_came(ixi, web, tmp_path, at):
    web.files["/IXI-T1.tar"] = web.files["/IXI-T1.tar"][:at]
    members = ixi()
    assert next(members)[0] == "IXI000-Guys-T1.nii.gz"
    with pytest.raises(DownloadError, match=f"IXI-T1.tar ends in the middle, at byte {at}") as caught:
        next(members)
    assert is_one_line_without_the_address(caught.value)
    assert not any(name.endswith(".part") for name in left_in(tmp_path))


@pytest.mark.parametrize("content", [b"<html>log in</html>" * 100, b"", b"x" * 600])
def test_what_is_no_tar_is_one_line(web, tmp_path, content):
    web.files["/t.tar"] = content
    with pytest.raises(DownloadError, match=r"t\.tar (is no tar|ends in the middle)"):
        list(stream_tar(url(web, "t.tar"), tmp_path, what="t.tar"))


@pytest.mark.parametrize("status", [403, 404, 416, 500])
def test_a_refused_tar_is_one_line(ixi, web, status):
    web.statuses = [status] * 20
    with pytest.raises(DownloadError, match=f"IXI-T1.tar could not be fetched: the host answered {status}"):
        list(ixi())


def test_a_tar_that_has_changed_at_the_host_is_no_mixture(ixi, web):
    first(2, ixi())
    web.files["/IXI-T1.tar"] = tar_of({name: content[::-1] for name, content in SUBJECTS.items()})
    assert first(2, ixi()) == some(2)
    with pytest.raises(DownloadError, match=r"IXI-T1\.tar has changed at its host"):
        first(3, ixi())
    assert first(1, ixi(force=True))["IXI000-Guys-T1.nii.gz"] == SUBJECTS["IXI000-Guys-T1.nii.gz"][::-1]


def test_no_path_or_link_is_taken_from_a_tar(web, tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        for name in ("../../evil", "/abs/evil", "deep/" * 60 + "long"):
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
    web.files["/t.tar"] = buffer.getvalue()
    found = dict(stream_tar(url(web, "t.tar"), tmp_path / "cache", what="t.tar"))
    assert list(found) == ["../../evil", "/abs/evil", "deep/" * 60 + "long"]
    assert all(path.read_bytes() == b"abc" and tmp_path / "cache" in path.parents for path in found.values())
    assert {path.name for path in tmp_path.iterdir()} == {"cache"}


def test_a_member_that_is_damaged_in_size_in_the_cache_is_fetched_again(ixi, tmp_path):
    paths = dict(ixi())
    path = paths["IXI003-Guys-T1.nii.gz"]
    path.write_bytes(b"short")
    assert first(99, ixi()) == SUBJECTS


def test_a_torn_last_line_of_what_is_known_is_one_that_was_not_written(ixi, tmp_path):
    first(3, ixi())
    (index,) = tmp_path.rglob("index.jsonl")
    index.write_text(index.read_text()[:-20])
    assert first(4, ixi()) == some(4)
