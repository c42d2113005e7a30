"""Samples of `operator` and `super_resolve`: which variables go in, which come out, on which grid, in whose units."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anchorbench.config import LadderSpec
from anchorbench.data.ladder import SPLITS, TrainingView, write_ladder
from anchorbench.data.samples import Normaliser, Windows
from anchorbench.data.sources import SplitFields
from anchorbench.fields import Grid

PLAIN = Grid((4, 4), extent=(4.0, 4.0), centring="cell", periodic=(False, False))
N = 3


def made(folder, variables, values, *, restriction="block_mean", valid=None):
    spec = LadderSpec(
        dataset="d", source="generated", size="tiny", restriction=restriction, rungs=(2, 4), grid=PLAIN.to_dict(),
        variables=variables, time_step=0.0, time_unit="", origin={},
    )  # fmt: skip
    fields = SplitFields(values, valid, None, np.arange(N))
    return write_ladder(spec, dict.fromkeys(SPLITS, fields), folder, attrs={})


@pytest.fixture(scope="module")
def darcy(tmp_path_factory):
    """A coefficient of 1 and 4 in stripes, a solution of 10 s + column; the coefficient has a rule of its own."""
    column = np.broadcast_to(np.arange(4.0), (N, 1, 4, 4)).astype(np.float32)
    values = {
        "solution": column + 10 * np.arange(N, dtype=np.float32)[:, None, None, None],
        "coefficient": np.where(column % 2 == 0, 1.0, 4.0).astype(np.float32),
    }
    variables = [
        {"name": "solution", "units": "1", "role": "target"},
        {"name": "coefficient", "units": "1", "role": "input", "restriction": "geometric_mean"},
    ]
    return made(tmp_path_factory.mktemp("cache"), variables, values)


def windows(ladder, rung, **options) -> Windows:
    return Windows(ladder, "test", rung, frames_in=1, lead=0, **options)


def test_an_operator_maps_the_variables_of_role_input_to_those_of_role_target(darcy):
    normaliser = Normaliser((0.0, 0.0), (1.0, 1.0))
    batch = windows(darcy, 4, normaliser=normaliser).batch([2, 0])
    assert batch.inputs.shape == batch.targets.shape == (2, 1, 4, 4)
    assert batch.inputs[0, 0, 0].tolist() == [1, 4, 1, 4]
    assert batch.targets[:, 0, 0].tolist() == [[20, 21, 22, 23], [0, 1, 2, 3]]
    assert batch.start() is None, "an increment on another quantity means nothing"


def test_each_side_of_an_operator_has_its_own_units(darcy):
    batch = windows(darcy, 4, normaliser=Normaliser((10.0, 1.0), (2.0, 3.0))).batch([1])  # solution, coefficient
    assert batch.targets[0, 0, 0].tolist() == [0.0, 0.5, 1.0, 1.5]  # (10 + c − 10) / 2
    assert batch.inputs[0, 0, 0].tolist() == [0.0, 1.0, 0.0, 1.0]  # (1 − 1) / 3, (4 − 1) / 3


def test_a_variable_with_a_rule_of_its_own_is_restricted_by_it(darcy):
    coefficient, solution = (darcy.array("test", 2, name) for name in ("coefficient", "solution"))
    np.testing.assert_allclose(coefficient, 2.0, rtol=1e-6)  # √(1 · 4) in every block; their mean is 2.5
    np.testing.assert_allclose(solution[0, 0, 0], [0.5, 2.5])


@pytest.mark.parametrize(("rule", "mean"), [("harmonic_mean", 1.6), ("block_mean", 2.5)])
def test_the_other_means_are_what_their_names_say(tmp_path, rule, mean):
    column = np.broadcast_to(np.arange(4) % 2, (N, 1, 4, 4))
    values = {"a": np.where(column == 0, 1.0, 4.0).astype(np.float32)}
    ladder = made(tmp_path, [{"name": "a", "units": "1", "restriction": rule}], values)
    np.testing.assert_allclose(ladder.array("test", 2, "a"), mean, rtol=1e-6)  # 2 / (1 + 1/4) = 1.6


def test_a_solved_ladder_keeps_what_was_solved_on_each_rung(tmp_path):
    fine = np.ones((N, 1, 4, 4), np.float32)
    by_rung = {4: {"u": fine}, 2: {"u": np.full((N, 1, 2, 2), 7.0, np.float32)}}
    spec = LadderSpec(
        dataset="d", source="generated", size="tiny", restriction="block_mean", rungs=(2, 4), grid=PLAIN.to_dict(),
        variables=[{"name": "u", "units": "1"}], time_step=0.0, time_unit="", origin={},
    )  # fmt: skip
    solved = SplitFields({"u": fine}, None, None, np.arange(N), by_rung=by_rung)
    restricted = SplitFields({"u": fine}, None, None, np.arange(N))
    ladder = write_ladder(spec, {"train": solved, "validation": solved, "test": restricted}, tmp_path, attrs={})
    assert (ladder.array("train", 2, "u") == 7).all()
    assert (ladder.array("test", 2, "u") == 1).all(), "judged by the restricted truth"


# -- super-resolution --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rain(tmp_path_factory):
    """16 s + the point's number; the first row of sample 0 is missing."""
    values = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4) + 16 * np.arange(N).reshape(N, 1, 1, 1)
    valid = np.ones(values.shape, bool)
    valid[0, 0, :2] = False
    return made(
        tmp_path_factory.mktemp("cache"), [{"name": "u", "units": "1"}],
        {"u": np.where(valid, values, 0).astype(np.float32)}, valid=valid,
    )  # fmt: skip


