"""What every method inherits, and that a zero-shot one is never built on a finer rung."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from anchorbench.config import Frozen
from anchorbench.data.samples import Batch
from anchorbench.errors import ConfigError, MethodError, ModelError
from anchorbench.fields import Grid
from anchorbench.methods.base import Forecaster, Method, Track, mean_square
from anchorbench.methods.baseline import Baseline
from anchorbench.methods.registry import METHODS, REFERENCES, build_method, check_method

GRID = Grid((4, 4))


class Peeking(Method):
    """Says that it is zero-shot, and wants a finer rung."""

    name = "peeking"

    def rungs(self):
        return (self.plan.train_rung, 2 * self.plan.train_rung)


class Same(nn.Module):
    """Channels a ... b of what it is given, and keeps that."""

    def __init__(self, a: int = 0, b: int | None = 1) -> None:
        super().__init__()
        self.a, self.b = a, b
        self.seen: torch.Tensor | None = None

    def forward(self, x):
        self.seen = x
        return x[:, self.a : self.b]


def batch(*, frames=2, variables=1, static=False, masked=False) -> Batch:
    """Inputs are channels 0, 1, 2, ...; the target is 10; static is 20; the mask is 1 but at the first point."""
    channels = torch.arange(float(frames * variables)).reshape(1, -1, 1, 1).expand(2, -1, 4, 4)
    mask = torch.ones(2, 1, 4, 4)
    mask[..., 0, 0] = 0
    return Batch(
        inputs=channels,
        targets=torch.full((2, variables, 4, 4), 10.0),
        grid=GRID,
        out_grid=GRID,
        clusters=torch.zeros(2),
        mask=mask if masked else None,
        input_mask=mask if masked else None,
        static=torch.full((2, 1, 4, 4), 20.0) if static else None,
    )


# -- tracks ------------------------------------------------------------------------------------------------------------


def test_a_zero_shot_method_cannot_be_built_on_a_finer_rung(free_plan):
    with pytest.raises(MethodError, match=r"'peeking' is zero-shot: it may not train on rungs \[32\] above 16"):
        Peeking(free_plan((8, 16, 32), 16), {})


def test_the_same_method_on_the_assisted_track_can(free_plan):
    class Assisted(Peeking):
        track = Track.ASSISTED

    assert Assisted(free_plan((8, 16, 32), 16), {}).rungs() == (16, 32)


@pytest.mark.parametrize("name", METHODS)
def test_no_built_in_method_reads_a_rung_above_its_train_rung_unless_it_is_assisted(free_plan, name):
    method = build_method(name, free_plan((4, 8, 16, 32, 64), 16), {}, task=METHODS[name][3][0])
    if method.track is Track.ZERO_SHOT:
        assert max(method.rungs()) == 16
        rng = torch.Generator().manual_seed(0)
        assert {method.draw_rung(step, rng) for step in range(20)} == {16}
    assert sum(method.mix().values()) == pytest.approx(1.0)


@pytest.mark.parametrize("name", METHODS)
def test_what_the_registry_says_of_a_method_is_what_its_class_says(free_plan, name):
    _, _, track, tasks, _ = METHODS[name]
    method = build_method(name, free_plan((8, 16, 32), 8), {}, task=tasks[0])
    assert (method.name, method.track.value, method.tasks) == (name, track, tasks)


def test_an_unknown_method_names_the_nearest(free_plan):
    with pytest.raises(MethodError, match=r"no method 'baselin'.*'baseline'"):
        build_method("baselin", free_plan((8,), 8), {}, task="forecast")


def test_a_method_names_the_tasks_that_it_takes():
    with pytest.raises(MethodError, match="'frl' does not take the task represent: it takes forecast"):
        check_method("frl", "represent")


def test_a_reference_is_no_method():
    for name in REFERENCES:
        with pytest.raises(MethodError, match="no method"):
            check_method(name, "forecast")


def test_an_option_that_a_method_lacks_is_named(free_plan):
    with pytest.raises(ConfigError, match="method baseline: there is no option 'levels'"):
        Baseline(free_plan((8,), 8), {"levels": 1})


def test_options_are_frozen_words_of_the_method(free_plan):
    for name in METHODS:
        task = METHODS[name][3][0]
        method = build_method(name, free_plan((4, 8, 16, 32, 64), 16), {}, task=task)
        assert isinstance(method.options, Frozen)
        again = build_method(name, free_plan((4, 8, 16, 32, 64), 16), method.options.model_dump(mode="json"), task=task)
        assert again.options == method.options


# -- what is fed to the model ------------------------------------------------------------------------------------------


def test_a_model_is_given_inputs_static_fields_and_mask_in_this_order():
    model = Same()
    Forecaster(model, increment=False)(batch(static=True, masked=True))
    assert model.seen[0, :, 1, 1].tolist() == [0.0, 1.0, 20.0, 1.0]
    assert model.seen[0, :, 0, 0].tolist() == [0.0, 1.0, 20.0, 0.0]


@pytest.mark.parametrize(("variables", "frames"), [(1, 1), (1, 3), (2, 2)])
def test_an_increment_is_added_to_the_newest_frame_of_its_variable(variables, frames):
    given_batch = batch(frames=frames, variables=variables)
    out = Forecaster(Same(0, variables), increment=True)(given_batch)
    # the model returns channels 0 ... V−1, whose values are their numbers; the newest frame of v is v·F + F − 1
    assert out[0, :, 0, 0].tolist() == [v + v * frames + frames - 1 for v in range(variables)]


def test_without_increment_the_output_is_the_models_own():
    assert Forecaster(Same(1, 2), increment=False)(batch())[0, 0, 0, 0] == 1.0


@pytest.mark.parametrize("increment", [True, False])
@pytest.mark.parametrize(("variables", "channels"), [(1, 2), (2, 1), (2, 4)])
def test_a_model_with_another_number_of_channels_is_refused_and_never_broadcast(variables, channels, increment):
    with pytest.raises(ModelError, match=f"has {channels} channels; the target has {variables}"):
        Forecaster(Same(0, channels), increment=increment)(batch(frames=2, variables=variables))


def test_a_model_with_another_grid_is_refused():
    class Halved(nn.Module):
        def forward(self, x):
            return x[:, :1, ::2, ::2]

    with pytest.raises(ModelError, match="rung r004 has shape"):
        Forecaster(Halved(), increment=True)(batch())


# -- loss and prediction -----------------------------------------------------------------------------------------------


def test_the_loss_of_the_baseline_is_the_mean_square_error(free_plan):
    method = Baseline(free_plan((8,), 8), {})
    trained = method.wrap(Same())  # 0 + newest frame 1 = 1; the target is 10
    loss = method.loss(trained, batch(), step=0, rng=torch.Generator())
    assert loss.item() == 81.0


def test_a_prediction_has_a_members_axis(free_plan):
    method = Baseline(free_plan((8,), 8), {})
    out = method.predict(method.wrap(Same()), batch(), members=1, rng=None)
    assert out.shape == (1, 2, 1, 4, 4)


def on(grid: Grid, e: torch.Tensor, mask: torch.Tensor | None) -> float:
    where = Batch(e, e, grid, grid, torch.zeros(len(e), dtype=torch.long), mask=mask)
    return mean_square(e, where).item()


def test_missing_points_weigh_nothing_in_the_loss():
    e = torch.tensor([[[[100.0, 1.0], [2.0, 3.0]]]])
    mask = torch.tensor([[[[0.0, 1.0], [1.0, 0.5]]]])
    assert on(Grid((2, 2)), e, mask) == pytest.approx((1 + 4 + 4.5) / 2.5)
    assert on(Grid((2, 2)), e, torch.zeros(1, 1, 2, 2)) == 0.0


def test_on_the_sphere_the_loss_weighs_by_area():
    """Two rows from pole to 45°, two to the equator: sin 45° − 0 and 1 − sin 45° of each half."""
    grid = Grid((4, 8), (180.0, 360.0), "cell", "latlon", (False, True), unit="degree")
    e = torch.zeros(1, 1, 4, 8)
    e[:, :, 1:3] = 1.0
    assert on(grid, e, None) == pytest.approx(math.sin(math.pi / 4))
    assert on(grid, e, torch.ones(1, 1, 4, 8)) == pytest.approx(math.sin(math.pi / 4))


@given(st.integers(1, 3), st.integers(1, 3))
def test_a_mask_of_ones_is_no_mask(samples, channels):
    e = torch.linspace(-2, 3, samples * channels * 12).reshape(samples, channels, 3, 4)
    assert on(Grid((3, 4)), e, torch.ones(samples, 1, 3, 4)) == pytest.approx(on(Grid((3, 4)), e, None))
