"""PDEBench: one HDF5 file of many trajectories, read over HTTP in part, or whole.

Three layouts, told apart by what the file holds:

    scalar    `tensor` (N, T, X[, Y]), and for Darcy `nu` (N, X, Y); `x-coordinate`, `y-coordinate`, `t-coordinate`
    flow      `density`, `pressure`, `Vx`, `Vy`[, `Vz`], each (N, T, X[, Y[, Z]]), and the same coordinates
    seeds     a group `0000`, `0001`, ... a trajectory, with `data` (T, X, Y, C) and `grid/x`, `grid/y`, `grid/t`

The traps, each with a test: x comes before y (here y is the slower axis); `t-coordinate` has one entry more than there
are frames; a Darcy file has no time; coordinates are of cell centres.  Nothing is missing in these files.

Trajectories are split as PDEBench does, the first tenth of the file for the test; validation is taken from the end of
the rest, which PDEBench gives all to training.  The file lies contiguous: n trajectories cost about n/N of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import numpy as np
from pydantic import Field, model_validator

from anchorbench.config import Frozen
from anchorbench.data.remote import get_file, open_ranges, url_folder
from anchorbench.data.remote_parts import safe_name
from anchorbench.data.sources import Ask, Loaded, SplitFields, require
from anchorbench.data.splits import SPLITS, Split
from anchorbench.errors import CatalogError, ConfigError, DownloadError, unknown
from anchorbench.fields import Grid

HOMEPAGE = "https://doi.org/10.18419/darus-2986"
#: The first tenth of a file is the test's.
TEST_SHARE = 10
#: What a variable is called in a file, where `fields` does not say.
FLOW = {"density": "density", "pressure": "pressure", "velocity_x": "Vx", "velocity_y": "Vy", "velocity_z": "Vz"}
#: Coordinates are float32, and a box is told from its points: with or without the last one.
BOX_TOLERANCE, STEP_TOLERANCE = 0.02, 1e-3


class Options(Frozen):
    """Which file, trajectories and frames are taken; all of it is in the ladder's digest."""

    file: str | None = Field(None, description="one of the files that the catalogue lists; else its first")
    url: str | None = Field(None, description="an address of the file, instead of the catalogue's")
    whole: bool = Field(False, description="download the whole file and check it, instead of reading parts of it")
    fields: dict[str, str] = Field(default_factory=dict, description="variable to name, or channel, in the file")
    trajectories: dict[Split, Annotated[int, Field(ge=1)]]
    first: int = Field(0, ge=0, description="first frame that is taken")
    every: int = Field(1, ge=1, description="then every so many")
    frames: int = Field(1, ge=1)
    file_step: float = Field(1.0, gt=0, description="time between two frames of the file")

    @property
    def interval(self) -> float:
        """Time between two frames that are taken."""
        return self.file_step * self.every

    @model_validator(mode="after")
    def _all_splits(self) -> Self:
        if lacking := set(SPLITS) - self.trajectories.keys():
            raise ValueError(f"trajectories lack the split {', '.join(sorted(lacking))}")
        return self


