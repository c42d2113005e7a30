"""The default ladder can tell (minutes): at `small` there is headroom, and models beat persistence."""

import pytest

from anchorbench.report.collect import collect
from anchorbench.runs import Asked, train_all

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    asked = Asked(
        "turbulence2d",
        methods=("baseline", "multires", "frl"),
        seeds=(0,),
        with_references=True,
        settings={"native": {"rungs": [32]}},
    )
    train_all(asked, results=folder / "results", cache=folder / "cache", device="cpu", workers=2)
    return {curve["method"]: curve for curve in collect(folder / "results")["curves"]}


def at(curve, rung):
    return curve["error"][curve["rungs"].index(rung)]


def test_a_model_trained_at_twice_the_train_rung_has_at_most_half_the_baselines_error(curves):
    assert at(curves["native"], 32) <= 0.5 * at(curves["baseline"], 16)


@pytest.mark.parametrize("method", ["baseline", "multires", "frl"])
def test_every_trained_models_error_at_the_train_rung_is_at_most_half_of_persistences(curves, method):
    assert at(curves[method], 16) <= 0.5 * at(curves["persistence"], 16)


@pytest.mark.parametrize("method", ["baseline", "multires", "frl"])
def test_every_curve_says_both_words(curves, method):
    assert curves[method]["verdict"] is not None
    assert curves[method]["second_word"] in ("adds", "empty", "harms")
    assert curves[method]["verdict"] in curves[method]["words"]


def test_the_solver_converges(curves):
    assert curves["solver"]["verdict"] == "converging"


def test_the_verdict_of_the_baseline_says_that_there_was_headroom(curves):
    assert curves["baseline"]["headroom"]["shown"] is True
