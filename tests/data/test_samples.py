"""Windows of a ladder: which frames, which samples, normalised by what, and what training may not see."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anchorbench.config import LadderSpec
from anchorbench.data import samples
from anchorbench.data.ladder import SPLITS, TrainingView, open_ladder, write_ladder
from anchorbench.data.samples import Batch, Normaliser, Windows, gather
from anchorbench.data.sources import SplitFields
from anchorbench.errors import LadderError
from anchorbench.fields import Grid

GRID = Grid((4, 4), extent=(4.0, 4.0), centring="cell", periodic=(False, False))
UNIT = Normaliser((0.0, 0.0), (1.0, 1.0))
SAMPLES, FRAMES = 3, 6
#: Added per split, so that a value says where it comes from: 1000 split + 100 sample + 10 variable + frame.
OF_SPLIT = {"train": 1000, "validation": 2000, "test": 3000}


def spec(variables=("u", "v"), rungs=(2, 4)) -> LadderSpec:
    return LadderSpec(
        dataset="d",
        source="generated",
        size="tiny",
        restriction="block_mean",
        rungs=rungs,
        grid=GRID.to_dict(),
        variables=[{"name": name, "units": "1"} for name in variables],
        time_step=1.0,
        time_unit="1",
        origin={},
    )


def coded(split: str, variable: int) -> np.ndarray:
    """A constant field whose value says its split, sample, variable and frame."""
    sample, frame = np.indices((SAMPLES, FRAMES))
    code = OF_SPLIT[split] + 100 * sample + 10 * variable + frame
    return np.broadcast_to(code[:, :, None, None], (SAMPLES, FRAMES, 4, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def ladder(tmp_path_factory):
    splits = {
        split: SplitFields({"u": coded(split, 0), "v": coded(split, 1)}, None, None, np.array([7, 7, 9]))
        for split in SPLITS
    }
    static = {"hill": np.arange(16, dtype=np.float32).reshape(4, 4)}
    return write_ladder(spec(), splits, tmp_path_factory.mktemp("cache"), attrs={}, static=static)


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    """One variable, 1 in the left half and 5 in the right; the topmost row is missing in frame 0 only."""
    values = np.where(np.arange(4) < 2, 1.0, 5.0) * np.ones((SAMPLES, FRAMES, 4, 1))
    valid = np.ones(values.shape, bool)
    valid[:, 0, -1] = False
    fields = SplitFields({"u": np.where(valid, values, 0).astype(np.float32)}, valid, None, np.arange(SAMPLES))
    return write_ladder(spec(("u",)), dict.fromkeys(SPLITS, fields), tmp_path_factory.mktemp("cache"), attrs={})


def windows(ladder, *, frames_in=2, lead=1, split="test", rung=4, normaliser=UNIT, **kwargs) -> Windows:
    return Windows(ladder, split, rung, frames_in=frames_in, lead=lead, normaliser=normaliser, **kwargs)


# -- which frames ------------------------------------------------------------------------------------------------------


@given(st.integers(1, 4), st.integers(1, 3), st.sampled_from(SPLITS), st.sampled_from([2, 4]), st.data())
def test_a_window_holds_its_frames_in_order_and_its_target_one_lead_on(ladder, frames_in, lead, split, rung, data):
    if frames_in + lead > FRAMES:
        return
    found = windows(ladder, frames_in=frames_in, lead=lead, split=split, rung=rung)
    starts = FRAMES - frames_in - lead + 1  # 0 ... so many frames fit
    assert len(found) == SAMPLES * starts
    number = data.draw(st.integers(0, len(found) - 1))
    sample, start = divmod(number, starts)
    batch = found.batch([number])
    base = OF_SPLIT[split] + 100 * sample + start
    inputs = [base + 10 * variable + frame for variable in (0, 1) for frame in range(frames_in)]
    targets = [base + 10 * variable + frames_in - 1 + lead for variable in (0, 1)]
    assert batch.inputs[0, :, 0, 0].tolist() == inputs
    assert batch.targets[0, :, 0, 0].tolist() == targets
    assert batch.inputs.shape == (1, 2 * frames_in, rung, rung)
    assert batch.last_frame()[0, :, 0, 0].tolist() == [base + frames_in - 1, base + 10 + frames_in - 1]


@pytest.mark.parametrize(("frames_in", "lead"), [(1, 1), (2, 3), (4, 2), (1, 5)])
def test_no_window_crosses_a_sample(ladder, frames_in, lead):
    batch = windows(ladder, frames_in=frames_in, lead=lead).batch(range(SAMPLES * (FRAMES - frames_in - lead + 1)))
    sample_of = torch.cat([batch.inputs, batch.targets], 1)[:, :, 0, 0] // 100
    assert (sample_of == sample_of[:, :1]).all()
    # and each target of every sample is reached once
    assert len(batch.targets[:, 0, 0, 0].unique()) == len(batch)


def test_the_same_window_is_the_same_moment_on_every_rung(ladder):
    numbers = [0, 5, 11]
    for part in ("inputs", "targets"):
        fine, coarse = (getattr(windows(ladder, rung=rung).batch(numbers), part)[..., 0, 0] for rung in (4, 2))
        assert torch.equal(fine, coarse)


def test_windows_may_be_drawn_twice_and_in_any_order(ladder):
    found = windows(ladder)
    batch = found.batch([3, 0, 3])
    assert torch.equal(batch.inputs[0], batch.inputs[2])
    assert torch.equal(batch.inputs[1], found.batch([0]).inputs[0])


def test_a_batch_is_a_copy_that_may_be_written_to(ladder):
    found = windows(ladder)
    found.batch([0]).inputs.fill_(-1)
    assert found.batch([0]).inputs[0, 0, 0, 0] == 3000


def test_too_few_frames_are_a_message_that_counts_them(ladder):
    with pytest.raises(LadderError, match="has 6 frames a sample: too few for 4 in, lead 3"):
        windows(ladder, frames_in=4, lead=3)


def test_each_window_knows_the_cluster_of_its_sample(ladder):
    found = windows(ladder)  # 4 windows a sample; samples 0 and 1 are of one cluster
    assert found.n_clusters == 2
    assert found.batch([0, 4, 8]).clusters.tolist() == [0, 0, 1]


def test_static_fields_come_with_every_sample(ladder):
    static = torch.from_numpy(ladder.static(4))
    batch = windows(ladder, static=static).batch([0, 5])
    assert batch.static.shape == (2, 1, 4, 4)
    assert torch.equal(batch.static[1, 0], torch.arange(16.0).reshape(4, 4))
    assert windows(ladder).batch([0]).static is None


def test_a_ladder_without_holes_has_no_masks(ladder):
    batch = windows(ladder).batch([0])
    assert batch.mask is None
    assert batch.input_mask is None


def test_with_inputs_changes_nothing_else(ladder):
    batch = windows(ladder).batch([0])
    other = batch.with_inputs(torch.zeros_like(batch.inputs))
    assert torch.equal(other.targets, batch.targets)
    assert other.inputs.abs().sum() == 0
    assert len(other) == 1


@given(st.integers(1, 3), st.integers(1, 4))
def test_the_last_frame_of_each_variable_is_found_whatever_their_number(variables, frames):
    channels = torch.arange(variables * frames).float().reshape(1, -1, 1, 1)  # variable v, frame f: v·frames + f
    batch = Batch(channels, torch.zeros(1, variables, 1, 1), GRID, GRID, torch.zeros(1))
    assert batch.last_frame()[0, :, 0, 0].tolist() == [v * frames + frames - 1 for v in range(variables)]


# -- masks -------------------------------------------------------------------------------------------------------------


def test_missing_points_are_0_after_normalisation_and_weigh_0(masked):
    batch = windows(masked, normaliser=Normaliser((3.0,), (2.0,))).batch([0, 1])  # windows from frames 0 and 1
    assert batch.input_mask.shape == (2, 1, 4, 4)
    assert batch.input_mask[0, 0].tolist() == [[1.0] * 4] * 3 + [[0.0] * 4]  # missing in one of the two input frames
    assert (batch.input_mask[1] == 1).all()
    assert (batch.mask == 1).all()
    assert batch.inputs[0, 0, -1].tolist() == [0.0] * 4
    assert batch.inputs[0, 0, 0].tolist() == [-1.0, -1.0, 1.0, 1.0]  # (1 − 3)/2 and (5 − 3)/2
    assert batch.inputs[0, 1, -1].tolist() == [-1.0, -1.0, 1.0, 1.0]  # observed one frame later


def test_the_target_mask_is_that_of_the_target_frame(masked):
    # Only frame 0 has a hole, and it is no target of any window: with one frame in, window 0 has it as its input.
    batch = windows(masked, frames_in=1, rung=2).batch([0])
    assert (batch.mask == 1).all()
    assert batch.input_mask[0, 0].tolist() == [[1.0, 1.0], [0.5, 0.5]]  # half of the upper cells was observed


@pytest.mark.parametrize(("room", "copied"), [(1 << 20, 0), (SAMPLES * FRAMES * 16 * 4, 2)])
def test_what_fits_on_a_device_is_moved_there_once_the_observed_area_too(masked, monkeypatch, room, copied):
    """The room of the second is that of the values alone: with their area they do not fit, and each batch copies both.

    `meta` is a device that every machine has.
    """
    seen = windows(masked, device="meta", resident_bytes=room)
    calls = []
    monkeypatch.setattr(samples, "gather", lambda *args: calls.append(1) or gather(*args))
    batch = seen.batch([0, 1])
    assert len(calls) == copied
    assert {t.device.type for t in (batch.inputs, batch.targets, batch.mask, batch.input_mask)} == {"meta"}


# -- normalisation -----------------------------------------------------------------------------------------------------


def test_a_normaliser_is_the_mean_and_deviation_of_the_training_split(ladder):
    normaliser = Normaliser.of(TrainingView(ladder, [4]), 4)
    codes = 1000 + 100 * np.arange(3)[:, None] + np.arange(6)
    # means 1102.5 and 1112.5; variance 100² · 2/3 + 35/12
    assert normaliser.mean == pytest.approx((1102.5, 1112.5))
    assert codes.mean() == 1102.5
    assert normaliser.std == pytest.approx((math.sqrt(20000 / 3 + 35 / 12),) * 2)


def test_a_masked_normaliser_weighs_by_what_was_observed(tmp_path):
    # Two cells of one coarse cell: 2 with 1 observed point of 4, 6 with 3 of 4; and a hole full of nonsense.
    values = np.zeros((1, 2, 2, 4), np.float32)
    values[..., :2], values[..., 2:] = 2.0, 6.0
    valid = np.zeros(values.shape, bool)
    valid[..., 0, 0] = True
    valid[..., :, 2] = valid[..., 0, 3] = True
    grid = Grid((2, 4), extent=(2.0, 4.0), centring="cell", periodic=(False, False))
    one = spec(("u",), rungs=(1, 2)).model_copy(update={"grid": grid.to_dict()})
    fields = SplitFields({"u": np.where(valid, values, 0)}, valid, None, np.arange(1))
    ladder = write_ladder(one, dict.fromkeys(SPLITS, fields), tmp_path, attrs={})
    for rung in (1, 2):  # on the coarse rung the weights are 1/4 and 3/4, on the fine one 1 point and 3 points
        normaliser = Normaliser.of(TrainingView(ladder, [rung]), rung)
        assert normaliser.mean == pytest.approx((5.0,))  # (2 + 3 · 6) / 4
        assert normaliser.std == pytest.approx((math.sqrt(3.0),))  # (9 + 3 · 1) / 4


@given(st.floats(-5, 5), st.floats(0.1, 5))
def test_undo_undoes_apply(mean, std):
    normaliser = Normaliser((mean, 0.0), (std, 1.0))
    u = torch.linspace(-3, 3, 36).reshape(2, 2, 3, 3)
    torch.testing.assert_close(normaliser.undo(normaliser.apply(u)), u, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(normaliser.apply(u)[:, 0] * std + mean, u[:, 0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("valid", [None, False])
def test_what_does_not_vary_or_was_never_observed_cannot_be_normalised(tmp_path, valid):
    values = {"u": np.ones((1, 2, 4, 4), np.float32)}
    mask = None if valid is None else np.zeros((1, 2, 4, 4), bool)
    fields = SplitFields(values, mask, None, np.arange(1))
    ladder = write_ladder(spec(("u",)), dict.fromkeys(SPLITS, fields), tmp_path, attrs={})
    with pytest.raises(LadderError, match="does not vary" if valid is None else "nothing was observed"):
        Normaliser.of(TrainingView(ladder, [4]), 4)


# -- what training may not see -----------------------------------------------------------------------------------------


def test_normalisation_reads_the_train_rung_of_the_training_split_and_nothing_else(ladder, tmp_path):
    """The array caches of all else are poisoned: a look at them would change the numbers."""
    clean = Normaliser.of(TrainingView(ladder, [2]), 2)
    shutil.copytree(ladder.folder, tmp_path / ladder.spec.name)
    poisoned = open_ladder(ladder.spec, tmp_path)
    for split in SPLITS:
        for rung in (2, 4):
            for variable in ("u", "v"):
                poisoned.array(split, rung, variable)
    wrong = [p for p in (poisoned.folder / "arrays").iterdir() if not p.name.startswith("train-r002-")]
    assert len(wrong) == 10  # 3 splits x 2 rungs x 2 variables, less the two that may be read
    for path in wrong:
        u = np.load(path)
        np.save(path, np.full_like(u, np.nan))
    for split in ("validation", "test"):
        (poisoned.folder / f"{split}.nc").write_bytes(b"unreadable")
    assert Normaliser.of(TrainingView(poisoned, [2]), 2) == clean


def test_a_normaliser_needs_a_rung_that_the_view_allows(ladder):
    with pytest.raises(LadderError, match="may not open rung r004"):
        Normaliser.of(TrainingView(ladder, [2]), 4)
