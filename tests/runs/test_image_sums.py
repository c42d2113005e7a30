"""What is scored of a super-resolution beside its error: consistency with the input, and the range of the images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anchorbench.config import RunSpec
from anchorbench.runs.image_sums import image_range, image_sums
from anchorbench.runs.session import Session

TAU = 2 * np.pi


@pytest.fixture(scope="module")
def session(ladder_of):
    """cos x + ½ cos 3x on 4, 8 and 16 points: the input of 4 points holds the first wave alone."""
    x = TAU * np.arange(16) / 16
    u = np.broadcast_to(np.cos(x) + 0.5 * np.cos(3 * x), (1, 1, 16, 16))
    ladder = ladder_of({"u": u}, (4, 8, 16), time_step=0.0)
    spec = RunSpec(
        kind="reference", ladder=ladder.spec.digest, dataset="waves", source="generated", size="tiny",
        task="super_resolve", lead=0, input_rung=4, model="none", method="interpolate", train=None, train_rung=8,
        band_rung=8,
    )  # fmt: skip
    return Session(spec, ladder, torch.device("cpu"))


def scored(session, change):
    batch = session.test_windows(16).batch([0])
    out = change(batch.targets)
    return image_sums(session, out, batch, batch, extent=image_range(session), n_clusters=1)


def test_the_truth_and_what_is_finer_than_the_input_are_consistent_with_it(session):
    finer = torch.cos(3 * TAU * torch.arange(16) / 16)
    for change in (lambda y: y, lambda y: y + finer):
        sums = scored(session, change)
        assert sums["given_misfit"].sum() / sums["given_weight"].sum() < 1e-10


def test_an_offset_is_inconsistent_by_its_own_size(session):
    sums = scored(session, lambda y: y + 0.3)  # normalised, so 0.3 σ
    assert sums["given_misfit"].sum() / sums["given_weight"].sum() == pytest.approx(0.09, rel=1e-5)


def test_the_range_of_images_is_that_of_the_train_rungs_training_split_in_sigma(session):
    # On 8 points: cos + ½ cos 3x is 1.5 at 0 and −1.5 at π; σ² = ½ + ⅛.
    assert image_range(session).item() == pytest.approx(3 / np.sqrt(0.625), rel=1e-5)
