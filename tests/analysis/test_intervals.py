import math

import numpy as np
import pytest
from scipy.stats import t as student

from anchorbench.analysis import Cells, Interval, interval, part, spread
from anchorbench.errors import AnchorbenchError

ONE = np.array([1.0])


def test_equal_shares_give_the_two_way_analysis_of_variance_back():
    # q = 1 + effects that cancel: shares are equal up to the effects themselves, so make these tiny
    seed, cluster = np.array([-2.0, 0.0, 2.0]), np.array([-3.0, -1.0, 1.0, 3.0])
    x = (1 + 1e-6 * (seed[:, None] + cluster[None]))[..., None]
    variance, df, given = spread([part(x, np.ones(1), ONE)])
    # additive effects leave no residual: V = Σs²/(S(S−1)) + Σc²/(C(C−1)) = 8/6 + 20/12 = 3, in units of 1e-12
    assert variance == pytest.approx(3e-12, rel=1e-4)
    # shares 4/9 and 5/9: 1/ν = (4/9)^1.5 / 2 + (5/9)^1.5 / 3
    assert df == pytest.approx(1 / ((4 / 9) ** 1.5 / 2 + (5 / 9) ** 1.5 / 3), rel=1e-4)
    assert given is False


def test_one_seed_gives_the_one_sample_t_interval_and_says_given_these_seeds():
    x = (1 + 1e-6 * np.array([-3.0, -1.0, 1.0, 3.0]))[None, :, None]
    found = interval(0.0, [part(x, np.ones(1), ONE)])
    assert found is not None
    # Σc²/(C(C−1)) = 20/12
    assert found.high == pytest.approx(student.ppf(0.975, 3) * math.sqrt(20 / 12) * 1e-6, rel=1e-4)
    assert found.given_seeds
    assert "given these seeds" in (found.note or "")


def test_one_trajectory_has_no_interval():
    x = np.ones((5, 1, 1))
    assert interval(0.0, [part(x, np.ones(1), ONE)]) is None


def test_a_trajectory_that_is_masked_everywhere_does_not_count():
    x = np.array([1.0, 0.0])[None, :, None]
    assert interval(0.0, [part(x, x.copy(), ONE)]) is None


def test_a_trajectory_with_most_of_the_energy_leaves_few_degrees_of_freedom():
    x = np.array([97.0, 1.0, 1.0, 1.0])[None, :, None]
    _, df, _ = spread([part(x, np.ones(1), ONE)])
    assert df == 1.0  # 1/Σp² − 1 = 1/0.9412 − 1 is below one


def test_no_spread_at_all_is_an_interval_of_no_width():
    found = interval(0.25, [part(np.ones((3, 4, 1)), np.ones(1), ONE)])
    assert found is not None
    assert (found.low, found.high) == (0.25, 0.25)


def test_a_factor_on_all_energies_changes_nothing(rng):
    x = rng.lognormal(size=(3, 6, 2))
    eta = np.array([0.5, -0.5])
    assert spread([part(1e6 * x, np.ones(1), eta)])[0] == pytest.approx(spread([part(x, np.ones(1), eta)])[0])


def test_replicates_side_by_side_give_what_each_gives_alone(rng):
    x = rng.lognormal(size=(7, 3, 5, 2))
    eta = np.array([0.5, -0.5])
    variance, df, _ = spread([part(x, np.ones(1), eta)])
    for i in range(7):
        alone = spread([part(x[i], np.ones(1), eta)])
        assert (variance[i], df[i]) == pytest.approx((alone[0], alone[1]))


def test_the_influence_is_the_derivative_of_the_pooled_statistic(rng):
    x, w = rng.lognormal(size=(2, 3, 2)), rng.uniform(1, 2, size=(2, 3, 2))
    eta = np.array([0.5, -0.25])

    def g(tilt: float) -> float:
        factor = np.ones((2, 3, 1))
        factor[1, 2] += tilt  # the cell counts (1 + tilt) times
        return float((eta * np.log((factor * x).sum((0, 1)) / (factor * w).sum((0, 1)))).sum())

    z = part(x, w, eta).influence
    assert (g(1e-6) - g(-1e-6)) / 2e-6 == pytest.approx(z[1, 2], rel=1e-6)
    assert z.sum() == pytest.approx(0.0, abs=1e-12)


def test_two_runs_with_the_same_errors_on_the_same_trajectories_differ_by_nothing(rng):
    x = rng.lognormal(size=(1, 8, 1))
    variance, _, given = spread([part(x, np.ones(1), 0.5 * ONE), part(x, np.ones(1), -0.5 * ONE)])
    assert variance == pytest.approx(0.0, abs=1e-30)
    assert given is True


def test_runs_on_other_trajectories_are_refused():
    runs = [part(np.ones((1, n, 1)), np.ones(1), ONE) for n in (3, 4)]
    with pytest.raises(AnchorbenchError, match="same trajectories"):
        spread(runs)


def test_a_mapped_interval_keeps_its_order_under_a_falling_map():
    found = Interval(0.0, -1.0, 2.0, 0.95, 3.0, False).mapped(lambda g: 1 - math.exp(g))
    assert found.low == 1 - math.exp(2.0) < found.estimate == 0.0 < found.high == 1 - math.exp(-1.0)


def test_degrees_of_freedom_without_end_are_null_in_json():
    assert Interval(1.0, 1.0, 1.0, 0.95, math.inf, False).to_dict()["df"] is None


def test_cells_say_what_does_not_fit():
    q = np.ones((3, 4, 2))
    for wrong, words in (
        ({"rungs": (32, 16)}, "ascend"),
        ({"sigma": 0.0}, "sigma"),
        ({"total": -q}, "total"),
        ({"unseen": np.ones((3, 4, 1))}, "unseen"),
        ({"weight": np.array([1.0, 0.0])}, "nothing was scored"),
        ({"weight": np.ones(3)}, "broadcast"),
        ({"clusters": ("a",)}, "clusters"),
    ):
        given = {
            "rungs": (16, 32),
            "sigma": 1.0,
            "resolved": q,
            "unseen": q,
            "unseen_truth": q,
            "total": q,
            "weight": np.ones(1),
        }
        with pytest.raises(AnchorbenchError, match=words):
            Cells(**{**given, **wrong})
