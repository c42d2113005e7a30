"""What defines a ladder and a run: frozen models that are loaded, overridden, hashed and saved.

A hash covers what changes numbers and nothing else: never a device, a path or a worker count.  Names of methods and
models are strings here; their options are validated in their own rooms.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from anchorbench.errors import ConfigError, unknown

M = TypeVar("M", bound=BaseModel)

Size = Literal["tiny", "small", "full"]
SIZES: tuple[Size, ...] = ("tiny", "small", "full")

#: Raised when the same spec would give other numbers.
PROTOCOL = 1
#: Raised when a ladder's file layout or restriction changes.
LADDER_FORMAT = 1


class Frozen(BaseModel):
    """Immutable; no field that it does not know, no number that is NaN or infinite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of all fields."""
        return digest_of(self.model_dump(mode="json"))


def canonical(value: Any) -> str:
    """The JSON of plain values with sorted keys.  Raises ConfigError for what has none: NaN, infinity, an object."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"a spec holds finite numbers, words, lists and groups of them: {error}") from None


def digest_of(value: Any) -> str:
    """SHA-256 of the canonical JSON of plain values.  Raises ConfigError for what has none."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def _as_read_back(values: dict[str, Any]) -> dict[str, Any]:
    """Lists for tuples, words for the keys: what a saved spec holds, so that it reads back equal."""
    plain: dict[str, Any] = json.loads(canonical(values))
    return plain


Plain = Annotated[dict[str, Any], AfterValidator(_as_read_back)]


class Variable(Frozen):
    """One physical quantity of a ladder."""

    name: str
    units: str
    long_name: str = ""
    # Left out of dumps at their defaults: what was named before there were such fields keeps its digest.
    role: Literal["both", "input", "target"] = Field(default="both", exclude_if=lambda role: role == "both")
    restriction: Literal["block_mean", "geometric_mean", "harmonic_mean"] | None = Field(
        default=None, description="of this variable, if not the ladder's", exclude_if=lambda how: how is None
    )


def inputs_of(variables: Sequence[Variable]) -> list[int]:
    """The variables that a model is given, by number."""
    return [i for i, variable in enumerate(variables) if variable.role != "target"]


def targets_of(variables: Sequence[Variable]) -> list[int]:
    """The variables that a model is asked for, by number."""
    return [i for i, variable in enumerate(variables) if variable.role != "input"]


def of_rain(variables: Sequence[Variable]) -> bool:
    """Whether the headline is an amount of rain, in mm."""
    return variables[targets_of(variables)[0]].units == "mm"


class LadderSpec(Frozen):
    """What defines a ladder: two ladders with one digest hold the same numbers."""

    dataset: str
    source: str
    size: str
    restriction: str
    rungs: tuple[int, ...] = Field(min_length=1)
    grid: Plain = Field(description="the finest grid, as Grid.to_dict")
    variables: tuple[Variable, ...] = Field(min_length=1)
    time_step: float
    time_unit: str
    origin: Plain = Field(description="generator parameters, or the digest and crop of the source")
    format: int = LADDER_FORMAT

    @model_validator(mode="after")
    def _rungs_rise(self) -> Self:
        if list(self.rungs) != sorted(set(self.rungs)):
            raise ValueError(f"rungs rise and differ: {self.rungs}")
        return self

    @property
    def name(self) -> str:
        return f"{self.dataset}/{self.source}/{self.size}-{self.digest[:8]}"


class TrainOptions(Frozen):
    """How a model is trained; every field changes the weights, so all are in the run's hash."""

    steps: int = Field(default=1500, ge=1, description="optimiser steps")
    batch: int = Field(default=32, ge=1, description="samples a step")
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["cosine", "constant"] = Field(default="cosine", description="after a linear warm-up")
    warmup: float = Field(default=0.1, ge=0, lt=1, description="share of the steps in which the rate rises")
    clip: float = Field(default=1.0, gt=0, description="largest norm of the gradient")
    validate_every: int = Field(default=250, ge=1, description="steps between two looks at the validation split")
    increment: bool = Field(default=True, description="the model adds to the last frame instead of replacing it")
    precision: Literal["float32", "bf16"] = "float32"
    compile: bool = Field(default=False, description="torch.compile the model")
    warm_start: str | None = Field(default=None, description="folder name of a finished run to begin with")
    # Left out of dumps at its default: what was named before there was such a field keeps its digest.
    keep_checkpoints: int = Field(
        default=0,
        ge=0,
        description="weights kept on the way for `evaluate --test training`, closer at the beginning; 0: none",
        exclude_if=lambda n: n == 0,
    )


