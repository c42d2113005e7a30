import pytest

from anchorbench.analysis import Headroom, Interval, Verdict, explain


def verdict(word, second, **given):
    base = {
        "train_rung": 16,
        "delta": 0.1,
        "used": (16, 32, 64),
        "change": {32: 0.01, 64: 0.03},
        "headroom": Headroom("shown"),
        "slope": Interval(0.0, -0.05, 0.05, 0.95, 9.0, False),
        "slope_estimate": 0.0,
        "smallest_slope": 0.15,
    }
    return Verdict(word=word, second_word=second, **{**base, **given})


def test_anchored_and_harmful_in_the_words_of_the_readme():
    assert explain(verdict("anchored", "harms", native_change={32: -0.2, 64: -0.41}), name="frl") == (
        "on grids 4x finer than it was trained on, frl's error in the band it knows stays within 3 % "
        "(anchored; a model trained there gets 41 % lower), and what it writes in the finer band is worse than nothing"
    )


def test_native_on_a_coarser_rung_says_where():
    said = explain(verdict("anchored", None, native_change={32: -0.2}), name="frl")
    assert said.endswith("(anchored; a model trained at 2x gets 20 % lower)")


def test_a_native_that_is_far_worse_is_told_as_a_factor():
    said = explain(verdict("converging", None, native_change={64: 12.42}, change={64: -0.98}), name="hybrid")
    assert said.endswith("(converging; a model trained there gets 13 times as much)")


def test_anchored_without_headroom_shown_says_so():
    said = explain(verdict("anchored", "empty", headroom=Headroom("not shown")), name="frl")
    assert said.endswith("(anchored; headroom not shown), and it adds nothing in the finer band")


def test_no_headroom_is_the_data_s_or_the_model_s_limit_not_frl_s():
    said = explain(verdict("no_headroom", "empty", native_change={64: 0.0}), name="frl")
    assert "stays within 3 % (no headroom: a model trained there does hardly better (within δ = 0.1))" in said


@pytest.mark.parametrize(
    ("word", "change", "words"),
    [("converging", -0.62, "falls by 62 % (converging"), ("diverging", 0.8, "grows by 80 % (diverging")],
)
def test_a_trend_says_how_far(word, change, words):
    assert words in explain(verdict(word, "adds", change={32: 0.0, 64: change}), name="frl")


def test_a_tiny_change_is_never_said_to_be_none():
    assert "stays within 1 %" in explain(verdict("anchored", None, change={32: 0.0, 64: 0.001}), name="frl")


def test_undecided_says_what_could_have_been_told():
    said = explain(verdict("undecided", "adds"), name="frl")
    assert "changes by +3 %, which this data cannot call a trend or a standstill" in said
    assert "the smallest slope it could have told is 0.15" in said
    assert said.endswith("and what it writes in the finer band is better than nothing")


def test_one_seed_is_given_these_seeds():
    said = explain(verdict("converging", None, slope=Interval(-1, -1.1, -0.9, 0.95, 3.0, True)), name="frl")
    assert "given these seeds" in said


def test_a_low_pass_of_the_truth_has_no_verdict():
    said = explain(verdict(None, "empty", slope=None), name="the low-passed truth")
    assert "is zero to rounding (no verdict), and it adds nothing" in said


def test_without_a_finer_rung_there_is_nothing_to_follow():
    said = explain(
        verdict("undecided", None, used=(16,), change={}, slope=None, smallest_slope=None, notes=("too few rungs",)),
        name="frl",
    )
    assert said == "frl's error in the band it knows cannot be followed (undecided; too few rungs)"


def test_a_run_that_saw_finer_rungs_is_not_said_to_be_finer_than_its_training():
    said = explain(
        verdict("anchored", None, used=(16, 24, 48), seen=(16, 32, 64), change={24: 0.01, 48: 0.02}), name="multires"
    )
    assert said.startswith(
        "on grids that training did not see, up to 3x the train rung, multires's error in the band it knows"
    )
    assert "trained on" not in said


def test_a_run_that_saw_coarser_rungs_is_still_finer_than_its_training():
    said = explain(verdict("anchored", None, seen=(8, 16)), name="frl")
    assert said.startswith("on grids 4x finer than it was trained on, ")


def test_a_fall_with_a_rise_in_it_gives_that_reason_and_not_the_smallest_slope():
    rise = "it falls overall, but between two neighbours it rises: +0.30"
    said = explain(
        verdict(
            "undecided", None, slope=Interval(-0.5, -0.6, -0.4, 0.95, 9.0, False), change={64: -0.5}, notes=(rise,)
        ),
        name="frl",
    )
    assert "changes by -50 %, but not steadily (undecided; it falls overall, but between two neighbours" in said
    assert "smallest slope" not in said
