import json
import math
from functools import reduce
from operator import add

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import tensor
from torch.testing import assert_close

from anchorbench.analysis import SCORE_NAMES, Cells, Sums, score
from anchorbench.errors import AnchorbenchError, GridError
from anchorbench.fields import Grid, prolong, restrict

FIRST = torch.zeros(1, dtype=torch.long)
counts = arrays(np.float64, (2, 3), elements=st.integers(0, 2**40).map(float))
sums_of_counts = st.fixed_dictionaries(dict.fromkeys(SCORE_NAMES, counts)).map(Sums)


def line(*values):
    return tensor([[list(values)]])


def numbers(sums):
    return {name: float(sums[name].sum()) for name in sums}


# ---- the monoid


@settings(deadline=None, max_examples=25)
@given(sums_of_counts, sums_of_counts, sums_of_counts)
def test_sums_merge_in_any_order_and_grouping(a, b, c):
    assert (a + b) + c == a + (b + c) == c + (b + a)


@settings(deadline=None, max_examples=25)
@given(sums_of_counts)
def test_zero_changes_nothing(a):
    zero = Sums.zero(2, 3)
    assert a + zero == a == zero + a


@settings(deadline=None, max_examples=25)
@given(sums_of_counts)
def test_sums_survive_json(a):
    assert Sums.from_dict(json.loads(json.dumps(a.to_dict()))) == a


def test_sums_of_other_shapes_or_names_do_not_merge():
    with pytest.raises(AnchorbenchError, match="do not merge"):
        Sums.zero(2, 3) + Sums.zero(3, 3)
    with pytest.raises(AnchorbenchError, match="do not merge"):
        Sums.zero(2, 3) + Sums.zero(2, 3, names=("weight",))
    with pytest.raises(AnchorbenchError, match="one shape"):
        Sums({"weight": np.ones(3)})


def test_joined_sums_stand_side_by_side_and_never_twice():
    joined = Sums.zero(1, 1, names=("a",)).joined(Sums.zero(1, 1, names=("b",)))
    assert list(joined) == ["a", "b"]
    with pytest.raises(AnchorbenchError, match="'a'"):
        joined.joined(Sums.zero(1, 1, names=("a",)))


def test_sums_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        Sums.zero(1, 1)["weight"][0, 0] = 1.0


# ---- worked out by hand


HAND = {"grid": Grid((4,)), "band": Grid((2,)), "how": "block_mean", "clusters": FIRST, "n_clusters": 1}


def test_a_line_of_four_points_scores_as_worked_out_by_hand():
    truth, prediction = line(1.0, 3.0, 5.0, 5.0), line(2.0, 2.0, 2.0, 6.0)
    # e = 1 −1 −3 1;  Pe = 0 0 −1 −1;  (I−P)e = 1 −1 −2 2;  Py = 2 2 5 5;  (I−P)y = −1 1 0 0
    assert numbers(score(prediction, truth, **HAND)) == pytest.approx(
        {"weight": 4, "resolved": 2, "unseen": 10, "unseen_truth": 2, "truth_resolved": 58, "total": 12}
    )


def test_a_masked_point_counts_nowhere_whatever_the_truth_holds_there():
    truth, prediction = line(1.0, 3.0, 5.0, math.nan), line(2.0, 2.0, 2.0, 6.0)
    # e = 1 −1 −3 and nothing;  Pe = 0 0 −3;  (I−P)e = 1 −1 0;  Py = 2 2 5;  (I−P)y = −1 1 0
    weights = line(1.0, 1.0, 1.0, 0.0)
    assert numbers(score(prediction, truth, weights=weights, **HAND)) == pytest.approx(
        {"weight": 3, "resolved": 9, "unseen": 2, "unseen_truth": 2, "truth_resolved": 33, "total": 11}
    )


def test_on_a_rung_coarser_than_the_train_rung_the_whole_error_is_resolved():
    given = {**HAND, "band": Grid((8,))}
    found = numbers(score(line(2.0, 2.0, 2.0, 6.0), line(1.0, 3.0, 5.0, 5.0), **given))
    assert (found["resolved"], found["unseen"], found["unseen_truth"]) == (12.0, 0.0, 0.0)


def test_persistence_of_a_travelling_wave_errs_by_the_chord():
    # y = cos(3x − φ) + a cos(20x − ψ), persistence has φ = ψ = 0.  On ρ₀ = 16 only k = 3 is seen:
    # the chord of an angle φ is 2 sin(φ/2), its mean square half that squared.
    phi, psi, a = 0.7, 1.9, 0.3
    for n in (48, 64, 101):
        x = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
        truth = (torch.cos(3 * x - phi) + a * torch.cos(20 * x - psi))[None, None]
        still = (torch.cos(3 * x) + a * torch.cos(20 * x))[None, None]
        s = score(still, truth, grid=Grid((n,)), band=Grid((16,)), how="spectral", clusters=FIRST, n_clusters=1)
        mean = {name: float(s[name].sum() / s["weight"].sum()) for name in s}
        assert mean["resolved"] == pytest.approx(2 * math.sin(phi / 2) ** 2)
        assert mean["unseen"] == pytest.approx(2 * (a * math.sin(psi / 2)) ** 2)
        assert mean["unseen_truth"] == pytest.approx(a**2 / 2)


