"""Many ladders in one go: downloads side by side, then one ladder after another; one that fails loses no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from anchorbench.data.at_once import at_once
from anchorbench.data.catalog import SampleFile
from anchorbench.data.download import OFFLINE, is_offline, watched
from anchorbench.data.fetch import Request, fetch, missing_files, require_space
from anchorbench.data.ladder import COMPLETE, Ladder, ladder_folder
from anchorbench.data.package_index import sample_members
from anchorbench.data.sources import Progress
from anchorbench.errors import AnchorbenchError, DownloadError

#: For whom, what it is, the bytes that are there, how many there will be.
Watch = Callable[[Request, str, int, int | None], None]


def fetch_many(
    wanted: Sequence[Request],
    cache: Path,
    *,
    jobs: int | None = None,
    force: bool = False,
    offline: bool = False,
    device: str = "cpu",
    progress: Callable[[Request, str, float], None] | None = None,
    watch: Watch | None = None,
) -> list[Ladder | AnchorbenchError]:
    """All these ladders, in their order; an error stands in the place of one that failed.

    The archives of samples are downloaded `jobs` at once.  Then ladder after ladder is made: a solver has all cores,
    and the libraries that read and write the files are not for several threads.  watch: told of every download.
    """

    def watching(one: Request) -> AbstractContextManager[None]:
        return nullcontext() if watch is None else watched(partial(watch, one))

    def bring(i: int, files: Sequence[SampleFile]) -> None:
        with watching(wanted[i]):
            sample_members(files, cache, offline=offline, force=force)

    def make(i: int) -> Ladder | AnchorbenchError:
        one = wanted[i]
        tell = None if progress is None else partial(progress, one)
        try:
            with watching(one):
                return fetch(
                    one, cache, force=force, offline=offline, device=device, progress=tell, again=i not in brought
                )
        except AnchorbenchError as error:
            return error

    failed: dict[int, AnchorbenchError] = {}
    archives: dict[tuple[int, str], list[SampleFile]] = {}
    for i, one in enumerate(wanted):
        if force or not (ladder_folder(one.spec, cache) / COMPLETE).exists():
            try:
                require_space(one, cache)
            except AnchorbenchError as error:
                failed[i] = error
                continue
            lacking = one.described.files if force else missing_files(one.described.files, cache)
            if lacking and is_offline(offline):
                failed[i] = _missing(one, lacking)
                continue
            for file in lacking:
                archives.setdefault((i, file.artefact.sha256), []).append(file)
    brought = {i for i, _ in archives}
    ended = at_once([partial(bring, i, files) for (i, _), files in archives.items()], jobs=jobs)
    for (i, _), outcome in zip(archives, ended, strict=True):
        if outcome is not None:
            failed.setdefault(i, outcome)
    return [failed[i] if i in failed else make(i) for i in range(len(wanted))]


def fetch_one(
    wanted: Request,
    cache: Path,
    *,
    offline: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Ladder:
    """The ladder, its archives downloaded side by side as `fetch_many` does; raises what kept it from being made."""
    tell = None if progress is None else (lambda one, stage, share: progress(stage, share))
    (ladder,) = fetch_many([wanted], cache, offline=offline, device=device, progress=tell)
    if isinstance(ladder, AnchorbenchError):
        raise ladder
    return ladder


def _missing(one: Request, lacking: Sequence[SampleFile]) -> DownloadError:
    names = ", ".join(f"{file.member.name} of {file.artefact.name}" for file in lacking)
    return DownloadError(
        f"not in the cache, and this is offline mode: {names}",
        do=f"fetch '{one.entry.name}' once with the network (without --offline and {OFFLINE})",
    )
