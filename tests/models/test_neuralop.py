"""Our FNO against neuraloperator 2.0.0's, with its weights, and that package's own models behind our grids.

Needs the extra `neuralop`.
"""

from __future__ import annotations

import warnings

import pytest
import torch

from anchorbench.config import merged
from anchorbench.errors import ConfigError, ModelError
from anchorbench.fields.grid import Grid
from anchorbench.models.card import card
from anchorbench.models.fno import FNO, load_neuralop_weights
from anchorbench.models.neuralop import moves_waves, package
from anchorbench.models.options import FnoOptions
from anchorbench.models.registry import build, call
from anchorbench.runs.evaluate import evaluate
from anchorbench.runs.train import train

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # theirs, while importing
    theirs = pytest.importorskip("neuralop.models", reason="the extra 'neuralop' is not installed")


def pair(shape: tuple[int, ...], modes: int, embedding: str, width: int = 8) -> tuple[torch.nn.Module, FNO]:
    torch.manual_seed(0)
    reference = theirs.FNO(
        n_modes=(modes,) * len(shape),
        in_channels=2,
        out_channels=1,
        hidden_channels=width,
        n_layers=3,
        positional_embedding="grid" if embedding == "grid" else None,
    )
    ours = FNO(2, 1, Grid(shape), FnoOptions(width=width, layers=3, modes=modes, embedding=embedding))
    load_neuralop_weights(ours, reference.state_dict())
    return reference, ours


@pytest.mark.parametrize("embedding", ["grid", "none"])
@pytest.mark.parametrize(
    ("shape", "modes"),
    [((16, 16), 8), ((16, 16), 7), ((32, 24), 16), ((12, 12), 16), ((24,), 10), ((15,), 10), ((8, 10, 12), 4)],
)
def test_the_outputs_agree_to_1e_5(shape, modes, embedding):
    reference, ours = pair(shape, modes, embedding)
    grid, x = Grid(shape), torch.randn(2, 2, *shape)
    with torch.no_grad():
        want, got = reference(x), ours(x, grid, grid)
    assert (got - want).abs().max() < 1e-5 * want.abs().max()


def test_weights_that_do_not_fit_are_named():
    reference, _ = pair((16, 16), 8, "none")
    with pytest.raises(ModelError, match="do not fit this fno"):
        load_neuralop_weights(FNO(2, 1, Grid((16, 16)), FnoOptions(width=8, layers=3, modes=6)), reference.state_dict())
    with pytest.raises(ModelError, match="lack 'lifting"):
        load_neuralop_weights(FNO(2, 1, Grid((16, 16)), FnoOptions(width=8, layers=3, modes=8)), {})


# -- their models as models of ours ------------------------------------------------------------------------------------

NAMES = ("neuralop_fno", "neuralop_tfno", "neuralop_uno")
SQUARE = Grid((8, 8))


def made(name: str, grid: Grid = SQUARE, *, seed: int = 0, **options) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build(name, in_channels=2, out_channels=1, grid=grid, options={"width": 4, "modes": 4, **options})


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_the_packages_own_with_the_same_weights(name):
    ours, x = made(name), torch.randn(2, 2, 8, 8)
    torch.manual_seed(0)
    common = {"in_channels": 2, "out_channels": 1, "hidden_channels": 4}
    if name == "neuralop_uno":
        steps = [[1.0, 1.0], [0.5, 0.5], [1.0, 1.0], [2.0, 2.0], [1.0, 1.0]]
        plain = theirs.UNO(
            **common,
            n_layers=5,
            uno_out_channels=[4, 8, 8, 8, 4],
            uno_n_modes=[[4, 4]] * 5,
            uno_scalings=steps,
            channel_mlp_skip="linear",
        )
    else:
        plain = {"neuralop_fno": theirs.FNO, "neuralop_tfno": theirs.TFNO}[name](n_modes=(4, 4), **common)
    with torch.no_grad():
        assert torch.equal(call(ours, x, SQUARE, SQUARE), plain(x))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("padding", [0.0, 0.125])
