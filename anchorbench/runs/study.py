"""A study: which datasets, methods and models, under which options, and the cells that it means.

    cells  =  datasets × sources × tasks × train rungs × models × methods,   each with its seeds
    include   adds the cells of its own lists (the study's where it names none), under its own settings;
              with `patch: true` it lays its settings over the cells that are there and match
    exclude   leaves out the cells that match, whoever added them

`settings` are the groups of `train --set`.  `model.NAME.option` and `method.NAME.option` reach that model or method
alone, so one study may set options of several; an entry's lie over the study's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from anchorbench.config import Frozen, Plain, Size, load_preset, merged
from anchorbench.methods.registry import METHODS
from anchorbench.models.registry import BUILT_IN
from anchorbench.runs.footing import Footing

MOST_SEEDS = 1000
#: What an entry may name of a cell: the key in the file, and the cell's own word.
CHOICES = {
    "datasets": "dataset",
    "sources": "source",
    "tasks": "task",
    "train_rungs": "train_rung",
    "models": "model",
    "methods": "method",
}


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str | int) else value


def _seeds(value: Any) -> Any:
    """`3` is 0, 1 and 2."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MOST_SEEDS:
            raise ValueError(f"a number of seeds from 1 to {MOST_SEEDS}, or a list of them")
        return tuple(range(value))
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
Rungs = Annotated[tuple[int, ...], BeforeValidator(_listed), Field(min_length=1)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], BeforeValidator(_seeds), Field(min_length=1)]


class Choice(Frozen):
    """Which cells: those that have one of each list that is given."""

    datasets: Names | None = None
    sources: Names | None = None
    tasks: Names | None = None
    train_rungs: Rungs | None = None
    models: Names | None = None
    methods: Names | None = None

    def matches(self, cell: Cell) -> bool:
        wanted = {word: getattr(self, key) for key, word in CHOICES.items()}
        return all(names is None or getattr(cell, word) in names for word, names in wanted.items())


class Include(Choice):
    """More cells, or with `patch` other words for those that match.  What is not given stays as the study has it."""

    patch: bool = Field(default=False, description="change the cells that match instead of adding any")
    label: str | None = None
    settings: Plain = Field(default_factory=dict)
    seeds: Seeds | None = None
    footing: Footing | None = None
    double_width: bool | None = Field(default=None, description="each model at twice its width: label it `capacity`")
    with_references: bool | None = None


class Exclude(Choice):
    """Cells that are left out."""

    labels: Names | None = None

    def matches(self, cell: Cell) -> bool:
        return super().matches(cell) and (self.labels is None or cell.label in self.labels)


class Study(Frozen):
    """What a sweep file says."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    size: Size = "small"
    datasets: Names
    sources: Names = ("auto",)
    tasks: Names | None = Field(default=None, description="null: the dataset's first")
    train_rungs: Rungs | None = Field(default=None, description="null: the catalogue's")
    models: Names | None = Field(default=None, description="null: the preset's")
    methods: Names = ("baseline",)
    seeds: Seeds = (0, 1, 2)
    settings: Plain = Field(default_factory=dict, description="the groups of train --set, and data")
    with_references: bool = Field(default=False, description="baseline, and native: the baseline at finer rungs")
    native_seeds: int = Field(default=1, ge=1, description="how many of the seeds native has")
    footing: Footing = Field(default="cost", description="equal cost, steps or parameters")
    yardstick: str | None = Field(
        default=None, description="the model on whose footing; null: cost each model's own, parameters the preset's"
    )
    on_refused: Literal["stop", "skip"] = Field(default="stop", description="of a cell that cannot be planned")
    include: tuple[Include, ...] = ()
    exclude: tuple[Exclude, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One dataset, source, task, train rung, model and method, its seeds and its words.  None: the usual one.

    entries: where in the file its words stand, the last first.
    """

    dataset: str
    source: str
    task: str | None
    train_rung: int | None
    model: str
    method: str
    seeds: tuple[int, ...]
    footing: Footing
    with_references: bool
    label: str | None = None
    double_width: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    entries: tuple[tuple[int | str, ...], ...] = ()

    @property
    def name(self) -> str:
        """In one line, for a person."""
        words = [self.dataset, *([] if self.source == "auto" else [self.source]), *([self.task] if self.task else [])]
        words += [f"r{self.train_rung:03d}"] if self.train_rung else []
        return " ".join([*words, self.model, self.method, *([f"({self.label})"] if self.label else [])])


def own_settings(settings: Mapping[str, Any], *, model: str, method: str) -> dict[str, Any]:
    """Without the options of other models and methods; `method.NAME.option` lies over `method.option`."""
    out = dict(settings)
    for group, own, known in (("model", model, BUILT_IN), ("method", method, METHODS)):
        if isinstance(given := out.get(group), Mapping):
            plain = {name: value for name, value in given.items() if name not in known}
            out[group] = merged(plain, given.get(own, {}) if own in known else {})
    return out


def cells_from(study: Study, entry: Include, at: tuple[int | str, ...]) -> Iterator[Cell]:
    """The cells of an entry's lists, and of the study's where it names none; at: where the entry stands in the file."""

    def given(key: str) -> Any:
        own = getattr(entry, key)
        return getattr(study, key) if own is None else own

    for dataset in given("datasets"):
        models = given("models") or (load_preset(study.size, dataset).model,)
        axes = (given("sources"), given("tasks") or (None,), given("train_rungs") or (None,), models, given("methods"))
        for source, task, rung, model, method in product(*axes):
            layers = (own_settings(s, model=model, method=method) for s in (study.settings, entry.settings))
            yield Cell(
                dataset,
                source,
                task,
                rung,
                model,
                method,
                tuple(sorted(set(given("seeds")))),
                given("footing"),
                given("with_references"),
                entry.label,
                bool(entry.double_width),
                merged(*layers),
                (at, ()) if at else ((),),
            )


def patched(cell: Cell, entry: Include, at: tuple[int | str, ...]) -> Cell:
    """The cell with an entry's words over its own."""
    words = {
        name: value
        for name in ("label", "footing", "double_width", "with_references", "seeds")
        if (value := getattr(entry, name)) is not None
    }
    own = own_settings(entry.settings, model=cell.model, method=cell.method)
    return replace(cell, **words, settings=merged(cell.settings, own), entries=(at, *cell.entries))
