"""A mix of rungs: its shares, what it holds out, and that a draw is a function of seed and step alone."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anchorbench.errors import ConfigError, MethodError
from anchorbench.methods.base import Track
from anchorbench.methods.multires import MultiRes

RUNGS = (8, 16, 32, 64)


def rng(seed: int, step: int) -> torch.Generator:
    return torch.Generator().manual_seed(1000 * seed + step)


def drawn(method: MultiRes, steps: int, *, seed: int = 0) -> list[int]:
    return [method.draw_rung(step, rng(seed, step)) for step in range(steps)]


def test_the_default_mix_is_80_10_10_on_the_train_rung_twice_and_four_times_as_fine(free_plan):
    method = MultiRes(free_plan(RUNGS, 16), {})
    assert method.mix() == {16: 0.8, 32: 0.1, 64: 0.1}
    assert method.rungs() == (16, 32, 64)
    assert method.track is Track.ASSISTED


def test_with_the_finest_held_out_it_is_80_20(free_plan):
    method = MultiRes(free_plan(RUNGS, 16), {"hold_out": True})
    assert method.mix() == {16: 0.8, 32: 0.2}
    assert 64 not in method.rungs()


def test_holding_out_takes_the_finest_of_any_mix_and_gives_its_share_to_the_next(free_plan):
    method = MultiRes(free_plan(RUNGS, 8), {"shares": {8: 0.25, 1: 0.5, 2: 0.25}, "hold_out": True})
    assert method.mix() == {8: 0.5, 16: 0.5}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rungs_are_drawn_in_their_shares(free_plan, seed):
    n = 4000
    counts = Counter(drawn(MultiRes(free_plan(RUNGS, 16), {}), n, seed=seed))
    assert set(counts) == {16, 32, 64}
    for rung, share in ((16, 0.8), (32, 0.1), (64, 0.1)):
        # four standard deviations of a binomial
        assert abs(counts[rung] - share * n) < 4 * math.sqrt(n * share * (1 - share))


def test_a_draw_is_a_function_of_seed_and_step_alone(free_plan):
    method = MultiRes(free_plan(RUNGS, 16), {})
    forwards = drawn(method, 100)
    torch.manual_seed(99)
    torch.rand(7)  # what happens to torch's own state is nobody's business
    assert [method.draw_rung(step, rng(0, step)) for step in reversed(range(100))][::-1] == forwards
    assert drawn(MultiRes(free_plan(RUNGS, 16), {}), 100) == forwards
    assert drawn(method, 100, seed=1) != forwards


def test_drawing_leaves_torchs_own_random_state_alone(free_plan):
    before = torch.get_rng_state()
    drawn(MultiRes(free_plan(RUNGS, 16), {}), 5)
    assert torch.equal(torch.get_rng_state(), before)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_any_shares_that_add_up_to_1_are_a_mix_whose_rungs_are_those_with_a_share(free_plan, parts):
    shares = {2**i: part / sum(parts) for i, part in enumerate(parts)}
    method = MultiRes(free_plan(RUNGS, 8), {"shares": shares})
    assert method.rungs() == tuple(8 * multiple for multiple in shares)
    assert set(drawn(method, 30)) <= set(method.rungs())


def test_a_rung_without_a_share_is_never_opened(free_plan):
    method = MultiRes(free_plan(RUNGS, 16), {"shares": {1: 0.9, 2: 0.0, 4: 0.1}})
    assert method.rungs() == (16, 64)
    assert 32 not in drawn(method, 300)


@pytest.mark.parametrize(
    "shares", [{1: 0.8}, {1: 0.8, 2: 0.3}, {1: 1.5, 2: -0.5}, {}, {1: 0.0}, {1: 80, 2: 20}, {1: 0.999, 2: 0.0}]
)
def test_shares_that_are_no_shares_are_refused(free_plan, shares):
    with pytest.raises(MethodError, match="add up to 1"):
        MultiRes(free_plan(RUNGS, 16), {"shares": shares})


@pytest.mark.parametrize("shares", [{1: math.nan, 2: 0.2}, {"fine": 1.0}, [0.8, 0.2], 0.8])
def test_what_is_no_table_of_numbers_is_refused(free_plan, shares):
    with pytest.raises(ConfigError, match="shares"):
        MultiRes(free_plan(RUNGS, 16), {"shares": shares})


@pytest.mark.parametrize("options", [{}, {"shares": {1: 0.5, 3: 0.5}}, {"shares": {0: 1.0}}])
def test_a_mix_that_the_ladder_lacks_names_what_there_is(free_plan, options):
    with pytest.raises(MethodError, match=r"the ladder has \[8, 16, 32, 64\]") as caught:
        MultiRes(free_plan(RUNGS, 32), options)
    assert "--set method.shares" in caught.value.do


def test_a_mix_of_one_rung_has_none_to_hold_out(free_plan):
    with pytest.raises(MethodError, match="leaves none"):
        MultiRes(free_plan(RUNGS, 16), {"shares": {1: 1.0}, "hold_out": True})


def test_keys_may_be_words_as_a_saved_spec_has_them(free_plan):
    method = MultiRes(free_plan(RUNGS, 16), {"shares": {"1": 0.8, "2": 0.2}})
    assert method.mix() == {16: 0.8, 32: 0.2}
