"""Forecasts fed back: known equations of motion, whose error at every lead is worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from anchorbench.config import Variable
from anchorbench.data.samples import Batch
from anchorbench.errors import ModelError, RunError
from anchorbench.runs.probes import Subject
from anchorbench.runs.rollout import rollout

TAU = 2 * math.pi
X = np.arange(32) * TAU / 32
FRAMES = 6


def rms(data, name: str, rung: int, prefix: str = "") -> np.ndarray:
    """√(ΣΣ energy / ΣΣ weight) at each step, NaN where it was not reached."""
    at = data.sel(rung=rung)
    whole = at[f"{prefix}{name}"].sum(("cluster", "channel"), skipna=False)
    return np.sqrt((whole / at[f"{prefix}weight"].sum(("cluster", "channel"), skipna=False)).values)


def moving(speed: float, *, samples: int = 2, frames: int = FRAMES) -> np.ndarray:
    """cos(2 (x − c t − φ)), a phase φ of its own for each sample: (sample, time, 32)."""
    t, phase = np.arange(frames)[None, :, None], np.arange(samples)[:, None, None]
    return np.cos(2 * (X - speed * t - phase))


@pytest.fixture(scope="module")
def travelling(ladder_of):
    """A wave that moves by one point of rung 8 a frame."""
    return ladder_of({"u": moving(TAU / 8)}, (8, 16, 32))


def shifted(batch: Batch) -> torch.Tensor:
    """The exact forecast: one point of rung 8, on any rung."""
    return batch.inputs[:, -1:].roll(batch.grid.rung // 8, dims=-1)


def test_the_exact_forecast_has_no_error_at_any_lead(travelling, subject_of):
    data = rollout(subject_of(travelling, shifted))
    assert data["step"].values.tolist() == [1, 2, 3, 4, 5], "as many steps as there are frames beyond the first"
    np.testing.assert_allclose(data["lead"], [0.5, 1.0, 1.5, 2.0, 2.5])  # steps of half a second
    for rung in (8, 16, 32):
        np.testing.assert_allclose(rms(data, "total", rung), 0.0, atol=1e-5)
    assert data["blown"].values.tolist() == [0, 0, 0]


def test_persistence_errs_by_the_way_that_the_wave_has_gone(travelling, subject_of):
    """⟨(cos a − cos(a − ωs))²⟩ = 2 sin²(ωs/2), ω = 2 · 2π/8, in units of σ² = ½: E = 2 |sin(ωs/2)|."""
    data = rollout(subject_of(travelling, shifted))
    by_hand = [2 * abs(math.sin(TAU / 8 * s)) for s in range(1, 6)]
    for rung in (8, 16, 32):
        np.testing.assert_allclose(rms(data, "resolved", rung, "persistence_"), by_hand, atol=1e-5)


def test_an_increment_adds_up_in_deviations_of_the_variable(ladder_of, subject_of):
    """A still truth of deviation √½ · 7 around 100, and 0.1 deviations too much at each step: E = 0.1 s."""
    ladder = ladder_of({"u": 100 + 7 * moving(0.0)}, (8, 16))
    data = rollout(subject_of(ladder, lambda batch: batch.start() + 0.1))
    for rung in (8, 16):
        np.testing.assert_allclose(rms(data, "total", rung), [0.1, 0.2, 0.3, 0.4, 0.5], rtol=1e-3)


@pytest.mark.parametrize(
    ("frames_in", "lead", "weights", "steps"),
    [
        (2, 1, (-1.0, 2.0), 4),  # u(t+1) = 2u(t) − u(t−1); frames 2 ... 5 are predicted
        (2, 2, (-2.0, 3.0), 1),  # u(t+2) = 3u(t) − 2u(t−1); frames 3 ... 5: one whole step of two
        (3, 1, (0.0, -1.0, 2.0), 3),
    ],
)
def test_a_window_of_several_frames_moves_on_with_the_forecast(ladder_of, subject_of, frames_in, lead, weights, steps):
    """u = t cos 2x grows by as much at each frame: two frames tell the next, and the truth's own would tell too."""
    grows = np.arange(FRAMES)[None, :, None] * moving(0.0)
    ladder = ladder_of({"u": grows}, (8, 16))
    fed: list[Batch] = []

    def extrapolated(batch: Batch) -> torch.Tensor:
        fed.append(batch)
        return (batch.inputs * torch.tensor(weights)[:, None]).sum(1, keepdim=True)

    data = rollout(subject_of(ladder, extrapolated, frames_in=frames_in, lead=lead))
    assert data.sizes["step"] == steps
    assert data["lead"].values.tolist() == [0.5 * lead * (s + 1) for s in range(steps)]
    assert all(b.inputs.shape[1] == frames_in for b in fed)
    for rung in (8, 16):
        np.testing.assert_allclose(rms(data, "total", rung), 0.0, atol=1e-4)