# ---- what must hold for any field


@pytest.mark.parametrize("wave", [(5, 5), (5, -5), (-5, 5), (14, -3), (-13, 14)])
def test_the_same_error_function_scores_the_same_on_every_grid(wave):
    """RMS 0.1 wherever the wave points and however fine the grid; below ρ₀'s Nyquist 8 it is resolved, above unseen."""
    for n in (32, 48, 64, 128):
        y, x = torch.meshgrid(*[2 * math.pi * torch.arange(n, dtype=torch.float64) / n] * 2, indexing="ij")
        error = (0.1 * math.sqrt(2) * torch.cos(wave[0] * y + wave[1] * x))[None, None]
        truth = (torch.sin(2 * x) * torch.cos(y))[None, None]
        given = {"grid": Grid((n, n)), "band": Grid((16, 16)), "how": "spectral", "clusters": FIRST, "n_clusters": 1}
        s = score(truth + error, truth, **given)
        resolved, unseen = (math.sqrt(float(s[k].sum() / s["weight"].sum())) for k in ("resolved", "unseen"))
        inside = max(map(abs, wave)) < 8
        assert (resolved, unseen) == pytest.approx((0.1, 0.0) if inside else (0.0, 0.1), abs=1e-9)


def random_case(how, *, n=12, n0=4, b=6, c=2, masked=False, seed=0):
    g = torch.Generator().manual_seed(seed)
    truth, prediction = torch.randn(2, b, c, n, n, generator=g, dtype=torch.float64)
    weights = (torch.rand(b, 1, n, n, generator=g) > 0.3).double() if masked else None
    common = {"grid": Grid((n, n)), "band": Grid((n0, n0)), "how": how}
    return prediction, truth, weights, common


@pytest.mark.parametrize(("how", "masked"), [("spectral", False), ("block_mean", False), ("block_mean", True)])
def test_resolved_and_unseen_add_up_to_the_whole_error(how, masked):
    prediction, truth, weights, common = random_case(how, masked=masked)
    s = score(prediction, truth, weights=weights, clusters=torch.zeros(6, dtype=torch.long), n_clusters=1, **common)
    np.testing.assert_allclose(s["resolved"] + s["unseen"], s["total"], rtol=1e-12)


@pytest.mark.parametrize(("how", "masked"), [("spectral", False), ("block_mean", True)])
@pytest.mark.parametrize("sizes", [(6,), (1, 5), (2, 2, 2), (1, 1, 1, 1, 1, 1)])
def test_batches_of_any_size_score_alike_in_any_order(how, masked, sizes):
    prediction, truth, weights, common = random_case(how, masked=masked)
    clusters = tensor([0, 2, 1, 2, 0, 1])
    whole = score(prediction, truth, weights=weights, clusters=clusters, n_clusters=3, **common)
    split = zip(
        *(
            t.split(list(sizes)) if t is not None else [None] * len(sizes)
            for t in (prediction, truth, weights, clusters)
        ),
        strict=True,
    )
    parts = [score(p, y, weights=w, clusters=k, n_clusters=3, **common) for p, y, w, k in split]
    for order in (parts, parts[::-1]):
        merged = reduce(add, order, Sums.zero(3, 2))
        for name in whole:
            np.testing.assert_allclose(merged[name], whole[name], rtol=1e-13)


@pytest.mark.parametrize("how", ["spectral", "block_mean"])
def test_a_coarse_prediction_prolonged_is_flat_and_has_no_skill(how):
    g = torch.Generator().manual_seed(1)
    band = Grid((8, 8))
    finest = torch.randn(4, 1, 64, 64, generator=g, dtype=torch.float64)
    coarse = restrict(finest, band, how=how) + 0.3 * torch.randn(4, 1, 8, 8, generator=g, dtype=torch.float64)
    if how == "spectral":  # ρ₀'s own Nyquist is outside the band
        coarse = restrict(prolong(coarse, Grid((16, 16)), how=how), band, how=how)
    seen = {}
    for n in (8, 16, 32, 64):
        grid = Grid((n, n))
        truth = restrict(finest, grid, how=how)
        seen[n] = score(
            prolong(coarse, grid, how=how), truth, grid=grid, band=band, how=how, clusters=torch.arange(4), n_clusters=4
        )
    cells = Cells.from_sums([seen], sigma=1.0)
    assert [cells.rms("resolved", n) for n in seen] == pytest.approx([cells.rms("resolved", 8)] * 4, rel=1e-12)
    assert [cells.skill(n) for n in (16, 32, 64)] == pytest.approx([0.0] * 3, abs=1e-12)


