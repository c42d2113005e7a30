"""Coordinate networks: their equations by hand, many at once as each alone, time, and the spectra they begin with."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from anchorbench.analysis.spectral_distance import binned_spectrum
from anchorbench.fields.grid import Grid
from anchorbench.models.coordinate import Coordinate, places
from anchorbench.models.coordinate_options import COORDINATE_NETWORKS, knob_of
from anchorbench.models.registry import BUILT_IN, build

GRID = Grid((8, 8))
BINS = torch.arange(1, 17)


def network(name: str, *, dims: int = 2, **options) -> Coordinate:
    torch.manual_seed(0)
    made = build(
        name, in_channels=1, out_channels=1, grid=Grid((8,) * dims), options={"width": 12, "layers": 2, **options}
    )
    assert isinstance(made, Coordinate)
    return made


def test_a_place_has_one_coordinate_on_every_rung():
    assert_close(places(Grid((4,), extent=(6.0,), origin=(3.0,))).flatten(), torch.tensor([-1, -0.5, 0, 0.5]).double())
    assert_close(places(Grid((2,), centring="cell")).flatten(), torch.tensor([-0.5, 0.5]).double())
    coarse, fine = places(GRID).view(8, 8, 2), places(GRID.with_rung(16)).view(16, 16, 2)
    assert_close(fine[::2, ::2], coarse)


@pytest.mark.parametrize("name", sorted(COORDINATE_NETWORKS))
def test_many_networks_at_once_are_each_alone_in_value_and_gradient(name):
    many = network(name).initialise(3)
    values = many.on(GRID)
    values.square().mean((1, 2, 3)).sum().backward()
    alone = network(name)
    for i in range(3):
        state = {k: v[i : i + 1].clone() for k, v in many.state_dict().items()}
        alone.load_state_dict(state)
        alone.zero_grad()
        one = alone.on(GRID)
        assert_close(one[0], values[i], rtol=1e-5, atol=1e-6)
        one.square().mean().backward()
        for (key, w), (_, together) in zip(alone.named_parameters(), many.named_parameters(), strict=True):
            assert_close(w.grad[0], together.grad[i], rtol=1e-3, atol=1e-6, msg=key)


@pytest.mark.parametrize("name", sorted(COORDINATE_NETWORKS))
def test_settings_of_one_draw_begin_from_the_same_numbers_and_differ(name):
    knobs = torch.tensor([[1.0, 3.0], [1.0, 3.0]])
    both = network(name).initialise(2, knobs=knobs, generator=torch.Generator().manual_seed(5))
    first = network(name).initialise(2, knobs=knobs[:, :1], generator=torch.Generator().manual_seed(5))
    u = both.on(GRID)
    assert_close(u[0::2], first.on(GRID))
    assert not torch.allclose(u[0], u[1])
    assert_close(both.values(places(GRID).float(), pick=torch.tensor([3, 0])), u[[3, 0]].flatten(2).mT)


def test_siren_is_sines_of_maps_with_omega_on_what_they_are_given():
    model = network("siren", layers=1, width=1, dims=1, omega=5.0, hidden_omega=2.0)
    for w, value in zip([*model.weights, *model.biases], (0.5, 3.0, 0.1, 0.7), strict=True):
        w.data.fill_(value)
    x = torch.tensor([[0.3]])
    expected = 3.0 * 2.0 * math.sin(0.5 * 5.0 * 0.3 + 0.1) + 0.7
    assert model.values(x).item() == pytest.approx(expected, rel=1e-5)
    # ω w x with x = 2 c/L − 1 turns ω w / π times a box.
    assert model.frequencies().item() == pytest.approx(2.5 / math.pi)


def test_finer_quickens_with_what_it_is_given_and_its_factor_has_no_gradient():
    model = network("finer", layers=1, width=1, dims=1, omega=5.0, hidden_omega=7.0)
    for w, value in zip([*model.weights, *model.biases], (0.5, 1.0, 0.1, 0.0), strict=True):
        w.data.fill_(value)
    z = 0.5 * 0.3 + 0.1
    out = model.values(torch.tensor([[0.3]]))
    assert out.item() == pytest.approx(math.sin(5.0 * (z + 1) * z), rel=1e-5)
    out.sum().backward()
    # With the factor's gradient it would be 5 (2 z + 1) x.
    assert model.weights[0].grad.item() == pytest.approx(math.cos(5.0 * (z + 1) * z) * 5.0 * (z + 1) * 0.3, rel=1e-4)


def test_the_forms_of_finer_draw_biases_within_k_or_as_zero():
    wide = network("finer", bias=2.0).biases[0]
    assert 1.0 < wide.abs().max() <= 2.0
    assert network("finer").biases[0].abs().max() <= 1 / math.sqrt(2)
    assert not network("finer", form="omega", bias=2.0).biases[0].any()
    assert knob_of(network("finer", form="omega").options)[0] == "omega"


def test_wire_is_a_gabor_wavelet_of_real_and_complex_maps():
    model = network("wire", layers=1, width=2, dims=1, omega=4.0, scale=3.0)
    assert model.width == 1
    model.weights[0].data.fill_(0.5)
    model.biases[0].data.fill_(0.1)
    model.weights[1].data.copy_(torch.tensor([2.0, 1.0]).expand(1, 1, 1, 2))
    model.biases[1].data.copy_(torch.tensor([0.3, 9.0]).expand(1, 1, 1, 2))
    z = 0.5 * 0.2 + 0.1
    h = math.exp(-((3 * z) ** 2)) * complex(math.cos(4 * z), math.sin(4 * z))
    assert model.values(torch.tensor([[0.2]])).item() == pytest.approx((h * (2 + 1j)).real + 0.3, rel=1e-5)


def test_fourier_features_and_octaves_are_waves_of_the_place():
    x = torch.tensor([[0.25]])
    fourier = network("fourier_features", dims=1, features=1, sigma=3.0)
    fourier.waves.fill_(0.5)
    phase = 2 * math.pi * 3.0 * 0.5 * 0.25
    assert_close(
        fourier.embed(x[None], fourier.knob[:, None, None], None).flatten(),
        torch.tensor([math.cos(phase), math.sin(phase)]),
    )
    octaves = network("positional_encoding", dims=1, octaves=2)
    code = octaves.embed(x[None], octaves.knob[:, None, None], None).flatten()
    half = math.sqrt(0.5)
    assert_close(code[:5], torch.tensor([0.25, half, half, 1.0, 0.0]))
    assert not code[5:].any()
    assert octaves.frequencies().flatten()[:3].tolist() == [1, 2, 0]


def test_the_hidden_maps_of_resfields_change_with_time_and_those_of_siren_do_not():
    frames, times = 3, torch.tensor([-1.0, 1.0, 0.5])
    model = network("resfields", rank=2, time_input=False).initialise(1, frames=frames)
    assert model.dims == 2
    x, pick = places(GRID).float(), torch.zeros(3, dtype=torch.long)
    early, late, _ = model.values(x, pick=pick, time=times)
    assert not torch.allclose(early, late)
    w = model.weight(1, pick, times)
    change = torch.einsum("tr,rio->tio", model.mixtures[0][0], model.matrices[0][0])
    assert_close(w[0], model.weights[1][0] + change[0])
    # t = 0.5 is half way from the middle frame to the last.
    assert_close(w[2], model.weights[1][0] + (change[1] + change[2]) / 2)
    model.matrices[0].data.zero_()
    early, late, _ = model.values(x, pick=pick, time=times)
    assert_close(early, late)
    assert network("resfields").initialise(1, frames=frames).dims == 3
    assert network("siren").initialise(1, frames=frames).dims == 3


def centre(name: str, value: float) -> float:
    """Mean bin of the spectrum of ten untrained networks."""
    model = network(name, width=64, layers=3)
    model.initialise(10, knobs=torch.full((10, 1), value), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        spectrum = binned_spectrum(model.on(Grid((64, 64))), ndim=2, bins=16).mean(0)
    return float((spectrum * BINS).sum())


@pytest.mark.parametrize("name", ["siren", "fourier_features"])
def test_the_untrained_spectrum_moves_right_with_the_setting(name):
    values = (10.0, 30.0, 60.0, 120.0) if name == "siren" else (1.0, 3.0, 6.0, 12.0)
    centres = [centre(name, value) for value in values]
    assert centres == sorted(centres)
    assert centres[-1] > centres[0] + 2


def test_every_coordinate_network_has_a_number_to_choose_and_says_it():
    for name in COORDINATE_NETWORKS:
        options = BUILT_IN[name].options()
        option, settings = knob_of(options)
        assert option in type(options).model_fields
        assert list(settings) == sorted(set(settings))
        assert len(settings) >= 10
    assert knob_of(BUILT_IN["siren"].options())[1] == tuple(range(10, 201, 10))
    assert len(knob_of(BUILT_IN["finer"].options())[1]) == 31
