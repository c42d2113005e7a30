"""What a run needs in memory: its ladder, plan, method, samples and model, made from its spec."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from anchorbench.config import RunSpec, inputs_of, targets_of
from anchorbench.data.degradations import Degradation
from anchorbench.data.field_windows import FieldWindows, Part
from anchorbench.data.ladder import Ladder, Split, TrainingView
from anchorbench.data.samples import Batch, Normaliser, Windows
from anchorbench.data.space_time_windows import SpaceTimeWindows, each_frame
from anchorbench.errors import AnchorbenchError, ConfigError, ModelError
from anchorbench.fields import Grid
from anchorbench.methods.base import Method, Plan, Track
from anchorbench.methods.registry import build_method
from anchorbench.models.registry import BUILT_IN, build


@dataclass(frozen=True)
class Session:
    """A spec, its ladder, and where to compute.  Everything else follows, and is made when first asked for."""

    spec: RunSpec
    ladder: Ladder
    device: torch.device

    @cached_property
    def plan(self) -> Plan:
        increment = self.spec.train is not None and self.spec.train.increment
        plan = Plan.of(self.ladder.spec, self.spec.train_rung, increment=increment, lead=self.spec.lead)
        plan = replace(plan, input_rung=self.spec.input_rung, time_factor=self.spec.time_factor)
        if self.spec.fields is None:
            return plan
        return replace(plan, fields=self.spec.fields, frames=self.spec.frames_in)

    @cached_property
    def method(self) -> Method:
        return build_method(self.spec.method, self.plan, self.spec.method_options, task=self.spec.task)

    @cached_property
    def view(self) -> TrainingView:
        """What training may open: the method's own rungs, and for a zero-shot one none above the train rung."""
        if self.spec.kind == "reference":
            return TrainingView(self.ladder, (self.spec.train_rung,))
        given = () if self.spec.input_rung is None else (self.spec.input_rung,)
        allowed: Iterable[int] = (self.spec.train_rung, *self.method.rungs(), *given)
        if self.method.track is Track.ZERO_SHOT:
            allowed = [rung for rung in allowed if rung <= self.spec.train_rung]
        return TrainingView(self.ladder, allowed)

    @cached_property
    def normaliser(self) -> Normaliser:
        return Normaliser.of(self.view, self.spec.train_rung)

    @property
    def band(self) -> Grid:
        """The grid of the rung whose band is scored."""
        return self.ladder.grid(self.spec.band_rung)

    @property
    def target_units(self) -> Normaliser:
        """Of the variables that the model is asked for."""
        return self.normaliser.only(targets_of(self.ladder.spec.variables))

    @cached_property
    def band_normaliser(self) -> Normaliser:
        """σ of every score: of the band's rung, training split.  A `native` run trains in units of its own rung."""
        if self.spec.band_rung == self.spec.train_rung:
            return self.normaliser
        return Normaliser.of(TrainingView(self.ladder, (self.spec.band_rung,)), self.spec.band_rung)

    @property
    def channel_scale(self) -> torch.Tensor:
        """σ of the scores in units of this run's own normalisation: (C',), float64."""
        band = self.band_normaliser.only(targets_of(self.ladder.spec.variables))
        own = torch.tensor(self.target_units.std, dtype=torch.float64)
        return torch.tensor(band.std, dtype=torch.float64) / own

    @property
    def scored_rungs(self) -> tuple[int, ...]:
        """Every rung, to super-resolve those above the input's; a native run only its own, where it is compared."""
        if self.spec.kind == "native":
            return (self.spec.train_rung,)
        return self.spec.scored(self.ladder.rungs)

    def training_windows(self, split: Split, rung: int) -> Windows:
        self.view.open(split, rung)
        if self.spec.fields is not None:
            return self._fields(rung, "fitted" if split == "train" else "held_out")
        return self._windows(split, rung)

    def test_windows(self, rung: int) -> Windows:
        return self._windows("test", rung) if self.spec.fields is None else self._fields(rung, "all")

    def _fields(self, rung: int, part: Part) -> FieldWindows:
        """Of `represent`: what is fitted is the test field itself, on the rungs that training may open."""
        assert self.spec.fields is not None
        options = self.method.options if self.spec.kind != "reference" else None
        return FieldWindows(
            self.ladder,
            rung,
            fields=self.spec.fields,
            frames=self.spec.frames_in,
            part=part,
            share=0.0 if options is None else options.held_out,
            noise=0.0 if options is None else options.noise,
            seed=self.spec.seed,
            normaliser=self.normaliser,
            device=self.device,
        )

    def _windows(self, split: Split, rung: int) -> Windows:
        static = self.ladder.static(self.spec.input_rung or rung)
        if static is not None:
            static = static / self.static_scale
        words: dict[str, Any] = {
            "frames_in": self.spec.frames_in,
            "normaliser": self.normaliser,
            "in_rung": self.spec.input_rung,
            "static": None if static is None else torch.from_numpy(static),
            "device": self.device,
        }
        if (factor := self.spec.time_factor) > 1:
            return SpaceTimeWindows(self.ladder, split, rung, time_factor=factor, **words)
        return Windows(
            self.ladder,
            split,
            rung,
            lead=self.spec.lead,
            degradation=cast("Degradation | None", self.spec.degradation),
            source_rung=self.spec.band_rung,
            noise=self.spec.input_noise,
            **words,
        )

    @cached_property
    def static_scale(self) -> np.ndarray:
        """Largest magnitude of each static field on the train rung: (field, 1, ...)."""
        static = self.ladder.static(self.spec.train_rung)
        assert static is not None
        scale: np.ndarray = abs(static).max(axis=tuple(range(1, static.ndim)), keepdims=True).clip(1e-12)
        return scale

    def in_channels(self) -> int:
        """Frames of every variable, static fields, the mask where something is missing, the method's code."""
        variables = len(inputs_of(self.ladder.spec.variables))
        n_static = len(self.ladder.about["static"])
        return self.spec.frames_in * variables + n_static + int(self.ladder.masked) + self.method.extra_channels()

    def build_model(self) -> nn.Module:
        """The untrained module, the same for the same seed."""
        torch.manual_seed(self.spec.seed)
        model = build(
            self.spec.model,
            in_channels=self.in_channels(),
            out_channels=self.spec.time_factor * len(targets_of(self.ladder.spec.variables)),
            grid=self.plan.train_grid,
            options=self.spec.model_options,
        )
        return self.method.wrap(model).to(self.device)

    def trained(self, weights: Mapping[str, torch.Tensor]) -> nn.Module:
        """The module with these weights, ready to predict."""
        module = self.build_model()
        module.load_state_dict(dict(weights))
        return module.eval()


