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
def test_area_weights_of_equal_bands_have_mean_one_and_are_those_of_the_cosine(n, m):
    weights = Grid((n, m), extent=(180.0, 360.0), centring="cell", kind="latlon").area_weights()
    latitude = torch.deg2rad((torch.arange(n, dtype=torch.float64) + 0.5) * 180 / n - 90)
    assert weights.mean().item() == pytest.approx(1.0)
    torch.testing.assert_close(weights[:, 0] / weights[n // 2, 0], latitude.cos() / latitude[n // 2].cos())
    assert torch.equal(Grid((n, m)).area_weights(), torch.ones(n, m, dtype=torch.float64))


def test_points_on_an_axis_with_ends_hold_both_of_them():
    grid = Grid((5, 4), extent=(2.0, 2.0), periodic=(False, True), origin=(-1.0, 3.0))
    assert grid.coordinates(0).tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert grid.coordinates(1).tolist() == [3.0, 3.5, 4.0, 4.5]
    assert (grid.spacing, grid.intervals) == ((0.5, 0.5), (4, 4))


def test_a_quarter_degree_from_pole_to_pole_has_721_latitudes_and_its_rung_121_is_one_and_a_half():
    grid = Grid((721, 1440), extent=(180.0, 360.0), kind="latlon", unit="degrees")
    assert grid.periodic == (False, True)
    assert grid.coordinates(0)[[0, 1, 360, 720]].tolist() == [-90.0, -89.75, 0.0, 90.0]
    assert grid.coordinates(1)[[0, -1]].tolist() == [0.0, 359.75]
    assert grid.with_rung(121).shape == grid.coarsened(6).shape == (121, 240)
    assert grid.with_rung(121).spacing == (1.5, 1.5)
    assert grid.with_rung(121).with_rung(721) == grid
    with pytest.raises(GridError, match="whole points"):
        Grid((5, 6), extent=(180.0, 360.0), kind="latlon").with_rung(4)  # 4 and 6 intervals: 3 and 4.5


def test_edges_lie_midway_between_points_and_are_the_ends_at_the_ends():
    poles = Grid((3, 4), extent=(180.0, 360.0), kind="latlon")
    assert poles.edges(0).tolist() == [-90.0, -45.0, 45.0, 90.0]
    assert poles.edges(1).tolist() == [-45.0, 45.0, 135.0, 225.0, 315.0]
    bands = Grid((3, 4), extent=(180.0, 360.0), kind="latlon", centring="cell")
    assert bands.edges(0).tolist() == [-90.0, -30.0, 30.0, 90.0]
    assert Grid((1,), extent=(2.0,), periodic=(False,)).edges(0).tolist() == [0.0, 2.0]


def test_the_polar_caps_of_a_poled_grid_are_half_cells():
    weights = Grid((3, 2), extent=(180.0, 360.0), kind="latlon").area_weights()
    # Bands from 90 to 45 and from 45 to -45: sin 90 - sin 45 = 1 - r, and 2r, r = 1/√2; together 2, the mean 2/3.
    r = math.sqrt(0.5)
    expected = torch.tensor([1 - r, 2 * r, 1 - r], dtype=torch.float64) / (2 / 3)
    torch.testing.assert_close(weights, expected[:, None].expand(3, 2))


@given(st.integers(2, 40), st.sampled_from(["point", "cell"]), st.floats(-90, 80), st.floats(0.5, 9))
def test_the_bands_of_a_part_of_the_sphere_add_up_to_its_area(n, centring, south, height):
    grid = Grid((n, 3), extent=(height, 30.0), centring=centring, kind="latlon", origin=(south, -20.0))
    whole = math.sin(math.radians(south + height)) - math.sin(math.radians(south))
    assert grid.measure(0).sum().item() == pytest.approx(whole, rel=1e-12)
    assert grid.area_weights().mean().item() == pytest.approx(1.0)


def test_points_at_ends_weigh_half_on_a_plane_as_in_the_trapezoidal_rule():
    grid = Grid((3,), extent=(2.0,), periodic=(False,))
    assert grid.area_weights().tolist() == [0.75, 1.5, 0.75]
    assert Grid((3,), extent=(2.0,), periodic=(False,), centring="cell").is_uniform


def test_an_origin_is_kept_and_the_usual_one_leaves_the_dictionary_as_it_was_before_there_was_one():
    assert "origin" not in Grid((4, 4)).to_dict()
    assert "origin" not in Grid((4, 8), extent=(180.0, 360.0), kind="latlon").to_dict()
    regional = Grid((4, 8), extent=(10.0, 20.0), kind="latlon", origin=(40.0, -5.0))
    assert regional.to_dict()["origin"] == [40.0, -5.0]
    for grid in (regional, Grid((4,), origin=(2.0,))):
        assert Grid.from_dict(grid.to_dict()) == grid
    assert not regional.same_box(Grid((4, 8), extent=(10.0, 20.0), kind="latlon", origin=(40.0, 0.0)))


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
        ({"shape": (4,), "origin": (1.0, 2.0)}, "does not fit"),
        ({"shape": (4,), "origin": (math.nan,)}, "origin of a grid is finite"),
        ({"shape": (4,), "extent": (math.inf,)}, "positive and finite"),
        ({"shape": (4, 4), "extent": (90.0, 360.0), "kind": "latlon"}, "does not say where it lies"),
        ({"shape": (4, 4), "extent": (90.0, 90.0), "kind": "latlon", "origin": (30.0, 0.0)}, "30 to 120"),
        ({"shape": (4, 4), "extent": (180.0, 361.0), "kind": "latlon"}, "360 degrees at most"),
        ({"shape": (4, 4), "extent": (180.0, 360.0), "kind": "latlon", "periodic": (True, True)}, "periodic"),
        ({"shape": (4, 4), "extent": (180.0, 90.0), "kind": "latlon", "periodic": (False, True)}, "periodic"),
    ],
)
def test_what_is_no_grid_is_refused_by_name(options, says):
    with pytest.raises(GridError, match=says):
        Grid(**options)
