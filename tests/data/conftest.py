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
from dataclasses import dataclass, field
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
    ranges: bool = True
    #: answers that break off after so many bytes of the body, one after the other; None: whole
    breaks: list[int | None] = field(default_factory=list)
    #: statuses to answer before behaving
    statuses: list[int] = field(default_factory=list)
    delay: float = 0.0
    password: str | None = None
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    sent: int = 0
    port: int = 0

    def url(self, path: str = "", *, user: str = "") -> str:
        return f"http://{user}127.0.0.1:{self.port}/{path}"

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


def _handler(host: Loopback) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            byte_range = self.headers.get("Range")
            host.asked.append((self.path, byte_range))
            expected = None if host.password is None else base64.b64encode(f"me:{host.password}".encode()).decode()
            if expected is not None and self.headers.get("Authorization") != f"Basic {expected}":
                return self.send_error(401)
            if host.statuses:
                return self.send_error(host.statuses.pop(0))
            if self.path not in host.files:
                return self.send_error(404)
            if host.delay:
                time.sleep(host.delay)
            content = host.files[self.path]
            total = len(content)
            found = re.fullmatch(r"bytes=(\d*)-(\d*)", byte_range or "") if host.ranges else None
            if found:
                first, last = found.groups()
                begin = int(first) if first else max(0, total - int(last))
                end = int(last) + 1 if first and last else total
                if begin >= total:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{total}")
                    self.send_header("Content-Length", "0")
                    return self.end_headers()
                content = content[begin:end]
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {begin}-{begin + len(content) - 1}/{total}")
            else:
                self.send_response(200)
            self.send_header("Content-Type", host.types.get(self.path, "application/octet-stream"))
            self.send_header("Content-Length", str(len(content)))
            for name, value in host.headers.items():
                self.send_header(name, value)
            self.end_headers()
            # neither a page nor a probe of one byte is worth breaking
            stop = host.breaks.pop(0) if host.breaks and len(content) > 1000 else None
            host.sent += len(content[:stop])
            self.wfile.write(content[:stop])
            return None

        def log_message(self, *args: object) -> None:
            pass

    return Handler


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        """A client that hangs up is what some tests are about."""


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
def host(monkeypatch):
    """A host with an empty simple index, to which PIP_INDEX_URL points."""
    state = Loopback()
    with _QuietServer(("127.0.0.1", 0), _handler(state)) as server:
        state.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("PIP_INDEX_URL", state.url("simple/"))
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


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