def check(options: Options, *, finest: Grid) -> None:
    """Raises ConfigError for an address with a password or a token: it is written into the ladder."""
    if options.url is not None:
        parts = urlsplit(options.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
            raise ConfigError(
                "the url of a file of PDEBench is an http(s) address without user, password or query",
                do="--set url=https://darus.uni-stuttgart.de/api/access/datafile/NUMBER",
            )


def load(ask: Ask) -> Loaded:
    """Read the chosen trajectories of one file.

    Returns every variable of the entry, (trajectory, frame, *grid) on the file's own grid, slowest axis first.
    Raises DownloadError where the file cannot be had or is not laid out so; ConfigError where it has no such
    trajectories, frames or grid.
    """
    options: Options = ask.options
    name, url, checksum = _address(ask)
    with _opened(ask, name, url, checksum) as (file, checked):
        layout = _layout(file, name)
        _check(layout, ask, name)
        members = _members(layout.n, options, name)
        tell, done = ask.tell("downloading"), 0
        splits: dict[str, SplitFields] = {}
        for split in SPLITS:
            values = {
                v.name: np.empty((len(members[split]), options.frames, *layout.shape), np.float32)
                for v in ask.entry.variables
            }
            for row, i in enumerate(members[split]):
                for variable, into in values.items():
                    into[row] = layout.read(i, _field(layout, variable, options), options)
                done += 1
                tell(done / sum(map(len, members.values())))
            splits[split] = SplitFields(values, valid=None, times=None, clusters=np.arange(len(members[split])))
        about = {f"file_{key}": str(value) for key, value in sorted(file.attrs.items())}
    taken = ", ".join(f"{split} {m.start} to {m.stop - 1}" for split, m in members.items())
    about |= {"file": name, "trajectories_of_the_file": f"{taken} of {layout.n}", "checksum": checked}
    return Loaded(splits, attrs=about)


def _address(ask: Ask) -> tuple[str, str, str | None]:
    """Name, address and checksum of the file.  Raises CatalogError or ConfigError where nobody says which."""
    options: Options = ask.options
    listed = ask.source.urls
    name = options.file or next(iter(listed), None)
    if options.url is not None:
        name = options.file or urlsplit(options.url).path.rpartition("/")[2] or "file"
        return name, options.url, ask.source.checksums.get(name)
    if name is None:
        raise CatalogError(
            f"the catalogue names no file for {ask.entry.name}, source {ask.source.display_name}",
            do=f"look its address up at {ask.source.homepage or HOMEPAGE} and give it: --set url=https://...",
        )
    if name not in listed:
        raise ConfigError(
            unknown("file", name, listed), do="name one of these, or give its address: --set url=https://..."
        )
    return name, listed[name], ask.source.checksums.get(name)


@contextmanager
def _opened(ask: Ask, name: str, url: str, checksum: str | None) -> Iterator[tuple[Any, str]]:
    """The HDF5 file, and what was checked of it.  Trouble with the host or the format becomes a DownloadError."""
    h5py = require("h5py", extra=ask.source.extra or "turbulence")
    options: Options = ask.options
    tell, kept_as = ask.tell("downloading"), safe_name(name)

    def show(done: int, total: int | None) -> None:
        tell(done / total if total else 0.0)

    with ExitStack() as stack:
        ranges = None
        # A file that was downloaded before, or put there by hand, does as well as its parts.
        if options.whole or (not ask.force and (url_folder(ask.cache, url) / kept_as).is_file()):
            place: Any = get_file(
                url,
                ask.cache,
                what=name,
                name=kept_as,
                checksum=checksum,
                offline=ask.offline,
                force=ask.force,
                progress=show,
            )
            checked = f"{checksum}, found so" if checksum else "none is known"
        else:
            place = ranges = stack.enter_context(
                open_ranges(url, what=name, cache=ask.cache, offline=ask.offline, force=ask.force)
            )
            checked = "not checked: the file was read in part"
        try:
            with h5py.File(place, "r") as file:
                yield file, checked
        except (OSError, KeyError, RuntimeError) as error:
            if ranges is not None and ranges.trouble is not None:
                raise ranges.trouble from None
            raise DownloadError(
                f"{name} cannot be read as a file of PDEBench: {str(error).strip(chr(39))}",
                do="fetch it again with --force, or another file with --set file=...",
            ) from None


@dataclass(frozen=True)
class _Layout:
    """How a file is laid out.

    n: trajectories.  frames: of each.  shape: points, slowest axis first.  times: of the frames, None without a time.
    axes: coordinates along the axes of `shape`, None where the file has none.  names: data sets, or channels.
    """

    file: Any
    kind: Literal["scalar", "flow", "seeds"]
    n: int
    frames: int
    shape: tuple[int, ...]
    times: np.ndarray | None
    axes: tuple[np.ndarray | None, ...]
    names: tuple[str, ...]
    seeds: tuple[str, ...] = ()

    def read(self, i: int, name: str, options: Options) -> np.ndarray:
        """The chosen frames of one trajectory: (frames, *shape)."""
        chosen = slice(options.first, options.first + options.every * (options.frames - 1) + 1, options.every)
        if self.kind == "seeds":
            values = self.file[self.seeds[i]]["data"][chosen, ..., int(name)]
        elif self.file[name].ndim == 1 + len(self.shape):
            values = np.broadcast_to(self.file[name][i], (options.frames, *self.shape[::-1]))
        else:
            values = self.file[name][i, chosen]
        # x is the first axis of space in the file, and the last one here.
        return np.asarray(values.transpose(0, *range(values.ndim - 1, 0, -1)))


def _layout(file: Any, name: str) -> _Layout:
    """Raises DownloadError where it is none of the three."""
    if "tensor" in file or "Vx" in file:
        kind: Literal["scalar", "flow"] = "scalar" if "tensor" in file else "flow"
        names = tuple(key for key in file if not key.endswith("-coordinate"))
        whole = file["tensor" if kind == "scalar" else "Vx"].shape
        odd = [key for key in names if file[key].shape not in (whole, (*whole[:1], *whole[2:]))]
        if odd or len(whole) < 3:
            raise DownloadError(f"{name}: {', '.join(odd or names)} has another shape than (N, T, X, ...)")
        n, frames, *space = whole
        places = [f"{axis}-coordinate" for axis in "xyz"[: len(space)]]
        axes = [np.asarray(file[place]) if place in file else None for place in places]
        times = np.asarray(file["t-coordinate"]) if "t-coordinate" in file else None
        return _Layout(file, kind, n, frames, tuple(space[::-1]), times, tuple(axes[::-1]), names)
    seeds = tuple(sorted(key for key in file if re.fullmatch(r"\d{4,}", key)))
    if seeds:
        group = file[seeds[0]]
        frames, *space, channels = group["data"].shape
        axes = [np.asarray(group["grid"][axis]) for axis in "xyz"[: len(space)]]
        times, names = np.asarray(group["grid"]["t"]), tuple(map(str, range(channels)))
        return _Layout(file, "seeds", len(seeds), frames, tuple(space[::-1]), times, tuple(axes[::-1]), names, seeds)
    raise DownloadError(
        f"{name} has none of the layouts of PDEBench that are read here; it holds {', '.join(file) or 'nothing'}",
        do="name another file with --set file=... or --set url=...",
    )


def _field(layout: _Layout, variable: str, options: Options) -> str:
    """The name of a variable in the file.  Raises ConfigError where it has none."""
    if layout.kind == "flow":
        usual = FLOW.get(variable, variable)
    elif layout.kind == "scalar":
        usual = "nu" if variable == "coefficient" else "tensor"
    else:
        usual = "0"
    name = options.fields.get(variable, usual)
    if name not in layout.names:
        raise ConfigError(
            f"variable '{variable}': {unknown('field of the file', name, layout.names)}",
            do=f"--set selection.fields.{variable}={layout.names[0]}",
        )
    return name


def _check(layout: _Layout, ask: Ask, name: str) -> None:
    """Before anything is read: whether the file has the frames, the grid, the box and the times that are asked for."""
    options: Options = ask.options
    _check_grid(layout, ask.finest, ask, name)
    for variable in ask.entry.variables:
        _field(layout, variable.name, options)
    last = options.first + options.every * (options.frames - 1)
    if last >= layout.frames:
        raise ConfigError(
            f"{name} has {layout.frames} frames a trajectory; frame {last} was asked for (the first is 0)",
            do="lower --set frames=..., every=... or first=...",
        )
    if layout.times is None or ask.entry.time is None or layout.frames < 2:
        return
    step = float(np.mean(np.diff(layout.times[: layout.frames].astype(np.float64))))
    if abs(step - options.file_step) > STEP_TOLERANCE * options.file_step:
        raise ConfigError(
            f"the frames of {name} are {step:.6g} apart, not {options.file_step:g}", do=f"--set file_step={step:.6g}"
        )


def _check_grid(layout: _Layout, finest: Grid, ask: Ask, name: str) -> None:
    shape = layout.shape
    fits = len(shape) == finest.ndim and all(
        n >= m and n * finest.rung == m * min(shape) for n, m in zip(shape, finest.shape, strict=True)
    )
    nests = fits and (ask.entry.restriction not in ("block_mean", "stride") or min(shape) % finest.rung == 0)
    if not nests:
        raise ConfigError(
            f"the fields of {name} have {' x '.join(map(str, shape))} points, which do not carry a finest rung of"
            f" {' x '.join(map(str, finest.shape))}",
            do=f"--set rungs=..., up to {min(shape)}",
        )
    if ask.size.crop is not None and ask.size.crop != min(shape):
        raise ConfigError(f"{name} fills its box, of which no crop is taken", do="leave the crop away")
    for axis, length, n, points in zip(finest.axes, finest.extent, shape, layout.axes, strict=True):
        if points is None or len(points) < 2:
            continue
        found = n * float(points[-1] - points[0]) / (len(points) - 1)
        if abs(found - length) > BOX_TOLERANCE * length:
            raise ConfigError(
                f"the box of {name} is {found:.4g} long along {axis}, and the catalogue says {length:g}",
                do="mend the extent of this source's grid in datasets.yaml",
            )


def _members(n: int, options: Options, name: str) -> dict[Split, range]:
    """Which trajectories of the file each split takes; the three never meet.  Raises ConfigError for too few."""
    wanted = options.trajectories
    tested = max(1, n // TEST_SHARE)
    if wanted["test"] > tested or wanted["train"] + wanted["validation"] > n - tested:
        raise ConfigError(
            f"{name} holds {n} trajectories: {tested} for the test, {n - tested} for training and validation;"
            f" asked for were {wanted['test']} and {wanted['train'] + wanted['validation']}",
            do=f"--set limit={max(1, min(tested, (n - tested) // 2))}",
        )
    return {
        "train": range(tested, tested + wanted["train"]),
        "validation": range(n - wanted["validation"], n),
        "test": range(wanted["test"]),
    }
