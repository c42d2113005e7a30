"""The members of a remote tar while it comes, stopping early.

No message holds an address: it may carry a password or a token.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import requests

from anchorbench.data.download import (
    CHUNK,
    TIMEOUT,
    BrokenOff,
    Progress,
    alone,
    is_offline,
    look_for_space,
    note,
    part_of,
    persistently,
    raw_chunks,
    telling,
)
from anchorbench.data.remote_parts import mark_of, safe_name, url_folder
from anchorbench.errors import DownloadError

#: Bytes that a stream rather reads over than ask for anew, and that it can go back.
JUMP, BACKLOG = 1 << 20, 1 << 10


def stream_tar(
    url: str,
    cache: Path,
    *,
    what: str,
    wanted: Callable[[str], bool] = lambda name: True,
    identity: str | None = None,
    session: requests.Session | None = None,
    offline: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Iterator[tuple[str, Path]]:
    """The wanted files of a remote tar, (name in the tar, path in the cache), while it comes; leave off at any time.

    Each is kept in <cache>/files/url-.../members/ and comes from there the next time, so that only what lies beyond
    is fetched, from its place on where the host sends parts.  What is not wanted is jumped over where that is worth a
    request.  The tar is not compressed.  No path, link or device is taken from it.
    Raises DownloadError, also for a tar that ends before its end or has changed at the host.
    """
    folder = url_folder(cache, identity or url) / "members"
    with alone(folder / "index.jsonl", what=what, size=None):
        index = _Members(folder / "index.jsonl", fresh=force)
        with HttpStream(
            url, what=what, session=session, mark=index.mark, size=index.size, offline=offline, progress=progress
        ) as stream:
            at = i = 0
            while True:
                entry = index.found.get(i)
                if entry is None or (wanted(entry["name"]) and not index.holds(entry)):
                    entry = _next_member(stream, at, i, wanted, folder, what=what)
                    index.add(i, entry, stream)
                if entry["end"]:
                    return
                if entry["file"] is not None and wanted(entry["name"]):
                    yield entry["name"], note(folder / entry["file"])
                at, i = entry["next"], i + 1


class _Members:
    """What is known of a tar: a line for the version at the host, then one for each member, the last one counts."""

    def __init__(self, path: Path, *, fresh: bool) -> None:
        self.path, self.mark, self.size = path, None, None
        self.found: dict[int, dict[str, Any]] = {}
        if fresh:
            path.unlink(missing_ok=True)
        with suppress(OSError, ValueError, KeyError, TypeError):  # a last line that is torn is one not written
            for line in path.read_text().splitlines():
                about = json.loads(line)
                if "member" in about:
                    self.found[int(about["member"])] = about
                else:
                    self.mark, self.size = about["mark"], about["size"]

    mark: str | None
    size: int | None

    def holds(self, entry: Mapping[str, Any]) -> bool:
        if entry["end"] or not entry["regular"]:
            return True
        path = None if entry["file"] is None else self.path.with_name(entry["file"])
        return path is not None and path.is_file() and path.stat().st_size == entry["size"]

    def add(self, i: int, entry: dict[str, Any], stream: HttpStream) -> None:
        lines = [json.dumps({"member": i, **entry})]
        if not self.found:
            lines.insert(0, json.dumps({"mark": stream.mark, "size": stream.size}))
        self.found[i] = entry
        with self.path.open("a") as file:
            file.write("\n".join(lines) + "\n")


def _next_member(
    stream: HttpStream, at: int, i: int, wanted: Callable[[str], bool], folder: Path, *, what: str
) -> dict[str, Any]:
    """The member whose header is at this place, put into the folder if it is wanted.  Raises DownloadError."""
    stream.seek(at)
    try:
        tar = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115 - it has nothing to close
        info = tar.next()
    except tarfile.TarError:
        raise DownloadError(f"{what} is no tar, or it is damaged at byte {at}") from None
    if info is None:
        stream.seek(at)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # a tar ends with blocks of zeros
            raise _cut_short(what, stream)
        return {"name": "", "end": True, "regular": False, "next": at, "size": 0, "file": None, "sha256": None}
    regular = info.isreg() and not info.issparse()
    entry = {"name": info.name, "end": False, "regular": regular, "next": tar.offset, "size": info.size}
    if not regular or not wanted(info.name):
        return {**entry, "file": None, "sha256": None}
    path = folder / f"{i:06d}-{safe_name(info.name)}"
    part, digest, lacking = part_of(path), hashlib.sha256(), info.size
    look_for_space(what, folder, info.size)
    stream.seek(info.offset_data)
    try:
        with part.open("wb") as file:
            while lacking and (piece := stream.read(min(CHUNK, lacking))):
                digest.update(piece)
                file.write(piece)
                lacking -= len(piece)
        if lacking:
            raise _cut_short(what, stream)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return {**entry, "file": path.name, "sha256": digest.hexdigest()}


def _cut_short(what: str, stream: HttpStream) -> DownloadError:
    return DownloadError(
        f"{what} ends in the middle, at byte {stream.size}: the host has a truncated tar",
        do="fetch again later; what came before the end is kept",
    )


class HttpStream(io.RawIOBase):
    """A remote file read from front to back, for tarfile: a jump or a broken connection opens it anew at the place.

    A host that sends no parts is read through to the place.  size: bytes, None while unknown.  mark: of its version.
    Raises DownloadError when it is read, also where mark or size are not those that were given.
    """

    def __init__(
        self,
        url: str,
        *,
        what: str,
        session: requests.Session | None = None,
        mark: str | None = None,
        size: int | None = None,
        offline: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.what, self.mark, self.size = what, mark, size
        self._url, self._http, self._offline = url, session or requests.Session(), is_offline(offline)
        self._answer: requests.Response | None = None
        self._chunks: Iterator[bytes] = iter(())
        self._position = self._edge = 0  # where the reader is, and where the connection is
        self._chunk = b""  # what ends at the edge
        self._tell = telling(what, progress)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("a stream is read from front to back")
        self._position = offset + (self._position if whence == io.SEEK_CUR else 0)
        return self._position

    def read(self, n: int | None = -1) -> bytes:
        """n bytes, fewer only at the end."""
        pieces, lacking = [], n if n is not None and n >= 0 else 1 << 62
        while lacking > 0 and (piece := self._some(lacking)):
            pieces.append(piece)
            lacking -= len(piece)
            self._position += len(piece)
        return b"".join(pieces)

    def _some(self, n: int) -> bytes:
        if not 0 < self._edge - self._position <= len(self._chunk):
            if self.size is not None and self._position >= self.size:
                return b""
            persistently(self._advance, what=self.what, gained=lambda: self._position)
        place = len(self._chunk) - (self._edge - self._position)
        return self._chunk[place : place + n]

    def _advance(self) -> None:
        """Have the chunk at the position, or know the size."""
        if self._answer is None or not self._edge <= self._position <= self._edge + JUMP:
            self._open()
        while self._edge <= self._position:
            try:
                chunk = next(self._chunks, b"")
            except requests.RequestException:
                self._hang_up()
                raise
            if not chunk:
                self._hang_up()
                if self.size is not None and self._edge < self.size:
                    raise BrokenOff("the connection broke off")
                self.size, self._chunk = self._edge, b""
                return
            self._edge += len(chunk)
            self._chunk = self._chunk[-BACKLOG:] + chunk
            self._tell(self._edge, self.size)

    def _open(self) -> None:
        if self._offline:
            raise DownloadError(
                f"the rest of {self.what} is not in the cache, and this is offline mode",
                do="fetch once with the network",
            )
        self._hang_up()
        headers = {"Accept-Encoding": "identity"}
        if self._position:
            headers["Range"] = f"bytes={self._position}-"
        answer = self._http.get(self._url, headers=headers, stream=True, timeout=TIMEOUT)
        with ExitStack() as at_an_error:
            at_an_error.callback(answer.close)
            answer.raise_for_status()
            place = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
            length = answer.headers.get("Content-Length", "")
            if answer.status_code == 206 and place is not None and int(place[1]) == self._position:
                begin, size = self._position, self._whole(place[2])
            else:
                begin, size = 0, self._whole(length)
            mark = mark_of(answer)
            if (self.mark or mark) != mark or (self.size or size) != size:
                raise DownloadError(
                    f"{self.what} has changed at its host since it was first read", do="fetch it anew with --force"
                )
            self.mark, self.size = mark, size
            at_an_error.pop_all()
        self._answer, self._chunks, self._edge, self._chunk = answer, raw_chunks(answer), begin, b""

    @staticmethod
    def _whole(announced: str) -> int | None:
        return int(announced) if announced.isdigit() else None

    def _hang_up(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def close(self) -> None:
        self._hang_up()
        super().close()
