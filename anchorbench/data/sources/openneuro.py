"""mri, public: raw T1-weighted heads of any OpenNeuro dataset, one file a subject, straight from its bucket over HTTPS.

    <base>/<dataset>/sub-01/anat/sub-01_T1w.nii.gz                    or, with sessions,
    <base>/<dataset>/sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz        (run-, acq- and other labels in between)

Which subjects and files there are the bucket says itself (ListObjectsV2, a page at a time).  It always holds the newest
version of a dataset, so what was listed is kept, and the ladder's file names every object with its size and ETag; the
ETag of an object that was uploaded in one part is its MD5, and is checked.  A second file of a subject (another
session, another run) is not taken.  The first subjects are test, then validation, then training.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast
from urllib.parse import quote
from xml.etree import ElementTree

import requests
from pydantic import Field

from anchorbench.data.download import TIMEOUT, alone, is_offline, note, part_of, persistently, refuse_offline
from anchorbench.data.remote import RemoteFile, get_files, url_folder
from anchorbench.data.sources import Ask, Loaded, SplitFields, require
from anchorbench.data.sources.t1w import Slicing, Subjects, intensity_note, nifti_volume, slice_fields, subjects_of
from anchorbench.errors import CatalogError, DownloadError

T1W = re.compile(r"sub-[A-Za-z0-9]+(/ses-[A-Za-z0-9]+)?/anat/[^/]*_T1w\.nii\.gz")


class Options(Subjects, Slicing):
    """Which dataset and subjects are taken; all of it is in the ladder's digest."""

    dataset: str = Field("ds000030", pattern="^ds[0-9]{6}$", description="OpenNeuro's number")
    names: tuple[str, ...] = Field((), description="subjects to choose from, as sub-...; all of the dataset without it")


@dataclass(frozen=True)
class Object:
    """An object of a bucket: its key, bytes and ETag."""

    key: str
    size: int
    etag: str

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]


def load(ask: Ask) -> Loaded:
    """One T1-weighted file of as many subjects as are asked for, unless they are in the cache, cut into slices.

    Raises DownloadError where the bucket or a file cannot be had, ConfigError where it has fewer subjects.
    """
    options = cast(Options, ask.options)
    require("nibabel", extra="mri")
    base = ask.source.urls.get("bucket")
    if base is None:
        raise CatalogError("the catalogue names no 'bucket' under the urls of this source")
    wanted = sum(options.heads.values())
    found = list_t1w(base, options, ask.cache, wanted=wanted, offline=ask.offline)
    by_split = subjects_of(list(found), options.heads, where=options.dataset)
    tell = ask.tell("downloading")
    paths = get_files(
        [remote_file(base, entry) for entry in found.values()],
        ask.cache,
        offline=ask.offline,
        force=ask.force,
        progress=lambda done, total: tell(done / total if total else 0.0),
    )
    path_of = dict(zip(found, paths, strict=True))
    splits: dict[str, SplitFields] = {
        split: slice_fields(
            (nifti_volume(path_of[subject], name=found[subject].name) for subject in subjects),
            options,
            ask.finest,
            most=options.slices_of(split),
            split=split,
        )
        for split, subjects in by_split.items()
    }
    about = {"openneuro": options.dataset, "objects": json.dumps([asdict(found[subject]) for subject in found])}
    return Loaded(splits, attrs=about | intensity_note(options))


def list_t1w(base: str, options: Options, cache: Path, *, wanted: int, offline: bool) -> dict[str, Object]:
    """The first `wanted` subjects that have a T1-weighted file, and that file: asked anew, offline as last time.

    Raises DownloadError.
    """
    kept = url_folder(cache, "/".join([base, options.dataset, *options.names])) / "objects.json"
    what = f"the list of {options.dataset} on OpenNeuro"
    if is_offline(offline):
        try:
            known = {subject: Object(**entry) for subject, entry in json.loads(kept.read_text()).items()}
        except (OSError, ValueError, TypeError):
            known = {}
        if len(known) < wanted:
            refuse_offline(what, kept, offline)
        note(kept)
        return dict(list(known.items())[:wanted])
    found: dict[str, Object] = {}
    for subject in _subjects(base, options, what=what):
        files = [o for o in _keys(base, f"{options.dataset}/{subject}/", what=what) if T1W.search(o.key) and o.size]
        if files:
            found[subject] = min(files, key=lambda o: o.key)
        if len(found) == wanted:
            break
    with alone(kept, what=what, size=None):
        part = part_of(kept)
        part.write_text(json.dumps({subject: asdict(o) for subject, o in found.items()}))
        part.replace(kept)
    note(kept)
    return found


def remote_file(base: str, entry: Object) -> RemoteFile:
    """An object, known in the cache by key, size and ETag; its MD5 where the ETag is one."""
    return RemoteFile(
        f"{base}/{quote(entry.key)}",
        what=entry.name,
        size=entry.size,
        checksum=f"md5:{entry.etag}" if re.fullmatch("[0-9a-f]{32}", entry.etag) else None,
        identity=f"{base}/{quote(entry.key)}?{quote(entry.etag)}",
        name=entry.name,
    )


def _subjects(base: str, options: Options, *, what: str) -> Iterator[str]:
    if options.names:
        yield from options.names
        return
    found = False
    for prefix in _prefixes(base, f"{options.dataset}/sub-", what=what):
        found = True
        yield prefix.rstrip("/").rpartition("/")[2]
    if not found:
        raise DownloadError(
            f"OpenNeuro has no dataset {options.dataset}, or no subjects in it",
            do="look it up on https://openneuro.org",
        )


def _keys(base: str, prefix: str, *, what: str) -> Iterator[Object]:
    for page in _pages(base, {"prefix": prefix}, what=what):
        for entry in page.findall("{*}Contents"):
            size, etag = entry.findtext("{*}Size", "0"), entry.findtext("{*}ETag", "")
            yield Object(entry.findtext("{*}Key", ""), int(size), etag.strip('"'))


def _prefixes(base: str, prefix: str, *, what: str) -> Iterator[str]:
    for page in _pages(base, {"prefix": prefix, "delimiter": "/"}, what=what):
        for entry in page.findall("{*}CommonPrefixes"):
            yield entry.findtext("{*}Prefix", "")


def _pages(base: str, query: dict[str, str], *, what: str) -> Iterator[ElementTree.Element]:
    """The answers of ListObjectsV2, until one says that nothing follows."""
    more: dict[str, str] = {}
    while True:

        def ask(more: dict[str, str] = more) -> ElementTree.Element:
            answer = requests.get(base, params={"list-type": "2"} | query | more, timeout=TIMEOUT)
            answer.raise_for_status()
            return ElementTree.fromstring(answer.content)

        try:
            page = persistently(ask, what=what)
        except ElementTree.ParseError:
            raise DownloadError(f"{what}: the host answered with something that is no list of a bucket") from None
        yield page
        if page.findtext("{*}IsTruncated", "false") != "true":
            return
        more = {"continuation-token": page.findtext("{*}NextContinuationToken", "")}
