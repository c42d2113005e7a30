"""The training loop.

    for step: draw a rung, draw a batch, loss, clip, Adam; now and then look at the validation split; keep the best

Every random draw of a step comes from (seed, step) alone, and the learning rate from the step, so a run that is stopped
anywhere and started again ends with the same weights as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from anchorbench.config import TrainOptions
from anchorbench.data.field_windows import FieldWindows
from anchorbench.data.samples import Batch, Windows
from anchorbench.errors import ModelError, RunError, TrainingError
from anchorbench.fields.grid import rung_name
from anchorbench.runs.session import Session
from anchorbench.runs.stopping import StopRequest
from anchorbench.runs.store import RunFolder
from anchorbench.runs.warm_start import warm_start

#: Steps between two rows of the log; losses are looked at, and so fetched from a GPU, only there.
LOG_EVERY = 25
#: Step (from 1), rung, and the loss before that step: a scalar, left on its device until it is looked at.
Loss = tuple[int, int, Tensor]
KEPT = "the last good state is kept"
SLOWER = "try a smaller rate, for example --set train.learning_rate=5e-4 (another spec, another run)"
#: Seconds between two saved states, beside those at each validation.
SAVE_EVERY = 20.0


@dataclass(frozen=True)
class Progress:
    """What a progress bar shows."""

    step: int
    steps: int
    loss: float
    validation: float | None
    samples_per_second: float


def train(
    session: Session,
    run: RunFolder,
    *,
    threads: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> nn.Module:
    """Train the spec's model, or go on where an earlier call stopped; returns the best module on the validation split.

    threads: of torch, where a person asked for a number; else a run that goes on takes as many as it began with.

    Raises TrainingError where loss, weights or validation error are not finite (step, loss and rung named), and where
    there is no space.  The last good state stays on disk.
    """
    options = session.spec.train
    if options is None:
        raise RunError(f"{session.spec.folder} is a reference: it has nothing to train")
    method = session.method
    trained = session.build_model()
    windows = {rung: session.training_windows("train", rung) for rung in method.rungs()}
    validation = session.training_windows("validation", session.spec.train_rung)
    state = run.load_state()
    began, choosing = time.monotonic(), 0.0
    if state is None:
        method.prepare(trained, windows)
        choosing = time.monotonic() - began
    warm_start(trained, run)
    if options.compile and isinstance(inner := getattr(trained, "model", None), nn.Module):
        inner.compile(dynamic=False)  # one graph a rung; in place, so that weights keep their names
    parameters = list(trained.parameters())
    if not parameters:
        raise ModelError(f"the model {session.spec.model} has no parameters: there is nothing to train")
    # A complex weight, as in many a user's FNO, has no fused step.
    fused = all(w.is_floating_point() for w in parameters)
    optimiser = torch.optim.Adam(parameters, lr=options.learning_rate, weight_decay=options.weight_decay, fused=fused)

    start, best, best_weights, seconds = 0, math.inf, _copy(trained), 0.0
    losses: list[Loss] = []
    if state is not None:
        choosing = state.get("choosing", 0.0)
        start, best, seconds = state["step"], state["best"], state["seconds"]
        best_weights = state["best_weights"]
        losses = [(step, rung, loss.to(session.device)) for step, rung, loss in state["losses"]]
        trained.load_state_dict(state["weights"])
        optimiser.load_state_dict(state["optimiser"])
        # Sums are split by thread, so another number of threads ends with other last bits.
        torch.set_num_threads(threads or state["threads"])
    run.cut_log(start)
    kept = checkpoint_steps(options)

    trained.train()
    began = saved = last_log = time.monotonic()
    with StopRequest() as stop:
        for step in range(start, options.steps):
            rng = step_generator(session.spec.seed, step)
            torch.manual_seed(rng.initial_seed())  # a model's own draws, such as dropout, follow the step too
            rung = method.draw_rung(step, rng)
            batch = draw_batch(windows[rung], options.batch, rng)
            with torch.autocast(session.device.type, torch.bfloat16, enabled=options.precision == "bf16"):
                loss = method.loss(trained, batch, step=step, rng=rng)
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            method.clip(trained, options.clip)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, options)
            optimiser.step()
            losses.append((done := step + 1, rung, loss.detach()))
            if done in kept:
                _require_finite_weights(parameters, losses[-1])
                run.save_weights(trained.state_dict(), step=done)

            look = done % options.validate_every == 0 or done == options.steps
            report = look or done % LOG_EVERY == 0
            if not (report or stop.asked):
                continue
            mean_loss, n_losses = finite_mean(losses), len(losses)
            _require_finite_weights(parameters, losses[-1])
            error = None
            if look:
                method.before_validation(trained, validation)
                error = validation_error(session, trained, validation)
                if not math.isfinite(error):
                    raise TrainingError(f"the validation error is {error} after step {done}; {KEPT}", do=SLOWER)
                if error < best:
                    best, best_weights = error, _copy(trained)
            now = time.monotonic()
            spent = seconds + now - began
            if report:
                # A stop writes no row of its own, so that the log is the one of a run that was not stopped.
                losses = []
                run.log({
                    "step": done,
                    "loss": f"{mean_loss:.6g}",
                    "learning_rate": f"{learning_rate(step, options):.4g}",
                    "validation": "" if error is None else f"{error:.6g}",
                    "seconds": f"{spent:.2f}",
                })  # fmt: skip
            if on_progress is not None:
                rate = options.batch * n_losses / max(now - last_log, 1e-9)
                on_progress(Progress(done, options.steps, mean_loss, error, rate))
            last_log = now
            if look or stop.asked or now - saved > SAVE_EVERY:
                run.save_state(_state(done, trained, optimiser, best, best_weights, losses, spent, choosing))
                saved = now
            if stop.asked:
                raise KeyboardInterrupt
    trained.load_state_dict(best_weights)
    took = {"train_seconds": seconds + time.monotonic() - began}
    if session.spec.fields is not None:
        took["choosing_seconds"] = choosing
    run.save_environment({"device": _device_name(session.device), **took})
    run.save_weights(best_weights)  # last: where there are weights, training is over
    return trained.eval()


def step_generator(seed: int, step: int) -> torch.Generator:
    """All of a step's randomness: a function of (seed, step), so nothing of it needs saving."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) * 2_654_435_761 % 2**63)


