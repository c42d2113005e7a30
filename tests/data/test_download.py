"""Files over HTTP: whole and checked, or not there."""

from __future__ import annotations

import errno
import gzip
import hashlib
import shutil
import threading
from collections import namedtuple

import pytest

from anchorbench.data import download as module
from anchorbench.data.download import alone, cache_path, download, holds, store
from anchorbench.errors import DownloadError

Usage = namedtuple("Usage", "total used free")


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "field.nc"


@pytest.fixture
def get(host, noise, target):
    """Download the noise from the loopback host."""
    host.files["/field.nc"] = noise

    def call(**options):
        return download(
            host.url("field.nc"), target, **{"sha256": sha(noise), "what": "field.nc", "size": len(noise), **options}
        )

    return call


def left_in(folder) -> set[str]:
    """Names in a folder, but for locks."""
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")} if folder.exists() else set()


def test_a_file_arrives_whole_and_alone(get, noise, target):
    seen: list[tuple[int, int | None]] = []
    assert get(progress=lambda done, total: seen.append((done, total))) == target
    assert target.read_bytes() == noise
    assert left_in(target.parent) == {"field.nc"}
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (400_000, 400_000)


def test_a_second_fetch_touches_no_network(get, target, down, noise):
    get()
    assert download(down, target, sha256=sha(noise), what="field.nc") == target


def test_an_interrupted_download_goes_on_where_it_broke_off(get, host, noise, target):
    host.breaks = [150_000]
    get()
    assert target.read_bytes() == noise
    first, second = host.requests_of("field.nc")
    resumed_at = int(second.removeprefix("bytes=").rstrip("-"))
    assert first is None
    assert 150_000 - module.CHUNK <= resumed_at <= 150_000
    assert host.sent == 150_000 + 400_000 - resumed_at


def test_the_next_process_goes_on_with_what_the_last_one_left(get, host, noise, target):
    host.breaks = [150_000] + [0] * module.TRIES
    with pytest.raises(DownloadError, match="broke off"):
        get()
    assert not target.exists()
    host.breaks = []
    get()
    assert target.read_bytes() == noise
    assert host.requests_of("field.nc")[-1].startswith("bytes=1")


def test_a_left_over_beginning_of_another_file_is_thrown_away(get, target, noise):
    target.parent.mkdir()
    target.with_name(".field.nc.part").write_bytes(b"x" * 1000)
    get()
    assert target.read_bytes() == noise


def test_a_left_over_that_is_already_whole_is_not_fetched_again(get, host, target, noise):
    target.parent.mkdir()
    target.with_name(".field.nc.part").write_bytes(noise)
    get()
    assert target.read_bytes() == noise
    assert host.sent == 0


def test_a_left_over_that_is_too_long_is_thrown_away(get, target, noise):
    target.parent.mkdir()
    target.with_name(".field.nc.part").write_bytes(noise + b"more")
    get()
    assert target.read_bytes() == noise


def test_a_host_without_ranges_begins_again(get, host, noise, target):
    host.ranges, host.breaks = False, [150_000]
    get()
    assert target.read_bytes() == noise
    assert host.sent == 150_000 + 400_000


def test_a_file_that_always_breaks_off_is_one_error_and_no_file(get, host, target):
    host.ranges, host.breaks = False, [1000] * 20
    with pytest.raises(DownloadError, match=r"field.nc could not be fetched: the connection broke off \(\d times\)"):
        get()
    assert not target.exists()


def test_an_altered_file_names_both_digests_and_leaves_nothing(get, host, noise, target):
    altered = noise[:-1] + bytes([noise[-1] ^ 1])
    host.files["/field.nc"] = altered
    with pytest.raises(DownloadError) as caught:
        get()
    assert f"expected SHA-256 {sha(noise)}, found {sha(altered)}" in caught.value.what
    assert "\n" not in caught.value.what
    assert left_in(target.parent) == set()


def test_the_good_copy_is_kept_when_a_new_one_fails(get, host, noise, target):
    get()
    host.files["/field.nc"] = b"altered"
    with pytest.raises(DownloadError, match="promised"):
        get(force=True)
    assert target.read_bytes() == noise
    assert left_in(target.parent) == {"field.nc"}


def test_an_altered_cache_is_noticed_and_mended(get, noise, target):
    get()
    target.write_bytes(noise[:-1] + b"!")
    get()
    assert target.read_bytes() == noise


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (503, module.TRIES), (429, module.TRIES)])
def test_only_errors_that_may_pass_are_tried_again(get, host, status, requests):
    host.statuses = [status] * 20
    with pytest.raises(DownloadError, match=f"the host answered {status}"):
        get()
    assert len(host.asked) == requests


