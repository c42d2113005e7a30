"""The three splits of every set, how many samples each has, and the seeds that keep their draws apart."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, ValidationInfo

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

#: Generators draw a split's samples from (seed, number of the split, sample), which never meet ...
NUMBER_OF_SPLIT: dict[Split, int] = {split: number for number, split in enumerate(SPLITS)}
#: ... or, where a seed is one number, from seeds that are a million apart.
SEED_OF_SPLIT: dict[Split, int] = {split: 1_000_000 * number for split, number in NUMBER_OF_SPLIT.items()}


def _names_every_split(counts: dict[Split, int], info: ValidationInfo) -> dict[Split, int]:
    if lacking := set(SPLITS) - counts.keys():
        raise ValueError(f"{info.field_name} lack the split {', '.join(sorted(lacking))}")
    return counts


#: An option: samples of each split, none left out, none empty.
OfEverySplit = Annotated[dict[Split, Annotated[int, Field(ge=1)]], AfterValidator(_names_every_split)]