def draw_batch(windows: Windows, size: int, rng: torch.Generator) -> Batch:
    """Windows at random; of `represent` all fields, for each has a network of its own."""
    if isinstance(windows, FieldWindows):
        return windows.whole()
    return windows.batch(torch.randint(len(windows), (size,), generator=rng).numpy())


def learning_rate(step: int, options: TrainOptions) -> float:
    """Linear warm-up over a share of the steps, then half a cosine to a hundredth (or constant)."""
    rise = max(1, round(options.warmup * options.steps))
    if step < rise:
        return options.learning_rate * (step + 1) / rise
    if options.schedule == "constant":
        return options.learning_rate
    share = (step - rise) / max(1, options.steps - rise)
    return options.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


def checkpoint_steps(options: TrainOptions) -> tuple[int, ...]:
    """n steps in equal ratios from a fiftieth of the training to its end: most happens at its beginning."""
    n = options.keep_checkpoints
    return tuple(sorted({max(1, round(options.steps * 0.02 ** ((n - i) / max(1, n - 1)))) for i in range(1, n + 1)}))


def finite_mean(losses: Sequence[Loss]) -> float:
    """Mean of the losses since the last row.  Raises TrainingError naming the first that is not finite."""
    values = torch.stack([loss for _, _, loss in losses]).double().cpu()
    for (step, rung, _), value in zip(losses, values.tolist(), strict=True):
        if not math.isfinite(value):
            raise TrainingError(f"the loss is {value} at step {step} on rung {rung_name(rung)}; {KEPT}", do=SLOWER)
    return float(values.mean())


def _require_finite_weights(parameters: Iterable[Tensor], last: Loss) -> None:
    """A loss can be finite and its gradient not: then the step has spoilt the weights, and they are not to be saved."""
    if not bool(torch.stack([torch.isfinite(w).all() for w in parameters]).all()):
        step, rung, loss = last
        raise TrainingError(
            f"the weights are not finite after step {step} on rung {rung_name(rung)} (loss {float(loss):.3g}); {KEPT}",
            do=SLOWER,
        )


@torch.no_grad()
def validation_error(session: Session, trained: nn.Module, windows: Windows, *, size: int = 128) -> float:
    """Root of the pooled squared error on the train rung's validation split, in units of the truth's deviation."""
    trained.eval()
    total = weight = 0.0
    for first in range(0, len(windows), size):
        batch = windows.batch(range(first, min(first + size, len(windows))))
        out = session.method.predict(trained, batch, members=1, rng=None).mean(0)
        squared = (out - batch.targets).double().square()
        w = torch.ones_like(squared) if batch.mask is None else batch.mask.double().expand_as(squared)
        if not batch.out_grid.is_uniform:
            w = w * batch.out_grid.area_weights().to(w)
        total += float((w * squared).sum())
        weight += float(w.sum())
    trained.train()
    return math.sqrt(total / max(weight, 1e-300))


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: w.detach().cpu().clone() for name, w in module.state_dict().items()}


def _state(
    step: int,
    trained: nn.Module,
    optimiser: torch.optim.Optimizer,
    best: float,
    best_weights: dict[str, Tensor],
    losses: Iterable[Loss],
    seconds: float,
    choosing: float,
) -> dict[str, Any]:
    return {
        "step": step,
        "weights": trained.state_dict(),
        "optimiser": optimiser.state_dict(),
        "best": best,
        "best_weights": best_weights,
        "losses": [(at, rung, loss.cpu()) for at, rung, loss in losses],
        "seconds": seconds,
        "choosing": choosing,
        "threads": torch.get_num_threads(),
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
