"""Do the intervals hold where frames, trajectories and seeds are correlated as in a forecast?

A frame's log error energy is AR(1) in time, within a trajectory whose energy and slope are shared by all rungs, seeds
and methods; each seed has a level and a slope of its own.  Sums over frames are what a run keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pytest
from scipy.special import stdtr

from anchorbench.analysis import (
    Cells,
    compare,
    half_width,
    holm,
    in_blocks,
    judge,
    neighbour_correlation,
    part,
    slope_weights,
    spread,
)

RUNGS = (16, 32, 64, 128)
X = np.log(RUNGS) - np.mean(np.log(RUNGS))
A = np.array(list(slope_weights(RUNGS).values()))
ON_FINEST = np.array([0.0, 0.0, 0.0, 0.5])


def ar1(rng: np.random.Generator, shape: tuple[int, ...], phi: float, axis: int) -> np.ndarray:
    """Stationary, variance 1: e_t = φ e_{t−1} + √(1 − φ²) w_t."""
    noise = np.moveaxis(rng.standard_normal(shape), axis, 0)
    out = noise.copy()
    for t in range(1, len(out)):
        out[t] = phi * out[t - 1] + np.sqrt(1 - phi**2) * noise[t]
    return np.moveaxis(out, 0, axis)


@dataclass(frozen=True)
class Forecasts:
    """energy, slope: of a trajectory; frame_*: of a frame; seed_*: of a seed; cell: of each seed, frame and rung.

    phi: from frame to frame.  between: from trajectory to trajectory, as where they are neighbours in one record.
    alike: correlation of two methods' seeds of one number.  own: spread of a method's own slope by trajectory.
    """

    energy: float = 0.6
    slope: float = 0.05
    frame_energy: float = 0.5
    frame_slope: float = 0.1
    seed_level: float = 0.1
    seed_slope: float = 0.05
    cell: float = 0.05
    phi: float = 0.9
    between: float = 0.0
    alike: float = 0.0
    own: float = 0.05

    def methods(self, rng, *, n, seeds, clusters, count=1, frames=6, slope=0.0, keep_frames=False) -> list[np.ndarray]:
        """Each (n, S, C, R) with the true slope `slope`; with keep_frames (n, S, C · T, R)."""
        noise, one = rng.standard_normal, (n, 1, clusters, 1, 1)
        energy = self.energy * ar1(rng, one, self.between, 2)
        energy = energy + self.frame_energy * ar1(rng, (n, 1, clusters, frames, 1), self.phi, 3)
        tilt = self.slope * ar1(rng, one, self.between, 2)
        tilt = tilt + self.frame_slope * ar1(rng, (n, 1, clusters, frames, 1), self.phi, 3)
        common = noise((2, n, seeds, 1, 1, 1))
        out = []
        for _ in range(count):
            seed = np.sqrt(self.alike) * common + np.sqrt(1 - self.alike) * noise((2, n, seeds, 1, 1, 1))
            own = self.own * noise(one) if count > 1 else 0.0
            g = self.seed_level * seed[0] + (slope + tilt + own + self.seed_slope * seed[1]) * X
            g = g + self.cell * ar1(rng, (n, seeds, clusters, frames, len(RUNGS)), self.phi, 3)
            # Each normal slope b adds var(b) x² to the true log curve, which has no slope on evenly spaced rungs.
            q = np.exp(energy + 2 * g)
            out.append(q.reshape(n, seeds, -1, len(RUNGS)) if keep_frames else q.mean(3))
        return out


WORLDS = {
    "usual": Forecasts(),
    "seeds differ": Forecasts(seed_slope=0.15),
    "trajectories differ": Forecasts(slope=0.2),
    "heavy-tailed energies": Forecasts(energy=1.2),
    "seeds alike": Forecasts(seed_level=0.0, seed_slope=0.0),
    "slow weather": Forecasts(phi=0.99),
}


def covered(q: np.ndarray, slope: float = 0.0) -> float:
    estimate = (A * np.log(q.sum((1, 2))) / 2).sum(-1)
    return float(np.mean(np.abs(estimate - slope) <= half_width([part(q, np.ones(1), A / 2)])))


def stretched(q: np.ndarray, stretches: int = 6) -> np.ndarray:
    """`in_blocks` of all replicates at once, where their number divides."""
    return q.reshape(*q.shape[:2], stretches, -1, q.shape[-1]).sum(3)


def p_of(first: np.ndarray, second: np.ndarray, eta: np.ndarray, *, shared_seeds: bool = False) -> np.ndarray:
    """Of no difference; with shared seeds the two sums side by side are one run's."""
    both, signs = np.concatenate([first, second], -1), np.concatenate([eta, -eta])
    apart = [part(first, np.ones(1), eta), part(second, np.ones(1), -eta)]
    variance, df, _ = spread([part(both, np.ones(1), signs)] if shared_seeds else apart)
    d = (signs * np.log(both.sum((1, 2)))).sum(-1)
    return 2 * stdtr(df, -np.abs(d) / np.sqrt(variance))


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize(("seeds", "clusters"), [(3, 3), (3, 8), (5, 16)])
def test_with_correlated_frames_the_95_percent_interval_covers_90_to_99(name, seeds, clusters, rng):
    """Of three trajectories it is too wide, never too narrow."""
    (q,) = WORLDS[name].methods(rng, n=500, seeds=seeds, clusters=clusters, slope=-0.2)
    assert 0.90 <= covered(q, -0.2) <= (0.99 if clusters > 3 else 1.0)


