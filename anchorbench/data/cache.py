"""What lies in the cache, what would come, what may go.

<cache>/<dataset>/<source>/<size>-<hash8>/    a ladder; beside it what was being made of it
<cache>/files/<digest>/                       downloads, by their content or their address
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from anchorbench.data.download import cache_path, holds
from anchorbench.data.fetch import DOWNLOADS, SOLVING, Request, download_bytes
from anchorbench.data.ladder import COMPLETE, FORMER, LOCK, PART, Ladder, ladder_folder, open_ladder
from anchorbench.data.remote import remembered, url_folder
from anchorbench.data.sources import load_module
from anchorbench.errors import DownloadError, LadderError


@dataclass(frozen=True)
class Plan:
    """What a fetch would do.

    download: bytes still to come, None where nobody knows before.  cached: bytes of its downloads that are there.
    disk: bytes of the ladder with its array cache.  seconds: of solving, None where nothing is solved.
    """

    there: bool
    download: int | None
    cached: int
    disk: int
    seconds: float | None


def plan(wanted: Request, cache: Path, *, force: bool = False, device: str = "cpu") -> Plan:
    """What a fetch of this would do.  Touches neither disk nor network; a solver's speed is measured."""
    there = (ladder_folder(wanted.spec, cache) / COMPLETE).exists()
    if there and not force:
        return Plan(True, 0, _cached(wanted, cache), size_of(ladder_folder(wanted.spec, cache)), None)
    reader = load_module(wanted.described.reader)
    seconds = None
    if hasattr(reader, "estimate_seconds"):
        seconds = float(reader.estimate_seconds(wanted.options, device=device))
    return Plan(
        there, download_bytes(wanted, None if force else cache), _cached(wanted, cache), wanted.disk_bytes(), seconds
    )