class RunSpec(Frozen):
    """What defines a run."""

    kind: Literal["method", "native", "reference"] = "method"
    ladder: str = Field(description="digest of the LadderSpec")
    dataset: str
    source: str
    size: str
    task: str
    lead: int = Field(default=1, ge=0, description="time steps between the last input frame and the target")
    frames_in: int = Field(default=1, ge=1)
    input_rung: int | None = Field(
        default=None, description="of super_resolve: where the inputs are", exclude_if=lambda rung: rung is None
    )
    time_factor: int = Field(
        default=1,
        ge=1,
        description="of super_resolve: frames that are asked for within the newest input frame, which is their mean",
        exclude_if=lambda factor: factor == 1,
    )
    degradation: str | None = Field(
        default=None,
        description="of super_resolve: how the inputs come from the scored band's rung; null: the ladder's own",
        exclude_if=lambda how: how is None,
    )
    input_noise: float = Field(
        default=0.0,
        ge=0,
        description="of super_resolve: deviation of the inputs' noise, in deviations of the field",
        exclude_if=lambda noise: noise == 0,
    )
    fields: int | None = Field(
        default=None,
        ge=1,
        description="of represent: how many fields are fitted, each of `frames_in` frames",
        exclude_if=lambda fields: fields is None,
    )
    model: str
    model_options: Plain = Field(default_factory=dict)
    model_digest: str | None = Field(default=None, description="of the file of a user's own model")
    method: str
    method_options: Plain = Field(default_factory=dict)
    train: TrainOptions | None = Field(default_factory=TrainOptions, description="null for a reference")
    train_rung: int = Field(description="the finest rung of zero-shot training")
    band_rung: int = Field(description="the rung whose band is scored: the train rung, but for `native`")
    seed: int = Field(default=0, ge=0)
    protocol: int = PROTOCOL
    footing: Literal["cost", "parameters"] | None = Field(
        default=None,
        description="what chose the steps or the width: equal cost or equal parameters; null: nothing did",
        exclude_if=lambda footing: footing is None,
    )

    @property
    def digest(self) -> str:
        """SHA-256 over all fields but `footing`: what it chose stands in the steps or the width.

        Of a user's own model its file's name and content count, not where it lies.
        """
        values = self.model_dump(mode="json")
        values.pop("footing", None)
        if self.model_digest is not None:
            path, _, name = self.model.rpartition(":")
            values["model"] = f"{Path(path).name}:{name}"
        return digest_of(values)

    def scored(self, rungs: Sequence[int]) -> tuple[int, ...]:
        """Of a ladder's rungs those where a prediction is asked for: to super-resolve, those above the input's.

        The input's own too where time is refined.
        """
        lowest = 0 if self.input_rung is None else self.input_rung + (self.time_factor == 1)
        return tuple(rung for rung in rungs if rung >= lowest)

    @property
    def folder(self) -> str:
        method = f"native{self.train_rung:03d}" if self.kind == "native" else self.method
        model = Path(self.model.rpartition(":")[0]).stem if ":" in self.model else self.model
        return f"{self.dataset}-{method}-{model}-s{self.seed}-{self.digest[:8]}"


