"""A Zarr store (format 2) at an address, of which only the chunks are fetched that are read.

Each chunk is one object; it lies in the cache as it came, so that an interrupted fetch goes on with the next one.
An object that the store does not hold is a chunk that was never written: its values are NaN.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import requests

from anchorbench.data.at_once import at_once
from anchorbench.data.download import refuse_offline
from anchorbench.data.remote import get_file, url_folder
from anchorbench.data.sources import require
from anchorbench.errors import DownloadError

METADATA = ".zmetadata"
EXTRA = "weather"


@dataclass(frozen=True)
class ArrayInfo:
    """An array of the store, as its metadata describe it; dims are the names of its axes."""

    name: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    dims: tuple[str, ...]
    attrs: dict[str, Any]
    described: dict[str, Any]

    def axis(self, dim: str) -> int:
        return self.dims.index(dim)


class ZarrParts:
    """The store at one address.

    what: its name in messages; none of them holds the address.
    Raises DownloadError where there is no consolidated metadata to be had.
    """

    def __init__(self, url: str, cache: Path, *, what: str, offline: bool = False, force: bool = False) -> None:
        self.url, self.cache, self.what = url.rstrip("/"), cache, what
        self.offline, self.force = offline, force
        path = self._path(METADATA)
        if path is None:
            raise DownloadError(f"{what} holds no {METADATA}: it is no consolidated Zarr store, or not there")
        text = path.read_bytes()
        try:
            self.metadata: dict[str, Any] = json.loads(text)["metadata"]
        except (ValueError, KeyError, TypeError):
            raise DownloadError(f"the {METADATA} of {what} cannot be read") from None
        self.digest = hashlib.sha256(text).hexdigest()

    @property
    def attrs(self) -> dict[str, Any]:
        return dict(self.metadata.get(".zattrs", {}))

    @property
    def names(self) -> list[str]:
        """All arrays."""
        return sorted(key.removesuffix("/.zarray") for key in self.metadata if key.endswith("/.zarray"))

    def info(self, name: str) -> ArrayInfo:
        """Raises DownloadError for an array that the store lacks, or one that is packed."""
        try:
            described = self.metadata[f"{name}/.zarray"]
            attrs = self.metadata.get(f"{name}/.zattrs", {})
            dims = tuple(attrs["_ARRAY_DIMENSIONS"])
            shape, chunks = tuple(map(int, described["shape"])), tuple(map(int, described["chunks"]))
            info = ArrayInfo(name, shape, chunks, np.dtype(described["dtype"]), dims, attrs, described)
        except (KeyError, TypeError, ValueError):
            raise DownloadError(f"{self.what} has no array '{name}' with named axes") from None
        if {"scale_factor", "add_offset"} & set(attrs) or len(dims) != len(shape):
            raise DownloadError(f"'{name}' of {self.what} is packed, or its axes are not named: it would be misread")
        return info

    def read(
        self, name: str, where: dict[str, Sequence[int]] | None = None, *, tell: Callable[[float], None] | None = None
    ) -> np.ndarray:
        """An array, or of some axes only these indices: where = {"time": [3, 7], "level": [5]}.

        Floating-point values that were never written, or are the fill value, are NaN.
        tell: the share of the chunks that are there.  Raises DownloadError.
        """
        info = self.info(name)
        wanted = [
            np.asarray((where or {}).get(dim, range(n)), int) for dim, n in zip(info.dims, info.shape, strict=True)
        ]
        numbers = [np.unique(index // size) for index, size in zip(wanted, info.chunks, strict=True)]
        grid = list(itertools.product(*numbers))
        paths = self._fetch(info, grid, tell)
        out = np.full([len(index) for index in wanted], _nothing(info), info.dtype)
        for chunk, path in zip(grid, paths, strict=True):
            places, inside = [], []
            for index, c, size in zip(wanted, chunk, info.chunks, strict=True):
                place = np.flatnonzero(index // size == c)
                places.append(place)
                inside.append(index[place] - c * size)
            if path is not None:
                out[np.ix_(*places)] = self._decode(info, path)[np.ix_(*inside)]
        return out

    def _fetch(
        self, info: ArrayInfo, grid: list[tuple[int, ...]], tell: Callable[[float], None] | None
    ) -> list[Path | None]:
        """The files of these chunks; None for one that was never written."""
        separator = info.described.get("dimension_separator", ".")
        done: list[int] = []

        def get(chunk: tuple[int, ...]) -> Path | None:
            # An array without axes is one chunk, called 0.
            path = self._path(f"{info.name}/{separator.join(map(str, chunk)) or '0'}")
            done.append(1)
            if tell is not None:
                tell(len(done) / len(grid))
            return path

        outcomes = at_once([partial(get, chunk) for chunk in grid])
        paths: list[Path | None] = []
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
            paths.append(outcome)
        return paths

    def _path(self, key: str) -> Path | None:
        """The object in the cache, fetched if it is not there; None where the store has none."""
        url, what = f"{self.url}/{key}", f"{key} of {self.what}"
        if not url.startswith(("http://", "https://")):
            return self._path_by_fsspec(url, what)
        name = key.replace("/", "-")
        try:
            return get_file(url, self.cache, what=what, name=name, offline=self.offline, force=self.force)
        except DownloadError as error:
            if _is_absent(error):
                return None
            raise

    def _path_by_fsspec(self, url: str, what: str) -> Path | None:
        target = url_folder(self.cache, url) / "object"
        if target.is_file() and not self.force:
            return target
        refuse_offline(what, target, self.offline)
        fsspec = require("fsspec", extra=EXTRA)
        if url.startswith(("gs://", "gcs://")):
            require("gcsfs", extra=EXTRA)
        options = {"token": "anon"} if url.startswith(("gs://", "gcs://")) else {}
        try:
            content = fsspec.filesystem(url.partition("://")[0], **options).cat_file(url)
        except FileNotFoundError:
            return None
        except Exception as error:  # each file system has a family of its own
            raise DownloadError(
                f"{what} could not be fetched: {type(error).__name__}",
                do="check the network and the proxy settings, then give the same command again",
            ) from None
        part = target.with_name(".object.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content)
            part.replace(target)
        except OSError as error:
            raise DownloadError(
                f"{what} could not be written to {target.parent}: {error.strerror}",
                do="choose another folder with --cache",
            ) from None
        return target

    def _decode(self, info: ArrayInfo, path: Path) -> np.ndarray:
        """One chunk, whole: (*chunks), NaN for its fill value."""
        numcodecs = require("numcodecs", extra=EXTRA)
        described = info.described
        try:
            data: Any = path.read_bytes()
            if described.get("compressor"):
                data = numcodecs.get_codec(dict(described["compressor"])).decode(data)
            for codec in reversed(described.get("filters") or []):
                data = numcodecs.get_codec(dict(codec)).decode(data)
            values = np.frombuffer(data, info.dtype).reshape(info.chunks, order=described.get("order", "C"))
        except (ValueError, RuntimeError, TypeError, OSError) as error:
            path.unlink(missing_ok=True)
            raise DownloadError(
                f"a chunk of '{info.name}' of {self.what} is damaged ({type(error).__name__}): it was deleted",
                do="give the same command again",
            ) from None
        fill = described.get("fill_value")
        if info.dtype.kind == "f" and isinstance(fill, int | float) and fill != 0:
            values = np.where(values == info.dtype.type(fill), np.nan, values)
        return np.asarray(values)


def _nothing(info: ArrayInfo) -> float | int:
    """What stands where nothing was written."""
    return np.nan if info.dtype.kind == "f" else 0


def _is_absent(error: DownloadError) -> bool:
    """True where the host said that there is no such object: its answer is what the message was made from."""
    cause = error.__context__
    return isinstance(cause, requests.HTTPError) and cause.response is not None and cause.response.status_code == 404
