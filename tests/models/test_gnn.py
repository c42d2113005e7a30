"""Message passing: neighbours and weights, a known convolution, the kernel integral, walls."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from anchorbench.errors import ConfigError
from anchorbench.fields.grid import Grid
from anchorbench.models import gnn as module
from anchorbench.models.gnn import GNN, Neighbours, neighbours
from anchorbench.models.options import GnnOptions
from anchorbench.models.registry import call, validate_options


def gnn(grid: Grid, channels: tuple[int, int] = (1, 1), **options) -> GNN:
    torch.manual_seed(0)
    return GNN(*channels, grid, GnnOptions(**{"width": 6, "layers": 2, **options}))


def near(grid: Grid, train: Grid, **options) -> Neighbours:
    return neighbours(grid, train.spacing, GnnOptions(**options), torch.float64, torch.device("cpu"))


def heard(u: Tensor, train: Grid, grid: Grid, **options) -> Tensor:
    """m with messages v(y) alone: one channel, linear, σ = 1.  u: (*grid)."""
    model = gnn(train, width=1, layers=1, activation="identity", **options).double()
    talk = model.rounds[0]
    for weight, value in (
        (talk.receive.weight, 0),
        (talk.receive.bias, 0),
        (talk.send.weight, 1),
        (talk.edge.weight, 0),
    ):
        weight.data.fill_(float(value))
    return talk.messages(u[None, ..., None].double(), grid, near(grid, train, **options))[0, ..., 0]


def test_a_radius_of_one_and_a_half_spacings_holds_nine_points_with_a_weight_that_falls_with_distance():
    found = near(Grid((8, 8)), Grid((8, 8)), radius=1.5)
    weights = dict(zip(found.offsets, found.windows, strict=True))
    assert len(weights) == 9
    assert weights[0, 0] == 1.0
    assert weights[0, 1] == pytest.approx(5 / 9)  # 1 - 1/1.5²
    assert weights[-1, 1] == pytest.approx(1 / 9)  # 1 - 2/1.5²
    assert found.total.item() == pytest.approx(33 / 9)


def test_a_physical_radius_holds_more_points_of_a_finer_grid_and_one_in_points_the_same_ones_closer():
    train, fine = Grid((8, 8)), Grid((16, 16))
    home = near(train, train, aggregate="mean")
    # In a disc of radius 3 about a point lie 29 points of the square lattice.
    assert len(near(fine, train, aggregate="mean").offsets) == 29
    points = near(fine, train, aggregate="mean", units="grid")
    assert points.offsets == home.offsets
    assert_close(points.edges, home.edges / 2)


def test_an_edge_is_the_displacement_over_the_radius_and_its_length():
    found = near(Grid((10,), extent=(5.0,)), Grid((10,), extent=(5.0,)), radius=2.5)
    edges = dict(zip(found.offsets, found.edges.tolist(), strict=True))
    assert edges[-2,] == pytest.approx([-0.8, 0.8])
    assert edges[0,] == [0.0, 0.0]


@pytest.mark.parametrize("aggregate", ["quadrature", "mean"])
def test_linear_messages_are_a_convolution(aggregate):
    # Nine neighbours: all 1/9, or 1, 5/9 and 1/9 over 33/9.
    side, corner, total = (5 / 9, 1 / 9, 33 / 9) if aggregate == "quadrature" else (1.0, 1.0, 9.0)
    kernel = torch.tensor([[corner, side, corner], [side, 1.0, side], [corner, side, corner]]).double() / total
    grid, u = Grid((7, 10)), torch.randn(7, 10, dtype=torch.float64)
    wrapped = F.pad(u[None, None], (1, 1, 1, 1), mode="circular")
    assert_close(heard(u, grid, grid, aggregate=aggregate), F.conv2d(wrapped, kernel[None, None])[0, 0])


def test_one_message_is_the_matrix_of_both_ends_and_of_the_edge():
    # One neighbour on the right of a wall's point: m = Σ w (A v(x) + B v(y) + C e + a).
    grid = Grid((2,), extent=(2.0,), centring="cell", periodic=(False,))
    model = gnn(grid, width=1, layers=1, activation="identity", aggregate="mean", radius=1.5).double()
    talk = model.rounds[0]
    for weight, value in ((talk.receive.weight, 2), (talk.receive.bias, 3), (talk.send.weight, 5)):
        weight.data.fill_(float(value))
    talk.edge.weight.data = torch.tensor([[7.0, 11.0]], dtype=torch.float64)
    v = torch.tensor([1.0, 10.0], dtype=torch.float64)[None, :, None]
    found = near(grid, grid, aggregate="mean", radius=1.5)
    # Point 0 hears itself, 2 + 5 + 3, and point 1 at e = (2/3, 2/3), 2 + 50 + 3 + (7 + 11) 2/3: the mean is 38.5.
    # Point 1 hears itself, 20 + 50 + 3, and point 0 at e = (-2/3, 2/3), 20 + 5 + 3 + (11 - 7) 2/3: 311/6.
    assert_close(talk.messages(v, grid, found)[0, :, 0], torch.tensor([38.5, 311 / 6], dtype=torch.float64))


def wave_share(n: int, ndim: int, waves: int, **options) -> float:
    """What messages make of cos 2π m x, as a multiple of it."""
    train, grid = Grid((16,) * ndim), Grid((n,) * ndim)
    u = (2 * torch.pi * waves * torch.arange(n, dtype=torch.float64) / n).cos().expand(grid.shape)
    m = heard(u, train, grid, radius=2.0, **options)
    return (m * u).mean().item() / u.square().mean().item()


def test_the_sum_of_messages_converges_to_the_kernel_integral_at_order_two():
    # q = k r, r = 2/16.  1-D: 3/4 ∫₋₁¹ (1 - s²) cos qs ds = 3 (sin q - q cos q)/q³.
    q = 2 * math.pi * 3 * 2 / 16
    exact = 3 * (math.sin(q) - q * math.cos(q)) / q**3
    errors = [abs(wave_share(n, 1, 3) - exact) for n in (32, 64, 128)]
    assert 3.8 < errors[0] / errors[1] < 4.2
    assert 3.8 < errors[1] / errors[2] < 4.2
    # 2-D: 2/π ∫ over the disc is 8 J₂(q)/q², J₂ = 2 J₁/q - J₀.
    j0, j1 = (
        f(torch.tensor(q, dtype=torch.float64)).item() for f in (torch.special.bessel_j0, torch.special.bessel_j1)
    )
    exact = 8 * (2 * j1 / q - j0) / q**2
    coarse, fine = (abs(wave_share(n, 2, 3) - exact) for n in (16, 128))
    assert coarse / fine > 40  # order 2 over 8x would be 64; the circle cuts the cells unevenly


def test_messages_in_points_do_not_converge_to_it():
    # The radius shrinks with the grid, and the integral becomes the value at the point.
    assert wave_share(128, 1, 3, units="grid") > 0.99


def test_the_cells_at_a_wall_count_by_their_area_and_nobody_is_behind_it():
    # Point centring between walls: the end cells are half ones.  Point 0 hears itself, ½, and point 1, 5/9.
    grid = Grid((5,), periodic=(False,))
    u = torch.zeros(5)
    u[0] = 1.0
    m = heard(u, grid, grid, radius=1.5)
    assert m[0].item() == pytest.approx(0.5 / (0.5 + 5 / 9))
    assert m[1].item() == pytest.approx(0.5 * 5 / 9 / (0.5 * 5 / 9 + 1 + 5 / 9))
    assert m[2:].tolist() == [0, 0, 0]
    assert heard(u, Grid((5,)), Grid((5,)), radius=1.5)[4].item() == pytest.approx(5 / 9 / (1 + 10 / 9))


@pytest.mark.parametrize("aggregate", ["quadrature", "mean"])
@pytest.mark.parametrize("kind", ["walls", "latlon"])
def test_a_constant_is_heard_as_itself_everywhere(aggregate, kind):
    train = (
        Grid((6, 12), kind="latlon", extent=(180.0, 360.0)) if kind == "latlon" else Grid((6, 5), periodic=(False,) * 2)
    )
    for grid in (train, train.with_shape((11, 15))):
        m = heard(torch.full(grid.shape, 3.0), train, grid, aggregate=aggregate)
        assert_close(m, torch.full(grid.shape, 3.0, dtype=torch.float64))


@pytest.mark.parametrize("shift", [(1, 0), (5, 7)])
def test_a_shift_by_points_shifts_the_output_on_a_periodic_box(shift):
    train, grid = Grid((6, 8)), Grid((12, 15))
    model, u = gnn(train).double(), torch.randn(2, 1, *grid.shape, dtype=torch.float64)
    rolled = call(model, u.roll(shift, (2, 3)), grid, grid)
    assert_close(rolled, call(model, u, grid, grid).roll(shift, (2, 3)), rtol=0, atol=1e-12)


def test_messages_that_are_worked_out_again_have_the_same_gradient(monkeypatch):
    grid, train = Grid((12, 12), periodic=(True, False)), Grid((6, 6), periodic=(True, False))
    model, u = gnn(train).double(), torch.randn(2, 1, 12, 12, dtype=torch.float64)

    def gradients(kept: int) -> list[Tensor]:
        monkeypatch.setattr(module, "KEPT", kept)
        model.zero_grad()
        call(model, u, grid, grid).square().mean().backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    at_once, again = gradients(1000), gradients(4)
    assert len(at_once) == len(list(model.parameters()))
    assert_close(again, at_once, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("shape", [(20,), (9, 12), (6, 5, 7)])
@pytest.mark.parametrize("periodic", [True, False])
def test_it_runs_in_one_two_and_three_dimensions_and_on_another_grid_for_its_output(shape, periodic):
    grid = Grid(shape, periodic=(periodic,) * len(shape))
    model, u = gnn(grid, (3, 2), layers=1), torch.randn(2, 3, *shape)
    for out_grid in (grid, grid.with_shape(tuple(n + 3 for n in shape))):
        assert call(model, u, grid, out_grid).shape == (2, 2, *out_grid.shape)


def test_a_box_narrower_than_the_radius_is_wrapped():
    # Five offsets on three points: 0 once, ±1 once each, ±2 once each, so each point is heard by how often it is met.
    m = heard(torch.tensor([1.0, 0.0, 0.0]), Grid((3,)), Grid((3,)), radius=2.5, aggregate="mean")
    assert_close(m, torch.tensor([1 / 5, 2 / 5, 2 / 5], dtype=torch.float64))


def test_a_radius_that_holds_no_neighbour_is_refused():
    with pytest.raises(ConfigError, match="radius"):
        validate_options("gnn", {"radius": 1.0})
