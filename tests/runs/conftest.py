"""Small ladders whose fields are written down in a test, and subjects whose prediction is a formula."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from anchorbench.config import LadderSpec, RunSpec, Variable
from anchorbench.data.ladder import SPLITS, Ladder, write_ladder
from anchorbench.data.sources import SplitFields
from anchorbench.fields import Grid
from anchorbench.runs.probes import Subject
from anchorbench.runs.session import Session

TAU = 2 * np.pi


@pytest.fixture(scope="session")
def ladder_of(tmp_path_factory) -> Callable[..., Ladder]:
    """ladder_of({"u": (sample, time, *grid)}, rungs, ...): all splits the same fields, restricted spectrally."""

    def make(
        fields: Mapping[str, np.ndarray],
        rungs: Sequence[int],
        *,
        restriction: str = "spectral",
        variables: Sequence[Variable] = (),
        valid: np.ndarray | None = None,
        static: Mapping[str, np.ndarray] | None = None,
        clusters: Sequence[int] | None = None,
        time_step: float = 0.5,
        **grid: Any,
    ) -> Ladder:
        first = next(iter(fields.values()))
        spec = LadderSpec(
            dataset="waves",
            source="generated",
            size="tiny",
            restriction=restriction,
            rungs=tuple(rungs),
            grid=Grid(first.shape[2:], **{"extent": (TAU,) * (first.ndim - 2), **grid}).to_dict(),
            variables=tuple(variables) or tuple(Variable(name=name, units="1") for name in fields),
            time_step=time_step,
            time_unit="s",
            origin={},
        )
        ids = np.arange(len(first)) if clusters is None else np.asarray(clusters)
        split = SplitFields({name: u.astype(np.float32) for name, u in fields.items()}, valid, None, ids)
        attrs = {"display_name": "waves", "producer": "these tests", "terms": "none"}
        cache = tmp_path_factory.mktemp("ladder")
        return write_ladder(spec, dict.fromkeys(SPLITS, split), cache, attrs=attrs, static=static)

    return make


@pytest.fixture(scope="session")
def subject_of() -> Callable[..., Subject]:
    """subject_of(ladder, predict, ...): a forecast run on the ladder that predicts what the formula says."""

    def make(ladder: Ladder, predict: Callable, *, train_rung: int | None = None, **spec: Any) -> Subject:
        home = train_rung or ladder.rungs[0]
        words: dict[str, Any] = {
            "ladder": ladder.spec.digest,
            "dataset": "waves",
            "source": "generated",
            "size": "tiny",
            "task": "forecast",
            "model": "fno",
            "method": "baseline",
            "train_rung": home,
            "band_rung": home,
        }
        return Subject(Session(RunSpec(**words | spec), replace(ladder), torch.device("cpu")), predict)

    return make
