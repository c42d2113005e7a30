"""The figure of a ladder: what its lines, bars and images hold, in one, two and three dimensions and on the sphere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm

from anchorbench.config import LadderSpec, Variable
from anchorbench.data.ladder import write_ladder
from anchorbench.data.sources import SplitFields
from anchorbench.errors import ConfigError, LadderError
from anchorbench.fields import Grid
from anchorbench.report.ladder_content import liveliest, rung_spectrum
from anchorbench.report.ladder_figure import colours_of, draw_ladder, ladder_figure


def ladder(tmp_path, grid, values, rungs, *, how="spectral", valid=None, units="m", names=("u",)):
    """A ladder whose three splits hold the same values (sample, time, *grid)."""
    spec = LadderSpec(
        dataset="waves",
        source="generated",
        size="tiny",
        restriction=how,
        rungs=rungs,
        grid=grid.to_dict(),
        variables=tuple(Variable(name=name, units=units) for name in names),
        time_step=1.0,
        time_unit="s",
        origin={"shape": list(values.shape), "how": how, "masked": valid is not None},
    )
    values = values.astype(np.float32)
    split = SplitFields(dict.fromkeys(names, values), valid, None, np.arange(len(values)))
    attrs = {"display_name": "plain waves", "producer": "the tests", "terms": "none"}
    return write_ladder(spec, dict.fromkeys(("train", "validation", "test"), split), tmp_path, attrs=attrs)


PLANE = Grid((32, 32), (2 * math.pi,) * 2)


@pytest.fixture
def waves(tmp_path):
    """sin 3x + cos 12x / 2 of two samples, the second three times as high; rungs 8 (k < 4), 16 (k < 8) and 32."""
    _, x = PLANE.mesh().numpy()
    u = np.sin(3 * x) + 0.5 * np.cos(12 * x)
    return ladder(tmp_path, PLANE, np.stack([u, 3 * u])[:, None], (8, 16, 32))


def lines_of(ax):
    """(x, y) of the curves, without the vertical lines at the Nyquist wavenumbers."""
    return [line.get_xydata() for line in ax.get_lines() if line.get_linestyle() != ":"]


def test_a_spectrum_holds_each_wave_at_its_physical_wavenumber_on_every_rung_that_carries_it(waves):
    # mean of u² of sin is 1/2, of cos/2 is 1/8; the mean over the two samples multiplies by (1 + 9)/2 = 5
    for rung, carried in ((8, {3: 2.5}), (16, {3: 2.5}), (32, {3: 2.5, 12: 0.625})):
        k, energy, nyquist = rung_spectrum(waves, "test", rung, "u")
        assert nyquist == pytest.approx(rung / 2)
        found = {round(float(a)): float(e) for a, e in zip(k, energy, strict=True) if e > 1e-6}
        assert found == pytest.approx(carried, rel=1e-4)


def test_the_liveliest_frame_is_the_one_with_most_variance(waves):
    assert liveliest(waves, "test", "u") == (1, 0)


def test_a_frame_that_was_hardly_observed_is_not_the_liveliest(tmp_path):
    grid = Grid((8, 8), centring="cell", periodic=(False, False))
    values = np.random.default_rng(0).standard_normal((3, 1, 8, 8)) * np.array([1, 9, 2]).reshape(3, 1, 1, 1)
    valid = np.ones(values.shape, dtype=bool)
    valid[1, 0, 2:] = False  # a quarter is left
    made = ladder(tmp_path, grid, np.where(valid, values, 0), (4, 8), how="block_mean", valid=valid)
    assert liveliest(made, "test", "u") == (2, 0)


def test_the_figure_shows_the_same_field_on_three_rungs_and_a_line_and_a_nyquist_for_each(waves):
    figure = ladder_figure(waves)
    images = [ax for ax in figure.axes if any(isinstance(c, QuadMesh) for c in ax.collections) and ax.get_title()]
    assert [ax.get_title() for ax in images] == ["r008: 8 × 8", "r016: 16 × 16", "r032: 32 × 32"]
    finest = next(c for c in images[-1].collections if isinstance(c, QuadMesh))
    np.testing.assert_allclose(finest.get_array(), waves.array("test", 32, "u")[1, 0])
    spectrum = next(ax for ax in figure.axes if ax.get_ylabel() == "energy of a ring")
    assert len(lines_of(spectrum)) == 3
    nyquist = sorted(line.get_xdata()[0] for line in spectrum.get_lines() if line.get_linestyle() == ":")
    assert nyquist == pytest.approx([4, 8, 16])


def test_bars_tell_the_share_that_each_step_removed(waves):
    # 32 to 16 loses cos 12x / 2: (1/8)/(1/2 + 1/8) = 20 %; 16 to 8 loses nothing
    figure = ladder_figure(waves)
    bars = next(ax for ax in figure.axes if "removed by the step" in ax.get_xlabel())
    assert [label.get_text() for label in bars.get_yticklabels()] == ["32 to 16", "16 to 8"]
    first, second = (text.get_text() for text in bars.texts)
    assert first == "20 %"
    assert float(second.removesuffix(" %")) < 1e-3
    ends = [patch.get_x() + patch.get_width() for patch in bars.patches]
    assert ends[0] == pytest.approx(0.2, rel=1e-3)


def test_a_line_is_drawn_in_one_dimension_with_steps_for_cells(tmp_path):
    x = (np.arange(16) + 0.5) / 16
    grid = Grid((16,), (1.0,), "cell", periodic=(False,), unit="m")
    made = ladder(tmp_path, grid, np.tile(x**2, (2, 1, 1)), (4, 8, 16), how="block_mean")
    figure = ladder_figure(made)
    panels = [ax for ax in figure.axes if ax.get_title().startswith("r0")]
    steps = [ax.patches[0].get_data() for ax in panels]
    assert [len(step.values) for step in steps] == [4, 8, 16]
    assert steps[0].values[0] == pytest.approx(np.mean(x[:4] ** 2), rel=1e-5)
    assert steps[0].edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert panels[0].get_xlabel() == "x (m)"


def test_of_three_dimensions_the_plane_in_the_middle_is_shown(tmp_path):
    grid = Grid((8, 8, 8), (2 * math.pi,) * 3)
    z, y, x = grid.mesh().numpy()
    u = np.cos(x) + 10 * np.sin(z) * np.cos(y)  # sin z = 0 at z = π: there only cos x is left
    figure = ladder_figure(ladder(tmp_path, grid, u[None, None], (4, 8)))
    finest = next(ax for ax in figure.axes if ax.get_title() == "r008: 8 × 8 × 8").collections[0]
    np.testing.assert_allclose(finest.get_array(), np.cos(x)[4], atol=1e-4)
    assert "plane in the middle" in " ".join(text.get_text() for text in figure.texts)


def test_over_a_whole_sphere_the_spectrum_is_by_degree(tmp_path):
    grid = Grid((16, 32), (180, 360), "cell", "latlon")
    latitude = np.radians(grid.coordinates(0).numpy())
    # √5 P₂(sin φ) has degree 2 and mean square 1
    u = math.sqrt(5) * (1.5 * np.sin(latitude) ** 2 - 0.5)
    made = ladder(tmp_path, grid, np.tile(u[:, None], (2, 1, 1, 32)), (8, 16), how="conservative")
    degree, energy, nyquist = rung_spectrum(made, "test", 16, "u")
    assert nyquist == 8
    assert degree[np.argmax(energy)] == 2
    assert energy[2] == pytest.approx(1.0, abs=0.02)
    figure = ladder_figure(made)
    assert any(ax.get_xlabel() == "degree l" for ax in figure.axes)


def test_a_sector_of_the_sphere_keeps_its_shape(tmp_path):
    grid = Grid((25, 7), (180, 45), "point", "latlon", origin=(-90, 0), unit="degree")
    made = ladder(tmp_path, grid, np.random.default_rng(0).standard_normal((1, 1, 25, 7)), (4, 7), how="conservative")
    figure = ladder_figure(made)
    box = next(ax for ax in figure.axes if ax.get_title() == "r007: 25 × 7").get_position()
    width, height = figure.get_size_inches()
    assert box.height * height / (box.width * width) == pytest.approx(180 / 45, rel=0.25)


def test_what_was_not_observed_is_no_value_and_the_note_says_so(tmp_path):
    grid = Grid((8, 8), centring="cell", periodic=(False, False))
    values = np.random.default_rng(0).random((2, 1, 8, 8)) + 1
    valid = np.ones(values.shape, dtype=bool)
    valid[:, :, :2, :2] = False
    made = ladder(tmp_path, grid, np.where(valid, values, 0), (4, 8), how="block_mean", valid=valid)
    figure = ladder_figure(made)
    image = next(ax for ax in figure.axes if ax.get_title() == "r008: 8 × 8").collections[0].get_array()
    assert np.ma.getmaskarray(image).sum() == 4
    assert "Grey: not observed." in " ".join(text.get_text() for text in figure.texts)


def test_dry_cells_of_rain_are_white_and_not_grey(tmp_path):
    rain = np.random.default_rng(0).gamma(0.5, 2.0, (2, 1, 16, 16))
    rain[:, :, :6] = 0.0
    made = ladder(tmp_path, Grid((16, 16), centring="cell", periodic=(False, False)), rain, (8, 16), how="block_mean")
    image = next(ax for ax in ladder_figure(made).axes if ax.get_title() == "r016: 16 × 16").collections[0]
    assert not np.ma.getmaskarray(image.get_array()).any()
    assert (image.to_rgba(image.get_array())[:6] == 1).all()  # white, opaque


@pytest.mark.parametrize(
    ("values", "name", "limits"),
    [
        ([[-2.0, 2.0], [1.0, -1.0]], "RdBu_r", (-2, 2)),  # about 0: as far down as up
        ([[280.0, 290.0], [300.0, 310.0]], "cividis", (280, 310)),
        ([[-5.0, 1000.0], [500.0, 2000.0]], "cividis", (-5 + 0.006 * 505, 2000)),  # 0.2 % from the end
        ([[0.0, 0.0], [0.0, 20.0]], "rain", (0.1, 20)),
        ([[3.0, 3.0], [3.0, 3.0]], "cividis", None),
    ],
)
def test_the_colours_follow_what_the_values_are(values, name, limits):
    colours, norm = colours_of([np.array(values)])
    assert colours.name == name
    assert isinstance(norm, LogNorm) == (name == "rain")
    if limits:
        assert (norm.vmin, norm.vmax) == pytest.approx(limits, rel=0.02, abs=0.1)


def test_a_figure_is_written_as_it_is_named(waves, tmp_path):
    (one,) = draw_ladder(waves, tmp_path / "deep" / "waves.png", rungs=(8, 32), dpi=60)
    assert one.read_bytes().startswith(b"\x89PNG")
    assert [path.suffix for path in draw_ladder(waves, tmp_path / "waves")] == [".png", ".svg", ".pdf"]
    assert draw_ladder(waves, tmp_path / "again.png", rungs=(8, 32), dpi=60)[0].read_bytes() == one.read_bytes()


def test_a_rung_or_a_variable_that_the_ladder_lacks_is_named(waves):
    with pytest.raises(LadderError, match="no rung r012"):
        ladder_figure(waves, rungs=(8, 12))
    with pytest.raises(ConfigError, match="no variable 'v'"):
        ladder_figure(waves, variable="v")


def test_the_figure_says_whose_data_they_are(waves):
    said = " ".join(text.get_text() for text in ladder_figure(waves).texts)
    assert "waves: plain waves, tiny, spectral" in said
    assert "the tests. Terms: none." in said
