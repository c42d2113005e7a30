"""What train() and eval() do to a model, and what it owes to its seed and to the other samples of a batch.

(Measured so on public code: a kernel cached at the first evaluation keeps its weights for ever after, and training goes
on without it; a block whose output is discarded trains nothing.)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from anchorbench.diagnose.findings import Finding, graded
from anchorbench.diagnose.tried import LOW, ROUNDING, Tried
from anchorbench.models.registry import call


def _gradients(model: nn.Module, tried: Tried) -> tuple[set[str], set[str]]:
    """Parameters that get a gradient, and those whose gradient is all zero."""
    model.zero_grad(set_to_none=True)
    grid = tried.home
    u = tried.field(grid.rung, 1, LOW).to(tried.device, tried.dtype)
    loss = call(model, torch.cat([u, 0.5 * u]), grid, grid).square().mean()
    if not loss.requires_grad:
        return set(), set()
    torch.autograd.backward([loss])
    reached = {name for name, p in model.named_parameters() if p.grad is not None}
    return reached, {name for name, p in model.named_parameters() if p.grad is not None and not bool(p.grad.any())}


def modes(model: nn.Module, tried: Tried) -> list[Finding]:
    """What train() and eval() do: caches that outlive them, parameters that no gradient reaches."""
    u = tried.field(tried.home.rung, 1, LOW)
    wanted = {name for name, p in model.named_parameters() if p.requires_grad}
    if not wanted:
        return [Finding("train and eval", "sound", 0.0, "it has no parameters")]
    model.train()
    reached, flat = _gradients(model, tried)
    idle = wanted - reached
    found = [
        graded(
            "parameters",
            float(len(idle)),
            f"{len(idle)} of {len(wanted)} parameters get no gradient" + (f": {_some(idle)}" if idle else "")
            + (f"; {len(flat)} get one of zero: {_some(flat)}" if flat else ""),
            "a layer whose output is thrown away is no layer: use it, or leave it out",
            defect=0.0,
        )
    ]  # fmt: skip
    model.eval()
    grid = tried.home
    with torch.no_grad():
        first = call(model, u.to(tried.device, tried.dtype), grid, grid).double()
    in_eval = reached - _gradients(model, tried)[0]
    model.train()
    after = reached - _gradients(model, tried)[0]
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.5)
        model.eval()
        second = call(model, u.to(tried.device, tried.dtype), grid, grid).double()
    stale = bool(torch.equal(first, second))
    lost = after or in_eval
    said = "after an evaluation" if after else "in evaluation mode"
    what = "weights are the same in training and after an evaluation"
    if lost:
        what = f"{said} {len(lost)} of {len(reached)} parameters get no gradient: {_some(lost)}"
    elif stale:
        what = "after an evaluation it answers with its old weights"
    found.append(
        graded(
            "train and eval",
            float(max(len(lost), int(stale))),
            what,
            "keep no weights made in eval; drop them in train(), and call model.train() after each evaluation",
            defect=0.0,
        )
    )
    return found


def deterministic(built: Callable[[], nn.Module], tried: Tried) -> Finding:
    u = tried.field(tried.home.rung, 1, LOW)
    first = tried(u)
    again = tried(u)
    other = Tried(built(), home=tried.home, in_channels=tried.in_channels)(u)
    size = first.norm().clamp_min(1e-30)
    twice, seeded = float((again - first).norm() / size), float((other - first).norm() / size)
    return graded(
        "determinism",
        max(twice, seeded),
        f"asked twice in eval it differs by {twice:.2g}; built twice from one seed by {seeded:.2g}",
        "dropout off in eval; draw weights from torch's generator alone",
        defect=ROUNDING,
    )


def batched(tried: Tried) -> Finding:
    u = tried.field(tried.home.rung, 1, LOW)
    alone, together = tried(u), tried(torch.cat([u, 3 * u.flip(-1)]))[:1]
    number = float((alone - together).norm() / alone.norm().clamp_min(1e-30))
    return graded(
        "batches",
        number,
        f"beside another sample it answers {number:.2g} differently",
        "no statistics over the batch in eval",
        defect=ROUNDING,
    )


def _some(names: set[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "")
