"""What a user says of a file of fields, and what is asked back: all of it at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from anchorbench.config import Frozen
from anchorbench.data.catalog import Restriction, Task
from anchorbench.data.cf import Role
from anchorbench.errors import ConfigError


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _one_or_more(value: Any) -> Any:
    value = _listed(value)
    return [value] if isinstance(value, bool | int | float) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(_one_or_more)]
Counts = Annotated[tuple[int, ...], BeforeValidator(_one_or_more)]
Answers = Annotated[tuple[bool, ...], BeforeValidator(_one_or_more)]


class Said(Frozen):
    """What a user says of a file; comma lists may be one word."""

    variables: Words = Field((), description="of the file; NAME:input and NAME:target for the task operator")
    headline: str | None = Field(None, description="the variable of the main curve; null: the first")
    restriction: Restriction | None = Field(
        None, description="null: spectral on periodic boxes, conservative on the sphere, else block_mean"
    )
    rungs: Counts = Field((), description="none: the file's own grid and halves of it")
    train_rung: int | None = Field(None, description="null: the rung nearest to a quarter of the finest")
    task: Task | None = Field(None, description="null: forecast where there is time, else super_resolve")
    periodic: Answers = Field((), description="of a plane: one answer, or one an axis, slowest first")
    extent: Numbers = Field((), description="length of the box, one number or one an axis, slowest first")
    centring: Literal["point", "cell"] | None = None
    levels: Numbers = Field((), description="which levels; each becomes a variable of its own")
    dims: dict[str, Role] = Field(default_factory=dict, description="what a dimension is, where the file does not say")
    crop: Counts = Field((), description="points per axis, cut from the centre, slowest first")
    frames_in: int = Field(1, ge=1, description="frames that a forecast is given")
    lead: int = Field(1, ge=1, description="steps from the last of these to the target")
    frames: int | None = Field(None, ge=1, description="frames of one sample")
    gap: int | None = Field(None, ge=0, description="frames left out where the split changes; null: one sample's")
    title: str | None = None


@dataclass
class Doubts:
    """What is missing, ambiguous or impossible, each with the option that settles it."""

    facts: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)

    def say(self, fact: str, option: str | None = None) -> None:
        self.facts.append(fact)
        if option is not None and option not in self.options:
            self.options.append(option)

    def error(self, path: str) -> ConfigError:
        """One error with all of them."""
        name = "the store" if "://" in path else Path(path).name
        do = f"add  {'  '.join(self.options)}" if self.options else None
        return ConfigError(f"{name}: {'; '.join(self.facts)}", do=do)
