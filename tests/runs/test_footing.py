"""On one footing: what a training costs, the steps of equal cost, the width of equal size, and what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anchorbench.config import RunSpec
from anchorbench.errors import AnchorbenchError, ConfigError, MethodError, ModelError
from anchorbench.runs.footing import count_parameters, on_footing, sample_flops, training_flops, widths_near
from anchorbench.runs.plan import plan_runs

#: One product a channel pair and point: a forward pass of n channels in, one out, on N points has 2 n N FLOPs.
POINTWISE = """
from torch import nn
class Net(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.net = nn.Conv2d(in_channels, out_channels, 1)
    def forward(self, x):
        return self.net(x)
"""


@pytest.fixture
def net(tmp_path) -> Path:
    (tmp_path / "net.py").write_text(POINTWISE)
    return tmp_path / "net.py"


def plan(bench, *methods: str, **words) -> list[RunSpec]:
    words.setdefault("seeds", (0,))
    specs = plan_runs(bench.asked, methods=methods or ("baseline",), **words)
    return [spec for spec in specs if spec.kind == "method"]


def steps(spec: RunSpec) -> int:
    assert spec.train is not None
    return spec.train.steps


# -- what a sample costs -----------------------------------------------------------------------------------------------


def test_a_forward_and_a_backward_pass_cost_three_times_the_products_of_a_forward_one(bench, net):
    (spec,) = plan(bench, model=f"{net}:Net")
    assert sample_flops(spec, bench.ladder.spec) == 3 * 2 * 8 * 8
    assert training_flops(spec, bench.ladder.spec) == steps(spec) * spec.train.batch * 384


def test_half_of_the_samples_at_twice_the_rung_cost_two_and_a_half_times_as_much(bench, net):
    settings = {"method": {"shares": {1: 0.5, 2: 0.5}}}
    (spec,) = plan(bench, "multires", model=f"{net}:Net", settings=settings)
    assert sample_flops(spec, bench.ladder.spec) == pytest.approx(384 * (0.5 * 1 + 0.5 * 4))


@pytest.mark.parametrize(
    ("options", "factor"),
    [
        ({"levels": 1}, (1 + 1 / 4) / 2),
        ({"levels": 0}, 1),
        # The level that is drawn, then the fine one and the one below it.
        ({"levels": 1, "cross_scale": 1.0}, (1 + 1 / 4) / 2 + 1 + 1 / 4),
        # Eight channels beside the one: sine and cosine of 2 waves on 2 axes.
        ({"levels": 0, "encoding": "B", "waves": 2}, 9),
    ],
)
def test_a_coarser_level_is_cheaper_and_every_pass_of_a_loss_counts(bench, net, options, factor):
    settings = {"method": {"encoding": "none", **options}}
    (spec,) = plan(bench, "frl", model=f"{net}:Net", settings=settings)
    assert sample_flops(spec, bench.ladder.spec) == pytest.approx(384 * factor)


def test_two_stages_of_diffusion_are_counted_one_after_the_other(bench, net):
    settings = {
        "train": {"steps": 100},
        "method": {"diffusion": {"training": "two_stage", "mean_steps": 10, "members": 2}},
    }
    baseline, both = plan(bench, "baseline", "diffusion", model=f"{net}:Net", settings=settings)
    mean, second = (sample_flops(both, bench.ladder.spec, step=step) for step in (0, 10))
    assert mean < second
    expected = 10 * mean + 90 * second
    assert training_flops(both, bench.ladder.spec) == pytest.approx(both.train.batch * expected)
    cost = training_flops(baseline, bench.ladder.spec)
    chosen = plan(bench, "diffusion", model=f"{net}:Net", settings=settings, footing="cost")[0]
    assert training_flops(chosen, bench.ladder.spec) == pytest.approx(cost, rel=0.05)


def test_a_second_stage_that_never_comes_is_refused(bench, net):
    settings = {"train": {"steps": 20}, "method": {"diffusion": {"training": "two_stage", "mean_steps": 20}}}
    with pytest.raises(MethodError, match="leaves none of 20 steps to the denoiser"):
        plan(bench, "diffusion", model=f"{net}:Net", settings=settings)


def test_the_steps_of_a_solver_are_not_counted(bench, net):
    (spec,) = plan(bench, "hybrid", model=f"{net}:Net")
    # Two channels in: the state, and what the solver made of it.
    assert sample_flops(spec, bench.ladder.spec) == pytest.approx(2 * 384 * (1 + 1 / 4) / 2)


def test_counting_changes_no_random_state_that_a_run_is_built_from(bench):
    (spec,) = plan(bench, "frl")
    before = bench.session(spec).build_model().state_dict()
    sample_flops(spec, bench.ladder.spec)
    after = bench.session(spec).build_model().state_dict()
    assert all(torch.equal(after[name], w) for name, w in before.items())


# -- equal cost --------------------------------------------------------------------------------------------------------


def test_equal_cost_gives_frl_more_steps_and_multires_fewer(bench, net):
    settings = {
        "train": {"steps": 100},
        "method": {"frl": {"levels": 1, "encoding": "none"}, "multires": {"shares": {1: 0.5, 2: 0.5}}},
    }
    words = {"model": f"{net}:Net", "settings": settings}
    baseline, frl, multires = plan(bench, "baseline", "frl", "multires", footing="cost", **words)
    assert [steps(s) for s in (baseline, frl, multires)] == [100, 160, 40]  # over 5/8, and over 5/2
    assert [s.footing for s in (baseline, frl, multires)] == [None, "cost", "cost"]


@pytest.mark.parametrize("model", ["fno", "unet", "local"])
def test_every_method_of_every_model_is_within_five_percent_of_its_own_baseline(bench, model):
    methods = ("baseline", "frl", "multires", "bandlimited", "hybrid")
    words = {"model": model, "settings": {"train": {"steps": 300}}}
    specs = plan(bench, *methods, footing="cost", **words)
    target = training_flops(specs[0], bench.ladder.spec)
    assert all(abs(training_flops(s, bench.ladder.spec) / target - 1) <= 0.05 for s in specs)


def test_what_a_footing_chose_is_hashed_and_the_word_itself_is_not(bench):
    (chosen,) = plan(bench, "frl", footing="cost")
    (by_hand,) = plan(bench, "frl", settings={"train": {"steps": steps(chosen)}})
    (plain,) = plan(bench, "frl")
    assert chosen.footing == "cost"
    assert by_hand.footing is None
    assert chosen.digest == by_hand.digest != plain.digest
    assert "footing" not in plain.model_dump()
    assert RunSpec.model_validate(chosen.model_dump(mode="json")) == chosen


def test_the_baseline_is_one_run_on_any_footing(bench):
    digests = {plan(bench, footing=footing)[0].digest for footing in ("steps", "cost", "parameters")}
    assert len(digests) == 1


def test_native_has_the_steps_of_the_baseline_at_equal_cost_too(bench):
    specs = plan_runs(bench.asked, methods=("frl",), seeds=(0, 1), footing="cost", with_references=True, native_seeds=2)
    native = [spec for spec in specs if spec.kind == "native"]
    assert {(s.train_rung, s.seed) for s in native} == {(16, 0), (16, 1), (32, 0), (32, 1)}
    assert {steps(s) for s in native} == {steps(plan(bench)[0])}
    assert {s.footing for s in native} == {None}


def test_too_few_steps_for_an_equal_cost_are_refused_in_one_line(bench, net):
    settings = {"train": {"steps": 3}, "method": {"shares": {1: 0.5, 2: 0.5}}}
    with pytest.raises(
        MethodError, match=r"multires \(.*Net\) would have 1\.2 steps for the cost of baseline"
    ) as error:
        plan(bench, "multires", model=f"{net}:Net", settings=settings, footing="cost")
    assert "\n" not in error.value.what


# -- equal parameters --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["unet", "local"])
def test_the_width_that_is_found_has_the_parameters_of_the_presets_fno_within_five_percent(bench, model):
    (fno,) = plan(bench)
    (spec,) = plan(bench, model=model, footing="parameters")
    built = bench.session(spec).build_model()  # with the static channel that the ladder turns out to have
    target = sum(p.numel() for p in bench.session(fno).build_model().parameters())
    assert abs(sum(p.numel() for p in built.parameters()) / target - 1) <= 0.05
    assert spec.footing == "parameters"
    assert steps(spec) == steps(fno)


def test_another_model_may_be_the_yardstick(bench):
    (unet,) = plan(bench, model="unet")
    (fno,) = plan(bench, footing="parameters", yardstick="unet")
    target = count_parameters(unet, bench.ladder.spec)
    assert abs(count_parameters(fno, bench.ladder.spec) / target - 1) <= 0.05


def test_a_search_over_widths_finds_the_pair_around_the_target_and_passes_over_those_that_cannot_be():
    def squares(width: int) -> int | None:
        return width**2 if width % 4 == 0 else None

    for start in (4, 32, 400):
        tried = widths_near(squares, 1000, start=start)
        assert min(tried, key=lambda w: abs(tried[w] - 1000)) == 32  # 28² = 784, 32² = 1024
        assert {28, 32} <= set(tried)


def test_a_model_that_has_no_such_width_is_refused_in_one_line_with_the_nearest(bench):
    (least,) = plan(bench, model="local", settings={"model": {"width": 1, "layers": 1, "kernel": 1}})
    (unet,) = plan(bench, model="unet")
    with pytest.raises(ModelError, match=r"no width of unet .* parameters of local: 1 has [\d,]+, 2 has") as error:
        on_footing(unet, bench.ladder.spec, footing="parameters", yardstick=least)
    assert "\n" not in error.value.what


# -- twice the width ---------------------------------------------------------------------------------------------------


def test_twice_the_width_is_twice_the_presets_or_what_is_asked_for(bench):
    (wide,) = plan(bench, double_width=True)
    (by_hand,) = plan(bench, settings={"model": {"width": 16}})  # the preset's is 8
    assert wide.digest == by_hand.digest
    assert plan(bench, settings={"model": {"width": 5}}, double_width=True)[0].model_options["width"] == 10


def test_at_equal_cost_a_doubled_model_is_measured_against_its_own_baseline(bench):
    baseline, frl = plan(bench, "baseline", "frl", double_width=True, footing="cost")
    assert steps(baseline) == 80
    ratio = training_flops(frl, bench.ladder.spec) / training_flops(baseline, bench.ladder.spec)
    assert abs(ratio - 1) <= 0.05


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"footing": "costs"}, "Did you mean 'cost'"),
        ({"footing": "parameters", "settings": {"model": {"width": 9}}}, "model.width cannot be asked for"),
        ({"footing": "parameters", "double_width": True}, "twice the width cannot be asked for"),
    ],
)
def test_a_footing_that_is_none_or_contradicts_a_width_is_refused(bench, words, said):
    with pytest.raises(ConfigError, match=said):
        plan(bench, **words)


def test_a_model_without_a_width_has_none_to_double(bench, net):
    with pytest.raises(AnchorbenchError, match=r"no whole number 'width' to choose; its options: none"):
        plan(bench, model=f"{net}:Net", double_width=True)