def _cached(wanted: Request, cache: Path) -> int:
    """Bytes of its downloads that are there: files of a sample, whole addresses of a public set."""
    source = wanted.described
    members = [cache_path(cache, sha256=file.member.sha256, name=file.member.name) for file in source.files]
    return sum(map(size_of, members)) + sum(size_of(url_folder(cache, url)) for url in source.urls.values())


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; 0 where there is nothing."""
    files = [path] if path.is_file() else path.rglob("*")
    total = 0
    for file in files:
        with suppress(OSError):  # somebody else may be removing it
            total += file.stat().st_size if file.is_file() else 0
    return total


# -- verify ------------------------------------------------------------------------------------------------------------


def verify(wanted: Request, cache: Path) -> tuple[Ladder, int]:
    """Hash the ladder and the downloads that it was made of, as far as they are kept.

    Returns the ladder and how many downloaded files there were.  Raises LadderError or DownloadError at the first file
    that is not what was written.
    """
    ladder = open_ladder(wanted.spec, cache)
    ladder.verify()
    n = 0
    for path, sha256 in _downloads(_folders_of(ladder.about["attrs"]), cache):
        if not holds(path, sha256=sha256):
            command = f"anchorbench fetch {wanted.spec.dataset} --size {wanted.spec.size} --source {wanted.source}"
            raise DownloadError(
                f"{path} is not the file that was downloaded: its SHA-256 differs",
                do=f"get it again:  {command} --force",
            )
        n += 1
    return ladder, n


def _downloads(folders: Iterable[str], cache: Path) -> Iterator[tuple[Path, str]]:
    """Every downloaded file in these folders whose SHA-256 is known, with it."""
    for name in sorted(folders):
        folder = cache / "files" / name
        for path in sorted(folder.glob("[!.]*")):
            if len(name) == 64:  # addressed by content
                yield path, name
            elif path.is_file() and (about := remembered(path)) is not None:
                yield path, str(about["digests"]["sha256"])
        with suppress(OSError, ValueError):
            for line in (folder / "members" / "index.jsonl").read_text().splitlines():
                member: Mapping[str, Any] = json.loads(line)
                if member.get("file") and (path := folder / "members" / member["file"]).exists():
                    yield path, str(member["sha256"])


def _folders_of(attrs: Mapping[str, str]) -> set[str]:
    """The folders in <cache>/files of what a ladder was made of."""
    names = (attrs.get(key, "") for key in (DOWNLOADS, "member_sha256", "artefact_sha256"))
    return {name for joined in names for name in joined.split(", ") if name}


# -- remove ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Removed:
    """What went: a line for a person, and its bytes."""

    what: str
    bytes: int


def is_there(wanted: Request, cache: Path) -> bool:
    """True where a ladder, or what was being made of it, takes space."""
    return any(path.exists() for path in _places(wanted, cache))


def _places(wanted: Request, cache: Path) -> list[Path]:
    folder = ladder_folder(wanted.spec, cache)
    return [folder, *(folder.with_name(folder.name + ending) for ending in (PART, FORMER, SOLVING))]


def remove_ladder(wanted: Request, cache: Path) -> tuple[Removed, set[str]]:
    """Remove a ladder with its array cache and all that was being made of it.

    Returns what went, and the folders of the downloads that it was made of: they stay.
    Raises LadderError where there is nothing, or where somebody is writing it: then all is left as it is.
    """
    folder, mine = ladder_folder(wanted.spec, cache), _places(wanted, cache)
    if not is_there(wanted, cache):
        there = sorted(path.parent.name for path in folder.parent.glob(f"*/{COMPLETE}"))
        others = f"; of this source there is {', '.join(there)}" if there else ""
        raise LadderError(
            f"there is no ladder '{wanted.spec.name}' in {cache} to remove{others}",
            do="name size, source and --set as it was fetched with",
        )
    with _free(folder.with_name(folder.name + LOCK)) as free:
        if not free:
            raise LadderError(
                f"somebody is writing the ladder '{wanted.spec.name}': it is left alone",
                do="wait, or stop that command",
            )
        size = sum(map(size_of, mine))
        used: set[str] = set()
        with suppress(OSError, ValueError, KeyError, TypeError):
            used = _folders_of(json.loads((folder / COMPLETE).read_text())["attrs"])
            _gone(folder / COMPLETE)  # first: stopped in the middle, what is left is no ladder
        for path in mine:
            _gone(path)
    return Removed(f"ladder {wanted.spec.name}", size), used


def remove_downloads(used: set[str], cache: Path) -> tuple[list[Removed], str | None]:
    """Remove the downloads that no ladder of the cache is made of; those of `used` (of ladders that went) if in doubt.

    Returns what went, and in a line what stayed for another reason than that a ladder is made of it.
    """
    ladders = (lock for lock in cache.glob(f"*/*/*{LOCK}") if lock.parents[1].name != "files")
    if any(map(_is_held, ladders)):
        return [], "somebody is making a ladder in this cache: all downloads stay"
    needed, doubt = _needed(cache)
    folders = {path.name for path in (cache / "files").glob("*") if path.is_dir()}
    idle = (folders & used if doubt else folders) - needed
    kept = f"downloads that {doubt} may be made of stay" if doubt and folders - needed - used else None
    gone = []
    for name in sorted(idle):
        folder = cache / "files" / name
        if any(_is_held(lock) for lock in folder.rglob(f".*{LOCK}")):
            kept = "downloads that are coming in stay"
            continue
        called = ", ".join(sorted(path.name for path in folder.glob("[!.]*")))
        gone.append(Removed(f"download {called}" if called else "an unfinished download", size_of(folder)))
        _gone(folder)
    return gone, kept


def _needed(cache: Path) -> tuple[set[str], str | None]:
    """The folders of downloads that the cache's ladders are made of, and a ladder that does not say which, if any."""
    needed: set[str] = set()
    doubt = None
    for complete in sorted(cache.glob(f"*/*/*/{COMPLETE}")):
        try:
            attrs = json.loads(complete.read_text())["attrs"]
        except (OSError, ValueError, KeyError, TypeError):
            attrs = {}
        mine = _folders_of(attrs)
        needed |= mine
        if not mine and complete.parents[1].name.partition("-")[0] in ("public", "sample"):
            doubt = str(complete.parent.relative_to(cache))
    return needed, doubt


@contextmanager
def _free(lock: Path) -> Iterator[bool]:
    """Hold a lock for the time, if nobody else does."""
    held = FileLock(lock, is_singleton=True)
    try:
        held.acquire(timeout=0)
    except Timeout:
        yield False
        return
    except OSError as error:
        raise LadderError(f"{lock} cannot be written: {error.strerror or error}") from None
    try:
        yield True
    finally:
        held.release()


def _is_held(lock: Path) -> bool:
    with _free(lock) as free:
        return not free


def _gone(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return  # somebody else was faster
    except OSError as error:
        raise LadderError(f"{path} could not be removed: {error.strerror or error}") from None