def test_what_is_fed_back_is_the_forecast_and_not_the_truth(travelling, subject_of):
    """Writing zeros once leaves zeros for ever: E = √(½/½) = 1 at each lead, and the inputs after the first are 0."""
    fed: list[torch.Tensor] = []

    def zero(batch: Batch) -> torch.Tensor:
        fed.append(batch.inputs)
        return torch.zeros_like(batch.targets)

    data = rollout(subject_of(travelling, zero))
    np.testing.assert_allclose(rms(data, "total", 8), 1.0, rtol=1e-5)
    firsts = fed[:: FRAMES - 1]
    assert len(firsts) == 3
    assert all(u.abs().max() > 0.5 for u in firsts)
    assert all(u.abs().max() == 0 for i, u in enumerate(fed) if i % (FRAMES - 1))


def test_every_variable_that_is_predicted_is_fed_back_and_a_given_one_stays_the_truth(ladder_of, subject_of):
    """a' = b, b' = a + f: exact only if both come back in their own places, and f is that of each frame."""
    f = np.random.default_rng(0).random((1, FRAMES, 1)) * moving(0.0)
    a, b = moving(0.0) * 1.5, moving(0.0)[:, :, ::-1].copy()
    for t in range(FRAMES - 1):
        a[:, t + 1], b[:, t + 1] = b[:, t], a[:, t] + f[:, t]
    variables = (
        Variable(name="a", units="1"),
        Variable(name="f", units="1", role="input"),
        Variable(name="b", units="1"),
    )
    ladder = ladder_of({"a": a, "f": f, "b": b}, (8, 16), variables=variables)

    def exact(batch: Batch) -> torch.Tensor:
        u = batch.in_units.undo(batch.inputs)
        return batch.out_units.apply(torch.stack([u[:, 2], u[:, 0] + u[:, 1]], dim=1))

    data = rollout(subject_of(ladder, exact))
    for rung in (8, 16):
        np.testing.assert_allclose(rms(data, "total", rung), 0.0, atol=1e-4)


def test_static_fields_are_there_at_every_step(ladder_of, subject_of):
    """A still truth, and 0.2 of the static cos 2x added at each step: E = 0.2 s √½ in units of √½."""
    ladder = ladder_of({"u": moving(0.0)}, (8, 16), static={"hill": np.cos(2 * X)})
    data = rollout(subject_of(ladder, lambda batch: batch.start() + 0.2 * batch.static))
    # Normalised, the state has deviation 1 and the hill √½.
    np.testing.assert_allclose(rms(data, "total", 8), 0.2 * math.sqrt(0.5) * np.arange(1, 6), rtol=1e-4)


def test_where_nothing_was_seen_at_the_start_nothing_is_seen_later(ladder_of, subject_of):
    rng = np.random.default_rng(3)
    valid = np.broadcast_to(rng.random((2, 1, 16)) > 0.3, (2, FRAMES, 16)).copy()
    ladder = ladder_of(
        {"u": (1 + rng.random((2, FRAMES, 16))) * valid}, (8, 16), restriction="block_mean", valid=valid,
        centring="cell", periodic=(False,),
    )  # fmt: skip
    fed: list[Batch] = []

    def one(batch: Batch) -> torch.Tensor:
        fed.append(batch)
        return torch.ones_like(batch.targets)

    rollout(subject_of(ladder, one))
    later = [b for i, b in enumerate(fed) if i % (FRAMES - 1)]
    for batch in later:
        assert torch.equal(batch.inputs, (batch.input_mask > 0).float())


