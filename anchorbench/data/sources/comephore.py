"""comephore, public: COMEPHORE of Météo-France, the reanalysis of radar and gauges, hourly, 1 km, since 1997.

One uncompressed tar a month, 200 to 260 MB, is read while it comes, and left off after the hours that are wanted.  Of
each hour it holds three GeoTIFFs; `YYYYMMDDHH_RR.gtif` is the rain of the hour that ends then, UTC (`_ERR` and
`_QUALIF` are left).  They are kept in the cache as they came, so that an interrupted fetch goes on.  How an hour is
coded, and its traps: see `rain_maps`.  The square that is cut out lies where most is measured, nearest the centre.

The factor of 0.1 mm follows those who read these files and the producer's own ANTILOPE; the files say nothing of it.
Months that look like no climate of France raise a warning.
"""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, field_validator

from anchorbench.data.rain_maps import pick_hours, read_map, stack_hours
from anchorbench.data.rain_tiles import TiledBlocks
from anchorbench.data.remote import stream_tar
from anchorbench.data.sources import Ask, Loaded
from anchorbench.errors import ConfigError, DownloadError

NAME = re.compile(r"(?:.*/)?(\d{4})(\d{2})(\d{2})(\d{2})_RR\.gtif")


class Options(TiledBlocks):
    """Which months are downloaded, and which sequences are taken from them."""

    months: tuple[Annotated[str, Field(pattern=r"^(19|20)\d\d-(0[1-9]|1[0-2])$")], ...] = Field(
        ("2022-06",), min_length=1, description="YYYY-MM; each is a download of its own"
    )
    hours: int | None = Field(None, ge=2, description="hours that are read of a month, from its beginning; null: all")
    frames: int = Field(8, ge=2, description="frames of one sequence")
    period: float = Field(24.0, gt=0, description="hours that go to one split before the next split's turn")
    gap: float = Field(6.0, ge=0, description="hours left out where the split changes")
    corner: tuple[int, int] | None = Field(None, description="row and column of the south-western cell")

    @field_validator("months", mode="before")
    @classmethod
    def _one_or_several(cls, months: Any) -> Any:
        return (months,) if isinstance(months, str) else months

    @field_validator("months")
    @classmethod
    def _differ(cls, months: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(months)) < len(months):
            raise ValueError(f"names each month once: {', '.join(months)}")
        return tuple(sorted(months))


def load(ask: Ask) -> Loaded:
    """Read the months, as far as they are wanted, and pick the sequences of each split.

    Returns rain in mm per hour, (sample, time, crop, crop), with times, clusters, and masks where something is missing.
    Raises DownloadError where a month cannot be had from any of the catalogue's addresses, or is not what it should be;
    ConfigError where the selection leaves a split empty.
    """
    if ask.size.crop is None:
        raise ConfigError(f"dataset '{ask.entry.name}' needs a crop in the catalogue to be read")
    found, taken = [], {}
    for i, month in enumerate(ask.options.months):
        hours, taken[month] = month_hours(ask, month, before=i)
        found += hours
    record = stack_hours(found, crop=ask.size.crop * ask.options.tiles, corner=ask.options.corner)
    attrs = {"months": ", ".join(ask.options.months), "address": ", ".join(f"{m}: {a}" for m, a in taken.items())}
    return Loaded(pick_hours(record, ask.options), attrs={**attrs, **record.attrs})


def month_hours(ask: Ask, month: str, *, before: int = 0) -> tuple[list[tuple[np.datetime64, Path]], str]:
    """The hours of a month, as the archive has them, and which of the catalogue's addresses they came from.

    The addresses, with {month} for YYYYMM, are tried in their order; they hold the same archive.
    before: months that were read already, for the progress.  Raises DownloadError, that of the first address.
    """
    troubles = []
    for name, address in ask.source.urls.items():
        try:
            return _read_month(ask, month, address.replace("{month}", month.replace("-", "")), before=before), name
        except DownloadError as trouble:
            troubles.append(trouble)
    raise troubles[0]


def _read_month(ask: Ask, month: str, url: str, *, before: int) -> list[tuple[np.datetime64, Path]]:
    tell, n_months = ask.tell("downloading"), len(ask.options.months)

    def show(done: int, total: int | None) -> None:
        if total:
            tell(min(1.0, (before + done / total) / n_months))

    hours: list[tuple[np.datetime64, Path]] = []
    members = stream_tar(
        url,
        ask.cache,
        what=f"COMEPHORE of {month}",
        wanted=lambda name: NAME.fullmatch(name) is not None,
        offline=ask.offline,
        force=ask.force,
        progress=show,
    )
    for name, path in islice(members, ask.options.hours):
        read_map(path)  # a wrong one is found at once, not after a month of them
        hours.append((hour_of(name), path))
    if not hours:
        raise DownloadError(f"COMEPHORE of {month} holds no file named YYYYMMDDHH_RR.gtif")
    return hours


def hour_of(name: str) -> np.datetime64:
    """The end of the hour, UTC, from the name of a member.  Raises DownloadError for a name that is no hour."""
    found = NAME.fullmatch(name)
    try:
        if found is not None:
            return np.datetime64("{}-{}-{}T{}:00:00".format(*found.groups()), "s")
    except ValueError:
        pass
    raise DownloadError(f"{name} is not named as an hour of COMEPHORE is")
