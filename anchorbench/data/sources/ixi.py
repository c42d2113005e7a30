"""mri, public: IXI, healthy heads from three London hospitals, streamed out of one tar a modality over plain HTTP.

    IXI-T1.tar: IXI002-Guys-0828-T1.nii.gz, ...     id - site - number - modality

The archive has no index and holds some 580 heads: it is read from the front and left as soon as there are enough.
Every head that has gone by is kept, so that a fetch that was stopped goes on, and one for more subjects as well.  The
traps, each with a test: the tar may end in the middle of a head, or hold fewer than are asked for; `._` files of other
systems lie between the members; a head may be damaged, which its gzip tells.

The catalogue's MD5 is of the whole archive: `whole` downloads all of it (4.8 GB), checks that, and reads from the copy.
The first subjects are test, then validation, then training.
"""

from __future__ import annotations

import re
import tarfile
from itertools import islice
from pathlib import Path
from typing import Literal, cast

from pydantic import Field

from anchorbench.data.download import alone, part_of
from anchorbench.data.remote import get_file, stream_tar
from anchorbench.data.sources import Ask, Loaded, SplitFields, require
from anchorbench.data.sources.t1w import Slicing, Subjects, intensity_note, nifti_volume, slice_fields, subjects_of
from anchorbench.errors import CatalogError, DownloadError

Modality = Literal["T1", "T2", "PD", "MRA"]
MEMBER = re.compile(r"(?:.*/)?(IXI\d+-[A-Za-z]+-\d+-(?:T1|T2|PD|MRA)\.nii\.gz)")


class Options(Subjects, Slicing):
    """Which part of IXI is taken; all of it is in the ladder's digest."""

    modality: Modality = "T1"
    whole: bool = Field(False, description="download the whole archive and check its MD5, instead of its beginning")


def load(ask: Ask) -> Loaded:
    """Stream as many heads as are asked for, unless they are in the cache, and slice them.

    Raises DownloadError: offline, no network, a truncated archive, another MD5; ConfigError for too many subjects.
    """
    options = cast(Options, ask.options)
    require("nibabel", extra="mri")
    url = ask.source.urls.get(options.modality)
    if url is None:
        raise CatalogError(f"the catalogue names no address of IXI's {options.modality} archive")
    archive, wanted = f"IXI-{options.modality}.tar", sum(options.heads.values())
    heads = whole_archive(ask, url, archive, wanted) if options.whole else beginning(ask, url, archive, wanted)
    by_split = subjects_of(list(heads), options.heads, where=archive)
    splits: dict[str, SplitFields] = {
        split: slice_fields(
            (nifti_volume(heads[name], name=name) for name in names),
            options,
            ask.finest,
            most=options.slices_of(split),
            split=split,
        )
        for split, names in by_split.items()
    }
    return Loaded(splits, attrs={"modality": options.modality} | intensity_note(options))


def beginning(ask: Ask, url: str, archive: str, wanted: int) -> dict[str, Path]:
    """The first `wanted` heads of the archive, in its order, by name; fewer where it has no more.

    Raises DownloadError.
    """
    heads: dict[str, Path] = {}
    tell = ask.tell("downloading")
    members = stream_tar(
        url, ask.cache, what=archive, wanted=lambda name: _head(name) is not None, offline=ask.offline, force=ask.force
    )
    for name, path in islice(members, wanted):
        heads[cast(str, _head(name))] = path
        tell(len(heads) / wanted)
    return heads


def whole_archive(ask: Ask, url: str, archive: str, wanted: int) -> dict[str, Path]:
    """The same out of a copy of all of it, checked against the catalogue's MD5.  Raises DownloadError."""
    checksum = ask.source.checksums.get(ask.options.modality)
    copy = get_file(
        url,
        ask.cache,
        what=archive,
        checksum=None if checksum is None else checksum.lower(),
        offline=ask.offline,
        force=ask.force,
    )
    heads: dict[str, Path] = {}
    try:
        with tarfile.open(copy, mode="r:") as tar:
            for info in tar:
                if (name := _head(info.name)) is not None and info.isreg() and len(heads) < wanted:
                    heads[name] = _unpacked(tar, info, copy.parent / "heads" / name, force=ask.force)
    except tarfile.TarError:
        raise DownloadError(f"{archive} is no tar, though it is what was promised") from None
    return heads


def _unpacked(tar: tarfile.TarFile, info: tarfile.TarInfo, target: Path, *, force: bool) -> Path:
    if force or not target.is_file():
        with alone(target, what=target.name, size=info.size):
            part, member = part_of(target), tar.extractfile(info)
            assert member is not None
            part.write_bytes(member.read())
            part.replace(target)
    return target


def _head(name: str) -> str | None:
    """The file name of a head; None for any other member."""
    found = MEMBER.fullmatch(name)
    return None if found is None else found[1]
