"""Remote files of which only those blocks are fetched that are read.

No message holds an address: it may carry a password or a token.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
from collections import OrderedDict
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import requests

from anchorbench.data.download import TIMEOUT, BrokenOff, is_offline, note, persistently, raw_chunks, telling
from anchorbench.errors import DownloadError

#: Bytes of a block, blocks that are held in memory, and the most that are read ahead in one request.
BLOCK, HELD, AHEAD = 1 << 20, 64, 8


def url_folder(cache: Path, url: str) -> Path:
    """Where all of an address lies; user and password are no part of what is hashed."""
    return cache / "files" / f"url-{hashlib.sha256(without_user(url).encode()).hexdigest()}"


def without_user(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def file_name(url: str) -> str:
    """The last part of an address, as the name of a file."""
    return safe_name(unquote(urlsplit(url).path))


def safe_name(path: str) -> str:
    """The last part of a path that others wrote, as the name of a file of ours."""
    last = path.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w.+-]", "_", last).lstrip(".")[-150:] or "file"


def mark_of(answer: requests.Response) -> str | None:
    """What tells this version of a file from others, and may stand in If-Range: a strong ETag, else the date."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified")


def open_ranges(
    url: str,
    *,
    what: str,
    cache: Path | None = None,
    identity: str | None = None,
    block: int = BLOCK,
    session: requests.Session | None = None,
    offline: bool = False,
    force: bool = False,
) -> RangeFile:
    """A remote file to read in part, for h5py.File(open_ranges(...), "r"), nibabel, rasterio or zipfile.

    Blocks are fetched when they are read, more at a time while one reads on; the last ones stay in memory.  With a
    cache each is kept in <cache>/files/url-.../blocks-..., so that what was read once is there offline; a file that
    has changed at the host since is an error until `force`.
    Raises DownloadError, here and whenever it is read.  h5py hides it behind its own OSError: `file.trouble` has it.
    """
    return RangeFile(
        url, what, cache, identity or url, block, session or requests.Session(), is_offline(offline), force
    )


