"""An anonymous bucket read in part: small objects whole, datasets of remote HDF5 files by ranges.

The endpoint is S3's own; another one is taken from AWS_ENDPOINT_URL, or from the catalogue.  Every trouble on the way
is one DownloadError in words without an address; what may pass is tried again, longer apart each time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from anchorbench.data import download
from anchorbench.data.download import alone, part_of
from anchorbench.data.sources import require
from anchorbench.errors import DownloadError

T = TypeVar("T")

ENDPOINT = "AWS_ENDPOINT_URL"
#: Seconds to connect, and between two pieces of an answer.
CONNECT, READ = 15, 60
#: Bytes read ahead: HDF5 asks for its small records one by one, and for a chunk at once.
BLOCK = 1 << 20
_PASSING = {408, 425, 429, 500, 502, 503, 504}
#: By the name of an exception's class, or of one that it is or stems from; None: no attempt helps.
_WORDS = (
    (
        {"SSLError", "ClientConnectorCertificateError", "ClientConnectorSSLError"},
        "the host's certificate is not trusted",
    ),
    ({"ConnectTimeoutError", "ReadTimeoutError", "TimeoutError", "FSTimeoutError"}, "no answer in time"),
    ({"EndpointConnectionError", "ClientConnectorError", "ConnectionError"}, "no connection"),
    ({"ClientPayloadError", "IncompleteReadError", "ResponseStreamingError"}, "the connection broke off"),
)


class Bucket:
    """The objects below one address, s3://bucket, read without credentials.  what: its name in messages."""

    def __init__(self, address: str, *, endpoint: str | None = None, what: str) -> None:
        s3fs = require("s3fs", extra="sevir")
        self.address, self.what = address.rstrip("/"), what
        self._fs = s3fs.S3FileSystem(
            anon=True,
            endpoint_url=os.environ.get(ENDPOINT) or endpoint or None,
            config_kwargs={"connect_timeout": CONNECT, "read_timeout": READ, "retries": {"total_max_attempts": 1}},
            skip_instance_cache=True,
            use_listings_cache=False,
        )
        self._fs.retries = 1  # we try again ourselves: it does not after a 500 or a broken answer

    def copy(self, key: str, target: Path) -> Path:
        """A whole object to `target`, under a temporary name until it is whole.  Raises DownloadError."""
        what = f"{key} of {self.what}"
        with alone(target, what=what, size=None):
            part = part_of(target)
            content = persistently(lambda: self._fs.cat_file(f"{self.address}/{key}"), what=what)
            part.write_bytes(content)
            part.replace(target)
        return target

    @contextmanager
    def hdf5(self, key: str) -> Iterator[RemoteHdf5]:
        """A remote HDF5 file.  Raises DownloadError where it cannot be had, or is none."""
        what = f"{key} of {self.what}"
        options = {"block_size": BLOCK, "cache_type": "readahead"}
        remote = persistently(lambda: self._fs.open(f"{self.address}/{key}", "rb", **options), what=what)
        with remote:
            file = RemoteHdf5(_Steady(remote, what), what)
            try:
                yield file
            finally:
                file.close()


class RemoteHdf5:
    """Datasets of an HDF5 file, read in part."""

    def __init__(self, file: _Steady, what: str) -> None:
        self.what = what
        self._h5py = require("h5py", extra="sevir")
        self._file = self._reading(lambda: self._h5py.File(file, "r"))

    def shape(self, name: str) -> tuple[int, ...] | None:
        """None where there is no such dataset."""
        shape: tuple[int, ...] | None = self._reading(lambda: self._file[name].shape if name in self._file else None)
        return shape

    def read(self, name: str, index: Any = ()) -> np.ndarray:
        return np.asarray(self._reading(lambda: self._file[name][index]))

    def close(self) -> None:
        self._file.close()

    def _reading(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise DownloadError(f"{self.what} is no HDF5 file, or a damaged one: {error}") from None


def persistently(action: Callable[[], T], *, what: str) -> T:
    """Do it, and again after errors that may pass.  Raises DownloadError."""
    for attempt in range(1, download.TRIES + 1):
        try:
            return action()
        except Exception as error:  # of aiobotocore, aiohttp, asyncio and s3fs: they have no common family
            words, may_pass = reason(error)
            if not may_pass or attempt == download.TRIES:
                times = "" if attempt == 1 else f" ({attempt} times)"
                raise DownloadError(
                    f"{what} could not be fetched: {words}{times}",
                    do="check the network and the proxy settings, then give the same command again",
                ) from None
        time.sleep(download.PAUSE * 2 ** (attempt - 1))
    raise AssertionError("the last attempt returns or raises")


def reason(error: BaseException) -> tuple[str, bool]:
    """What went wrong between us and the bucket, in words without an address, and whether it may pass."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    for one in chain:
        response = getattr(one, "response", None)
        if isinstance(response, dict) and (status := response.get("ResponseMetadata", {}).get("HTTPStatusCode")):
            return f"the host answered {status}", status in _PASSING
    names = {kind.__name__ for one in chain for kind in type(one).__mro__}
    for kinds, words in _WORDS:
        if kinds & names:
            return words, "certificate" not in words
    return f"the request failed ({type(error).__name__})", False


class _Steady:
    """A remote file for h5py, whose reads are tried again."""

    def __init__(self, file: Any, what: str) -> None:
        self._file, self._what = file, what

    def readinto(self, buffer: Any) -> int:
        return int(persistently(lambda: self._file.readinto(buffer), what=self._what))

    def read(self, size: int = -1) -> bytes:
        return bytes(persistently(lambda: self._file.read(size), what=self._what))

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())