@pytest.mark.parametrize("seeds", [3, 8, 16])
def test_two_trajectories_cover_too_however_many_seeds_there_are(seeds, rng):
    """Degrees of freedom lent by the seeds would leave 86 to 87 % at eight seeds and more."""
    (q,) = WORLDS["heavy-tailed energies"].methods(rng, n=1000, seeds=seeds, clusters=2)
    assert 0.90 - 3 * np.sqrt(0.9 * 0.1 / 1000) <= covered(q) <= 0.99


def test_frames_taken_for_trajectories_would_not_cover(rng):
    """Eight trajectories of twelve frames each, given their seed: 96 pretended draws."""
    calm = Forecasts(seed_level=0.0, seed_slope=0.0, slope=0.1)
    (frames,) = calm.methods(rng, n=400, seeds=1, clusters=8, frames=12, keep_frames=True)
    assert covered(frames) < 0.75
    assert covered(frames.reshape(400, 1, 8, 12, 4).sum(3)) >= 0.90


@pytest.mark.parametrize("between", [0.5, 0.6])
def test_neighbours_of_one_record_cover_in_stretches_and_not_alone(between, rng):
    record = Forecasts(between=between, slope=0.1, seed_level=0.02, seed_slope=0.02)
    (q,) = record.methods(rng, n=1000, seeds=3, clusters=48, frames=2)
    assert covered(q) < 0.93
    assert 0.90 <= covered(stretched(q)) <= 0.98


def test_stretches_of_independent_trajectories_still_cover(rng):
    (q,) = Forecasts(slope=0.1).methods(rng, n=500, seeds=3, clusters=24)
    assert 0.92 <= covered(stretched(q)) <= 0.99


def test_the_correlation_of_neighbours_is_found_and_that_of_strangers_is_not(rng):
    """Over 60 records: the mean is the true one, less the bias of AR(1) estimates, (1 + 4φ)/C at the most."""
    for between in (0.0, 0.6):
        record = Forecasts(between=between, slope=0.3, energy=0.2, frame_energy=0.1, seed_slope=0.0, frame_slope=0.0)
        (q,) = record.methods(rng, n=60, seeds=2, clusters=40, frames=1)
        found = [neighbour_correlation(part(one, np.ones(1), A / 2)) for one in q]
        assert np.mean(found) == pytest.approx(between, abs=0.12)


def test_merging_neighbours_leaves_every_score_as_it_is(rng):
    q = rng.lognormal(size=(3, 20, 4))
    cells = Cells(RUNGS, 1.0, q, q / 2, q, q, np.ones(1))
    merged = in_blocks(cells)
    assert merged.resolved.shape == (3, 6, 4)
    # 20 into 6: the first two stretches have four clusters, the others three
    assert [len(names) for names in merged.clusters] == [4, 4, 3, 3, 3, 3]
    for rung in RUNGS:
        assert merged.rms("resolved", rung) == pytest.approx(cells.rms("resolved", rung), rel=1e-14)
        assert merged.skill(rung) == pytest.approx(cells.skill(rung), rel=1e-12)
    few = Cells(RUNGS, 1.0, q[:, :6], q[:, :6], q[:, :6], q[:, :6], np.ones(1))
    assert in_blocks(few) is few


def test_a_true_slope_of_zero_is_called_converging_in_5_percent_at_most(rng):
    said = []
    for name in ("usual", "trajectories differ"):
        (q,) = WORLDS[name].methods(rng, n=250, seeds=3, clusters=10)
        said += [judge(Cells(RUNGS, 1.0, one, one, one, one, np.ones(1)), train_rung=16).word for one in q]
    assert said.count("converging") <= 0.03 * len(said)
    assert said.count("diverging") <= 0.03 * len(said)


@pytest.mark.parametrize("alike", [0.0, 0.9])
@pytest.mark.parametrize("eta", [A / 2, ON_FINEST], ids=["slope", "error"])
def test_two_methods_that_are_alike_differ_in_5_percent_of_paired_tests_at_most(eta, alike, rng):
    n = 1000
    a, b = Forecasts(alike=alike, slope=0.2).methods(rng, n=n, seeds=3, clusters=10, count=2)
    most = 0.05 + 3 * np.sqrt(0.05 * 0.95 / n)
    assert np.mean(p_of(a, b, eta) < 0.05) <= most
    assert 0.02 <= np.mean(p_of(a, b, eta, shared_seeds=True) < 0.05) <= most + 0.01


