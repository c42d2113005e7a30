"""solids: occupancy of parts that are added and carved, as means over cells."""

from __future__ import annotations

import math

import numpy as np
import pytest

from anchorbench.data.sources import solids
from anchorbench.errors import ConfigError
from anchorbench.fields import Grid

BOX = Grid((16, 16, 16), centring="cell", periodic=(False,) * 3)


def options(**given) -> solids.Options:
    return solids.Options(solids={"train": 1, "validation": 1, "test": 1}, **given)


def test_one_part_is_an_ellipsoid_of_its_volume():
    # Half axes within 1 ppm of 0.2: a ball of volume 4/3 π 0.2³, whatever its turn; 64³ points know it to 1 %.
    ball = solids.occupancy(BOX, options(parts=1, least=0.2, greatest=0.2 + 1e-7, oversample=4), seed=(3,))
    assert ball.mean() == pytest.approx(4 / 3 * math.pi * 0.2**3, rel=0.01)
    assert ball.shape == (16, 16, 16)
    assert (ball.min(), ball.max()) == (0, 1)


def test_the_second_part_is_a_box_and_the_third_is_carved():
    given = {"least": 0.2, "greatest": 0.2 + 1e-7, "oversample": 2}
    one, two, three = (solids.occupancy(BOX, options(parts=n, **given), seed=(1,)) for n in (1, 2, 3))
    assert (two >= one).all()
    # What is added is part of a cube of 0.4 a side.
    assert 0 < two.mean() - one.mean() <= 0.4**3 * 1.03
    assert (three <= two).all()
    assert two.mean() - three.mean() > 0.001


def test_a_coarse_cell_is_the_mean_of_its_points():
    fine = solids.occupancy(BOX, options(oversample=1), seed=(2,))
    assert set(np.unique(fine)) <= {0.0, 1.0}
    coarse = solids.occupancy(BOX.with_rung(8), options(oversample=2), seed=(2,))
    np.testing.assert_allclose(coarse, fine.reshape(8, 2, 8, 2, 8, 2).mean((1, 3, 5)))


def test_a_turn_is_a_rotation_and_keeps_no_direction():
    rng = np.random.default_rng(0)
    turns = np.stack([solids.turn(rng) for _ in range(200)])
    np.testing.assert_allclose(turns @ turns.swapaxes(1, 2), np.broadcast_to(np.eye(3), turns.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(turns), 1)
    # Even over all rotations the mean matrix is 0; an entry has variance 1/3: 0.04 for 200.
    assert np.abs(turns.mean(0)).max() < 0.15


def test_solids_are_refused_in_a_plane():
    with pytest.raises(ConfigError, match="cubes of cells"):
        solids.check(options(), finest=Grid((8, 8), centring="cell", periodic=(False, False)))