class RangeFile(io.RawIOBase):
    """Seekable, read-only; see `open_ranges`.  size: bytes.  trouble: the DownloadError that a read ended with."""

    def __init__(
        self,
        url: str,
        what: str,
        cache: Path | None,
        identity: str,
        block: int,
        session: requests.Session,
        offline: bool,
        force: bool,
    ) -> None:
        self.what, self.block, self.trouble = what, block, None
        self._url, self._direct, self._http, self._offline = url, "", session, offline
        self._position, self._next, self._ahead, self._came = 0, 0, 1, 0
        self._held: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.RLock()
        self._tell = telling(what, None)
        self._folder = None if cache is None else url_folder(cache, identity)
        self.size, self._mark = -1, ""
        if not force:
            self._recall()
        if self.size < 0:
            if offline:
                raise self._missing()
            self._fetch(0, 1)

    trouble: DownloadError | None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        into = memoryview(buffer).cast("B")
        data = self.read(len(into))
        into[: len(data)] = data
        return len(data)

    def read(self, n: int | None = -1) -> bytes:
        """n bytes, fewer only at the end.  Raises DownloadError."""
        with self._lock:
            begin = min(self._position, self.size)
            end = self.size if n is None or n < 0 else min(begin + n, self.size)
            if end <= begin:
                return b""
            first, last = begin // self.block, (end - 1) // self.block
            try:
                data = b"".join(self._run(first, last))
            except DownloadError as error:
                self.trouble = error
                raise
            self._position = end
            return data[begin - first * self.block : end - first * self.block]

    def readall(self) -> bytes:
        return self.read()

    @property
    def _count(self) -> int:
        return -(-self.size // self.block)

    def _run(self, first: int, last: int) -> list[bytes]:
        """Blocks first to last."""
        self._ahead = min(2 * self._ahead, AHEAD) if first == self._next else 1
        self._next = last + 1
        blocks = []
        for i in range(first, last + 1):
            if (found := self._have(i)) is None:
                wanted = min(self._count, max(last + 1, i + self._ahead))
                stop = next((k for k in range(i + 1, wanted) if self._kept(k)), wanted)
                found = self._fetch(i, min(stop - i, max(AHEAD, HELD // 2)))
            blocks.append(found)
        return blocks

    def _have(self, i: int) -> bytes | None:
        if i in self._held:
            self._held.move_to_end(i)
            return self._held[i]
        if self._folder is not None:
            with suppress(OSError):
                data = self._path(i).read_bytes()
                if len(data) == self._length(i):
                    return self._hold(i, data)
        return None

    def _kept(self, i: int) -> bool:
        return i in self._held or (self._folder is not None and self._path(i).exists())

    def _length(self, i: int) -> int:
        return min(self.block, self.size - i * self.block)

    def _hold(self, i: int, data: bytes) -> bytes:
        self._held[i] = data
        while len(self._held) > HELD:
            self._held.popitem(last=False)
        return data

    def _fetch(self, first: int, count: int) -> bytes:
        """Blocks first to first + count - 1 from the host; returns the first of them."""
        if self._offline:
            raise self._missing()
        got: list[bytes] = []

        def fetch() -> None:
            begin = first + len(got)
            with self._ask(begin * self.block, (first + count) * self.block - 1) as answer:
                pending = bytearray()
                for chunk in raw_chunks(answer):
                    pending += chunk
                    self._came += len(chunk)
                    self._tell(self._came, None)
                    while len(pending) >= self.block or (pending and len(pending) == self._length(first + len(got))):
                        got.append(bytes(pending[: self.block]))
                        del pending[: self.block]
                        if len(got) == count:
                            return
            if pending or first + len(got) < min(first + count, self._count):
                raise BrokenOff("the connection broke off")

        persistently(fetch, what=self.what, gained=lambda: len(got))
        for i, data in enumerate(got, start=first):
            self._hold(i, data)
            self._keep(i, data)
        return got[0] if got else b""

    def _ask(self, begin: int, end: int) -> requests.Response:
        """The answer to one range.  Raises DownloadError where the host sends no ranges or another file."""
        headers = {"Accept-Encoding": "identity", "Range": f"bytes={begin}-{end}"}
        answer = None
        if self._direct:  # where the last redirect led; such an address expires
            answer = self._http.get(self._direct, headers=headers, stream=True, timeout=TIMEOUT)
            if answer.status_code in (400, 401, 403, 404, 410):
                answer.close()
                self._direct, answer = "", None
        if answer is None:
            answer = self._http.get(self._url, headers=headers, stream=True, timeout=TIMEOUT)
            self._direct = answer.url if answer.history else ""
        with ExitStack() as at_an_error:
            at_an_error.callback(answer.close)
            answer.raise_for_status()
            place = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers.get("Content-Range", ""))
            if answer.status_code != 206 or place is None or int(place[1]) != begin:
                raise DownloadError(
                    f"{self.what} can only be read in part, and its host sends no parts of files",
                    do="a proxy may be in the way: check the proxy settings",
                )
            mark = mark_of(answer) or ""
            if self.size < 0:
                self.size, self._mark = int(place[3]), mark
                self._write_down()
            elif (int(place[3]), mark) != (self.size, self._mark):
                raise DownloadError(
                    f"{self.what} has changed at its host since it was first read", do="fetch it anew with --force"
                )
            at_an_error.pop_all()
        return answer

    def close(self) -> None:
        self._held.clear()
        self._http.close()
        super().close()

    # -- what is kept on disk ------------------------------------------------------------------------------------------

    def _recall(self) -> None:
        if self._folder is not None:
            with suppress(OSError, ValueError, KeyError, TypeError):
                about = json.loads((self._folder / "parts.json").read_text())
                self.size, self._mark = int(about["size"]), str(about["mark"])
                note(self._folder / "parts.json")

    def _write_down(self) -> None:
        if self._folder is not None:
            with suppress(OSError):  # without a disk the blocks in memory do
                self._path(0).parent.mkdir(parents=True, exist_ok=True)
                temporary = self._folder / f".parts.{threading.get_ident()}.part"
                temporary.write_text(json.dumps({"size": self.size, "mark": self._mark}))
                temporary.replace(note(self._folder / "parts.json"))

    def _keep(self, i: int, data: bytes) -> None:
        if self._folder is not None:
            path = self._path(i)
            temporary = path.with_name(f".{path.name}.{threading.get_ident()}.part")
            try:
                temporary.write_bytes(data)
                temporary.replace(path)
            except OSError:
                with suppress(OSError):
                    temporary.unlink()

    def _path(self, i: int) -> Path:
        assert self._folder is not None
        version = hashlib.sha256(f"{self._mark} {self.size} {self.block}".encode()).hexdigest()[:16]
        return self._folder / f"blocks-{version}" / f"{i:07d}"

    def _missing(self) -> DownloadError:
        return DownloadError(
            f"a part of {self.what} is not in the cache, and this is offline mode", do="fetch once with the network"
        )
