"""A run's card: one JSON that tells what was run, on what, and what came out, so that another machine can check it.

    E(ρ) = (Σ e² / Σ w)^½ over clusters and channels of curve.nc's sums, for the resolved, unseen and total error

`sums` is the SHA-256 of those sums, bit for bit; `curve` holds the errors that a third party reproduces within a
tolerance (`verify.py`).  No weights: `weights` is their file's SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from pydantic import Field, ValidationError

import anchorbench
from anchorbench.analysis import SCORE_NAMES, Cells, Sums, curve, explain, judge
from anchorbench.config import Frozen, LadderSpec, RunSpec
from anchorbench.errors import ConfigError, RunError
from anchorbench.methods.base import Plan
from anchorbench.methods.registry import build_method
from anchorbench.runs.plan import group_key
from anchorbench.runs.store import RunFolder

#: The scores that are reproduced, by their sums' names.
ERRORS = ("resolved", "unseen", "total")


class RunCard(Frozen):
    """What `anchorbench report --cards` writes and `anchorbench evaluate --verify` reads."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    run: str = Field(description="the run's folder")
    benchmark: str = Field(description="runs of one benchmark stand in one table: same ladder, task, lead and band")
    data: str = Field(description="the name shown of the data: a stand-in's own")
    spec: RunSpec
    spec_digest: str
    ladder: LadderSpec
    curve: dict[int, dict[str, float]] = Field(description="rung -> resolved, unseen, total error, in σ")
    sums: str = Field(description="SHA-256 of the sums of curve.nc")
    weights: str | None = Field(description="SHA-256 of model.safetensors; null for a reference")
    verdict: dict[str, Any]
    words: str
    model: dict[str, Any] | None = Field(description="the model's card")
    environment: dict[str, Any]
    version: str
    made: str


def read_curve(run: RunFolder) -> xr.Dataset:
    """The run's curve.nc.  Raises RunError where there is none, or it cannot be read."""
    path = run.path / "curve.nc"
    try:
        with xr.open_dataset(path, engine="netcdf4") as data:
            return data.load()
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read: {error}", do=f"anchorbench evaluate {run.path.name} makes it again"
        ) from None


def sums_by_rung(data: xr.Dataset) -> dict[int, Sums]:
    """The score's sums by rung, of the rungs that were scored."""
    found = {}
    for rung in data["rung"].values.tolist():
        arrays = {name: data[name].sel(rung=rung).values for name in SCORE_NAMES}
        if np.isfinite(arrays["weight"]).all():
            found[int(rung)] = Sums(arrays)
    return found


def sums_digest(data: xr.Dataset) -> str:
    """SHA-256 over rungs, names, shapes and values of the sums, little-endian float64: equal means bit for bit."""
    found = hashlib.sha256()
    for rung, sums in sorted(sums_by_rung(data).items()):
        for name in SCORE_NAMES:
            values = np.ascontiguousarray(sums[name], dtype="<f8")
            found.update(f"{rung}/{name}/{values.shape}\n".encode())
            found.update(values.tobytes())
    return found.hexdigest()


def errors_by_rung(data: xr.Dataset) -> dict[int, dict[str, float]]:
    """rung -> E of `ERRORS`, in σ."""
    return {
        rung: {name: float(np.sqrt(sums[name].sum() / sums["weight"].sum())) for name in ERRORS}
        for rung, sums in sums_by_rung(data).items()
    }


def weights_digest(run: RunFolder) -> str | None:
    """SHA-256 of the run's weights; None where there are none."""
    path = run.path / "model.safetensors"
    if not path.exists():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run_card(run: RunFolder, *, delta: float = 0.1) -> RunCard:
    """The card of a finished run; its verdict is of this one seed, without native.

    Raises RunError for a run that is not finished.
    """
    if not run.finished:
        raise RunError(f"{run.path.name} is not finished", do="run the same `anchorbench train` again")
    data, spec = read_curve(run), run.spec
    ladder = LadderSpec(**json.loads(data.attrs["ladder"]))
    cells = Cells.from_sums([sums_by_rung(data)], sigma=1.0)
    seen = _seen(spec, ladder)
    verdict = judge(cells, train_rung=spec.band_rung, seen=seen, fixed_input=spec.input_rung is not None, delta=delta)
    about = run.path / "card.json"
    drawn = curve(cells, train_rung=spec.band_rung)
    return RunCard(
        run=run.path.name,
        benchmark=group_key(spec),
        data=str(json.loads(data.attrs["provenance"])["display_name"]),
        spec=spec,
        spec_digest=spec.digest,
        ladder=ladder,
        curve=errors_by_rung(data),
        sums=sums_digest(data),
        weights=weights_digest(run),
        verdict={**verdict.to_dict(), "skill": dict(zip(map(str, drawn.rungs), drawn.skill, strict=True))},
        words=explain(verdict, name=spec.method),
        model=json.loads(about.read_text()) if about.exists() else None,
        environment=run.environment(),
        version=anchorbench.__version__,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def write_card(card: RunCard, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_plain(card.model_dump(mode="json", by_alias=True)), ensure_ascii=False, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def read_card(path: Path) -> RunCard:
    """Raises ConfigError for what is no card, or is not whole: a spec whose digest is another's."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON: {error}", do="anchorbench report --cards writes cards") from None
    try:
        card = RunCard.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise ConfigError(
            f"{path} is no run card: {where}: {first['msg']}", do="anchorbench report --cards writes cards"
        ) from None
    if card.spec.digest != card.spec_digest:
        raise ConfigError(f"{path} was changed: its spec is not the one whose digest it names")
    return card


def _seen(spec: RunSpec, ladder: LadderSpec) -> list[int]:
    """The rungs that training saw; none of what is not trained."""
    if spec.train is None:
        return []
    method = build_method(spec.method, Plan.of(ladder, spec.train_rung), spec.method_options, task=spec.task)
    return sorted(rung for rung, share in method.mix().items() if share > 0)


def _plain(value: Any) -> Any:
    """NaN and infinity, which JSON has not, as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