def test_each_runs_on_odd_coarser_and_finer_grids_in_one_to_three_dimensions(name, padding, capsys):
    for shape in ((12,), (8, 8), (6, 5, 8)):
        grid = Grid(shape)
        model = made(name, grid, padding=padding)
        for other in (grid, grid.with_shape(tuple(2 * n + 1 for n in shape)), grid.with_shape((5,) * len(shape))):
            out = call(model, torch.randn(2, 2, *shape), grid, other)
            assert out.shape == (2, 1, *other.shape)
            assert out.isfinite().all()
    assert capsys.readouterr().out == ""  # UNO prints


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bf16", [False, True])
def test_every_weight_has_a_gradient_before_and_after_a_look_and_one_seed_gives_one_model(name, bf16):
    model, x = made(name), torch.randn(2, 2, 8, 8)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), made(name).parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(model.parameters(), made(name, seed=1).parameters(), strict=True))
    for _ in range(2):
        with torch.inference_mode():
            call(model.eval(), x, SQUARE, SQUARE)
        model.train().zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            call(model, x, SQUARE, SQUARE).float().square().mean().backward()
        for key, parameter in model.named_parameters():
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key
            assert parameter.grad.any(), key


def test_the_packages_convolution_moves_waves_on_odd_and_on_scaled_axes_and_not_on_even_ones():
    # With weights of 1 it is a low-pass; in 1-D nothing is shifted, so nothing is shifted back wrongly.
    assert not moves_waves(2, points=8)
    assert not moves_waves(3, points=8)
    assert not moves_waves(1, points=9)
    assert moves_waves(2, points=9)
    assert moves_waves(2, points=8, scaled=0.5)
    assert moves_waves(2, points=8, scaled=2.0)


def test_trying_the_convolution_draws_nothing_from_torchs_random_state():
    before = torch.get_rng_state()
    moves_waves(2, points=9)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_card_says_what_the_package_does_to_waves():
    cards = {n: card(made(n, padding=0.125), n, grid=SQUARE, in_channels=2, rungs=(16,)) for n in NAMES}
    for one in cards.values():
        assert one.grid_rule == "any grid"
        assert one.embedding == "x/L, not periodic"
        assert one.padding == "zeros, 0.125 of the box on both ends of each axis"
        assert one.kernel.startswith("spectral, modes 4x4: |k| ≤ 2 waves of the box and its padding")
        assert "moves waves along axes of odd length" in one.kernel
    assert "Tucker of rank 0.1" in cards["neuralop_tfno"].kernel
    assert "skips bicubic; moves waves along scaled axes" in cards["neuralop_uno"].kernel
    # A complex weight is two numbers; the factors are fewer than the dense weights they stand for.
    assert cards["neuralop_tfno"].parameters < cards["neuralop_fno"].parameters
    one_axis = card(made("neuralop_uno", Grid((16,))), "uno", grid=Grid((16,)), in_channels=2, rungs=())
    assert "moves" not in one_axis.kernel
    assert one_axis.padding == "none"


@pytest.mark.parametrize("name", NAMES)
def test_a_run_trains_saves_and_is_scored_on_every_rung(name, bench, tmp_path):
    options = {"model": {"width": 4, "modes": 4}}
    spec = bench.specs("baseline", model=name, settings=merged({"train": {"steps": 4}}, options))[0]
    session, run = bench.session(spec), bench.run(spec, tmp_path)
    trained = train(session, run)
    saved = run.load_weights()
    assert saved.keys() == trained.state_dict().keys()
    assert all(torch.equal(saved[key], w) for key, w in trained.state_dict().items())
    evaluate(session, run, trained=trained, rungs=session.scored_rungs)


def test_importing_the_package_leaves_the_filters_of_warnings_as_they_were():
    before = list(warnings.filters)
    package("models")
    assert warnings.filters == before


def test_modes_that_do_not_fit_the_axes_are_named_by_the_adapter():
    with pytest.raises(ConfigError, match=r"neuralop_uno: modes \(4, 4, 4\) does not fit the 2 axes"):
        made("neuralop_uno", modes=(4, 4, 4))
