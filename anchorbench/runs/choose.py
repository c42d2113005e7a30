"""`choose`: one option of any model or method, by the spectrum of untrained networks (after Kania et al., ICLR 2025).

    D(s) = 1/J Σ_j W(S_n(M_{s,j}(u_j)), S_n(y_j)),   s* = argmin_s D(s)

M_{s,j} is the network of seed j with the option at s, untrained; (u_j, y_j) sample j of the train rung; S_n and W as in
analysis/spectral_distance.py.  Where the method adds the newest input to what the model says, it is added to neither
side: compared is what the model is asked for.  Of the task `represent` the method `fresh` does the same within a run;
this serves models that take fields, whose codes of position have a number that nobody knows: the waves of FRL's
encoding, the deviation of the waves in a LIIF's decoder.  The paper says nothing of these: ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anchorbench.analysis.spectral_distance import Form, binned_spectrum, wasserstein
from anchorbench.config import RunSpec, merged
from anchorbench.data.catalog import Catalog
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch_many import fetch_one
from anchorbench.data.ladder import Ladder
from anchorbench.errors import ConfigError
from anchorbench.runs.factors import implied_task
from anchorbench.runs.plan import plan_runs
from anchorbench.runs.session import Session, choose_device
from anchorbench.runs.verbs import Asked

#: The options that there is something to choose of.
GROUPS = ("model", "method")


@dataclass(frozen=True)
class Choice:
    """distance and its standard error (setting), in bins; target (bin) and untrained (setting, bin): mean spectra."""

    option: str
    settings: tuple[Any, ...]
    distance: np.ndarray
    error: np.ndarray
    target: np.ndarray
    untrained: np.ndarray
    rung: int
    seconds: float

    @property
    def chosen(self) -> Any:
        return self.settings[int(self.distance.argmin())]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, for JSON."""
        return {
            "option": self.option,
            "settings": list(self.settings),
            "chosen": self.chosen,
            "distance": self.distance.tolist(),
            "error": self.error.tolist(),
            "target_spectrum": self.target.tolist(),
            "untrained_spectrum": self.untrained.tolist(),
            "rung": self.rung,
            "seconds": self.seconds,
        }


def choose(
    asked: Asked,
    option: str,
    settings: Sequence[Any],
    *,
    cache: Path,
    draws: int = 10,
    bins: int = 64,
    form: Form = "antidiagonal",
    device: str = "auto",
    offline: bool = False,
    catalog: Catalog | None = None,
    tell: Callable[[str, str, float], None] = lambda name, what, share: None,
) -> Choice:
    """Compare the settings of `option`, model.NAME or method.NAME, without training any.

    asked: the words of a `train` with one method; its seeds are not used.

    Raises ConfigError for another kind of option, fewer than two settings or the task `represent`, and what planning
    raises for words that mean no run.
    """
    group, _, name = option.partition(".")
    if group not in GROUPS or not name:
        raise ConfigError(
            f"'{option}' is no option to choose", do=f"name one as {' or '.join(f'{g}.NAME' for g in GROUPS)}"
        )
    if len(settings) < 2 or draws < 1 or len(asked.methods) != 1:
        raise ConfigError("choose compares two settings or more of one method, in one draw or more")
    wanted, by_factor = asked.request(catalog or load_catalog(), cache)
    task = implied_task(wanted.entry, asked.task, asked.settings)
    if task == "represent":
        raise ConfigError("represent chooses within a run", do="anchorbench train --task represent --method fresh")

    def planned(setting: Any) -> list[RunSpec]:
        words: Mapping[str, Any] = merged(asked.settings, {group: _nested(name, setting)})
        specs = plan_runs(
            wanted,
            methods=asked.methods,
            seeds=range(draws),
            model=asked.model,
            task=task,
            train_rung=by_factor or asked.train_rung,
            settings=words,
        )
        return [spec for spec in specs if spec.kind == "method"]

    plans = [planned(setting) for setting in settings]
    where = choose_device(device)
    ladder = fetch_one(
        wanted, cache, offline=offline, device=str(where), progress=lambda what, s: tell("data", what, s)
    )
    began = time.perf_counter()
    spectra = []
    for number, specs in enumerate(plans):
        spectra.append([spectra_of(spec, ladder, where, draw=j, bins=bins, form=form) for j, spec in enumerate(specs)])
        tell(option, str(settings[number]), (number + 1) / len(plans))
    untrained = torch.stack([torch.stack([u for u, _ in row]) for row in spectra])  # (setting, draw, bin)
    target = torch.stack([y for _, y in spectra[0]])
    apart = wasserstein(untrained, target).numpy()
    error = apart.std(1, ddof=1) / draws**0.5 if draws > 1 else np.zeros(len(settings))
    return Choice(
        option,
        tuple(settings),
        apart.mean(1),
        error,
        target.mean(0).numpy(),
        untrained.mean(1).numpy(),
        plans[0][0].train_rung,
        time.perf_counter() - began,
    )


@torch.no_grad()
def spectra_of(
    spec: RunSpec, ladder: Ladder, device: torch.device, *, draw: int, bins: int, form: Form
) -> tuple[torch.Tensor, torch.Tensor]:
    """S_n of the untrained network's values on one training sample, and of the sample: (bins,) each, on the CPU."""
    session = Session(spec, ladder, device)
    windows = session.training_windows("train", spec.train_rung)
    # Spread over the split, and the same whatever the setting.
    batch = windows.batch([(2 * draw + 1) * len(windows) // (2 * max(draw + 1, 10)) % len(windows)])
    out = session.build_model().eval()(batch)
    start = batch.start() if session.plan.increment else None
    grid = batch.out_grid
    n = min(bins, min(grid.shape) // 2)
    sides = []
    for u in (out, batch.targets):
        u = u if start is None else u - start
        u = u if batch.mask is None else u * (batch.mask > 0)
        sides.append(binned_spectrum(u[0], ndim=grid.ndim, bins=n, form=form).cpu())
    return sides[0], sides[1]


def with_choice(asked: Asked, choice: Choice) -> Asked:
    """The same words, with what was chosen."""
    group, _, name = choice.option.partition(".")
    return replace(asked, settings=merged(asked.settings, {group: _nested(name, choice.chosen)}))


def _nested(name: str, value: Any) -> dict[str, Any]:
    """a.b: v as {a: {b: v}}."""
    first, _, rest = name.partition(".")
    return {first: _nested(rest, value) if rest else value}
