"""Where the points are, and what a grid refuses to be."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anchorbench.errors import GridError
from anchorbench.fields import Grid, rung_name

shapes = st.lists(st.integers(1, 40), min_size=1, max_size=3).map(tuple)


def test_points_begin_at_the_left_edge_and_cells_half_a_spacing_in():
    assert Grid((4,), extent=(2.0,)).coordinates(0).tolist() == [0.0, 0.5, 1.0, 1.5]
    assert Grid((4,), extent=(2.0,), centring="cell").coordinates(0).tolist() == [0.25, 0.75, 1.25, 1.75]


def test_the_rung_is_the_number_of_points_on_the_shortest_axis():
    grid = Grid((32, 96), extent=(1.0, 3.0))
    assert (grid.rung, grid.name, grid.n_points) == (32, "r032", 3072)
    assert rung_name(1024) == "r1024"


def test_with_rung_keeps_the_proportions_and_refuses_half_points():
    grid = Grid((32, 96), extent=(1.0, 3.0))
    assert grid.with_rung(8).shape == (8, 24)
    assert Grid((2, 3)).with_rung(4).shape == (4, 6)
    with pytest.raises(GridError, match="whole points"):
        Grid((2, 3)).with_rung(3)


def test_the_nyquist_wavenumber_is_that_of_the_coarsest_axis():
    # Spacings 1/8 and 2/8: π / (1/4) = 4π.
    assert Grid((8, 8), extent=(1.0, 2.0)).k_nyquist == pytest.approx(4 * math.pi)


@given(shapes)
def test_a_grid_survives_its_dictionary(shape):
    grid = Grid(
        shape, extent=tuple(range(1, len(shape) + 1)), centring="cell", periodic=(False,) * len(shape), unit="km"
    )
    assert Grid.from_dict(grid.to_dict()) == grid


def test_the_same_box_with_other_points_is_the_same_box():
    grid = Grid((8, 8), extent=(1.0, 2.0))
    assert grid.same_box(grid.coarsened(2))
    assert not grid.same_box(Grid((8, 8)))


@given(st.integers(1, 60), st.integers(1, 60))
def test_area_weights_have_mean_one_and_are_those_of_the_cosine(n, m):
    weights = Grid((n, m), extent=(180.0, 360.0), centring="cell", kind="latlon").area_weights()
    latitude = torch.deg2rad((torch.arange(n, dtype=torch.float64) + 0.5) * 180 / n - 90)
    assert weights.mean().item() == pytest.approx(1.0)
    torch.testing.assert_close(weights[:, 0] / weights[n // 2, 0], latitude.cos() / latitude[n // 2].cos())
    assert torch.equal(Grid((n, m)).area_weights(), torch.ones(n, m, dtype=torch.float64))


def test_the_mesh_holds_one_coordinate_an_axis():
    mesh = Grid((2, 3), extent=(1.0, 3.0)).mesh()
    assert mesh.tolist() == [[[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]], [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shape": ()}, "1, 2 or 3 axes"),
        ({"shape": (2, 2, 2, 2)}, "1, 2 or 3 axes"),
        ({"shape": (4, 0)}, "at least one point"),
        ({"shape": (4, 4), "extent": (1.0,)}, "does not fit"),
        ({"shape": (4,), "extent": (-1.0,)}, "positive"),
        ({"shape": (4,), "centring": "left"}, "centring"),
        ({"shape": (4,), "kind": "torus"}, "kind"),
        ({"shape": (4,), "kind": "latlon"}, "latlon"),
    ],
)
def test_what_is_no_grid_is_refused_by_name(options, says):
    with pytest.raises(GridError, match=says):
        Grid(**options)
