"""turbulence2d, public: a set of The Well, by default `turbulent_radiative_layer_2D`, read in part over HTTP.

One HDF5 file a set of parameters and split: attributes dataset_name, n_spatial_dims, n_trajectories; groups
`dimensions` (time and the axes), `boundary_conditions`, `scalars`, and `t0_fields`, `t1_fields`, `t2_fields` with
scalars, vectors, tensors (n_trajectories, n_steps, x, y[, z][, component ...]) float32.  Only the blocks are fetched
that hold the frames that are wanted.  The traps of this layout, each with a test:

- axes run x, y[, z], ours z, y, x: fields are transposed;
- a variable of ours is a component there: velocity_x is the first component of t1_fields/velocity, D_xy of
  t2_fields/D;
- a field lacks the axes on which it does not vary: sample_varying, time_varying and dim_varying say which;
- a trajectory may hold numbers that are not finite: they become the mask;
- the step in time is what `dimensions/time` says and must be the catalogue's; so must the periodic axes be.

The producer's own splits are kept: train, valid, test hold different simulations.  Each simulation is a cluster.

Source: R. Ohana et al., The Well, NeurIPS 2024 (datasets and benchmarks).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
from pydantic import Field, field_validator

from anchorbench.config import Frozen, Variable, digest_of
from anchorbench.data.remote import open_ranges
from anchorbench.data.slices import Slices
from anchorbench.data.sources import Ask, Loaded, SplitFields, require
from anchorbench.data.splits import Split
from anchorbench.errors import AnchorbenchError, DownloadError
from anchorbench.fields import Grid

#: The producer's names of the splits.
FOLDER: dict[Split, str] = {"train": "train", "validation": "valid", "test": "test"}
COOLING = ("0.03", "0.06", "0.10", "0.18", "0.32", "0.56", "1.00", "1.78", "3.16")
AXES = ("x", "y", "z")
#: Bytes read at once: a field of one frame has 200 kB.
BLOCK = 1 << 18


class Options(Frozen):
    """Which frames are fetched; all of it is in the ladder's digest."""

    name: str = Field("turbulent_radiative_layer_2D", pattern="^[A-Za-z0-9_]+$", description="set of The Well")
    files: tuple[str, ...] = Field(
        tuple(f"turbulent_radiative_layer_tcool_{cooling}.hdf5" for cooling in COOLING),
        min_length=1,
        description="files of each split's folder",
    )
    frames: int = Field(3, ge=1, description="frames of one sequence")
    stride: int = Field(1, ge=1, description="steps of the file between two frames")
    skip: int = Field(20, ge=0, description="steps at the beginning of each simulation that are left out")
    most: dict[Split, Annotated[int, Field(ge=1)]] = Field(
        {"train": 144, "validation": 18, "test": 36},
        description="most sequences of a split, spread evenly over files, simulations and time",
    )

    @field_validator("files")
    @classmethod
    def _plain_names(cls, files: tuple[str, ...]) -> tuple[str, ...]:
        if any("/" in file or not file for file in files) or len(set(files)) < len(files):
            raise ValueError(f"are names of files, each once, without folders: {files}")
        return files

    @field_validator("most")
    @classmethod
    def _all_splits(cls, most: dict[Split, int]) -> dict[Split, int]:
        if lacking := FOLDER.keys() - most.keys():
            raise ValueError(f"lacks the split {', '.join(sorted(lacking))}")
        return most


