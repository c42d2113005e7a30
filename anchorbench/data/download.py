"""Files over HTTP into a cache that is addressed by content.

    <cache>/files/<SHA-256>/<name>

What has its final name has been checked.  A download grows under `.part`, is hashed while it streams, and is renamed
when its SHA-256 is the promised one; interrupted, it goes on by `Range` the next time.  (pooch, at 1.9, starts an
interrupted file at byte 0 and hashes it in a second pass, so this is on requests.)

No message holds an address: the one of a package index may carry a password.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from glob import escape
from pathlib import Path
from typing import Any, TypeVar

import requests
import urllib3
from filelock import FileLock

from anchorbench.errors import DownloadError

T = TypeVar("T")
#: Called with the bytes that are there and, where it is known, how many there will be.
Progress = Callable[[int, int | None], None]

OFFLINE = "ANCHORBENCH_OFFLINE"
#: Attempts that gain nothing before we give up, and seconds before the second one; each wait doubles.
TRIES = 4
PAUSE = 1.0
#: Seconds to connect, and between two pieces of an answer.
TIMEOUT = (15.0, 60.0)
CHUNK = 1 << 16
_PASSING = {408, 425, 429, 500, 502, 503, 504}

#: Told of every download: what it is, the bytes that are there, how many there will be.
Watch = Callable[[str, int, int | None], None]
_watching: ContextVar[tuple[Watch, ...]] = ContextVar("watching", default=())
_using: ContextVar[set[Path] | None] = ContextVar("using", default=None)


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Have every download inside told, whoever makes it; beside those who are told already."""
    token = _watching.set((*_watching.get(), watch))
    try:
        yield
    finally:
        _watching.reset(token)


@contextmanager
def noted() -> Iterator[set[Path]]:
    """A set to which every file of the cache is added that is asked for inside."""
    found: set[Path] = set()
    token = _using.set(found)
    try:
        yield found
    finally:
        _using.reset(token)


def note(path: Path) -> Path:
    """Say that this file of the cache is used, so that it stays while a ladder made of it does."""
    if (found := _using.get()) is not None:
        found.add(path)
    return path


def telling(what: str, progress: Progress | None) -> Progress:
    """`progress`, and all who watch."""
    watches = _watching.get()

    def tell(done: int, total: int | None) -> None:
        for watch in watches:
            watch(what, done, total)
        if progress is not None:
            progress(done, total)

    return tell


def cache_path(cache: Path, *, sha256: str, name: str) -> Path:
    """Where the file with this content belongs."""
    return cache / "files" / sha256 / name


def is_offline(offline: bool = False) -> bool:
    """True by option, or where ANCHORBENCH_OFFLINE is set to anything but 0 or nothing."""
    return offline or os.environ.get(OFFLINE, "").strip().lower() not in ("", "0", "false", "no")


def holds(path: Path, *, sha256: str, size: int | None = None) -> bool:
    """True where the file is there and its content is the promised one (hashes it: 2 s/GB)."""
    if not path.is_file() or (size is not None and path.stat().st_size != size):
        return False
    return bool(_hash_of(path).hexdigest() == sha256)


