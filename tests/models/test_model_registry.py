"""Names, options, a user's own models, and what is said when one does not fit."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from anchorbench.errors import ConfigError, ModelError
from anchorbench.fields.grid import Grid
from anchorbench.models.card import card
from anchorbench.models.fno import FNO
from anchorbench.models.registry import BUILT_IN, build, call, model_names, validate_options
from anchorbench.models.unet import UNet

GRID = Grid((8, 8))
#: Those that need no package but torch; the others are in test_neuralop.py.
OURS = [name for name in BUILT_IN if not name.startswith("neuralop_")]

USER = """
import torch
from torch import nn

class Full(nn.Module):
    def __init__(self, in_channels, out_channels, grid, ndim, width=4):
        super().__init__()
        self.seen = (in_channels, out_channels, grid.shape, ndim, width)
        self.net = nn.Conv2d(in_channels, out_channels, 1)
    def forward(self, x):
        return self.net(x)

class Bare(nn.Conv2d):
    def __init__(self):
        super().__init__(2, 1, 1)

class Depth(nn.Module):
    def __init__(self, depth):
        super().__init__()

built = nn.Conv2d(2, 1, 1)

def loader():
    return nn.Conv2d(2, 1, 1)

def wrong():
    return "weights"

number = 3
"""


@pytest.fixture
def user(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(USER)
    return str(tmp_path / "mine.py")


def make(name: str, **options) -> nn.Module:
    return build(name, in_channels=2, out_channels=1, grid=GRID, options=options)


def test_the_built_in_models_are_built_by_name():
    assert isinstance(make("fno", width=4, modes=4), FNO)
    assert isinstance(make("unet", width=4), UNet)
    assert {"fno", "gnn", "local", "mamba", "neural_ode", "transformer", "unet"} <= set(model_names())
    assert list(BUILT_IN) == sorted(BUILT_IN)


@pytest.mark.parametrize("name", OURS)
def test_one_seed_gives_one_model(name):
    torch.manual_seed(3)
    first = make(name, width=4).state_dict()
    torch.manual_seed(3)
    again = make(name, width=4).state_dict()
    assert first.keys() == again.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)
    torch.manual_seed(4)
    other = make(name, width=4).state_dict()
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("bf16", [False, True])
def test_the_gradient_reaches_every_parameter_of_every_model(name, bf16):
    torch.manual_seed(0)
    model, grid = make(name, width=4), Grid((9, 14), periodic=(False, True))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        call(model, torch.randn(2, 2, 9, 14), grid, grid).float().square().mean().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key


@pytest.mark.parametrize("name", OURS)
def test_every_model_runs_on_odd_coarser_and_finer_grids_and_between_walls(name):
    model = make(name, width=4)
    for shape, periodic in (((7, 7), True), ((5, 6), True), ((17, 19), True), ((11, 16), False)):
        grid = Grid(shape, periodic=(True, periodic))
        for out_grid in (grid, grid.with_shape((shape[0] + 5, shape[1] + 1))):
            out = call(model, torch.randn(2, 2, *shape), grid, out_grid)
            assert out.shape == (2, 1, *out_grid.shape)
            assert out.isfinite().all()


@pytest.mark.parametrize("name", OURS)
def test_every_card_is_filled_by_the_model_and_not_by_guesses(name):
    made = card(make(name, width=4), name, grid=GRID, in_channels=2, rungs=(4, 8, 16))
    assert "not known" not in (made.embedding, made.padding, made.kernel)
    assert list(made.flops) == [4, 8, 16]
    if name in ("gnn", "local", "mamba", "neural_ode", "transformer"):
        assert made.grid_rule == "any grid"
        assert "physical units" in made.kernel


@pytest.mark.parametrize("name", OURS)
def test_evaluation_mode_changes_no_number(name):
    model, u = make(name, width=4), torch.randn(2, 2, 8, 8)
    assert torch.equal(call(model.train(), u, GRID, GRID), call(model.eval(), u, GRID, GRID))


def test_options_are_validated_without_torch():
    code = (
        "import sys; from anchorbench.models.registry import BUILT_IN, validate_options; "
        "assert validate_options('fno', {'width': 8})['width'] == 8; "
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_validated_options_hold_every_default_as_plain_values():
    options = validate_options("fno", {"modes": [4, 6]})
    assert options["modes"] == [4, 6]
    assert options["layers"] == 4
    assert options["embedding"] == "none"
    assert validate_options("fno", options) == options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widht": 8}, "there is no option 'widht'. Did you mean 'width'"),
        ({"width": 0}, "width"),
        ({"local_kernel": 4}, "an odd number of points, or 0"),
        ({"embedding": "fourier"}, "'none', 'grid' or 'periodic'"),
        ({"modes": 0}, "modes"),
    ],
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(ConfigError) as error:
        validate_options("fno", options)
    assert message in str(error.value)
    with pytest.raises(ConfigError):
        make("fno", **options)


def test_an_unknown_model_is_answered_with_the_nearest():
    for act in (lambda: make("fnoo"), lambda: validate_options("fnoo", {})):
        with pytest.raises(ModelError, match=r"there is no model 'fnoo'\. Did you mean 'fno'"):
            act()


def test_a_users_class_gets_what_its_signature_names_and_its_options(user):
    assert make(f"{user}:Full").seen == (2, 1, (8, 8), 2, 4)
    assert make(f"{user}:Full", width=9).seen == (2, 1, (8, 8), 2, 9)
    assert validate_options(f"{user}:Full", {"width": 9}) == {"width": 9}


@pytest.mark.parametrize("name", ["Full", "Bare", "built", "loader"])
def test_a_class_a_function_or_a_built_module_of_a_users_file_runs(user, name):
    assert call(make(f"{user}:{name}"), torch.randn(3, 2, 8, 8), GRID, GRID).shape == (3, 1, 8, 8)


def test_a_built_module_starts_every_run_from_the_same_weights(monkeypatch):
    built = nn.Conv2d(2, 1, 1)
    entry = importlib.metadata.EntryPoint("theirs", "somewhere:built", "anchorbench.models")
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", lambda self: built)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: (entry,))
    trained = make("theirs")
    trained.weight.data.zero_()
    assert torch.equal(make("theirs").weight, built.weight)
    assert built.weight.any()


def test_a_users_file_may_import_the_file_beside_it(tmp_path):
    (tmp_path / "layers_of_mine.py").write_text("from torch import nn\nBase = nn.Conv2d\n")
    (tmp_path / "net.py").write_text("import layers_of_mine\ndef make():\n    return layers_of_mine.Base(2, 1, 1)\n")
    try:
        assert isinstance(make(f"{tmp_path}/net.py:make"), nn.Conv2d)
        assert str(tmp_path) not in sys.path
    finally:
        sys.modules.pop("layers_of_mine", None)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("Ful", {}, ModelError, "Did you mean 'Full'"),
        ("Full", {"widht": 3}, ConfigError, "there is no option 'widht'. Did you mean 'width'"),
        ("Depth", {}, ModelError, "missing 1 required positional argument: 'depth'"),
        ("wrong", {}, ModelError, "gave a str, not a torch.nn.Module"),
        ("number", {}, ModelError, "is a int, not a torch.nn.Module"),
        ("built", {"width": 3}, ConfigError, "takes no options: width"),
    ],
)
def test_what_is_wrong_with_a_users_model_is_said_in_one_line(user, name, options, error, message):
    with pytest.raises(error) as raised:
        make(f"{user}:{name}", **options)
    assert message in raised.value.what
    assert "\n" not in raised.value.what


def test_a_file_that_is_not_there_or_does_not_import_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"the model file '.*none\.py' does not exist"):
        make(f"{tmp_path}/none.py:Net")
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(ModelError, match=r"cannot be imported: ModuleNotFoundError: .*nothing_of_this_name"):
        make(f"{tmp_path}/broken.py:Net")
    with pytest.raises(ModelError, match="names a file but no model in it"):
        make(f"{tmp_path}/broken.py")


def test_an_entry_point_of_an_installed_package_is_a_model(monkeypatch):
    entry = importlib.metadata.EntryPoint("theirs", "anchorbench.models.fno:SpectralConv", "anchorbench.models")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: (entry,))
    assert model_names() == (*BUILT_IN, "theirs")
    made = build(
        "theirs",
        in_channels=1,
        out_channels=1,
        grid=GRID,
        options={"channels_in": 1, "channels_out": 1, "modes": (2, 2)},
    )
    assert type(made).__name__ == "SpectralConv"


class WithGrids(nn.Module):
    def forward(self, inputs, grid, out_grid):
        return torch.full((inputs.shape[0], 1, *out_grid.shape), float(grid.rung))


class OtherNames(WithGrids):
    def forward(self, u, g, og):
        return super().forward(u, g, og)


class OneGrid(nn.Module):
    def forward(self, x, *, grid):
        return x * grid.rung


class Plain(nn.Module):
    def forward(self, x, output_shape=None, **kwargs):
        assert output_shape is None
        assert not kwargs
        return x


@pytest.mark.parametrize("model", [WithGrids(), OtherNames(), OneGrid(), nn.DataParallel(WithGrids())])
def test_a_model_that_asks_for_the_grid_is_given_it(model):
    assert call(model, torch.ones(2, 1, 8, 8), GRID, GRID).unique().item() == 8.0


def test_a_plain_module_is_given_the_field_and_nothing_else():
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(call(Plain(), x, GRID, GRID), x)
    assert torch.equal(call(nn.Sequential(nn.Identity()), x, GRID, GRID), x)


def test_an_output_of_another_shape_names_the_rung_the_shape_and_the_one_expected():
    with pytest.raises(ModelError) as error:
        call(nn.MaxPool2d(2), torch.ones(3, 1, 8, 8), GRID, GRID)
    assert "rung r008 has shape (3, 1, 4, 4); (B, C, 8, 8) with B = 3 was expected" in str(error.value)
    with pytest.raises(ModelError, match="rung r008"):
        call(nn.Flatten(), torch.ones(3, 1, 8, 8), GRID, GRID)
    with pytest.raises(ModelError, match="is a tuple, not a tensor"):
        call(nn.MaxPool2d(1, return_indices=True), torch.ones(3, 1, 8, 8), GRID, GRID)