def test_on_a_stride_ladder_the_resolved_error_is_that_of_the_shared_points():
    truth, prediction = line(1.0, 3.0, 5.0, 5.0), line(2.0, 2.0, 2.0, 6.0)
    s = score(prediction, truth, **{**HAND, "how": "stride"})
    # e = 1 −1 −3 1, shared points 0 and 2: (1 + 9)/2 = 5.  Over all four: total 12/4 = 3, unseen (1 + 1)/4
    mean = {name: float(s[name].sum() / s["weight"].sum()) for name in s}
    assert (mean["resolved"], mean["total"], mean["unseen"]) == pytest.approx((5.0, 3.0, 0.5))


@pytest.mark.parametrize("how", ["spectral", "block_mean"])
def test_the_truth_has_skill_one_and_its_low_pass_has_zero_and_neither_errs_in_the_band(how):
    g = torch.Generator().manual_seed(2)
    grid, band = Grid((32, 32)), Grid((8, 8))
    truth = torch.randn(2, 1, 32, 32, generator=g, dtype=torch.float64)
    low = prolong(restrict(truth, band, how=how), grid, how=how)
    for prediction, skill in ((truth, 1.0), (low, 0.0)):
        s = score(prediction, truth, grid=grid, band=band, how=how, clusters=torch.arange(2), n_clusters=2)
        cells = Cells.from_sums([{32: s}], sigma=1.0)
        assert cells.skill(32) == pytest.approx(skill, abs=1e-12)
        assert cells.rms("resolved", 32) == pytest.approx(0.0, abs=1e-12)


def test_on_the_sphere_a_point_counts_by_its_area():
    grid = Grid((4, 8), (180.0, 360.0), "cell", "latlon", (False, True))
    truth, area = torch.zeros(1, 1, 4, 8), grid.area_weights()
    prediction = torch.zeros(1, 1, 4, 8)
    prediction[..., 0, :] = 2.0  # an error of 2 along the northernmost row only
    s = score(prediction, truth, grid=grid, band=grid, how="block_mean", clusters=FIRST, n_clusters=1)
    assert float(s["total"].sum()) == pytest.approx(4 * float(area[0].sum()))
    assert float(s["weight"].sum()) == pytest.approx(32)


def test_a_channel_scale_divides_the_error():
    plain = score(line(2.0, 2.0, 2.0, 6.0), line(1.0, 3.0, 5.0, 5.0), **HAND)
    scaled = score(line(2.0, 2.0, 2.0, 6.0), line(1.0, 3.0, 5.0, 5.0), channel_scale=tensor([2.0]), **HAND)
    for name in ("resolved", "unseen", "unseen_truth", "truth_resolved", "total"):
        assert_close(tensor(scaled[name]), tensor(plain[name]) / 4)


# ---- what a person may meet


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_prediction_that_is_not_finite_names_its_rung(bad):
    with pytest.raises(AnchorbenchError, match="prediction on rung r004 has 1 "):
        score(line(2.0, bad, 2.0, 6.0), line(1.0, 3.0, 5.0, 5.0), **HAND)


def test_a_truth_with_a_hole_outside_the_mask_is_refused():
    with pytest.raises(AnchorbenchError, match="truth on rung r004"):
        score(line(2.0, 2.0, 2.0, 6.0), line(1.0, math.nan, 5.0, 5.0), **HAND)


def test_shapes_that_do_not_fit_are_refused():
    truth = line(1.0, 3.0, 5.0, 5.0)
    with pytest.raises(GridError, match="r004"):
        score(line(1.0, 2.0), truth, **HAND)
    with pytest.raises(GridError, match="weights on rung r004"):
        score(truth, truth, weights=torch.ones(1, 4), **HAND)
    with pytest.raises(AnchorbenchError, match="cluster between 0 and 0"):
        score(truth, truth, **{**HAND, "clusters": tensor([1])})


def test_seeds_scored_on_other_rungs_do_not_make_cells():
    s = Sums.zero(1, 1)
    with pytest.raises(AnchorbenchError, match="different rungs"):
        Cells.from_sums([{16: s}, {32: s}], sigma=1.0)
    with pytest.raises(AnchorbenchError, match="nothing to judge"):
        Cells.from_sums([], sigma=1.0)


def test_on_the_sphere_the_error_splits_exactly_under_harmonics_too():
    """E² = E_res² + E_uns² to rounding: P is orthogonal under the quadrature, not under cell areas."""
    fine = Grid((16, 32), (180.0, 360.0), "cell", "latlon", (False, True), unit="degree")
    truth, prediction = torch.randn(2, 3, 2, *fine.shape, generator=torch.Generator().manual_seed(0)).double()
    sums = score(
        prediction, truth, grid=fine, band=fine.with_rung(8), how="spectral", clusters=torch.zeros(3), n_clusters=1
    )
    np.testing.assert_allclose(sums["resolved"] + sums["unseen"], sums["total"], rtol=1e-12)
    assert (sums["unseen"] > 0.1 * sums["total"]).all()
