"""The catalogue `datasets.yaml`: which datasets there are, their sources, terms and checksums, and what sizes mean.

`catalog_file` finds and reads it.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, cast

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from anchorbench.config import SIZES, Frozen, Size, Variable, merged
from anchorbench.errors import CatalogError, unknown

if TYPE_CHECKING:
    from anchorbench.fields import Grid

Task = Literal["forecast", "operator", "super_resolve", "represent"]
SourceKind = Literal["public", "sample", "generated", "own"]
Restriction = Literal["spectral", "block_mean", "conservative", "stride"]

#: How the name of an archive says which format it is.
ZIP_SUFFIXES = (".whl", ".zip")
TAR_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

#: KIND, or KIND-which where a dataset has several of one kind.
SourceName = Annotated[str, Field(pattern="^(public|sample|generated|own)(-[a-z0-9]+)*$")]

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


class GridEntry(Frozen):
    """The box of the finest rung."""

    extent: tuple[float, ...] = Field(min_length=1, max_length=3, description="length per axis, slowest axis first")
    unit: str
    centring: Literal["point", "cell"]
    periodic: tuple[bool, ...]
    kind: Literal["planar", "latlon"] = "planar"
    origin: tuple[float, ...] = Field((), description="where the box begins; for latlon the southern and western edge")
    points: tuple[int, ...] = Field((), description="points per axis of one rung, if the axes differ: a proportion")

    def grid(self, rung: int) -> Grid:
        """The grid of a rung.  Raises GridError where the box does not make one."""
        from anchorbench.fields import Grid  # brings torch: the catalogue alone does without

        shape = self.points or (rung,) * len(self.extent)
        box = Grid(shape, self.extent, self.centring, self.kind, self.periodic, unit=self.unit, origin=self.origin)
        return box.with_rung(rung)


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

    source: str = Field(description="what `auto` takes")
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


class SizeChange(Frozen):
    """What a source changes of a size."""

    rungs: tuple[int, ...] | None = None
    train_rung: int | None = None
    crop: int | None = None
    generator: dict[str, Any] | None = None
    selection: dict[str, Any] | None = None


class Source(Frozen):
    """One place that a dataset comes from: who made it, on what terms, who reads it.

    The second half says where this source differs from its dataset: other variables, another box, other rungs.
    """

    display_name: str = Field(description="what figures and pages call it")
    producer: str
    terms: str = Field(description="the producer's, not those of whoever carries the file")
    reader: str = Field(pattern="^[a-z][a-z0-9_]*$", description="module in data/sources")
    cite: str = Field("", description="how to cite it")
    homepage: str = ""
    extra: str | None = Field(None, description="anchorbench[...] that its reader needs")
    files: tuple[SampleFile, ...] = Field((), description="of a sample: members of published packages")
    urls: dict[str, str] = Field(default_factory=dict, description="of a public set: addresses, by the reader's names")
    checksums: dict[str, str] = Field(default_factory=dict, description="of those, as ALGORITHM:HEX")
    bytes: dict[Size, int] = Field(default_factory=dict, description="about how much a size downloads")
    samples: dict[Size, int] = Field(
        default_factory=dict, description="about how many of all splits a size holds, where its options do not say"
    )
    masked: tuple[Size, ...] = Field((), description="sizes with missing area, whose share is kept beside the values")

    variables: tuple[Variable, ...] | None = None
    headline: str | None = None
    tasks: tuple[Task, ...] | None = None
    frames_in: int | None = None
    time: TimeEntry | None = None
    grid: GridEntry | None = None
    restriction: Restriction | None = None
    equation: Equation | None = None
    sizes: dict[Size, SizeChange] = Field(default_factory=dict)

    def changes(self) -> dict[str, Any]:
        """What differs from the dataset, apart from sizes."""
        names = ("variables", "headline", "tasks", "frames_in", "time", "grid", "restriction", "equation")
        return {name: getattr(self, name) for name in names if name in self.model_fields_set}


def kind_of(source: str) -> SourceKind:
    """`public`, `sample`, `generated` or `own` of a source's name: the part before the first hyphen."""
    return cast(SourceKind, source.partition("-")[0])