def require_runs_everywhere(session: Session) -> None:
    """Try the untrained model on every rung that it will meet, with noise in place of samples.

    Raises ModelError, rung named, where it fails or its output has another shape than the targets.
    """
    module = session.build_model().eval()
    finest, noise = session.ladder.finest, torch.Generator().manual_seed(0)
    variables = session.ladder.spec.variables
    shared = inputs_of(variables) == targets_of(variables)
    for rung in sorted({*session.method.mix(), *session.scored_rungs}):
        grid = finest.with_rung(rung)
        given = grid if session.spec.input_rung is None else finest.with_rung(session.spec.input_rung)

        def field(channels: int, grid: Grid = given) -> torch.Tensor:
            # Small about the mean: a coefficient must stay positive.
            return 0.1 * torch.randn(1, channels, *grid.shape, generator=noise).to(session.device)

        def mask(grid: Grid) -> torch.Tensor | None:
            return torch.ones(1, 1, *grid.shape, device=session.device) if session.ladder.masked else None

        batch = Batch(
            inputs=field(session.spec.frames_in * len(inputs_of(variables))),
            targets=field(session.spec.time_factor * len(targets_of(variables)), grid),
            grid=given,
            out_grid=grid,
            clusters=torch.zeros(1, dtype=torch.long, device=session.device),
            mask=mask(grid),
            input_mask=mask(given),
            newest=None if shared else (),
            in_units=session.normaliser.only(inputs_of(variables)),
            out_units=each_frame(session.target_units, session.spec.time_factor),
            frames_out=session.spec.time_factor,
            static=field(n) if (n := len(session.ladder.about["static"])) else None,
        )
        try:
            with torch.no_grad():
                session.method.predict(module, batch, members=1, rng=None)
        except AnchorbenchError:
            raise
        except Exception as error:
            if session.spec.model in BUILT_IN:
                raise
            said = (str(error).splitlines() or [""])[0]
            raise ModelError(
                f"the model {session.spec.model} does not run on rung {grid.name}: {type(error).__name__}: {said}",
                do=f"its input there is {tuple(field(session.in_channels()).shape)}; every rung is scored",
            ) from error


def choose_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one.  Raises ConfigError for a device that there is not."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("there is no CUDA device that torch can use", do="--device cpu")
    if name not in ("cpu", "cuda"):
        raise ConfigError(f"--device is auto, cpu or cuda, not '{name}'")
    return torch.device(name)


def make_deterministic(device: torch.device) -> None:
    """One spec, one GPU, one result: torch's default kernels on CUDA add in any order, and cuDNN's are chosen by race.

    Only for CUDA, before its first product: a CPU is deterministic as it is.
    """
    if device.type != "cuda":
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it once
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    # A user's model may hold an operation that has no such kernel: it trains, with a warning.
    torch.use_deterministic_algorithms(True, warn_only=True)


def cores() -> int:
    """Cores that this process may use: its affinity, and a container's quota."""
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.exists():
        most, _, period = quota.read_text().partition(" ")
        if most.isdigit() and period.strip().isdigit():
            n = min(n, max(1, int(most) // int(period)))
    return n


def free_cores() -> int:
    """Cores less the load of the last minute: more threads than free cores run 10 to 100 times slower, spinning."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(1, cores() - round(load))


def threads_each(workers: int) -> int:
    """Threads of each of several runs at once: OMP_NUM_THREADS where it is set, else the cores shared out."""
    return threads_set() or max(1, cores() // workers)


def threads_set() -> int | None:
    """OMP_NUM_THREADS, as torch itself reads it; None where it is no whole number above 0."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdigit() and int(said) else None


def set_threads(threads: int | None) -> int:
    """Pin torch's threads: what was asked, else OMP_NUM_THREADS, else the cores that are free.  Returns the number."""
    wanted = threads or threads_set() or free_cores()
    torch.set_num_threads(wanted)
    return wanted
