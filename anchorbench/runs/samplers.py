"""The two ways back from noise on one batch: the published ancestral steps, and the fast sampler with ever more steps.

CRPS, spread over error and seconds a member, of the same weights on the same windows: what the fast sampler costs.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import xarray as xr

from anchorbench.data.samples import Batch
from anchorbench.errors import RunError
from anchorbench.methods.registry import build_method
from anchorbench.runs.evaluate import apart, frame_by_frame, of_members
from anchorbench.runs.probes import Subject, Tell

#: (sampler, steps); None is each of the schedule's levels.
ASKED: tuple[tuple[str, int | None], ...] = (
    ("fast", 5),
    ("fast", 10),
    ("fast", 20),
    ("fast", 50),
    ("ancestral", 50),
    ("ancestral", None),
)
WINDOWS = 2


def samplers(subject: Subject, *, tell: Tell = lambda share: None) -> xr.Dataset:
    """The sums of `member_sums` by (sampler, cluster, channel), and `seconds` a member of one window.

    Raises RunError where the run has no diffusion.
    """
    session = subject.session
    spec = session.spec
    if spec.method != "diffusion" or spec.method_options.get("denoiser") == "none" or subject.trained is None:
        raise RunError(f"{spec.folder} draws no members: it has no sampler")
    windows = session.test_windows(spec.train_rung)
    batch = windows.batch(np.linspace(0, len(windows) - 1, WINDOWS).round().astype(int).tolist())
    hours = frame_by_frame(batch)
    sums, seconds = [], []
    for number, (sampler, steps) in enumerate(ASKED):
        began = time.perf_counter()
        members = _members(subject, batch, {"sampler": sampler, "sampling_steps": steps})
        seconds.append((time.perf_counter() - began) / (len(members) * len(batch)))
        sums.append(of_members(session, apart(members, batch.frames_out, axis=2), hours, windows.n_clusters))
        tell((number + 1) / len(ASKED))
    dims = ("sampler", "cluster", "channel")
    arrays: dict[str, Any] = {name: (dims, np.stack([one[name] for one in sums])) for name in sums[0]}
    arrays["seconds"] = (("sampler",), seconds)
    names = [f"{sampler} {steps or spec.method_options['noise_steps']}" for sampler, steps in ASKED]
    return xr.Dataset(arrays, coords={"sampler": names})


def _members(subject: Subject, batch: Batch, changed: dict[str, Any]) -> Any:
    """By the run's own method with another sampler; its options are checked as ever."""
    session = subject.session
    method = build_method(
        session.spec.method, session.plan, session.spec.method_options | changed, task=session.spec.task
    )
    assert subject.trained is not None
    return method.predict(subject.trained, batch, members=1, rng=None).float()