def validated(model: type[M], values: Mapping[str, Any], *, where: str) -> M:
    """`model(**values)`; a mistake becomes one ConfigError that names the option and the nearest that exists."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"{where}: {unknown('option', name, model.model_fields)}") from None
        raise ConfigError(f"{where}: {name or 'value'}: {first['msg']}, not {first['input']!r}") from None


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """`["train.steps=100", "model.width=8"]` -> `{"train": {"steps": 100}, "model": {"width": 8}}`, values as YAML 1.2.

    A comma list becomes a list: `data.rungs=16,32,64`.  Raises ConfigError for what is no setting.
    """
    tree: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        path = key.strip().split(".")
        if not equals or not all(path):
            raise ConfigError(f"--set takes name=value, not '{setting}'", do="for example --set train.steps=500")
        listed = "," in text and not text.lstrip().startswith(("[", "{", "'", '"'))
        try:
            value = yaml.load(f"[{text}]" if listed else text, _CoreLoader)
        except (yaml.YAMLError, ValueError, KeyError):
            raise ConfigError(f"--set {key}: '{text}' is no YAML value") from None
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise ConfigError(f"--set {key}: '{part}' already has a value")
        node[path[-1]] = value
    return tree


class _CoreLoader(yaml.SafeLoader):
    """YAML 1.2's core schema.  PyYAML's own, 1.1, takes 1e-3 for a word, 010 for eight and 2018-05-01 for a date."""


_CoreLoader.yaml_implicit_resolvers = {}
_CoreLoader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in ("null", "bool", "str", "seq", "map")
}
for _tag, _pattern in (
    ("null", r"~|null|Null|NULL|"),
    ("bool", r"true|True|TRUE|false|False|FALSE"),
    ("int", r"[-+]?[0-9]+"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan"),
):
    _CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), None)
_CoreLoader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))
_CoreLoader.add_constructor("tag:yaml.org,2002:float", lambda _, node: float(re.sub(r"\.(?=[in])", "", node.value)))


def merged(*trees: Mapping[str, Any]) -> dict[str, Any]:
    """Trees laid over one another, the last on top.  Raises ConfigError where a single value stands for a tree."""
    out: dict[str, Any] = {}
    for tree in trees:
        if not isinstance(tree, Mapping):
            raise ConfigError(f"a group of options is wanted, not {tree!r}", do="for example --set train.steps=500")
        for key, value in tree.items():
            below = out.get(key)
            out[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return out


class Preset(Frozen):
    """What a size means for one dataset: the model, its options, and how each method trains."""

    model: str
    models: dict[str, dict[str, Any]] = Field(default_factory=dict)
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)
    trains: dict[str, dict[str, Any]] = Field(default_factory=dict, description="of one model, over `train`")
    task: dict[str, Any] = Field(default_factory=dict, description="what the task leaves open")
    tasks: dict[str, dict[str, Any]] = Field(default_factory=dict, description="of one task, over all the others")
    native: dict[str, Any] = Field(default_factory=dict, description="rungs: [...], and train options of its own")


def load_preset(size: str, dataset: str, *, task: str | None = None) -> Preset:
    """The preset of a size for a dataset, from presets/<size>.yaml, whose `default` lies under the dataset's own.

    The task `represent` has its own, presets/represent.yaml.

    Raises ConfigError for a size that there is not.
    """
    if size not in SIZES:
        raise ConfigError(unknown("size", size, SIZES))
    name = "represent" if task == "represent" else size
    tree = yaml.safe_load((files("anchorbench.presets") / f"{name}.yaml").read_text())
    tree = tree[size] if task == "represent" else tree
    own = merged(tree["default"], tree.get(dataset, {}))
    of_task = {} if task is None else own.get("tasks", {}).get(task, {})
    return validated(Preset, merged(own, of_task), where=f"presets/{name}.yaml {dataset}")


def save_yaml(model: BaseModel, path: Path) -> None:
    path.write_text(yaml.safe_dump(model.model_dump(mode="json"), sort_keys=False))