def test_an_error_that_passes_is_not_seen(get, host, noise, target):
    host.statuses = [503, 502]
    get()
    assert target.read_bytes() == noise


def test_waits_double(get, host, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(module, "PAUSE", 1.0)
    monkeypatch.setattr(module.time, "sleep", waits.append)
    host.statuses = [503] * (module.TRIES - 1)
    get()
    assert waits == [1.0, 2.0, 4.0]


def test_no_network_is_one_line_without_the_address(target, noise):
    with pytest.raises(DownloadError) as caught:
        download("http://me:s3cret@127.0.0.1:9/field.nc", target, sha256=sha(noise), what="field.nc")
    assert caught.value.what == f"field.nc could not be fetched: no connection ({module.TRIES} times)"
    assert "s3cret" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


@pytest.mark.parametrize("how", ["option", "environment"])
def test_offline_asks_nobody(get, host, monkeypatch, how):
    if how == "environment":
        monkeypatch.setenv("ANCHORBENCH_OFFLINE", "1")
    with pytest.raises(DownloadError, match="offline"):
        get(offline=how == "option")
    assert host.asked == []


def test_offline_takes_what_is_in_the_cache(get, target, monkeypatch):
    get()
    monkeypatch.setenv("ANCHORBENCH_OFFLINE", "1")
    assert get() == target


def test_too_little_space_is_said_before_the_first_byte(get, host, target, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**9, 10**9, 399_999))
    with pytest.raises(DownloadError) as caught:
        get()
    assert caught.value.what == f"no space left in {target.parent} for field.nc: it needs 0.4 MB"
    assert host.asked == []


def test_a_disk_that_fills_up_on_the_way_leaves_nothing(get, host, target, monkeypatch):
    whole = module.raw_chunks

    def filling(answer):
        yield next(whole(answer))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "raw_chunks", filling)
    with pytest.raises(DownloadError, match=rf"no space left in {target.parent} for field.nc: it needs 0.4 MB"):
        get()
    assert left_in(target.parent) == set()


def test_a_folder_that_cannot_be_written_is_named(get, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DownloadError, match=f"could not be written to {tmp_path / 'cache'}"):
        get()


def test_a_missing_certificate_file_is_no_bug(get, noise, target, host):
    session = module.requests.Session()
    session.verify, session.trust_env = "/nowhere/certificates.pem", False
    with session, pytest.raises(DownloadError, match=r"/nowhere/certificates.pem"):
        download(host.url("field.nc").replace("http:", "https:"), target, sha256=sha(noise), what="f", session=session)


def test_two_threads_fetch_a_file_once(get, host, noise, target):
    host.delay = 0.1
    threads = [threading.Thread(target=get) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() == noise
    assert len(host.asked) == 1


def test_ctrl_c_leaves_no_file_under_the_final_name_and_the_next_call_goes_on(get, host, noise, target):
    def interrupt(done, total):
        if done > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(progress=interrupt)
    assert not target.exists()
    get()
    assert target.read_bytes() == noise
    assert host.requests_of("field.nc")[-1].startswith("bytes=1")


def test_an_archive_labelled_as_a_compressed_answer_is_kept_as_it_is(host, tmp_path):
    archive = gzip.compress(b"a tar ball" * 100)
    host.files["/a.tar.gz"], host.headers = archive, {"Content-Encoding": "gzip"}
    path = download(host.url("a.tar.gz"), tmp_path / "a.tar.gz", sha256=sha(archive), what="a.tar.gz")
    assert path.read_bytes() == archive


def test_a_stream_longer_than_promised_is_cut_off(tmp_path):
    pulled: list[int] = []

    def endless():
        while True:
            pulled.append(1)
            yield b"x" * 10

    target = tmp_path / "small"
    with alone(target, what="small", size=25), pytest.raises(DownloadError, match="larger than the promised 25 bytes"):
        store(endless(), target, sha256=sha(b""), size=25, what="small")
    assert len(pulled) == 3  # 10, 20, 30 > 25
    assert left_in(tmp_path) == set()


def test_the_cache_is_addressed_by_content(tmp_path):
    path = cache_path(tmp_path, sha256=sha(b"abc"), name="field.nc")
    assert path == tmp_path / "files" / sha(b"abc") / "field.nc"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"abc")
    assert holds(path, sha256=sha(b"abc"))
    assert holds(path, sha256=sha(b"abc"), size=3)
    assert not holds(path, sha256=sha(b"abd"))
    assert not holds(path.with_name("other"), sha256=sha(b"abc"))