def load(ask: Ask) -> Loaded:
    """Read the sequences of each split, each file's share kept in `scratch` as it is done.

    Returns the catalogue's variables, (sample, time, [z,] y, x), in the producer's units; clusters are simulations.
    Raises DownloadError where a file cannot be had or is not laid out as The Well's, CatalogError without h5py.
    """
    h5py = require("h5py", extra="turbulence")
    options, base = ask.options, ask.source.urls["base"].rstrip("/")
    kept = None if ask.scratch is None else Slices(ask.scratch, digest_of([options.digest, base]))
    tell, total, done = ask.tell("reading"), len(FOLDER) * len(options.files), 0
    splits: dict[str, SplitFields] = {}
    scalars: dict[str, str] = {}
    for split, folder in FOLDER.items():
        parts = []
        for i, file in enumerate(options.files):
            # A share each, the first ones one more where it does not come out even.
            share = options.most[split] // len(options.files) + (i < options.most[split] % len(options.files))
            done += 1
            if not share:
                continue
            part = None if kept is None or ask.force else kept.load(f"{split}-{i:04d}")
            if part is None:
                url = f"{base}/{options.name}/{ask.source.urls.get('data', 'data')}/{folder}/{file}"
                with _opened(h5py, url, f"{folder}/{file} of The Well", ask) as hdf:
                    part = _read_file(hdf, ask, share)
                if kept is not None:
                    kept.save(f"{split}-{i:04d}", part)
            parts.append(part)
            scalars |= {f"{folder}/{file}": str(part["scalars"])} if str(part["scalars"]) else {}
            tell(done / total)
        splits[split] = _joined(parts, [v.name for v in ask.entry.variables], split)
    attrs = {"selection": options.model_dump_json(), "splits": "the producer's own: different simulations"}
    if scalars:
        attrs["parameters"] = "; ".join(f"{file}: {values}" for file, values in scalars.items())
    return Loaded(splits, attrs=attrs)


@contextlib.contextmanager
def _opened(h5py: Any, url: str, what: str, ask: Ask) -> Iterator[Any]:
    """The file, read by ranges.  What goes wrong inside is one DownloadError."""
    with open_ranges(url, what=what, cache=ask.cache, block=BLOCK, offline=ask.offline, force=ask.force) as remote:
        try:
            with h5py.File(remote, "r") as hdf:
                yield hdf
        except AnchorbenchError:
            raise
        except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
            # h5py hides a broken connection behind an error of its own.
            raise remote.trouble or DownloadError(f"{what} is not laid out as its files are: {error}") from None


def _read_file(hdf: Any, ask: Ask, share: int) -> dict[str, np.ndarray]:
    """`share` sequences of one file, or as many as it has, without overlap."""
    options = ask.options
    axes = _axes(hdf, ask.entry.grid.grid(ask.finest.rung))
    step = _time_step(hdf)
    wanted = ask.entry.time.step if ask.entry.time is not None else step
    if abs(step * options.stride / wanted - 1) > 0.01:
        raise DownloadError(
            f"{hdf.attrs['dataset_name']} has steps of {step:.6g}, {options.stride} of them to a frame; "
            f"the catalogue says {wanted:g}"
        )
    fields = {v.name: _find(hdf, v, axes) for v in ask.entry.variables}
    n_trajectories, n_steps = int(hdf.attrs["n_trajectories"]), len(hdf["dimensions/time"])
    points = tuple(len(hdf[f"dimensions/{axis}"]) for axis in axes)
    span = (options.frames - 1) * options.stride + 1
    windows = [(i, t) for i in range(n_trajectories) for t in range(options.skip, n_steps - span + 1, span)]
    chosen = [windows[j] for j in np.linspace(0, len(windows) - 1, min(share, len(windows))).round().astype(int)]
    values = {name: np.empty((len(chosen), options.frames, *points[::-1]), np.float32) for name in fields}
    for row, (trajectory, t) in enumerate(chosen):
        for name, (dataset, component) in fields.items():
            for frame in range(options.frames):
                values[name][row, frame] = _frame(dataset, trajectory, t + frame * options.stride, component, points)
    parameters = {name: float(np.ravel(hdf["scalars"][name][()])[0]) for name in hdf.get("scalars", ())}
    text = ", ".join(f"{name} {value:g}" for name, value in parameters.items())
    return {**values, "trajectory": np.array([i for i, _ in chosen]), "scalars": np.array(text)}


def _frame(dataset: Any, trajectory: int, step: int, component: tuple[int, ...], points: tuple[int, ...]) -> np.ndarray:
    """One component of one frame, on the axes ([z,] y, x)."""
    varies = dataset.attrs
    index = [at for at, there in ((trajectory, varies["sample_varying"]), (step, varies["time_varying"])) if there]
    field = np.asarray(dataset[(*index, ..., *component)], dtype=np.float32)
    constant = tuple(i for i, there in enumerate(varies["dim_varying"]) if not there)
    return np.broadcast_to(np.expand_dims(field, constant), points).transpose()