# -- blow-ups ----------------------------------------------------------------------------------------------------------


def test_a_forecast_that_grows_beyond_all_bounds_ends_its_curve_and_names_the_lead(travelling, subject_of):
    """Times 50 at each step: of deviation 1 with peaks of √2, 50 and 2500 stay below 1e4, 125 000 does not."""
    data = rollout(subject_of(travelling, lambda b: shifted(b) * (50 if b.grid.rung == 16 else 1)))
    assert data["blown"].values.tolist() == [0, 3, 0]
    assert np.isfinite(rms(data, "total", 16)).tolist() == [True, True, False, False, False]
    assert np.isfinite(rms(data, "total", 32)).all()
    assert np.isfinite(rms(data, "total", 16, "persistence_")).all()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_forecast_that_is_not_finite_from_the_start_leaves_no_error_and_no_exception(travelling, subject_of, value):
    data = rollout(subject_of(travelling, lambda b: b.targets * value if b.grid.rung == 32 else shifted(b)))
    assert data["blown"].sel(rung=32) == 1
    assert np.isnan(rms(data, "total", 32)).all()
    assert np.isfinite(rms(data, "total", 8)).all()


def test_one_sample_that_blows_up_takes_the_rung_with_it_whatever_the_batches(travelling, subject_of, monkeypatch):
    from anchorbench.runs import rollout as module

    def second_fails(batch: Batch) -> torch.Tensor:
        out = shifted(batch)
        return torch.where((batch.clusters == 1)[:, None, None] & (out.abs() > 0), out * 50, out)

    together = rollout(subject_of(travelling, second_fails))
    monkeypatch.setattr(module, "POINTS_PER_BATCH", 1)
    one_by_one = rollout(subject_of(travelling, second_fails))
    assert together["blown"].values.tolist() == one_by_one["blown"].values.tolist() == [3, 3, 3]
    np.testing.assert_allclose(one_by_one["total"], together["total"])


def test_a_model_that_does_not_fit_is_still_an_error(travelling, subject_of):
    def broken(batch: Batch) -> torch.Tensor:
        raise ModelError("the model's output has 2 channels")

    with pytest.raises(ModelError):
        rollout(subject_of(travelling, broken))


@pytest.mark.parametrize(
    "spec", [{"task": "operator", "lead": 0}, {"task": "super_resolve", "lead": 0, "input_rung": 8}]
)
def test_a_task_that_forecasts_nothing_is_refused(travelling, subject_of, spec):
    with pytest.raises(RunError, match="has nothing to feed back"):
        rollout(subject_of(travelling, shifted, train_rung=16, **spec))


# -- of a real ladder --------------------------------------------------------------------------------------------------


def test_the_solver_starts_where_the_model_does_and_its_first_step_is_the_one_that_is_scored(bench):
    session = bench.session(bench.reference("solver"))
    data = rollout(Subject.of(session, None, {}))
    for name in ("total", "resolved", "unseen"):
        np.testing.assert_array_equal(data[name], data[f"solver_{name}"])
    finest = rms(data, "resolved", 32)
    assert (np.diff(finest) > 0).all(), "an error of the information grows with the lead"
    assert finest[0] < rms(data, "resolved", 32, "persistence_")[0] / 10


def test_the_references_of_one_command_are_computed_once(bench):
    known: dict = {}
    session = bench.session(bench.spec())
    module = session.build_model().eval()
    with torch.no_grad():
        first = rollout(Subject.of(session, module, known))
        kept = {key: id(value) for key, value in next(iter(known.values())).items()}
        second = rollout(Subject.of(bench.session(bench.spec(seed=1)), module, known))
    assert len(known) == 1
    assert {key: id(value) for key, value in next(iter(known.values())).items()} == kept
    np.testing.assert_array_equal(first["solver_total"], second["solver_total"])