def download(
    url: str,
    target: Path,
    *,
    sha256: str,
    what: str,
    size: int | None = None,
    session: requests.Session | None = None,
    offline: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Fetch `url` to `target`, unless it is there already; the file that was there stays until the new one is checked.

    what: its name in messages.  size: bytes, where known: the space is looked for before the first byte.
    Raises DownloadError: offline, no network, no space, a status that will not pass, or another SHA-256 than promised.
    """
    if not force and holds(target, sha256=sha256, size=size):
        return note(target)
    refuse_offline(what, target, offline)
    with alone(target, what=what, size=size):
        if not force and holds(target, sha256=sha256, size=size):  # another process was first
            return note(target)
        part = part_of(target)
        begun = part.exists()
        look_for_space(what, target.parent, size)
        with requests.Session() if session is None else nullcontext(session) as http:

            def fetch() -> str:
                return receive(http, url, part, size=size, progress=telling(what, progress))["sha256"]

            found = persistently(fetch, what=what, gained=lambda: part.stat().st_size if part.exists() else 0)
            if begun and found != sha256:  # the beginning may be of another file: once more, all of it
                part.unlink()
                found = persistently(fetch, what=what)
        if found != sha256:
            part.unlink()
            raise mismatch(what, sha256, found)
        part.replace(target)
    return note(target)


def part_of(target: Path) -> Path:
    """Where a download grows until it is whole."""
    return target.with_name(f".{target.name}.part")


def store(
    chunks: Iterable[bytes],
    target: Path,
    *,
    sha256: str,
    size: int,
    what: str,
    progress: Progress | None = None,
) -> Path:
    """Write a stream to `target`, checked; nothing else is left behind, however it ends.

    Raises DownloadError where the content is not the promised one.  Call it under `alone(target)`.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    digest, done = hashlib.sha256(), 0
    look_for_space(what, target.parent, size)
    try:
        with part.open("wb") as file:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
                done += len(chunk)
                if done > size:  # an archive can promise little and hold terabytes
                    raise DownloadError(f"{what} is larger than the promised {size} bytes")
                if progress is not None:
                    progress(done, size)
        if digest.hexdigest() != sha256:
            raise mismatch(what, sha256, digest.hexdigest())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def mismatch(what: str, expected: str, found: str, *, algorithm: str = "sha256") -> DownloadError:
    shown = {"sha256": "SHA-256", "md5": "MD5"}[algorithm]
    return DownloadError(
        f"{what} is not the promised file: expected {shown} {expected}, found {found}",
        do="it was deleted; fetch again, and if it stays so the host or a proxy serves another file",
    )


def refuse_offline(what: str, target: Path, offline: bool) -> None:
    if is_offline(offline):
        raise DownloadError(
            f"{what} is not in the cache, and this is offline mode",
            do=f"fetch once with the network (without {OFFLINE}), or copy the file to {target}",
        )


@contextmanager
def alone(target: Path, *, what: str, size: int | None) -> Iterator[None]:
    """Hold the lock of a target, its folder made; trouble with the disk becomes a DownloadError, its part removed."""
    folder = target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{target.name}.lock"):
            yield
    except requests.RequestException:
        raise  # an OSError by birth, but not of the disk
    except OSError as error:
        with suppress(OSError):
            for part in folder.glob(f".{escape(target.name)}*.part"):
                part.unlink()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(what, folder, size) from None
        raise DownloadError(
            f"{what} could not be written to {folder}: {error.strerror or type(error).__name__}",
            do="choose another folder with --cache",
        ) from None


def persistently(action: Callable[[], T], *, what: str, gained: Callable[[], int] = lambda: 0) -> T:
    """Do it, and again after errors that may pass, waiting longer each time; progress renews the patience.

    gained: a number that grows as the action gets on.  Raises DownloadError.
    """
    tries, most = 0, gained()
    while True:
        try:
            return action()
        except requests.RequestException as error:
            now = gained()
            tries, most = (1, now) if now > most else (tries + 1, most)
            if tries >= TRIES or not _may_pass(error):
                times = "" if tries == 1 else f" ({tries} times)"
                raise DownloadError(
                    f"{what} could not be fetched: {reason(error)}{times}",
                    do="check the network and the proxy settings, then give the same command again",
                ) from None
        except OSError as error:
            if error.errno is not None:
                raise
            raise DownloadError(f"{what} could not be fetched: {error}") from None  # a certificate file that is missing
        time.sleep(PAUSE * 2 ** (tries - 1))


def reason(error: requests.RequestException) -> str:
    """What went wrong, in words without an address."""
    if isinstance(error, requests.TooManyRedirects):
        return "the host redirects without end"
    if error.response is not None:
        return f"the host answered {error.response.status_code}"
    for kind, words in (
        (requests.exceptions.SSLError, "the host's certificate is not trusted"),
        (requests.exceptions.ProxyError, "the proxy refused"),
        (requests.Timeout, "no answer in time"),
        (requests.exceptions.ChunkedEncodingError, "the connection broke off"),
        (requests.ConnectionError, "no connection"),
    ):
        if isinstance(error, kind):
            return words
    return f"the request failed ({type(error).__name__})"


class BrokenOff(requests.exceptions.ChunkedEncodingError):
    """Fewer bytes came than were announced."""


def receive(
    http: requests.Session,
    url: str,
    part: Path,
    *,
    size: int | None,
    progress: Progress,
    algorithms: Sequence[str] = ("sha256",),
    unchanged: str | None = None,
    on_answer: Callable[[requests.Response, int | None], None] = lambda answer, total: None,
) -> dict[str, str]:
    """One attempt: append to `part` what it lacks.  Returns the digests of the whole, by algorithm.

    unchanged: the mark (ETag or date) of the file that `part` began; of another one all is sent.  on_answer: called
    with the answer and the size of the whole before the first byte is kept.  Raises requests.RequestException.
    """
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}  # bytes as they are stored: a range of a compressed answer is nothing
    if have:
        headers["Range"] = f"bytes={have}-"
        if unchanged is not None:
            headers["If-Range"] = unchanged
    with http.get(url, stream=True, headers=headers, timeout=TIMEOUT) as answer:
        if answer.status_code == 416:
            if answer.headers.get("Content-Range") == f"bytes */{have}":  # it was whole already
                return _digests(_hashes_of(part, algorithms))
            part.unlink(missing_ok=True)
            raise BrokenOff("the host refused to go on at this place")
        answer.raise_for_status()
        begins_there = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        goes_on = have > 0 and answer.status_code == 206 and begins_there
        hashes = _hashes_of(part, algorithms) if goes_on else {name: hashlib.new(name) for name in algorithms}
        have = have if goes_on else 0
        announced = answer.headers.get("Content-Length", "")
        total = have + int(announced) if announced.isdigit() else size
        on_answer(answer, total)
        with part.open("ab" if goes_on else "wb") as file:
            for chunk in raw_chunks(answer):
                for digest in hashes.values():
                    digest.update(chunk)
                file.write(chunk)
                have += len(chunk)
                progress(have, total)
        if total is not None and have < total:
            raise BrokenOff(f"{have} of {total} bytes")
    return _digests(hashes)