def _axes(hdf: Any, grid: Grid) -> tuple[str, ...]:
    """The file's axes, x first.  Raises DownloadError where its box is not the catalogue's."""
    names = tuple(_text(name) for name in hdf["dimensions"].attrs["spatial_dims"])
    if names != AXES[: grid.ndim] or int(hdf.attrs["n_spatial_dims"]) != grid.ndim:
        raise DownloadError(f"{hdf.attrs['dataset_name']} has the axes {', '.join(names)}, not {grid.ndim} from x on")
    periodic = {
        _text(axis)
        for name, condition in hdf["boundary_conditions"].items()
        if _text(condition.attrs["bc_type"]).upper() == "PERIODIC"
        for axis in condition.attrs.get("associated_dims", [name.partition("_")[0]])
    }
    for axis, n, length, round_it in zip(names, grid.shape[::-1], grid.extent[::-1], grid.periodic[::-1], strict=True):
        coordinates = np.asarray(hdf[f"dimensions/{axis}"], dtype=np.float64)
        spacing = float(np.diff(coordinates).mean())
        if len(coordinates) % n or not np.allclose(np.diff(coordinates), spacing, rtol=1e-3):
            raise DownloadError(
                f"its axis {axis} has {len(coordinates)} points, which are not {n} even cells or a multiple"
            )
        if abs(spacing * len(coordinates) / length - 1) > 0.02:
            raise DownloadError(
                f"its axis {axis} is {spacing * len(coordinates):.4g} long, and the catalogue says {length:g}"
            )
        if round_it != (axis in periodic):
            raise DownloadError(
                f"its axis {axis} is {'' if axis in periodic else 'not '}periodic, unlike the catalogue's"
            )
    return names


def _time_step(hdf: Any) -> float:
    times = np.asarray(hdf["dimensions/time"], dtype=np.float64)
    steps = np.diff(times)
    if len(times) < 2 or not np.allclose(steps, steps.mean(), rtol=1e-2):
        raise DownloadError(f"{hdf.attrs['dataset_name']} has frames that are not evenly spaced in time")
    return float(steps.mean())


def _find(hdf: Any, variable: Variable, axes: tuple[str, ...]) -> tuple[Any, tuple[int, ...]]:
    """The dataset that holds a variable, and its component there: `density`, `velocity_x`, `D_xy`."""
    name, _, ending = variable.name.rpartition("_")
    for rank in (0, 1, 2):
        group = hdf.get(f"t{rank}_fields", {})
        if rank == 0 and variable.name in group:
            return group[variable.name], ()
        if rank and len(ending) == rank and set(ending) <= set(axes) and name in group:
            return group[name], tuple(axes.index(axis) for axis in ending)
    there = [f"{name} ({rank})" for rank in (0, 1, 2) for name in hdf.get(f"t{rank}_fields", {})]
    raise DownloadError(
        f"{hdf.attrs['dataset_name']} has no field for '{variable.name}'; it has, with their ranks, {', '.join(there)}"
    )


def _joined(parts: list[dict[str, np.ndarray]], names: list[str], split: str) -> SplitFields:
    """All files of a split; a cluster is one simulation of one file."""
    values = {name: np.concatenate([part[name] for part in parts]) for name in names}
    if not len(values[names[0]]):
        raise DownloadError(
            f"the {split} split has no sequence: its simulations are too short", do="lower selection.skip"
        )
    finite = np.asarray(np.stack([np.isfinite(field) for field in values.values()]).all(axis=0))
    labels = np.concatenate([1000 * i + part["trajectory"] for i, part in enumerate(parts)])
    return SplitFields(
        values={name: np.where(finite, field, np.float32(0)) for name, field in values.items()},
        valid=None if finite.all() else finite,
        times=None,
        clusters=labels,
    )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