class DatasetEntry(Frozen):
    """One dataset of the catalogue; `seen_from` a source, with that source's own variables, box and rungs."""

    name: str
    title: str
    variables: tuple[Variable, ...] = Field(min_length=1)
    headline: str = Field(description="the variable of the main curve")
    tasks: tuple[Task, ...] = Field(min_length=1, description="the first is the default")
    frames_in: int = Field(1, ge=1)
    time: TimeEntry | None = Field(None, description="null: the fields have no time")
    grid: GridEntry
    restriction: Restriction
    equation: Equation | None = None
    sources: dict[SourceName, Source] = Field(min_length=1)
    sizes: dict[Size, SizeEntry] = Field(min_length=1)

    @field_validator("headline")
    @classmethod
    def _is_a_variable(cls, headline: str, info: ValidationInfo) -> str:
        names = [v.name for v in info.data.get("variables", ())]
        if names and headline not in names:
            raise ValueError(unknown("variable", headline, names))
        return headline

    @field_validator("sources")
    @classmethod
    def _have_what_their_kind_needs(cls, sources: dict[str, Source]) -> dict[str, Source]:
        for name, source in sources.items():
            if kind_of(name) == "sample" and not source.files:
                raise ValueError(f"{name}: a sample names the files that carry it")
        return sources

    @field_validator("sizes")
    @classmethod
    def _sources_exist(cls, sizes: dict[Size, SizeEntry], info: ValidationInfo) -> dict[Size, SizeEntry]:
        if (sources := info.data.get("sources")) is not None:
            for size, entry in sizes.items():
                if entry.source not in sources:
                    raise ValueError(f"{size}: {unknown('source', entry.source, sources)}")
        return sizes

    @model_validator(mode="after")
    def _sources_fit(self) -> Self:
        for name, source in self.sources.items():
            if source.changes() or source.sizes:
                try:
                    self.seen_from(name)
                except ValidationError as error:
                    first = error.errors()[0]
                    where = ".".join(map(str, (name, *first["loc"])))
                    raise ValueError(f"sources.{where}: {first['msg'].removeprefix('Value error, ')}") from None
        return self

    @property
    def default_task(self) -> Task:
        return self.tasks[0]

    def seen_from(self, source: str) -> DatasetEntry:
        """The dataset with what this source changes of it.  Raises ValidationError where the two do not fit."""
        own = self.sources[source]
        if not own.changes() and not own.sizes:
            return self
        bare = dict.fromkeys(own.changes())
        plain = own.model_construct(**{**dict(own), **bare, "sizes": {}}, _fields_set=own.model_fields_set - set(bare))
        sizes = {}
        for size, entry in self.sizes.items():
            change = own.sizes.get(size, SizeChange()).model_dump(exclude_unset=True)
            # Options of another source's generator or reader are none of this one's.
            kept = entry.model_dump()
            if entry.source != source:
                kept |= {"generator": {}, "selection": {}}
            sizes[size] = merged(kept, {**change, "source": source})
        values = {**dict(self), **own.changes(), "sources": {source: plain}, "sizes": sizes}
        return DatasetEntry.model_validate(values)

    def size(self, size: str) -> SizeEntry:
        """Raises CatalogError for a size that this dataset lacks."""
        for known, entry in self.sizes.items():
            if known == size:
                return entry
        known_sizes = [s for s in SIZES if s in self.sizes]
        raise CatalogError(f"dataset '{self.name}': {unknown('size', size, known_sizes)}")

    def source(self, name: str, *, size: str) -> tuple[str, Source]:
        """The source of that name; `auto` is the catalogue's choice for the size.

        Raises CatalogError for a source that this dataset lacks: another one is never taken in its place.
        """
        wanted = self.size(size).source if name == "auto" else name
        if wanted not in self.sources:
            raise CatalogError(f"dataset '{self.name}': {unknown('source', wanted, self.sources)}")
        return wanted, self.sources[wanted]

    @property
    def has_crops(self) -> bool:
        """Whether its box is a part of something larger, which another crop may cut otherwise."""
        return any(entry.crop is not None for entry in self.sizes.values())

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