def raw_chunks(answer: requests.Response) -> Iterator[bytes]:
    """The bytes as sent: some mirrors label a .tar.gz as a compressed answer, and requests would unpack it."""
    try:
        yield from answer.raw.stream(CHUNK, decode_content=False)
    except urllib3.exceptions.ReadTimeoutError:
        raise requests.ReadTimeout from None
    except (urllib3.exceptions.HTTPError, ConnectionError):
        raise BrokenOff from None


def _hash_of(path: Path) -> Any:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")


def _hashes_of(path: Path, algorithms: Iterable[str]) -> dict[str, Any]:
    """Hashes that stand where the file ends."""
    hashes = {name: hashlib.new(name) for name in algorithms}
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            for digest in hashes.values():
                digest.update(chunk)
    return hashes


def _digests(hashes: dict[str, Any]) -> dict[str, str]:
    return {name: str(digest.hexdigest()) for name, digest in hashes.items()}


def _may_pass(error: requests.RequestException) -> bool:
    if error.response is not None:
        return error.response.status_code in _PASSING
    lasting = (requests.exceptions.SSLError, requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)
    return not isinstance(error, lasting)


def look_for_space(what: str, folder: Path, size: int | None) -> None:
    """Raise DownloadError, before the first byte, where the folder's disk cannot hold `size` more bytes."""
    if size is not None and shutil.disk_usage(folder).free < size:
        raise _no_space(what, folder, size)


def _no_space(what: str, folder: Path, size: int | None) -> DownloadError:
    needs = "" if size is None else f": it needs {size / 1e6:.1f} MB"
    return DownloadError(
        f"no space left in {folder} for {what}{needs}", do="free some space, or choose another folder with --cache"
    )