def test_super_resolution_takes_the_coarse_rung_and_asks_for_the_same_frame_on_the_fine_one(rain):
    batch = windows(rain, 4, in_rung=2, normaliser=Normaliser((0.0,), (1.0,))).batch([1])
    assert (batch.grid.shape, batch.out_grid.shape) == ((2, 2), (4, 4))
    # means of the 2 x 2 blocks of 16 ... 31
    assert batch.inputs[0, 0].tolist() == [[18.5, 20.5], [26.5, 28.5]]
    assert batch.targets[0, 0].flatten().tolist() == list(range(16, 32))


def test_each_side_of_super_resolution_has_its_own_mask(rain):
    batch = windows(rain, 4, in_rung=2, normaliser=Normaliser((5.0,), (1.0,))).batch([0])
    assert batch.input_mask[0, 0].tolist() == [[0.0, 0.0], [1.0, 1.0]]
    assert batch.mask[0, 0, :, 0].tolist() == [0.0, 0.0, 1.0, 1.0]
    assert (batch.targets[0, 0, :2] == 0).all()
    assert (batch.inputs[0, 0, 0] == 0).all(), "missing is 0 after normalisation, not −5"


def test_an_increment_starts_from_the_input_carried_to_the_fine_grid(rain):
    batch = windows(rain, 4, in_rung=2, normaliser=Normaliser((0.0,), (1.0,))).batch([2])
    start = batch.start()
    assert start.shape == batch.targets.shape
    # Bilinear between the centres of the blocks keeps a plane: 32 + 4 y + x inside the outer half cells.
    torch.testing.assert_close(start[0, 0, 1:3, 1:3], torch.tensor([[37.0, 38.0], [41.0, 42.0]]))


def test_the_units_of_super_resolution_are_the_train_rung_s(rain):
    view = TrainingView(rain, [2, 4])
    fine, coarse = (Normaliser.of(view, rung) for rung in (4, 2))
    assert fine.std != coarse.std
    batch = windows(rain, 4, in_rung=2, normaliser=fine).batch([1])
    assert batch.targets[0, 0, 0, 0].item() == pytest.approx((16 - fine.mean[0]) / fine.std[0])
    assert batch.inputs[0, 0, 0, 0].item() == pytest.approx((18.5 - fine.mean[0]) / fine.std[0])
