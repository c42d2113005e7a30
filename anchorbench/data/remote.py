"""What the readers of public sets share over HTTP: whole files, and files that are read in part.

    get_file       one file, whole; goes on where it broke off
    get_files      several at once
    stream_tar     the members of a tar while it comes, stopping early
    open_ranges    a seekable file of which only the blocks are fetched that are read: for h5py

All of an address lies in <cache>/files/url-<SHA-256 of the address>/, what the host said of it (ETag, date, size) and
its own SHA-256 beside it.  Redirects are followed.  No message holds an address: it may carry a password or a token.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import requests

from anchorbench.data.at_once import at_once
from anchorbench.data.download import (
    Progress,
    alone,
    look_for_space,
    mismatch,
    note,
    part_of,
    persistently,
    receive,
    refuse_offline,
    telling,
)
from anchorbench.data.remote_parts import RangeFile, file_name, mark_of, open_ranges, url_folder
from anchorbench.data.remote_tar import stream_tar
from anchorbench.errors import DownloadError

__all__ = ["RangeFile", "RemoteFile", "get_file", "get_files", "open_ranges", "stream_tar", "url_folder"]


@dataclass(frozen=True)
class RemoteFile:
    """A file at an address.

    what: its name in messages.  checksum: "md5:HEX" or "sha256:HEX".  identity: what stands for the address in the
    cache, where the address itself holds a token.
    """

    url: str = field(repr=False)
    what: str
    name: str | None = None
    checksum: str | None = None
    size: int | None = None
    identity: str | None = field(default=None, repr=False)


def get_files(
    files: Sequence[RemoteFile],
    cache: Path,
    *,
    jobs: int | None = None,
    offline: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Several files, a few at a time; the paths in the order of the files.

    progress: told the bytes of all together, and their sum where each is known.  One that fails does not stop the
    others; then its DownloadError is raised.
    """
    done, total = [0] * len(files), [file.size for file in files]

    def tell(i: int, have: int, whole: int | None) -> None:
        done[i], total[i] = have, whole
        if progress is not None:
            progress(sum(done), None if None in total else sum(n or 0 for n in total))

    def get(i: int, file: RemoteFile) -> Path:
        return get_file(**vars(file), cache=cache, offline=offline, force=force, progress=partial(tell, i))

    found = at_once([partial(get, i, file) for i, file in enumerate(files)], jobs=jobs)
    paths = []
    for path in found:
        if not isinstance(path, Path):
            raise path
        paths.append(path)
    return paths


def get_file(
    url: str,
    cache: Path,
    *,
    what: str,
    name: str | None = None,
    checksum: str | None = None,
    size: int | None = None,
    identity: str | None = None,
    session: requests.Session | None = None,
    offline: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Path:
    """The file at an address, from the cache or the host: <cache>/files/url-<SHA-256 of the address>/<name>.

    what: its name in messages.  name: of the file [the address's last part].  checksum: "md5:HEX" or "sha256:HEX".
    A file that broke off goes on where it was, if the host's mark (ETag or date) says that it is still the same; a copy
    that somebody put there by hand is taken if it fits size and checksum.
    Raises DownloadError: offline, no network, no space, a status that will not pass, another size or checksum.
    """
    algorithm, _, expected = (checksum or "sha256:").partition(":")
    target = url_folder(cache, identity or url) / (name or file_name(url))
    promise = _Promise(what, algorithm, expected.lower(), size)
    if not force and promise.is_kept_by(target):
        return note(target)
    refuse_offline(what, target, offline)
    with alone(target, what=what, size=size):
        if not force and promise.is_kept_by(target):  # another process was first
            return note(target)
        part = part_of(target)
        mark = target.with_name(f".{target.name}.mark")
        if part.exists() and not expected and not mark.exists():
            part.unlink()  # of which version it is the beginning nobody can tell
        said: dict[str, str] = {}

        def on_answer(answer: requests.Response, total: int | None) -> None:
            if None not in (size, total) and size != total:
                raise DownloadError(f"{what} has {total} bytes at the host, not the promised {size}")
            have = part.stat().st_size if answer.status_code == 206 else 0
            look_for_space(what, target.parent, None if total is None else total - have)
            said.update(_headers(answer))
            if (now := mark_of(answer)) is not None:
                mark.write_text(now)
            else:
                mark.unlink(missing_ok=True)

        with requests.Session() if session is None else nullcontext(session) as http:

            def fetch() -> dict[str, str]:
                return receive(
                    http,
                    url,
                    part,
                    size=size,
                    progress=telling(what, progress),
                    algorithms=tuple({"sha256": 0, algorithm: 0}),
                    unchanged=mark.read_text() if mark.exists() else None,
                    on_answer=on_answer,
                )

            begun = part.exists()
            found = persistently(fetch, what=what, gained=lambda: part.stat().st_size if part.exists() else 0)
            if begun and expected and found[algorithm] != expected:  # the beginning may be of another version
                part.unlink()
                found = persistently(fetch, what=what)
        mark.unlink(missing_ok=True)
        if expected and found[algorithm] != expected:
            part.unlink()
            raise mismatch(what, expected, found[algorithm], algorithm=algorithm)
        if size is not None and (have := part.stat().st_size) != size:
            part.unlink()
            raise DownloadError(f"{what} has {have} bytes, not the promised {size}")
        part.replace(target)
        _remember(target, found, said)
    return note(target)


@dataclass(frozen=True)
class _Promise:
    """What a file has to be."""

    what: str
    algorithm: str
    expected: str
    size: int | None

    def __post_init__(self) -> None:
        if self.algorithm not in ("md5", "sha256"):
            raise DownloadError(f"the checksum of {self.what} is md5:... or sha256:..., not {self.algorithm}:...")

    def is_kept_by(self, path: Path) -> bool:
        """True where the file is there and is this; a file as it was left is believed, any other is hashed."""
        if not path.is_file() or (self.size is not None and path.stat().st_size != self.size):
            return False
        about = remembered(path)
        if about is None or not as_it_was_left(path, about):
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            if about is not None and about["digests"]["sha256"] != sha256:
                return False
            about = _remember(path, {"sha256": sha256}, {} if about is None else about["said"])
        if not self.expected:
            return True
        if self.algorithm not in about["digests"]:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, self.algorithm).hexdigest()
            about = _remember(path, {**about["digests"], self.algorithm: found}, about["said"])
        return bool(about["digests"][self.algorithm] == self.expected)


def remembered(path: Path) -> dict[str, Any] | None:
    """What was written down of a downloaded file: size, digests, what the host said; None where nothing was."""
    try:
        about: dict[str, Any] = json.loads(_about(path).read_text())
        about["digests"]["sha256"], about["size"], about["mtime_ns"], about["said"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return about


def as_it_was_left(path: Path, about: Mapping[str, Any]) -> bool:
    stat = path.stat()
    return (stat.st_size, stat.st_mtime_ns) == (about["size"], about["mtime_ns"])


def _remember(path: Path, digests: Mapping[str, str], said: Mapping[str, str]) -> dict[str, Any]:
    stat = path.stat()
    about = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "digests": dict(digests), "said": dict(said)}
    with suppress(OSError):  # a cache that may only be read
        _about(path).write_text(json.dumps(about))
    return about


def _about(path: Path) -> Path:
    return path.with_name(f".{path.name}.json")


def _headers(answer: requests.Response) -> dict[str, str]:
    return {name: answer.headers[name] for name in ("ETag", "Last-Modified") if name in answer.headers}