def test_seeds_that_are_alike_are_worth_pairing_in_a_single_comparison(rng):
    """A quarter more error, told at 5 %: with seeds that are alike, pairing finds it far more often."""
    a, b = Forecasts(alike=0.9).methods(rng, n=500, seeds=3, clusters=10, count=2)
    apart, shared = (np.mean(p_of(a, 1.5 * b, ON_FINEST, shared_seeds=s) < 0.05) for s in (False, True))
    assert shared > apart + 0.1


def test_of_four_methods_that_are_alike_any_differs_in_5_percent_after_holm_and_far_more_before(rng):
    n = 1000
    made = Forecasts(alike=0.2, seed_slope=0.1).methods(rng, n=n, seeds=3, clusters=10, count=4)
    p = np.stack([p_of(made[i], made[j], e) for i, j in combinations(range(4), 2) for e in (A / 2, ON_FINEST)], -1)
    assert np.mean(p.min(-1) < 0.05) > 0.1
    assert np.mean([min(holm(row)) < 0.05 for row in p.tolist()]) <= 0.05


def test_compare_says_of_one_benchmark_what_the_simulation_tests(rng):
    """The p behind the table is the p that was shown to hold its 5 %."""
    first, second = (q[0] for q in Forecasts().methods(rng, n=1, seeds=3, clusters=8, count=2))
    named = {name: Cells(RUNGS, 1.0, q, q, q, q, np.ones(1)) for name, q in (("a", first), ("b", second))}
    slope, home, finest = compare(named, train_rung=16)
    assert (slope.what, home.rungs, finest.rungs) == ("slope", (16,), (128,))
    assert slope.p == pytest.approx(float(p_of(first[None], second[None], A / 2)[0]), rel=1e-9)
    assert finest.p == pytest.approx(float(p_of(first[None], second[None], ON_FINEST)[0]), rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_with_correlated_frames_the_interval_covers_over_the_whole_table(name, seeds, rng):
    for clusters in (2, 3, 4, 6, 8, 16, 40):
        (q,) = WORLDS[name].methods(rng, n=3000, seeds=seeds, clusters=clusters, slope=0.1)
        least = 0.90 if clusters == 2 else 0.92
        assert least <= covered(q, 0.1) <= (0.99 if clusters > 3 else 1.0), clusters


@pytest.mark.slow
@pytest.mark.parametrize("clusters", [12, 24, 48, 96])
@pytest.mark.parametrize(("between", "least"), [(0.0, 0.93), (0.3, 0.92), (0.5, 0.89), (0.7, 0.84)])
def test_stretches_of_one_record_cover_over_the_whole_table(clusters, between, least, rng):
    """The worst is twelve clusters, where a stretch is two: 84 % at a correlation of 0.7."""
    record = Forecasts(between=between, slope=0.1, seed_level=0.02, seed_slope=0.02)
    (q,) = record.methods(rng, n=4000, seeds=3, clusters=clusters, frames=2)
    assert least <= covered(stretched(q)) <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("clusters", [6, 10, 24])
@pytest.mark.parametrize("alike", [0.0, 0.5, 0.9])
def test_paired_tests_hold_their_5_percent_over_the_whole_table(seeds, clusters, alike, rng):
    n = 4000
    a, b = Forecasts(alike=alike, slope=0.2, energy=0.9).methods(rng, n=n, seeds=seeds, clusters=clusters, count=2)
    for eta in (A / 2, ON_FINEST):
        assert np.mean(p_of(a, b, eta) < 0.05) <= 0.06
        assert np.mean(p_of(a, b, eta, shared_seeds=True) < 0.05) <= 0.08


@pytest.mark.slow
@pytest.mark.parametrize("own", [0.02, 0.05, 0.15])
@pytest.mark.parametrize(("seeds", "clusters"), [(3, 6), (3, 10), (5, 16)])
@pytest.mark.parametrize("alike", [0.0, 0.5])
def test_holm_keeps_the_family_at_5_percent_over_the_whole_table(own, seeds, clusters, alike, rng):
    n = 2000
    world = Forecasts(alike=alike, own=own, seed_slope=0.1)
    made = world.methods(rng, n=n, seeds=seeds, clusters=clusters, count=4)
    p = np.stack([p_of(made[i], made[j], e) for i, j in combinations(range(4), 2) for e in (A / 2, ON_FINEST)], -1)
    assert np.mean([min(holm(row)) < 0.05 for row in p.tolist()]) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / n)
